package cli

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/replay"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// shop answers as the service of the recordings of these tests, with a change.
func shop(t *testing.T, change func(http.ResponseWriter, *http.Request) bool) (url string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var requests []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		requests = append(requests, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
		mu.Unlock()
		if change != nil && change(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"product":{"id":%q,"price":10.5,"tags":["a","b"]},"session_token":"s3cret%s"}`, r.URL.Path, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(requests)
	}
}

// record asks a service, and writes what it answers to a recording, redacted with
// a key that nobody has.
func record(t *testing.T, url string, requests ...*http.Request) (folder string) {
	t.Helper()
	return recordBy(t, config.Redact{}, url, requests...)
}

// captured is how much the recordings of these tests keep of a body, as `run` does.
const captured = 256 << 10

// recordBy is record with what is redacted, and how.
func recordBy(t *testing.T, secrets config.Redact, url string, requests ...*http.Request) (folder string) {
	t.Helper()
	folder = t.TempDir()
	w, err := recording.Create(folder, recording.Options{})
	if err != nil {
		t.Fatal(err)
	}
	redactor, err := redact.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	for i, r := range requests {
		x := &traffic.Exchange{
			ID: fmt.Sprintf("r%d", i), Start: begun.Add(time.Duration(i) * time.Millisecond), Client: netip.MustParseAddr("10.0.0.1"),
			Method: r.Method, Host: "shop.example.com", Path: r.URL.Path, Query: r.URL.RawQuery,
			Request: &traffic.Message{Head: fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: shop.example.com\r\n", r.Method, r.URL.RequestURI()), Whole: true},
		}
		if r.Body != nil {
			x.Request.Body, _ = io.ReadAll(r.Body)
			x.Request.Length = int64(len(x.Request.Body))
			r.Body = io.NopCloser(strings.NewReader(string(x.Request.Body)))
		}
		r.URL.Scheme, r.URL.Host, r.RequestURI = "http", strings.TrimPrefix(url, "http://"), ""
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var head strings.Builder
		fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", answer.Status)
		answer.Header.Write(&head)
		x.Status = answer.StatusCode
		x.Primary = traffic.Outcome{
			Backend: "shop-v1", Status: answer.StatusCode, Bytes: int64(len(body)), First: time.Millisecond, End: time.Millisecond,
			Answer: &traffic.Message{Head: []byte(head.String()), Body: body, Length: int64(len(body)), Whole: true},
		}
		if len(body) > captured {
			x.Primary.Answer.Body, x.Primary.Answer.Hash = body[:captured], xxhash.Sum64(body)
		}
		redactor.Exchange(x)
		if !w.Offer(x) {
			t.Fatal("the recording is refused")
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return folder
}

// gets are requests of so many products, each asked for so often.
func gets(products, times int) []*http.Request {
	var requests []*http.Request
	for i := range products * times {
		requests = append(requests, httptest.NewRequest("GET", fmt.Sprintf("/products/%d?n=%d", i%products, i), nil))
	}
	return requests
}

// replayJSON runs a replay that must end with a code, and returns what it says.
func replayJSON(t *testing.T, wantCode int, args ...string) *replayed {
	t.Helper()
	s, out, errOut := testStreams()
	code := Main(t.Context(), append([]string{"replay", "-o", "json"}, args...), s)
	if code != wantCode {
		t.Fatalf("exit code %d, want %d: %s\n%s", code, wantCode, errOut, out)
	}
	said := new(replayed)
	if err := json.Unmarshal([]byte(out.String()), said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return said
}

func TestReplaySendsWhatWasRecordedAndWritesOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, httptest.NewRequest("GET", "/products/1?a=b", nil), httptest.NewRequest("POST", "/cart", strings.NewReader("p=1")),
		httptest.NewRequest("GET", "/products/2", nil))
	for _, test := range []struct {
		args    []string
		want    []string
		skipped map[replay.Skip]int64
	}{
		{nil, []string{"GET /products/1?a=b", "GET /products/2"}, map[replay.Skip]int64{"write": 1}},
		{[]string{"--writes"}, []string{"GET /products/1?a=b", "POST /cart p=1", "GET /products/2"}, map[replay.Skip]int64{}},
		{[]string{"--filter", "path=/products/2"}, []string{"GET /products/2"}, map[replay.Skip]int64{"filter": 2}},
		{[]string{"--limit", "1"}, []string{"GET /products/1?a=b"}, map[replay.Skip]int64{}},
		{[]string{"--speed", "max", "--loop", "2"}, []string{"GET /products/1?a=b", "GET /products/2", "GET /products/1?a=b", "GET /products/2"}, map[replay.Skip]int64{"write": 2}},
	} {
		target, asked := shop(t, nil)
		said := replayJSON(t, ExitTooFew, append([]string{folder, "--target", target}, test.args...)...)
		if diff := cmp.Diff(test.want, asked()); diff != "" {
			t.Errorf("%v: asked (-want +got):\n%s", test.args, diff)
		}
		if diff := cmp.Diff(test.skipped, said.Replay.Skipped); diff != "" || said.Replay.Completed != int64(len(test.want)) {
			t.Errorf("%v: %d completed, skipped (-want +got):\n%s", test.args, said.Replay.Completed, diff)
		}
	}
}

func TestReplaySaysWhatItDid(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, append(gets(3, 1), httptest.NewRequest("POST", "/cart", nil))...)
	target, _ := shop(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/products/1" {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"replay", folder, "--target", target, "--rate", "100"}, s); code != ExitTooFew {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	for _, want := range []string{
		"sent 3 of 4 requests to " + target + " at 100 requests per second, in ", "\n  answered  2, 200 2; not answered: reset 1\n", "\n  not sent  write 1\n",
		"\n  lateness  p50 ", "\n    recorded        1.00     1.00     1.00     1.00\n", "\n    since due ", "\nNOT_ENOUGH_TRAFFIC  ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// Latencies that nobody measured are not shown as 0, and why there are none is said.
func TestReplayOfATargetThatIsDown(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(2, 1)...)
	target, _ := shop(t, func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"replay", folder, "--target", target, "--speed", "max"}, s); code != ExitTooFew {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	for _, want := range []string{
		"sent 2 of 2 requests to " + target + " as fast as answers come, in ",
		"\n  answered  0; not answered: reset 2\n            nothing was answered: see whether the target is up, and speaks http as this URL says\n",
		"\n    recorded        1.00     1.00     1.00     1.00\n\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func TestReplayOfNothing(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	begun := t.TempDir()
	w, err := recording.Create(begun, recording.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		empty:                           empty + ": there is no recording in it",
		begun:                           begun + ": there is no exchange in it",
		filepath.Join(empty, "nowhere"): "nowhere: no such file or directory",
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), []string{"replay", folder, "--target", "http://127.0.0.1:1"}, s); code != ExitNo || !strings.Contains(errOut.String(), want) || out.String() != "" {
			t.Errorf("%s: exit code %d: %s%s", folder, code, errOut, out)
		}
	}
}

func TestReplayEndsWithAReportWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(2, 1)...)
	ctx, interrupt := context.WithCancel(t.Context())
	target, _ := shop(t, func(http.ResponseWriter, *http.Request) bool { interrupt(); return false })
	s, out, errOut := testStreams()
	file := filepath.Join(t.TempDir(), "report.json")
	if code := Main(ctx, []string{"replay", folder, "--target", target, "--rate", "0.0001", "--report", file}, s); code != ExitTooFew {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if !strings.Contains(out.String(), "sent 1 of 2 requests") || !strings.Contains(out.String(), "(interrupted)\n  answered  1, 200 1\n  not sent  stopped 1\n") {
		t.Errorf("summary:\n%s", out)
	}
	report, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(report), `"verdict": "`) {
		t.Errorf("%v: report %s", err, report)
	}
}

func TestReplayShowsProgress(t *testing.T) {
	t.Parallel()
	for part, want := range map[float64]string{
		0:     "[--------------------]   0 %  1m30s  sent 900, 10/s, 5 failed, 7 not sent, 2 waiting, 3 on their way",
		0.257: "[#####---------------]  26 %  1m30s  sent 900, 10/s, 5 failed, 7 not sent, 2 waiting, 3 on their way",
		1:     "[####################] 100 %  1m30s  sent 900, 10/s, 5 failed, 7 not sent, 2 waiting, 3 on their way",
	} {
		if got := progressLine(replay.Progress{Read: 912, Sent: 900, Skipped: 7, Failed: 5, Waiting: 2, Sending: 3}, 90*time.Second+time.Millisecond, part); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, test := range []struct {
		options replayOptions
		total   int64
		want    float64
	}{
		{replayOptions{}, 0, 0},
		{replayOptions{}, 200, 0.5},
		{replayOptions{replay: replay.Options{Limit: 100}}, 200, 0.9},
		{replayOptions{replay: replay.Options{For: 80 * time.Second}}, 200, 0.75},
		{replayOptions{replay: replay.Options{For: time.Second}}, 200, 1},
	} {
		if got := test.options.part(replay.Progress{Sent: 90, Skipped: 10}, time.Minute, test.total); got != test.want {
			t.Errorf("%+v of %d: %g, want %g", test.options.replay, test.total, got, test.want)
		}
	}
}

func TestReplayProgressOnATerminalIsOneLine(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(1, 1)...)
	s, _, _ := testStreams()
	s.ErrIsTerminal = true
	errOut := newTranscript()
	s.Err = errOut
	seen := make(chan struct{})
	target, _ := shop(t, func(http.ResponseWriter, *http.Request) bool { <-seen; return false })
	code := make(chan int, 1)
	go func() { code <- Main(t.Context(), []string{"replay", folder, "--target", target}, s) }()
	errOut.await(t, `\r\x1b\[K\[-{20}\]   0 %  .* 1 on their way`)
	close(seen)
	if got := <-code; got != ExitTooFew {
		t.Errorf("exit code %d", got)
	}
	if got := errOut.String(); !strings.HasSuffix(got, "\r"+clearLine) || strings.Contains(got, "\n") {
		t.Errorf("stderr %q", got)
	}
}

func TestReplayFlags(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                     "say which recording",
		"a b":                  `unexpected argument "b"`,
		"a":                    "--target is missing",
		"a --speed fast":       "--speed",
		"a --rate 0":           "--rate 0 is not above 0",
		"a --rate nan":         "--rate",
		"a --rate 5 --speed 2": "exclude each other",
		"a --session user":     "--session",
		"a --filter nonsense":  "--filter",
		"a --header x":         "--header",
		"a --host x":           "--host",
		"a --target http://127.0.0.1 --redacted no":   "--redacted",
		"a --target http://127.0.0.1 --concurrency 0": "--concurrency",
		"a --target http://127.0.0.1 --limit -1":      "--limit",
		"a --target http://127.0.0.1 --for -1s":       "--for",
		"a --target http://127.0.0.1 --loop 0":        "--loop",
		"a --target http://127.0.0.1 --timeout 0s":    "--timeout",
		"a --target http://127.0.0.1 --mirror x":      "--mirror",
		"a --target http://10.0.0.1":                  "--target: not allowed as a target: 10.0.0.1 is not on this machine",
		"a --target http://127.0.0.1 --allow a/b":     "--target: \"a/b\" is neither",
	} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"replay"}, strings.Fields(text)...), s); code != ExitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit code %d, want %q: %s", text, code, want, errOut)
		}
	}
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"replay", filepath.Join(t.TempDir(), "nothing"), "--target", "http://127.0.0.1:1"}, s); code != ExitNo || !strings.Contains(errOut.String(), "nothing") {
		t.Errorf("a folder that is not there: exit code %d: %s", code, errOut)
	}
}

func TestReplayTakesTheRulesOfAMirror(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := `listeners: [{name: web, address: "127.0.0.1:8080", protocol: HTTP}]
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:
          - backend: v2
            compare: {rules: [{path: body.when, ignore: true}], judge: {pairs: 10}}
          - backend: v3
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9001"]}
  - {name: v3, endpoints: ["127.0.0.1:9002"]}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := (&replayOptions{config: file, mirror: "v2"}).rules()
	if err != nil {
		t.Fatal(err)
	}
	mirror := cfg.Routes[0].Rules[0].Mirrors[0]
	if mirror.Name != "target" || mirror.Compare.Judge.Pairs != 10 || len(mirror.Compare.Rules) != 1 || mirror.Compare.Rules[0].Path != "body.when" {
		t.Errorf("mirror %+v", mirror)
	}
	for name, want := range map[string]string{"": "several mirrors", "v9": `no mirror "v9"`} {
		if _, err := (&replayOptions{config: file, mirror: name}).rules(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mirror %q: %v", name, err)
		}
	}
}

// A body that is longer than what was kept of it is compared with one that the same
// version answers now: it is the same, and with the key that it was recorded with,
// another end of it is found.
func TestReplayComparesBodiesThatWereCut(t *testing.T) {
	t.Parallel()
	const key = "a long text that nobody can guess"
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := `listeners: [{name: web, address: "127.0.0.1:8080", protocol: HTTP}]
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v2}]}]}]
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9001"]}
redact: {key: "` + key + `"}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	long := func(end string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "password=hunter2&%s%s", strings.Repeat("0123456789", captured/10), end)
			return true
		}
	}
	recorded, _ := shop(t, long("end"))
	for _, test := range []struct {
		name   string
		redact config.Redact
		end    string
		args   []string
		want   compare.Class
	}{
		{"without a key", config.Redact{}, "end", nil, compare.Match},
		{"with a key", config.Redact{Key: key}, "end", []string{"--config", file}, compare.Match},
		{"another end", config.Redact{Key: key}, "END", []string{"--config", file}, compare.Diff},
		{"a longer one", config.Redact{}, "the end", nil, compare.Diff},
	} {
		folder := recordBy(t, test.redact, recorded, gets(1, 1)...)
		target, _ := shop(t, long(test.end))
		said := replayJSON(t, ExitTooFew, append([]string{folder, "--target", target, "--once"}, test.args...)...)
		if classes := said.Report.Mirrors[0].Classes; classes[test.want] != 1 {
			t.Errorf("%s: %v", test.name, classes)
		}
	}
}

func TestASignalEndsAReplay(t *testing.T) {
	// Not parallel: the signal is for the whole process.
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(2, 1)...)
	target, _ := shop(t, func(http.ResponseWriter, *http.Request) bool {
		syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		return false
	})
	if said := replayJSON(t, ExitTooFew, folder, "--target", target, "--rate", "0.0001"); said.Replay.End != replay.EndInterrupt || said.Replay.Sent != 1 {
		t.Errorf("summary %+v", said.Replay)
	}
}

func TestReplayFindsWhatHasChanged(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(20, 20)...)
	same, _ := shop(t, nil)
	if said := replayJSON(t, ExitTooFew, folder, "--target", same, "--speed", "max"); said.Report.Verdict != "RUNNING" || len(said.Report.Mirrors[0].Clusters) != 0 {
		t.Errorf("of the same version: %s, %+v", said.Report.Verdict, said.Report.Mirrors[0].Clusters)
	}
	lenient := filepath.Join(t.TempDir(), "understudy.yaml")
	replace(t, lenient, `listeners: [{name: web, address: "127.0.0.1:8080", protocol: HTTP}]
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2, compare: {judge: {excess: 5, errors: 5}}}]
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9001"]}
`)
	if said := replayJSON(t, ExitSuccess, folder, "--target", same, "--speed", "max", "-c", lenient); said.Report.Verdict != "PASS" {
		t.Errorf("if less is asked: %s %v", said.Report.Verdict, said.Report.Mirrors[0].Reasons)
	}
	changed, _ := shop(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"product":{"id":%q,"price":"10.50","tags":["a","b"]},"session_token":"s3cret%s"}`, r.URL.Path, r.URL.Path)
		return true
	})
	said := replayJSON(t, ExitNo, folder, "--target", changed, "--speed", "max")
	m := said.Report.Mirrors[0]
	if said.Report.Verdict != "FAIL" || m.Primary != "recorded" || m.Shadow != "target" || len(m.Clusters) != 1 || m.Clusters[0].Differences[0].Path != "body.product.price" {
		t.Errorf("of another version: %s, %+v", said.Report.Verdict, m)
	}
}

func TestAReplayOfRealTrafficToTheSameServiceFindsNothing(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/"); path {
		case "chunked":
			fmt.Fprint(w, "first")
			http.NewResponseController(w).Flush()
			fmt.Fprint(w, ", second")
		case "gzip":
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, `{"zipped": true, "password": "hidden"}`)
			z.Close()
		case "cookie":
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "secret", Path: "/"})
			fmt.Fprint(w, r.Header.Get("Accept-Language"))
		case "moved":
			http.Redirect(w, r, "/chunked", http.StatusFound)
		case "unchanged":
			w.Header().Set("Etag", `"v1"`)
			w.WriteHeader(http.StatusNotModified)
		case "gone", "broken":
			http.Error(w, path, map[string]int{"gone": 404, "broken": 500}[path])
		default:
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, body)
		}
	}))
	t.Cleanup(service.Close)
	folder := t.TempDir()
	r := start(t, "--listen", "127.0.0.1:0", "--primary", service.URL, "--record", folder)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	const rounds = 20
	paths := []string{"GET /chunked", "GET /gzip", "GET /cookie", "GET /moved", "GET /unchanged", "GET /gone", "GET /broken", "HEAD /head", "POST /form", "GET /a/../b?x=%41&y"}
	for range rounds {
		for _, line := range paths {
			method, path, _ := strings.Cut(line, " ")
			q, err := http.NewRequestWithContext(t.Context(), method, r.base+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			q.Host = "shop.example.com"
			q.Header.Set("Accept-Language", "tr")
			answer, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}
	r.signals <- syscall.SIGTERM
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	said := replayJSON(t, ExitTooFew, folder, "--target", service.URL, "--speed", "max", "--writes", "--header", "accept-language=tr")
	m := said.Report.Mirrors[0]
	if said.Replay.Completed != int64(rounds*len(paths)) || len(m.Clusters) != 0 || m.Pairs != said.Replay.Completed {
		t.Errorf("%+v\n%d pairs, %v, %+v", said.Replay, m.Pairs, m.Classes, m.Clusters)
	}
}

func TestReplayWarnsOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(3, 1)...)
	segments, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		content, err := os.ReadFile(name)
		if err != nil || len(content) < 300 {
			continue // no segment
		}
		for i := range 40 { // in the middle of its only block
			content[len(content)/2+i] ^= 0xff
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target, _ := shop(t, nil)
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"replay", folder, "--target", target}, s); code != ExitNo || out.String() != "" || !strings.Contains(errOut.String(), "warning: ") || !strings.Contains(errOut.String(), "there is no exchange in it") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func TestReplayGivesPipelinesTheReportAlone(t *testing.T) {
	t.Parallel()
	recorded, _ := shop(t, nil)
	folder := record(t, recorded, gets(1, 1)...)
	target, _ := shop(t, nil)
	for format, want := range map[string]string{"markdown": "too little traffic to tell whether target may take the place of recorded", "junit": "<?xml "} {
		s, out, errOut := testStreams()
		code := Main(t.Context(), []string{"replay", folder, "--target", target, "--once", "-o", format}, s)
		if code != ExitTooFew || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "sent 1 of 1") || !strings.Contains(errOut.String(), "sent 1 of 1") {
			t.Errorf("%s: exit code %d: %s\n%s", format, code, out, errOut)
		}
	}
}
