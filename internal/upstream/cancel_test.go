package upstream

import (
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// idle makes a pooled connection to e by a call for /first.
func (r *rig) idle(e *Endpoint) {
	r.Helper()
	x := r.get("first")
	r.send(e, x)
	x.succeeds(200, "first")
}

// first answers the call that idle makes.
func first(p *peer) {
	p.expect("/first ")
	p.answer("first")
}

// next answers one more call.
func next(p *peer) {
	p.expect("/next ")
	p.answer("next")
	p.end()
}

// goesOn checks that e still serves.
func (r *rig) goesOn(e *Endpoint) {
	r.Helper()
	x := r.get("next")
	r.send(e, x)
	x.succeeds(200, "next")
}

func TestCancelBeforeAnythingWasSentKeepsTheConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			first(p)
			next(p)
		}))
		r.idle(e)
		x := r.get("never")
		r.on(func() {
			r.client.Send(&x.Call, e)
			x.cancel()
			x.cancel() // once more does nothing
			if x.Active() || x.Out.Len() != 0 {
				t.Error("a cancelled call is on a connection, or has bytes to send")
			}
		})
		r.goesOn(e)
	})
}

func TestCancelWhileConnectingEndsTheConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(hole(r))
		x := r.get("never")
		r.send(e, x)
		r.on(x.cancel)
		if load := r.load(e); load.Idle != 0 || load.InFlight != 0 {
			t.Errorf("%+v, want nothing", load)
		}
	})
}

// A call that waits for a connection behind another goes on without it.
func TestCancelOfTheFirstOfTwoThatWaitForAConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 2
		e := r.endpoint(r.serve(next))
		x, y := r.get("never"), r.get("next")
		r.on(func() {
			r.client.Send(&x.Call, e)
			r.client.Send(&y.Call, e)
			x.cancel()
		})
		y.succeeds(200, "next")
	})
}

func TestCancelOfACallThatIsQueuedBehindAnother(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 3
		asked, answer := make(chan struct{}), make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			close(asked)
			<-answer
			p.answer("a")
			next(p)
		}))
		a, b := r.get("a"), r.get("never")
		r.send(e, a)
		await(t, asked, "the request")
		r.on(func() {
			r.client.Send(&b.Call, e)
			b.cancel()
		})
		close(answer)
		a.succeeds(200, "a")
		r.goesOn(e)
	})
}

// Any other end of a call that was sent would let the server take what comes
// next for a part of it.
func TestCancelOfACallThatWasSentEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		text   string
		whole  bool
		script func(p *peer)
		when   func(x *exchange) bool
	}{
		{
			"half sent", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf", false,
			func(*peer) {}, func(x *exchange) bool { return x.sent > 0 },
		},
		{
			"sent", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true,
			func(*peer) {}, func(x *exchange) bool { return x.sent > 0 },
		},
		{
			"sent in part, because the server does not read", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\n\r\n" + strings.Repeat("x", 1<<25), true,
			func(*peer) {}, func(x *exchange) bool { return x.sent > 0 },
		},
		{
			"half answered", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true,
			func(p *peer) { p.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") },
			func(x *exchange) bool { return x.body.String() == "half" },
		},
		{
			"with half a head", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", true,
			func(p *peer) { p.write("HTTP/1.1 200 OK\r\nContent-Len") },
			func(x *exchange) bool { return x.conn.in.Len() > 0 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				asked, cancelled := make(chan struct{}), make(chan struct{})
				e := r.endpoint(r.serve(func(p *peer) {
					p.r.ReadByte()
					c.script(p)
					close(asked)
					<-cancelled
					p.gone()
				}, next))
				x := r.exchange("x", c.text)
				x.Whole = c.whole
				r.send(e, x)
				await(t, asked, "the request")
				r.until("it is time to cancel", func() bool { return c.when(x) })
				r.on(x.cancel)
				close(cancelled)
				r.goesOn(e)
			})
		})
	}
}

// Callers cancel from within whatever they are told.
func TestCancelFromWithin(t *testing.T) {
	for _, c := range []struct {
		name string
		hook func(x *exchange, f func())
	}{
		{"Sent", func(x *exchange, f func()) { x.onSent = f }},
		{"Answer", func(x *exchange, f func()) { x.onAnswer = f }},
		{"Data", func(x *exchange, f func()) { x.onData = f }},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				e := r.endpoint(r.serve(func(p *peer) {
					p.r.ReadByte()
					p.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
					p.gone()
				}, next))
				x := r.get("x")
				done := make(chan struct{})
				c.hook(x, func() {
					x.cancel()
					close(done)
				})
				r.send(e, x)
				await(t, done, "a word of the call")
				r.goesOn(e)
			})
		})
	}
}

// When a call that stands in front is cancelled, those behind it are told, and
// one of them may cancel another while it hears of it.
func TestCancelInFrontOfOthers(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 4
		asked := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.request()
			close(asked)
			p.gone()
		}, next))
		a, b, c, d := r.get("a"), r.get("b"), r.get("c"), r.get("d")
		r.send(e, a, b, c)
		await(t, asked, "the request")
		b.onEnd = c.cancel
		r.on(func() {
			r.client.Send(&d.Call, e) // not sent when the others are
			a.cancel()
		})
		b.fails(Failure{Reason: traffic.FailReset, Stale: true})
		d.fails(Failure{Reason: traffic.FailReset, Stale: true, Unsent: true})
		if got := e.Failures(); got != 0 {
			t.Errorf("%d failures of the endpoint, want none", got)
		}
		r.goesOn(e)
	})
}

// A caller that ran out of patience holds it against the endpoint.
func TestFailCancelsAndIsCounted(t *testing.T) {
	drivers(t, func(r *rig) {
		asked := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.request()
			close(asked)
			p.gone()
		}))
		x := r.get("x")
		r.on(x.Fail) // not sent yet: nobody to blame
		x = r.get("x")
		r.exchanges = r.exchanges[1:]
		r.send(e, x)
		await(t, asked, "the request")
		r.on(func() {
			x.cancelled = true
			x.Fail()
			x.Fail()
		})
		if got := e.Failures(); got != 1 {
			t.Errorf("%d failures of the endpoint, want 1", got)
		}
	})
}

func TestPausedAnswerWaits(t *testing.T) {
	drivers(t, func(r *rig) {
		body := strings.Repeat("0123456789abcdef", 1<<16)
		e := r.endpoint(r.serve(func(p *peer) {
			first(p)
			p.expect("/x ")
			p.answer(body)
			next(p)
		}))
		r.idle(e)
		x := r.get("x")
		parts, paused := 0, false
		x.onAnswer = x.Pause
		x.onData = func() {
			if paused {
				t.Error("a paused call got a part of its answer")
			}
			paused = true
			parts++
			x.Pause()
		}
		r.send(e, x)
		r.until("the head has come", func() bool { return len(x.statuses) == 1 })
		for len(x.ended) == 0 {
			r.on(func() {
				paused = false
				x.Resume()
				x.Resume() // once more does nothing
			})
		}
		x.succeeds(200, body)
		if parts < 2 {
			t.Errorf("the answer came in %d part, want several", parts)
		}
		r.goesOn(e)
	})
}

// The last part of an answer may be what makes a caller pause. The connection is
// then pooled, and must read the next answer.
func TestPauseEndsWithItsCall(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/x ")
			p.answer("hello")
			next(p)
		}))
		x := r.get("x")
		x.onData = x.Pause
		r.send(e, x)
		x.succeeds(200, "hello")
		r.goesOn(e)
	})
}

// A caller that has paused, because its own client is slow, gets all that the
// server sent before it reset the connection.
func TestPausedCallGetsWhatCameBeforeAReset(t *testing.T) {
	drivers(t, func(r *rig) {
		body := strings.Repeat("before the reset ", 1000)
		paused, reset := make(chan struct{}), make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/x ")
			p.write("HTTP/1.1 200 OK\r\nContent-Length: 17000\r\n\r\n")
			<-paused
			p.write(body)
			p.reset()
			close(reset)
		}))
		x := r.get("x")
		x.onAnswer = func() {
			x.Pause()
			close(paused)
		}
		r.send(e, x)
		await(t, reset, "the reset")
		for range 3 { // passes of the loop in which it hears of the reset
			r.on(func() {})
		}
		r.on(x.Resume)
		x.succeeds(200, body)
	})
}
