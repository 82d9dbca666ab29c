package analyze

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
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
	primary.moody, next.moody = seed%2 == 1, seed%2 == 1
	next.visits = 31
	s := open(t, "", Options{Asker: next.asker()})
	return s.play(seed, pairs, primary, next)
}

// play has visitors use both versions until the verdict is FAIL or it is over, and
// returns the report and after how many pairs that was.
func (s *stage) play(seed uint64, pairs int, primary, next *version) (*MirrorReport, int) {
	s.Helper()
	visitors := visitor{rand.New(rand.NewPCG(seed, 3))}
	for i := range pairs {
		r := visitors.request()
		s.offer(r, primary.answer(r), next.answer(r))
		<-time.After(10 * time.Millisecond)
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
// one looks. Seeds are fixed, and only the order of answers that come at one moment
// is left to chance; of 200 seeds none failed.
func TestNoiseIsNoFault(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			m, n := play(t, seed, 2000, nil)
			if m.Verdict == judge.Fail {
				t.Errorf("seed %d: FAIL after %d pairs: %s", seed, n, strings.Join(m.Reasons, "\n"))
			}
			t.Logf("seed %d: %s, %d pairs, %d held, %v, %v", seed, m.Verdict, m.Pairs, m.Held, m.Classes, m.Reasons)
			for _, c := range m.Clusters {
				t.Logf("  cluster %s %s: %d, %v", c.Endpoint, c.Title, c.Count, c.Class)
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
	{"one percent of answers are wrong", func(r string, b map[string]any, _ *answer) {
		if strings.HasSuffix(r, "7\nx-") || strings.Contains(r, "99?") || strings.Contains(r, "17?") {
			b["name"] = "thing"
		}
	}, ""},
	{"wrong by chance", func(_ string, b map[string]any, a *answer) {
		if b["took"].(float64) < 0.3 {
			b["price"] = 0
		}
	}, ""},
	{"stale cache", func(_ string, b map[string]any, _ *answer) { b["stock"] = 3 }, ""},
	{"slower by a fifth", func(_ string, _ map[string]any, a *answer) { a.first += a.first / 5 }, ""},
	{"a slow tail", func(_ string, b map[string]any, a *answer) {
		if b["took"].(float64) < 0.5 {
			a.first += 20 * time.Millisecond
		}
	}, ""},
	{"errors, one in a hundred", func(_ string, b map[string]any, a *answer) {
		if b["took"].(float64) < 0.1 {
			a.status = 500
		}
	}, ""},
	{"cut off, one in fifty", func(_ string, b map[string]any, a *answer) {
		if b["took"].(float64) < 0.2 {
			a.gone = "reset"
		}
	}, ""},
	{"wrong charset", func(_ string, _ map[string]any, a *answer) { a.head += "\ncontent-language: tr" }, ""},
	{"forbidden to one application", func(r string, _ map[string]any, a *answer) {
		if strings.Contains(r, "app/2") {
			a.status = 403
		}
	}, "header.user-agent=app/2"},
	{"fewer than noise: a constant token", func(_ string, b map[string]any, _ *answer) { b["request"] = "none" }, ""},
}

// Of 20 seeds for each fault none was missed within 3200 pairs; it has 6000.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for i, f := range faults {
		synctest.Test(t, func(t *testing.T) {
			m, n := play(t, 100+2*uint64(i), 6000, f.fault)
			if m.Verdict != judge.Fail {
				t.Errorf("%s: %s after %d pairs: %s", f.name, m.Verdict, n, strings.Join(m.Reasons, " "))
			}
			t.Logf("%s: %s after %d pairs, %d held, %v %v", f.name, m.Verdict, n, m.Held, m.Classes, m.Reasons)
			for _, c := range m.Clusters {
				t.Logf("  cluster %s %s: %d, %v", c.Endpoint, c.Title, c.Count, c.Predictors)
			}
			if f.predictor != "" {
				c := slices.MaxFunc(m.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Count, b.Count) })
				if len(c.Predictors) == 0 || c.Predictors[0].Attribute+"="+c.Predictors[0].Value != f.predictor {
					t.Errorf("%s: cluster %q has the predictors %v", f.name, c.Title, c.Predictors)
				}
			}
		})
	}
}
