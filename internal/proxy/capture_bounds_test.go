package proxy

import (
	"bufio"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// busy is a sink that takes nothing.
type busy struct{ offered atomic.Int64 }

// Offer implements traffic.Sink.
func (b *busy) Offer(x *traffic.Exchange) bool {
	if x.Request != nil && x.Memory != nil {
		b.offered.Add(1)
	}
	return false
}

// A sink that is behind costs captures, and nobody notices but the books.
func TestASinkThatRefusesLosesCapturesOnly(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		sink, primary, shadow := &busy{}, record(t, fine), record(t, fine)
		s, addr := serveWith(t, Options{Driver: d, Capture: sink}, captured(primary.address(), shadow.address(), "            backoff: {adaptive: false}"))
		for _, m := range ask(t, addr, numbered(100, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n")...) {
			if m.start != "HTTP/1.1 200 OK" {
				t.Fatalf("got %q", m.start)
			}
		}
		want := telemetry.Capture{Drawn: 100, Lost: map[traffic.Reason]uint64{traffic.LostQueue: 100}}
		if m := books(t, s); m.Completed != 100 {
			t.Errorf("%d copies completed, want 100: %v, %v", m.Completed, m.Dropped, m.Failed)
		}
		if diff := cmp.Diff(want, captures(t, s)); diff != "" {
			t.Errorf("(- want, + counted)\n%s", diff)
		}
		if n := sink.offered.Load(); n == 0 || n > 100 {
			t.Errorf("%d captures were offered, want some of 100", n)
		}
	})
}

// modest is a sink that wants a part.
type modest struct {
	*accessLog
	wanted float64
}

// Wanted implements traffic.Chooser.
func (m *modest) Wanted() float64 { return m.wanted }

// Refuses implements traffic.Chooser.
func (*modest) Refuses() traffic.Reason { return traffic.LostQueue }

// Whoever compares may want less than what is drawn. That is a fair part of it, and
// nothing else changes: what is recorded is whole.
func TestAPartOfWhatIsDrawnIsCompared(t *testing.T) {
	for _, test := range []struct {
		name, top, compare    string
		wanted                float64
		leastTaken, mostTaken uint64 // of 1000
		compared              bool
		lost                  bool // what was not taken is in the books
	}{
		// Of 1,000 with a share of a half, 100 more or less are 6.3 standard deviations,
		// which happens by chance once in 3·10^9 times.
		{"a half", "", "", 0.5, 400, 600, true, true},
		{"all", "", "", 1, 1000, 1000, true, true},
		// 200 of 1,000 are wanted; 100 more or less are 7.9 standard deviations.
		{"a half of 40 %", "", "compare: {percent: 40}", 0.5, 100, 300, true, false},
		{"next to nothing, and all is recorded", "record: {directory: x}\n", "", 1e-12, 1000, 1000, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sink, primary, shadow := newLog(), record(t, fine), record(t, fine)
			s, addr := serveWith(t, Options{Capture: &modest{sink, test.wanted}},
				test.top+captured(primary.address(), shadow.address(), "            "+test.compare))
			ask(t, addr, numbered(1000, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n")...)
			s.Drain(context.Background())
			books := captures(t, s)
			if books.Taken < test.leastTaken || books.Taken > test.mostTaken {
				t.Errorf("%d of 1000 were captured, want %d to %d", books.Taken, test.leastTaken, test.mostTaken)
			}
			if test.lost && books.Taken+books.Lost[traffic.LostBusy] != 1000 {
				t.Errorf("%d taken and %v lost, want 1000", books.Taken, books.Lost)
			}
			for range books.Taken {
				if x, _ := hear(t, sink); x.Copies[0].Compare != test.compared {
					t.Fatalf("compared %v, want %v", x.Copies[0].Compare, test.compared)
				}
			}
		})
	}
}

// What captures hold is bounded, whoever holds it and for how long; beyond, they
// are lost, and whoever is served notices nothing. When something is given back,
// there is room again.
func TestTheMemoryOfCapturesIsBounded(t *testing.T) {
	const bound = 128 << 10
	for name, test := range map[string]struct {
		body int    // of each message
		fit  [2]int // how many exchanges, at the least and at the most
	}{
		"small": {100, [2]int{32, 32}}, // of 4 KiB each
		"large": {7000, [2]int{3, 6}},  // three bodies, in blocks of 16 KiB, of which two share one at best
		"none":  {200 << 10, [2]int{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				body, sink := patterned(test.body), newLog()
				replies := func(*message) (string, bool) { return "HTTP/1.1 200 OK\r\n" + inFrames(false, body), false }
				primary, shadow := record(t, replies), record(t, replies)
				yaml := strings.Replace(captured(primary.address(), shadow.address(), ""), "memory: 16MiB", "memory: 128KiB", 1)
				s, addr := serveWith(t, Options{Driver: d, Capture: sink}, strings.Replace(yaml, "body: 8KiB", "body: 128KiB", 1))
				c := dial(t, addr)
				r := bufio.NewReader(c)
				for range 50 {
					send(t, c, "POST / HTTP/1.1\r\nHost: h\r\n"+inFrames(false, body))
					if m, err := readAnswer(r, "POST"); err != nil || m.body != body {
						t.Fatalf("got %d bytes, %v", len(m.body), err)
					}
					if b := captures(t, s); b.Memory > bound {
						t.Fatalf("%d bytes are held, want at most %d", b.Memory, bound)
					}
				}
				b := captures(t, s)
				if b.Drawn != 50 || b.Taken+b.Lost[traffic.LostMemory] != 50 || int(b.Taken) < test.fit[0] || int(b.Taken) > test.fit[1] {
					t.Errorf("counted %+v, want %v to be taken", b, test.fit)
				}
				if m := books(t, s); m.Completed != 50 {
					t.Errorf("%d copies completed, want all: %v, %v", m.Completed, m.Dropped, m.Failed)
				}
				for range b.Taken {
					x := sink.next(t)
					if string(x.Request.Body) != body || string(x.Primary.Answer.Body) != body || string(x.Copies[0].Answer.Body) != body {
						t.Error("a body that was kept is not the one that was sent")
					}
					x.Release()
				}
				if b := s.Snapshot().Capture; b.Memory != 0 {
					t.Errorf("%d bytes are held after the last exchange was released", b.Memory)
				}
			})
		})
	}
}

// The log and whoever captures draw for themselves and never share an exchange.
func TestTheAccessLogHasItsOwnExchange(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow, log, sink := record(t, fine), record(t, fine), newLog(), newLog()
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}, Capture: sink},
			"accessLog: {path: \"-\"}\nrecord: {directory: x}\n"+captured(primary.address(), shadow.address(), ""))
		ask(t, addr, "POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nUser-Agent: ua\r\nContent-Length: 2\r\n\r\nhi")
		x, _ := hear(t, sink)
		logged := log.next(t)
		if logged == x || logged.Request != nil || logged.Memory != nil || logged.Record || logged.Primary.Answer != nil || logged.Copies[0].Answer != nil || logged.Copies[0].Compare {
			t.Errorf("the log got messages: %+v", logged)
		}
		x.Path, x.Copies[0].Mirror = "redacted", "redacted"
		want := []string{"r1", "POST", "/a", "b=c", "ua", "h", "v2"}
		if diff := cmp.Diff(want, []string{logged.ID, logged.Method, logged.Path, logged.Query, logged.UserAgent, logged.Host, logged.Copies[0].Mirror}); diff != "" {
			t.Errorf("(- want, + got)\n%s", diff)
		}
	})
}

// Connections that are no messages are not captured, nor are requests that may
// become such a connection, whatever comes of them.
func TestTunnelsAreNotCaptured(t *testing.T) {
	const all = "capture: {body: 8KiB, memory: 1MiB}\nrecord: {directory: x}\n"
	drivers(t, func(t *testing.T, d loop.Driver) {
		sink := newLog()
		o := Options{Driver: d, Capture: sink}
		t.Run("upgrade", func(t *testing.T) {
			primary := scripted(t)
			_, addr := serveWith(t, o, all+plain(primary.address(), ""))
			c, _, p, _ := tunnelTo(t, primary, addr)
			p.Close()
			atEOF(t, c)
		})
		t.Run("upgrade that is refused", func(t *testing.T) {
			_, addr := serveWith(t, o, all+plain(record(t, fine).address(), ""))
			ask(t, addr, strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nX-Request-Id: 1\r\n\r\n", 1))
		})
		t.Run("stream", func(t *testing.T) {
			primary, shadow := scripted(t), scripted(t)
			_, addr := serveWith(t, o, all+streams(primary.address(), shadow.address(), ""))
			c := dial(t, addr)
			send(t, c, "hello")
			for _, s := range []*script{primary, shadow} {
				expect(t, s.next(t), "hello")
			}
			c.CloseWrite()
		})
		if n := len(sink.got); n != 0 {
			t.Errorf("%d exchanges were captured", n)
		}
	})
}

// A message is kept by the bound that it began with.
func TestTheBoundOnBodiesChangesBetweenMessages(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, sink := scripted(t), newLog()
		yaml := func(limit string) string {
			return "capture: {memory: 16MiB, body: " + limit + "}\nrecord: {directory: x}\n" + plain(primary.address(), "")
		}
		s, addr := serveWith(t, Options{Driver: d, Capture: sink}, yaml("2KiB"))
		body := patterned(6000)
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6000\r\n\r\n"+body[:3000])
		p := primary.next(t)
		r := bufio.NewReader(p)
		head(t, r)
		expect(t, r, body[:3000])
		if _, err := s.Apply(parse(t, yaml("4KiB"))); err != nil {
			t.Fatal(err)
		}
		send(t, c, body[3000:])
		expect(t, r, body[3000:])
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n"+body)
		if m, err := readAnswer(bufio.NewReader(c), "POST"); err != nil || m.body != body {
			t.Fatalf("got %d bytes, %v", len(m.body), err)
		}
		x := sink.next(t)
		defer x.Release()
		if got := x.Request; string(got.Body) != body[:2048] || got.Length != 6000 || got.Hash != xxh64([]byte(body)) {
			t.Errorf("of the request %d of %d bytes are kept, hash %x", len(got.Body), got.Length, got.Hash)
		}
	})
}
