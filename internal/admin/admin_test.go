package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = Options{Log: slog.New(slog.DiscardHandler)}

// fake is a proxy with fixed books.
type fake struct {
	config   atomic.Pointer[config.Config]
	snapshot telemetry.Snapshot
	ready    bool
	asked    atomic.Int64
}

func (f *fake) Config() *config.Config { return f.config.Load() }
func (f *fake) Ready() bool            { return f.ready }
func (f *fake) Snapshot() *telemetry.Snapshot {
	f.asked.Add(1)
	s := f.snapshot
	return &s
}

// newFake parses a small configuration with the given admin section.
func newFake(t *testing.T, admin string) *fake {
	t.Helper()
	c, err := config.Parse("test", []byte(`
listeners: [{name: web, address: "127.0.0.1:8080"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}]
admin: `+admin))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{ready: true}
	f.config.Store(c)
	return f
}

const plainAdmin = `{address: "127.0.0.1:0"}`

func start(t *testing.T, f *fake, o Options) *Server {
	t.Helper()
	s, err := Listen(f.Config().Admin, f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request with a connection of its own and returns the whole answer.
func ask(t *testing.T, s *Server, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func failure(t *testing.T, body string) Failure {
	t.Helper()
	var f Failure
	if err := json.Unmarshal([]byte(body), &f); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return f
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ready, draining bool
		status          int
		want            string
	}{
		"serving":        {true, false, 200, "ready\n"},
		"draining":       {false, true, 503, "draining"},
		"before serving": {false, false, 503, "starting"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, plainAdmin)
			f.ready, f.snapshot.Draining = tt.ready, tt.draining
			s := start(t, f, quiet)
			answer, body := ask(t, s, "GET", "/readyz")
			if answer.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("readyz: %d %s, want %d %s", answer.StatusCode, body, tt.status, tt.want)
			}
			if answer, body := ask(t, s, "GET", "/healthz"); answer.StatusCode != 200 || body != "ok\n" {
				t.Errorf("healthz: %d %s", answer.StatusCode, body)
			}
		})
	}
}

func TestMistakesAreAnsweredWithAHint(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	tests := map[string]struct {
		method, path string
		status       int
		want         Failure
	}{
		"unknown path":     {"GET", "/nope", 404, Failure{"there is nothing at /nope", "GET / lists what there is"}},
		"trailing slash":   {"GET", "/metrics/", 404, Failure{"there is nothing at /metrics/", "GET / lists what there is"}},
		"profiling is off": {"GET", "/debug/pprof/heap", 404, Failure{"profiling is off", "start with --pprof, or set admin.pprof: true"}},
		"wrong method":     {"POST", "/api/v1/config", 405, Failure{"POST is not possible here", "use GET"}},
		"method of a path that is not there": {"DELETE", "/nope", 404,
			Failure{"there is nothing at /nope", "GET / lists what there is"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, body := ask(t, s, tt.method, tt.path)
			if answer.StatusCode != tt.status {
				t.Errorf("status %d, want %d", answer.StatusCode, tt.status)
			}
			if diff := cmp.Diff(tt.want, failure(t, body)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := answer.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %s", got)
			}
			if allow := answer.Header.Get("Allow"); tt.status == 405 && allow != "GET, HEAD" {
				t.Errorf("Allow: %s", allow)
			}
		})
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	if answer, body := ask(t, s, "HEAD", "/api/v1/status"); answer.StatusCode != 200 || body != "" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

func TestOnlyNamesOfThisMachineAreAnsweredOnLoopback(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9900": 200, "localhost": 200, "LOCALHOST:1": 200, "localhost.:80": 200, "a.localhost": 200, "[::1]:9900": 200,
		"[::1]": 200, "10.0.0.1": 200,
		"evil.example": 421, "evil.example:9900": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "notlocalhost": 421,
	} {
		for _, path := range []string{"/healthz", "/nope", "/api/v1/status"} {
			answer, body := ask(t, s, "GET", path, "Host: "+host)
			if (answer.StatusCode == 421) != (want == 421) {
				t.Errorf("%s with Host %s: %d %s", path, host, answer.StatusCode, body)
			}
		}
	}
}

func TestTokenGuardsAllButTheProbes(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, `{address: "127.0.0.1:0", token: s3cret}`), quiet)
	tests := []struct {
		path, authorization string
		status              int
	}{
		{"/healthz", "", 200}, {"/readyz", "", 200},
		{"/", "", 401}, {"/metrics", "", 401}, {"/api/v1/status", "", 401}, {"/api/v1/config", "", 401}, {"/api/v1/openapi.json", "", 401},
		{"/metrics", "Bearer s3cret", 200}, {"/metrics", "bearer  s3cret ", 200},
		{"/metrics", "Bearer s3cre", 401}, {"/metrics", "Bearer s3crets", 401}, {"/metrics", "Bearer ", 401}, {"/metrics", "Bearer", 401},
		{"/metrics", "Basic s3cret", 401}, {"/metrics", "s3cret", 401},
	}
	for _, tt := range tests {
		answer, _ := ask(t, s, "GET", tt.path, "Authorization: "+tt.authorization)
		if answer.StatusCode != tt.status {
			t.Errorf("%s with %q: %d, want %d", tt.path, tt.authorization, answer.StatusCode, tt.status)
		}
		if got := answer.Header.Get("WWW-Authenticate"); (got != "") != (tt.status == 401) {
			t.Errorf("%s: WWW-Authenticate: %q", tt.path, got)
		}
	}
}

func TestATokenFromAReloadIsInForceAtOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t, plainAdmin)
	s := start(t, f, quiet)
	if answer, _ := ask(t, s, "GET", "/metrics"); answer.StatusCode != 200 {
		t.Fatalf("without a token: %d", answer.StatusCode)
	}
	f.config.Store(newFake(t, `{address: "127.0.0.1:0", token: new}`).Config())
	if answer, _ := ask(t, s, "GET", "/metrics"); answer.StatusCode != 401 {
		t.Errorf("after the reload: %d", answer.StatusCode)
	}
}

func TestOtherAddressesNeedAToken(t *testing.T) {
	t.Parallel()
	_, err := Listen(config.Admin{Address: "0.0.0.0:0"}, newFake(t, plainAdmin), quiet)
	if !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), "open admin address 0.0.0.0:0: ") {
		t.Errorf("without a token: %v", err)
	}

	f := newFake(t, `{address: "0.0.0.0:0", token: s3cret}`)
	s := start(t, f, quiet)
	if answer, _ := ask(t, s, "GET", "/metrics", "Host: proxy.example", "Authorization: Bearer s3cret"); answer.StatusCode != 200 {
		t.Errorf("with the token, by any name: %d", answer.StatusCode)
	}
	f.config.Store(newFake(t, plainAdmin).Config())
	if answer, _ := ask(t, s, "GET", "/metrics"); answer.StatusCode != 401 {
		t.Errorf("after a reload without the token: %d, want closed, not open", answer.StatusCode)
	}
	if got := s.URL(); !strings.HasPrefix(got, "http://127.0.0.1:") {
		t.Errorf("URL() = %s, which no browser can open", got)
	}
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	t.Parallel()
	f := newFake(t, plainAdmin)
	s := start(t, f, quiet)
	if _, err := Listen(config.Admin{Address: s.Addr().String()}, f, quiet); err == nil || !strings.HasPrefix(err.Error(), "open admin address: ") {
		t.Errorf("second server on %s: %v", s.Addr(), err)
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	byFlag := quiet
	byFlag.Pprof = true
	for name, s := range map[string]*Server{
		"by flag":          start(t, newFake(t, plainAdmin), byFlag),
		"by configuration": start(t, newFake(t, `{address: "127.0.0.1:0", pprof: true}`), quiet),
	} {
		for path, want := range map[string]string{
			"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "admin.test",
			"/debug/pprof/symbol": "num_symbols", "/debug/pprof/trace?seconds=0.01": "go 1.", "/debug/pprof/profile?seconds=1": "",
		} {
			answer, body := ask(t, s, "GET", path)
			if answer.StatusCode != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %s: %d without %q", name, path, answer.StatusCode, want)
			}
		}
	}
}

func TestIndexListsEveryEndpoint(t *testing.T) {
	t.Parallel()
	o := quiet
	o.Pprof = true
	s := start(t, newFake(t, plainAdmin), o)
	plain, body := ask(t, s, "GET", "/", "Accept: */*")
	page, html := ask(t, s, "GET", "/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
	if got := plain.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("content type for tools: %s", got)
	}
	if got := page.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("content type for browsers: %s", got)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/config", "/api/v1/openapi.json", "/debug/pprof/"} {
		if !strings.Contains(body, "\n"+path+" ") {
			t.Errorf("%s is not in the list for tools:\n%s", path, body)
		}
		if !strings.Contains(html, `<a href="`+path+`">`) {
			t.Errorf("%s is not in the page:\n%s", path, html)
		}
	}
}

func TestScrapeTakesOneSnapshot(t *testing.T) {
	t.Parallel()
	f := newFake(t, plainAdmin)
	f.snapshot.Mirrors = []telemetry.Mirror{{Route: "shop", Name: "v2", Backend: "v2", Selected: 3, Completed: 3}}
	s := start(t, f, quiet)
	_, body := ask(t, s, "GET", "/metrics")
	for _, want := range []string{
		"\nunderstudy_mirror_selected_total{backend=\"v2\",mirror=\"v2\",route=\"shop\"} 3\n", "\ngo_goroutines ", "\nunderstudy_build_info{",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if got := f.asked.Load(); got != 1 {
		t.Errorf("%d snapshots for one scrape", got)
	}
}

func TestConfigurationIsShownWithoutItsToken(t *testing.T) {
	t.Parallel()
	f := newFake(t, `{address: "127.0.0.1:0", token: s3cret}`)
	s := start(t, f, quiet)
	_, body := ask(t, s, "GET", "/api/v1/config", "Authorization: Bearer s3cret")
	if strings.Contains(body, "s3cret") {
		t.Fatalf("the token is shown:\n%s", body)
	}
	var got struct {
		Version string
		Config  struct {
			Admin  struct{ Token string }
			Routes []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != f.Config().Version || got.Config.Admin.Token != config.Redacted || got.Config.Routes[0].Name != "shop" {
		t.Errorf("got %+v", got)
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	answer, body := ask(t, s, "GET", "/api/v1/openapi.json")
	var got struct{ Paths map[string]any }
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Paths["/api/v1/status"] == nil {
		t.Errorf("%v in %s", err, body)
	}
	if answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %s", answer.Header.Get("Content-Type"))
	}
}

func TestNoAnswerIsCachedOrSniffed(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	for _, path := range []string{"/", "/metrics", "/nope", "/api/v1/config"} {
		answer, _ := ask(t, s, "GET", path)
		if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, answer.Header)
		}
	}
}

func TestLongHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, newFake(t, plainAdmin), quiet)
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 64<<10)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limit := limited(l, 1)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := limit.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection was accepted")
	default:
	}
	first.Close()
	first.Close() // gives its place back once
	second := <-accepted
	if len(limit.(*limitedListener).slots) != 1 {
		t.Error("two closes of one connection gave two places back")
	}
	limit.Close()
	for range accepted {
		t.Error("accepted after Close")
	}
	second.Close()
}

func TestShutdownEndsASlowClientWhenTimeIsUp(t *testing.T) {
	t.Parallel()
	f := newFake(t, plainAdmin)
	s, err := Listen(f.Config().Admin, f, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// One request answered, half of the next: net/http now takes the
	// connection for busy.
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: "); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestStatusOfASnapshot(t *testing.T) {
	t.Parallel()
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := newFake(t, plainAdmin)
	f.snapshot = telemetry.Snapshot{
		Time: started.Add(time.Minute), Started: started, Config: "abc", Reloads: 2, ReloadsFailed: 1, Loops: 2, Driver: "epoll", Clients: 3, Accepted: 9,
		Lag: 1500 * time.Microsecond, AccessLog: telemetry.AccessLog{Written: 5},
		Live: []telemetry.Live{{Route: "z"}, {Route: "a", Backend: "v1", Codes: map[int]uint64{200: 2, 404: 1}, GRPC: map[traffic.GRPCStatus]uint64{"OK": 1},
			Errors: map[traffic.Source]uint64{traffic.Client: 1}, InFlight: 1, BytesIn: 7, BytesOut: 8}},
		Mirrors: []telemetry.Mirror{{Route: "a", Name: "m", Backend: "v2", Share: 0.5, Selected: 6, Completed: 1, InFlight: 1, Queued: 1,
			Dropped: map[traffic.Reason]uint64{traffic.DropRate: 3}, Failed: map[traffic.Reason]uint64{traffic.FailTimeout: 1},
			Breaker: "open", Retry: started.Add(time.Hour), Throttle: 0.25, Memory: 11, Bytes: 12}},
		Endpoints: []telemetry.Endpoint{{Backend: "v2", Address: "b:2"}, {Backend: "v2", Address: "a:1", Ejected: true, Until: started}},
	}
	for _, d := range []time.Duration{time.Millisecond, 3 * time.Millisecond} {
		f.snapshot.Live[1].Duration.Add(d)
	}
	_, body := ask(t, start(t, f, quiet), "GET", "/api/v1/status")
	var got Status
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	empty := Latency{Buckets: [][2]float64{}}
	retry := started.Add(time.Hour)
	want := Status{
		Time: started.Add(time.Minute), Started: started, Version: got.Version, Config: "abc", Reloads: 2, ReloadsFailed: 1, Ready: true,
		Driver: "epoll", Loops: 2, LagMs: 1.5, Connections: Connections{Open: 3, Accepted: 9}, AccessLog: telemetry.AccessLog{Written: 5},
		Routes: []Route{
			{Route: "a", Backend: "v1", Requests: 3, Codes: map[string]uint64{"200": 2, "404": 1}, GRPC: map[string]uint64{"OK": 1}, Failed: map[string]uint64{"client": 1, "primary": 0, "internal": 0},
				InFlight: 1, BytesIn: 7, BytesOut: 8, First: empty,
				Duration: Latency{Count: 2, MeanMs: 2, P50Ms: 3.072, P90Ms: 3.072, P99Ms: 3.072, Buckets: [][2]float64{{1.024, 1}, {3.072, 1}}}},
			{Route: "z", Codes: map[string]uint64{}, GRPC: map[string]uint64{}, Failed: map[string]uint64{"client": 0, "primary": 0, "internal": 0}, Duration: empty, First: empty},
		},
		Mirrors: []Mirror{{Route: "a", Mirror: "m", Backend: "v2", Share: 0.5, Selected: 6, Completed: 1, InFlight: 1, Queued: 1,
			Dropped: map[string]uint64{"queue_full": 0, "memory": 0, "in_flight": 0, "rate": 3, "body_limit": 0, "client_gone": 0, "paused": 0, "shutdown": 0},
			Failed:  map[string]uint64{"connect": 0, "timeout": 1, "reset": 0, "protocol": 0, "tls": 0},
			Skipped: map[string]uint64{"percent": 0, "write": 0, "match": 0, "upgrade": 0, "loop": 0, "off": 0},
			Codes:   map[string]uint64{}, GRPC: map[string]uint64{}, BytesSent: 12, Memory: 11, Breaker: "open", Retry: &retry, Throttle: 0.25, First: empty}},
		Endpoints: []Endpoint{{Backend: "v2", Address: "a:1", Ejected: true, Until: &started}, {Backend: "v2", Address: "b:2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if Sum(got.Mirrors[0].Dropped) != 3 {
		t.Errorf("Sum of dropped = %d", Sum(got.Mirrors[0].Dropped))
	}
}
