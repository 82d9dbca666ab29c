package proxy

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/certs"
)

// Whatever a shadow does instead of shaking hands, users get their answers, and
// every copy is accounted for.
func TestTLSShadowsInTroubleAreNotFelt(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		for name, play := range map[string]func(net.Conn){
			"silence":       func(net.Conn) {},
			"an end":        func(c net.Conn) { c.Close() },
			"a reset":       func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() },
			"plain HTTP":    func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			"half a record": func(c net.Conn) { fmt.Fprint(c, "\x16\x03\x03\x40\x00\x02") },
		} {
			t.Run(name, func(t *testing.T) {
				primary := backend(t, nil)
				s, addr := serve(t, d, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
workers: 2
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v2, backoff: {failures: 1000}}]}]}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"], connectTimeout: 30ms, tls: {ca: %s}}
`, primary.address(), acting(t, play), authority.File))
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				const n = 20
				for range n {
					resp, err := client.Get("http://" + addr + "/")
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					if resp.StatusCode != 200 {
						t.Errorf("got %d", resp.StatusCode)
					}
				}
				// What is over before the proxy has seen the connection never got to TLS.
				if m := books(t, s); m.Selected != n || m.Failed[traffic.FailTLS]+m.Failed[traffic.FailConnect] != n || m.Failed[traffic.FailTLS] == 0 {
					t.Errorf("%d are selected, %v failed, want %d failed for tls", m.Selected, m.Failed, n)
				}
			})
		}
	})
}

// acting is the address of a server that does something with each connection.
func acting(t *testing.T, play func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan []net.Conn)
	go func() {
		var all []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				ended <- all
				return
			}
			play(c)
			all = append(all, c)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		for _, c := range <-ended {
			c.Close()
		}
	})
	return ln.Addr().String()
}
