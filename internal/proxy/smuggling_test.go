package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// tap is a backend that keeps every byte it gets and says nothing.
type tap struct {
	net.Listener
	wg  sync.WaitGroup
	mu  sync.Mutex
	got bytes.Buffer
}

func tapped(t *testing.T) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &tap{Listener: ln}
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { defer c.Close(); io.Copy(b, c) })
		}
	})
	t.Cleanup(func() { ln.Close(); b.wg.Wait() })
	return b
}

// Write implements io.Writer.
func (b *tap) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got.Write(p)
}

// has waits until b has got text.
func (b *tap) has(text string) {
	for found := false; !found; runtime.Gosched() {
		b.mu.Lock()
		found = bytes.Contains(b.got.Bytes(), []byte(text))
		b.mu.Unlock()
	}
}

// attack sends a malformed request and the canary, in pieces of n bytes, and
// checks that it is refused and that the connection ends. It calls begun when
// it has sent the head, if that is not nil.
func attack(t *testing.T, addr string, m malformed, target string, n int, begun func()) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	all := strings.Replace(m.request, "%s", target, 1) + canary
	if begun != nil {
		end := strings.Index(all, "\r\n\r\n") + 4
		send(t, c, all[:end])
		begun()
		all = all[end:]
	}
	sent := make(chan struct{})
	defer func() { <-sent }()
	go func() {
		defer close(sent)
		for ; all != ""; all = all[min(n, len(all)):] {
			if _, err := io.WriteString(c, all[:min(n, len(all))]); err != nil {
				return // it is refused already
			}
		}
	}()
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Errorf("%s: got no answer: %v", m.name, err)
		return
	}
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != m.status || !resp.Close || err != nil || len(body) == 0 {
		t.Errorf("%s: got %d %q, close %v, %v, want %d, a reason, and Connection: close", m.name, resp.StatusCode, body, resp.Close, err, m.status)
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("%s: got %q behind the answer", m.name, rest)
	}
}

func TestNothingIsSmuggledThrough(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := tapped(t), tapped(t)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            writes: copy\n            limits: {connections: 10000, inFlight: 10000}"))
		for i, m := range malformedBodies { // while the backends already have the head
			target := fmt.Sprintf("/body-%d-", i)
			attack(t, addr, m, target, 1<<20, func() { primary.has(target); shadow.has(target) })
		}
		for _, n := range []int{1 << 20, 700, 1} {
			for i, m := range slices.Concat(malformedHeads, malformedBodies) {
				if n > 1 || len(m.request) < 1000 {
					attack(t, addr, m, fmt.Sprintf("/whole-%d-", i), n, nil)
				}
			}
		}
		if err := s.Drain(context.Background()); err != nil { // which ends pooled connections too
			t.Error(err)
		}
		primary.Close()
		shadow.Close()
		primary.wg.Wait()
		shadow.wg.Wait()
		for name, b := range map[string]*tap{"primary": primary, "shadow": shadow} {
			forbidden := []string{"canary", "smuggled"}
			for i := range malformedHeads {
				forbidden = append(forbidden, fmt.Sprintf("/whole-%d-", i))
			}
			for _, text := range forbidden {
				if at := bytes.Index(b.got.Bytes(), []byte(text)); at >= 0 {
					t.Errorf("the %s got %q", name, b.got.Bytes()[max(0, at-200):min(at+100, b.got.Len())])
				}
			}
		}
		refused := uint64(0)
		l := live(s)
		for _, n := range l.Codes {
			refused += n
		}
		if refused != l.Errors[traffic.Client] || l.Codes[200] != 0 || l.InFlight != 0 {
			t.Errorf("got %v, %v, %d in flight", l.Codes, l.Errors, l.InFlight)
		}
	})
}

func (b *tap) address() string { return b.Addr().String() }
