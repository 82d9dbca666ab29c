package mirror

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// refused is an address that refuses connections for as long as the test lasts.
func refused(t testing.TB) (address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", name.(*unix.SockaddrInet4).Port)
}

// failures is how often in a row the shadow has failed, as the breaker knows.
func failures(p *Policy) int64 { return p.State.Breaker.run.Load() }

func TestWhatAShadowDoesIsCounted(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(v *visit)
		lines  string
		fate   string
		sick   bool
	}{
		{"an answer", func(v *visit) { v.answer("ok") }, "", "completed", false},
		{"an error is an answer", func(v *visit) { v.write("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") }, "", "completed", false},
		{"a redirect is not followed", func(v *visit) { v.write("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") }, "", "completed", false},
		{"1xx is no answer", func(v *visit) {
			v.write("HTTP/1.1 103 Early Hints\r\n\r\n")
			v.answer("ok")
		}, "", "completed", false},
		{"an answer until close", func(v *visit) { v.write("HTTP/1.1 200 OK\r\n\r\nok") }, "", "completed", false},
		{"a long answer", func(v *visit) { v.answer(strings.Repeat("long", 1<<18)) }, "", "completed", false},
		{"silence", func(v *visit) { v.gone() }, ", timeout: 30ms", "timeout", true},
		{"half an answer", func(v *visit) {
			v.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			v.gone()
		}, ", timeout: 30ms", "timeout", true},
		{"an end", func(*visit) {}, "", "reset", true},
		{"a reset", func(v *visit) { v.reset() }, "", "reset", true},
		{"an answer cut short", func(v *visit) { v.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") }, "", "reset", true},
		{"garbage", func(v *visit) { v.write("who are you?\r\n\r\n") }, "", "protocol", true},
		{"an upgrade that nobody asked for", func(v *visit) {
			v.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		}, "", "protocol", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				p := s.mirror("v2", "writes: copy"+c.lines, s.shadow(func(_ int, v *visit) {
					v.request()
					c.script(v)
				}))
				s.offer(p, get)
				s.one(p, c.fate)
				if got := failures(p) > 0; got != c.sick {
					t.Errorf("the breaker has heard of a failure: %v, want %v", got, c.sick)
				}
			})
		})
	}
}

// The answers are counted by code, and their time is taken, once each.
func TestAnswersAreWrittenDown(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.mirror("v2", "", s.shadow(func(_ int, v *visit) {
			for _, code := range []string{"200", "404", "200"} {
				v.request()
				v.write("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 " + code + " X\r\nContent-Length: 0\r\n\r\n")
			}
			v.gone()
		}))
		for range 3 {
			s.offer(p, get)
			s.settle()
		}
		b := s.books(p)
		if fmt.Sprint(b.Codes) != "map[200:2 404:1]" {
			s.Errorf("codes %v, want 2 of 200 and 1 of 404", b.Codes)
		}
		if b.First.Count != 3 {
			s.Errorf("the time of %d answers was taken, want 3", b.First.Count)
		}
		want := uint64(3 * len("GET / HTTP/1.1\r\nHost: a\r\nx-understudy-copy: v2\r\n\r\n"))
		if b.Bytes != want {
			s.Errorf("%d bytes were sent, want %d", b.Bytes, want)
		}
		s.mirrors.Gauges(func(_, _, _ string, g Gauges) {
			if g.LastCopy.IsZero() || g.Breaker != Closed || g.Share != 1 || g.Memory != 0 {
				s.Errorf("gauges %+v", g)
			}
		})
	})
}

func TestRefusedConnections(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		good        bool // the second endpoint answers
		fate        string
	}{
		{"not tried again by default", "", true, "connect"},
		{"tried again elsewhere if asked for", "retry: true", true, "completed"},
		{"tried again once", "retry: true", false, "connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				second := refused(s)
				if c.good {
					second, _ = s.polite()
				}
				p := s.mirror("v2", c.lines, refused(s), second)
				// Whoever's turn it is: until the first endpoint is met.
				for s.books(p).Failed["connect"] == 0 && s.books(p).Completed < 2 {
					s.offer(p, get)
					s.settle()
				}
				b := s.books(p)
				if c.fate == "completed" && total(b.Failed) > 0 || c.fate == "connect" && b.Failed["connect"] != 1 {
					t.Errorf("failed %v, completed %d", b.Failed, b.Completed)
				}
			})
		})
	}
}

// A copy whose client is slow is not whole in time; its shadow is not to blame.
func TestSlowClientDoesNotBlameTheShadow(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.mirror("v2", "writes: copy", s.shadow(func(_ int, v *visit) { v.gone() }))
		c := s.offer(p, chunked)
		s.body(c, "hello")
		s.expire(c)
		s.one(p, "timeout")
		if failures(p) != 0 {
			s.Error("the breaker has heard of a failure")
		}
	})
}

// With pipelining, copies stand behind each other. What a connection's end does
// to those behind is not the shadow's fault: one that closes after every few
// answers, as many servers do, is well.
func TestShadowThatClosesPipelinedConnectionsIsNotSick(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.mirror("v2", "pipeline: 4, backoff: {failures: 1}", s.shadow(func(_ int, v *visit) {
			v.request()
			v.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			v.gone()
		}))
		for range 10 {
			for range 4 {
				s.offer(p, get)
			}
			s.settle()
		}
		b := s.books(p)
		if b.Completed < 10 || b.Completed+b.Failed["reset"] != 40 {
			s.Errorf("%d completed, failed %v, dropped %v; want 10 or more, and the rest reset", b.Completed, b.Failed, b.Dropped)
		}
	})
}

// A copy that has not been sent when its connection turns out to be of no use is
// sent on another.
func TestCopyThatWasNotSentGoesOnAnotherConnection(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.mirror("v2", "limits: {inFlight: 1}, backoff: {failures: 1}", s.shadow(func(i int, v *visit) {
			v.request()
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			if i == 0 {
				answer += answer // the second is for nobody
			}
			v.write(answer)
			v.gone()
		}))
		subject, out := subject(s, get)
		s.on(func() {
			s.give(p, subject, out)
			s.give(p, subject, out) // waits, and is put on the first's connection
		})
		s.settle()
		s.counts(p, map[string]uint64{"completed": 2})
	})
}

// A pooled connection that the shadow has reset meanwhile is no failure of the
// shadow, and if nothing was sent on it, none of the copy either.
func TestStaleConnectionIsNobodysFault(t *testing.T) {
	drivers(t, func(s *stage) {
		idle, reset := make(chan struct{}), make(chan struct{})
		p := s.mirror("v2", "", s.shadow(func(i int, v *visit) {
			v.request()
			v.answer("ok")
			if i == 0 {
				<-idle
				v.reset()
				close(reset)
			}
			v.gone()
		}))
		s.offer(p, get)
		s.one(p, "completed")
		subject, out := subject(s, get)
		s.on(func() { // the loop does not hear of the reset while it is here
			close(idle)
			<-reset
			s.give(p, subject, out)
		})
		s.settle()
		b := s.books(p)
		if b.Completed+b.Failed["reset"] != 2 || failures(p) != 0 {
			s.Errorf("%d completed, failed %v, %d failures told to the breaker", b.Completed, b.Failed, failures(p))
		}
	})
}

// An answer without end is read at a bounded pace, and then no more.
func TestEndlessAnswerIsCut(t *testing.T) {
	drivers(t, func(s *stage) {
		const most = maxAnswer + 16<<20 // and what the system holds
		sent := make(chan int, 1)
		p := s.mirror("v2", "", s.shadow(func(_ int, v *visit) {
			v.request()
			v.write("HTTP/1.1 200 OK\r\n\r\n")
			block := []byte(strings.Repeat("endless ", 1<<13))
			total := 0
			for {
				n, err := v.Write(block)
				total += n
				if err != nil || total > most {
					sent <- total
					return
				}
			}
		}))
		s.offer(p, get)
		s.one(p, "completed")
		if n := await(s.T, sent, "the end of the answer"); n > most {
			s.Errorf("more than %d bytes were taken", most)
		}
		if failures(p) != 0 {
			s.Error("the breaker has heard of a failure")
		}
	})
}

// A shadow that answers early, before the request is whole, has answered.
func TestEarlyAnswerCompletesTheCopy(t *testing.T) {
	drivers(t, func(s *stage) {
		p := s.mirror("v2", "writes: copy", s.shadow(func(_ int, v *visit) {
			v.r.ReadByte()
			v.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
			v.gone()
		}))
		c := s.offer(p, chunked)
		s.until("the copy has ended", func() bool { return c.Copy() == nil })
		s.body(c, "hello")
		s.finish(c, "")
		s.one(p, "completed")
	})
}

// A ticket to a copy that has ended is void, also when the copy is in use again.
func TestTicketOutlivesItsCopy(t *testing.T) {
	drivers(t, func(s *stage) {
		address, _ := s.polite()
		p := s.mirror("v2", "writes: copy", address)
		old := s.offer(p, get)
		s.settle()
		s.on(func() {
			if old.Copy() != nil {
				s.Error("a copy that has ended can be had")
			}
		})
		again := s.offer(p, chunked)
		s.on(func() {
			if again.copy != old.copy {
				s.Error("the copy is not used again")
			}
			if old.Copy() != nil || again.Copy() == nil {
				s.Error("the wrong ticket is void")
			}
			if (Ticket{}).Copy() != nil || (*Copy)(nil).Ticket() != (Ticket{}) {
				s.Error("a ticket to nothing has a copy")
			}
		})
		s.finish(again, "")
		s.settle()
		s.counts(p, map[string]uint64{"completed": 2})
	})
}

// Mirrors that pipeline to the same depth share connections, others do not.
func TestPipeliningIsPerDepth(t *testing.T) {
	s := newStage(t, loop.DefaultDriver())
	a, b, c := s.mirror("a", "pipeline: 4", "127.0.0.1:1"), s.mirror("b", "pipeline: 4", "127.0.0.1:1"), s.mirror("c", "", "127.0.0.1:1")
	s.on(func() {
		if s.copies.clientFor(a) != s.copies.clientFor(b) || s.copies.clientFor(a) == s.copies.clientFor(c) {
			s.Error("connections are shared by the wrong mirrors")
		}
	})
}
