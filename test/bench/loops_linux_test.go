package main

import (
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

// What pprof -raw prints: a location is of its innermost function, and of those
// that it was inlined into on the lines behind.
const rawProfile = `PeriodType: cpu nanoseconds
Period: 10000000
Time: 2026-11-26 12:03:37.1 +0000 UTC
Duration: 5.01
Samples:
samples/count cpu/nanoseconds
          6   60000000: 1 2 3
          3   30000000: 4 5
                route:[shop]
          1   10000000: 4 3
Locations
     1: 0x40 M=1 runtime.memmove /go/memmove.s:1:0 s=0
     2: 0x41 M=1 spool.(*Arena).take /i/arena.go:9:0 s=7
             spool.(*Arena).Append /i/arena.go:8:0 s=6
     3: 0x42 M=1 sync.f /go/f.go:2:0 s=3
             example.com/internal/loop.(*Loop).Run /i/loop.go:91:0 s=80
     4: 0x43 M=1 runtime.gcDrain /go/mgc.go:3:0 s=1
     5: 0x44 M=1 runtime.gcBgMarkWorker /go/mgc.go:4:0 s=1
Mappings
1: 0x40/0x50/0x0 /bin/understudy  [FN]
`

func TestTheShareOfTheLoopsIsReadFromAProfile(t *testing.T) {
	t.Parallel()
	for function, want := range map[string]float64{"loop.(*Loop).Run": 0.7, "runtime.gcBgMarkWorker": 0.3, "spool.(*Arena).Append": 0.6, "nobody": 0} {
		if got, err := parseShare(strings.NewReader(rawProfile), function); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", function, got, err, want)
		}
	}
	for _, empty := range []string{"", "Samples:\nsamples/count cpu/nanoseconds\nLocations\nMappings\n"} {
		if got, err := parseShare(strings.NewReader(empty), "x"); err == nil {
			t.Errorf("%q: got %v, want an error", empty, got)
		}
	}
}

func TestContestantsThatCompare(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]float64{compare0: 0, compare10: 10, compare100: 100, compareAll: 100} {
		p := placed(name, compareSuite.workloads[0])
		text, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("understudy.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		m := cfg.Routes[0].Rules[0].Mirrors[0]
		if m.Compare.Percent == nil || *m.Compare.Percent != want || *m.Percent != 100 {
			t.Errorf("%s: %v %% of %v %% are compared, want %v", name, m.Compare.Percent, *m.Percent, want)
		}
		if *cfg.Capture.Yield != (name != compareAll) {
			t.Errorf("%s: it yields: %v", name, *cfg.Capture.Yield)
		}
		if args := p.command("f").Args; args[len(args)-1] != "--pprof" {
			t.Errorf("%s: started by %q, which serves no profiles", name, args)
		}
	}
}

// Every compared workload has the same answers from both.
func TestCompareSuiteComparesLikeWithLike(t *testing.T) {
	t.Parallel()
	for _, w := range compareSuite.workloads {
		if !w.Same {
			t.Errorf("%s: the shadow answers differently", w.Name)
		}
	}
	r := &speedReport{suite: &compareSuite, Samples: samples{
		{Workload: "get-1k", Proxy: compare0, UserMicros: 4, SystemMicros: 6, LoopMicros: 9, Live: 100, Copies: 100, SameSet: true},
		{Workload: "get-1k", Proxy: compare100, UserMicros: 9, SystemMicros: 6, LoopMicros: 9.9, Live: 100, Copies: 100, Compared: 25, P50Micros: 70, P99Micros: 300, SameSet: true},
	}}
	got := r.Markdown()
	for _, want := range []string{
		"| event loops: all drawn to be compared ÷ none | ≤ 1.05 | 1.10 **missed** |",
		"| compare-0 | 10.0 | 4.0 + 6.0 | 0 | 0.0 | 100.00 | yes | 0 | 0.0 | 9.0 | 1.00 | 1.00 | 0.0 | 0 | 0 |",
		"| compare-100 | 15.0 | 9.0 + 6.0 | 0 | 0.0 | 100.00 | yes | 0 | 0.0 | 9.9 | 1.50 | 1.10 | 25.0 | 70 | 300 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
