package proxy

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
)

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
const upgradeAnswer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// tunnelTo opens a tunnel to primary through the proxy at addr.
func tunnelTo(t *testing.T, primary *script, addr string) (c *net.TCPConn, cr *bufio.Reader, p net.Conn, pr *bufio.Reader) {
	t.Helper()
	c = dial(t, addr)
	cr = bufio.NewReader(c)
	send(t, c, upgradeRequest)
	p = primary.next(t)
	pr = bufio.NewReader(p)
	head(t, pr)
	send(t, p, upgradeAnswer)
	if got := head(t, cr); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Fatalf("got %q, want 101", got)
	}
	return c, cr, p, pr
}

func TestBytesSentBeforeTheTunnelStandsGoThroughIt(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, upgradeRequest+"hasty")
		c.CloseWrite()
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		send(t, p, upgradeAnswer)
		expect(t, pr, "hasty")
		atEOF(t, pr) // the end of the client's direction came early, too
		send(t, p, "late")
		p.Close()
		cr := bufio.NewReader(c)
		head(t, cr)
		expect(t, cr, "late")
		atEOF(t, cr)
	})
}

func TestAnUpgradeThatIsRefusedIsAnOrdinaryRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, upgradeRequest+"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		send(t, p, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
		if got := status(t, cr, "GET"); got != 426 {
			t.Errorf("got %d, want 426", got)
		}
		if got := head(t, pr); !strings.HasPrefix(got, "GET /next ") {
			t.Errorf("got %q, want the next request", got)
		}
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		if got := status(t, cr, "GET"); got != 204 {
			t.Errorf("got %d, want 204", got)
		}
	})
}

func TestAnUpgradeInTheMiddleOfARequestIsRefused(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, strings.Replace(upgradeRequest, "GET /ws HTTP/1.1\r\n", "POST /ws HTTP/1.1\r\nContent-Length: 5\r\n", 1)+"12")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		expect(t, pr, "12")
		send(t, p, upgradeAnswer)
		cr := bufio.NewReader(c)
		if got := status(t, cr, "POST"); got != 502 {
			t.Errorf("got %d, want 502", got)
		}
		send(t, c, "345 and more")
		c.CloseWrite()
		atEOF(t, cr)
		atEOF(t, pr)
	})
}

func TestCleartextHTTP2IsNotTunnelled(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
		p := primary.next(t)
		if got := strings.ToLower(head(t, bufio.NewReader(p))); strings.Contains(got, "upgrade") || strings.Contains(got, "http2-settings") {
			t.Errorf("got %q, want an ordinary request", got)
		}
		send(t, p, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 502 {
			t.Errorf("got %d, want 502", got)
		}
	})
}

func TestATunnelIsBoundedInBothDirections(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), ""))
		c, cr, p, pr := tunnelTo(t, primary, addr)
		const size = 8 << 20
		block := strings.Repeat("x", size)
		sent := make(chan error, 2)
		go func() { _, err := c.Write([]byte(block)); sent <- err }()
		go func() { _, err := p.Write([]byte(block)); sent <- err }()
		// Nobody reads: the proxy must stop taking bytes, or the writes would end.
		w := s.workers[0]
		for full := false; !full; {
			w.loop.Call(func() {
				for cl := range w.clients {
					full = cl.blocked && cl.writing && cl.deaf
					if held := cl.out.Len() + cl.req.call.Out.Len(); held > 1<<20 {
						t.Errorf("%d bytes are held", held)
					}
				}
			})
		}
		for _, r := range []*bufio.Reader{pr, cr} {
			expect(t, r, block)
		}
		for range 2 {
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
	})
}
