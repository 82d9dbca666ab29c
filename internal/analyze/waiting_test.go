package analyze

import (
	"testing"

	"github.com/understudy-proxy/understudy/internal/judge"
)

// Pairs that are held with differences count as if they were bad for whoever would
// PASS; those that wait without any do not.
func TestAPassDoesNotSlipInWhilePairsWait(t *testing.T) {
	m, p := &mirror{}, judge.Params{}
	m.everywhere = judge.NewTally(judge.Everywhere, p)
	a, b := &endpoint{Tally: judge.NewTally("GET /a", p)}, &endpoint{Tally: judge.NewTally("GET /b", p)}
	a.held = []*held{{findings: make([]finding, 1)}, {asking: 1}, {findings: make([]finding, 2)}}
	b.held = []*held{{findings: make([]finding, 1)}}
	m.endpoints = map[string]*endpoint{"GET /a": a, "GET /b": b}
	for range 2 { // as often as one looks
		m.countWaiting()
		if a.Tally.Waiting != 2 || b.Tally.Waiting != 1 || m.everywhere.Waiting != 3 {
			t.Errorf("%d, %d and in all %d wait, want 2, 1 and 3", a.Tally.Waiting, b.Tally.Waiting, m.everywhere.Waiting)
		}
	}
	a.held = nil
	if m.countWaiting(); a.Tally.Waiting != 0 || m.everywhere.Waiting != 1 {
		t.Errorf("%d and in all %d wait, want 0 and 1", a.Tally.Waiting, m.everywhere.Waiting)
	}
}
