package analyze

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Bounds on clusters.
const (
	mostClusters    = 256 // of a mirror; the next differences are those of one more, which stands for all others
	mostExamples    = 10  // of a cluster
	fullSights      = 200 // of a cluster, of which traits are taken; then
	laterSights     = 16  // one in so many
	alike           = 0.8 // the Jaccard index from which on two signatures are one
	othersSignature = "and others"
	othersEndpoint  = "*"
)

// sight is what a held pair is remembered by, should it turn out to count.
type sight struct {
	at      time.Time
	traits  []string // nil: not this time
	example *Pair    // nil: there are enough
	curl    string   // sends the example's request to the shadow
	failure string   // of a shadow that gave no answer
	status  [2]int
}

// cluster is a group of pairs whose differences have one signature.
type cluster struct {
	ID          string               `json:"id"`
	Endpoint    string               `json:"endpoint"`
	Class       compare.Class        `json:"class"`
	Title       string               `json:"title"`
	Signature   []string             `json:"signature"` // sorted
	Count       int64                `json:"count"`
	First       time.Time            `json:"first"`
	Last        time.Time            `json:"last"`
	Differences []compare.Difference `json:"differences"`
	Traits      *frequent            `json:"traits"`
	Sighted     int64                `json:"sighted"` // pairs whose traits were taken
	Examples    []example            `json:"examples"`
	Curl        string               `json:"curl"`

	changed bool
}

// example is a pair that is kept, and what it takes.
type example struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
}

// clusters are those of one mirror.
type clusters struct {
	mirror *mirror
	all    []*cluster
	exact  map[string]*cluster // by endpoint and signature
	pairs  map[string]*Pair    // examples by id
	fresh  []*Pair             // not saved yet
	gone   []string            // ids that were saved and are no example any more
}

func newClusters(m *mirror) *clusters {
	return &clusters{mirror: m, exact: make(map[string]*cluster), pairs: make(map[string]*Pair)}
}

// see takes down what must be known of a pair later, when its messages are gone.
func (c *clusters) see(e *endpoint, x *traffic.Exchange, shadow *traffic.Outcome, findings []finding) *sight {
	s := &sight{at: x.Start, failure: failureOf(shadow), status: [2]int{x.Primary.Status, shadow.Status}}
	if len(findings) == 0 && !failed(shadow) {
		s.traits = traitsOf(x, e.Name)
		return s
	}
	busy := int64(0)
	for i := range findings {
		if p := e.index[spotOf(&findings[i].Difference)]; p != nil {
			busy = max(busy, p.Seen)
		}
	}
	if busy <= fullSights || busy%laterSights == 0 {
		s.traits = traitsOf(x, e.Name)
	}
	if busy <= mostExamples*2 || busy%laterSights == 0 {
		s.example = pairOfMessages(x, shadow)
		s.curl = curl(c.mirror, x)
	}
	return s
}

// add counts a pair with these findings.
func (c *clusters) add(e *endpoint, class compare.Class, sure []finding, s *sight) {
	if s == nil {
		s = &sight{}
	}
	signature := signatureOf(class, sure, s)
	k := c.find(e.Name, class, signature, sure, s)
	k.changed = true
	k.Count++
	if severity[class] < severity[k.Class] {
		k.Class = class // it was taken for drift at first
	}
	if k.First.IsZero() || s.at.Before(k.First) {
		k.First = s.at
	}
	if s.at.After(k.Last) {
		k.Last = s.at
	}
	if s.traits != nil && (k.Sighted < fullSights || k.Count%laterSights == 0) {
		k.Sighted++
		for _, t := range s.traits {
			k.Traits.add(t)
		}
	}
	if s.example != nil {
		c.exemplify(k, class, sure, s)
	}
}

// signatureOf says what a pair's differences have in common with others: where,
// how, and from what to what.
func signatureOf(class compare.Class, sure []finding, s *sight) []string {
	if class == compare.ShadowError {
		if s.failure != "" {
			return []string{"failure|" + s.failure}
		}
		return []string{fmt.Sprintf("status|%d>%d", s.status[0], s.status[1])}
	}
	all := make([]string, 0, len(sure))
	for i := range sure {
		f := &sure[i]
		from, to := sortOfValue(f, &f.Primary), sortOfValue(f, &f.Shadow)
		line := f.Path + "|" + string(f.Kind) + "|" + from + ">" + to
		if f.broken {
			line += "|broken"
		}
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// sortOfValue is the part of a signature that a value has: of a status the value
// itself, otherwise its type, and whether it is there.
func sortOfValue(f *finding, v *compare.Value) string {
	if aboutStatus(f.Path) {
		return v.Text
	}
	if f.Kind == compare.Changed && v.Class.Generated() {
		return string(v.Class)
	}
	return v.Type
}

// find returns the cluster of a signature, or the one that is most like it, or a
// new one.
func (c *clusters) find(endpoint string, class compare.Class, signature []string, sure []finding, s *sight) *cluster {
	key := keyOf(endpoint, signature)
	if k := c.exact[key]; k != nil {
		return k
	}
	if len(c.exact) >= 4*mostClusters {
		c.reindex() // those that are like others are found again
	}
	var found *cluster
	best := alike
	for _, k := range c.all {
		if k.Endpoint == endpoint && (k.Class == class) {
			if j := jaccard(k.Signature, signature); j >= best {
				found, best = k, j
			}
		}
	}
	if found == nil && len(c.all) >= mostClusters {
		return c.others()
	}
	if found == nil {
		found = &cluster{
			ID: c.id(key), Endpoint: endpoint, Class: class, Signature: signature,
			Title: titleOf(class, sure, s), Traits: newFrequent(),
		}
		c.all = append(c.all, found)
	}
	c.exact[key] = found
	return found
}

// id is short, and the same whenever the same signature is found again.
func (c *clusters) id(key string) string {
	return fmt.Sprintf("%08x", uint32(xxhash.Sum64String(c.mirror.label.String()+"\x00"+key)))
}

// others is the cluster of what no other has room for.
func (c *clusters) others() *cluster {
	key := keyOf(othersEndpoint, []string{othersSignature})
	if k := c.exact[key]; k != nil {
		return k
	}
	k := &cluster{ID: c.id(key), Endpoint: othersEndpoint, Class: compare.Diff, Title: "differences of many more kinds", Signature: []string{othersSignature}, Traits: newFrequent()}
	c.all = append(c.all, k)
	c.exact[key] = k
	return k
}

// jaccard is the share of two sorted sets' elements that both have.
func jaccard(a, b []string) float64 {
	both, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		switch d := strings.Compare(a[i], b[j]); {
		case d == 0:
			both++
			i++
			j++
		case d < 0:
			i++
		default:
			j++
		}
	}
	return float64(both) / float64(max(len(a)+len(b)-both, 1))
}

// exemplify keeps the pair as an example if there are few, or if it is smaller
// than the largest.
func (c *clusters) exemplify(k *cluster, class compare.Class, sure []finding, s *sight) {
	pair := s.example
	if len(k.Examples) > 0 && k.Signature[0] == othersSignature {
		return
	}
	bytes := int64(len(pair.Request.Body) + len(pair.Primary.Body) + len(pair.Shadow.Body))
	if len(k.Examples) >= mostExamples {
		largest := 0
		for i := range k.Examples {
			if k.Examples[i].Size > k.Examples[largest].Size {
				largest = i
			}
		}
		if k.Examples[largest].Size <= bytes {
			return
		}
		c.drop(k.Examples[largest].ID)
		k.Examples = slices.Delete(k.Examples, largest, largest+1)
	}
	pair.Cluster, pair.Class = k.ID, class
	pair.Differences = make([]compare.Difference, len(sure))
	for i := range sure {
		pair.Differences[i] = sure[i].Difference
	}
	if pair.ID == "" || c.pairs[pair.ID] != nil {
		pair.ID = fmt.Sprintf("%s~%s-%d", pair.ID, k.ID, k.Count)
	}
	c.pairs[pair.ID] = pair
	c.fresh = append(c.fresh, pair)
	if len(k.Examples) == 0 || bytes < smallest(k.Examples) {
		k.Differences, k.Curl = pair.Differences, s.curl
	}
	k.Examples = append(k.Examples, example{pair.ID, bytes})
}

func smallest(all []example) int64 {
	least := all[0].Size
	for _, e := range all {
		least = min(least, e.Size)
	}
	return least
}

func (c *clusters) drop(id string) {
	delete(c.pairs, id)
	for i, p := range c.fresh {
		if p.ID == id {
			c.fresh = slices.Delete(c.fresh, i, i+1)
			return
		}
	}
	c.gone = append(c.gone, id)
}

// rename follows an endpoint that has become part of another.
func (c *clusters) rename(from, to string) {
	for _, k := range c.all {
		if k.Endpoint == from {
			k.Endpoint, k.changed = to, true
		}
	}
	c.reindex()
}

// reindex makes the index of signatures anew.
func (c *clusters) reindex() {
	clear(c.exact)
	for _, k := range c.all {
		c.exact[keyOf(k.Endpoint, k.Signature)] = k
	}
}

func keyOf(endpoint string, signature []string) string {
	return endpoint + "\x00" + strings.Join(signature, "\x00")
}
