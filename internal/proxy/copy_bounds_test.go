package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// mirrorOf returns the books of the only mirror.
func mirrorOf(s *Server) telemetry.Mirror { return s.Snapshot().Mirrors[0] }

func TestOnlyAWholeCopyOutlivesItsClient(t *testing.T) {
	tests := []struct{ name, request string }{
		{"whole", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"whole, with body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"},
		{"half a body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"},
		{"half a chunked body", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"},
	}
	for _, test := range tests {
		for _, how := range []string{"ends", "resets"} {
			t.Run(test.name+", "+how, func(t *testing.T) {
				drivers(t, func(t *testing.T, d loop.Driver) {
					whole := strings.HasPrefix(test.name, "whole")
					primary, shadow := scripted(t), scripted(t)
					s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            writes: copy"))
					c := dial(t, addr)
					send(t, c, test.request)
					p, sh := primary.next(t), shadow.next(t)
					sr := bufio.NewReader(sh)
					head(t, bufio.NewReader(p))
					head(t, sr)
					if how == "resets" || whole {
						c.SetLinger(0)
					}
					c.Close()
					for s.Snapshot().Clients > 0 {
					}
					if whole {
						if m := mirrorOf(s); m.InFlight != 1 {
							t.Errorf("got %+v, want the copy in flight", m)
						}
						send(t, sh, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						if m := books(t, s); m.Completed != 1 {
							t.Errorf("got %+v, want the copy completed", m)
						}
						return
					}
					if m := books(t, s); m.Dropped[traffic.DropClientGone] != 1 {
						t.Errorf("dropped %v, want client_gone", m.Dropped)
					}
					rest, err := io.ReadAll(sr)
					if err == nil && !strings.HasSuffix(string(rest), "half") && string(rest) != "4\r\nhalf\r\n" {
						t.Errorf("the shadow got %q, %v", rest, err)
					}
				})
			})
		}
	}
}

func TestCopiesInFlightAndInTheQueueAreBounded(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, fine), scripted(t)
		yaml := mirrored(primary.address(), shadow.address(), "            writes: copy\n            limits: {inFlight: 1, queue: 2}")
		s, addr := serve(t, d, strings.Replace(yaml, "workers: 2", "workers: 1", 1))
		ask(t, addr, numbered(6, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n")...)
		if m := mirrorOf(s); m.Selected != 6 || m.InFlight != 3 || m.Queued != 2 || m.Dropped[traffic.DropQueueFull] != 3 {
			t.Errorf("%d selected, %d in flight, %d of them queued, dropped %v, want 6, 3, 2 and 3 for the queue", m.Selected, m.InFlight, m.Queued, m.Dropped)
		}
		// What is still to come cannot be kept waiting.
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n")
		for mirrorOf(s).Selected < 7 {
		}
		if m := mirrorOf(s); m.Dropped[traffic.DropInFlight] != 1 {
			t.Errorf("dropped %v, want one for the bound in flight", m.Dropped)
		}
		send(t, c, "ok")
		expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		sh := shadow.next(t)
		sr := bufio.NewReader(sh)
		for i := range 3 { // in the order in which they came
			if got, want := head(t, sr), fmt.Sprintf("GET /%d ", i); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			send(t, sh, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		if m := books(t, s); m.Completed != 3 {
			t.Errorf("got %d completed, want 3", m.Completed)
		}
	})
}

func TestMemoryIsBoundedOverAllCopies(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, fine), scripted(t)
		yaml := mirrored(primary.address(), shadow.address(), "            limits: {inFlight: 1, queue: 1000, memory: 256KiB}")
		s, addr := serve(t, d, "shutdown: {copies: 10ms}\n"+yaml)
		const size = 8000
		ask(t, addr, numbered(100, "GET /%d HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n")...)
		m := mirrorOf(s)
		if m.Memory > 256<<10 || m.Memory < size*int64(m.Queued) || m.Queued < 4 || m.Dropped[traffic.DropMemory] != 100-m.InFlight {
			t.Errorf("%d bytes held by %d copies, dropped %v", m.Memory, m.InFlight, m.Dropped)
		}
	})
}

func TestCopiesPerSecondAreBounded(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, fine), record(t, fine)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            limits: {rate: 1}"))
		ask(t, addr, numbered(50, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n")...)
		if m := books(t, s); m.Selected != 50 || m.Completed == 0 || m.Dropped[traffic.DropRate]+m.Completed != 50 || m.Completed > 10 {
			t.Errorf("%d of %d completed, dropped %v, want one and the rest for the rate", m.Completed, m.Selected, m.Dropped)
		}
	})
}

func TestCopiesPauseWhileTheShadowFailsAndGoOnAfterwards(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		address := freeAddress(t)
		s, addr := serve(t, d, mirrored(primary.address(), address, "            backoff: {failures: 2, base: 20ms, max: 40ms}"))
		client := newClient(t)
		until := func(done func(m telemetry.Mirror) bool) {
			t.Helper()
			for deadline := time.Now().Add(10 * time.Second); !done(mirrorOf(s)); {
				if status, _, err := get(client, "http://"+addr+"/"); status != 200 || err != nil {
					t.Fatalf("got %d, %v", status, err)
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %+v", mirrorOf(s))
				}
			}
		}
		until(func(m telemetry.Mirror) bool {
			return m.Breaker == "open" && m.Dropped[traffic.DropPaused] > 10 && m.Failed[traffic.FailConnect] >= 4
		})
		if m := mirrorOf(s); m.Breaker == "open" && m.Retry.IsZero() || m.Failed[traffic.FailConnect] > m.Dropped[traffic.DropPaused] {
			t.Errorf("got %+v, want most copies paused and the time of the next try", m)
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		back := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go back.Serve(ln)
		defer back.Close()
		until(func(m telemetry.Mirror) bool { return m.Breaker == "closed" && m.Completed > 10 })
	})
}
