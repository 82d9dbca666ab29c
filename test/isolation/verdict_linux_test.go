package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/test/isolation/books"
	"github.com/understudy-proxy/understudy/test/load"
)

// fine is a cell in which nothing is wrong.
func fine() cell {
	steady := []round{{Requests: 1000, OK: 1000, Throughput: 1000, P50: time.Millisecond, P99: 10 * time.Millisecond}}
	return cell{
		Shadow:  "late",
		Load:    "get",
		Off:     mode{Rounds: steady, Peak: 20 << 20},
		Healthy: mode{Rounds: steady, Peak: 30 << 20, Copied: 1},
		Bad:     mode{Rounds: steady, Peak: 30 << 20},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*cell)
		want   verdict
	}{
		"nothing is wrong": {func(*cell) {}, verdict{}},
		"live errors, by kind": {
			func(c *cell) {
				c.Bad.Rounds = []round{
					{Requests: 10, OK: 7, Errors: map[string]uint64{"timeout": 2, "reset": 1}, Throughput: 1000, P99: 10 * time.Millisecond},
					{Requests: 10, OK: 9, Errors: map[string]uint64{"timeout": 1}, Throughput: 1000, P99: 10 * time.Millisecond},
				}
			},
			verdict{Hard: []string{"bad: 4 live errors (1 reset, 3 timeout)"}},
		},
		"live errors with mirroring off": {
			func(c *cell) {
				c.Off.Rounds = []round{{Requests: 2, OK: 1, Errors: map[string]uint64{"eof": 1}, Throughput: 1000, P99: 10 * time.Millisecond}}
			},
			verdict{Hard: []string{"off: 1 live errors (1 eof)"}},
		},
		"an answer too many": {
			func(c *cell) {
				c.Bad.Rounds = []round{{Requests: 2, OK: 2, Stray: 3, Throughput: 1000, P99: 10 * time.Millisecond}}
			},
			verdict{Hard: []string{"bad: 3 live errors (3 stray)"}},
		},
		"not one answer": {
			func(c *cell) { c.Bad.Rounds = []round{{P99: 10 * time.Millisecond}} },
			verdict{Hard: []string{"bad: a round without one answer", "clients wait: throughput 0.000 < 0.10"}},
		},
		"the proxy died":   {func(c *cell) { c.Bad.Ended = "it said" }, verdict{Hard: []string{"bad: it said"}}},
		"books unsound":    {func(c *cell) { c.Healthy.Unsound = []string{"books of r/m: lost"} }, verdict{Hard: []string{"healthy: books of r/m: lost"}}},
		"damaged bodies":   {func(c *cell) { c.Damaged = []string{"1 damaged bodies"} }, verdict{Hard: []string{"1 damaged bodies"}}},
		"nothing copied":   {func(c *cell) { c.Healthy.Copied = 0 }, verdict{Hard: []string{"healthy: no copy arrived at the shadow: nothing is proved"}}},
		"memory at bound":  {func(c *cell) { c.Bad.Peak = 84 << 20 }, verdict{}},
		"memory above it":  {func(c *cell) { c.Bad.Peak = 85 << 20 }, verdict{Hard: []string{"memory: 65 MiB above that without mirroring, 64 MiB allowed"}}},
		"memory when well": {func(c *cell) { c.Healthy.Peak = 900 << 20 }, verdict{}},
		"uploads within bound": {
			func(c *cell) {
				c.Uploads = &uploads{Healthy: times{40 * time.Millisecond, 900 * time.Millisecond}, Bad: times{40 * time.Millisecond, 700 * time.Millisecond}}
			},
			verdict{},
		},
		"one upload waits for the shadow": {
			func(c *cell) {
				c.Uploads = &uploads{Healthy: times{40 * time.Millisecond, 900 * time.Millisecond}, Bad: times{40 * time.Millisecond, 701 * time.Millisecond}}
			},
			verdict{Hard: []string{"one upload took 701ms, 40ms with the healthy shadow"}},
		},
		"single uploads fail": {
			func(c *cell) { c.Uploads = &uploads{Errors: 2} },
			verdict{Hard: []string{"2 single uploads failed, or took longer than 4s"}},
		},
		"throughput at its target": {func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 950, P99: 10 * time.Millisecond}} }, verdict{}},
		"throughput below it": {
			func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 940, P99: 10 * time.Millisecond}} },
			verdict{Soft: []string{"throughput 0.94 < 0.95"}},
		},
		"throughput that noise may explain": {
			func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 100, P99: 10 * time.Millisecond}} },
			verdict{Soft: []string{"throughput 0.10 < 0.95"}},
		},
		"clients wait for the shadow": {
			func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 99, P99: 10 * time.Millisecond}} },
			verdict{Hard: []string{"clients wait: throughput 0.099 < 0.10"}},
		},
		"p99 at its target": {func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 1000, P99: 11 * time.Millisecond}} }, verdict{}},
		"p99 above it": {
			func(c *cell) { c.Bad.Rounds = []round{{OK: 1, Throughput: 1000, P99: 12 * time.Millisecond}} },
			verdict{Soft: []string{"p99 1.20 > 1.10"}},
		},
		"no target for the healthy row": {
			func(c *cell) {
				c.Shadow = "healthy"
				c.Bad.Rounds = []round{{OK: 1, Throughput: 10, P99: time.Second}}
			},
			verdict{},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fine()
			test.change(&c)
			if diff := cmp.Diff(test.want, defaultTargets().judge(c)); diff != "" {
				t.Errorf("verdict differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgainstIsTheMedianOfRatiosRoundByRound(t *testing.T) {
	t.Parallel()
	rounds := func(throughput ...float64) mode {
		var m mode
		for _, f := range throughput {
			m.Rounds = append(m.Rounds, round{Throughput: f})
		}
		return m
	}
	tests := map[string]struct {
		bad, healthy mode
		want         float64
	}{
		"one round":                        {rounds(90), rounds(100), 0.9},
		"one disturbed round of three":     {rounds(100, 10, 98), rounds(100, 100, 100), 0.98},
		"the machine's mood cancels out":   {rounds(50, 100, 25), rounds(100, 200, 50), 0.5},
		"two rounds: the middle":           {rounds(100, 50), rounds(100, 100), 0.75},
		"nothing to compare with":          {rounds(100), rounds(0), 0},
		"no rounds":                        {rounds(), rounds(), 0},
		"a mode that ended early":          {rounds(100), rounds(100, 100), 1},
		"more than the healthy one":        {rounds(150), rounds(100), 1.5},
		"medians of values would say 1.00": {rounds(100, 200, 300), rounds(200, 300, 100), 2.0 / 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.bad.against(test.healthy, round.throughput); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestNewRoundCountsLatencyBeyondThePace(t *testing.T) {
	t.Parallel()
	r := &load.Result{Requests: 5, OK: 4, Errors: map[string]uint64{"eof": 1}, Elapsed: 2 * time.Second, Latency: &load.Histogram{}}
	for _, ms := range []int{150, 150, 150, 128} {
		r.Latency.Record(time.Duration(ms) * time.Millisecond)
	}
	got := newRound(r, 130*time.Millisecond)
	// The histogram rounds up by less than one percent.
	if got.P50 < 20*time.Millisecond || got.P50 > 22*time.Millisecond || got.P99 != 20*time.Millisecond {
		t.Errorf("p50 %v, p99 %v beyond a pace of 130ms, want about 20ms", got.P50, got.P99)
	}
	if got.Throughput != 2 || got.Requests != 5 || got.OK != 4 || got.Errors["eof"] != 1 {
		t.Errorf("round %+v, want 5 requests, 4 of them answered in 2s", got)
	}
	if early := newRound(r, time.Second); early.P50 != 0 || early.P99 != 0 {
		t.Errorf("p50 %v, p99 %v, want 0: faster than the pace is not negative", early.P50, early.P99)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	clean := []round{{Requests: 100, OK: 100}}
	failed := []round{{Requests: 100, OK: 99, Errors: map[string]uint64{"timeout": 1}}}
	selected := func(n int64) []books.Account {
		return []books.Account{{Selected: n, Skipped: map[string]int64{"match": 10}}}
	}
	tests := map[string]struct {
		mode     mode
		mirrored bool
		want     string
	}{
		"every request is in the books":         {mode{Rounds: clean, Accounts: selected(90)}, true, ""},
		"a request is missing":                  {mode{Rounds: clean, Accounts: selected(89)}, true, "books: 100 live requests, but 89 selected + 10 skipped"},
		"a request was selected twice":          {mode{Rounds: clean, Accounts: selected(91)}, true, "books: 100 live requests, but 91 selected + 10 skipped"},
		"no books at all":                       {mode{Rounds: clean}, true, "books: 100 live requests, but 0 selected + 0 skipped"},
		"a failed request may have gone astray": {mode{Rounds: failed, Accounts: selected(89)}, true, ""},
		"off is off":                            {mode{Rounds: clean}, false, ""},
		"copies with mirroring off":             {mode{Rounds: clean, Accounts: selected(1)}, false, "books: 1 copies selected with mirroring off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := reconcile(test.mode, test.mirrored, 100); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	hard, soft := cell{Verdict: verdict{Hard: []string{"x"}}}, cell{Verdict: verdict{Soft: []string{"x"}}}
	tests := map[string]struct {
		cells       []cell
		lax, strict int
	}{
		"all pass":          {[]cell{{}, {}}, 0, 0},
		"a ratio is missed": {[]cell{{}, soft}, 0, 1},
		"isolation breaks":  {[]cell{{}, soft, hard}, 1, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &result{Cells: test.cells}
			if got := exitStatus(r, false); got != test.lax {
				t.Errorf("status %d, want %d", got, test.lax)
			}
			if got := exitStatus(r, true); got != test.strict {
				t.Errorf("with -strict status %d, want %d", got, test.strict)
			}
		})
	}
}
