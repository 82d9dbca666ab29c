package analyze

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
)

// values is what has been seen of the values at a place while it was learned.
type values struct {
	Seen    int64  `json:"seen,omitempty"`    // pairs of values
	Class   string `json:"class,omitempty"`   // that one of the first pairs had on both sides, empty if none
	Same    int64  `json:"same,omitempty"`    // pairs with that class on both sides
	Now     int64  `json:"now,omitempty"`     // pairs of times near the exchange's own
	IDs     int64  `json:"ids,omitempty"`     // pairs of ids that machines make unique
	Named   int64  `json:"named,omitempty"`   // pairs of other ids
	Renamed int64  `json:"renamed,omitempty"` // pairs of ids that confirmed what was known of them
	Broken  int64  `json:"broken,omitempty"`  // pairs of ids that contradicted it

	Primary side `json:"primary"`
	Shadow  side `json:"shadow"`

	Numbers int64   `json:"numbers,omitempty"` // pairs of numbers
	Rose    int64   `json:"rose,omitempty"`    // of them, neither below the one before
	Product float64 `json:"product,omitempty"` // sum of the products of both sides' distances from their first
}

// side is what has been seen of one backend's values at a place.
type side struct {
	Shapes []string `json:"shapes,omitempty"` // the first few that are different

	// Of numbers. Sums are of distances from the first, which keeps them exact
	// enough.
	First   float64 `json:"first,omitempty"`
	Last    float64 `json:"last,omitempty"`
	Sum     float64 `json:"sum,omitempty"`
	Squares float64 `json:"squares,omitempty"`

	Again  int64      `json:"again,omitempty"` // values that were among the last ones
	recent [16]uint64 // their hashes
}

// Sorts of values of several classes that are alike for what is learned here.
const (
	classTime  = "time"
	classPlace = "place" // where something ran
)

// sortOf returns the sort of values that a class belongs to, empty for what people
// write and computers count.
func sortOf(c compare.ValueClass) string {
	switch {
	case c == compare.Time || c == compare.Epoch:
		return classTime
	case c == compare.Pod || c == compare.IP || c == compare.Host:
		return classPlace
	case c.Generated():
		return string(c)
	}
	return ""
}

// near is how far a time may be from the exchange's to say "now".
const near = 10 * time.Minute

// add counts a pair of values that differ. at is when the exchange was.
func (v *values) add(d *compare.Difference, at time.Time) {
	v.Seen++
	p, s := sortOf(d.Primary.Class), sortOf(d.Shadow.Class)
	if v.Class == "" && v.Seen <= 4 && p == s {
		v.Class = p
	}
	if v.Class == string(compare.Token) && (p == classPlace || s == classPlace) {
		v.Class = classPlace // the name of a pod may look like any other that was drawn
	}
	if v.Class != "" && v.is(p) && v.is(s) {
		v.Same++
	}
	if isNow(&d.Primary, at) && isNow(&d.Shadow, at) {
		v.Now++
	}
	v.Primary.remember(&d.Primary)
	v.Shadow.remember(&d.Shadow)
	v.addNumbers(d)
}

func (v *values) addNumbers(d *compare.Difference) {
	p, errP := strconv.ParseFloat(d.Primary.Text, 64)
	s, errS := strconv.ParseFloat(d.Shadow.Text, 64)
	if errP != nil || errS != nil || math.IsInf(p, 0) || math.IsInf(s, 0) || math.IsNaN(p) || math.IsNaN(s) {
		return
	}
	v.Numbers++
	if v.Numbers == 1 {
		v.Primary.First, v.Shadow.First = p, s
	} else if p >= v.Primary.Last && s >= v.Shadow.Last {
		v.Rose++
	}
	v.Primary.sum(p)
	v.Shadow.sum(s)
	v.Product += (p - v.Primary.First) * (s - v.Shadow.First)
}

func (s *side) sum(x float64) {
	s.Last = x
	x -= s.First
	s.Sum += x
	s.Squares += x * x
}

// remember takes a value in, and counts if it was among the last ones.
func (s *side) remember(v *compare.Value) {
	const most = 4
	if form := compare.Shape(v.Text); len(s.Shapes) < most && !slices.Contains(s.Shapes, form) {
		s.Shapes = append(s.Shapes, form)
	}
	if slices.Contains(s.recent[:], v.Hash) {
		s.Again++
		return
	}
	copy(s.recent[1:], s.recent[:])
	s.recent[0] = v.Hash
}

// is says that a value of a sort is of the class of these.
func (v *values) is(sort string) bool {
	return sort == v.Class || v.Class == classPlace && sort == string(compare.Token)
}

// ids says that the values are ids that machines make unique.
func (v *values) ids() bool {
	return v.Seen > 0 && v.Class != classTime && v.Class != classPlace && 10*v.IDs >= 9*v.Seen
}

// volatile says that values are of one class whose values are made anew.
func (v *values) volatile() bool { return v.Class != "" && v.Class != classPlace && v.uniform() }

// uniform says that values are of one class, all but those that chance has made
// look like another: of digits only, say.
func (v *values) uniform() bool { return 10*v.Same >= 9*v.Seen }

// fresh says that values have hardly ever come back, in at least so many pairs.
func (v *values) fresh(pairs int64) bool {
	return v.Seen >= pairs && 10*(v.Primary.Again+v.Shadow.Again) <= v.Seen
}

// frozen says that the shadow's values come again and again, and the primary's never.
func (v *values) frozen() bool {
	return v.Seen >= enoughAgreed && 10*v.Shadow.Again >= 8*v.Seen && 10*v.Primary.Again <= v.Seen
}

// consistent says that the values are ids that stand for each other one for one.
// Numbers must have been given out in order, too: an id that is too high by one
// stands for another just as consistently.
func (v *values) consistent() bool {
	if 100*v.Broken > v.Renamed || 10*(v.IDs+v.Named) < 9*v.Seen {
		return false
	}
	if v.ids() {
		return v.Renamed >= 4
	}
	return v.Renamed >= 8 && (v.Numbers == 0 || v.Numbers == v.Seen && 10*v.Rose >= 8*v.Numbers)
}

// unsettled says that the primary's ids come again and the shadow's do not: one of
// its stands for many of the shadow's.
func (v *values) unsettled() bool {
	const enough = 4
	return v.ids() && v.Broken >= enough && 20*v.Shadow.Again <= v.Seen
}

// rising says that both sides count: values never come back, and three of four are
// above those before on both sides. Requests that overtake each other make the rest.
// Of numbers that only go together, half are; that it looks like more is one in 200.
func (v *values) rising() bool {
	return v.Numbers >= enoughSeen && v.Numbers == v.Seen && v.fresh(enoughSeen) && 4*v.Rose >= 3*v.Numbers && v.Primary.moved() && v.Shadow.moved()
}

func (s *side) moved() bool { return s.Last > s.First }

// independent says that both sides are numbers that never come back and have
// nothing to do with each other, as measured times have. A wrong number goes with
// the right one.
func (v *values) independent() bool {
	if v.Numbers < enoughSeen || v.Numbers != v.Seen || !v.fresh(enoughSeen) {
		return false
	}
	n := float64(v.Numbers)
	spread := func(s *side) float64 { return s.Squares/n - s.Sum/n*s.Sum/n }
	both := spread(&v.Primary) * spread(&v.Shadow)
	if both <= 0 {
		return false
	}
	correlation := (v.Product/n - v.Primary.Sum/n*v.Shadow.Sum/n) / math.Sqrt(both)
	return math.Abs(correlation) < 0.6
}

// shapeless says that the primary's values have no one shape that the shadow's
// could be held to.
func (v *values) shapeless() bool { return len(v.Primary.Shapes) > 1 }

// isNow says that a value is a time close to at.
func isNow(v *compare.Value, at time.Time) bool {
	t, ok := timeOf(v.Text)
	return ok && t.Sub(at).Abs() <= near
}

// timeOf reads a time: RFC 3339, that of HTTP, or seconds to nanoseconds since
// 1970.
func timeOf(text string) (time.Time, bool) {
	if len(text) < 9 || len(text) > 40 {
		return time.Time{}, false
	}
	if text[0] >= '0' && text[0] <= '9' {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return epoch(f)
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t, true
			}
		}
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, time.RFC850} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// epoch takes a number for a time if it can be one of this century's first half.
func epoch(f float64) (time.Time, bool) {
	for _, unit := range []float64{1, 1e3, 1e6, 1e9} {
		if s := f / unit; s > 9e8 && s < 2.6e9 {
			whole := math.Floor(s)
			return time.Unix(int64(whole), int64((s-whole)*1e9)), true
		}
	}
	return time.Time{}, false
}
