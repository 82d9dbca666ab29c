package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/certs"
)

// Every way in which a handshake with a client fails is counted and explained.
func TestTLSHandshakesThatFail(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h, foreign := newHouse(t), certs.New(t)
		dial := func(change func(*tls.Config)) func(string) {
			return func(addr string) {
				cfg := &tls.Config{RootCAs: h.authority.Pool, ServerName: "shop.example.com"}
				change(cfg)
				conn, err := tls.Dial("tcp", addr, cfg)
				if err == nil { // TLS 1.3 clients hear of it later
					_, err = conn.Read(make([]byte, 1))
					conn.Close()
				}
				if err == nil {
					t.Error("the client has heard of no failure")
				}
			}
		}
		show := func(leaf *certs.Leaf) func(*tls.Config) {
			return func(c *tls.Config) { c.Certificates = []tls.Certificate{leaf.Pair} }
		}
		for _, c := range []struct {
			name   string
			client func(addr string)
			result traffic.Handshake
			why    string
		}{
			{"no certificate", dial(func(*tls.Config) {}), "certificate", "the client showed no certificate, and the listener requires one"},
			{"a foreign authority", dial(show(foreign.Leaf(t, "me"))), "certificate",
				"the client's certificate is not valid: it is signed by an authority that is not in clientCA"},
			{"an expired certificate", dial(show(h.authority.Until(t, time.Now().Add(-time.Minute), "me"))), "certificate",
				"the client's certificate is not valid: it has expired or is not valid yet"},
			{"an old version", dial(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "version",
				"the client speaks no version of TLS that the listener allows"},
			{"another protocol", dial(func(c *tls.Config) { c.NextProtos = []string{"smtp"} }), "version",
				"the client wants a protocol (ALPN) that the listener does not offer"},
			{"distrust", dial(func(c *tls.Config) { c.RootCAs = foreign.Pool }), "rejected",
				"the client refused our certificate or what we speak: bad certificate"},
			{"plain HTTP", func(addr string) {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
					t.Errorf("got %q, %v", answer, err)
				}
			}, "plain", "plain HTTP was sent to a port that speaks HTTPS"},
			{"another language", func(addr string) { sendAndLeave(t, addr, "\x05\x01\x00\x00\x00\x00\x00\x00") }, "other", "the client does not speak TLS"},
			{"a client that leaves", func(addr string) { sendAndLeave(t, addr, "\x16\x03\x01") }, "left", "the client left during the handshake"},
			{"a client that says nothing", func(addr string) { sendAndLeave(t, addr, "") }, "left", "the client left at the beginning of the connection"},
		} {
			t.Run(c.name, func(t *testing.T) {
				log := newLog()
				s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}},
					h.yaml(shown(h.authority.Leaf(t, "shop.example.com"))+", clientAuth: require, clientCA: "+h.authority.File, "")+"accessLog: {path: \"-\"}\n")
				c.client(addr)
				if x := log.next(t); x.Error != c.why || x.Source != traffic.Client || x.Status != 0 {
					t.Errorf("got %d, %v, %q, want %q", x.Status, x.Source, x.Error, c.why)
				}
				got := s.Snapshot().Listeners[0].Handshakes
				for result, n := range got {
					if want := map[bool]uint64{true: 1}[result == c.result]; n != want {
						t.Errorf("%s: %d, want %d", result, n, want)
					}
				}
			})
		}
	})
}

func sendAndLeave(t *testing.T, addr, text string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
}

func TestTLSHandshakeHasADeadline(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		s, addr := serve(t, d, h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), "")+"client: {headTimeout: 20ms}\n")
		for _, text := range []string{"", "\x16\x03\x01"} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
		if n := s.Snapshot().Listeners[0].Handshakes[traffic.HandshakeTimeout]; n != 2 {
			t.Errorf("%d timeouts are counted, want 2", n)
		}
	})
}

// Rules look at the names in a client's certificate, and an optional one that is
// not shown has none.
func TestTLSIdentitiesRoute(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		yaml := strings.Replace(h.yaml(shown(h.authority.Leaf(t, "shop.example.com"))+", clientAuth: optional, clientCA: "+h.authority.File, ""),
			"      - backends: [{name: v1}]", `      - matches: [{identities: ["spiffe://example.org/web/*"]}]
        redirect: {hostname: web}
      - matches: [{identities: ["ops@example.org"]}]
        redirect: {hostname: ops}
      - matches: [{identities: ["batch.example.org"]}]
        redirect: {hostname: batch}
      - backends: [{name: v1}]`, 1)
		_, addr := serve(t, d, yaml)
		for _, c := range []struct {
			names []string
			want  string
		}{
			{nil, ""},
			{[]string{"spiffe://example.org/web/1"}, "https://web/"},
			{[]string{"spiffe://example.org/webby"}, ""},
			{[]string{"spiffe://example.org/other", "ops@example.org"}, "https://ops/"},
			{[]string{"batch.example.org"}, "https://batch/"},
			{[]string{"other.example.org"}, ""},
		} {
			client := h.secureClient(t, func(cfg *tls.Config) {
				if c.names != nil {
					cfg.Certificates = []tls.Certificate{h.authority.Leaf(t, c.names...).Pair}
				}
			})
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := client.Get("https://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			_, port, _ := net.SplitHostPort(addr)
			if got := strings.Replace(resp.Header.Get("Location"), ":"+port, "", 1); got != c.want {
				t.Errorf("%v: sent to %q, want %q", c.names, got, c.want)
			}
		}
	})
}

// Whoever answers in a backend's place, or badly, is named; live requests get 503
// and copies fail for tls.
func TestTLSBackendsThatAreNotTrusted(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority, foreign := certs.New(t), certs.New(t)
		good := authority.Leaf(t, "127.0.0.1")
		plain := backend(t, nil)
		picky := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool }
		old := func(c *tls.Config) { picky(c); c.MaxVersion = tls.VersionTLS12 }
		for _, c := range []struct{ name, address, tls, why string }{
			{"another name", secureBackend(t, authority.Leaf(t, "other.example.com"), nil).secureAddress(), "ca: " + authority.File, "the backend's certificate is for another name"},
			{"another authority", secureBackend(t, foreign.Leaf(t, "127.0.0.1"), nil).secureAddress(), "ca: " + authority.File, "signed by an authority that is not trusted"},
			{"expired", secureBackend(t, authority.Until(t, time.Now().Add(-time.Minute), "127.0.0.1"), nil).secureAddress(), "ca: " + authority.File, "the backend's certificate has expired"},
			{"no client certificate", secureBackend(t, good, picky).secureAddress(), "ca: " + authority.File, "the backend refused us, perhaps for want of a client certificate"},
			{"no client certificate, TLS 1.2", secureBackend(t, good, old).secureAddress(), "ca: " + authority.File, "the backend refused us, perhaps for want of a client certificate"},
			{"no TLS", plain.address(), "ca: " + authority.File, "the backend does not speak TLS at this address"},
		} {
			t.Run(c.name, func(t *testing.T) {
				log := newLog()
				yaml := fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
accessLog: {path: "-"}
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v1}]}]}]
backends: [{name: v1, endpoints: ["%s"], protocol: HTTP1, tls: {%s}}]
`, c.address, c.tls)
				s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				resp, err := client.Get("http://" + addr + "/")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				x := log.next(t)
				if resp.StatusCode != 503 || x.Source != traffic.Primary || !strings.Contains(x.Error, c.why) {
					t.Errorf("got %d, %v, %q, want 503 for %q", resp.StatusCode, x.Source, x.Error, c.why)
				}
				if m := books(t, s); m.Failed[traffic.FailTLS] != 1 || m.Selected != 1 {
					t.Errorf("the books are %+v", m)
				}
				if o := x.Copies[0]; !strings.Contains(o.Error, c.why) || o.Reason != traffic.FailTLS {
					t.Errorf("the copy: %+v", o)
				}
			})
		}
		mine := authority.Leaf(t, "me")
		for name, c := range map[string][2]string{
			"with a client certificate": {secureBackend(t, good, picky).secureAddress(), fmt.Sprintf("ca: %s, cert: %s, key: %s", authority.File, mine.Cert, mine.Key)},
			"believing anybody":         {secureBackend(t, foreign.Leaf(t, "x"), nil).secureAddress(), "insecureSkipVerify: true"},
		} {
			_, addr := serve(t, d, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["%s"], tls: {%s}}]
`, c[0], c[1]))
			if status := statusOf(t, "http://"+addr+"/"); status != 200 {
				t.Errorf("%s: got %d", name, status)
			}
		}
	})
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A connection that was made when somebody else was trusted is not used again.
func TestTLSBackendsAreTrustedAnew(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority, foreign := certs.New(t), certs.New(t)
		b := secureBackend(t, authority.Leaf(t, "127.0.0.1"), nil)
		yaml := func(ca string) string {
			return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["%s"], tls: {ca: %s}}]
`, b.secureAddress(), ca)
		}
		s, addr := serve(t, d, yaml(authority.File))
		for i, c := range []struct {
			ca   string
			want int
		}{{authority.File, 200}, {foreign.File, 503}, {authority.File, 200}} {
			if _, err := s.Apply(parse(t, yaml(c.ca))); err != nil {
				t.Fatal(err)
			}
			if got := statusOf(t, "http://"+addr+"/"); got != c.want {
				t.Errorf("step %d: got %d, want %d", i, got, c.want)
			}
		}
	})
}

// A shadow is asked for the host of the copy, unless a name is configured.
func TestTLSCopiesAskForTheirHost(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		leaf := authority.Leaf(t, "127.0.0.1", "a.example.com", "b.example.com", "a-shadow.example.com", "fixed.example.com")
		primary := backend(t, nil)
		for _, c := range []struct {
			mirror, tls string
			hosts, want []string
		}{
			{"", "", []string{"a.example.com", "b.example.com:8443", "a.example.com"}, []string{"a.example.com", "b.example.com", "a.example.com"}},
			{"host: {literal: fixed.example.com}", "", []string{"a.example.com"}, []string{"fixed.example.com"}},
			{"host: backend", "", []string{"a.example.com"}, []string{""}}, // addresses are not asked for
			{"", ", serverName: fixed.example.com", []string{"a.example.com", "b.example.com"}, []string{"fixed.example.com", "fixed.example.com"}},
		} {
			shadow := secureBackend(t, leaf, nil)
			s, addr := serve(t, d, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v2, %s}]}]}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"], tls: {ca: %s%s}}
`, c.mirror, primary.address(), shadow.secureAddress(), authority.File, c.tls))
			for _, host := range c.hosts {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
				shadow.wait(t, 1)
			}
			var got []string
			for _, r := range shadow.requests {
				got = append(got, r.TLS.ServerName)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q %q: asked for %q, want %q", c.mirror, c.tls, got, c.want)
			}
			if m := books(t, s); m.Completed != uint64(len(c.want)) {
				t.Errorf("the books are %+v", m)
			}
		}
	})
}

// An answer that ends with its connection must end with a goodbye: the primary
// cuts off half an answer, and the client must not take it for a whole one.
func TestTLSTruncatedAnswerIsNotWhole(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		leaf := authority.Leaf(t, "127.0.0.1")
		for _, whole := range []bool{true, false} {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{leaf.Pair}})
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
				if whole {
					conn.Close()
				} else {
					raw.Close()
				}
			}()
			_, addr := serve(t, d, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["%s"], protocol: HTTP1, tls: {ca: %s}}]
`, ln.Addr(), authority.File))
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get("http://" + addr + "/")
			var body []byte
			if err == nil {
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if (err == nil) != whole || whole && string(body) != "half" {
				t.Errorf("whole %v: got %q, %v", whole, body, err)
			}
		}
	})
}

// Explain says by what name a client is known.
func TestTLSExplain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cfg := parse(t, strings.Replace(h.yaml(shown(h.authority.Leaf(t, "shop.example.com"))+", clientAuth: require, clientCA: "+h.authority.File, ""),
		"      - backends", `      - matches: [{identities: ["spiffe://example.org/*"]}]
        redirect: {hostname: web}
      - backends`, 1))
	head := []byte("GET /a HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")
	for _, c := range []struct {
		names  []string
		answer string
		reason string
	}{
		{[]string{"spiffe://example.org/web"}, "https://web/a", ""},
		{[]string{"spiffe://other/web"}, "", "the client is spiffe://other/web, not spiffe://example.org/*"},
		{nil, "", "the client shows no certificate, and must be spiffe://example.org/*"},
	} {
		x, err := Explain(cfg, 0, netip.MustParseAddr("192.0.2.7"), c.names, head)
		if err != nil {
			t.Fatal(err)
		}
		if x.Answer != c.answer || x.Steps[0].Reason != c.reason {
			t.Errorf("%v: got %q, %q", c.names, x.Answer, x.Steps[0].Reason)
		}
		if c.answer == "" && !strings.Contains(string(x.Primary), "X-Forwarded-Proto: https\r\n") && !strings.Contains(string(x.Primary), "x-forwarded-proto: https\r\n") {
			t.Errorf("the primary would get %q", x.Primary)
		}
	}
}
