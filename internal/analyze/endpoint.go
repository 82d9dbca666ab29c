package analyze

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// mostPlaces bounds the places of an endpoint; what differs anywhere else counts
// without being learned.
const mostPlaces = 256

// endpoint is what has been learned of one endpoint of a mirror.
type endpoint struct {
	Name    string                  `json:"name"`
	Pairs   int64                   `json:"pairs"` // that were compared, whatever came of it
	Alike   int64                   `json:"alike"` // of them, those of one status
	Classes map[compare.Class]int64 `json:"classes"`
	Tally   *judge.Tally            `json:"tally"`
	Places  []*place                `json:"places"`
	Repeats int64                   `json:"repeats"` // requests chosen by chance and sent to the shadow twice
	Live    int64                   `json:"live"`    // identical requests of which answers of the primary's version were compared
	Traits  *frequent               `json:"traits"`  // of the requests of pairs that do not differ
	Plain   int64                   `json:"plain"`   // pairs that Traits has seen

	Baselines int64 `json:"baselines,omitempty"` // of Live, requests chosen by chance and sent to the baseline

	index   map[spot]*place
	demoted map[string]bool // paths whose values are noise
	held    []*held
	minutes []minute
	shaky   bool // answers are not built alike by themselves, and how often is still to be known
	changed bool // since it was saved

	baseline bool // controls go there
}

// controls are the requests chosen by chance and answered twice by one version.
func (e *endpoint) controls() int64 { return e.Repeats + e.Baselines }

func newEndpoint(name string, p judge.Params) *endpoint {
	e := &endpoint{Name: name, Classes: map[compare.Class]int64{}, Tally: judge.NewTally(name, p), Traits: newFrequent()}
	e.reindex()
	return e
}

// reindex makes what is not saved.
func (e *endpoint) reindex() {
	e.index, e.demoted = make(map[spot]*place), make(map[string]bool)
	for _, p := range e.Places {
		e.index[spot{p.Path, p.Kind}] = p
		e.demote(p)
	}
	if e.Traits == nil {
		e.Traits = newFrequent()
	}
}

func (e *endpoint) demote(p *place) {
	if p.Kind != compare.Changed {
		return
	}
	if p.Standing == noise {
		e.demoted[p.Path] = true
	} else {
		delete(e.demoted, p.Path)
	}
}

// demotes says that a value check at path is a shape check.
func (e *endpoint) demotes(path string) bool { return e.demoted[path] }

// place returns the place of a spot, a new one if there is room, nil if not.
func (e *endpoint) place(s spot) *place {
	p := e.index[s]
	if p == nil && len(e.Places) < mostPlaces {
		p = &place{Path: s.path, Kind: s.kind, First: max(e.Alike-1, 0)}
		e.Places = append(e.Places, p)
		e.index[s] = p
	}
	return p
}

// spotIn names the place of a difference as this endpoint looks at it: a value
// that differs at a place of noise does so by its shape.
func (e *endpoint) spotIn(d *compare.Difference) spot {
	s := spotOf(d)
	if s.kind == compare.Changed && e.demoted[s.path] {
		s.kind = shape
	}
	return s
}

// finding is a difference that is left when noise is taken away.
type finding struct {
	compare.Difference
	broken bool // it contradicts a renaming that was established
}

// sift takes in where a pair differs, and returns what is left when what is known
// to be noise is taken away. at is when the exchange was.
func (e *endpoint) sift(all []compare.Difference, ids *renamings, at time.Time) []finding {
	var left []finding
	var last *place
	for i := range all {
		d := &all[i]
		p := e.place(e.spotIn(d))
		if p == nil {
			left = append(left, finding{Difference: *d})
			continue
		}
		if p != last {
			p.Seen++
			e.seeShape(p, d)
		}
		last = p
		if p.Standing == noise {
			continue
		}
		broken := false
		if d.Kind == compare.Changed && (p.Standing == learning || p.Standing == renamed) {
			broken = p.rename(d, ids)
			if p.Standing == learning {
				p.Values.add(d, at)
			}
		}
		if p.Standing == renamed && !broken {
			continue
		}
		left = append(left, finding{*d, broken && p.Standing == renamed})
	}
	return left
}

// seeShape counts that a value has another shape, before that is looked at: it will
// be when the value turns out to be noise.
func (e *endpoint) seeShape(p *place, d *compare.Difference) {
	if p.Kind == compare.Changed && !d.Similar {
		if s := e.place(spot{p.Path, shape}); s != nil {
			s.Seen++
		}
	}
}

// rename looks at a pair of ids and says whether they contradict what was known.
func (p *place) rename(d *compare.Difference, ids *renamings) bool {
	f, ok := familyOf(d)
	if !ok {
		return p.Standing == renamed
	}
	if f.unique {
		p.Values.IDs++
	} else {
		p.Values.Named++
	}
	switch ids.check(f, d.Primary.Hash, d.Shadow.Hash) {
	case confirmed:
		p.Values.Renamed++
	case contradicted:
		p.Values.Broken++
		return true
	}
	return false
}

// counts says whether a finding counts by what is known now; wait says that it is
// not known yet.
func (e *endpoint) counts(f *finding) (counts, wait bool) {
	if f.broken {
		return true, false
	}
	p := e.index[spotOf(&f.Difference)]
	if p == nil {
		return true, false
	}
	if p.Standing == noise && f.Kind == compare.Changed {
		// It was taken in as a value; only its shape is left to be looked at.
		if f.Similar {
			return false, false
		}
		if p = e.index[spot{f.Path, shape}]; p == nil {
			return false, false
		}
	}
	switch p.Standing {
	case learning:
		return true, true
	case noise, renamed:
		return false, false
	}
	return true, false
}

// undecided returns the place that a finding waits for, nil if none.
func (e *endpoint) undecided(f *finding) *place {
	if _, wait := e.counts(f); !wait {
		return nil
	}
	if p := e.index[spotOf(&f.Difference)]; p.Standing == learning {
		return p
	}
	return e.index[spot{f.Path, shape}]
}

// repeated takes in where two answers of the shadow to the same request differ.
// The request must have been chosen without regard to its answers.
func (e *endpoint) repeated(differences []compare.Difference) {
	e.Repeats++
	for s := range spots(differences) {
		if p := e.place(s); p != nil {
			p.Repeats++
		}
	}
}

// answered takes in the same for a pair with findings, for the places of those.
func (e *endpoint) answered(findings []finding, differences []compare.Difference) {
	differ := spots(differences)
	done := make(map[*place]bool)
	for i := range findings {
		for _, kind := range [2]compare.Kind{findings[i].Kind, shape} {
			p := e.index[spot{findings[i].Path, kind}]
			if p == nil || done[p] || kind == shape && findings[i].Kind != compare.Changed {
				continue
			}
			done[p] = true
			p.Asked++
			if differ[spot{p.Path, p.Kind}] {
				p.Disagreed++
			}
		}
	}
}

// spots are the places of differences.
func spots(differences []compare.Difference) map[spot]bool {
	all := make(map[spot]bool)
	for i := range differences {
		d := &differences[i]
		all[spotOf(d)] = true
		switch d.Kind { // it depends on which answer comes first
		case compare.Missing:
			all[spot{d.Path, compare.Extra}] = true
		case compare.Extra:
			all[spot{d.Path, compare.Missing}] = true
		}
		if d.Kind == compare.Changed && !d.Similar {
			all[spot{d.Path, shape}] = true
		}
	}
	return all
}

// absorb adds what was learned of another endpoint, which is no more.
func (e *endpoint) absorb(other *endpoint) {
	e.Pairs += other.Pairs
	e.Alike += other.Alike
	for class, n := range other.Classes {
		e.Classes[class] += n
	}
	// It fails if the limits were others, and then the other is of no use.
	_ = e.Tally.Merge(other.Tally)
	e.Repeats += other.Repeats
	e.Live += other.Live
	e.Baselines += other.Baselines
	for _, p := range other.Places {
		e.absorbPlace(p)
	}
	for _, t := range other.Traits.heap {
		e.Traits.add(t.Text)
	}
	for _, h := range other.held {
		h.endpoint = e
	}
	e.held = append(e.held, other.held...)
	e.changed = true
}

func (e *endpoint) absorbPlace(other *place) {
	p := e.place(spot{other.Path, other.Kind})
	if p == nil {
		return
	}
	p.Seen += other.Seen
	p.Asked += other.Asked
	p.Disagreed += other.Disagreed
	p.Repeats += other.Repeats
	p.Live += other.Live
	p.Drifts += other.Drifts
	p.Stayed += other.Stayed
	p.asking += other.asking
	p.First = 0
	if p.Values.Seen < other.Values.Seen {
		p.Values = other.Values
	}
	if p.Standing == learning {
		p.Standing, p.Why = other.Standing, other.Why
	}
	e.demote(p)
}

// curious says that requests without findings are of interest, to be set against
// those with: all at first, then some.
func (e *endpoint) curious() bool {
	const all, oneIn = 256, 16
	return e.Plain < all || e.Pairs%oneIn == 0
}

// plain takes in the traits of a request whose pair does not differ.
func (e *endpoint) plain(traits []string) {
	e.Plain++
	for _, t := range traits {
		e.Traits.add(t)
	}
}

// count adds a pair that has been decided about.
func (e *endpoint) count(class compare.Class) {
	e.Classes[class]++
	e.roll(class, time.Now())
	e.changed = true
}
