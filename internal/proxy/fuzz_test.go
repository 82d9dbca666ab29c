package proxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
)

// strict is a backend that reads with our own parser what it gets, remembers
// the first thing that it would refuse, and answers every whole request.
type strict struct {
	net.Listener
	wg sync.WaitGroup
	mu sync.Mutex
	no string // what it would refuse, and why
}

func (s *strict) run() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer c.Close()
			if no := s.serve(c); no != "" {
				s.mu.Lock()
				s.no = no
				s.mu.Unlock()
			}
		})
	}
}

func (s *strict) refused() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.no
}

// roomy limits leave room for what the proxy adds to a request that is as
// large as it may be.
var roomy = http1.Limits{Head: 128 << 10, Fields: 256}

// serve returns what it would refuse; a request that is cut short is none.
func (s *strict) serve(c net.Conn) string {
	var got, rest []byte
	buf := make([]byte, 64<<10)
	more := func() bool {
		n, err := c.Read(buf)
		got, rest = append(got, buf[:n]...), append(rest, buf[:n]...)
		return err == nil
	}
	for {
		var r http1.Request
		n := 0
		for n == 0 {
			var err *http1.Error
			if n, err = r.Parse(rest, &roomy); err != nil {
				return fmt.Sprintf("%v in %q", err, got)
			}
			if n == 0 && !more() {
				return ""
			}
		}
		body := r.Body()
		rest = rest[n:]
		for !body.Done() {
			_, n, err := body.Decode(rest)
			if err != nil {
				return fmt.Sprintf("%v in %q", err, got)
			}
			if rest = rest[n:]; len(rest) == 0 && !body.Done() && !more() {
				return ""
			}
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return ""
		}
		got = got[:0]
	}
}

// seeds are what a fuzzer begins with.
func seeds(f *testing.F) {
	for _, m := range slices.Concat(malformedHeads, malformedBodies) {
		if len(m.request) < 2000 {
			f.Add([]byte(strings.Replace(m.request, "%s", "/", 1)+canary), 0)
		}
	}
	g := &generator{Rand: rand.New(rand.NewPCG(1, 2))}
	for i := range 50 {
		a, b := g.next(false).request, g.next(true).request
		if len(a)+len(b) < 4000 {
			f.Add([]byte(a+b), i*50)
		}
	}
	f.Add([]byte(upgradeRequest+"hasty"), 10)
	opening := append([]byte(http2.Preface), framed(settingsFrame, 0, 0)...)
	for _, frames := range [][]byte{
		askFrame(1),
		slices.Concat(askFrame(1), askFrame(3), framed(resetFrame, 0, 1, 0, 0, 0, 8)),
		slices.Concat(framed(headersFrame, 4, 1, 0x83, 0x86, 0x84, 0x41, 1, 'a'), framed(0, 0, 1, []byte("hello")...), framed(0, 1, 1)),
		slices.Concat(framed(headersFrame, 4, 1, 0x83, 0x86, 0x84, 0x41, 1, 'a', 0x0f, 0x0d, 1, '5'), framed(0, 9, 1, []byte("\x02hello\x00\x00")...)),
	} {
		f.Add(slices.Concat(opening, frames), 40)
	}
	f.Add([]byte("GET http://a:80/b?c HTTP/1.1\r\nHost: b\r\nX-Forwarded-For: 10.0.0.1\r\nX-Understudy-Copy: v2\r\ntraceparent: 00-0\r\n\r\n"), 30)
}

// anywhere dials from any of Linux's loopback addresses, because the ports of a
// single one are soon used up: each is kept for a minute after its connection.
func anywhere() *net.Dialer {
	if runtime.GOOS != "linux" {
		return &net.Dialer{}
	}
	n := rand.Uint32()
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(n), byte(n>>8), 1+byte(n>>16)%254)}}
}

// FuzzProxy has a client send any bytes, cut in two, and then end. Nothing
// must be left of it, and the backends must get nothing that we would refuse.
func FuzzProxy(f *testing.F) {
	seeds(f)
	var backends [2]*strict
	for i := range backends {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.Fatal(err)
		}
		b := &strict{Listener: ln}
		backends[i] = b
		b.wg.Go(b.run)
		f.Cleanup(func() { ln.Close(); b.wg.Wait() })
	}
	text := mirrored(backends[0].Addr().String(), backends[1].Addr().String(), "            writes: copy\n            key: {cookie: a}")
	cfg, err := config.Parse("fuzz.yaml", []byte(text))
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(cfg, Options{})
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Drain(context.Background()) })
	addr := s.Addrs()["web"].String()
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		c, err := anywhere().Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		cut = min(max(cut, 0), len(in))
		c.Write(in[:cut])
		c.Write(in[cut:])
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the connection does not end: %v", err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			left := s.Snapshot().Clients
			for _, l := range s.Snapshot().Live {
				left += l.InFlight
				if l.InFlight < 0 {
					t.Fatalf("%d requests in flight", l.InFlight)
				}
			}
			if left == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d clients and requests are left", left)
			}
		}
		for i, b := range backends {
			if no := b.refused(); no != "" {
				t.Errorf("backend %d: %s", i, no)
			}
		}
	})
}
