package proxy

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// live returns the books of the route's requests, of all backends together.
func live(s *Server) *telemetry.Live {
	snap := s.Snapshot()
	sum := &telemetry.Live{}
	for i := range snap.Live {
		sum.Merge(&snap.Live[i])
	}
	return sum
}

// status reads an answer with a body from r and returns its status.
func status(t *testing.T, r *bufio.Reader, method string) int {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatalf("got %q of the body, %v", b.String(), err)
	}
	return resp.StatusCode
}

func TestTimeoutsBlameWhoeverWasWaitedFor(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	const upload = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
	tests := []struct {
		name, timeouts, request string
		answer                  string // what the primary says before it falls silent
		want                    int    // 0: the connection ends without a whole answer
		source                  traffic.Source
	}{
		{"backend", "{backend: 30ms}", get, "", 504, traffic.Primary},
		{"backend, after an interim answer", "{backend: 30ms}", get, "HTTP/1.1 103 Early Hints\r\n\r\n", 504, traffic.Primary},
		{"backend, after an upload, without idle timeout", "{backend: 30ms, idle: off}", upload + "123456789", "", 504, traffic.Primary},
		{"whole request", "{request: 30ms}", get, "", 504, traffic.Primary},
		{"whole request, others off", "{request: 30ms, backend: off, idle: off}", upload, "", 408, traffic.Client},
		{"upload stops", "{idle: 30ms}", upload + "12", "", 408, traffic.Client},
		{"upload never starts because nobody asked for it", "{idle: 30ms}",
			strings.Replace(upload, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), "", 504, traffic.Primary},
		{"upload was asked for and never starts", "{idle: 30ms}",
			strings.Replace(upload, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n\r\n", 408, traffic.Client},
		{"answer stops", "{idle: 30ms, backend: 10m}", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12", 0, traffic.Primary},
		{"answer stops, without backend timeout", "{idle: 30ms, backend: off}", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12", 0, traffic.Primary},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				s, addr := serve(t, d, plain(primary.address(), "        timeouts: "+test.timeouts))
				c := dial(t, addr)
				send(t, c, test.request)
				p := primary.next(t)
				pr := bufio.NewReader(p)
				head(t, pr)
				send(t, p, test.answer)
				cr := bufio.NewReader(c)
				if test.want == 0 {
					head(t, cr)
					expect(t, cr, "12")
					atEOF(t, cr)
				} else {
					for got := 100; got < 200; {
						if got = status(t, cr, "GET"); got >= 200 && got != test.want {
							t.Errorf("got %d, want %d", got, test.want)
						}
					}
				}
				for _, err := pr.ReadByte(); err == nil; {
					_, err = pr.ReadByte() // what the client did send; then the connection ends
				}
				if got := live(s).Errors; got[test.source] != 1 || len(got) != 1 {
					t.Errorf("got %v to blame, want %v", got, test.source)
				}
			})
		})
	}
}

func TestAClientThatStopsReadingIsToBlame(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), "        timeouts: {idle: 100ms}"))
		c := dial(t, addr)
		if err := c.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for buf := make([]byte, 1<<20); ; {
			if _, err := p.Write(buf); err != nil {
				break // the proxy has given up
			}
		}
		for s.Snapshot().Clients > 0 {
		}
		if got := live(s).Errors; got[traffic.Client] != 1 || len(got) != 1 {
			t.Errorf("got %v to blame, want the client", got)
		}
	})
}

func TestASlowClientIsNotCutOff(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), "        timeouts: {idle: 300ms}"))
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		tick := time.NewTicker(60 * time.Millisecond)
		defer tick.Stop()
		for range 8 { // longer than the timeout in all
			<-tick.C
			send(t, c, "x")
			expect(t, pr, "x")
		}
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "POST"); got != 204 {
			t.Errorf("got %d, want 204", got)
		}
	})
}

func TestAHeadMayTakeForEverWhenItsTimeoutIsOff(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		s, addr := serve(t, d, "client: {headTimeout: off}\n"+plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTT")
		for waits := false; !waits; { // until the proxy has seen the first part, and a timer would have fired
			s.workers[0].loop.Call(func() {
				for cl := range s.workers[0].clients {
					waits = cl.in.Len() > 0 && !cl.timer.Armed()
				}
			})
		}
		send(t, c, "P/1.1\r\nHost: h\r\n\r\n")
		if got := status(t, bufio.NewReader(c), "GET"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
	})
}

func TestASilentTunnelEndsWithoutBlame(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), "        timeouts: {request: 20ms, idle: 20ms, backend: 10s}"))
		c, cr, p, pr := tunnelTo(t, primary, addr)
		send(t, c, "ping")
		expect(t, pr, "ping")
		w := s.workers[0]
		w.loop.Call(func() {
			for cl := range w.clients { // an hour and more later
				cl.req.moved -= tunnelIdle
				(*requestExpired)(cl.req).Run()
			}
		})
		atEOF(t, cr)
		atEOF(t, pr)
		p.Close()
		if l := live(s); l.Codes[101] != 1 || len(l.Errors) != 0 || s.Snapshot().Endpoints[0].Failures != 0 {
			t.Errorf("got %v, %v to blame, want a 101 and nobody", l.Codes, l.Errors)
		}
	})
}
