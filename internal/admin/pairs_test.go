package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// fixedPairs is what was learned of two mirrors, one of them in two rules.
type fixedPairs struct {
	mu     sync.Mutex
	resets []string
	err    error
}

func (f *fixedPairs) Report() *analyze.Report {
	mirror := func(name string, rule int, verdict judge.Verdict, clusters ...analyze.Cluster) analyze.MirrorReport {
		return analyze.MirrorReport{Mirror: name, Route: "shop", Rule: rule, Primary: "v1", Shadow: name, Verdict: verdict, Tainted: 1,
			Classes: map[compare.Class]int64{compare.Match: 5, compare.Diff: 2}, Clusters: clusters}
	}
	return &analyze.Report{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Verdict: judge.Fail, Lost: map[string]int64{"queue": 3},
		Mirrors: []analyze.MirrorReport{
			mirror("v2", 0, judge.Pass),
			mirror("v2", 1, judge.Running, analyze.Cluster{ID: "c1", Mirror: "v2", Endpoint: "GET /a", Class: compare.Diff, Examples: []string{"gone", "a/b?c"}}),
			mirror("v3", 0, judge.Fail, analyze.Cluster{ID: "c2", Mirror: "v3", Endpoint: "GET /a", Class: compare.ShadowError},
				analyze.Cluster{ID: "c3", Mirror: "v3", Endpoint: "GET /b", Class: compare.Diff}),
		},
	}
}

func (f *fixedPairs) Pair(id string) (*analyze.Pair, bool) {
	if id != "a/b?c" {
		return nil, false
	}
	return &analyze.Pair{ID: id, Cluster: "c1"}, true
}

func (f *fixedPairs) Reset(mirror string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets = append(f.resets, mirror)
	return f.err
}

func startPairs(t *testing.T, p Pairs) *Server {
	t.Helper()
	o := quiet
	o.Pairs = p
	return start(t, newFake(t, plainAdmin), o)
}

func TestPairsAreAnswered(t *testing.T) {
	t.Parallel()
	s := startPairs(t, &fixedPairs{})
	tests := map[string]struct {
		path string
		want string // the answer without what is zero
	}{
		"report":             {"/api/v1/report", "FAIL v2 v2 v3"},
		"report of a mirror": {"/api/v1/report?mirror=v2", "RUNNING v2 v2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, body := ask(t, s, "GET", tt.path)
			var report analyze.Report
			if err := json.Unmarshal([]byte(body), &report); err != nil || answer.StatusCode != 200 {
				t.Fatalf("%d, %v: %s", answer.StatusCode, err, body)
			}
			got := string(report.Verdict)
			for _, m := range report.Mirrors {
				got += " " + m.Mirror
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// What the proxy lost before anybody could compare it is in the report, beside what
// the pipeline counted itself.
func TestTheReportHasTheProxysLosses(t *testing.T) {
	t.Parallel()
	o := quiet
	o.Pairs = &fixedPairs{}
	f := newFake(t, plainAdmin)
	f.snapshot.Capture.Lost = map[traffic.Reason]uint64{traffic.LostBusy: 7, traffic.LostMemory: 2, traffic.LostQueue: 4}
	_, body := ask(t, start(t, f, o), "GET", "/api/v1/report")
	var report analyze.Report
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"busy": 7, "memory": 2, "queue": 3}
	if diff := cmp.Diff(want, report.Lost); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

func TestDiffsAreFiltered(t *testing.T) {
	t.Parallel()
	s := startPairs(t, &fixedPairs{})
	for query, want := range map[string][]string{
		"": {"c1", "c2", "c3"}, "?mirror=v3": {"c2", "c3"}, "?endpoint=GET+/a": {"c1", "c2"}, "?class=diff": {"c1", "c3"},
		"?class=diff&mirror=v3&endpoint=GET%20%2Fb": {"c3"}, "?class=match": nil,
	} {
		_, body := ask(t, s, "GET", "/api/v1/diffs"+query)
		var diffs Diffs
		if err := json.Unmarshal([]byte(body), &diffs); err != nil || diffs.Clusters == nil || diffs.Time.IsZero() {
			t.Fatalf("%s: %v in %s", query, err, body)
		}
		var got []string
		for _, c := range diffs.Clusters {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestADiffHasItsExamples(t *testing.T) {
	t.Parallel()
	s := startPairs(t, &fixedPairs{})
	_, body := ask(t, s, "GET", "/api/v1/diffs/c1")
	var diff Diff
	if err := json.Unmarshal([]byte(body), &diff); err != nil {
		t.Fatal(err)
	}
	if diff.Cluster.ID != "c1" || len(diff.Pairs) != 1 || diff.Pairs[0].ID != "a/b?c" {
		t.Errorf("%+v", diff)
	}
	if _, body := ask(t, s, "GET", "/api/v1/diffs/c2"); !strings.Contains(body, `"pairs":[]`) {
		t.Errorf("without examples: %s", body)
	}
	_, body = ask(t, s, "GET", "/api/v1/pairs/a%2Fb%3Fc")
	var pair analyze.Pair
	if err := json.Unmarshal([]byte(body), &pair); err != nil || pair.ID != "a/b?c" {
		t.Errorf("%v: %s", err, body)
	}
}

func TestPairsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := startPairs(t, &fixedPairs{})
	const off = "comparing is off: no mirror compares its shadow's answers"
	const on = "add a mirror, or take percent: 0 out of the compare section of one"
	without := startPairs(t, nil)
	tests := map[string]struct {
		server *Server
		method string
		path   string
		status int
		want   Failure
	}{
		"mirror":            {s, "GET", "/api/v1/report?mirror=x", 404, Failure{`no mirror called "x" compares answers`, "one of: v2, v3"}},
		"mirror of diffs":   {s, "GET", "/api/v1/diffs?mirror=x", 404, Failure{`no mirror called "x" compares answers`, "one of: v2, v3"}},
		"mirror of a reset": {s, "POST", "/api/v1/report/reset?mirror=x", 404, Failure{`no mirror called "x" compares answers`, "one of: v2, v3"}},
		"class": {s, "GET", "/api/v1/diffs?class=x", 400,
			Failure{`"x" is no class of pairs`, "one of: match, noise_only, order_only, state_drift, diff, status_diff, shadow_error, infra"}},
		"parameter":     {s, "GET", "/api/v1/report?miror=v2", 400, Failure{`there is no parameter "miror" here`, "/api/v1/openapi.json lists them"}},
		"cluster":       {s, "GET", "/api/v1/diffs/x", 404, Failure{`there is no cluster "x"`, "/api/v1/diffs lists them"}},
		"no cluster":    {s, "GET", "/api/v1/diffs/", 404, Failure{"there is nothing at /api/v1/diffs/", "GET / lists what there is"}},
		"pair":          {s, "GET", "/api/v1/pairs/x", 404, Failure{`there is no pair "x"`, "a few examples of each cluster are kept: /api/v1/diffs lists them"}},
		"wrong method":  {s, "GET", "/api/v1/report/reset", 405, Failure{"GET is not possible here", "use POST"}},
		"report if off": {without, "GET", "/api/v1/report", 404, Failure{off, on}},
		"diffs if off":  {without, "GET", "/api/v1/diffs", 404, Failure{off, on}},
		"diff if off":   {without, "GET", "/api/v1/diffs/c1", 404, Failure{off, on}},
		"pair if off":   {without, "GET", "/api/v1/pairs/c1", 404, Failure{off, on}},
		"reset if off":  {without, "POST", "/api/v1/report/reset", 404, Failure{off, on}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, body := ask(t, tt.server, tt.method, tt.path)
			if answer.StatusCode != tt.status {
				t.Errorf("status %d, want %d", answer.StatusCode, tt.status)
			}
			if diff := cmp.Diff(tt.want, failure(t, body)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if allow := answer.Header.Get("Allow"); tt.status == 405 && allow != "POST" {
				t.Errorf("Allow: %s", allow)
			}
		})
	}
}

func TestResetForgets(t *testing.T) {
	t.Parallel()
	f := &fixedPairs{}
	s := startPairs(t, f)
	for path, want := range map[string]string{"/api/v1/report/reset?mirror=v3": `{"mirrors":["v3"]}`, "/api/v1/report/reset": `{"mirrors":["v2","v2","v3"]}`} {
		if answer, body := ask(t, s, "POST", path); answer.StatusCode != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s, want %s", path, answer.StatusCode, body, want)
		}
	}
	slices.Sort(f.resets)
	if !slices.Equal(f.resets, []string{"", "v3"}) {
		t.Errorf("resets of %q", f.resets)
	}
	f.err = errors.New("the disk is full")
	if answer, body := ask(t, s, "POST", "/api/v1/report/reset"); answer.StatusCode != 500 || failure(t, body).Error != "not everything is forgotten: the disk is full" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

// A web page may send a POST to this machine without asking.
func TestWebPagesFromElsewhereCannotReset(t *testing.T) {
	t.Parallel()
	f := &fixedPairs{}
	s := startPairs(t, f)
	host := s.Addr().String()
	for headers, want := range map[string]int{
		"Origin: https://evil.example": http.StatusForbidden, "Sec-Fetch-Site: cross-site": http.StatusForbidden, "Sec-Fetch-Site: same-site": http.StatusForbidden,
		"Origin: null": http.StatusForbidden, "Origin: http://" + host: http.StatusOK, "Sec-Fetch-Site: same-origin": http.StatusOK,
	} {
		if answer, body := ask(t, s, "POST", "/api/v1/report/reset", headers); answer.StatusCode != want {
			t.Errorf("with %s: %d %s, want %d", headers, answer.StatusCode, body, want)
		}
	}
	if len(f.resets) != 2 {
		t.Errorf("%d resets, want 2", len(f.resets))
	}
}

func TestVerdictsAndClassesAreMetrics(t *testing.T) {
	t.Parallel()
	_, body := ask(t, startPairs(t, &fixedPairs{}), "GET", "/metrics")
	for _, want := range []string{
		`understudy_mirror_pairs_total{backend="v2",class="diff",mirror="v2",route="shop"} 4`,
		`understudy_mirror_pairs_total{backend="v3",class="match",mirror="v3",route="shop"} 5`,
		`understudy_mirror_pairs_total{backend="v3",class="infra",mirror="v3",route="shop"} 0`,
		`understudy_mirror_tainted_pairs_total{backend="v2",mirror="v2",route="shop"} 2`,
		`understudy_mirror_verdict{backend="v2",mirror="v2",route="shop",verdict="RUNNING"} 1`,
		`understudy_mirror_verdict{backend="v2",mirror="v2",route="shop",verdict="PASS"} 0`,
		`understudy_mirror_verdict{backend="v3",mirror="v3",route="shop",verdict="FAIL"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if _, body := ask(t, startPairs(t, nil), "GET", "/metrics"); strings.Contains(body, "understudy_mirror_verdict") {
		t.Error("there is a verdict although nothing is compared")
	}
}

// Telemetry is on a floor below those that make classes and verdicts.
func TestMetricsKnowEveryClassAndVerdict(t *testing.T) {
	t.Parallel()
	var classes []string
	for _, c := range compare.Classes {
		classes = append(classes, string(c))
	}
	if diff := cmp.Diff(telemetry.PairClasses, classes); diff != "" {
		t.Errorf("classes (-telemetry +compare):\n%s", diff)
	}
	verdicts := []string{string(judge.Pass), string(judge.Fail), string(judge.Running), string(judge.NotEnoughTraffic)}
	if diff := cmp.Diff(telemetry.Verdicts, verdicts); diff != "" {
		t.Errorf("verdicts (-telemetry +judge):\n%s", diff)
	}
}
