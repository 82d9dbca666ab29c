package analyze

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// playBeside is play with a baseline, of the primary's version, to which controls go.
// Without a fault the versions are moody.
func playBeside(t *testing.T, seed uint64, pairs int, fault func(string, map[string]any, *answer)) (*MirrorReport, int) {
	t.Helper()
	primary, other, next := newVersion(3*seed, "v1", nil), newVersion(3*seed+1, "v1", nil), newVersion(3*seed+2, "v2", fault)
	primary.moody, other.moody, next.moody = fault == nil, fault == nil, fault == nil
	other.visits, next.visits = 77, 31
	s := open(t, "compare: {baseline: a}", Options{Asker: shadow(func(q *Question) *traffic.Outcome {
		if q.Backend == "a" {
			return other.asker()(q)
		}
		return next.asker()(q)
	})})
	return s.play(seed, pairs, primary, next)
}

// With a baseline, too, noise is no fault: also that of structure, which is never
// learned away but set against what the primary's version does. Of 40 seeds none
// failed.
func TestNoiseIsNoFaultBesideABaseline(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			m, n := playBeside(t, seed, 3000, nil)
			if m.Verdict == judge.Fail || m.Held > 100 {
				t.Errorf("seed %d: %s after %d pairs, %d held: %s", seed, m.Verdict, n, m.Held, strings.Join(m.Reasons, "\n"))
			}
			t.Logf("seed %d: %s, %d pairs, %d held, %v, %v", seed, m.Verdict, m.Pairs, m.Held, m.Classes, m.Reasons)
		})
	}
}

// Of five seeds for each fault none was missed within 2300 pairs; it has 6000.
func TestPlantedFaultsAreFoundBesideABaseline(t *testing.T) {
	t.Parallel()
	for i, f := range faults {
		synctest.Test(t, func(t *testing.T) {
			m, n := playBeside(t, 200+uint64(i), 6000, f.fault)
			if m.Verdict != judge.Fail {
				t.Errorf("%s: %s after %d pairs: %s", f.name, m.Verdict, n, strings.Join(m.Reasons, " "))
			}
			t.Logf("%s: %s after %d pairs, %d held, %v", f.name, m.Verdict, n, m.Held, m.Classes)
		})
	}
}
