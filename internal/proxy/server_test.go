package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// get asks url and returns status and body.
func get(client *http.Client, url string) (int, string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// newClient returns a client that keeps its own connections and follows no
// redirects.
func newClient(t *testing.T) *http.Client {
	c := &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestRulesChangeWhatThePrimaryAndTheClientSee(t *testing.T) {
	primary := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Secret", "s")
		fmt.Fprintf(w, "%s %s %s %q", r.Host, r.URL.Path, r.URL.RawQuery, r.Header["X-Env"])
	})
	_, addr := serve(t, loop.DefaultDriver(), fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
routes:
  - name: shop
    rules:
      - matches: [{path: {value: /api}}]
        requestHeaders: {set: [{name: x-env, value: prod}], remove: [x-drop]}
        responseHeaders: {remove: [x-secret], add: [{name: x-by, value: understudy}]}
        rewrite: {hostname: inner.example, path: {replacePrefixMatch: /v2}}
        backends: [{name: v1}]
      - matches: [{path: {value: /old}}]
        redirect: {scheme: https, hostname: new.example, path: {replacePrefixMatch: /new}, statusCode: 301}
backends:
  - {name: v1, endpoints: ["%s"]}
`, primary.address()))
	client := newClient(t)
	req, _ := http.NewRequest("GET", "http://"+addr+"/api/items?q=1", nil)
	req.Header.Set("X-Env", "client")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := `inner.example /v2/items q=1 ["prod"]`; string(body) != want {
		t.Errorf("got %s, want %s", body, want)
	}
	if resp.Header.Get("X-Secret") != "" || resp.Header.Get("X-By") != "understudy" {
		t.Errorf("got %v, want X-By and no X-Secret", resp.Header)
	}
	resp, err = client.Get("http://" + addr + "/old/thing?a=b")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("Location"), "https://new.example/new/thing?a=b"; resp.StatusCode != 301 || got != want {
		t.Errorf("got %d %s, want 301 %s", resp.StatusCode, got, want)
	}
	if status, _, err := get(client, "http://"+addr+"/none"); status != 404 || err != nil {
		t.Errorf("got %d, %v, want 404", status, err)
	}
}

func TestWeightsSplitRequests(t *testing.T) {
	a := backend(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a") })
	b := backend(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "b") })
	_, addr := serve(t, loop.DefaultDriver(), fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
routes:
  - name: shop
    rules:
      - backends: [{name: a, weight: 3}, {name: b, weight: 1}, {name: off, weight: 0}]
backends:
  - {name: a, endpoints: ["%s"]}
  - {name: b, endpoints: ["%s"]}
  - {name: off, endpoints: ["127.0.0.1:1"]}
`, a.address(), b.address()))
	client := newClient(t)
	const n = 1000
	got := 0
	for range n {
		_, body, err := get(client, "http://"+addr+"/")
		if err != nil {
			t.Fatal(err)
		}
		if body == "a" {
			got++
		}
	}
	// Mean 750, standard deviation 13.7; six of them: false failure once in 5·10^8 runs.
	if got < 750-82 || got > 750+82 {
		t.Errorf("got %d of %d from a, want about 750", got, n)
	}
}

func TestOnlyTrustedProxiesSpeakForTheirClients(t *testing.T) {
	primary := backend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	})
	const rules = `
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
%s
routes:
  - name: inside
    rules:
      - matches: [{sources: ["10.0.0.0/8"]}]
        backends: [{name: v1}]
        responseHeaders: {set: [{name: x-route, value: inside}]}
  - name: others
    rules: [{backends: [{name: v1}]}]
backends:
  - {name: v1, endpoints: ["%s"]}
`
	tests := []struct {
		name, trusted, forwardedFor string
		body, route                 string
	}{
		{"nobody configured: passed on, not believed", "", "10.1.1.1", "10.1.1.1, 127.0.0.1|https", ""},
		{"trusted peer: the nearest untrusted address", "trustedProxies: {sources: [127.0.0.1, 192.0.2.0/24]}", "10.6.6.6, 10.1.1.1, 192.0.2.7", "10.6.6.6, 10.1.1.1, 192.0.2.7, 127.0.0.1|https", "inside"},
		{"depth bounds how far it looks", "trustedProxies: {sources: [127.0.0.1, 192.0.2.0/24], depth: 1}", "10.1.1.1, 192.0.2.7", "10.1.1.1, 192.0.2.7, 127.0.0.1|https", ""},
		{"untrusted peer: replaced", "trustedProxies: {sources: [192.0.2.0/24]}", "10.1.1.1", "127.0.0.1|http", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, addr := serve(t, loop.DefaultDriver(), fmt.Sprintf(rules, test.trusted, primary.address()))
			req, _ := http.NewRequest("GET", "http://"+addr+"/", nil)
			req.Header.Set("X-Forwarded-For", test.forwardedFor)
			req.Header.Set("X-Forwarded-Proto", "https")
			resp, err := newClient(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if string(body) != test.body || resp.Header.Get("X-Route") != test.route {
				t.Errorf("got %s by route %q, want %s by %q", body, resp.Header.Get("X-Route"), test.body, test.route)
			}
		})
	}
}

// hammer asks addr from several clients until stop is closed, and returns how
// many answers came and what went wrong.
func hammer(t *testing.T, addr string, stop <-chan struct{}) (answers *atomic.Int64, wait func()) {
	var wg sync.WaitGroup
	answers = new(atomic.Int64)
	for range 8 {
		client := newClient(t)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, _, err := get(client, "http://"+addr+"/")
				if err != nil || status != 200 {
					t.Errorf("got %d, %v", status, err)
					return
				}
				answers.Add(1)
			}
		}()
	}
	return answers, wg.Wait
}

// reach waits until n has grown by more than by.
func reach(n *atomic.Int64, by int64) {
	for from := n.Load(); n.Load() < from+by; {
		runtime.Gosched()
	}
}

func TestReloadLosesNoRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := backend(t, nil), backend(t, nil)
		on := mirrored(primary.address(), shadow.address(), "            percent: 100")
		off := mirrored(primary.address(), shadow.address(), "            percent: 0")
		s, addr := serve(t, d, on)
		stop := make(chan struct{})
		answers, wait := hammer(t, addr, stop)
		for i := range 20 {
			reach(answers, 20)
			cfg, err := config.Parse("x", []byte([]string{off, on}[i%2]))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Listeners[0].Address = "127.0.0.1:0"
			if _, err := s.Apply(cfg); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		wait()
		if m := books(t, s); m.Share != 1 || m.Skipped["off"] == 0 || m.Selected == 0 {
			t.Errorf("got %+v, want copies and requests skipped as off", m)
		}
	})
}

func TestOffSendsNothingMore(t *testing.T) {
	primary, shadow := backend(t, nil), backend(t, nil)
	s, addr := serve(t, loop.DefaultDriver(), mirrored(primary.address(), shadow.address(), "            percent: 100"))
	client := newClient(t)
	get(client, "http://"+addr+"/")
	last := books(t, s).LastCopy
	cfg, err := config.Parse("x", []byte(plain(primary.address(), "")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		get(client, "http://"+addr+"/")
	}
	m := books(t, s)
	if m.Selected != 1 || m.Share != 0 || !m.LastCopy.Equal(last) || last.IsZero() {
		t.Errorf("got %d selected, share %v, last copy %v, want 1, 0, %v", m.Selected, m.Share, m.LastCopy, last)
	}
}

func TestAConfigurationThatCannotBeAppliedChangesNothing(t *testing.T) {
	primary := backend(t, nil)
	s, addr := serve(t, loop.DefaultDriver(), plain(primary.address(), ""))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := s.Config().Version
	text := strings.Replace(plain(primary.address(), ""), `{name: web, address: "127.0.0.1:0", protocol: HTTP}`,
		fmt.Sprintf(`{name: web, address: "127.0.0.1:0", protocol: HTTP}, {name: two, address: "%s", protocol: HTTP}`, taken.Addr()), 1)
	cfg, err := config.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(cfg); err == nil || !strings.Contains(err.Error(), "listener two") {
		t.Errorf("got %v, want an error that names listener two", err)
	}
	if got := s.Config().Version; got != before {
		t.Errorf("got version %s, want %s", got, before)
	}
	if status, _, err := get(newClient(t), "http://"+addr+"/"); status != 200 || err != nil {
		t.Errorf("got %d, %v, want 200", status, err)
	}
}

func TestListenersComeAndGoWithTheConfiguration(t *testing.T) {
	primary := backend(t, nil)
	s, addr := serve(t, loop.DefaultDriver(), plain(primary.address(), ""))
	text := strings.Replace(plain(primary.address(), ""), "name: web,", "name: other,", 1)
	cfg, err := config.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	old := dial(t, addr)
	answers := bufio.NewReader(old)
	send(t, old, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	first, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, first.Body); err != nil {
		t.Fatal(err)
	}
	// It is accepted and idle when its listener goes.
	if _, err := s.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	if status, _, err := get(newClient(t), "http://"+s.Addrs()["other"].String()+"/"); status != 200 || err != nil {
		t.Errorf("new listener: got %d, %v, want 200", status, err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the old listener still takes connections")
	}
	send(t, old, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got := head(t, answers); !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("got %q, want an answer and Connection: close", got)
	}
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p, sh := primary.next(t), shadow.next(t)
		head(t, bufio.NewReader(p))
		head(t, bufio.NewReader(sh))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Drain(context.Background())
		}()
		for draining := false; !draining; {
			for _, w := range s.workers {
				w.loop.Call(func() { draining = w.draining })
			}
		}
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		cr := bufio.NewReader(c)
		if got := head(t, cr); !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("got %q, want Connection: close", got)
		}
		expect(t, cr, "ok")
		atEOF(t, cr)
		send(t, sh, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-ended
		if m := s.Snapshot().Mirrors[0]; m.Completed != 1 || m.InFlight != 0 {
			t.Errorf("got %+v, want the copy completed", m)
		}
	})
}

func TestDrainDropsCopiesThatDoNotEnd(t *testing.T) {
	primary, shadow := backend(t, nil), scripted(t)
	s, addr := serve(t, loop.DefaultDriver(), "shutdown: {copies: 50ms}\n"+mirrored(primary.address(), shadow.address(), ""))
	client := newClient(t)
	get(client, "http://"+addr+"/")
	client.CloseIdleConnections()
	s.Drain(context.Background())
	if m := s.Snapshot().Mirrors[0]; m.Selected != 1 || m.Dropped["shutdown"] != 1 || m.InFlight != 0 {
		t.Errorf("got %+v, want one dropped by the shutdown", m)
	}
}

func TestClientsAreBounded(t *testing.T) {
	tests := []struct {
		name, client, send string
		want               int
	}{
		{"long target", "targetLimit: 256", "GET /" + strings.Repeat("a", 300) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
		{"long head", "headLimit: 1KiB", "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 1100) + "\r\n\r\n", 431},
		{"many headers", "headerCount: 3", "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", 431},
		{"slow head", "headTimeout: 30ms", "GET / HTTP/1.1\r\nHost:", 408},
		{"broken head", "headTimeout: 1s", "GET / HTTP/1.1\nHost: h\n\n", 400},
		{"broken chunk", "headTimeout: 1s", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	}
	primary := backend(t, nil)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				_, addr := serve(t, d, "client: {"+test.client+"}\n"+plain(primary.address(), ""))
				c := dial(t, addr)
				send(t, c, test.send)
				cr := bufio.NewReader(c)
				resp, err := http.ReadResponse(cr, nil)
				if err != nil || resp.StatusCode != test.want || !resp.Close {
					t.Fatalf("got %v, %v, want %d and Connection: close", resp, err, test.want)
				}
				io.Copy(io.Discard, resp.Body)
				atEOF(t, cr)
			})
		})
	}
}
