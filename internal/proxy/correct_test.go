package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// plain is a configuration without mirrors, with more lines for the rule.
func plain(primary, ruleLines string) string {
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
workers: 1
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
%s
backends:
  - {name: v1, endpoints: ["%s"]}
`, ruleLines, primary)
}

// script is a server that reads what it expects on each connection and answers
// with raw bytes.
type script struct {
	net.Listener
	conns chan net.Conn
}

func scripted(t *testing.T) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{Listener: ln, conns: make(chan net.Conn, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns <- c
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for {
			select {
			case c := <-s.conns:
				c.Close()
			default:
				return
			}
		}
	})
	return s
}

func (s *script) address() string { return s.Addr().String() }

// next returns the next connection, which ends with the test.
func (s *script) next(t *testing.T) net.Conn {
	t.Helper()
	select {
	case c := <-s.conns:
		c.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("nobody connected")
		return nil
	}
}

// dial connects to the proxy.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly s.
func expect(t *testing.T, c io.Reader, s string) {
	t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != s {
		t.Fatalf("got %q, %v, want %q", got[:n], err, s)
	}
}

// head reads up to and with an empty line.
func head(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			t.Fatalf("got %q, %v, want a head", b.String(), err)
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

// atEOF checks that nothing more comes.
func atEOF(t *testing.T, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

func TestStreamsAChunkedUploadWithTrailers(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "POST /up HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		want := "POST /up HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nTrailer: X-Sum\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		if got := head(t, pr); !sameLines(got, want) {
			t.Errorf("got head\n%q, want\n%q", got, want)
		}
		// Each part arrives before the next one is sent: nothing waits for the whole.
		send(t, c, "3\r\nabc\r\n")
		expect(t, pr, "3\r\nabc\r\n")
		send(t, c, "4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n")
		expect(t, pr, "4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n")
		send(t, p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nhi\r\n")
		cr := bufio.NewReader(c)
		if got, want := head(t, cr), "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n"; !sameLines(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		expect(t, cr, "2\r\nhi\r\n")
		send(t, p, "0\r\nX-T: 1\r\n\r\n")
		expect(t, cr, "0\r\nX-T: 1\r\n\r\n")
	})
}

// sameLines compares heads by their first line and the set of the others.
func sameLines(got, want string) bool {
	a, b := strings.Split(got, "\r\n"), strings.Split(want, "\r\n")
	if len(a) != len(b) || a[0] != b[0] {
		return false
	}
	count := map[string]int{}
	for i := range a {
		count[strings.ToLower(a[i])]++
		count[strings.ToLower(b[i])]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestExpectContinueIsPassedThrough(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		if got := head(t, pr); !strings.Contains(got, "Expect: 100-continue\r\n") {
			t.Errorf("got %q, want Expect in it", got)
		}
		send(t, p, "HTTP/1.1 100 Continue\r\n\r\n")
		expect(t, cr, "HTTP/1.1 100 Continue\r\n\r\n")
		send(t, c, "body")
		expect(t, pr, "body")
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		expect(t, cr, "HTTP/1.1 204 No Content\r\n\r\n")
	})
}

func TestExpectationThatFailsClosesAfterTheAnswer(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
		cr := bufio.NewReader(c)
		if got := head(t, cr); !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("got %q, want Connection: close in it", got)
		}
		atEOF(t, cr)
	})
}

func TestUpgradeBecomesATunnel(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		if got := head(t, pr); !strings.Contains(got, "Upgrade: websocket\r\n") || !strings.Contains(got, "Connection: upgrade\r\n") {
			t.Errorf("got %q, want an upgrade", got)
		}
		send(t, p, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nserver first")
		if got := head(t, cr); !strings.Contains(got, "Upgrade: websocket\r\n") {
			t.Errorf("got %q, want an upgrade", got)
		}
		expect(t, cr, "server first")
		send(t, c, "client")
		expect(t, pr, "client")
		c.CloseWrite()
		atEOF(t, pr)
		send(t, p, "last words")
		p.Close()
		expect(t, cr, "last words")
		atEOF(t, cr)
		if m := books(t, s); m.Skipped["upgrade"] != 1 {
			t.Errorf("got %v skipped, want upgrade: 1", m.Skipped)
		}
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		var all strings.Builder
		for i := range 50 {
			fmt.Fprintf(&all, "POST /%02d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", i)
		}
		send(t, c, all.String())
		c.CloseWrite() // a client may end its direction and still wants all answers
		cr := bufio.NewReader(c)
		for i := range 50 {
			resp, err := http.ReadResponse(cr, nil)
			if err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			body, _ := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("/%02d", i); string(body) != want {
				t.Errorf("got %q, want %q", body, want)
			}
		}
		atEOF(t, cr)
	})
}

func TestAnEarlyAnswerReachesAClientThatStillUploads(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		p.Close()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			buf := make([]byte, 1<<20)
			for {
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		}()
		cr := bufio.NewReader(c)
		got := head(t, cr)
		if !strings.HasPrefix(got, "HTTP/1.1 413 ") || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("got %q, want 413 and Connection: close", got)
		}
		expect(t, cr, "big")
		c.Close()
		<-sent
	})
}

func TestAClientThatLeavesIsToldToThePrimary(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		c.SetLinger(0)
		c.Close()
		if _, err := pr.ReadByte(); err == nil {
			t.Error("the primary got more bytes, want the end of its connection")
		}
		snap := s.Snapshot()
		if n := snap.Live[len(snap.Live)-1].Codes[499]; n != 1 {
			t.Errorf("got %v, want one 499", snap.Live)
		}
	})
}

func TestOldClientsGetAnswersTheyUnderstand(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		if got := head(t, pr); !strings.HasPrefix(got, "GET / HTTP/1.1\r\n") {
			t.Errorf("got %q, want HTTP/1.1 to the primary", got)
		}
		send(t, p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		cr := bufio.NewReader(c)
		if got := head(t, cr); strings.Contains(got, "chunked") {
			t.Errorf("got %q, want no chunks", got)
		}
		expect(t, cr, "hello")
		atEOF(t, cr)
	})
}

func TestAnAnswerUntilCloseBecomesChunks(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\n\r\nhello")
		if got, want := head(t, cr), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		expect(t, cr, "5\r\nhello\r\n")
		p.Close()
		expect(t, cr, "0\r\n\r\n")
	})
}

func TestBrokenPrimariesGiveClearAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		want         int
	}{
		{"garbage", "what?\r\n\r\n", 502},
		{"closes without an answer", "", 502},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", 502},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 502},
		{"switches unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				_, addr := serve(t, d, plain(primary.address(), ""))
				c := dial(t, addr)
				send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				p := primary.next(t)
				head(t, bufio.NewReader(p))
				send(t, p, test.answer)
				p.Close()
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != test.want || resp.Close {
					t.Errorf("got %d, close %v, want %d and an open connection", resp.StatusCode, resp.Close, test.want)
				}
			})
		})
	}
}

func TestAnAnswerCutShortIsNotTakenForWhole(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		p.Close()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q, %v, want %v", body, err, io.ErrUnexpectedEOF)
		}
	})
}

func TestNoEndpointAndRefusedConnectionsAnswer503(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		_, addr := serve(t, d, plain(ln.Addr().String(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		for range 3 { // on one connection: it stays usable
			send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, err := http.ReadResponse(cr, nil)
			if err != nil || resp.StatusCode != 503 {
				t.Fatalf("got %v, %v, want 503", resp, err)
			}
			io.Copy(io.Discard, resp.Body)
		}
	})
}

func TestAPrimaryThatDoesNotAnswerInTimeGives504(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), "        timeouts: {backend: 50ms}"))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 504 {
			t.Fatalf("got %v, %v, want 504", resp, err)
		}
		if _, err := pr.ReadByte(); err == nil {
			t.Error("the primary's connection goes on, want its end")
		}
	})
}

func TestAStalePooledConnectionIsRetriedForSafeMethods(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		head(t, cr)
		send(t, c, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
		head(t, pr) // the pooled connection gets the request …
		p.Close()   // … and breaks before it answers
		p2 := primary.next(t)
		if got := head(t, bufio.NewReader(p2)); !strings.HasPrefix(got, "GET /2 ") {
			t.Errorf("got %q, want the second request again", got)
		}
		send(t, p2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		head(t, cr)
		expect(t, cr, "ok")
	})
}

func TestAMethodThatWritesIsNotSentTwice(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		head(t, cr)
		send(t, c, "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
		head(t, pr)
		p.Close()
		if got := head(t, cr); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
			t.Errorf("got %q, want 502", got)
		}
	})
}
