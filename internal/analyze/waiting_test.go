package analyze

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/traffic"
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

// While it is being learned what differs by itself, errors are a share of all pairs,
// and not of those alone that need not wait; and when no more can wait, matches count
// no more than differences do.
func TestSharesAreNotOfThoseAloneThatNeedNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := make(chan struct{})
		defer close(silent)
		s := open(t, "compare: {repeat: 0}", Options{Asker: shadow(func(*Question) *traffic.Outcome { <-silent; return nil })})
		const pairs = 3000
		var errors, matches, waiting int64
		for i := range pairs {
			primary := answer{body: fmt.Sprintf(`{"price": %d}`, i)}
			next := primary
			switch {
			case i%100 == 0:
				next = answer{status: 500}
				errors++
			case i%3 == 0:
				if waiting < mostHeld {
					matches++
				}
			default:
				next.body = fmt.Sprintf(`{"price": %d}`, i+7)
				waiting++
			}
			s.offer("GET /a", primary, next)
			<-time.After(napTime)
		}
		synctest.Wait()
		m := s.mirror()
		if m.Held != mostHeld || m.Pairs != pairs-mostHeld {
			t.Fatalf("%d pairs, %d held, want %d and %d", m.Pairs, m.Held, pairs-mostHeld, mostHeld)
		}
		for _, c := range m.Checks {
			switch {
			case c.Metric == judge.Errors && (c.Pairs != pairs || c.Worse != errors):
				t.Errorf("errors: %d of %d pairs, want %d of %d", c.Worse, c.Pairs, errors, pairs)
			case c.Metric == judge.Mismatch && (c.Pairs != matches || c.Worse != 0):
				t.Errorf("mismatch: %d of %d pairs, want none of %d", c.Worse, c.Pairs, matches)
			}
		}
		if lost := s.pipeline.Report().Lost["learning"]; lost != pairs-mostHeld-errors-matches {
			t.Errorf("%d were passed over, want %d", lost, pairs-mostHeld-errors-matches)
		}
	})
}
