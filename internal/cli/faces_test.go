package cli

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

var update = flag.Bool("update", false, "write what the code says into testdata; read the difference before committing it")

// golden compares got with a file of testdata/faces.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "faces", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// hostile is a value that would be markup, a mention or a command to the terminal.
const hostile = "\x1b[2J<script>|`@all`**[x](http://evil.example)\u202e]]>"

var midday = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// failedMirror is a shadow that is not ready.
func failedMirror() analyze.MirrorReport {
	check := func(endpoint string, m judge.Metric, v judge.Verdict, pairs int64, effect, low, high, limit float64, says string) judge.Check {
		return judge.Check{Endpoint: endpoint, Metric: m, Verdict: v, Pairs: pairs, Effect: effect, Low: low, High: high, Limit: limit, Says: says, Evidence: 10 * effect}
	}
	quantiles := analyze.Quantiles{P50: 1.25, P95: 4.5, P99: 12}
	return analyze.MirrorReport{
		Mirror: "trial", Route: "shop", Primary: "shop-v1", Shadow: "shop-v2", Since: midday.Add(-10 * time.Minute), Verdict: judge.Fail,
		Reasons: []string{
			"GET /api/products/{id}: 100 % answers differ beyond noise (98 % to 100 %) of 412 pairs, beyond the limit of 0.1 %.",
			"GET /api/search: typically ×7.2 the primary's time (6.9 to 7.5), by 380 pairs, beyond the limit of ×1.05.",
		},
		Shown: "12034 pairs can rule out an excess of 0.025 % or more, and no smaller one.", Pairs: 12034, Held: 12, Tainted: 3,
		Classes: map[compare.Class]int64{compare.Match: 11200, compare.NoiseOnly: 420, compare.Diff: 412, compare.StatusDiff: 2, compare.Infra: 17},
		Endpoints: []analyze.EndpointReport{
			{Endpoint: "*", Pairs: 12034, Primary: quantiles, Shadow: analyze.Quantiles{P50: 1.3, P95: 250, P99: 1260}, Checks: []judge.Check{
				check("*", judge.Errors, judge.Pass, 12034, 0.0001, 0, 0.0005, 0.001, "All endpoints: 0.01 % more errors."),
				check("*", judge.Mismatch, judge.Fail, 12034, 0.034, 0.031, 0.037, 0.001, "All endpoints: 3.4 % answers differ."),
			}},
			{Endpoint: "GET /api/products/{id}", Pairs: 412, Primary: quantiles, Shadow: quantiles, Checks: []judge.Check{
				check("GET /api/products/{id}", judge.Mismatch, judge.Fail, 412, 1, 0.98, 1, 0.001, "GET /api/products/{id}: 100 % answers differ."),
				check("GET /api/products/{id}", judge.Latency, judge.Running, 412, 1.02, 0.97, 1.08, 1.05, "GET /api/products/{id}: neither within the limit nor beyond."),
				check("GET /api/products/{id}", judge.Tail, judge.NotEnoughTraffic, 0, 0, 0, 0, 0.005, "no pairs"),
			}},
			{Endpoint: "GET /" + hostile, Pairs: 12, Primary: quantiles, Shadow: quantiles, Checks: []judge.Check{
				check("GET /"+hostile, judge.Errors, judge.NotEnoughTraffic, 12, 0, -0.2, 0.2, 0.001, "too few"),
			}},
		},
		Clusters: []analyze.Cluster{
			{ID: "4f2a91", Mirror: "trial", Endpoint: "GET /api/products/{id}", Class: compare.Diff, Title: "body.price: missing", Count: 412, Rate: 1, Low: 0.98, High: 1,
				First: midday.Add(-9 * time.Minute), Last: midday.Add(-time.Second),
				Differences: []compare.Difference{
					{Path: "body.price", Where: "body.price", Kind: compare.Missing, Primary: compare.Value{Type: "number", Text: "1800"}, Shadow: compare.Value{Type: "absent"}},
					{Path: "body.cost", Where: "body.cost", Kind: compare.Extra, Primary: compare.Value{Type: "absent"}, Shadow: compare.Value{Type: "string", Text: "18.00"}},
				},
				Examples: []string{"0a1b2c"}, Curl: "curl -sS \\\n  -H 'x-user: 7' \\\n  'http://127.0.0.1:8080/api/products/3'"},
			{ID: "77aa00", Mirror: "trial", Endpoint: "GET /" + hostile, Class: compare.StatusDiff, Title: "status: " + hostile, Count: 2, Rate: 2.0 / 12, Low: 0.02, High: 0.5,
				First: midday.Add(-time.Minute), Last: midday,
				Differences: []compare.Difference{{Path: "body." + hostile, Kind: compare.Changed, Primary: compare.Value{Type: "string", Text: hostile}, Shadow: compare.Value{Type: "null"}}},
				Predictors:  []analyze.Predictor{{Attribute: "query.locale", Value: "tr " + hostile, Inside: 0.98, Outside: 0.021}},
				Curl:        "curl 'http://127.0.0.1:8080/```" + hostile + "'"},
		},
		Noise: []analyze.Noise{{Endpoint: "GET /api/cart", Path: "body.id", Why: "renamed consistently", Seen: 420}, {Endpoint: "*", Path: "header.date", Why: "rule", Seen: 9}},
	}
}

// reports are one of each verdict, and what else a report may be.
func reports() map[string]*analyze.Report {
	pass := analyze.MirrorReport{Mirror: "shop-v2", Route: "shop", Rule: 2, Primary: "shop-v1", Shadow: "shop-v2", Since: midday.Add(-time.Hour), Verdict: judge.Pass,
		Reasons: []string{"All endpoints: 0 % answers differ beyond noise (0 % to 0.02 %) of 90000 pairs, within the limit of 0.1 %."},
		Shown:   "90000 pairs can rule out an excess of 0.0033 % or more, and no smaller one.", Pairs: 90000, Classes: map[compare.Class]int64{compare.Match: 90000},
		Clusters: []analyze.Cluster{{ID: "aa0000", Endpoint: "GET /", Class: compare.Diff, Title: "header.etag: value", Count: 1, Rate: 0.00001}}}
	running := pass
	running.Mirror, running.Rule, running.Verdict, running.Pairs, running.Reasons = "other", 0, judge.Running, 700, []string{"All endpoints: neither."}
	few := pass
	few.Verdict, few.Pairs, few.Reasons, few.Clusters = judge.NotEnoughTraffic, 1, []string{"1 pair so far, at least 300 are asked for."}, nil
	few.Classes, few.Shown = nil, "Nothing."
	return map[string]*analyze.Report{
		"fail":    {Time: midday, Verdict: judge.Fail, Mirrors: []analyze.MirrorReport{failedMirror()}, Lost: map[string]int64{"queue": 5, "cpu": 0}},
		"pass":    {Time: midday, Verdict: judge.Pass, Mirrors: []analyze.MirrorReport{pass}},
		"several": {Time: midday, Verdict: judge.Running, Mirrors: []analyze.MirrorReport{pass, running}},
		"few":     {Time: midday, Verdict: judge.NotEnoughTraffic, Mirrors: []analyze.MirrorReport{few}},
		"nothing": {Time: midday, Verdict: judge.NotEnoughTraffic, Mirrors: []analyze.MirrorReport{}},
	}
}

func TestFacesOfReports(t *testing.T) {
	t.Parallel()
	for name, r := range reports() {
		for face, suffix := range map[outputFormat]string{outputTable: "tsv", outputJSON: "json", outputJUnit: "xml", outputMarkdown: "md"} {
			s, out, _ := testStreams()
			if err := printReport(s, r, face); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+suffix, out.String())
		}
		s, out, _ := testStreams()
		s.OutIsTerminal, s.Size = true, func() (int, int) { return 100, 40 }
		if err := printReport(s, r, outputTable); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", out.String())
		s, coloured, _ := testStreams()
		s.OutIsTerminal, s.Color, s.Size = true, true, func() (int, int) { return 100, 40 }
		if err := printReport(s, r, outputTable); err != nil {
			t.Fatal(err)
		}
		if got := unpainted(coloured.String()); got != out.String() {
			t.Errorf("%s: colours change more than colours: %s", name, cmp.Diff(out.String(), got))
		}
	}
}

// What came from elsewhere is on a terminal what it looks like, and nothing else.
func TestNoFaceLetsControlCharactersThrough(t *testing.T) {
	t.Parallel()
	pair := samplePair()
	diff := &admin.Diff{Cluster: failedMirror().Clusters[1], Pairs: []analyze.Pair{*pair}}
	diffs := &admin.Diffs{Clusters: failedMirror().Clusters}
	for _, terminal := range []bool{false, true} {
		for name, show := range map[string]func(*Streams) error{
			"report":   func(s *Streams) error { return printReport(s, reports()["fail"], outputTable) },
			"junit":    func(s *Streams) error { return printReport(s, reports()["fail"], outputJUnit) },
			"markdown": func(s *Streams) error { return printReport(s, reports()["fail"], outputMarkdown) },
			"clusters": func(s *Streams) error { return printClusters(s, diffs, outputTable) },
			"cluster":  func(s *Streams) error { return printCluster(s, diff, outputTable) },
			"pair":     func(s *Streams) error { return printPair(s, pair, outputTable) },
		} {
			s, out, _ := testStreams()
			s.OutIsTerminal = terminal
			if err := show(s); err != nil {
				t.Fatal(err)
			}
			for _, forbidden := range []string{"\x1b", "\u202e", "\r", "\x00"} {
				if strings.Contains(out.String(), forbidden) {
					t.Errorf("%s has %q:\n%q", name, forbidden, out)
				}
			}
			if !strings.Contains(out.String(), `x1b`) {
				t.Errorf("%s says nothing of the escape character:\n%s", name, out)
			}
		}
	}
}

// samplePair has answers that differ in many ways.
func samplePair() *analyze.Pair {
	return &analyze.Pair{
		ID: "0a1b2c", Cluster: "4f2a91", Time: midday, Class: compare.Diff,
		Request: analyze.Message{Head: "POST /api/products/3?locale=tr HTTP/1.1\nhost: shop.example.com\nauthorization: redacted-1a2b\n", Body: `{"user":7}`, Length: 10},
		Primary: analyze.Message{Head: "HTTP/1.1 200 OK\ncontent-type: application/json\netag: \"a\"\n", Length: 300, Millis: 1.25,
			Body: `{"id":3,"name":"Velvet curtain","price":1800,"stock":1,"tags":["red","heavy"],"big":12345678901234567890.10,"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"text":"` + strings.Repeat("long ", 40) + `end"}`},
		Shadow: analyze.Message{Head: "HTTP/1.1 200 OK\ncontent-type: application/json\netag: \"b\"\nx-new: 1\n", Length: 310, Millis: 251,
			Body: `{"cost":"18.00","stock":2,"name":"Velvet curtain ` + `\u001b[2J` + `","id":3,"tags":["heavy","red"],"big":12345678901234567890.10,"text":"` + strings.Repeat("long ", 40) + `END","a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}`},
		Differences: []compare.Difference{
			{Path: "body.items[*].price", Where: "body.items[3].price", Kind: compare.Missing, Primary: compare.Value{Type: "number", Text: "1800"}},
			{Path: "body.tags", Kind: compare.Order, Primary: compare.Value{Type: "array", Size: 2}, Shadow: compare.Value{Type: "array", Size: 2}},
			{Path: "body.name", Kind: compare.Changed, Primary: compare.Value{Type: "string", Text: "Velvet curtain"}, Shadow: compare.Value{Type: "string", Text: "Velvet curtain \x1b[2J"}},
		},
	}
}

func TestFacesOfDiffs(t *testing.T) {
	t.Parallel()
	diffs := &admin.Diffs{Time: midday, Clusters: failedMirror().Clusters}
	diff := &admin.Diff{Cluster: failedMirror().Clusters[0], Pairs: []analyze.Pair{*samplePair()}}
	for name, show := range map[string]func(*Streams, outputFormat) error{
		"clusters": func(s *Streams, o outputFormat) error { return printClusters(s, diffs, o) },
		"cluster":  func(s *Streams, o outputFormat) error { return printCluster(s, diff, o) },
		"pair":     func(s *Streams, o outputFormat) error { return printPair(s, samplePair(), o) },
	} {
		s, out, _ := testStreams()
		if err := show(s, outputJSON); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", out.String())
		s, out, _ = testStreams()
		s.OutIsTerminal, s.Size = true, func() (int, int) { return 100, 40 }
		if err := show(s, outputTable); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", out.String())
	}
	s, out, _ := testStreams()
	if err := printClusters(s, diffs, outputTable); err != nil {
		t.Fatal(err)
	}
	golden(t, "clusters.tsv", out.String())
}
