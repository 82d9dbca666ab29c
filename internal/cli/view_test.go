package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/admin"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// status is what a proxy says after a minute.
func status() *admin.Status {
	retry, until := noon.Add(2500*time.Millisecond), noon.Add(4*time.Second)
	return &admin.Status{
		Time: noon, Started: noon.Add(-61 * time.Second), Version: "v1", Config: "abc", Ready: true, Driver: "epoll", Loops: 2,
		Connections: admin.Connections{Open: 3}, ReloadsFailed: 1,
		Routes: []admin.Route{
			{Requests: 2, Codes: map[string]uint64{"404": 2}, Failed: map[string]uint64{"client": 2}},
			{Route: "shop", Backend: "v1", Requests: 100, InFlight: 1, Codes: map[string]uint64{"200": 96, "502": 4}, GRPC: map[string]uint64{"OK": 7, "NOT_FOUND": 1}, Failed: map[string]uint64{"client": 1, "primary": 3, "internal": 0},
				Duration: admin.Latency{Buckets: [][2]float64{{0.5, 99}, {2.25, 1}}}, First: admin.Latency{Buckets: [][2]float64{{0.25, 60}, {1500, 40}}}},
		},
		Mirrors: []admin.Mirror{
			{Route: "shop", Mirror: "trial", Backend: "v2", Share: 0.125, Selected: 50, Completed: 30, InFlight: 4, Throttle: 1, Breaker: "open", Retry: &retry,
				Dropped: map[string]uint64{"paused": 9, "queue_full": 2}, Failed: map[string]uint64{"timeout": 5, "tls": 0},
				Skipped: map[string]uint64{"percent": 300}, First: admin.Latency{Buckets: [][2]float64{{12000, 1}}}},
			{Route: "shop", Mirror: "v3", Backend: "v3", Share: 1, Throttle: 1, Breaker: "closed"},
		},
		Endpoints: []admin.Endpoint{
			{Backend: "v1", Address: "a:1", Requests: 100, Idle: 2},
			{Backend: "v2", Address: "b:2", Requests: 39, Failures: 5, InFlight: 4, Ejected: true, Until: &until},
		},
	}
}

func linesOf(v view) []string {
	lines := []string{v.headline()}
	for _, t := range v.tables() {
		lines = append(lines, t.lines(false)...)
	}
	return lines
}

func TestStatusSinceTheStart(t *testing.T) {
	t.Parallel()
	want := []string{
		"understudy v1, ready for 1m1s, epoll on 2 loops, configuration abc (1 refused), 3 clients",
		"Live",
		"  ROUTE   PRIMARY   REQUESTS   FAILED   IN FLIGHT     P50     P99   FIRST P50   FIRST P99",
		"  -       -                2        2           0       -       -           -           -",
		"    answered: 404 2; failed: client 2",
		"  shop    v1             100        4           1   500µs   2.2ms       250µs        1.5s",
		"    answered: 200 96, 502 4; gRPC: OK 7, NOT_FOUND 1; failed: primary 3, client 1",
		"Copies",
		"  ROUTE   MIRROR         SHARE   SELECTED   COMPLETED   DROPPED   FAILED   IN FLIGHT   STATE          FIRST P50   FIRST P99",
		"  shop    trial to v2   12.5 %         50          30        11        5           4   paused, 2.5s         12s         12s",
		"    dropped: paused 9, queue_full 2; failed: timeout 5; skipped: percent 300",
		"  shop    v3             100 %          0           0         0        0           0   copying                -           -",
		"Endpoints",
		"  BACKEND   ENDPOINT   REQUESTS   FAILURES   IN FLIGHT   IDLE   STATE",
		"  v1        a:1             100          0           0      2   ok",
		"  v2        b:2              39          5           4      0   ejected, 4s",
	}
	if diff := cmp.Diff(want, linesOf(view{now: status()})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// later is status two seconds on.
func later() *admin.Status {
	s := status()
	s.Time = noon.Add(2 * time.Second)
	shop := &s.Routes[1]
	shop.Requests, shop.Failed["primary"] = 111, 4
	shop.First.Buckets = [][2]float64{{0.25, 60}, {1.5, 10}, {1500, 41}}
	trial := &s.Mirrors[0]
	trial.Selected, trial.Completed, trial.Dropped["paused"], trial.Breaker, trial.InFlight = 53, 31, 11, "half-open", 4
	trial.First.Buckets = [][2]float64{{40, 1}, {12000, 1}}
	return s
}

func TestStatusBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	got := linesOf(view{now: later(), before: status()})
	want := []string{
		"  ROUTE   PRIMARY   REQUESTS    /S   FAILED   IN FLIGHT   P50   P99   FIRST P50   FIRST P99",
		"  shop    v1             111   5.5        5           1     -     -       1.5ms        1.5s",
		"  shop    trial to v2   12.5 %         53   1.5          31        13        5           4   probing        40ms        40ms",
	}
	for _, line := range want {
		if !contains(got, line) {
			t.Errorf("no line\n%s\nin\n%s", line, strings.Join(got, "\n"))
		}
	}
}

func contains(lines []string, line string) bool {
	for _, l := range lines {
		if l == line {
			return true
		}
	}
	return false
}

func TestStatusInOneLine(t *testing.T) {
	t.Parallel()
	got := view{now: later(), before: status()}.line()
	_, got, _ = strings.Cut(got, " ") // the time is local
	want := "live 11, failed 1, first byte p99 1.5s" +
		" | trial: selected 3, completed 1, dropped 2, failed 0, in flight 4, first byte p99 40ms, probing" +
		" | v3: selected 0, completed 0, dropped 0, failed 0, in flight 0, first byte p99 -"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStateOfAMirror(t *testing.T) {
	t.Parallel()
	retry, past := noon.Add(time.Minute), noon.Add(-time.Second)
	tests := map[string]struct {
		m    admin.Mirror
		want string
	}{
		"copying":                 {admin.Mirror{Share: 1, Throttle: 1, Breaker: "closed"}, "copying"},
		"off":                     {admin.Mirror{Share: 0, Throttle: 1, Breaker: "open"}, "off"},
		"slowed":                  {admin.Mirror{Share: 1, Throttle: 0.25, Breaker: "closed"}, "slowed to 25 %"},
		"paused":                  {admin.Mirror{Share: 1, Throttle: 1, Breaker: "open", Retry: &retry}, "paused, 1m0s"},
		"about to probe":          {admin.Mirror{Share: 1, Throttle: 1, Breaker: "open", Retry: &past}, "paused"},
		"the breaker comes first": {admin.Mirror{Share: 1, Throttle: 0.5, Breaker: "half-open"}, "probing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (view{now: status()}).state(&tt.m).text; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestHeadlineSaysWhetherItServes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*admin.Status){
		"ready":    func(*admin.Status) {},
		"draining": func(s *admin.Status) { s.Ready, s.Draining = false, true },
		"starting": func(s *admin.Status) { s.Ready = false },
	} {
		s := status()
		change(s)
		if got := (view{now: s}).headline(); !strings.Contains(got, ", "+want+" for ") {
			t.Errorf("%q is not %s", got, want)
		}
	}
}

func TestDurationsHaveTwoDigitsThatMatter(t *testing.T) {
	t.Parallel()
	for ms, want := range map[float64]string{
		0.002: "2µs", 0.576: "576µs", 1: "1.0ms", 9.94: "9.9ms", 10: "10ms", 999: "999ms", 1000: "1.0s", 9500: "9.5s", 67108: "67s",
	} {
		if got := durationText(ms); got != want {
			t.Errorf("%v ms is written as %s, want %s", ms, got, want)
		}
	}
}
