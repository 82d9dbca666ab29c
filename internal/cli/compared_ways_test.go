package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/test/certs"
)

// greeted is a connection that begins with a line of its own: a PROXY header.
type greeted struct {
	net.Conn
	line string
}

// greetings is a listener for them.
type greetings struct{ net.Listener }

func (l greetings) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &greeted{Conn: conn}
	for one := make([]byte, 1); !strings.HasSuffix(g.line, "\n"); g.line += string(one) {
		if _, err := conn.Read(one); err != nil {
			return g, nil // whoever reads next is told
		}
	}
	return g, nil
}

type greetingKey struct{}

// how says in which way a request has come.
func how(r *http.Request) string {
	words := []string{r.Proto}
	if r.TLS != nil {
		words = append(words, "for "+r.TLS.ServerName)
		for _, c := range r.TLS.PeerCertificates {
			words = append(words, "from "+c.DNSNames[0])
		}
	}
	if line, ok := r.Context().Value(greetingKey{}).(string); ok {
		words = append(words, strings.Fields(line)[:3]...)
	}
	return strings.Join(words, " ")
}

// What the shadow is asked once more goes the way that copies go, and is understood.
func TestQuestionsGoTheWayOfCopies(t *testing.T) {
	t.Parallel()
	authority := certs.New(t)
	server, ours := authority.Leaf(t, "shop.example.com", "v2.example.com"), authority.Leaf(t, "proxy.example.com")
	secure := func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{server.Pair}}
		s.EnableHTTP2 = true
	}
	for name, c := range map[string]struct {
		serve   func(s *httptest.Server) // nil = in the clear
		backend string
		mirror  string
		want    string
	}{
		"in the clear": {nil, "", "", "HTTP/1.1"},
		"HTTP/2 in the clear": {func(s *httptest.Server) {
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
		}, ", protocol: HTTP2", "", "HTTP/2.0"},
		"TLS":                      {secure, ", protocol: HTTP1, tls: {ca: CA}", "", "HTTP/1.1 for shop.example.com"},
		"TLS by another name":      {secure, ", protocol: HTTP1, tls: {ca: CA, serverName: v2.example.com}", "", "HTTP/1.1 for v2.example.com"},
		"TLS by the copy's name":   {secure, ", protocol: HTTP1, tls: {ca: CA}", ", host: {literal: \"v2.example.com:8443\"}", "HTTP/1.1 for v2.example.com"},
		"TLS with HTTP/2 by ALPN":  {secure, ", tls: {ca: CA}", "", "HTTP/2.0 for shop.example.com"},
		"TLS with HTTP/2":          {secure, ", protocol: HTTP2, tls: {ca: CA}", "", "HTTP/2.0 for shop.example.com"},
		"TLS without verification": {secure, ", protocol: HTTP1, tls: {insecureSkipVerify: true}", "", "HTTP/1.1 for shop.example.com"},
		"TLS with a client certificate": {func(s *httptest.Server) {
			secure(s)
			s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool
		}, ", protocol: HTTP1, tls: {ca: CA, cert: CERT, key: KEY}", "", "HTTP/1.1 for shop.example.com from proxy.example.com"},
		"PROXY protocol": {func(s *httptest.Server) {
			s.Listener = greetings{s.Listener}
			s.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
				return context.WithValue(ctx, greetingKey{}, conn.(*greeted).line)
			}
		}, ", proxyProtocol: v1", "", "HTTP/1.1 PROXY TCP4 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const requests = 12
			ways := make(chan string, 16*requests)
			shadow := httptest.NewUnstartedServer(speaks(func(r *http.Request) string {
				ways <- how(r)
				return `{"price": 6}`
			}))
			if c.serve != nil {
				c.serve(shadow)
			}
			if shadow.TLS != nil {
				shadow.StartTLS()
			} else {
				shadow.Start()
			}
			t.Cleanup(shadow.Close)
			backend := strings.NewReplacer("CA", authority.File, "CERT", ours.Cert, "KEY", ours.Key).Replace(c.backend)
			p := compares(t, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2%s}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]%s}
`, c.mirror, address(says(t, func(*http.Request) string { return `{"price": 5}` })), address(shadow), backend))
			p.ask(requests)
			asked := len(ways)
			for n := range asked {
				if way := <-ways; way != c.want {
					t.Errorf("request %d came as %q, want %q", n, way, c.want)
				}
			}
			// Eight answers that agree make the difference one that counts. On a busy
			// machine fewer than all requests are copied.
			m := p.report()
			if m.Held != 0 || len(m.Clusters) != 1 || m.Clusters[0].Count != m.Pairs || m.Pairs < 8 {
				t.Errorf("of %d pairs %d are held, and the clusters are %+v", m.Pairs, m.Held, m.Clusters)
			}
			if asked < int(m.Pairs)+8 {
				t.Errorf("the shadow got %d requests, want %d copies and at least 8 questions", asked, m.Pairs)
			}
		})
	}
}
