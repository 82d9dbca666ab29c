package upstream

import (
	"fmt"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestCallsWaitForEachOtherWithoutDepth(t *testing.T) {
	drivers(t, func(r *rig) {
		var asked sync.WaitGroup
		asked.Add(2)
		script := func(p *peer) {
			target := p.request()
			asked.Done()
			asked.Wait() // nobody is answered before both have asked
			p.answer(target)
			p.end()
		}
		e := r.endpoint(r.serve(script, script))
		a, b := r.get("a"), r.get("b")
		r.send(e, a, b)
		a.succeeds(200, "/a ")
		b.succeeds(200, "/b ")
		if load := r.load(e); load.Idle != 2 {
			r.Errorf("%d pooled connections, want 2", load.Idle)
		}
	})
}

func TestPipelinedCallsShareAConnectionUpToTheDepth(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 3
		script := func(p *peer) { // connections may come in any order
			first := p.request()
			if first == "/0 " {
				p.expect("/1 ")
				p.expect("/2 ")
				p.answer("answer to /0 ")
				p.answer("answer to /1 ")
				first = "/2 "
			}
			p.answer("answer to " + first)
			p.end()
		}
		e := r.endpoint(r.serve(script, script))
		var calls []*exchange
		for i := range 4 {
			calls = append(calls, r.get(fmt.Sprint(i)))
		}
		r.send(e, calls...)
		for i, x := range calls {
			x.succeeds(200, fmt.Sprintf("answer to /%d ", i))
		}
		r.on(func() {
			if p := r.client.pool(e); len(p.open) != 0 || len(p.idle) != 2 {
				r.Errorf("%d connections are open for more behind a call and %d idle, want 0 and 2", len(p.open), len(p.idle))
			}
		})
	})
}

// A request that is not whole may be cut, and one that may become a tunnel takes
// the connection with it: neither is put before or behind others.
func TestOnlyWholeRequestsArePipelined(t *testing.T) {
	for _, c := range []struct {
		name  string
		first func(x *exchange)
		next  func(x *exchange)
	}{
		{"behind one that is not whole", func(x *exchange) { x.Whole = false }, func(*exchange) {}},
		{"one that is not whole", func(*exchange) {}, func(x *exchange) { x.Whole = false }},
		{"behind an upgrade", func(x *exchange) { x.Upgrade = true }, func(*exchange) {}},
		{"an upgrade", func(*exchange) {}, func(x *exchange) { x.Upgrade = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				r.client.Depth = 8
				script := func(p *peer) {
					p.answer(p.request())
					p.gone()
				}
				e := r.endpoint(r.serve(script, script))
				a, b := r.get("a"), r.get("b")
				c.first(a)
				c.next(b)
				r.send(e, a, b)
				a.succeeds(200, "/a ")
				b.succeeds(200, "/b ")
			})
		})
	}
}

// What stands behind a call whose connection ends was only in its way.
func TestCallsBehindABrokenOneAreTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(p *peer)
		first  Failure
		second Failure // of those behind it
	}{
		{
			"closed after an answer", func(p *peer) {
				p.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			},
			Failure{}, Failure{Reason: traffic.FailReset, Stale: true},
		},
		{
			"closed without a word after an answer", func(p *peer) { p.answer("ok") },
			Failure{}, Failure{Reason: traffic.FailReset, Stale: true},
		},
		{
			"garbage", func(p *peer) { p.write("garbage") },
			Failure{Reason: traffic.FailProtocol}, Failure{Reason: traffic.FailProtocol, Stale: true},
		},
		{
			"cut short", func(p *peer) { p.write("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok") },
			Failure{Reason: traffic.FailReset}, Failure{Reason: traffic.FailReset, Stale: true},
		},
		{
			"closed at once", func(*peer) {},
			Failure{Reason: traffic.FailReset}, Failure{Reason: traffic.FailReset, Stale: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				r.client.Depth = 3
				e := r.endpoint(r.serve(func(p *peer) {
					for range 3 {
						p.request()
					}
					c.script(p)
				}))
				first, second, third := r.get("1"), r.get("2"), r.get("3")
				r.send(e, first, second, third)
				if c.first.Failed() {
					first.fails(c.first)
				} else {
					first.succeeds(200, "ok")
				}
				second.fails(c.second)
				third.fails(c.second)
			})
		})
	}
}

// The connection is on its way out when the first call ends: what its caller
// sends from there must not be put on it.
func TestCallFromTheEndOfTheLastCallGoesElsewhere(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 8
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			p.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na")
			p.gone()
		}, func(p *peer) {
			p.expect("/b ")
			p.answer("b")
			p.end()
		}))
		a, b := r.get("a"), r.get("b")
		a.onEnd = func() { r.client.Send(&b.Call, e) }
		r.send(e, a)
		a.succeeds(200, "a")
		b.succeeds(200, "b")
	})
}

func TestPooledConnectionThatWasClosedIsStale(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(p *peer)
		first bool // fail on the first call
		want  Failure
	}{
		{"closed instead of the second answer", func(*peer) {}, false, Failure{Reason: traffic.FailReset, Stale: true}},
		{"reset instead of the second answer", func(p *peer) { p.reset() }, false, Failure{Reason: traffic.FailReset, Stale: true}},
		{"broken off in the second answer", func(p *peer) { p.write("HTTP/1.1 20") }, false, Failure{Reason: traffic.FailReset}},
		{"closed instead of the first answer", func(*peer) {}, true, Failure{Reason: traffic.FailReset}},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(r *rig) {
				e := r.endpoint(r.serve(func(p *peer) {
					if !c.first {
						p.expect("/a ")
						p.answer("a")
					}
					p.expect("/b ")
					c.end(p)
				}))
				if !c.first {
					a := r.get("a")
					r.send(e, a)
					a.succeeds(200, "a")
				}
				b := r.get("b")
				r.send(e, b)
				b.fails(c.want)
				failures := uint64(1)
				if c.want.Stale {
					failures = 0 // it is nobody's fault
				}
				if got := e.Failures(); got != failures {
					t.Errorf("%d failures of the endpoint, want %d", got, failures)
				}
			})
		})
	}
}

// A pooled connection that was reset takes no byte, so that the request is still
// there to be sent elsewhere.
func TestRequestThatAResetConnectionDidNotTakeIsStillThere(t *testing.T) {
	drivers(t, func(r *rig) {
		idle, reset := make(chan struct{}), make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a ")
			p.answer("a")
			<-idle
			p.reset()
			close(reset)
		}, func(p *peer) {
			p.expect("/b ")
			p.answer("b")
		}))
		a, b := r.get("a"), r.get("b")
		r.send(e, a)
		a.succeeds(200, "a")
		r.on(func() { // the loop does not hear of the reset while it is here
			close(idle)
			<-reset
			r.client.Send(&b.Call, e)
		})
		b.wait()
		if b.failure.Reason != traffic.FailReset || !b.failure.Stale {
			r.Errorf("%+v, want a stale connection", b.failure)
		}
		if got, want := b.failure.Unsent, b.Out.Len() > 0; got != want {
			r.Errorf("unsent %v, and %d bytes are left", got, b.Out.Len())
		}
		if !b.failure.Unsent {
			// The portable driver takes bytes before the system has.
			return
		}
		again := r.get("b")
		r.send(e, again)
		again.succeeds(200, "b")
	})
}
