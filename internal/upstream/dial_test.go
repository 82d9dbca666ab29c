package upstream

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// bound is a socket on a free port of 127.0.0.1 that does not listen: connects
// are refused, and no other program can take the port meanwhile.
func bound(t testing.TB) (fd int, address string) {
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
	port := uint16(name.(*unix.SockaddrInet4).Port)
	return fd, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
}

// hole is an address where connects are neither accepted nor refused: the
// backlog is full.
func hole(t testing.TB) (address string) {
	t.Helper()
	fd, address := bound(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 { // systems differ in how many fit
		c, err := net.DialTimeout("tcp4", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}

// resolved gives e addresses as a name would have them.
func resolved(e *Endpoint, addresses ...string) {
	var addrs []netip.AddrPort
	for _, a := range addresses {
		addrs = append(addrs, netip.MustParseAddrPort(a))
	}
	e.addrs.Store(&addrs)
}

func TestRefusedConnectionFails(t *testing.T) {
	drivers(t, func(r *rig) {
		_, refused := bound(r)
		e := r.endpoint(refused)
		x := r.get("a")
		x.Whole = false // more may come until it is over
		r.send(e, x)
		x.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
		if x.Out.Len() == 0 {
			t.Error("nothing is left to be sent elsewhere")
		}
		if got := e.Failures(); got != 1 {
			t.Errorf("%d failures of the endpoint, want 1", got)
		}
	})
}

func TestEveryAddressOfANameIsTried(t *testing.T) {
	drivers(t, func(r *rig) {
		_, one := bound(r)
		_, two := bound(r)
		good := r.serve(func(p *peer) {
			p.answer(p.request())
			p.end()
		})
		e := r.endpoint(good)
		resolved(e, one, two, good)
		x := r.get("a")
		r.send(e, x)
		x.succeeds(200, "/a ")
		if got := e.Failures(); got != 0 {
			t.Errorf("%d failures of the endpoint, want none", got)
		}

		bad := r.backend(nil, "127.0.0.1:1").Endpoints()[0]
		resolved(bad, one, two)
		y := r.get("b")
		r.send(bad, y)
		y.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
	})
}

func TestNameWithoutAddressFailsLikeARefusedConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint("127.0.0.1:1")
		resolved(e)
		told := false
		x := r.get("a")
		x.onEnd = func() { told = true }
		r.on(func() {
			r.client.Send(&x.Call, e)
			x.Pause() // whatever callers do before they hear of it
			x.Resume()
			if told {
				t.Error("the end was told before Send had returned")
			}
		})
		x.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
	})
}

func TestConnectTimesOut(t *testing.T) {
	drivers(t, func(r *rig) {
		b := r.backend(func(b *config.Backend) { b.ConnectTimeout = config.Timeout(50 * time.Millisecond) }, hole(r))
		x, y := r.get("a"), r.get("b")
		r.client.Depth = 2 // both wait for one connection
		r.send(b.Endpoints()[0], x, y)
		x.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
		y.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
	})
}

// What is sent while the connection is being made goes out when it stands.
func TestCallsWaitForTheConnection(t *testing.T) {
	drivers(t, func(r *rig) {
		r.client.Depth = 8
		e := r.endpoint(r.serve(func(p *peer) {
			p.expect("/a hello")
			p.answer("a")
			p.expect("/b ")
			p.answer("b")
			p.end()
		}))
		a := r.exchange("a", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
		a.Whole = false
		b := r.get("b")
		r.on(func() {
			r.client.Send(&a.Call, e)
			a.Pause()
			a.add("hello", true)
			r.client.Send(&b.Call, e)
			a.Resume()
		})
		a.succeeds(200, "a")
		b.succeeds(200, "b")
		if a.Reused || b.Reused {
			t.Error("a new connection was called used")
		}
	})
}

func TestNamesAreLookedUp(t *testing.T) {
	drivers(t, func(r *rig) {
		address := r.serve(func(p *peer) {
			p.answer(p.request())
			p.end()
		})
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			r.Fatal(err)
		}
		e := r.endpoint("localhost:" + port)
		if addrs := *e.addrs.Load(); len(addrs) == 0 || !addrs[0].Addr().Is4() {
			t.Errorf("addresses %v, want 127.0.0.1 first", addrs)
		}
		x := r.get("a")
		r.send(e, x)
		x.succeeds(200, "/a ")

		// A name that has no address is no reason to refuse a configuration.
		none := r.backend(nil, "no such name:80").Endpoints()[0]
		y := r.get("b")
		r.send(none, y)
		y.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
	})
}

func TestPooledConnectionIsClosedAfterItsTime(t *testing.T) {
	drivers(t, func(r *rig) {
		closed := make(chan struct{})
		address := r.serve(func(p *peer) {
			for range 2 {
				p.answer(p.request())
			}
			p.end()
			close(closed)
		})
		b := r.backend(func(b *config.Backend) { b.IdleTimeout = config.Timeout(50 * time.Millisecond) }, address)
		e := b.Endpoints()[0]
		a, again := r.get("a"), r.get("b")
		a.onEnd = func() { r.client.Send(&again.Call, e) } // at once, so that it is not idle
		r.send(e, a)
		a.succeeds(200, "/a ")
		again.succeeds(200, "/b ")
		await(t, closed, "the end of the idle connection")
		r.until("it has left the pool", func() bool { return len(r.client.pool(e).idle) == 0 })
	})
}
