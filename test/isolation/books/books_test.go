package books_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/test/isolation/books"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		metrics string
		want    []books.Account
	}{
		"nothing": {"", []books.Account{}},
		"metrics without copies": {
			"# HELP go_goroutines Number.\n# TYPE go_goroutines gauge\ngo_goroutines 8\nunderstudy_requests_total{route=\"shop\",backend=\"v1\",code=\"200\"} 12\n",
			[]books.Account{},
		},
		"a mirror's whole account": {
			`# TYPE understudy_mirror_selected_total counter
understudy_mirror_selected_total{backend="v2",mirror="trial",route="shop"} 1.2e+06
understudy_mirror_completed_total{backend="v2",mirror="trial",route="shop"} 1199980
understudy_mirror_dropped_total{backend="v2",mirror="trial",reason="queue_full",route="shop"} 7
understudy_mirror_dropped_total{backend="v2",mirror="trial",reason="memory",route="shop"} 0
understudy_mirror_dropped_total{backend="v2",mirror="trial",reason="paused",route="shop"} 3
understudy_mirror_failed_total{backend="v2",mirror="trial",reason="reset",route="shop"} 4
understudy_mirror_in_flight{backend="v2",mirror="trial",route="shop"} 6 1712345678901
understudy_mirror_skipped_total{backend="v2",mirror="trial",reason="percent",route="shop"} 99
understudy_mirror_queued{backend="v2",mirror="trial",route="shop"} 5
understudy_mirror_first_byte_seconds_bucket{backend="v2",mirror="trial",route="shop",le="+Inf"} 5
`,
			[]books.Account{{
				Route: "shop", Mirror: "trial", Selected: 1_200_000, Completed: 1_199_980,
				Dropped: map[string]int64{"queue_full": 7, "paused": 3},
				Failed:  map[string]int64{"reset": 4},
				Skipped: map[string]int64{"percent": 99}, InFlight: 6,
			}},
		},
		"sorted by route and mirror": {
			"understudy_mirror_selected_total{route=\"b\",mirror=\"x\"} 1\n" +
				"understudy_mirror_selected_total{route=\"a\",mirror=\"y\"} 2\n" +
				"understudy_mirror_selected_total{route=\"a\",mirror=\"x\"} 3\n",
			[]books.Account{
				{Route: "a", Mirror: "x", Selected: 3, Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{}},
				{Route: "a", Mirror: "y", Selected: 2, Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{}},
				{Route: "b", Mirror: "x", Selected: 1, Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{}},
			},
		},
		"names with quotes, backslashes, braces and line breaks": {
			`understudy_mirror_in_flight{route="a\"b\\c}",mirror="x\ny"} 1` + "\n",
			[]books.Account{{
				Route: `a"b\c}`, Mirror: "x\ny", InFlight: 1,
				Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{},
			}},
		},
		"two backends of one mirror are one account": {
			"understudy_mirror_completed_total{route=\"a\",mirror=\"x\",backend=\"1\"} 1\n" +
				"understudy_mirror_completed_total{route=\"a\",mirror=\"x\",backend=\"2\"} 2\n",
			[]books.Account{{
				Route: "a", Mirror: "x", Completed: 3,
				Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{},
			}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := books.Parse(strings.NewReader(test.metrics))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("accounts differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefusesWhatItWouldMisread(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"no value":             `understudy_mirror_selected_total{route="a",mirror="x"}`,
		"not a number":         `understudy_mirror_selected_total{route="a",mirror="x"} many`,
		"no labels, no value":  `understudy_mirror_selected_total`,
		"label without quotes": `understudy_mirror_selected_total{route=a} 1`,
		"open label value":     `understudy_mirror_selected_total{route="a} 1`,
		"ends in a backslash":  `understudy_mirror_selected_total{route="a\`,
		"open braces":          `understudy_mirror_selected_total{route="a"`,
		"two values":           `understudy_mirror_selected_total{route="a"} 1 2 3`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := books.Parse(strings.NewReader(line)); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		account books.Account
		want    string // the error; empty for none
	}{
		"empty": {books.Account{}, ""},
		"balanced": {
			books.Account{Selected: 10, Completed: 4, Dropped: map[string]int64{"rate": 1, "paused": 2}, Failed: map[string]int64{"reset": 1}, InFlight: 2},
			"",
		},
		"skipped requests were never selected": {books.Account{Selected: 1, Completed: 1, Skipped: map[string]int64{"percent": 7}}, ""},
		"a copy is lost": {
			books.Account{Route: "r", Mirror: "m", Selected: 3, Completed: 2},
			"books of r/m: selected 3, but 2 completed + 0 dropped + 0 failed + 0 in flight = 2",
		},
		"a copy ended twice": {
			books.Account{Route: "r", Mirror: "m", Selected: 1, Completed: 1, Failed: map[string]int64{"timeout": 1}},
			"books of r/m: selected 1, but 1 completed + 0 dropped + 1 failed + 0 in flight = 2",
		},
		"balanced by copies that ended twice": {
			books.Account{Route: "r", Mirror: "m", Selected: 1, Completed: 2, InFlight: -1},
			"books of r/m: -1 in flight: a copy ended more often than it was selected",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := test.account.Check(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("understudy_mirror_selected_total{route=\"a\",mirror=\"x\"} 1\n")
	f.Add(`understudy_mirror_in_flight{route="a\"b\\c}",mirror="x\ny"} 1`)
	f.Add("understudy_mirror_dropped_total{reason=\"rate\",} 2e3 17\n# HELP\n")
	f.Fuzz(func(t *testing.T, metrics string) {
		accounts, err := books.Parse(strings.NewReader(metrics))
		if err != nil && accounts != nil {
			t.Errorf("accounts %v together with error %v", accounts, err)
		}
		for _, a := range accounts {
			_ = a.Check()
		}
	})
}
