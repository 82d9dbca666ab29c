package cli

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/telemetry"
)

// fixedPairs is a report that does not change, and one pair.
type fixedPairs struct{ report *analyze.Report }

func (f fixedPairs) Report() *analyze.Report {
	r := *f.report
	r.Mirrors = append([]analyze.MirrorReport{}, r.Mirrors...)
	return &r
}

func (f fixedPairs) Pair(id string) (*analyze.Pair, bool) {
	pair := samplePair()
	return pair, id == pair.ID
}

func (f fixedPairs) Reset(string) error { return nil }

// still is a proxy without traffic.
type still struct{ cfg *config.Config }

func (s still) Snapshot() *telemetry.Snapshot { return &telemetry.Snapshot{} }
func (s still) Config() *config.Config        { return s.cfg }
func (s still) Ready() bool                   { return true }

// adminOf is the address of an admin server that has learned a report; nil = that
// compares nothing.
func adminOf(t *testing.T, report *analyze.Report) string {
	t.Helper()
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: "127.0.0.1:1", Admin: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	o := admin.Options{Log: slog.New(slog.DiscardHandler)}
	if report != nil {
		o.Pairs = fixedPairs{report}
	}
	s, err := admin.Listen(cfg.Admin, still{cfg}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}

func TestVerdictsAreExitCodes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"pass": ExitSuccess, "fail": ExitNo, "several": ExitTooFew, "few": ExitTooFew} {
		url := adminOf(t, reports()[name])
		for _, format := range []string{"table", "json", "junit", "markdown"} {
			s, out, errOut := testStreams()
			if code := Main(t.Context(), []string{"report", "--admin", url, "-o", format}, s); code != want || errOut.String() != "" {
				t.Errorf("%s as %s: exit code %d, want %d; %s", name, format, code, want, errOut)
			}
			if out.String() == "" {
				t.Errorf("%s as %s prints nothing", name, format)
			}
		}
	}
}

// Recordings are compared without an instance that could say that comparing is off.
func TestNothingComparedIsNoAnswer(t *testing.T) {
	t.Parallel()
	if err := answerOf(reports()["nothing"]); !errors.Is(err, errTooFew) {
		t.Errorf("%v, want %v", err, errTooFew)
	}
}

func TestReportOfOneMirror(t *testing.T) {
	t.Parallel()
	url := adminOf(t, reports()["several"])
	s, out, _ := testStreams()
	if code := Main(t.Context(), []string{"report", "--admin", url, "--mirror", "shop-v2", "-o", "json"}, s); code != ExitSuccess {
		t.Errorf("exit code %d", code)
	}
	var got analyze.Report
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || len(got.Mirrors) != 1 || got.Mirrors[0].Mirror != "shop-v2" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestReportAsJSONIsWhatWasLearned(t *testing.T) {
	t.Parallel()
	s, out, _ := testStreams()
	Main(t.Context(), []string{"report", "-o", "json", "--admin", adminOf(t, reports()["fail"])}, s)
	var got analyze.Report
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reports()["fail"], &got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDiffsOfARunningProxy(t *testing.T) {
	t.Parallel()
	url := adminOf(t, reports()["fail"])
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"clusters":         {nil, "trial\t4f2a91\tdiff\t412\t100 %\tGET /api/products/{id}\tbody.price: missing\t\n"},
		"of an endpoint":   {[]string{"--endpoint", "GET /api/products/{id}"}, "4f2a91"},
		"of a class":       {[]string{"--class", "diff"}, "4f2a91"},
		"of a mirror":      {[]string{"--mirror", "trial"}, "4f2a91"},
		"clusters as JSON": {[]string{"-o", "json"}, "\n      \"id\": \"4f2a91\",\n"},
		"cluster":          {[]string{"4f2a91"}, "4f2a91  body.price: missing\n"},
		"its examples":     {[]string{"4f2a91"}, "  0a1b2c   2026-01-02 12:00:00   POST /api/products/3?locale=tr HTTP/1.1"},
		"cluster as JSON":  {[]string{"4f2a91", "-o", "json"}, "\n    \"id\": \"4f2a91\",\n"},
		"pair":             {[]string{"--pair", "0a1b2c"}, "0a1b2c  cluster 4f2a91, class diff"},
		"pair as JSON":     {[]string{"--pair", "0a1b2c", "-o", "json"}, "\n  \"id\": \"0a1b2c\",\n"},
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"diffs", "--admin", url}, tt.args...), s); code != 0 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit code %d, %s, no %q in\n%s", name, code, errOut, tt.want, out)
		}
	}
	s, out, errOut := testStreams()
	s.OutIsTerminal = true
	few := adminOf(t, reports()["few"])
	if code := Main(t.Context(), []string{"diffs", "--admin", few}, s); code != 0 || out.String() != "" || !strings.HasPrefix(errOut.String(), "no differences") {
		t.Errorf("without differences: %d, %s, %s", code, out, errOut)
	}
	s, out, errOut = testStreams()
	s.OutIsTerminal = true
	if code := Main(t.Context(), []string{"diffs", "--admin", few, "--endpoint", "GET /nowhere"}, s); code != 0 || out.String() != "" || !strings.HasPrefix(errOut.String(), "no differences like that; without --endpoint") {
		t.Errorf("none of an endpoint: exit code %d: %s%s", code, out, errOut)
	}
}

func TestWhatCannotBeReportedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	off, none, on := adminOf(t, nil), adminOf(t, reports()["nothing"]), adminOf(t, reports()["fail"])
	const how = "comparing is off: no mirror compares its shadow's answers (add a mirror, or take percent: 0 out of the compare section of one)"
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"nobody":              {[]string{"report", "--admin", "127.0.0.1:1"}, "nobody listens at http://127.0.0.1:1: is understudy running"},
		"nobody for diffs":    {[]string{"diffs", "--admin", "127.0.0.1:1"}, "nobody listens at http://127.0.0.1:1: is understudy running"},
		"off":                 {[]string{"report", "--admin", off}, how},
		"no mirror":           {[]string{"report", "--admin", none}, how},
		"off, and waited for": {[]string{"report", "--admin", off, "--wait"}, how},
		"diffs that are off":  {[]string{"diffs", "--admin", off}, how},
		"mirror":              {[]string{"report", "--admin", on, "--mirror", "x"}, `no mirror called "x" compares answers (one of: trial)`},
		"class":               {[]string{"diffs", "--admin", on, "--class", "x"}, `"x" is no class of pairs (one of: match,`},
		"cluster":             {[]string{"diffs", "--admin", on, "x/../y"}, `there is no cluster "x/../y" (/api/v1/diffs lists them)`},
		"pair":                {[]string{"diffs", "--admin", on, "--pair", "a b?"}, `there is no pair "a b?"`},
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), tt.args, s); code != ExitNo || !strings.Contains(errOut.String(), tt.want) || out.String() != "" {
			t.Errorf("%s: exit code %d, %s, want %s; printed %q", name, code, errOut, tt.want, out)
		}
	}
}

func TestReportAndDiffsFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"report", "-o", "xml"}, {"report", "--for", "1m"}, {"report", "--until", "pass"}, {"report", "--wait", "--until", "never"}, {"report", "--wait", "--for", "0s"},
		{"report", "x"}, {"report", "--admin", "ftp://x"}, {"diffs", "-o", "junit"}, {"diffs", "a", "b"}, {"diffs", "a", "--pair", "b"}, {"diffs", "a", "--class", "diff"},
		{"diffs", "--pair", "b", "--mirror", "m"}, {"diffs", "--admin", "ftp://x"},
	} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), args, s); code != ExitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	s, _, _ := testStreams()
	var got *reportOptions
	if err := parse(newCmdReport(s, func(o *reportOptions) error { got = o; return nil }), "--wait"); err != nil {
		t.Fatal(err)
	}
	if got.admin != "127.0.0.1:9900" || got.patience != 10*time.Minute || got.until != untilDecided || got.output != outputTable {
		t.Errorf("%+v", got)
	}
}

func TestDiffsAndReportSendTheirToken(t *testing.T) {
	t.Setenv(tokenVariable, "from-env")
	var got string
	url := adminServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Error(w, "", http.StatusUnauthorized)
	})
	for _, command := range []string{"report", "diffs"} {
		got = ""
		s, _, errOut := testStreams()
		if code := Main(t.Context(), []string{command, "--admin", url}, s); code != ExitNo || got != "Bearer from-env" || !strings.Contains(errOut.String(), "wants a token") {
			t.Errorf("%s: %d, sent %q, %s", command, code, got, errOut)
		}
	}
}

// script is what a proxy answers, one after the other; the last again and again.
type script []any // *analyze.Report or error

func (s *script) ask(context.Context) (*analyze.Report, error) {
	next := (*s)[0]
	if len(*s) > 1 {
		*s = (*s)[1:]
	}
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(*analyze.Report), nil
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	r := reports()
	incomplete := r["fail"] // pairs are held
	failed := failedMirror()
	failed.Held = 0
	r["fail"] = &analyze.Report{Verdict: judge.Fail, Mirrors: []analyze.MirrorReport{failed}}
	nobody, refused := &absentError{"http://x"}, errors.New("comparing is off")
	for name, tt := range map[string]struct {
		script  script
		until   string
		want    judge.Verdict
		wantErr string
		took    time.Duration
	}{
		"decided at once":   {script{r["pass"]}, untilDecided, judge.Pass, "", 0},
		"decided later":     {script{r["few"], r["several"], r["fail"]}, untilDecided, judge.Fail, "", 2 * time.Second},
		"not all known":     {script{r["few"], incomplete, incomplete, r["fail"]}, untilDecided, judge.Fail, "", 3 * time.Second},
		"never all known":   {script{r["few"], incomplete}, untilDecided, judge.Fail, "", 6 * time.Second},
		"until it passes":   {script{r["fail"], r["fail"], r["pass"]}, untilPass, judge.Pass, "", 2 * time.Second},
		"never passes":      {script{r["fail"]}, untilPass, judge.Fail, "", time.Minute},
		"never decided":     {script{r["few"], r["several"]}, untilDecided, judge.Running, "", time.Minute},
		"nothing compared":  {script{r["nothing"]}, untilDecided, judge.NotEnoughTraffic, "", time.Minute},
		"comes up later":    {script{nobody, nobody, r["pass"]}, untilDecided, judge.Pass, "", 2 * time.Second},
		"gone for a moment": {script{r["few"], nobody, r["pass"]}, untilDecided, judge.Pass, "", 2 * time.Second},
		"gone for good":     {script{r["few"], nobody}, untilDecided, judge.NotEnoughTraffic, "", time.Minute},
		"never there":       {script{nobody}, untilDecided, "", nobody.Error() + "\nwaited 1m0s in vain for a report", time.Minute},
		"refuses":           {script{r["few"], refused}, untilDecided, "", "comparing is off", time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _, _ := testStreams()
			o := &reportOptions{streams: s, patience: time.Minute, until: tt.until}
			begun := time.Now()
			report, err := o.waiting(tt.script.ask).wait(t.Context())
			switch {
			case err != nil:
				if err.Error() != tt.wantErr {
					t.Errorf("%s: %v, want %s", name, err, tt.wantErr)
				}
			case report.Verdict != tt.want || tt.wantErr != "":
				t.Errorf("%s: %s, want %s %s", name, report.Verdict, tt.want, tt.wantErr)
			}
			if took := time.Since(begun); took != tt.took {
				t.Errorf("%s: took %s, want %s", name, took, tt.took)
			}
		})
	}
}

// Who interrupts the waiting gets what is known so far.
func TestWaitingIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := testStreams()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		o := &reportOptions{streams: s, patience: time.Minute, until: untilDecided}
		answers := script{reports()["few"]}
		report, err := o.waiting(answers.ask).wait(ctx)
		if err != nil || report.Verdict != judge.NotEnoughTraffic {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for terminal, want := range map[bool]string{
		false: "waiting: shop-v2 NOT_ENOUGH_TRAFFIC, 1 pair (1m10s left)\nwaiting: shop-v2 NOT_ENOUGH_TRAFFIC, 1 pair (40s left)\nwaiting: shop-v2 NOT_ENOUGH_TRAFFIC, 1 pair (10s left)\n",
		true:  "\r\x1b[Kwaiting: shop-v2 NOT_ENOUGH_TRAFFIC, 1 pair (1m10s left)",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _, errOut := testStreams()
			s.ErrIsTerminal = terminal
			o := &reportOptions{streams: s, patience: 70 * time.Second, until: untilDecided}
			answers := script{reports()["few"]}
			if _, err := o.waiting(answers.ask).wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := errOut.String()
			if terminal && !strings.HasSuffix(got, "\r\x1b[K") {
				t.Errorf("the line is not taken away: %q", got)
			}
			if terminal {
				got = got[:min(len(got), len(want))]
			}
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
