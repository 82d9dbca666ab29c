package judge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/understudy-proxy/understudy/internal/config"
)

// part is so many pairs of an endpoint, of which some are bad. They are spread
// evenly over an hour.
type part struct {
	endpoint                    string
	pairs                       int
	failing, differing, slowing int // every so many; 0 is none
	slower                      time.Duration
	silent                      bool // no latencies
}

// decision is what is decided of parts, each a tally, and all a tally of their own.
func decision(p Params, parts ...part) Decision {
	everywhere := NewTally(Everywhere, p)
	tallies := []*Tally{everywhere}
	for _, part := range parts {
		tally := NewTally(part.endpoint, p)
		tallies = append(tallies, tally)
		for i := range part.pairs {
			pair := Pair{
				ShadowFailed: every(i, part.failing), Mismatch: every(i, part.differing),
				Primary: 10*time.Millisecond + time.Duration(i%100)*100*time.Microsecond,
				Time:    began.Add(time.Hour / time.Duration(part.pairs) * time.Duration(i)),
			}
			// Three in five are a little faster, and all are within 5 %.
			pair.Shadow = pair.Primary + time.Duration(i%5-3)*100*time.Microsecond
			if every(i, part.slowing) {
				pair.Shadow += part.slower
			}
			if part.silent {
				pair.Primary, pair.Shadow = 0, 0
			}
			tally.Observe(pair)
			everywhere.Observe(pair)
		}
	}
	var checks []Check
	for _, tally := range tallies {
		checks = append(checks, tally.Checks(p)...)
	}
	return Decide(checks, p)
}

func every(i, n int) bool { return n > 0 && i%n == n-1 }

func TestDecide(t *testing.T) {
	p := ParamsOf(config.Judge{})
	for _, test := range []struct {
		name    string
		parts   []part
		verdict Verdict
		reason  string // how the first one begins
		shown   string // that is in it
	}{
		{"no traffic", nil, NotEnoughTraffic, "0 pairs so far, at least 300 are asked for.", "Nothing: there was no pair."},
		{"little traffic", []part{{endpoint: "GET /a", pairs: 299, failing: 1}}, NotEnoughTraffic,
			"299 pairs so far, at least 300 are asked for.", "299 pairs can rule out an excess of 1.2 % or more"},
		{"enough to find, not to clear", []part{{endpoint: "GET /a", pairs: 1000}}, Running,
			"All endpoints: 0 % more errors than the primary's (at most 0.37 %) in 1000 pairs, not decided at a limit of 0.1 %.",
			"1000 pairs can rule out an excess of 0.37 % or more, and no smaller one. 1 endpoint has too few pairs to be cleared alone, with 100 % of the traffic"},
		{"nothing amiss", []part{{endpoint: "GET /a", pairs: 12_000}}, Pass,
			"All endpoints: 0 % more errors than the primary's (at most 0.031 %) in 12000 pairs, within the limit of 0.1 %.", "12000 pairs can rule out an excess of 0.031 % or more"},
		{"a quiet endpoint beside", []part{{endpoint: "GET /a", pairs: 12_000}, {endpoint: "GET /b", pairs: 120}}, Pass, "All endpoints:",
			"1 endpoint has too few pairs to be cleared alone, with 0.99 % of the traffic: where they are fewest, only an excess of 3.1 % or more could be ruled out."},
		{"the quiet endpoint fails", []part{{endpoint: "GET /a", pairs: 12_000}, {endpoint: "GET /b", pairs: 120, failing: 2}}, Fail,
			"GET /b: 50 % more errors than the primary's (38 % to 63 %) in 120 pairs, beyond the limit of 0.1 %.", ""},
		{"one error in many", []part{{endpoint: "GET /a", pairs: 40_000, failing: 30_000}}, Pass, "All endpoints:", ""},
		{"one percent fails", []part{{endpoint: "GET /a", pairs: 5000, failing: 100}}, Fail,
			"All endpoints: 1 % more errors than the primary's (0.65 % to 1.5 %) in 5000 pairs, beyond the limit of 0.1 %.", ""},
		{"one in fifty differs", []part{{endpoint: "GET /a", pairs: 5000, differing: 50}}, Fail,
			"All endpoints: 2 % of answers differ beyond noise (1.1 % to 2.7 %) in 5000 pairs, beyond the limit of 0.1 %.", ""},
		{"slower", []part{{endpoint: "GET /a", pairs: 5000, slowing: 1, slower: 3 * time.Millisecond}}, Fail,
			"All endpoints: typically ×1.185 the primary's time (×1.174 to ×1.221) in 5000 pairs, beyond the limit of ×1.05 and 200µs.", ""},
		{"a slow tail", []part{{endpoint: "GET /a", pairs: 5000, slowing: 20, slower: time.Second}}, Fail,
			"All endpoints: 5 % more slow answers than the primary's (4.1 % to 6.2 %) in 4744 pairs, beyond the limit of 0.5 %.", ""},
		{"no latencies", []part{{endpoint: "GET /a", pairs: 12_000, silent: true}}, Pass, "All endpoints: 0 % more errors",
			"The latency was not measured. The tail of the latency was not measured."},
	} {
		d := decision(p, test.parts...)
		if d.Verdict != test.verdict || !strings.HasPrefix(d.Reasons[0], test.reason) || !strings.Contains(d.Shown, test.shown) {
			t.Errorf("%s: %s\n%s\n%s", test.name, d.Verdict, strings.Join(d.Reasons, "\n"), d.Shown)
		}
	}
}

func check(endpoint string, metric Metric, evidence float64) Check {
	return Check{Endpoint: endpoint, Metric: metric, Verdict: Fail, Pairs: 1000, Evidence: evidence, Lasting: evidence, Effect: 1, Limit: 0.001, High: 1, Says: endpoint}
}

// Of a hundred checks, one must have an e-value of 2,000 to be rejected at 5 %, and of
// two that are rejected together each must have 1,000.
func TestManyChecksAreCorrected(t *testing.T) {
	p := ParamsOf(config.Judge{})
	for _, test := range []struct {
		name     string
		evidence []float64 // of the first checks, log10
		failed   int
	}{
		{"alone, strong enough", []float64{3.302}, 1},
		{"alone, nearly", []float64{3.3}, 0},
		{"two together", []float64{3.001, 3.001}, 2},
		{"two together, one too weak", []float64{3.1, 2.9}, 0},
		{"the strong one carries no weak one", []float64{3.4, 2.9}, 1},
	} {
		var checks []Check
		for i := range 100 {
			c := check(fmt.Sprintf("GET /%d", i), Errors, 0)
			c.Verdict = Running
			if i < len(test.evidence) {
				c = check(c.Endpoint, Errors, test.evidence[i])
			}
			checks = append(checks, c)
		}
		before := slices.Clone(checks)
		d := Decide(checks, p)
		if got := len(filter(d.Checks, func(c Check) bool { return c.Verdict == Fail })); got != test.failed {
			t.Errorf("%s: %d failed, want %d", test.name, got, test.failed)
		}
		if want := map[bool]Verdict{true: Fail, false: Running}[test.failed > 0]; d.Verdict != want {
			t.Errorf("%s: %s, want %s", test.name, d.Verdict, want)
		}
		if diff := cmp.Diff(before, checks); diff != "" {
			t.Errorf("%s: the checks that were given have changed: %s", test.name, diff)
		}
	}
}

// Checks of Everywhere share half of the weight: with one of them, 40 are enough.
func TestEverywhereIsFoundSooner(t *testing.T) {
	for evidence, want := range map[float64]Verdict{1.61: Fail, 1.59: Running} {
		checks := []Check{check(Everywhere, Errors, evidence)}
		for i := range 100 {
			checks = append(checks, Check{Endpoint: fmt.Sprint(i), Metric: Errors, Verdict: Running, Pairs: 1000})
		}
		if d := Decide(checks, ParamsOf(config.Judge{})); d.Verdict != want {
			t.Errorf("%v: %s, want %s", evidence, d.Verdict, want)
		}
	}
}

func TestReasonsAreFewAndTheGravestFirst(t *testing.T) {
	checks := []Check{check("GET /slow", Latency, 90), check("GET /tail", Tail, 99), check("GET /differs", Mismatch, 50)}
	for i := range 20 {
		checks = append(checks, check(fmt.Sprintf("GET /%d", i), Errors, float64(10+i)))
	}
	checks = append(checks, check(Everywhere, Errors, 5))
	d := Decide(checks, ParamsOf(config.Judge{}))
	want := []string{"*", "GET /19", "GET /18", "GET /17", "GET /16", "GET /15", "GET /14", "GET /13", "GET /12", "GET /11", "And 14 checks more."}
	if diff := cmp.Diff(want, d.Reasons); diff != "" {
		t.Error(diff)
	}
}

// An endpoint with enough pairs must be cleared itself, and one that stands out, however few it has.
func TestEndpointsHoldAPassUp(t *testing.T) {
	p := ParamsOf(config.Judge{})
	fine := []Check{{Endpoint: Everywhere, Metric: Errors, Verdict: Pass, Pairs: 50_000}}
	for _, test := range []struct {
		name  string
		check Check
		want  Verdict
	}{
		{"open, with few pairs", Check{Metric: Errors, Verdict: Running, Pairs: 3000, Limit: 0.001, High: 1}, Pass},
		{"open, with enough", Check{Metric: Errors, Verdict: Running, Pairs: 4000, Limit: 0.001, High: 1}, Running},
		{"tail, with few", Check{Metric: Tail, Verdict: Running, Pairs: 9000, Limit: 0.005, High: 1}, Pass},
		{"tail, with enough", Check{Metric: Tail, Verdict: Running, Pairs: 11_000, Limit: 0.005, High: 1}, Running},
		{"latency, with enough", Check{Metric: Latency, Verdict: Running, Pairs: 2500, Limit: 1.05, High: 2}, Running},
		{"suspicious, not rejected", Check{Metric: Errors, Verdict: Fail, Pairs: 50, Limit: 0.001, High: 1, Effect: 0.1, Evidence: 1.4, Lasting: 1.4}, Running},
	} {
		test.check.Endpoint = "GET /b"
		if d := Decide(append(slices.Clone(fine), test.check), p); d.Verdict != test.want {
			t.Errorf("%s: %s, want %s", test.name, d.Verdict, test.want)
		}
	}
}

// What is known of the noise decides what mismatches say.
func TestNoiseOfMismatches(t *testing.T) {
	p := ParamsOf(config.Judge{})
	mismatches := func(control func(*Tally), p Params) Check {
		tally := NewTally("GET /", p)
		for i := range 4000 {
			tally.Observe(Pair{Mismatch: every(i, 100)})
		}
		control(tally)
		return tally.Checks(p)[1]
	}
	calibrated := p
	calibrated.Offsets = Offsets{Mismatch: 0.013, MismatchLow: 0.008, Pairs: 10_000}
	for _, test := range []struct {
		name    string
		params  Params
		control func(*Tally)
		want    Verdict
	}{
		{"nothing measured", p, func(*Tally) {}, Fail},
		{"calibrated to differ as often", calibrated, func(*Tally) {}, Running},
		{"repeats differ as often", p, func(tally *Tally) {
			for i := range 1000 {
				tally.Repeat(every(i, 100))
			}
		}, Running},
		{"repeats never differ", p, func(tally *Tally) {
			for range 1000 {
				tally.Repeat(false)
			}
		}, Fail},
	} {
		if c := mismatches(test.control, test.params); c.Verdict != test.want {
			t.Errorf("%s: %+v", test.name, c)
		}
	}
}

func TestWantsControls(t *testing.T) {
	p := ParamsOf(config.Judge{})
	for _, test := range []struct {
		name       string
		mismatches int // of 1,000 pairs
		repeats    int
		want       bool
	}{
		{"nothing differs", 0, 0, false},
		{"as much as is assumed", 2, 0, false},
		{"more", 20, 0, true},
		{"more, and repeats that would not show it", 20, 1400, true},
		{"more, and repeats that would", 20, 1600, false},
	} {
		tally := NewTally("GET /", p)
		for i := range 1000 {
			tally.Observe(Pair{Mismatch: i < test.mismatches})
		}
		for range test.repeats {
			tally.Repeat(false)
		}
		if got := tally.WantsControls(p); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// Nobody passes while it is open whether what differs is noise.
func TestPairsThatWait(t *testing.T) {
	p := ParamsOf(config.Judge{})
	for _, controlled := range []bool{false, true} {
		tally := NewTally("GET /", p)
		for range 6000 {
			tally.Observe(Pair{Controlled: controlled})
		}
		for waiting, want := range map[int64]Verdict{0: Pass, 100: Running} {
			tally.Waiting = waiting
			if c := tally.Checks(p)[1]; c.Verdict != want {
				t.Errorf("%d wait, controlled %v: %+v", waiting, controlled, c)
			}
		}
	}
}

// With a control of every pair, what differs by itself needs no assumption.
func TestControls(t *testing.T) {
	p := ParamsOf(config.Judge{})
	for _, test := range []struct {
		name         string
		shadow, base int // every so many differ
		want         Verdict
	}{
		{"a tenth differs on both sides", 10, 10, Running},
		{"a fifth, and a tenth", 5, 11, Fail},
		{"nothing on either side", 0, 0, Pass},
	} {
		tally := NewTally("GET /", p)
		for i := range 5000 {
			tally.Observe(Pair{Controlled: true, Mismatch: every(i, test.shadow), ControlMismatch: every(i+1, test.base)})
		}
		if c := tally.Checks(p)[1]; c.Verdict != test.want {
			t.Errorf("%s: %+v", test.name, c)
		}
	}
}
