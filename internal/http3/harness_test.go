package http3

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is a sink that keeps what it gets.
type ledger struct {
	mu   sync.Mutex
	list []*traffic.Exchange
}

func (l *ledger) Offer(x *traffic.Exchange) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, x)
	return true
}

func (l *ledger) exchanges() []*traffic.Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*traffic.Exchange(nil), l.list...)
}

// house is a running proxy with HTTP/3, a primary and a shadow.
type house struct {
	*proxy.Server
	authority *certs.Authority
	leaf      *certs.Leaf
	primary   string
	shadow    string
	ledger    *ledger
	captured  *ledger
	address   string
	url       string
}

// backend starts a server for HTTP/1.1.
func backend(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// open starts a proxy for these handlers.
func open(t *testing.T, primary, shadow http.HandlerFunc) *house {
	t.Helper()
	h := &house{authority: certs.New(t), ledger: &ledger{}, captured: &ledger{}, primary: backend(t, primary), shadow: backend(t, shadow)}
	h.leaf = h.authority.Leaf(t, "127.0.0.1", "shop.example.com")
	var s *proxy.Server
	err := error(syscall.EADDRINUSE)
	for i := 0; errors.Is(err, syscall.EADDRINUSE) && i < 10; i++ {
		h.address = freeAddress(t)
		s, err = h.start(t, proxy.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	h.Server = s
	h.url = "https://" + h.address
	t.Cleanup(func() {
		h.end(t, 5*time.Second)
		balanced(t, s.Snapshot())
	})
	return h
}

// start makes a proxy for the address of h.
func (h *house) start(t *testing.T, o proxy.Options) (*proxy.Server, error) {
	t.Helper()
	o.Driver, o.HTTP3, o.Sinks = loop.DefaultDriver(), Open, []traffic.Sink{h.ledger}
	if h.captured != nil {
		o.Capture = h.captured
	}
	return proxy.New(h.config(t, true), o)
}

// lastPort counts the ports that were looked at, from a random one on. Other
// packages have other thousands.
var lastPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32() >> 1)
	return n
}()

// freeAddress is one that nobody had a moment ago, below the ports that the system
// gives to connections, of which the next could take it.
func freeAddress(t *testing.T) string {
	t.Helper()
	const tries = 100
	for range tries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(7_000+int(lastPort.Add(1)%3_000)))
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		c.Close()
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// config is the configuration of a listener, with HTTP/3 or without.
func (h *house) config(t *testing.T, on bool) *config.Config {
	t.Helper()
	http3 := ""
	if on {
		http3 = "http3: {}, "
	}
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, `
listeners: [{name: web, address: "%s", protocol: HTTPS, %stls: {certificates: [{cert: %s, key: %s}], clientAuth: optional, clientCA: %s}}]
workers: 2
capture: {body: 1MiB, memory: 64MiB}
accessLog: {path: "-"}
client: {headTimeout: 5s}
routes:
  - name: shop
    rules:
      - matches: [{path: {value: /members}, identities: ["spiffe://house/cook"]}]
        backends: [{name: v1}]
      - matches: [{path: {value: /here}, sources: ["127.0.0.0/8"]}]
        backends: [{name: v1}]
      - matches: [{path: {value: /moved}}]
        redirect: {hostname: elsewhere.example.com}
      - matches: [{path: {value: /open}}]
        backends: [{name: v1}]
        mirrors: [{backend: v2, writes: copy}]
shutdown: {drain: 5s}
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
`, h.address, http3, h.leaf.Cert, h.leaf.Key, h.authority.File, h.primary, h.shadow))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// end drains the proxy.
func (h *house) end(t *testing.T, patience time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// balanced checks the books of a proxy in which nothing goes on any more.
func balanced(t *testing.T, snap *telemetry.Snapshot) {
	t.Helper()
	if snap.Clients != 0 {
		t.Errorf("%d clients are left", snap.Clients)
	}
	for _, l := range snap.Live {
		if l.InFlight != 0 {
			t.Errorf("route %q, backend %q: %d requests in flight", l.Route, l.Backend, l.InFlight)
		}
	}
	for _, m := range snap.Mirrors {
		sum := m.Completed
		for _, n := range m.Dropped {
			sum += n
		}
		for _, n := range m.Failed {
			sum += n
		}
		if m.InFlight != 0 || m.Memory != 0 || m.Selected != sum {
			t.Errorf("mirror %s: %d in flight, %d bytes held, %d selected and %d accounted for", m.Name, m.InFlight, m.Memory, m.Selected, sum)
		}
	}
}

// books waits until no copy is in flight and n were selected, and returns the
// mirror's books.
func (h *house) books(t *testing.T, n uint64) telemetry.Mirror {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		m := h.Snapshot().Mirrors[0]
		if m.InFlight == 0 && m.Selected >= n {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("the books are %+v, want %d selected and none in flight", m, n)
		}
	}
}

// client speaks HTTP/3 to the proxy.
func (h *house) client(t *testing.T, more func(*tls.Config)) *http.Client {
	t.Helper()
	cfg := &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com"}
	if more != nil {
		more(cfg)
	}
	transport := &http3.Transport{TLSClientConfig: cfg}
	t.Cleanup(func() { _ = transport.Close() })
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask sends a request and reads the answer.
func ask(t *testing.T, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(got)
}

// hello answers with what it got.
func hello(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("x-proto", r.Header.Get("x-forwarded-proto"))
	w.Header().Set("x-for", r.Header.Get("x-forwarded-for"))
	w.Header().Set("x-framing", strings.Join(r.TransferEncoding, ",")+"/"+fmt.Sprint(r.ContentLength))
	fmt.Fprintf(w, "hello %s %d", r.Method, n)
}

func discard(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// long is n bytes of which no two parts are alike.
func long(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

// rawTLS opens a connection of TLS that speaks alpn.
func (h *house) rawTLS(t *testing.T, alpn string) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com", NextProtos: []string{alpn}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
