package analyze

import (
	"slices"
	"os"
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
