package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestAnEarlyAnswerArrivesWholeThoughTheClientGoesOnSending(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		const size = 50000
		send(t, p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 50000\r\n\r\n"+strings.Repeat("x", size))
		// The client reads nothing before it has sent a good part: it must not be
		// kept from sending what nobody wants.
		if _, err := c.Write(make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil || !resp.Close {
			t.Errorf("got %d bytes, %v, close %v, want %d and Connection: close", n, err, resp.Close, size)
		}
		c.Close()
	})
}

func TestAClientThatResetsAfterAnEarlyAnswerLeavesNothingBehind(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		c.SetReadBuffer(8 << 10)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n12")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		// As much as the proxy reads ahead, and more than the sockets take.
		send(t, p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 50000\r\n\r\n"+strings.Repeat("x", 50000))
		w := s.workers[0]
		for lingering := false; !lingering; {
			w.loop.Call(func() {
				for cl := range w.clients {
					lingering = cl.lingering
				}
			})
		}
		c.SetLinger(0)
		c.Close()
		for s.Snapshot().Clients > 0 {
		}
		if l := live(s); l.InFlight != 0 || l.Codes[403] != 1 {
			t.Errorf("got %d in flight and codes %v, want none and one 403", l.InFlight, l.Codes)
		}
	})
}

func TestAClientThatEndsInTheMiddleIsNotWaitedFor(t *testing.T) {
	const first = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
	tests := []struct {
		name, rest string
		status     uint64 // of what is cut short, 0 if it is not even a request
	}{
		{"half a head", "GET /2 HT", 0},
		{"half a body", "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf", 499},
		{"half a chunked body", "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", 499},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				s, addr := serve(t, d, plain(primary.address(), ""))
				c := dial(t, addr)
				send(t, c, first+test.rest) // the end is there before the first is answered
				c.CloseWrite()
				p := primary.next(t)
				head(t, bufio.NewReader(p))
				send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				start := time.Now()
				atEOF(t, c)
				if waited := time.Since(start); waited > 5*time.Second { // 30 s if the end goes unnoticed
					t.Errorf("waited %v", waited)
				}
				if l := live(s); l.Codes[499] != min(test.status, 1) || l.Codes[200] != 1 {
					t.Errorf("got %v", l.Codes)
				}
			})
		})
	}
}

func TestRequestsBehindTheLastOneAreNotServed(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		s, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
		cr := bufio.NewReader(c)
		if got := status(t, cr, "GET"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		c.CloseWrite()
		atEOF(t, cr) // and no reset, though bytes came that nobody read
		if l := live(s); l.Codes[200] != 1 || len(l.Codes) != 1 {
			t.Errorf("got %v, want one 200", l.Codes)
		}
	})
}

func TestAHeadThatIsRefusedIsInTheBooksAndTheLog(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		log := newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, "accessLog: {path: \"-\"}\n"+plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 400 {
			t.Errorf("got %d, want 400", got)
		}
		x := log.next(t)
		if x.Status != 400 || x.Source != traffic.Client || x.Error != "repeated Host" || x.Listener != "web" || !x.Client.IsLoopback() || len(x.ID) != 36 {
			t.Errorf("got %+v", x)
		}
		if l := live(s); l.Codes[400] != 1 || l.Errors[traffic.Client] != 1 || l.InFlight != 0 {
			t.Errorf("got %v, %v, %d in flight", l.Codes, l.Errors, l.InFlight)
		}
	})
}
