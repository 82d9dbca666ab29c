package upstream

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// raw makes a raw call that begins with text.
func (r *rig) raw(name, text string) *exchange {
	x := r.exchange(name, text)
	x.Whole, x.Raw = false, true
	return x
}

// reads waits until n bytes have come, and checks them.
func (p *peer) reads(want string) {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
		p.t.Errorf("the server got %q, %v, want %q", got[:n], err, want)
	}
}

// got waits until x has received text.
func (x *exchange) got(text string) {
	x.rig.Helper()
	x.rig.until("there is "+text, func() bool { return x.body.String() == text })
}

func TestARawCallEndsAfterBothSides(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			p.write("welcome ")
			p.reads("hello")
			p.CloseWrite()
			p.reads(" and more")
			p.end()
		}, func(p *peer) {
			p.reads("hello")
			p.end()
			p.write("last words")
		}))
		server := r.raw("the server ends first", "")
		r.send(e, server)
		server.got("welcome ") // before a byte was sent
		r.on(func() { server.Out.Copy([]byte("hello")); server.Flush() })
		r.until("the server has ended", func() bool { return server.otherEnds == 1 })
		r.on(func() {
			server.Out.Copy([]byte(" and more"))
			server.Flush()
			server.CloseWrite()
		})
		server.wait()
		client := r.raw("the client ends first", "hello")
		r.send(e, client)
		r.on(client.CloseWrite)
		client.wait()
		r.on(func() {
			if client.body.String() != "last words" || client.failure.Failed() || server.failure.Failed() {
				r.Errorf("got %q, %+v and %+v", client.body.String(), client.failure, server.failure)
			}
		})
		if l := r.load(e); l.Idle != 0 || l.Requests != 2 {
			r.Errorf("got %+v, want no pooled connection", l)
		}
	})
}

func TestARawCallThatBreaks(t *testing.T) {
	drivers(t, func(r *rig) {
		arrived := make(chan struct{})
		e := r.endpoint(r.serve(func(p *peer) {
			p.reads("hello")
			p.write("half")
			p.reset()
		}, func(p *peer) {
			p.reads("hello")
			close(arrived)
			if _, err := io.Copy(io.Discard, p.r); err == nil {
				p.t.Error("the server saw an end, want a reset")
			}
		}))
		x := r.raw("reset by the server", "hello")
		r.send(e, x)
		x.fails(Failure{Reason: traffic.FailReset})
		x = r.raw("reset by the caller", "hello")
		r.send(e, x)
		<-arrived
		r.on(func() { x.cancelled = true; x.Reset() })
		if n := e.Failures(); n != 0 {
			r.Errorf("%d failures are held against the endpoint, want none", n)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.Fatal(err)
		}
		ln.Close()
		e = r.endpoint(ln.Addr().String())
		x = r.raw("refused", "hello")
		r.send(e, x)
		r.on(x.CloseWrite)
		x.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
		if n := e.Failures(); n != 1 {
			r.Errorf("%d failures are held against the endpoint, want 1", n)
		}
	})
}

func TestACallAloneHasAConnectionWithAPreface(t *testing.T) {
	drivers(t, func(r *rig) {
		each := func(p *peer) {
			p.reads("for this one: ")
			p.expect("/alone ")
			p.answer("ok")
			p.end()
		}
		e := r.endpoint(r.serve(each, each, func(p *peer) {
			p.expect("/pooled ")
			p.answer("ok")
			p.end()
		}))
		for range 2 {
			x := r.get("alone")
			x.Alone, x.Preface = true, []byte("for this one: ")
			r.send(e, x)
			x.succeeds(200, "ok")
		}
		x := r.get("pooled")
		r.send(e, x)
		x.succeeds(200, "ok")
	})
}

func TestNextTakesTurnsAndLeavesOutTheEjected(t *testing.T) {
	t.Parallel()
	r := newRig(t, "go")
	b := r.backend(func(c *config.Backend) { c.Health.Failures = 1 }, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	turns := func(copies bool) string {
		var order strings.Builder
		for range 3 {
			order.WriteString(b.Next(0, copies).Address[len("127.0.0.1:"):])
		}
		return order.String()
	}
	if got := turns(false); got != "231" {
		t.Errorf("got %s, want 231", got)
	}
	b.Endpoints()[1].Refused(0, false)
	if got := turns(false); got != "313" {
		t.Errorf("got %s, want 313", got)
	}
	if got := turns(true); got != "123" {
		t.Errorf("for copies got %s, want 123", got)
	}
	b.Endpoints()[1].Answered(false)
	if got := turns(false); got != "123" {
		t.Errorf("got %s, want 123", got)
	}
	if addr, ok := b.Endpoints()[0].Addr(); !ok || addr.String() != "127.0.0.1:1" {
		t.Errorf("got %s, %t", addr, ok)
	}
}
