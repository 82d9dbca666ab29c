package analyze

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// mostReported bounds the clusters of a report.
const mostReported = 100

// gravity orders verdicts.
var gravity = map[judge.Verdict]int{judge.Pass: 0, judge.Running: 1, judge.NotEnoughTraffic: 2, judge.Fail: 3}

// report is what has been learned of m.
func (m *mirror) report() MirrorReport {
	r := MirrorReport{
		Mirror: m.label.Mirror, Route: m.label.Route, Rule: m.label.Rule, Primary: m.primary, Shadow: m.way.mirror.Backend, Since: m.since,
		Pairs: m.everywhere.Errors.Total.Pairs, Classes: map[compare.Class]int64{},
		Checks: []judge.Check{}, Endpoints: []EndpointReport{}, Clusters: []Cluster{}, Noise: []Noise{},
	}
	if r.Primary == "" && len(m.way.rule.Backends) == 1 {
		r.Primary = m.way.rule.Backends[0].Name // whose answers are to come
	}
	m.countWaiting()
	checks := m.everywhere.Checks(m.params)
	for _, e := range m.byTraffic() {
		own := e.Tally.Checks(m.params)
		checks = append(checks, own...)
		r.Endpoints = append(r.Endpoints, EndpointReport{
			Endpoint: e.Name, Pairs: e.Tally.Errors.Total.Pairs - int64(len(e.held)), Classes: maps.Clone(e.Classes), Checks: own,
			Primary: quantiles(e.Tally.Primary()), Shadow: quantiles(e.Tally.Shadow()),
		})
		for class, n := range e.Classes {
			r.Classes[class] += n
		}
		r.Held += int64(len(e.held))
		r.Pairs -= int64(len(e.held))
		r.Noise = append(r.Noise, e.noise()...)
	}
	d := judge.Decide(checks, m.params)
	r.Verdict, r.Reasons, r.Shown = d.Verdict, d.Reasons, d.Shown
	byEndpoint := make(map[string][]judge.Check, len(r.Endpoints))
	for _, c := range d.Checks {
		byEndpoint[c.Endpoint] = append(byEndpoint[c.Endpoint], c)
	}
	r.Checks = byEndpoint[judge.Everywhere]
	for i := range r.Endpoints {
		if all := byEndpoint[r.Endpoints[i].Endpoint]; all != nil {
			r.Endpoints[i].Checks = all
		}
	}
	r.Clusters = m.clusters.report()
	r.Calibration = m.calibration
	return r
}

// countWaiting tells the tallies how many pairs are held that may yet count against
// the shadow: matches count at once, and a PASS must not slip in between.
func (m *mirror) countWaiting() {
	m.everywhere.Waiting = 0
	for _, e := range m.endpoints {
		e.Tally.Waiting = 0
		for _, h := range e.held {
			if len(h.findings) > 0 {
				e.Tally.Waiting++
			}
		}
		m.everywhere.Waiting += e.Tally.Waiting
	}
}

// byTraffic are the endpoints, those with most pairs first.
func (m *mirror) byTraffic() []*endpoint {
	return slices.SortedFunc(maps.Values(m.endpoints), func(a, b *endpoint) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), strings.Compare(a.Name, b.Name))
	})
}

// quantiles of a latency, in milliseconds.
func quantiles(s *judge.Sketch) Quantiles {
	const milli = 1e3
	return Quantiles{P50: s.Quantile(0.5) * milli, P95: s.Quantile(0.95) * milli, P99: s.Quantile(0.99) * milli}
}

// noise is what was learned to be no difference.
func (e *endpoint) noise() []Noise {
	var all []Noise
	for _, p := range e.Places {
		if p.Standing != noise && p.Standing != renamed {
			continue
		}
		path := p.Path
		why := p.Why
		if p.Kind == compare.Order {
			why += ", of order"
		} else if p.Kind == shape {
			why += ", of shape"
		}
		all = append(all, Noise{Endpoint: e.Name, Path: path, Why: why, Seen: p.Seen})
	}
	slices.SortFunc(all, func(a, b Noise) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Why, b.Why))
	})
	return all
}

// severity orders classes, the gravest first.
var severity = map[compare.Class]int{compare.ShadowError: 0, compare.StatusDiff: 1, compare.Diff: 2, compare.OrderOnly: 3, compare.StateDrift: 4}

// report is the gravest clusters.
func (c *clusters) report() []Cluster {
	out := make([]Cluster, 0, len(c.all))
	for _, k := range c.all {
		out = append(out, c.show(k))
	}
	slices.SortFunc(out, func(a, b Cluster) int {
		return cmp.Or(cmp.Compare(severity[a.Class], severity[b.Class]), cmp.Compare(b.Count, a.Count), strings.Compare(a.ID, b.ID))
	})
	return out[:min(len(out), mostReported)]
}

func (c *clusters) show(k *cluster) Cluster {
	m := c.mirror
	e := m.endpoints[k.Endpoint]
	tally := m.everywhere
	if e != nil {
		tally = e.Tally
	}
	pairs := tally.Mismatch.Total.Pairs
	if k.Class == compare.ShadowError {
		pairs = tally.Errors.Total.Pairs
	}
	pairs = max(pairs, k.Count)
	out := Cluster{
		ID: k.ID, Mirror: m.label.Mirror, Endpoint: k.Endpoint, Class: k.Class, Title: k.Title, Count: k.Count,
		Rate: float64(k.Count) / float64(max(pairs, 1)), First: k.First, Last: k.Last,
		Differences: slices.Clone(k.Differences), Predictors: predictors(k.Traits, k.Sighted, e), Examples: []string{}, Curl: k.Curl,
	}
	if out.Differences == nil {
		out.Differences = []compare.Difference{}
	}
	out.Low, out.High = judge.Interval(k.Count, pairs, m.params.Alpha)
	// The smallest first: it is the one that the differences and the command are of.
	bySize := slices.SortedStableFunc(slices.Values(k.Examples), func(a, b example) int { return cmp.Compare(a.Size, b.Size) })
	for _, x := range bySize {
		out.Examples = append(out.Examples, x.ID)
	}
	return out
}

// Report returns what has been learned so far, in an order that does not depend
// on chance.
func (p *Pipeline) Report() *Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Report{Time: time.Now(), Mirrors: []MirrorReport{}, Lost: map[string]int64{}}
	for reason, n := range map[string]int64{"queue": p.lostQueue.Load(), "cpu": p.lostCPU.Load()} {
		if n > 0 {
			r.Lost[reason] = n
		}
	}
	for _, m := range p.sorted() {
		if m.passed > 0 {
			r.Lost["learning"] += m.passed
		}
		one := m.report()
		if r.Verdict == "" || gravity[one.Verdict] > gravity[r.Verdict] {
			r.Verdict = one.Verdict
		}
		r.Mirrors = append(r.Mirrors, one)
	}
	if r.Verdict == "" {
		r.Verdict = judge.NotEnoughTraffic
	}
	return r
}

// Pair returns an example that a cluster names. It must not be changed.
func (p *Pipeline) Pair(id string) (*Pair, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.sorted() {
		if pair := m.clusters.pairs[id]; pair != nil {
			return pair, true
		}
	}
	return nil, false
}

// sorted are the mirrors in the order of their names.
func (p *Pipeline) sorted() []*mirror {
	return slices.SortedFunc(maps.Values(p.mirrors), func(a, b *mirror) int {
		return cmp.Or(strings.Compare(a.label.Route, b.label.Route), cmp.Compare(a.label.Rule, b.label.Rule), strings.Compare(a.label.Mirror, b.label.Mirror))
	})
}
