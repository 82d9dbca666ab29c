package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/test/isolation/books"
)

// sample is a result with one row of noise, one cell that passes and one that fails.
func sample(proxy string) *result {
	r := &result{
		Proxy: proxy, Started: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), Took: 61400 * time.Millisecond,
		Machine: machine{System: "Linux 6.1, A Processor", CPUs: 2, Others: 0.034},
		Rounds:  3, Round: 1500 * time.Millisecond, Targets: defaultTargets(),
	}
	noise, passing, failing := fine(), fine(), fine()
	noise.Shadow = healthyShadow
	passing.Bad.Checked = 3
	passing.Bad.Accounts = []books.Account{{
		Selected: 1000, Completed: 1, Dropped: map[string]int64{"paused": 900, "memory": 90},
		Failed: map[string]int64{"reset": 5}, InFlight: 4,
	}}
	failing.Shadow, failing.Load = "garbage", "post-16m"
	failing.Bad.Rounds = []round{{Requests: 3, OK: 2, Errors: map[string]uint64{"eof": 1}, Throughput: 500, P50: 2 * time.Millisecond, P99: 40 * time.Millisecond}}
	failing.Bad.Ended = "the proxy ended; it said:\npanic | oh"
	failing.Bad.Checked, failing.Bad.Unsound = 1, []string{"books of r/m: lost"}
	failing.Uploads = &uploads{Healthy: times{5 * time.Millisecond, 6 * time.Millisecond}, Bad: times{7 * time.Millisecond, 8500 * time.Microsecond}}
	for _, c := range []cell{noise, passing, failing} {
		c.Verdict = r.Targets.judge(c)
		r.Cells = append(r.Cells, c)
	}
	return r
}

func TestReportPutsProxiesOfOneCellTogether(t *testing.T) {
	t.Parallel()
	other := sample("other")
	other.Cells[0], other.Cells[1] = other.Cells[1], other.Cells[0] // measured in another order
	other.Cells = other.Cells[:2]                                   // and not to the end
	want := []string{
		"| healthy | get | one | 0 | 1000 (1.00, 1.00) | 1.00 (1.00, 1.00) | 10.00 (1.00, 1.00) | 30 (+10) | – | 100 % | pass |",
		"| healthy | get | other | 0 | 1000 (1.00, 1.00) | 1.00 (1.00, 1.00) | 10.00 (1.00, 1.00) | 30 (+10) | – | 100 % | pass |",
		"| late | get | one | 0 | 1000 (1.00, 1.00) | 1.00 (1.00, 1.00) | 10.00 (1.00, 1.00) | 30 (+10) | ✓ 1 + 990 + 5 + 4 | 100 % | pass |",
		"| late | get | other | 0 | 1000 (1.00, 1.00) | 1.00 (1.00, 1.00) | 10.00 (1.00, 1.00) | 30 (+10) | ✓ 1 + 990 + 5 + 4 | 100 % | pass |",
		"| garbage | post-16m | one | 1 | 500 (0.50, 0.50) | 2.00 (2.00, 2.00) | 40.00 (4.00, 4.00) | 30 (+10) | **wrong** | 100 % | **FAIL**: bad: the proxy ended; it said:; bad: 1 live errors (1 eof); bad: books of r/m: lost |",
	}
	if diff := cmp.Diff(want, cellRows([]*result{sample("one"), other})); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

func TestReportIsWhole(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := writeReport(&b, "report.md.tmpl", []*result{sample("one")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- **one**: 2026-05-04, 3 rounds of 1.5s per mode and cell, 1m1s in all; 2 processors, Linux 6.1, A Processor; other programs took 3 % of",
		"| one | 3 | 2 | 0 | 1 | 1.00 to 1.00 | 1.00 to 1.00 |\n",
		"(64 MiB above mirroring off)",
		"throughput is below 0.95 or p99 above 1.1.",
		"| garbage | one | 5.0 | 6.0 | 7.0 | 8.5 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestReportOfProtocols(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := writeReport(&b, options{protocols: true}.reportTemplate(), []*result{sample("one")}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- **one**: 2026-05-04, 3 rounds of 1.5s",
		"| one | 3 | 2 | 0 | 1 | 1.00 to 1.00 | 1.00 to 1.00 |\n",
		"| late | get | one | 0 | 1000 (1.00, 1.00) |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestResultsSurviveTheirFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "results.json")
	want := []*result{sample("one"), sample("other")}
	if err := writeJSON(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := readJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results differ (-written +read):\n%s", diff)
	}
}
