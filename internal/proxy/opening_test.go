package proxy

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/preface"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// announced has the listener believe PROXY headers from sources.
func announced(yaml, sources string) string {
	return strings.Replace(yaml, `address: "127.0.0.1:0"`, `address: "127.0.0.1:0", proxyProtocol: {sources: ["`+sources+`"]}`, 1)
}

// header is a PROXY header for a client at from.
func header(version int, from string) string {
	return string(preface.AppendProxy(nil, version, netip.MustParseAddrPort(from), netip.MustParseAddrPort("198.51.100.1:443")))
}

func TestAPROXYHeaderTellsOfTheClient(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		yaml := announced(plain(primary.address(), "        timeouts: {}"), "127.0.0.0/8")
		yaml = strings.Replace(yaml, "- backends", "- matches: [{sources: [\"192.0.2.0/24\", \"2001:db8::/32\"]}]\n        backends", 1)
		log := newLog()
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml+"accessLog: {path: \"-\"}\n")
		for i, from := range []string{"192.0.2.7:1000", "[2001:db8::7]:1000"} {
			for version := 1; version <= 2; version++ {
				id := fmt.Sprintf("%d-%d", i, version)
				request := header(version, from) + "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " + id + "\r\n\r\n"
				c := dial(t, addr)
				for _, b := range []byte(request) { // byte by byte
					c.Write([]byte{b})
				}
				if got := status(t, bufio.NewReader(c), "GET"); got != 200 {
					t.Errorf("%s: got %d, want 200", id, got)
				}
				want := netip.MustParseAddrPort(from).Addr()
				if got := primary.one(t, id).value("X-Forwarded-For"); got != want.String() {
					t.Errorf("%s: the primary was told of %q", id, got)
				}
				if x := log.next(t); x.Client != want {
					t.Errorf("%s: the log says %s", id, x.Client)
				}
			}
		}
	})
}

func TestAPROXYHeaderIsBelievedFromItsSourcesOnly(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		s, addr := serve(t, d, announced(plain(primary.address(), ""), "192.0.2.0/24"))
		c := dial(t, addr)
		send(t, c, header(1, "192.0.2.9:1")+"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 400 {
			t.Errorf("got %d, want 400: to HTTP the header is garbage", got)
		}
		if n := len(primary.ids()); n != 0 {
			t.Errorf("the primary got %d requests", n)
		}
		c = dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: plain\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		if got := primary.one(t, "plain").value("X-Forwarded-For"); got != "127.0.0.1" {
			t.Errorf("the primary was told of %q", got)
		}
		if n := s.Snapshot().Accepted; n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

func TestASourceThatSendsNoPROXYHeaderIsReset(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		log := newLog()
		yaml := announced(plain(freeAddress(t), ""), "127.0.0.1") + "client: {headTimeout: 50ms}\naccessLog: {path: \"-\"}\n"
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
		for text, want := range map[string]string{
			"GET / HTTP/1.1\r\n\r\n":                 "no PROXY header",
			"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n": "a malformed PROXY header of version 1",
			"PROXY TCP4 ":                            "the beginning of the connection did not arrive in time",
		} {
			c := dial(t, addr)
			send(t, c, text)
			if err := untilError(c); !isReset(err) {
				t.Errorf("%q: got %v, want a reset", text, err)
			}
			if x := log.next(t); x.Error != want || x.Source != traffic.Client || x.Client.String() != "127.0.0.1" {
				t.Errorf("%q: logged %+v, want %q", text, x, want)
			}
		}
		c := dial(t, addr)
		send(t, c, "PROXY")
		c.CloseWrite()
		untilError(c)
		if x := log.next(t); x.Error != "the client left at the beginning of the connection" {
			t.Errorf("logged %+v", x)
		}
	})
}

func TestAHealthCheckOfALoadBalancerIsItself(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		_, addr := serve(t, d, announced(plain(primary.address(), ""), "127.0.0.1"))
		c := dial(t, addr)
		send(t, c, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: a\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		if got := primary.one(t, "a").value("X-Forwarded-For"); got != "127.0.0.1" {
			t.Errorf("the primary was told of %q", got)
		}
	})
}

// telling has both backends be told by PROXY headers.
func telling(yaml string) string {
	yaml = strings.Replace(yaml, "{name: v1, ", "{name: v1, proxyProtocol: v1, ", 1)
	return strings.Replace(yaml, "{name: v2, ", "{name: v2, proxyProtocol: v2, ", 1)
}

func TestBackendsAreToldOfTheClientOfAStream(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		_, addr := serve(t, d, announced(telling(streams(primary.address(), shadow.address(), "")), "127.0.0.1"))
		c := dial(t, addr)
		send(t, c, header(2, "192.0.2.7:1000")+"hello")
		p, q := primary.next(t), shadow.next(t)
		expect(t, p, "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\nhello")
		expect(t, q, header(2, "192.0.2.7:1000")+"hello")
		c.CloseWrite()
		atEOF(t, p)
		atEOF(t, q)
	})
}

func TestBackendsAreToldOfTheClientOfEachRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		s, addr := serve(t, d, telling(mirrored(primary.address(), shadow.address(), "")))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		for range 2 { // each gets a connection of its own, though the client keeps its one
			send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			p, q := primary.next(t), shadow.next(t)
			from := c.LocalAddr().(*net.TCPAddr).AddrPort()
			to := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			expect(t, p, string(preface.AppendProxy(nil, 1, from, to))+"GET / HTTP/1.1\r\n")
			expect(t, q, string(preface.AppendProxy(nil, 2, from, to))+"GET / HTTP/1.1\r\n")
			for _, b := range []net.Conn{p, q} {
				send(t, b, "HTTP/1.1 204 No Content\r\n\r\n")
			}
			if got := status(t, cr, "GET"); got != 204 {
				t.Errorf("got %d, want 204", got)
			}
			untilError(p)
			untilError(q)
		}
		if m := books(t, s); m.Completed != 2 {
			t.Errorf("got %+v, want 2 completed", m)
		}
	})
}

// certificate is self-signed.
func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsEcho answers by TLS with the name that it was asked for.
func tlsEcho(t *testing.T, own string) string {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, own)}}
	return tcpServer(t, func(c *net.TCPConn) {
		s := tls.Server(c, config)
		line, err := bufio.NewReader(s).ReadString('\n')
		if err == nil {
			fmt.Fprintf(s, "%s asked for %s: %s", own, s.ConnectionState().ServerName, line)
		}
		s.Close()
	})
}

func TestTLSPassesThroughByTheNameOfTheServer(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		a, b, other := tlsEcho(t, "a"), tlsEcho(t, "b"), tlsEcho(t, "other")
		shadow := tcpServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
		yaml := fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: TLS, tls: {mode: Passthrough}}]
accessLog: {path: "-"}
routes:
  - {name: a, listeners: [web], hostnames: [a.example], rules: [{backends: [{name: a}], mirrors: [{backend: shadow}]}]}
  - {name: b, listeners: [web], hostnames: ["*.b.example"], rules: [{backends: [{name: b}]}]}
  - {name: other, listeners: [web], rules: [{backends: [{name: other}]}]}
backends:
  - {name: a, endpoints: ["%s"]}
  - {name: b, endpoints: ["%s"]}
  - {name: other, endpoints: ["%s"]}
  - {name: shadow, endpoints: ["%s"]}
`, a, b, other, shadow)
		log := newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
		for name, want := range map[string]string{"A.example": "a", "x.y.b.example": "b", "b.example": "other", "": "other"} {
			c := tls.Client(&choppy{dial(t, addr)}, &tls.Config{ServerName: name, InsecureSkipVerify: true})
			fmt.Fprintf(c, "hello\n")
			got, err := io.ReadAll(c)
			if text := fmt.Sprintf("%s asked for %s: hello\n", want, name); err != nil || string(got) != text {
				t.Errorf("%q: got %q, %v, want %q", name, got, err, text)
			}
			c.Close()
			if x := log.next(t); x.Host != strings.ToLower(name) || x.Protocol != "TLS" || x.Route != want {
				t.Errorf("%q: logged %+v", name, x)
			}
		}
		if m := books(t, s); m.Selected != 1 || m.Completed != 1 {
			t.Errorf("got %+v, want 1 completed", m)
		}
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\n\r\n")
		if err := untilError(c); !isReset(err) {
			t.Errorf("got %v, want a reset", err)
		}
		if x := log.next(t); x.Error != "no TLS ClientHello" {
			t.Errorf("logged %+v", x)
		}
	})
}

// choppy writes in parts of 100 bytes.
type choppy struct{ net.Conn }

func (c *choppy) Write(p []byte) (n int, err error) {
	for part := range bytes.Lines(p) {
		for len(part) > 0 {
			m := min(100, len(part))
			if _, err := c.Conn.Write(part[:m]); err != nil {
				return n, err
			}
			n += m
			part = part[m:]
		}
	}
	return n, nil
}
