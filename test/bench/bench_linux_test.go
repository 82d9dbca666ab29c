package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/test/load"
)

func TestMain(m *testing.M) {
	if load.Child() {
		return
	}
	os.Exit(m.Run())
}

func TestSpreads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in     []float64
		digits int
		want   string
	}{
		"none":              {nil, 1, "–"},
		"one":               {[]float64{1.26}, 1, "1.3"},
		"odd":               {[]float64{3, 1, 2}, 0, "2 (1–3)"},
		"even takes middle": {[]float64{4, 1, 2, 3}, 1, "2.5 (1.0–4.0)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := spreadOf(tt.in).format(tt.digits); got != tt.want {
				t.Errorf("%v is %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestEveryoneTakesEveryTurn(t *testing.T) {
	t.Parallel()
	all := []string{"a", "b", "c"}
	for round, want := range [][]string{{"a", "b", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"a", "b", "c"}} {
		if diff := cmp.Diff(want, order(all, round)); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
	}
	if got := order([]string{}, 3); len(got) != 0 {
		t.Errorf("nobody is ordered to %v", got)
	}
}

func TestChoosing(t *testing.T) {
	t.Parallel()
	self := func(s string) string { return s }
	all := []string{"a", "b", "c"}
	for list, want := range map[string][]string{"": {"a", "b", "c"}, "c,a": {"a", "c"}, "b": {"b"}} {
		got, err := choose(all, self, list)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q chooses %v, %v; want %v", list, got, err, want)
		}
	}
	if _, err := choose(all, self, "a,x"); err == nil || !strings.Contains(err.Error(), "a, b, c") {
		t.Errorf("error %v; want one that lists what there is", err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, all); diff != "" {
		t.Errorf("choosing changed the list: %s", diff)
	}
}

// round makes the sample of a proxy that served 1000 requests.
func round(n int, proxy string, cpu float64, copies uint64) sample {
	return sample{Workload: "get-200", Proxy: proxy, Round: n, SystemMicros: cpu, Live: 1000, Copies: copies, SameSet: copies == 1000}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	promise := target{"x", ours100, nginxMirror, 0.35, cpuRatio}
	tests := map[string]struct {
		samples samples
		ratio   string
		verdict string
	}{
		"met":    {samples{round(0, ours100, 30, 1000), round(0, nginxMirror, 100, 1000)}, "0.30", "met"},
		"just":   {samples{round(0, ours100, 35, 1000), round(0, nginxMirror, 100, 1000)}, "0.35", "met"},
		"missed": {samples{round(0, ours100, 36, 1000), round(0, nginxMirror, 100, 1000)}, "0.36", "**missed**"},
		"ratios are taken within rounds": {
			samples{
				round(0, ours100, 30, 1000), round(0, nginxMirror, 100, 1000),
				round(1, ours100, 60, 1000), round(1, nginxMirror, 200, 1000), // a slow moment for both
				round(2, ours100, 10, 1000), round(2, nginxMirror, 100, 1000),
			}, "0.30 (0.10–0.30)", "met",
		},
		"a proxy that was not measured":  {samples{round(0, ours100, 30, 1000)}, "–", ""},
		"few lost copies are accepted":   {samples{round(0, ours100, 30, 990), round(0, nginxMirror, 100, 1000)}, "0.30", "met"},
		"lost copies void a good figure": {samples{round(0, ours100, 30, 989), round(0, nginxMirror, 100, 1000)}, "0.30", "void: understudy-100 lost 1.1 % of the copies"},
		"a peer that loses copies too":   {samples{round(0, ours100, 30, 1000), round(0, nginxMirror, 100, 0)}, "0.30", "void: nginx-mirror lost 100.0 % of the copies"},
		"copies of nothing":              {samples{round(0, ours100, 30, 1003), round(0, nginxMirror, 100, 1000)}, "0.30", "void: understudy-100 copied 3 requests that were not there"},
		"failed requests": {
			samples{{Workload: "get-200", Proxy: ours100, Live: 1000, Copies: 1000, SystemMicros: 30, Errors: map[string]uint64{"reset": 2, "eof": 1}}, round(0, nginxMirror, 100, 1000)},
			"0.30", "void: understudy-100 failed 3 requests",
		},
		"nothing served": {samples{{Workload: "get-200", Proxy: ours100, SystemMicros: 30}, round(0, nginxMirror, 100, 1000)}, "0.30", "void: understudy-100 served nothing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ratio, verdict := promise.judge(tt.samples, "get-200")
			if got := ratio.format(2); got != tt.ratio || verdict != tt.verdict {
				t.Errorf("%s %q, want %s %q", got, verdict, tt.ratio, tt.verdict)
			}
		})
	}
}

func TestLostCopiesAreExplained(t *testing.T) {
	t.Parallel()
	before, err := parseBooks(strings.NewReader("understudy_mirror_dropped_total{mirror=\"m\",reason=\"memory\"} 5\nunderstudy_capture_taken_total 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseBooks(strings.NewReader(`# HELP understudy_mirror_dropped_total Copies.
understudy_mirror_dropped_total{mirror="m",reason="memory",route="a"} 7
understudy_mirror_dropped_total{mirror="m",reason="memory",route="b"} 1e+02
understudy_mirror_dropped_total{mirror="m",reason="rate",route="b"} 0
understudy_mirror_failed_total{mirror="m",reason="timeout"} 3
understudy_mirror_skipped_total{mirror="m",reason="write"} 9
understudy_mirror_selected_total{mirror="m"} 9
understudy_capture_taken_total 1e+03
`))
	if err != nil {
		t.Fatal(err)
	}
	if before.taken != 2 || after.taken != 1000 {
		t.Errorf("%v and %v were compared, want 2 and 1000", before.taken, after.taken)
	}
	got := grown(before.lost, after.lost)
	if diff := cmp.Diff(map[string]float64{"memory": 102, "timeout": 3}, got); diff != "" {
		t.Error(diff)
	}
	s := round(0, ours100, 1, 500)
	s.Lost = got
	if want := "lost 50.0 % of the copies (memory:102 timeout:3)"; s.void() != want {
		t.Errorf("void because it %s, want %s", s.void(), want)
	}
	if _, err := parseBooks(strings.NewReader(`understudy_mirror_failed_total{mirror="m"} 3`)); err == nil {
		t.Error("a counter without a reason was taken")
	}
}

func TestChangedBodiesVoidAFigure(t *testing.T) {
	t.Parallel()
	s := round(0, ours100, 1, 1000)
	if s.void() != "" {
		t.Fatalf("void because it %s", s.void())
	}
	s.WrongBodies = 2
	if want := "changed 2 pieces of bodies"; s.void() != want {
		t.Errorf("void because it %s, want %s", s.void(), want)
	}
}

func TestTheBusiestContestantOfAProgramSitsIdle(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range sitters(speedSuite.contestants()) {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"nginx-mirror", "haproxy", "understudy-100"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestTargetsSpeakOfContestants(t *testing.T) {
	t.Parallel()
	for _, p := range slices.Concat(speedSuite.targets, protocolSuite.targets) {
		if contestantOf(p.of).Program != "understudy" {
			t.Errorf("%s: %s is not understudy", p.title, p.of)
		}
		if peer := contestantOf(p.against); peer.Program == "" || peer.Program == "understudy" {
			t.Errorf("%s: %s is no peer", p.title, p.against)
		}
		if contestantOf(p.of).Bare != contestantOf(p.against).Bare {
			t.Errorf("%s compares different shadows", p.title)
		}
	}
}

func TestCPUIsChargedToWhoUsedIt(t *testing.T) {
	t.Parallel()
	s := sample{Live: 1000}
	start := time.Now()
	before := usage{at: start, user: time.Second, system: time.Second, known: time.Second, busy: time.Minute}
	after := usage{
		at: start.Add(10 * time.Second), user: time.Second + 5*time.Millisecond, system: time.Second + 20*time.Millisecond,
		known: 2 * time.Second, busy: time.Minute + 4*time.Second + 25*time.Millisecond,
	}
	s.charge(before, after, time.Second)
	if s.UserMicros != 5 || s.SystemMicros != 20 || s.CPUMicros() != 25 {
		t.Errorf("charged %g + %g µs, want 5 + 20", s.UserMicros, s.SystemMicros)
	}
	// Four seconds and 25 ms busy, of which the proxy had 25 ms, upstreams
	// one second and the generator another.
	want := 2 / (10 * float64(load.CPUCount()))
	if diff := s.OtherCPU - want; diff < -1e-9 || diff > 1e-9 {
		t.Errorf("others are charged %g, want %g", s.OtherCPU, want)
	}
}

func TestConfigurationsSayWhatAContestantIs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		has, hasNot []string
	}{
		nginxPlain:   {[]string{"keepalive 256", "proxy_http_version 1.1", "worker_processes 3", "access_log off", "listen L "}, []string{"mirror", "shadow"}},
		nginxMirror:  {[]string{"mirror /.mirror;", "upstream shadow { server S; keepalive 256", "upstream primary { server P; keepalive 256"}, []string{"proxy_request_buffering"}},
		haproxyPlain: {[]string{"nbthread 3", "http-reuse always", "server one P"}, []string{"S\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place{contestant: contestantOf(name), Dir: "/d", Listen: "L", Primary: "P", Shadow: "S", Cores: 3}
			got, err := p.render()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.has {
				if !strings.Contains(got, s) {
					t.Errorf("no %q in\n%s", s, got)
				}
			}
			for _, s := range tt.hasNot {
				if strings.Contains(got, s) {
					t.Errorf("%q in\n%s", s, got)
				}
			}
		})
	}
}

func TestUnderstudysConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		percent  float64
		pipeline int
	}{ours0: {0, 1}, ours10: {10, 1}, ours100: {100, 1}, oursPipeBare: {100, 16}}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place{contestant: contestantOf(name), Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", Primary: "127.0.0.1:3", Shadow: "127.0.0.1:4"}
			text, err := p.render()
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse("test.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			m := c.Routes[0].Rules[0].Mirrors[0]
			if *m.Percent != want.percent || m.Pipeline != want.pipeline || m.Writes != config.WritesCopy {
				t.Errorf("percent %g, pipeline %d, writes %s; want %g, %d, copy", *m.Percent, m.Pipeline, m.Writes, want.percent, want.pipeline)
			}
		})
	}
}

func TestManyRulesAreValidAndDifferByGeneration(t *testing.T) {
	t.Parallel()
	p := &place{Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", Primary: "127.0.0.1:3", Shadow: "127.0.0.1:4"}
	one, err := config.Parse("test.yaml", []byte(manyRules(p, 50, 1)))
	if err != nil {
		t.Fatal(err)
	}
	two, err := config.Parse("test.yaml", []byte(manyRules(p, 50, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Routes[0].Rules) != 50 || one.Version == two.Version {
		t.Errorf("%d rules, versions %s and %s", len(one.Routes[0].Rules), one.Version, two.Version)
	}
	if got := one.Routes[0].Rules[49].Matches[0].Path.Value; got != "/r/49" {
		t.Errorf("the last rule matches %s", got)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	type relevant struct {
		rounds int
		out    string
		time   time.Duration
		size   int64
	}
	tests := map[string]relevant{
		"":                           {3, "docs/bench/speed.md", 2 * time.Second, 10 << 30},
		"-quick":                     {1, "", 600 * time.Millisecond, 1 << 30},
		"-protocols":                 {3, "docs/bench/protocols.md", 2 * time.Second, 10 << 30},
		"-scale":                     {3, "docs/bench/scale.md", 2 * time.Second, 10 << 30},
		"-quick -rounds 2 -out x.md": {2, "x.md", 600 * time.Millisecond, 1 << 30},
		"-out - -time 5s -size 0.5":  {3, "", 5 * time.Second, 1 << 29},
	}
	for args, want := range tests {
		o, err := parseOptions(strings.Fields(args))
		if got := (relevant{o.rounds, o.out, o.time, o.size}); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", args, got, err, want)
		}
	}
	if _, err := parseOptions([]string{"everything"}); err == nil {
		t.Error("an argument that means nothing was taken")
	}
}

func TestSpeedReport(t *testing.T) {
	t.Parallel()
	r := &speedReport{
		suite:   &speedSuite,
		Machine: machine{CPU: "a chip", Cores: 2, Memory: "4 GiB", Kernel: "Linux 6", Go: "go1", Programs: map[string]string{"nginx": "nginx/1"}, Date: "2026-01-02"},
		Conns:   64, Rate: 4000, Seconds: 2, Rounds: 1,
		Samples: samples{round(0, ours100, 30, 1000), round(0, nginxMirror, 100, 999)},
		Idle:    []idle{{ours100, 0.3}, {nginxPlain, 0.01}},
	}
	r.Samples = append(r.Samples,
		sample{Workload: "latency", Proxy: direct, P50Micros: 100, P99Micros: 200, P999Micros: 300, Live: 1},
		sample{Workload: "latency", Proxy: nginxPlain, P50Micros: 150, P99Micros: 270, P999Micros: 290, SystemMicros: 7, Live: 1})
	got := r.Markdown()
	for _, want := range []string{
		"2 cores of a chip, 4 GiB of memory, Linux 6, go1; nginx/1; 2026-01-02.",
		"| 100 % copies ÷ nginx `mirror` as usually met | ≤ 0.35 | 0.30 met | – |",
		"| nginx-mirror | 100.0 | 0.0 + 100.0 | 0 | 0.0 | 99.90 | **no** | 0 | 0.0 |",
		"| understudy-100 | 30.0 | 0.0 + 30.0 | 0 | 0.0 | 100.00 | yes | 0 | 0.0 |",
		"| nginx | 150 | 270 | 290 | 50 | 70 | -10 | 7.0 | 0 | 0.0 |",
		"| direct | 100 | 200 | 300 | – | – | – | – | 0 | 0.0 |",
		"| understudy-100 | 0.300 | ≤ 0.2 **missed** |",
		"| nginx | 0.010 |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	r.Quick = true
	if got := r.Markdown(); strings.Contains(got, "0.30 met") || strings.Contains(got, "**missed**") {
		t.Errorf("a quick run gives a verdict:\n%s", got)
	}
}

func TestScaleReport(t *testing.T) {
	t.Parallel()
	r := &scaleReport{
		Connections: []connectionMemory{{ours100, 10_000, 10, 120, 11.3}, {nginxMirror, 10_000, 30, 35, 0.5}},
		Reload:      &reloads{Rules: 10_000, Times: []float64{0.5, 0.25, 0.75}, Rate: 4000, Requests: 9000, Errors: map[string]uint64{"reset": 1}},
		Bodies: []transfer{
			{Proxy: direct, Direction: upload, GiB: 10, GiBPerSec: 2},
			{Proxy: nginxPlain, Direction: upload, GiB: 10, GiBPerSec: 0.5},
			{Proxy: ours100, Direction: upload, GiB: 10, GiBPerSec: 1, PeakMiB: 30, Limited: true},
			{Proxy: ours100, Direction: upload, GiB: 10, GiBPerSec: 1.5, PeakMiB: 64.5, Limited: true},
			{Proxy: ours100, Direction: download, GiB: 10, GiBPerSec: 1, PeakMiB: 30, Limited: true, Failure: "map[eof:1]"},
		},
	}
	got := r.Markdown()
	for _, want := range []string{
		"| understudy-100 | 10000 | 10.0 | 120.0 | 11.3 | met |",
		"| nginx-mirror | 10000 | 30.0 | 35.0 | 0.5 |  |",
		"| 9000 | 1 | 0.50 (0.25–0.75) |",
		"| upload | direct | 2.00 | 4.00 |",
		"| upload | understudy-100 | 1.25 (1.00–1.50) | 2.50 | 0.00 (0.00–0.00) | 47.2 (30.0–64.5) | 0.00 (0.00–0.00) | yes | **missed** |",
		"| **no:** map[eof:1] | **missed** |",
		"limited to 64 MiB",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// A contestant that is this machine's own understudy or a peer need not be
// there for a test: the primary itself goes the same way.
func TestMeasuringThePrimaryItself(t *testing.T) {
	t.Parallel()
	b := &bench{options: options{conns: 4, time: 80 * time.Millisecond, rounds: 1}, log: t.Logf}
	got, err := b.rounds(context.Background(), workload{Name: "post", Answer: 10, Body: 100, Chunked: true, Chunk: 10}, contestants[:1])
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Proxy != direct || got[0].Live == 0 || got[0].Throughput <= 0 || !got[0].SameSet || got[0].void() != "" {
		t.Errorf("measured %+v", got)
	}
}

func TestCountsOfOneMeasurementDoNotReachTheNext(t *testing.T) {
	t.Parallel()
	st, err := openStage(workload{Answer: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	for _, u := range []*load.UpstreamProcess{st.primary, st.shadow, st.bare} {
		if _, err := load.Run(context.Background(), load.Plan{Target: u.Addr(), Requests: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.reset(); err != nil {
		t.Fatal(err)
	}
	for _, u := range []*load.UpstreamProcess{st.primary, st.shadow, st.bare} {
		if s, err := u.Stats(); err != nil || s.Requests != 0 {
			t.Errorf("%d requests, %v after the reset", s.Requests, err)
		}
	}
}

func TestAPlaceIsLeftAsItWasFound(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $2 does not please me >&2; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := &bench{programs: map[string]string{"understudy": program}}
	_, err := b.start(context.Background(), contestantOf(ours100), upstreams{"127.0.0.1:1", "127.0.0.1:2"})
	if err == nil || !strings.Contains(err.Error(), "does not please me") {
		t.Fatalf("error %v; want what the program said", err)
	}
	_, rest, _ := strings.Cut(err.Error(), os.TempDir()+"/understudy-bench-")
	dir, _, _ := strings.Cut(rest, "/")
	if _, err := os.Stat(filepath.Join(os.TempDir(), "understudy-bench-"+dir)); err == nil {
		t.Errorf("the folder of a proxy that did not start is still there")
	}
}

func TestIdleConnectionsAskOnceAndStay(t *testing.T) {
	t.Parallel()
	u, err := load.StartUpstream(load.UpstreamOptions{AnswerBytes: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Stop()
	conns, err := openIdle(context.Background(), u.Addr(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if s := u.Stats(); s.Requests != 5 || s.Open != 5 {
		t.Errorf("upstream saw %+v; want 5 requests on 5 open connections", s)
	}
	conns.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := openIdle(context.Background(), addr, 1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("of 1 to %s", addr)) {
		t.Errorf("error %v; want one that says which connection", err)
	}
}
