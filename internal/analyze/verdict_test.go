package analyze

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-proxy/understudy/internal/judge"
)

// play has visitors use both versions of the shop, and returns the stage when it is
// over or the verdict is FAIL, and after how many pairs that was.
func play(t *testing.T, seed uint64, pairs int, fault func(string, map[string]any, *answer)) (*MirrorReport, int) {
	t.Helper()
	primary, next := newVersion(2*seed, "v1", nil), newVersion(2*seed+1, "v2", fault)
	next.visits = 31
	s := open(t, "", Options{Asker: next.asker()})
	visitors := visitor{rand.New(rand.NewPCG(seed, 3))}
	for i := range pairs {
		r := visitors.request()
		s.offer(r, primary.answer(r), next.answer(r))
		time.Sleep(10 * time.Millisecond)
		if i%50 == 49 {
			synctest.Wait()
			if m := s.mirror(); m.Verdict == judge.Fail {
				return m, i + 1
			}
		}
	}
	s.wait()
	return s.mirror(), pairs
}

// A shadow of the same version, full of noise, is not found guilty, however often
// one looks.
func TestNoiseIsNoFault(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			m, n := play(t, seed, 2000, nil)
			if m.Verdict == judge.Fail {
				t.Errorf("seed %d: FAIL after %d pairs: %s", seed, n, strings.Join(m.Reasons, "\n"))
			}
			t.Logf("seed %d: %s, %d pairs, %d held, %v", seed, m.Verdict, m.Pairs, m.Held, m.Classes)
			for _, c := range m.Clusters {
				t.Logf("  cluster %s %s: %d, %v", c.Endpoint, c.Title, c.Count, c.Differences)
			}
			for _, n := range m.Noise {
				t.Logf("  noise %v", n)
			}
		})
	}
}

// faults are what is planted, and the predictor that names the cause.
var faults = []struct {
	name      string
	fault     func(request string, body map[string]any, a *answer)
	predictor string
}{
	{"wrong value for one tenant", func(r string, b map[string]any, _ *answer) {
		if strings.Contains(r, "x-tenant: acme") {
			b["price"] = b["price"].(float64) + 1
		}
	}, "header.x-tenant=acme"},
	{"missing field for a locale", func(r string, b map[string]any, _ *answer) {
		if strings.Contains(r, "locale=tr") {
			delete(b, "stock")
		}
	}, "query.locale=tr"},
	{"type change", func(_ string, b map[string]any, _ *answer) { b["price"] = fmt.Sprint(b["price"]) }, ""},
	{"rounding", func(_ string, b map[string]any, _ *answer) { b["price"] = float64(int(b["price"].(float64))) }, ""},
	{"reordered list", func(_ string, b map[string]any, _ *answer) {
		l := b["lines"].([]any)
		l[0], l[1] = l[1], l[0]
	}, ""},
	{"duplicate element", func(_ string, b map[string]any, _ *answer) {
		l := b["lines"].([]any)
		b["lines"] = append(l, l[0])
	}, ""},
	{"header lost", func(_ string, _ map[string]any, a *answer) {
		a.head, _, _ = strings.Cut(a.head, "\ncache-control")
	}, ""},
	{"frozen time", func(_ string, b map[string]any, _ *answer) { b["at"] = "2001-01-01T00:00:00Z" }, ""},
	{"fewer than noise: a constant token", func(_ string, b map[string]any, _ *answer) { b["request"] = "none" }, ""},
}

func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for i, f := range faults {
		synctest.Test(t, func(t *testing.T) {
			m, n := play(t, 100+uint64(i), 3000, f.fault)
			if m.Verdict != judge.Fail {
				t.Errorf("%s: %s after %d pairs", f.name, m.Verdict, n)
			}
			t.Logf("%s: %s after %d pairs, %d held, %v", f.name, m.Verdict, n, m.Held, m.Classes)
			for _, c := range m.Clusters {
				t.Logf("  cluster %s %s: %d, %v", c.Endpoint, c.Title, c.Count, c.Predictors)
			}
			if f.predictor != "" {
				for _, c := range m.Clusters {
					if len(c.Predictors) == 0 || c.Predictors[0].Attribute+"="+c.Predictors[0].Value != f.predictor {
						t.Errorf("%s: cluster %q has the predictors %v", f.name, c.Title, c.Predictors)
					}
				}
			}
		})
	}
}
