package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// versions are the versions of HTTP that a side may speak.
var versions = []int{1, 2}

func protocols(version int) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(version == 1)
	p.SetUnencryptedHTTP2(version == 2)
	return p
}

// speaking is a client that speaks that version and nothing else.
func speaking(t *testing.T, version int) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: protocols(version), DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// received is a request as a backend saw it.
type received struct {
	Start   string
	Header  http.Header
	Body    string
	Trailer http.Header
}

// versioned is a backend that speaks one version and keeps what it gets.
type versioned struct {
	*httptest.Server
	mu      sync.Mutex
	got     map[string]received // by x-case
	majors  map[int]int
	arrived chan struct{}
}

func versionedBackend(t *testing.T, version int) *versioned {
	t.Helper()
	b := &versioned{got: map[string]received{}, majors: map[int]int{}, arrived: make(chan struct{}, 10000)}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		b.mu.Lock()
		name := r.Header.Get("x-case")
		header := r.Header.Clone()
		for _, k := range []string{"X-Case", "X-Request-Id", "X-Forwarded-For", "X-Understudy-Copy", "Traceparent"} {
			header.Del(k)
		}
		b.got[name] = received{fmt.Sprintf("%s %s %s %d", r.Method, r.Host, r.URL, r.ContentLength), header, string(body), r.Trailer}
		b.majors[r.ProtoMajor]++
		b.mu.Unlock()
		respond(w, r, len(body))
		b.arrived <- struct{}{}
	}))
	b.Config.Protocols = protocols(version)
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// respond answers as the path says.
func respond(w http.ResponseWriter, r *http.Request, n int) {
	w.Header()["Date"] = nil
	switch r.URL.Path {
	case "/empty":
		w.WriteHeader(204)
	case "/unchanged":
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(304)
	case "/trailers":
		w.Header().Set("Trailer", "Grpc-Status")
		w.Write([]byte("body"))
		w.(http.Flusher).Flush()
		w.Header().Set("Grpc-Status", "7")
	case "/only":
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "5")
	case "/hint":
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		fmt.Fprint(w, "after a hint")
	case "/big":
		w.Write(bytes.Repeat([]byte("0123456789abcdef"), 64<<10)) // 1 MiB
	case "/stream":
		for i := range 5 {
			fmt.Fprintf(w, "part %d\n", i)
			w.(http.Flusher).Flush()
		}
	default:
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		fmt.Fprintf(w, "%s got %d bytes", r.Method, n)
	}
}

func (b *versioned) address() string { return strings.TrimPrefix(b.URL, "http://") }

// exchangeCase is a request, and what its client must see.
type exchangeCase struct {
	name, method, path string
	body               string
	length             bool // announce it
	trailer            bool
	header             http.Header
	status             int
	want               string
	wantHeader         http.Header // those that must be there
	wantTrailer        http.Header
	copied             received
}

var exchangeCases = []exchangeCase{
	{name: "get", method: "GET", path: "/a?q=1", status: 200, want: "GET got 0 bytes",
		header:     http.Header{"Cookie": {"x=1; y=2"}, "Te": {"trailers"}},
		wantHeader: http.Header{"Set-Cookie": {"a=1", "b=2"}, "Content-Length": {"15"}},
		copied:     received{Start: "GET shop.example /a?q=1 0", Header: http.Header{"Cookie": {"x=1; y=2"}, "Te": {"trailers"}}}},
	{name: "head", method: "HEAD", path: "/a", status: 200, wantHeader: http.Header{"Content-Length": {"16"}},
		copied: received{Start: "HEAD shop.example /a 0"}},
	{name: "post", method: "POST", path: "/a", body: "hello", length: true, status: 200, want: "POST got 5 bytes",
		copied: received{Start: "POST shop.example /a 5", Header: http.Header{"Content-Length": {"5"}}, Body: "hello"}},
	{name: "streamed", method: "PUT", path: "/a", body: strings.Repeat("y", 300_000), trailer: true, status: 200, want: "PUT got 300000 bytes",
		copied: received{Start: "PUT shop.example /a -1", Body: strings.Repeat("y", 300_000), Trailer: http.Header{"X-Sum": {"42"}}}},
	{name: "empty", method: "GET", path: "/empty", status: 204, copied: received{Start: "GET shop.example /empty 0"}},
	{name: "unchanged", method: "GET", path: "/unchanged", status: 304, wantHeader: http.Header{"Etag": {`"1"`}}, copied: received{Start: "GET shop.example /unchanged 0"}},
	{name: "trailers", method: "GET", path: "/trailers", status: 200, want: "body", wantTrailer: http.Header{"Grpc-Status": {"7"}}, copied: received{Start: "GET shop.example /trailers 0"}},
	{name: "only", method: "POST", path: "/only", status: 200, wantHeader: http.Header{"Grpc-Status": {"5"}}, copied: received{Start: "POST shop.example /only 0"}},
	{name: "hint", method: "GET", path: "/hint", status: 200, want: "after a hint", copied: received{Start: "GET shop.example /hint 0"}},
	{name: "big", method: "GET", path: "/big", status: 200, want: strings.Repeat("0123456789abcdef", 64<<10), copied: received{Start: "GET shop.example /big 0"}},
	{name: "stream", method: "GET", path: "/stream", status: 200, want: "part 0\npart 1\npart 2\npart 3\npart 4\n", copied: received{Start: "GET shop.example /stream 0"}},
}

// do sends the request of a case and checks the answer.
func (c *exchangeCase) do(t *testing.T, client *http.Client, addr string) {
	t.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
		if !c.length {
			body = io.MultiReader(body) // whose length nobody can see
		}
	}
	req, err := http.NewRequest(c.method, "http://"+addr+c.path, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, c.header)
	req.Header.Set("x-case", c.name)
	req.Header.Set("User-Agent", "")
	req.Host = "shop.example"
	if c.trailer {
		req.Trailer = http.Header{"X-Sum": {"42"}}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != c.status || string(got) != c.want {
		t.Errorf("%s: got %d with %d bytes, %v, want %d with %d bytes", c.name, resp.StatusCode, len(got), err, c.status, len(c.want))
	}
	for k, v := range c.wantHeader {
		if !slices.Equal(resp.Header[k], v) {
			t.Errorf("%s: %s is %q, want %q", c.name, k, resp.Header[k], v)
		}
	}
	for k, v := range c.wantTrailer {
		if !slices.Equal(resp.Trailer[k], v) {
			t.Errorf("%s: trailer %s is %q, want %q", c.name, k, resp.Trailer[k], v)
		}
	}
}

// combined is a configuration in which primary and shadow speak what they speak.
func combined(primary, shadow *versioned, p, s int) string {
	cfg := mirrored(primary.address(), shadow.address(), "            writes: copy")
	cfg = strings.Replace(cfg, "{name: v1, ", fmt.Sprintf("{name: v1, protocol: HTTP%d, ", p), 1)
	return strings.Replace(cfg, "{name: v2, ", fmt.Sprintf("{name: v2, protocol: HTTP%d, ", s), 1)
}

// Whatever client, primary and shadow speak, all of them see the same messages.
func TestEveryCombinationOfVersions(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		for _, c := range versions {
			for _, p := range versions {
				for _, s := range versions {
					t.Run(fmt.Sprintf("client %d, primary %d, shadow %d", c, p, s), func(t *testing.T) {
						testCombination(t, d, c, p, s)
					})
				}
			}
		}
	})
}

func testCombination(t *testing.T, d loop.Driver, c, p, s int) {
	primary, shadow := versionedBackend(t, p), versionedBackend(t, s)
	sink := newLog()
	server, addr := serveWith(t, Options{Driver: d, Capture: sink}, "capture: {body: 8KiB, memory: 64MiB}\n"+combined(primary, shadow, p, s))
	client := speaking(t, c)
	var all sync.WaitGroup
	for i := range exchangeCases {
		all.Go(func() { exchangeCases[i].do(t, client, addr) })
	}
	all.Wait()
	m := books(t, server)
	if n := uint64(len(exchangeCases)); m.Selected != n || m.Completed != n {
		t.Errorf("the books are %+v, want %d selected and completed", m, n)
	}
	for name, b := range map[string]*versioned{"primary": primary, "shadow": shadow} {
		version := map[string]int{"primary": p, "shadow": s}[name]
		b.mu.Lock()
		if b.majors[version] != len(exchangeCases) || len(b.majors) != 1 {
			t.Errorf("the %s got requests by version: %v", name, b.majors)
		}
		for _, x := range exchangeCases {
			want := x.copied
			got := b.got[x.name]
			for _, k := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Accept-Encoding", "Connection", "Trailer", "Transfer-Encoding"} {
				got.Header.Del(k)
			}
			if want.Header == nil {
				want.Header = http.Header{}
			}
			if c == 2 && x.name == "only" || c == 1 && x.name == "only" {
				got.Header.Del("Content-Length") // clients differ
			}
			if len(got.Trailer) == 0 {
				got.Trailer = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the %s, %s (-want +got):\n%s", name, x.name, abridge(diff))
			}
		}
		b.mu.Unlock()
	}
	for range exchangeCases {
		checkCaptured(t, sink)
	}
}

// checkCaptured compares the messages of a captured exchange with what its case says.
func checkCaptured(t *testing.T, sink *accessLog) {
	t.Helper()
	x, got := hear(t, sink)
	_, after, _ := strings.Cut(strings.ToLower(string(got.Request.Head)), "x-case: ")
	name, _, _ := strings.Cut(after, "\r\n")
	c := exchangeCases[slices.IndexFunc(exchangeCases, func(c exchangeCase) bool { return c.name == name })]
	if !strings.HasPrefix(string(got.Request.Head), c.method+" "+c.path+" HTTP/1.1\r\n") {
		t.Errorf("%s: the request's head is %q", name, got.Request.Head)
	}
	check := func(what string, m *traffic.Message, body string, trailer http.Header) {
		if m == nil || !m.Whole || string(m.Body) != body[:min(len(body), keptBody)] || m.Length != int64(len(body)) {
			t.Errorf("%s: captured of %s %.200v, want a body of %d bytes", name, what, m, len(body))
			return
		}
		want := ""
		for k, v := range trailer {
			want = strings.ToLower(k) + ": " + v[0] + "\r\n"
		}
		if strings.ToLower(string(m.Trailer)) != want {
			t.Errorf("%s: captured of %s the trailers %q, want %q", name, what, m.Trailer, want)
		}
	}
	trailer := http.Header(nil)
	if c.trailer {
		trailer = c.copied.Trailer
	}
	check("the request", got.Request, c.body, trailer)
	check("the primary's answer", got.Primary, c.want, c.wantTrailer)
	check("the shadow's answer", got.Shadow, c.want, c.wantTrailer)
	if x.Status != c.status || x.Copies[0].Status != c.status {
		t.Errorf("%s: got %d and %d, want %d", name, x.Status, x.Copies[0].Status, c.status)
	}
}

func abridge(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "…"
	}
	return s
}

// A stream whose client does not read holds up none of the others on its
// connection, and neither does a shadow that does not read.
func TestASlowStreamHoldsUpNoOther(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := versionedBackend(t, 2)
		cfg := mirrored(primary.address(), greeting(t), "            writes: copy\n            timeout: 300ms")
		cfg = strings.Replace(cfg, "{name: v2, ", "{name: v2, protocol: HTTP2, connectTimeout: 300ms, ", 1)
		_, addr := serve(t, d, strings.Replace(cfg, "{name: v1, ", "{name: v1, protocol: HTTP2, ", 1))
		client := speaking(t, 2)
		var slow []*http.Response
		for range 3 {
			resp, err := client.Get("http://" + addr + "/big")
			if err != nil {
				t.Fatal(err)
			}
			slow = append(slow, resp)
		}
		for range 100 {
			resp, err := client.Post("http://"+addr+"/a", "text/plain", strings.NewReader(long))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != "POST got 65536 bytes" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		for _, resp := range slow {
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || n != 1<<20 {
				t.Errorf("the slow stream brought %d bytes, %v, want 1 MiB", n, err)
			}
		}
	})
}

// greeting is a server that says that it speaks HTTP/2, and reads nothing.
func greeting(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			c.Write(framed(settingsFrame, 0, 0))
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return ln.Addr().String()
}

// A client that gives up one of its streams cuts that request and its copy.
func TestAStreamThatIsResetIsAbandoned(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := versionedBackend(t, 1), versionedBackend(t, 2)
		s, addr := serve(t, d, combined(primary, shadow, 1, 2))
		client := speaking(t, 2)
		body, feed := io.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/a", body)
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func() {
			_, err := client.Do(req)
			gone <- err
		}()
		if _, err := io.WriteString(feed, strings.Repeat("x", 50_000)); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); s.Snapshot().Mirrors[0].InFlight == 0 && time.Now().Before(deadline); {
		}
		cancel()
		if err := <-gone; err == nil {
			t.Error("a request that was cancelled was answered")
		}
		feed.CloseWithError(io.ErrClosedPipe)
		if m := books(t, s); m.Selected != 1 || m.Dropped["client_gone"] != 1 {
			t.Errorf("the books are %+v, want one dropped as client_gone", m)
		}
		exchangeCases[0].do(t, client, addr) // the connection goes on
	})
}

// While the proxy drains, what was asked on an HTTP/2 connection is answered.
func TestADrainingProxyLosesNoStream(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		release := make(chan struct{})
		primary := backend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/first" {
				<-release
			}
			io.WriteString(w, "done")
		})
		s, addr := serve(t, d, plain(primary.address(), ""))
		client := speaking(t, 2)
		if got := <-asked(t, client, "GET", "http://"+addr+"/first", ""); got != 200 {
			t.Fatalf("got %d", got) // so that there is a connection for the others
		}
		const n = 20
		answers := make(chan string, n)
		for range n {
			go func() {
				resp, err := client.Get("http://" + addr + "/")
				if err != nil {
					answers <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				answers <- fmt.Sprint(resp.StatusCode, string(body), err)
			}()
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			if snap := s.Snapshot(); len(snap.Live) > 0 && snap.Live[0].InFlight == n {
				if snap.Clients != 1 {
					t.Errorf("%d clients, want one connection", snap.Clients)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the requests do not arrive")
			}
		}
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background()) }()
		for deadline := time.Now().Add(10 * time.Second); s.Ready() && time.Now().Before(deadline); {
		}
		close(release)
		for range n {
			if got := <-answers; got != "200done<nil>" {
				t.Errorf("got %s", got)
			}
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// A primary that allows few streams at once gets all requests, one after the
// other, or on further connections.
func TestPrimaryThatAllowsFewStreams(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
		primary.Config.Protocols = protocols(2)
		primary.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
		primary.Start()
		defer primary.Close()
		_, addr := serve(t, d, overHTTP2(plain(strings.TrimPrefix(primary.URL, "http://"), "")))
		client := speaking(t, 1)
		var answers []<-chan int
		for range 60 {
			answers = append(answers, asked(t, client, "POST", "http://"+addr+"/", "hello"))
		}
		for i, answer := range answers {
			if got := <-answer; got != 200 {
				t.Errorf("request %d got %d", i, got)
			}
		}
	})
}
