package proxy

import (
	"context"
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
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is a backend that remembers what it got.
type seen struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	arrived  chan struct{}
	answer   http.HandlerFunc
}

func backend(t *testing.T, answer http.HandlerFunc) *seen {
	t.Helper()
	s := &seen{arrived: make(chan struct{}, 10000), answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, r)
		} else {
			fmt.Fprintf(w, "hello %d", len(body))
		}
		s.arrived <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *seen) address() string { return strings.TrimPrefix(s.URL, "http://") }

// wait returns once n requests have been answered.
func (s *seen) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.arrived:
		case <-time.After(10 * time.Second):
			t.Fatal("the backend did not get the request")
		}
	}
}

// drivers runs a test on every driver of this system, at the same time.
func drivers(t *testing.T, test func(t *testing.T, d loop.Driver)) {
	for _, d := range []loop.Driver{loop.Epoll, loop.Go} {
		if _, err := loop.ParseDriver(string(d)); err != nil {
			continue
		}
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// serve starts a proxy for the configuration and returns it with its address.
// At the end of the test its books must balance.
func serve(t *testing.T, d loop.Driver, yaml string) (*Server, string) {
	t.Helper()
	return serveWith(t, Options{Driver: d}, yaml)
}

// serveWith is serve with other options.
func serveWith(t *testing.T, o Options, yaml string) (*Server, string) {
	t.Helper()
	s, err := New(parse(t, yaml), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Error(err)
		}
		balanced(t, s.Snapshot())
	})
	return s, s.Addrs()["web"].String()
}

func parse(t *testing.T, yaml string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// balanced checks the books of a proxy in which nothing goes on any more.
func balanced(t *testing.T, snap *telemetry.Snapshot) {
	t.Helper()
	if snap.Clients != 0 {
		t.Errorf("%d clients are left", snap.Clients)
	}
	if c := snap.Capture; c.InFlight != 0 || c.Drawn != c.Taken+sumOf(c.Lost) || c.Memory != 0 {
		t.Errorf("captures: %+v", c)
	}
	for _, l := range snap.Live {
		if l.InFlight != 0 {
			t.Errorf("route %q, backend %q: %d requests in flight", l.Route, l.Backend, l.InFlight)
		}
	}
	for _, e := range snap.Endpoints {
		if e.InFlight != 0 {
			t.Errorf("endpoint %s: %d calls in flight", e.Address, e.InFlight)
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

// mirrored is a configuration with one primary and one mirror.
func mirrored(primary, shadow, mirrorLines string) string {
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
workers: 2
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:
          - backend: v2
%s
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
`, mirrorLines, primary, shadow)
}

// books waits until no copy is in flight and returns the mirror's books.
func books(t *testing.T, s *Server) telemetry.Mirror {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		snap := s.Snapshot()
		if len(snap.Mirrors) != 1 {
			t.Fatalf("got %d mirrors, want 1", len(snap.Mirrors))
		}
		m := snap.Mirrors[0]
		if m.InFlight == 0 || time.Now().After(deadline) {
			return m
		}
	}
}

func TestCopiesArriveAtTheShadow(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := backend(t, nil), backend(t, nil)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            writes: copy"))
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for i := range 10 {
			body := strings.Repeat("x", i*20000)
			resp, err := client.Post("http://"+addr+"/a?n=1", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("hello %d", len(body)); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
		shadow.wait(t, 10)
		m := books(t, s)
		if m.Selected != 10 || m.Completed != 10 {
			t.Errorf("got %+v, want 10 selected and completed", m)
		}
		for i, r := range shadow.requests {
			if r.Header.Get("x-understudy-copy") != "v2" || r.URL.String() != "/a?n=1" || r.Host != addr {
				t.Errorf("copy %d: %s %s %v", i, r.Host, r.URL, r.Header)
			}
		}
	})
}

// lastPort counts the ports that were looked at, from a random one on.
var lastPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32() >> 1)
	return n
}()

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	const tries, first, ports = 100, 16_000, 4_000
	for range tries {
		// Below the ports that the system gives to connections, of which the next
		// could take it, and each only once. Other packages have other thousands.
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+int(lastPort.Add(1)%ports)))
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
