package analyze

import (
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// Bounds on the pairs that wait for a decision.
const (
	mostHeld     = 1024 // of an endpoint
	mostFindings = 32   // of one pair: what decides is among the first, which are the most structural
)

// held is a pair that has not been counted yet: it is not known whether its
// differences are noise, or the shadow has been asked once more.
type held struct {
	endpoint *endpoint
	pair     judge.Pair
	class    compare.Class
	findings []finding
	control  control       // what it was drawn to be
	asking   int           // questions that were not answered yet
	again    map[spot]bool // where the answers differ still, asked once more; nil if the shadow did not say
	quarrel  []spot        // of a control, where its answers differ
	baseline bool          // the control was the baseline's
	sight    *sight
}

// hold keeps h until it is known whether its differences count, or counts them at once.
func (m *mirror) hold(h *held) {
	e := h.endpoint
	if len(e.held) >= mostHeld && !m.answerable(e) {
		m.force(e)
	}
	if len(e.held) >= mostHeld && !h.failed() {
		m.passed++ // also if it would not have to wait, or matches would be too large a share
		return
	}
	if !m.settle(h) {
		e.held = append(e.held, h)
	}
}

// answerable says that what the oldest held pair of e waits for will be known soon.
func (m *mirror) answerable(e *endpoint) bool {
	h := e.held[0]
	for i := range h.findings {
		if p := e.undecided(&h.findings[i]); p != nil && p.asking > 0 {
			return true
		}
	}
	return h.asking > 0
}

// force decides about what the oldest held pair of e waits for.
func (m *mirror) force(e *endpoint) {
	h := e.held[0]
	h.asking = 0
	for i := range h.findings {
		if p := e.undecided(&h.findings[i]); p != nil {
			m.conclude(e, p, true)
		}
	}
	if _, wait := e.contests(h); wait {
		h.quarrel = nil // it never came up again
	}
	m.release(e)
}

// release counts every held pair of e that waits for nothing any more.
func (m *mirror) release(e *endpoint) {
	waiting := e.held[:0]
	for _, h := range e.held {
		if !m.settle(h) {
			waiting = append(waiting, h)
		}
	}
	clear(e.held[len(waiting):])
	e.held = waiting
}

// failed says that there is nothing to be found out: a failure is no answer that could
// be compared.
func (h *held) failed() bool { return h.pair.PrimaryFailed || h.pair.ShadowFailed }

// settle counts h and returns true, or returns false if it must wait.
func (m *mirror) settle(h *held) bool {
	if h.asking > 0 && !h.failed() {
		return false
	}
	var sure []finding
	for i := range h.findings {
		counts, wait := h.endpoint.counts(&h.findings[i])
		if wait {
			return false
		}
		if counts {
			sure = append(sure, h.findings[i])
		}
	}
	contests, wait := h.endpoint.contests(h)
	if wait {
		return false
	}
	h.pair.ControlMismatch = contests
	m.count(h, sure)
	return true
}

// count counts a pair of which these findings are no noise.
func (m *mirror) count(h *held, sure []finding) {
	e := h.endpoint
	class := h.class
	switch {
	case class == compare.ShadowError:
		// Errors have a check of their own.
	case h.pair.PrimaryFailed:
		if class == compare.Diff {
			class = compare.NoiseOnly // what a failure says is no answer
		}
	case len(sure) == 0:
		if class != compare.Match {
			class = quiet(h.findings, class)
		}
	case h.gone(sure) && e.drifts(sure):
		class = compare.StateDrift
	default:
		class = gravest(sure)
		h.pair.Mismatch = true
	}
	e.count(class)
	e.Tally.Settle(h.pair)
	all := h.pair
	all.Controlled = all.Controlled && h.control == ofAll
	m.everywhere.Settle(all)
	if len(sure) > 0 || class == compare.ShadowError {
		m.clusters.add(e, class, sure, h.sight)
	} else if h.sight != nil && h.sight.traits != nil {
		e.plain(h.sight.traits)
	}
}

// gone says that asked once more, the shadow gave the primary's answer.
func (h *held) gone(sure []finding) bool {
	for i := range sure {
		if h.again[spotOf(&sure[i].Difference)] {
			return false
		}
	}
	return h.again != nil
}

// quiet is the class of a pair in which nothing counts.
func quiet(findings []finding, class compare.Class) compare.Class {
	for i := range findings {
		if findings[i].Kind != compare.Order {
			return compare.NoiseOnly
		}
	}
	if len(findings) > 0 {
		return compare.OrderOnly
	}
	if class == compare.OrderOnly {
		return class
	}
	return compare.NoiseOnly
}

// gravest is the class of a pair with these findings.
func gravest(sure []finding) compare.Class {
	class := compare.OrderOnly
	for i := range sure {
		switch {
		case aboutStatus(sure[i].Path):
			return compare.StatusDiff
		case sure[i].Kind != compare.Order:
			class = compare.Diff
		}
	}
	return class
}

func aboutStatus(path string) bool {
	return path == "status" || path == "trailer.grpc-status" || path == "header.grpc-status"
}

// drifts says that findings which are gone when the shadow is asked once more may
// be put down to what changed meanwhile: values and elements do, what an answer
// consists of does not. If the primary's answers to identical requests never show
// the like, it is the shadow that cannot decide.
func (e *endpoint) drifts(sure []finding) bool {
	for i := range sure {
		f := &sure[i]
		if f.broken || f.Kind == compare.Type || f.Kind == compare.Null || aboutStatus(f.Path) || !f.within() && (f.Kind == compare.Missing || f.Kind == compare.Extra) {
			return false
		}
		p := e.index[spotOf(&f.Difference)]
		if p == nil {
			continue
		}
		if p.Standing == unsteady || p.oddOneOut(e) || p.Live == 0 && float64(e.Live)*float64(p.Drifts)/float64(max(e.Pairs, 1)) >= clearlySteady {
			return false
		}
	}
	return true
}

// within says that the place lies within an array or a map.
func (f *finding) within() bool {
	for i := 0; i+1 < len(f.Path); i++ {
		if f.Path[i] == '*' {
			return true
		}
	}
	return len(f.Path) > 0 && (f.Path[len(f.Path)-1] == ']' || f.Path[len(f.Path)-1] == '}')
}
