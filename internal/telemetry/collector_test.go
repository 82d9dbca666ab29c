package telemetry

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

var update = flag.Bool("update", false, "rewrite generated files")

// sample is a snapshot with a row of everything.
func sample() *Snapshot {
	started := time.UnixMilli(1_700_000_000_500)
	s := &Snapshot{
		Time: started.Add(time.Hour), Started: started, Config: "abc123", Reloads: 3, ReloadsFailed: 1, Loops: 2,
		Clients: 7, Accepted: 90, Lag: 1500 * time.Microsecond, AccessLog: AccessLog{Written: 11, Dropped: 2},
		Capture:   Capture{Drawn: 9, Taken: 5, Lost: map[traffic.Reason]uint64{traffic.LostQueue: 3}, InFlight: 1, Memory: 4096},
		Recording: Recording{Accepted: 9, Written: 7, Refused: 3, TooLarge: 1},
		Live: []Live{{Route: "shop", Backend: "v1", Codes: map[int]uint64{200: 5, 404: 1},
			Errors: map[traffic.Source]uint64{traffic.Primary: 2}, GRPC: map[traffic.GRPCStatus]uint64{"NOT_FOUND": 3}, InFlight: 4, BytesIn: 10, BytesOut: 20}},
		Mirrors: []Mirror{{Route: "shop", Name: "trial", Backend: "v2", Share: 0.5, Throttle: 1, Selected: 10, Completed: 4, InFlight: 3, Queued: 1,
			Skipped: map[traffic.Reason]uint64{traffic.SkipWrite: 6}, Dropped: map[traffic.Reason]uint64{traffic.DropMemory: 2},
			Failed: map[traffic.Reason]uint64{traffic.FailTLS: 1}, Codes: map[int]uint64{500: 4}, GRPC: map[traffic.GRPCStatus]uint64{"OK": 4}, Unkeyed: 1, Bytes: 300, Memory: 40,
			LastCopy: started.Add(time.Second), Breaker: "half-open"}},
		Pairs:     []Pairs{{Route: "shop", Mirror: "trial", Backend: "v2", Classes: map[string]int64{"match": 3, "diff": 1}, Tainted: 2, Verdict: "FAIL"}},
		Endpoints: []Endpoint{{Backend: "v1", Address: "127.0.0.1:9000", InFlight: 4, Idle: 2, Requests: 8, Failures: 2, Ejected: true}},
		Listeners: []Listener{{Name: "safe", Handshakes: map[traffic.Handshake]uint64{traffic.HandshakeDone: 6, traffic.HandshakePlain: 1}}},
	}
	for _, d := range []time.Duration{10 * time.Microsecond, 100 * time.Microsecond, 3 * time.Millisecond, 5 * time.Minute} {
		s.Live[0].Duration.Add(d)
	}
	return s
}

func registry(t *testing.T, s *Snapshot) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(NewCollector(func() *Snapshot { return s })); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCountersAndGaugesCarryTheSnapshot(t *testing.T) {
	t.Parallel()
	want := `
# HELP understudy_requests_total Live requests answered, by the status the client got: empty of connections and sessions without messages. route is empty if no route matched, backend if the proxy answered itself.
# TYPE understudy_requests_total counter
understudy_requests_total{backend="v1",code="200",route="shop"} 5
understudy_requests_total{backend="v1",code="404",route="shop"} 1
# HELP understudy_requests_failed_total Live requests that failed, by who is to blame. A shadow is never to blame.
# TYPE understudy_requests_failed_total counter
understudy_requests_failed_total{backend="v1",route="shop",source="client"} 0
understudy_requests_failed_total{backend="v1",route="shop",source="internal"} 0
understudy_requests_failed_total{backend="v1",route="shop",source="primary"} 2
# HELP understudy_mirror_skipped_total Requests that a mirror did not select.
# TYPE understudy_mirror_skipped_total counter
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="loop",route="shop"} 0
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="match",route="shop"} 0
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="off",route="shop"} 0
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="percent",route="shop"} 0
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="upgrade",route="shop"} 0
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="write",route="shop"} 6
# HELP understudy_mirror_breaker_state 1 for the state the breaker is in, 0 for the others. No copies are sent while it is open.
# TYPE understudy_mirror_breaker_state gauge
understudy_mirror_breaker_state{backend="v2",mirror="trial",route="shop",state="closed"} 0
understudy_mirror_breaker_state{backend="v2",mirror="trial",route="shop",state="half-open"} 1
understudy_mirror_breaker_state{backend="v2",mirror="trial",route="shop",state="open"} 0
# HELP understudy_mirror_last_copy_timestamp_seconds When the last copy left, in seconds since 1970; 0 if never.
# TYPE understudy_mirror_last_copy_timestamp_seconds gauge
understudy_mirror_last_copy_timestamp_seconds{backend="v2",mirror="trial",route="shop"} 1.7000000015e+09
# HELP understudy_mirror_pairs_total Pairs of answers, the primary's and the shadow's, that were compared, by what came of it.
# TYPE understudy_mirror_pairs_total counter
understudy_mirror_pairs_total{backend="v2",class="diff",mirror="trial",route="shop"} 1
understudy_mirror_pairs_total{backend="v2",class="infra",mirror="trial",route="shop"} 0
understudy_mirror_pairs_total{backend="v2",class="match",mirror="trial",route="shop"} 3
understudy_mirror_pairs_total{backend="v2",class="noise_only",mirror="trial",route="shop"} 0
understudy_mirror_pairs_total{backend="v2",class="order_only",mirror="trial",route="shop"} 0
understudy_mirror_pairs_total{backend="v2",class="shadow_error",mirror="trial",route="shop"} 0
understudy_mirror_pairs_total{backend="v2",class="state_drift",mirror="trial",route="shop"} 0
understudy_mirror_pairs_total{backend="v2",class="status_diff",mirror="trial",route="shop"} 0
# HELP understudy_mirror_tainted_pairs_total Pairs of answers that count neither for nor against the shadow.
# TYPE understudy_mirror_tainted_pairs_total counter
understudy_mirror_tainted_pairs_total{backend="v2",mirror="trial",route="shop"} 2
# HELP understudy_mirror_verdict 1 for the verdict on the shadow, 0 for the others.
# TYPE understudy_mirror_verdict gauge
understudy_mirror_verdict{backend="v2",mirror="trial",route="shop",verdict="FAIL"} 1
understudy_mirror_verdict{backend="v2",mirror="trial",route="shop",verdict="NOT_ENOUGH_TRAFFIC"} 0
understudy_mirror_verdict{backend="v2",mirror="trial",route="shop",verdict="PASS"} 0
understudy_mirror_verdict{backend="v2",mirror="trial",route="shop",verdict="RUNNING"} 0
# HELP understudy_endpoint_ejected 1 while the endpoint gets no traffic because it kept failing.
# TYPE understudy_endpoint_ejected gauge
understudy_endpoint_ejected{backend="v1",endpoint="127.0.0.1:9000"} 1
# HELP understudy_capture_total Exchanges drawn to be compared or recorded, whose messages are kept. Always taken + lost + in flight.
# TYPE understudy_capture_total counter
understudy_capture_total 9
# HELP understudy_capture_taken_total Captured exchanges handed to whoever compares and records.
# TYPE understudy_capture_taken_total counter
understudy_capture_taken_total 5
# HELP understudy_capture_lost_total Captures given up; the request and its copies were not. memory: capture.memory was used up; queue: comparing or recording is behind; cpu: comparing pauses, to stay within capture.cpu; busy: others need the processors, so that fewer are compared.
# TYPE understudy_capture_lost_total counter
understudy_capture_lost_total{reason="busy"} 0
understudy_capture_lost_total{reason="memory"} 0
understudy_capture_lost_total{reason="queue"} 3
understudy_capture_lost_total{reason="cpu"} 0
# HELP understudy_capture_in_flight Exchanges being captured, of which not all outcomes are in.
# TYPE understudy_capture_in_flight gauge
understudy_capture_in_flight 1
# HELP understudy_capture_memory_bytes Bytes held for captures, until they were compared and recorded.
# TYPE understudy_capture_memory_bytes gauge
understudy_capture_memory_bytes 4096
# HELP understudy_config_info 1 for the version of the configuration in force.
# TYPE understudy_config_info gauge
understudy_config_info{version="abc123"} 1
# HELP understudy_config_reloads_total Configurations put in force after the first, and configurations refused.
# TYPE understudy_config_reloads_total counter
understudy_config_reloads_total{result="failure"} 1
understudy_config_reloads_total{result="success"} 3
# HELP understudy_loop_lag_seconds Longest pass of any event loop since the last snapshot.
# TYPE understudy_loop_lag_seconds gauge
understudy_loop_lag_seconds 0.0015
# HELP understudy_access_log_dropped_total Lines of the access log lost because its file or pipe was too slow or broken.
# TYPE understudy_access_log_dropped_total counter
understudy_access_log_dropped_total 2
`
	var names []string
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(registry(t, sample()), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestHistogramBucketsAreCumulativeAndExact(t *testing.T) {
	t.Parallel()
	h := find(t, gather(t, sample()), "understudy_request_duration_seconds").GetMetric()[0].GetHistogram()
	got := map[float64]uint64{}
	var last uint64
	for _, b := range h.GetBucket() {
		got[b.GetUpperBound()] = b.GetCumulativeCount()
		if b.GetCumulativeCount() < last {
			t.Errorf("bucket %v counts %d, less than the one before", b.GetUpperBound(), b.GetCumulativeCount())
		}
		last = b.GetCumulativeCount()
	}
	if h.GetSampleCount() != 4 || h.GetSampleSum() != 300.00311 {
		t.Errorf("count %d, sum %v; want 4, 300.00311", h.GetSampleCount(), h.GetSampleSum())
	}
	for le, want := range map[float64]uint64{0.000064: 1, 0.000128: 2, 0.002048: 2, 0.004096: 3, 67.108864: 3} {
		if got[le] != want {
			t.Errorf("le=%v counts %d, want %d", le, got[le], want)
		}
	}
	if len(got) != 21 {
		t.Errorf("%d buckets, want 21: is every bound one of Histogram's?", len(got))
	}
}

func TestOneSnapshotPerScrapeKeepsTheBooksBalanced(t *testing.T) {
	t.Parallel()
	asked := 0
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(func() *Snapshot { asked++; return sample() }))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("one scrape took %d snapshots", asked)
	}
	sum := func(name string) (v float64) {
		for _, m := range find(t, families, name).GetMetric() {
			v += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return v
	}
	selected := sum("understudy_mirror_selected_total")
	accounted := sum("understudy_mirror_completed_total") + sum("understudy_mirror_dropped_total") +
		sum("understudy_mirror_failed_total") + sum("understudy_mirror_in_flight")
	if selected != 10 || accounted != 10 {
		t.Errorf("selected %v, accounted for %v; want 10 and 10", selected, accounted)
	}
}

func TestEveryListedMetricIsServed(t *testing.T) {
	t.Parallel()
	var served []string
	for _, f := range gather(t, sample()) {
		served = append(served, f.GetName())
	}
	var listed []string
	for _, m := range Metrics() {
		listed = append(listed, m.Name)
	}
	slices.Sort(served)
	slices.Sort(listed)
	if diff := cmp.Diff(listed, served); diff != "" {
		t.Errorf("(-listed +served):\n%s", diff)
	}
}

func TestServedLabelsAndValuesAreTheListed(t *testing.T) {
	t.Parallel()
	families := gather(t, sample())
	for _, m := range Metrics() {
		closed := map[string][]string{}
		for _, l := range m.Labels {
			closed[l.Name] = l.Values
		}
		seen := map[string]map[string]bool{}
		for _, series := range find(t, families, m.Name).GetMetric() {
			for _, l := range series.GetLabel() {
				values, ok := closed[l.GetName()]
				if !ok {
					t.Errorf("%s is served with the unlisted label %s", m.Name, l.GetName())
				}
				if values != nil && !slices.Contains(values, l.GetValue()) {
					t.Errorf("%s{%s=%q} is not in the closed set", m.Name, l.GetName(), l.GetValue())
				}
				if seen[l.GetName()] == nil {
					seen[l.GetName()] = map[string]bool{}
				}
				seen[l.GetName()][l.GetValue()] = true
			}
		}
		for name, values := range closed {
			if values != nil && len(seen[name]) != len(values) {
				t.Errorf("%s has %d of the %d values of %s", m.Name, len(seen[name]), len(values), name)
			}
		}
	}
}

func TestMetricNamesPassPrometheusLint(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(registry(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range Metrics() {
		if !strings.HasPrefix(m.Name, "understudy_") {
			t.Errorf("%s does not start with understudy_", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: the help is not a sentence: %s", m.Name, m.Help)
		}
	}
}

func TestABrokenLabelSpoilsTheScrapeNotTheProcess(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Live[0].Route = "\xff"
	if _, err := registry(t, s).Gather(); err == nil {
		t.Error("a label that is not UTF-8 was gathered without an error")
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../../docs/metrics.md"
	var want bytes.Buffer
	if err := WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what the list says; run go test ./internal/telemetry -update (-want +got):\n%s", diff)
	}
}

func gather(t *testing.T, s *Snapshot) []*dto.MetricFamily {
	t.Helper()
	families, err := registry(t, s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func find(t *testing.T, families []*dto.MetricFamily, name string) *dto.MetricFamily {
	t.Helper()
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}
