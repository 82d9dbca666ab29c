package house

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/telemetry"
)

func TestMetricsKeepTheirForm(t *testing.T) {
	t.Parallel()
	for _, finding := range LintMetrics(telemetry.Metrics()) {
		t.Error(finding)
	}
}

func TestMetricsLintFindsWhatBreaksTheForm(t *testing.T) {
	t.Parallel()
	route := telemetry.Label{Name: "route"}
	mirror := telemetry.Label{Name: "mirror"}
	for _, tt := range []struct {
		name   string
		metric telemetry.Metric
		want   []string
	}{
		{"good counter", telemetry.Metric{Name: "understudy_mirror_sent_total", Kind: telemetry.Counter, Help: "Copies.", Labels: []telemetry.Label{mirror}}, nil},
		{"other prefix", telemetry.Metric{Name: "http_requests_total", Kind: telemetry.Counter, Help: "Requests."},
			[]string{"http_requests_total: the name is not understudy_<noun>_<unit>"}},
		{"counter without _total", telemetry.Metric{Name: "understudy_requests", Kind: telemetry.Counter, Help: "Requests."},
			[]string{"understudy_requests: a counter ends in _total"}},
		{"gauge with _total", telemetry.Metric{Name: "understudy_loops_total", Kind: telemetry.Gauge, Help: "Loops."},
			[]string{"understudy_loops_total: a gauge does not end in _total"}},
		{"durations in milliseconds", telemetry.Metric{Name: "understudy_wait_ms", Kind: telemetry.Durations, Help: "Waiting."},
			[]string{"understudy_wait_ms: a histogram ends in _seconds"}},
		{"no help", telemetry.Metric{Name: "understudy_loops", Kind: telemetry.Gauge},
			[]string{"understudy_loops: the help is not a sentence"}},
		{"reason with open values", telemetry.Metric{Name: "understudy_refused_total", Kind: telemetry.Counter, Help: "Refused.", Labels: []telemetry.Label{{Name: "reason"}}},
			[]string{`understudy_refused_total: label "reason" has 0 fixed values`}},
		{"route with fixed values", telemetry.Metric{Name: "understudy_requests_total", Kind: telemetry.Counter, Help: "Requests.", Labels: []telemetry.Label{{Name: "route", Values: []string{"a"}}}},
			[]string{`understudy_requests_total: label "route" has 1 fixed values`}},
		{"label in capitals", telemetry.Metric{Name: "understudy_requests_total", Kind: telemetry.Counter, Help: "Requests.", Labels: []telemetry.Label{{Name: "Kind", Values: []string{"a"}}}},
			[]string{`understudy_requests_total: label "Kind" is not one lower-case word`}},
		{"copies without mirror", telemetry.Metric{Name: "understudy_mirror_queued", Kind: telemetry.Gauge, Help: "Queued.", Labels: []telemetry.Label{route}},
			[]string{"understudy_mirror_queued: metrics of copies are called understudy_mirror_… and have a label mirror, and no others do"}},
		{"mirror on live traffic", telemetry.Metric{Name: "understudy_requests_total", Kind: telemetry.Counter, Help: "Requests.", Labels: []telemetry.Label{mirror}},
			[]string{"understudy_requests_total: metrics of copies are called understudy_mirror_… and have a label mirror, and no others do"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, LintMetrics([]telemetry.Metric{tt.metric})); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
	twice := telemetry.Metric{Name: "understudy_loops", Kind: telemetry.Gauge, Help: "Loops."}
	if diff := cmp.Diff([]string{"understudy_loops: is listed twice"}, LintMetrics([]telemetry.Metric{twice, twice})); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}
