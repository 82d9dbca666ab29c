package analyze

import (
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// ask has the shadow asked once more about h, if there is room for the question:
// what else is to be counted waits for it. A control may go to the baseline.
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
		mirror: m, held: h, control: control, x: &own, size: bytes, delay: delay(),
	}
	if control && m.way.mirror.Compare.Baseline != "" {
		q.Backend, q.delay = m.way.mirror.Compare.Baseline, 0
	}
	h.asking = true
	for p := range m.placesOf(h) {
		p.asking++
	}
	m.asker.put(q)
}

// placesOf yields the places of a pair's findings, each once.
func (m *mirror) placesOf(h *held) map[*place]bool {
	places := make(map[*place]bool, len(h.findings))
	for i := range h.findings {
		if p := h.endpoint.index[spotOf(&h.findings[i].Difference)]; p != nil {
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
	for p := range m.placesOf(h) {
		p.asking = max(p.asking-1, 0)
	}
	h.asking = false
	if again != nil && again.Answer != nil && !failed(again) {
		if q.Backend == m.way.mirror.Backend {
			m.hearShadow(q, again)
		} else {
			m.hearBaseline(q, again)
		}
	}
	m.consider(e, h.findings)
	for i := range h.findings {
		if p := e.index[spotOf(&h.findings[i].Difference)]; p != nil {
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
		h.pair.Controlled, h.pair.ControlMismatch = true, m.controlDiffers(e, r.Differences)
	}
	if len(h.findings) == 0 {
		return
	}
	options.Demoted = e.demotes
	h.again = spots(m.comparer.Compare(q.x, &q.x.Primary, again, options).Differences)
	for p := range m.placesOf(h) {
		if !h.again[spot{p.Path, p.Kind}] {
			p.Drifts++
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
	seen := make(map[spot]bool)
	for i := range r.Differences {
		m.liveDiffers(e, &r.Differences[i], seen)
	}
	q.held.pair.Controlled, q.held.pair.ControlMismatch = true, m.controlDiffers(e, r.Differences)
}

// controlDiffers says whether two answers that should be equal differ beyond what
// is known to be noise. What only the shadow does is no excuse for it.
func (m *mirror) controlDiffers(e *endpoint, differences []compare.Difference) bool {
	for i := range differences {
		d := &differences[i]
		p := e.index[spotOf(d)]
		switch {
		case p == nil:
			return true
		case p.Standing == noise:
			if d.Kind == compare.Changed && !d.Similar {
				if s := e.index[spot{d.Path, shape}]; s != nil && s.Standing != noise {
					return true
				}
			}
		case p.Standing == renamed, p.Standing == unsteady, p.steadyAtPrimary(e):
		case p.Standing == learning && !p.structural():
			// It is about to be known; most of what differs so is noise.
		default:
			return true
		}
	}
	return false
}
