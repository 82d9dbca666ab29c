package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/test/certs"
)

// secureBackend is a backend that speaks TLS with leaf.
func secureBackend(t *testing.T, leaf *certs.Leaf, more func(*tls.Config)) *seen {
	t.Helper()
	s := &seen{arrived: make(chan struct{}, 10000)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		_, _ = w.Write(body)
		s.arrived <- struct{}{}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.Pair}}
	if more != nil {
		more(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *seen) secureAddress() string { return strings.TrimPrefix(s.URL, "https://") }

// house is a proxy that speaks TLS with everybody.
type house struct {
	authority       *certs.Authority
	primary, shadow *seen
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{authority: certs.New(t)}
	leaf := h.authority.Leaf(t, "127.0.0.1", "shop.example.com")
	h.primary = secureBackend(t, leaf, nil)
	h.shadow = secureBackend(t, leaf, nil)
	return h
}

// yaml is the configuration of a listener with these lines of TLS, and of a
// mirror with these of its own.
func (h *house) yaml(listenerTLS, mirror string) string {
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTPS, tls: {%s}}]
workers: 2
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2, writes: copy, %s}]
backends:
  - {name: v1, endpoints: ["%s"], protocol: HTTP1, tls: {ca: %s}}
  - {name: v2, endpoints: ["%s"], protocol: HTTP1, tls: {ca: %s, serverName: shop.example.com}}
`, listenerTLS, mirror, h.primary.secureAddress(), h.authority.File, h.shadow.secureAddress(), h.authority.File)
}

func shown(leaves ...*certs.Leaf) string {
	var pairs []string
	for _, l := range leaves {
		pairs = append(pairs, fmt.Sprintf("{cert: %s, key: %s}", l.Cert, l.Key))
	}
	return "certificates: [" + strings.Join(pairs, ", ") + "]"
}

// secureClient returns a client that trusts the authority of h.
func (h *house) secureClient(t *testing.T, more func(*tls.Config)) *http.Client {
	t.Helper()
	cfg := &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com"}
	if more != nil {
		more(cfg)
	}
	transport := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTLSOnEveryLeg(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			h := newHouse(t)
			s, addr := serve(t, d, h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), ""))
			client := h.secureClient(t, func(c *tls.Config) { c.MaxVersion = version })
			random := rand.NewChaCha8([32]byte{byte(version)})
			for i := range 10 {
				body := make([]byte, i*30_000)
				_, _ = random.Read(body)
				resp, err := client.Post("https://"+addr+"/a?n=1", "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.TLS.Version != version {
					t.Fatalf("%d bytes came back of %d, %v, by %x", len(got), len(body), err, resp.TLS.Version)
				}
			}
			h.shadow.wait(t, 10)
			if m := books(t, s); m.Selected != 10 || m.Completed != 10 {
				t.Errorf("got %+v, want 10 selected and completed", m)
			}
			for i, r := range h.shadow.requests {
				if r.Header.Get("x-forwarded-proto") != "https" || r.TLS.ServerName != "shop.example.com" {
					t.Errorf("copy %d: %v, asked for %q", i, r.Header, r.TLS.ServerName)
				}
			}
			if n := len(h.primary.requests); n != 10 {
				t.Errorf("the primary got %d requests", n)
			}
		}
	})
}

// Bodies flow both ways at once, and memory stays bounded while they do.
func TestTLSCarriesLongBodies(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		leaf := authority.Leaf(t, "127.0.0.1", "shop.example.com")
		var got atomic.Uint64
		primary := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			buf := make([]byte, 32<<10)
			for {
				n, err := r.Body.Read(buf)
				got.Add(uint64(n))
				if _, werr := w.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		}))
		primary.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.Pair}}
		primary.StartTLS()
		t.Cleanup(primary.Close)
		shadow := secureBackend(t, leaf, nil)
		h := &house{authority, &seen{Server: primary}, shadow}
		_, addr := serve(t, d, h.yaml(shown(leaf), "body: {limit: 1MiB}"))
		const size = 64 << 20
		sum := func(seed byte) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size) }
		resp, err := h.secureClient(t, nil).Post("https://"+addr+"/", "application/octet-stream", sum(1))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := compare(resp.Body, sum(1)); err != nil || n != size {
			t.Errorf("%d bytes came back of %d, %v", n, size, err)
		}
		if n := got.Load(); n != size {
			t.Errorf("the primary got %d bytes", n)
		}
	})
}

// compare reads both to their ends and returns how many bytes they have in common.
func compare(a, b io.Reader) (n int, err error) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		k, err := io.ReadFull(a, p)
		if _, berr := io.ReadFull(b, q[:k]); berr != nil && k > 0 {
			return n, berr
		}
		if !bytes.Equal(p[:k], q[:k]) {
			return n, fmt.Errorf("the bytes from %d on differ", n)
		}
		n += k
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return n, nil
		default:
			return n, err
		}
	}
}

func TestTLSCertificateIsChosenByName(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		first := h.authority.Leaf(t, "first.example.com")
		wild := h.authority.Leaf(t, "*.example.com")
		exact := h.authority.Leaf(t, "shop.example.com")
		_, addr := serve(t, d, h.yaml(shown(first, wild, exact), ""))
		for _, c := range []struct {
			name string
			want *certs.Leaf
		}{
			{"shop.example.com", exact},
			{"SHOP.example.com", exact},
			{"other.example.com", wild},
			{"a.b.example.com", first},
			{"example.com", first},
			{"", first},
		} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: c.name, InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(c.want.Pair.Leaf) {
				t.Errorf("%q: got the certificate of %v", c.name, got.DNSNames)
			}
			conn.Close()
		}
	})
}

func TestTLSSessionsAreResumedOnEveryLoopAndAfterAReload(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		yaml := h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), "")
		s, addr := serve(t, d, yaml)
		cfg := &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i := range 8 { // there are two loops
			conn, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n")
			if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
				t.Fatalf("got %q, %v", answer, err)
			}
			if resumed := conn.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, resumed)
			}
			conn.Close()
			if i == 4 {
				if _, err := s.Apply(parse(t, yaml+"accessLog: {percent: 50}\n")); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestTLSPlainHTTPGetsAnAnswer(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		s, addr := serve(t, d, h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), ""))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		answer, err := io.ReadAll(conn)
		if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
			t.Errorf("got %q, %v", answer, err)
		}
		if n := s.Snapshot().Listeners[0].Handshakes["plain"]; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

// A proxy that stops or hands over lets handshakes end.
func TestTLSDrainDuringAHandshake(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		s, addr := serve(t, d, h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), ""))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte{22, 3, 1}) // the front of a record
		for s.Snapshot().Clients != 1 {
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil || ctx.Err() != nil {
			t.Error(err, ctx.Err())
		}
	})
}
