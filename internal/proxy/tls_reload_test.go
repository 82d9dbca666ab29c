package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/test/certs"
)

// Certificates are replaced under load, and nobody notices but by the certificate.
func TestTLSReloadLosesNoRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		leaf := h.authority.Leaf(t, "shop.example.com")
		yaml := h.yaml(shown(leaf), "percent: 0")
		s, addr := serve(t, d, yaml)
		var stop atomic.Bool
		var asked atomic.Int64
		var load sync.WaitGroup
		for range 4 {
			// Each request makes a connection of its own; some resume, some do not.
			client := h.secureClient(t, func(c *tls.Config) { c.ClientSessionCache = tls.NewLRUClientSessionCache(1) })
			client.Transport.(*http.Transport).DisableKeepAlives = true
			load.Go(func() {
				for !stop.Load() {
					resp, err := client.Post("https://"+addr+"/", "text/plain", strings.NewReader("hello"))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(body) != "hello" {
						t.Errorf("got %q, %v", body, err)
					}
					asked.Add(1)
				}
			})
		}
		for range 10 {
			for before := asked.Load(); asked.Load() < before+10 && !t.Failed(); {
				s.Snapshot() // gives the loops a turn
			}
			next := h.authority.Leaf(t, "shop.example.com")
			replaceFile(t, next.Cert, leaf.Cert)
			replaceFile(t, next.Key, leaf.Key)
			if _, err := s.Apply(parse(t, yaml)); err != nil {
				t.Fatal(err)
			}
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com"})
			if err != nil {
				t.Fatal(err)
			}
			if !conn.ConnectionState().PeerCertificates[0].Equal(next.Pair.Leaf) {
				t.Error("a new connection gets the old certificate")
			}
			conn.Close()
		}
		stop.Store(true)
		load.Wait()
	})
}

// replaceFile puts what is in from at to, as a whole.
func replaceFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// Certificates that cannot be used change nothing.
func TestTLSBadCertificatesLeaveTheOldInForce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	leaf := h.authority.Leaf(t, "shop.example.com")
	yaml := h.yaml(shown(leaf), "")
	_, addr := serve(t, loop.DefaultDriver(), yaml)
	if err := os.WriteFile(leaf.Cert, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("test.yaml", []byte(yaml)); err == nil || !strings.Contains(err.Error(), leaf.Cert+": has no PEM block") {
		t.Errorf("got %v", err)
	}
	resp, err := h.secureClient(t, nil).Get("https://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !resp.TLS.PeerCertificates[0].Equal(leaf.Pair.Leaf) {
		t.Error("another certificate is shown")
	}
}

// HTTP/2 and HTTP/1.1 are chosen by ALPN on every leg, and all of them work together.
func TestTLSVersionsOfHTTPAreChosenByALPN(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		leaf := authority.Leaf(t, "127.0.0.1", "shop.example.com")
		for _, server := range []string{"h2", "http/1.1"} {
			for _, client := range []string{"h2", "http/1.1"} {
				offer := func(c *tls.Config) { c.NextProtos = []string{server, "http/1.1"} }
				h := &house{authority, secureBackend(t, leaf, offer), secureBackend(t, leaf, offer)}
				s, addr := serve(t, d, strings.ReplaceAll(h.yaml(shown(leaf), ""), "protocol: HTTP1, ", ""))
				user := h.secureClient(t, func(c *tls.Config) { c.NextProtos = []string{client} })
				user.Transport.(*http.Transport).ForceAttemptHTTP2 = client == "h2"
				for i := range 5 {
					body := strings.Repeat("x", i*50_000)
					resp, err := user.Post("https://"+addr+"/", "text/plain", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(got) != body {
						t.Fatalf("%d bytes came back of %d, %v", len(got), len(body), err)
					}
					if want := map[string]int{"h2": 2, "http/1.1": 1}[client]; resp.ProtoMajor != want {
						t.Errorf("the client speaks HTTP/%d, want %d", resp.ProtoMajor, want)
					}
				}
				h.shadow.wait(t, 5)
				if m := books(t, s); m.Completed != 5 {
					t.Errorf("the books are %+v", m)
				}
				for _, b := range []*seen{h.primary, h.shadow} {
					for _, r := range b.requests {
						if want := map[string]int{"h2": 2, "http/1.1": 1}[server]; r.ProtoMajor != want || r.Header.Get("X-Forwarded-Proto") != "https" {
							t.Errorf("a backend is spoken to by HTTP/%d, want %d; %v", r.ProtoMajor, want, r.Header)
						}
					}
				}
			}
		}
	})
}

// A connection of TLS that ends at the proxy is a stream like one of TCP.
func TestTLSStreams(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		leaf := authority.Leaf(t, "db.example.com", "other.example.com")
		primary, shadow := record(t, fine), record(t, fine)
		s, addr := serve(t, d, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: TLS, tls: {mode: Terminate, %s}}]
routes: [{name: db, listeners: [web], hostnames: [db.example.com], rules: [{backends: [{name: v1}], mirrors: [{backend: v2}]}]}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
`, shown(leaf), primary.address(), shadow.address()))
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: authority.Pool, ServerName: "db.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("got %q, %v", answer, err)
		}
		if m := books(t, s); m.Selected != 1 || m.Completed != 1 {
			t.Errorf("the books are %+v", m)
		}
		other, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: authority.Pool, ServerName: "other.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := other.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("a name without a route: %v", err)
		}
	})
}

// A session that is resumed has the identity of the one before, and none is
// resumed whose authority is no longer believed: tickets outlive a reload.
func TestTLSResumedSessionsAreStillVerified(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		h, foreign := newHouse(t), certs.New(t)
		leaf := h.authority.Leaf(t, "shop.example.com")
		yaml := func(authority string) string {
			return strings.Replace(h.yaml(shown(leaf)+", clientAuth: require, clientCA: "+authority, ""), "      - backends: [{name: v1}]",
				"      - matches: [{identities: [me]}]\n        redirect: {hostname: me}\n      - backends: [{name: v1}]", 1)
		}
		s, addr := serve(t, loop.DefaultDriver(), yaml(h.authority.File))
		cfg := &tls.Config{
			RootCAs: h.authority.Pool, ServerName: "shop.example.com", MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(1), Certificates: []tls.Certificate{h.authority.Leaf(t, "me").Pair},
		}
		ask := func() (answer string, resumed bool, err error) {
			conn, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				return "", false, err
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			text, err := io.ReadAll(conn)
			return string(text), conn.ConnectionState().DidResume, err
		}
		for i := range 3 {
			if answer, resumed, err := ask(); err != nil || resumed != (i > 0) || !strings.Contains(answer, "https://me/") {
				t.Errorf("connection %d: resumed %v, %v, %q", i, resumed, err, answer)
			}
		}
		if _, err := s.Apply(parse(t, yaml(foreign.File))); err != nil {
			t.Fatal(err)
		}
		if answer, resumed, err := ask(); err == nil {
			t.Errorf("TLS %x: a client that is not believed any more gets %q, resumed %v", version, answer, resumed)
		}
	}
}
