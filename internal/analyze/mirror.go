package analyze

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// label names a mirror: over restarts and reloads it is the same.
type label struct {
	Route  string
	Rule   int
	Mirror string
}

func (l label) String() string { return fmt.Sprintf("%s/%d/%s", l.Route, l.Rule, l.Mirror) }

// mirror is what has been learned of one shadow.
type mirror struct {
	label    label
	way      way
	params   judge.Params
	primary  string // name of the backend whose answers the shadow's were compared with last
	comparer *compare.Comparer
	random   *rand.Rand
	asker    *asker   // nil = the shadow is not asked again
	print    string   // of the settings that what was learned belongs to
	changed  bool     // since it was saved
	ended    bool     // nothing more comes: what is held is saved
	wipe     bool     // what was saved is of no use any more
	merged   []string // endpoints that were saved and are no more

	calibration *Calibration // nil = none

	since      time.Time
	templates  *judge.Templates
	everywhere *judge.Tally
	endpoints  map[string]*endpoint
	renamings  renamings
	twins      twins
	clusters   *clusters
	hearsay    map[spot]int // at how many endpoints more it is noise than not
	passed     int64        // pairs that there was no room to hold
}

func newMirror(l label, w way, rules *compare.Rules) (*mirror, error) {
	m := &mirror{label: l, way: w, params: judge.ParamsOf(w.mirror.Compare.Judge), comparer: compare.New(rules)}
	return m, m.allowFor(nil)
}

// forget makes a beginner of m.
func (m *mirror) forget() error {
	templates, err := judge.NewTemplates(m.way.mirror.Compare.Endpoints)
	if err != nil {
		return err
	}
	m.templates, m.since = templates, time.Now()
	m.everywhere = judge.NewTally(judge.Everywhere, m.params)
	m.endpoints = make(map[string]*endpoint)
	m.renamings, m.twins, m.hearsay = renamings{}, twins{}, make(map[spot]int)
	m.clusters = newClusters(m)
	m.random = rand.New(rand.NewPCG(1, 2))
	return nil
}

// safe says that a request of this method may be sent once more.
func safe(method string) bool {
	return method == "GET" || method == "HEAD" || method == "OPTIONS"
}

// asks says that the shadow can be asked once more about requests of e.
func (m *mirror) asks(e *endpoint) bool {
	method, _, _ := strings.Cut(e.Name, " ")
	return m.asker != nil && safe(method) && (m.way.mirror.Compare.Requery == nil || *m.way.mirror.Compare.Requery)
}

// endpoint returns what is known of the endpoint that a request belongs to.
func (m *mirror) endpoint(x *traffic.Exchange) *endpoint {
	name := m.templates.Endpoint(x.Method, x.Path, x.Primary.Status)
	for from, to := range m.templates.Renamed() {
		m.merge(from, to)
	}
	e := m.endpoints[name]
	if e == nil {
		e = newEndpoint(name, m.params)
		m.endpoints[name] = e
	}
	return e
}

// merge gives what was learned of one endpoint to another, which the learned
// templates made of it.
func (m *mirror) merge(from, to string) {
	old := m.endpoints[from]
	if old == nil || from == to {
		return
	}
	delete(m.endpoints, from)
	m.merged = append(m.merged, from)
	e := m.endpoints[to]
	if e == nil {
		e = newEndpoint(to, m.params)
		m.endpoints[to] = e
	}
	e.absorb(old)
	m.clusters.rename(from, to)
	m.release(e)
}

// look compares one copy's answer with the primary's. raw is the request as it
// came, nil if it must not be sent again.
func (m *mirror) look(x *traffic.Exchange, c *traffic.Outcome, raw *traffic.Message) {
	m.primary, m.changed = x.Primary.Backend, true
	e := m.endpoint(x)
	control := noControl
	if raw != nil && m.asker != nil {
		control = m.draw(e)
	}
	r := m.comparer.Compare(x, &x.Primary, c, compare.Options{Endpoint: e.Name, Demoted: e.demotes})
	if r.Class == compare.Infra {
		e.count(r.Class)
		return
	}
	e.Pairs++
	e.changed = true
	if x.Primary.Status == c.Status {
		e.Alike++
	}
	h := &held{endpoint: e, class: r.Class, pair: pairOf(x, c), control: control}
	if !h.pair.PrimaryFailed && r.Class != compare.ShadowError {
		h.findings = e.sift(r.Differences, &m.renamings, x.Start)
		m.meetTwin(e, x, c, h.findings)
		m.consider(e, h.findings)
	}
	h.findings = h.findings[:min(len(h.findings), mostFindings)]
	if len(h.findings) > 0 || r.Class == compare.ShadowError || e.curious() {
		h.sight = m.clusters.see(e, x, c, h.findings)
	}
	if raw != nil && (control != noControl || m.wants(e, h.findings)) {
		m.ask(h, x, c, raw)
	}
	m.hold(h)
}

// pairOf is what the statistics need.
func pairOf(x *traffic.Exchange, c *traffic.Outcome) judge.Pair {
	return judge.Pair{
		PrimaryFailed: failed(&x.Primary), ShadowFailed: failed(c),
		Primary: firstByte(&x.Primary), Shadow: firstByte(c), Time: x.Start,
	}
}

// firstByte is how long the backend took to begin its answer, 0 if it did not.
func firstByte(o *traffic.Outcome) time.Duration {
	if o.First == 0 {
		return 0
	}
	return max(o.First-o.Start, 0)
}

// failed says that a backend did not do its work: an answer it gave for reasons of
// its own is none.
func failed(o *traffic.Outcome) bool {
	if o.Status == 0 || o.Status >= 500 || o.Answer != nil && !o.Answer.Whole {
		return true
	}
	switch o.GRPC.Status {
	case traffic.GRPCUnknown, traffic.GRPCDeadlineExceeded, traffic.GRPCUnimplemented, traffic.GRPCInternal, traffic.GRPCUnavailable, "DATA_LOSS":
		return true
	}
	return false
}

// control says for whom a pair is one with a control.
type control int

// Whom a control is for.
const (
	noControl  control = iota
	ofEndpoint         // it was drawn because its endpoint wants more: for all together it would weigh too much
	ofAll
)

// draw says whether a request is to be a control, whatever comes of it.
func (m *mirror) draw(e *endpoint) control {
	share := 1.0
	if m.way.mirror.Compare.Repeat != nil {
		share = *m.way.mirror.Compare.Repeat
	}
	switch {
	case share == 0:
		return noControl
	case e.shaky && e.Repeats < enoughRepeats:
		share = max(share, shakyShare)
	case e.Repeats < eagerRepeats:
		share = max(share, eagerShare)
	}
	at := m.random.Float64() * 100
	switch {
	case at < share:
		return ofAll
	case at >= wantedShare || !m.asker.ample():
	case m.everywhere.WantsControls(m.params):
		return ofAll
	case e.Tally.WantsControls(m.params):
		return ofEndpoint
	}
	return noControl
}

// How the noise of an endpoint is measured while little is known of it, in percent of
// its requests.
const (
	eagerRepeats = 20 // controls, until only the configured share is drawn
	eagerShare   = 10
	shakyShare   = 50 // where differences wait for it
	wantedShare  = 25 // where more differ than is assumed, see [judge.Tally.WantsControls]
)

// wants says that an answer of the shadow's would tell something about findings:
// whether they are noise, or gone in a moment.
func (m *mirror) wants(e *endpoint, findings []finding) bool {
	if !m.asks(e) {
		return false
	}
	const enough, well, seldom = manyAsked, 32, 16
	for i := range findings {
		p := e.undecided(&findings[i])
		if p != nil {
			if p.Asked+int64(p.asking) < enough {
				return true
			}
			continue
		}
		p = e.index[spotOf(&findings[i].Difference)]
		if p == nil || p.Asked < well || 20*p.Disagreed > p.Asked || m.random.IntN(seldom) == 0 {
			return true
		}
	}
	return false
}

// consider decides about the places of findings, if there is enough evidence.
func (m *mirror) consider(e *endpoint, findings []finding) {
	decided := false
	for i := range findings {
		if p := e.undecided(&findings[i]); p != nil && m.conclude(e, p, false) {
			decided = true
		}
	}
	if decided {
		m.release(e)
	}
}

// conclude decides about a place and returns whether anything has changed. At last
// there is no more time to learn.
func (m *mirror) conclude(e *endpoint, p *place, last bool) bool {
	before := p.Standing
	switch before {
	case learning:
		if last {
			p.Standing, p.Why = p.last(e)
		} else {
			p.Standing, p.Why = p.decide(e, m.asks(e))
		}
		if p.Standing == learning && m.hearsay[spot{p.Path, p.Kind}] >= enoughHearsay {
			p.Standing, p.Why = noise, "as at other endpoints"
		}
		m.tell(p)
	case real:
		const many = 16
		if p.structural() && p.Why == "" {
			p.Standing, p.Why = p.decideStructure(e, m.asks(e))
			break
		}
		if p.Asked >= many && p.unsteady() && p.share(e) >= noisyShare && !p.steadyAtPrimary(e) {
			p.Standing, p.Why = noise, "shadow repeats"
		}
	case noise:
		if p.Why == "shadow repeats" && p.Values.Class != classTime && p.steadyAtPrimary(e) {
			p.Standing, p.Why = unsteady, "the shadow's answers to the same request differ here, the primary's do not"
		}
	}
	if p.Standing == before {
		return false
	}
	e.demote(p)
	return true
}

// enoughHearsay endpoints say that a place of this name is noise at the next one
// too. One that says otherwise weighs as much as all of them.
const enoughHearsay = 3

// tell has what was found out about a place tell something about others. Only
// headers and fields of the body's top have names that mean the same everywhere.
func (m *mirror) tell(p *place) {
	if p.structural() || len(m.hearsay) >= mostPlaces {
		return
	}
	switch p.Standing {
	case noise:
		if p.Why != "as at other endpoints" {
			m.hearsay[spot{p.Path, p.Kind}]++
		}
	case real, unsteady:
		m.hearsay[spot{p.Path, p.Kind}] -= 1000
	}
}

// conclusion decides about all that is still open, with what is known.
func (m *mirror) conclusion() {
	for _, name := range slices.Sorted(maps.Keys(m.endpoints)) {
		e := m.endpoints[name]
		for len(e.held) > 0 {
			m.force(e)
		}
	}
}
