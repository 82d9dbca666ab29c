package analyze

import (
	"strings"

	"github.com/understudy-proxy/understudy/internal/compare"
)

// standing is what has been decided about a place.
type standing string

// The standings. A place begins as learning: pairs that differ there are held.
const (
	learning standing = ""
	noise    standing = "noise"    // its value differs by itself: only its shape is compared
	renamed  standing = "renamed"  // its ids are others in the shadow, one for one
	real     standing = "real"     // what differs here counts
	unsteady standing = "unsteady" // it differs by itself in the shadow and not at the primary, which is a finding
)

// shape is the kind of a difference at a place that is noise, of values that do
// not even have the same shape. It is learned apart from the value.
const shape compare.Kind = "shape"

// spot names a place within an endpoint.
type spot struct {
	path string
	kind compare.Kind
}

// spotOf names the place of a difference.
func spotOf(d *compare.Difference) spot { return spot{d.Path, d.Kind} }

// place is one way in which answers of an endpoint were seen to differ, and the
// evidence of whether they do so by themselves.
type place struct {
	Path     string       `json:"path"`
	Kind     compare.Kind `json:"kind"`
	Standing standing     `json:"standing,omitempty"`
	Why      string       `json:"why,omitempty"`
	First    int64        `json:"first"` // pairs of one status before it was first seen
	Seen     int64        `json:"seen"`  // pairs that differed here

	// Of the pairs that differed here, those whose request the shadow was sent
	// once more, and those in which its two answers differed here too.
	Asked     int64 `json:"asked,omitempty"`
	Disagreed int64 `json:"disagreed,omitempty"`
	// Requests chosen by chance and sent to the shadow twice, whose answers
	// differed here.
	Repeats int64 `json:"repeats,omitempty"`
	// Identical requests whose answers by the primary differed here.
	Live   int64  `json:"live,omitempty"`
	Drifts int64  `json:"drifts,omitempty"` // pairs that agreed here when the shadow was asked once more
	Stayed int64  `json:"stayed,omitempty"` // pairs that did not
	Values values `json:"values"`

	asking int   // questions about it that are on their way
	saved  int64 // its sum when it was saved last
}

// structural are the kinds of differences that are about what there is.
var structural = [...]compare.Kind{compare.Missing, compare.Extra, compare.Null, compare.Type, compare.Length}

// structural says that the place is about what there is, not about values: it is
// never learned to be noise.
func (p *place) structural() bool {
	return p.Kind != compare.Changed && p.Kind != compare.Order && p.Kind != shape
}

// How much evidence a decision takes. With eight questions a value that is one of
// two by the toss of a coin looks steady once in 256 times.
const (
	enoughAgreed    = 8    // answers, all the same: steady in the shadow
	fewAgreed       = 4    // the same, where a rare share differs
	enoughDisagreed = 3    // answers, all of them different: not steady
	enoughAsked     = 6    // answers, of which a quarter are different: not steady
	manyAsked       = 24   // answers, of which less are
	enoughDrifts    = 12   // pairs that the shadow took back, when it hardly ever stayed with its answer
	enoughStayed    = 3    // pairs in which it did
	enoughStructure = 2    // answers that say that structure is no accident of the moment
	enoughRepeats   = 60   // controls that say how often it is
	enoughSeen      = 24   // pairs, where nobody can be asked
	enoughIDs       = 64   // pairs of ids, none of which contradicts another
	patience        = 256  // pairs, where the shadow could be asked but was not: the budget is spent elsewhere
	noisyShare      = 0.3  // of the pairs: what is noise is seldom rarer than that
	rareShare       = 0.15 // of the pairs: what is as rare looks like a fault
	unsteadyShare   = 0.25 // of two answers to the same request
	clearlySteady   = 8.0  // differences expected of the primary, when none is seen
	enoughLive      = 3    // differences between answers of the primary
)

// primaryRepeats says that the primary's version differs here by itself, about as
// often as the shadow does from it. Instances of one version may each have a value of
// their own, so what a baseline says holds even if the shadow repeats itself; unless
// the shadow always says the same where the primary never does.
func (p *place) primaryRepeats(e *endpoint) bool {
	if p.Live < enoughLive || 2*float64(p.Live) < p.share(e)*float64(e.Live) {
		return false
	}
	if e.baseline {
		return p.Seen >= enoughAgreed && !p.Values.frozen()
	}
	return p.Disagreed > 0 || p.Asked < fewAgreed
}

// unheard says that the baseline has not said enough for a guess to be needed.
func (p *place) unheard(e *endpoint) bool {
	return e.baseline && p.Live < enoughLive && e.Baselines < enoughRepeats && p.Seen < patience && !p.sameAtBaseline(e)
}

// sameAtBaseline says that the baseline would have been seen to differ here if it did
// so as often as the shadow does.
func (p *place) sameAtBaseline(e *endpoint) bool {
	return p.Live == 0 && p.Values.Class != classTime && float64(e.Baselines)*p.share(e) >= clearlySteady
}

// share is the part of the endpoint's pairs of one status that differ here, since
// they were first seen to.
func (p *place) share(e *endpoint) float64 {
	return float64(p.Seen) / float64(max(e.Alike-p.First, p.Seen, 1))
}

// whyUnsteady is the reason for that standing.
const whyUnsteady = "the shadow's answers to the same request differ here, the primary's do not"

// steadyAtPrimary says that the primary would have been seen to differ here if it
// did so as often as the shadow does by itself.
func (p *place) steadyAtPrimary(e *endpoint) bool {
	return p.Live == 0 && float64(e.Live)*p.restless(e) >= clearlySteady
}

// restless is how often two answers of the shadow to the same request differ here:
// of the controls; or, if those go to the baseline, of the pairs that differ, and
// then it is at least so often.
func (p *place) restless(e *endpoint) float64 {
	switch {
	case e.Repeats > 0:
		return float64(p.Repeats) / float64(e.Repeats)
	case e.Baselines > 0 && p.Asked > 0:
		return p.share(e) * float64(p.Disagreed) / float64(p.Asked)
	}
	return 0
}

// awaitsBaseline says that the baseline is still to say whether what differs here by
// itself does so in the primary's version.
func (p *place) awaitsBaseline(e *endpoint) bool {
	return e.baseline && p.Live == 0 && p.Values.Class != classTime && !p.steadyAtPrimary(e) && e.Baselines < enoughRepeats && p.Seen < patience
}

// unsteady says that the shadow's answers to the same request differ here often.
func (p *place) unsteady() bool {
	return float64(p.Disagreed) >= unsteadyShare*float64(p.Asked)
}

// oddOneOut says that it is the shadow that is wrong now and then. If both versions
// were, then asked once more the shadow would stay with its answer as often as it
// takes it back; and a thing that has changed meanwhile changes at the primary too.
func (p *place) oddOneOut(e *endpoint) bool {
	drifts, stayed, live := e.tides(p)
	if drifts < enoughDrifts || 5*stayed > drifts {
		return false
	}
	return 2*live*max(e.Pairs, 1) < drifts*max(e.Live, 1)
}

// tides are how often what differs at a place was taken back, was not, and comes
// and goes at the primary; of structure in whatever way it differs, because what the
// shadow has now and then is missing as often when the primary has it.
func (e *endpoint) tides(p *place) (drifts, stayed, live int64) {
	if !p.structural() {
		return p.Drifts, p.Stayed, p.Live
	}
	for _, kind := range structural {
		if q := e.index[spot{p.Path, kind}]; q != nil {
			drifts, stayed, live = drifts+q.Drifts, stayed+q.Stayed, live+q.Live
		}
	}
	return drifts, stayed, live
}

// decide looks at the evidence and returns the standing that follows from it, with
// the reason. ask says that the shadow can be asked about the place.
func (p *place) decide(e *endpoint, ask bool) (standing, string) {
	if p.structural() {
		return p.decideStructure(e, ask)
	}
	if s, why := p.decideByValues(e); s != learning {
		return s, why
	}
	if p.Values.ids() && p.Disagreed == 0 && p.share(e) >= 0.5 && p.Seen < enoughIDs && 10*p.Values.Broken <= p.Seen {
		return learning, "" // each side's own ids, perhaps: that takes some to come again
	}
	share := p.share(e)
	moody := p.Asked >= enoughDisagreed && p.Disagreed == p.Asked || p.Asked >= enoughAsked && p.unsteady()
	switch {
	case moody && p.Values.unsettled():
		return unsteady, "one id of the primary's is many of the shadow's"
	case moody && p.awaitsBaseline(e):
		return learning, ""
	case moody && e.baseline && p.Values.Class != classTime && p.steadyAtPrimary(e):
		return unsteady, whyUnsteady
	case moody && p.Values.volatile() && p.Values.fresh(1):
		return noise, "class " + p.Values.Class
	case moody && (share >= noisyShare || 4*p.Drifts < p.Asked):
		// A fault that comes and goes is taken back; noise is another each time.
		if p.Values.Class != classTime && p.steadyAtPrimary(e) {
			return unsteady, whyUnsteady
		}
		return noise, "shadow repeats"
	case moody && p.Live >= 2:
		return noise, "primary repeats"
	case p.primaryRepeats(e):
		return noise, "primary repeats"
	case p.Disagreed == 0 && (p.Asked >= enoughAgreed || p.Asked >= fewAgreed && share < rareShare), moody && share < noisyShare, p.Asked >= manyAsked:
		return real, ""
	}
	if p.unheard(e) {
		return learning, ""
	}
	if p.asking == 0 && (!ask && p.Asked == 0 && p.Seen >= enoughSeen || p.Asked < fewAgreed && p.Seen >= patience) {
		return p.guess(e)
	}
	return learning, ""
}

// decideStructure never calls structure noise. It waits for a word about whether it
// is an accident of the moment; and where the shadow's own answers are not built
// alike, until it is known how often: differences count from then on, against that.
func (p *place) decideStructure(e *endpoint, ask bool) (standing, string) {
	asked, disagreed := e.structure(p.Path)
	enough := int64(enoughStructure)
	switch {
	case strings.HasSuffix(p.Path, "]"), strings.HasSuffix(p.Path, "}"):
		enough = 2 * enoughAgreed // elements come and go more easily than fields, and one for another is two
	case p.share(e) < rareShare:
		enough = fewAgreed
	}
	switch {
	case !ask && p.asking == 0:
		return real, ""
	case asked >= enough && disagreed == 0, asked < enough && p.asking == 0 && p.Seen >= patience:
		return real, ""
	case asked < enough:
		return learning, ""
	case float64(disagreed) < unsteadyShare*float64(asked):
		if asked < manyAsked {
			return learning, ""
		}
		return real, ""
	case e.controls() < enoughRepeats:
		e.shaky = true
		return learning, ""
	}
	return real, "varies by itself, too"
}

// structure is what is known of the steadiness of what there is at a path, whichever
// way it differs.
func (e *endpoint) structure(path string) (asked, disagreed int64) {
	for _, kind := range structural {
		if p := e.index[spot{path, kind}]; p != nil {
			asked += p.Asked
			disagreed += p.Disagreed
		}
	}
	return asked, disagreed
}

// decideByValues decides what the values say alone, whoever was asked.
func (p *place) decideByValues(e *endpoint) (standing, string) {
	v := &p.Values
	switch {
	case v.Seen > 0 && v.Now == v.Seen:
		return noise, "class now"
	case v.Seen >= 4 && v.Class == classPlace && v.uniform() && p.share(e) >= noisyShare:
		return noise, "class " + classPlace
	case v.ids() && v.Broken == 0 && p.Disagreed == 0 && p.Seen >= enoughIDs && p.share(e) >= 0.5 && (p.Asked >= enoughAgreed || p.Asked+int64(p.asking) == 0):
		return renamed, "renamed, as far as was seen"
	case v.consistent() && p.share(e) >= 0.5 && (p.Asked >= enoughAgreed && p.Disagreed == 0 || p.Asked+int64(p.asking) == 0 && v.Renamed >= enoughSeen):
		return renamed, "renamed consistently"
	}
	return learning, ""
}

// guess decides without anybody having been asked, by what the values look like.
func (p *place) guess(e *endpoint) (standing, string) {
	v := &p.Values
	switch {
	case p.sameAtBaseline(e):
		return real, "" // however it looks: the primary's version says the same twice
	case p.share(e) < noisyShare && !v.volatile():
		return real, ""
	case v.volatile() && v.fresh(16):
		return noise, "class " + v.Class
	case v.rising():
		return noise, "class counter"
	case v.independent():
		return noise, "values without relation"
	case p.Kind == shape && p.Seen >= enoughSeen && v.shapeless():
		return noise, "shapes vary"
	}
	return real, ""
}

// last decides when there is no more time to learn.
func (p *place) last(e *endpoint) (standing, string) {
	if s, why := p.decide(e, false); s != learning {
		return s, why
	}
	if p.Asked > 0 && p.unsteady() && !p.structural() {
		if e.baseline && p.Values.Class != classTime && p.steadyAtPrimary(e) {
			return unsteady, whyUnsteady
		}
		return noise, "shadow repeats"
	}
	return p.guess(e)
}
