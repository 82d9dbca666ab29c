package analyze

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// ask has the shadow asked once more about h, if there is room for the question:
// what else is to be counted waits for it. A control goes to the baseline, if there
// is one: in the form in which the shadow gets requests, because what a copy is
// treated to is no difference of versions.
func (m *mirror) ask(h *held, x *traffic.Exchange, c *traffic.Outcome, raw *traffic.Message, control bool) {
	bytes := size(raw) + size(x.Request) + size(x.Primary.Answer) + size(c.Answer)
	if c.Answer == nil || !m.asker.room(bytes) {
		return
	}
	live := *x
	live.Request, live.Memory, live.Copies, live.Primary.Answer = nil, nil, nil, nil
	own := live
	own.Request, own.Primary, own.Copies = keepMessage(x.Request), keep(&x.Primary), []traffic.Outcome{keep(c)}
	q := &Question{
		Route: m.label.Route, Rule: m.label.Rule, Mirror: m.label.Mirror, Backend: m.way.mirror.Backend,
		ID: x.ID, Request: keepMessage(raw), Live: &live,
		mirror: m, held: h, control: control, x: &own, size: bytes, delay: m.delay(),
	}
	if control && m.baseline() != "" {
		q.Backend, q.delay = m.baseline(), 0
	}
	m.put(q)
}

// delay is when the shadow is asked.
func (m *mirror) delay() time.Duration {
	return askAfter + time.Duration(m.random.Int64N(int64(askAfter)))
}

// put sends a question on its way.
func (m *mirror) put(q *Question) {
	q.held.asking++
	q.asked++
	if m.toShadow(q) {
		for p := range m.placesOf(q.held) {
			p.asking++
		}
	}
	m.asker.put(q)
}

// toShadow says that q is about the shadow, and not about the primary's version.
func (m *mirror) toShadow(q *Question) bool { return q.Backend == m.way.mirror.Backend }

// insist asks once more, if nothing is known yet of a place where few pairs differ.
func (m *mirror) insist(q *Question) {
	h := q.held
	if q.asked >= mostOfOne || !m.toShadow(q) {
		return
	}
	for i := range h.findings {
		if p := h.endpoint.undecided(&h.findings[i]); p != nil && p.Asked+int64(p.asking) < enoughAgreed {
			if m.asker.room(q.size) {
				q.control, q.delay = false, m.delay()
				m.put(q)
			}
			return
		}
	}
}

// placesOf yields the places of a pair's findings, each once.
func (m *mirror) placesOf(h *held) map[*place]bool {
	places := make(map[*place]bool, len(h.findings))
	for i := range h.findings {
		s := spotOf(&h.findings[i].Difference)
		if p := h.endpoint.index[s]; p != nil {
			places[p] = true
		}
		if p := h.endpoint.index[spot{s.path, shape}]; p != nil && s.kind == compare.Changed {
			places[p] = true
		}
	}
	return places
}

// hear takes in a reply. again is nil if there is none, and redacted as the
// question is.
func (m *mirror) hear(q *Question, again *traffic.Outcome) {
	h := q.held
	e := h.endpoint
	m.changed, e.changed = true, true
	if m.toShadow(q) {
		for p := range m.placesOf(h) {
			p.asking = max(p.asking-1, 0)
		}
	}
	h.asking = max(h.asking-1, 0)
	if again != nil && again.Answer != nil && !failed(again) {
		if m.toShadow(q) {
			m.hearShadow(q, again)
		} else {
			m.hearBaseline(q, again)
		}
	}
	if !m.asker.closed() { // a question that was given up is no reason to decide without it
		m.consider(e, h.findings)
		m.insist(q)
		for p := range m.placesOf(h) {
			m.conclude(e, p, false)
		}
	}
	m.release(e)
}

func (m *mirror) hearShadow(q *Question, again *traffic.Outcome) {
	h, first := q.held, &q.x.Copies[0]
	e := h.endpoint
	options := compare.Options{Endpoint: e.Name}
	r := m.comparer.Compare(q.x, first, again, options)
	if r.Class == compare.Infra {
		return
	}
	e.answered(h.findings, r.Differences)
	if q.control {
		e.repeated(r.Differences)
		h.pair.Controlled, h.quarrel = true, m.quarrel(q, first, again)
	}
	if len(h.findings) == 0 {
		return
	}
	options.Demoted = e.demotes
	h.again = spots(m.comparer.Compare(q.x, &q.x.Primary, again, options).Differences)
	for p := range m.placesOf(h) {
		if !h.again[spot{p.Path, p.Kind}] {
			p.Drifts++
		} else {
			p.Stayed++
		}
	}
}

// hearBaseline learns from another instance of the primary's version.
func (m *mirror) hearBaseline(q *Question, again *traffic.Outcome) {
	e := q.held.endpoint
	r := m.comparer.Compare(q.x, &q.x.Primary, again, compare.Options{Endpoint: e.Name})
	if r.Class == compare.Infra {
		return
	}
	e.Live++
	e.Baselines++
	seen := make(map[spot]bool)
	for i := range r.Differences {
		m.liveDiffers(e, &r.Differences[i], seen)
	}
	h := q.held
	h.pair.Controlled, h.baseline, h.quarrel = true, true, m.quarrel(q, &q.x.Primary, again)
	for _, p := range e.Places {
		if p.Standing != real && p.Standing != unsteady {
			m.conclude(e, p, false)
		}
	}
}

// quarrel are the places where two answers of one version differ: all but what is known
// to be noise. They are compared as the pair is, by shape where it is noise: elements
// that are aligned there must not count as missing here.
func (m *mirror) quarrel(q *Question, first, again *traffic.Outcome) []spot {
	e := q.held.endpoint
	var all []spot
	for s := range spots(m.comparer.Compare(q.x, first, again, compare.Options{Endpoint: e.Name, Demoted: e.demotes}).Differences) {
		if e.index[s] == nil && (s.kind == shape || s.kind == compare.Missing || s.kind == compare.Extra) {
			continue // it was never seen but here, and is part of a value that is noise
		}
		if p := e.index[s]; p == nil || p.Standing != noise && p.Standing != renamed {
			all = append(all, s)
		}
	}
	return all
}

// tested says that it has been seen what becomes of differences at a place.
func (e *endpoint) tested(p *place) bool {
	drifts, stayed, _ := e.tides(p)
	return drifts >= enoughDrifts || stayed >= enoughStayed
}

// contests says whether the places where a control's answers differ, two of the
// shadow or two of the primary's version, say that differences are nothing special;
// wait says that it is not known yet. What only the shadow does is no excuse for it.
func (e *endpoint) contests(h *held) (contests, wait bool) {
	for _, s := range h.quarrel {
		p := e.index[s]
		if p == nil {
			return true, false
		}
		switch {
		case p.Standing == noise, p.Standing == renamed:
		case h.baseline && p.Standing == real && p.Values.frozen(): // that is no way to differ by itself
		case h.baseline:
			// It is the primary's version that differs. Where the shadow never
			// does there is nothing to be excused.
			wait = wait || p.Standing == learning && (p.Seen > 0 || e.Alike-p.First < patience)
			contests = contests || p.Standing != learning && p.Seen > 0
		case p.Standing == unsteady, p.steadyAtPrimary(e), p.oddOneOut(e):
		case p.Standing == learning, !e.tested(p):
			wait = true
		default:
			contests = true
		}
	}
	return contests, wait && !contests
}
