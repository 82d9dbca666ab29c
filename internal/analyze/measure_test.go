package analyze

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-proxy/understudy/internal/judge"
)

func TestMeasure(t *testing.T) {
	for i, f := range faults {
		if only := os.Getenv("ONLY"); only != "" && !strings.Contains(f.name, only) {
			continue
		}
		var at []int
		missed := 0
		for seed := range 20 {
			synctest.Test(t, func(t *testing.T) {
				m, n := play(t, uint64(1000*i+seed), 6000, f.fault)
				if m.Verdict != judge.Fail {
					missed++
					t.Log(m.Reasons, m.Classes)
				} else {
					at = append(at, n)
				}
			})
		}
		slices.Sort(at)
		if len(at) > 0 {
			t.Logf("%s: missed %d, median %d, max %d", f.name, missed, at[len(at)/2], at[len(at)-1])
		} else {
			t.Logf("%s: all missed", f.name)
		}
	}
}

func TestMeasureNoise(t *testing.T) {
	n := 0
	for seed := 1; seed < 120; seed += 2 {
		synctest.Test(t, func(t *testing.T) {
			m, at := play(t, uint64(seed), 3000, nil)
			if m.Verdict == judge.Fail {
				n++
				t.Log(seed, at, m.Reasons, m.Classes)
			}
			if m.Verdict == judge.Fail || seed < 2 {
				t.Log(seed, at, m.Reasons, m.Classes)
				for _, c := range m.Clusters {
					t.Logf("  cluster %s %s: %d, %v", c.Endpoint, c.Title, c.Count, c.Class)
				}
			}
		})
	}
	t.Logf("%d of 60 FAIL", n)
}

func TestDebug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		debug = func(s *stage) {
			for _, m := range s.pipeline.mirrors {
				t.Log(m.everywhere.Repeats, m.everywhere.RepeatMismatches, m.everywhere.Control)
				for _, e := range m.endpoints {
					t.Log(e.Name, e.Pairs, len(e.held), e.Repeats, e.Live, e.Tally.Repeats, e.Tally.RepeatMismatches, e.Tally.Control.Total)
					for _, p := range e.Places {
						t.Logf("   %+v", *p)
					}
				}
			}
		}
		play(t, 3, 3000, nil)
	})
}
