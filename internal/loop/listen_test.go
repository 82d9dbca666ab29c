package loop

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dial connects a client that the test closes.
func dial(t testing.TB, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patienceOfTests))
	return nc.(*net.TCPConn)
}

// refused says why nobody can connect.
func refused(addr netip.AddrPort) error {
	nc, err := net.Dial("tcp", addr.String())
	if err == nil {
		nc.Close()
	}
	return err
}

// open listens on a free port of loopback until the test ends.
func open(t testing.TB, n int, d Driver) *Group {
	t.Helper()
	g, err := Open("127.0.0.1:0", n, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// echoes is an accept function.
func echoes(*Loop, *Conn) Handler { return newEcho(4096) }

func TestAcceptedConnectionsKnowTheirAddresses(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
			for _, host := range []string{"127.0.0.1", "::1"} {
				g, err := Open(listen, 2, d)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { g.Close() })
				bound := g.Addr().Addr()
				if !bound.IsUnspecified() && bound.String() != host {
					continue
				}
				conns := make(chan *Conn, 1)
				l := running(t, d)
				g.Accept([]*Loop{l}, func(_ *Loop, c *Conn) Handler { conns <- c; return newEcho(10) })
				peer := dial(t, netip.AddrPortFrom(netip.MustParseAddr(host), g.Addr().Port()))
				c := await(t, conns, "a connection")
				on(t, l, func() {
					if c.Local() != netAddrPort(peer.RemoteAddr()) || c.Remote() != netAddrPort(peer.LocalAddr()) {
						t.Errorf("listening on %s: local %v, remote %v; the peer says %v, %v", listen,
							c.Local(), c.Remote(), peer.RemoteAddr(), peer.LocalAddr())
					}
					if c.Loop() != l {
						t.Error("the connection belongs to another loop")
					}
				})
			}
		}
	})
}

func TestConnectionsWithoutHandlerAreClosed(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		g := open(t, 1, d)
		g.Accept([]*Loop{running(t, d)}, func(*Loop, *Conn) Handler { return nil })
		if n, err := dial(t, g.Addr()).Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
	})
}

func TestConnectionClosedWhileAcceptedIsLeftAlone(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		g := open(t, 1, d)
		l := running(t, d)
		g.Accept([]*Loop{l}, func(_ *Loop, c *Conn) Handler { c.Close(); return silent(t) })
		nc := dial(t, g.Addr())
		if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		on(t, l, func() {
			if n := l.accepted.Load(); n != 0 {
				t.Errorf("%d connections are counted", n)
			}
		})
	})
}

func TestConnectionsAreSpreadEvenly(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		loops := []*Loop{running(t, d), running(t, d), running(t, d)}
		g := open(t, len(loops), d)
		g.Accept(loops, echoes)
		for range 90 {
			exchange(t, dial(t, g.Addr()), "hello")
		}
		for i, l := range loops {
			// 2 + 1/8 more than another loop may have, twice over.
			if n := l.accepted.Load(); n < 24 || n > 36 {
				t.Errorf("loop %d has %d connections of 90", i, n)
			}
		}
	})
}

func TestLoopsWithoutAQueueOfTheirOwnGetConnections(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		for _, n := range []struct{ queues, loops int }{{1, 3}, {2, 3}, {3, 2}, {3, 1}} {
			g := open(t, n.queues, d)
			var loops []*Loop
			for range n.loops {
				loops = append(loops, running(t, d))
			}
			g.Accept(loops, echoes)
			for range 30 {
				exchange(t, dial(t, g.Addr()), "hello")
			}
			for i, l := range loops {
				if l.accepted.Load() == 0 {
					t.Errorf("%v: loop %d has no connections", n, i)
				}
			}
		}
	})
}

func TestGroupOfTheGoDriverServesAnyLoop(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		g := open(t, 1, Go)
		g.Accept([]*Loop{running(t, d)}, echoes)
		exchange(t, dial(t, g.Addr()), "hello")
	})
}

func TestPausedGroupLeavesConnectionsInTheQueue(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		loops := []*Loop{running(t, d), running(t, d)}
		var accepted atomic.Int64
		g := open(t, 2, d)
		g.Accept(loops, func(*Loop, *Conn) Handler { accepted.Add(1); return newEcho(100) })
		exchange(t, dial(t, g.Addr()), "before")
		g.Pause()
		g.Pause()
		var waiting []*net.TCPConn
		for range 10 {
			nc := dial(t, g.Addr())
			io.WriteString(nc, "during")
			waiting = append(waiting, nc)
		}
		for _, l := range loops {
			on(t, l, func() {})
		}
		if n := accepted.Load(); n != 1 {
			t.Errorf("%d connections accepted", n)
		}
		g.Resume()
		g.Resume()
		for _, nc := range waiting {
			var got [6]byte
			if _, err := io.ReadFull(nc, got[:]); err != nil || string(got[:]) != "during" {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func TestClosedGroupRefuses(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		g := open(t, 2, d)
		g.Accept([]*Loop{running(t, d)}, echoes)
		nc := dial(t, g.Addr())
		exchange(t, nc, "before")
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if refused(g.Addr()) == nil {
			t.Error("connected")
		}
		exchange(t, nc, "established connections go on")
		g.Resume()
		if refused(g.Addr()) == nil {
			t.Error("connected")
		}
		if _, err := g.Files(); err == nil {
			t.Error("files of a closed group")
		}
	})
}

func TestListeningSocketsOutliveOneOfTheirLoops(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		stays := running(t, d)
		goes, ended := start(t, d)
		g := open(t, 2, d)
		g.Accept([]*Loop{stays, goes}, echoes)
		goes.Stop()
		await(t, ended, "the loop to end")
		if n := alive(g); n != 1 {
			t.Fatalf("%d sockets are open", n)
		}
		for range 20 {
			exchange(t, dial(t, g.Addr()), "hello")
		}
	})
}

// alive counts the open sockets of a group.
func alive(g *Group) (n int) {
	for _, q := range g.queues {
		if f, err := q.file(); err == nil {
			n++
			f.Close()
		}
	}
	return n
}

// clients connect and exchange a message over and over until stopped, and
// report how often that worked and the first failure.
type clients struct {
	stop    chan struct{}
	beat    chan struct{} // holds one token, given for every exchange
	working sync.WaitGroup
	done    atomic.Int64
	failed  atomic.Int64
	first   atomic.Value
}

func startClients(addr netip.AddrPort, n int) *clients {
	cs := &clients{stop: make(chan struct{}), beat: make(chan struct{}, 1)}
	for range n {
		cs.working.Go(func() {
			for {
				select {
				case <-cs.stop:
					return
				default:
				}
				if err := once(addr); err != nil {
					cs.failed.Add(1)
					cs.first.CompareAndSwap(nil, err)
				}
				cs.done.Add(1)
				select {
				case cs.beat <- struct{}{}:
				default:
				}
			}
		})
	}
	return cs
}

// once is one connection with one exchange.
func once(addr netip.AddrPort) error {
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patienceOfTests))
	if _, err := nc.Write([]byte("hello")); err != nil {
		return err
	}
	var got [5]byte
	if _, err := io.ReadFull(nc, got[:]); err != nil {
		return err
	}
	if string(got[:]) != "hello" {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

func TestTakeoverLosesNoConnection(t *testing.T) {
	t.Parallel()
	for from := range drivers {
		for to := range drivers {
			for _, n := range [][2]int{{2, 2}, {2, 1}, {1, 2}} {
				t.Run(fmt.Sprintf("%s %d to %s %d", from, n[0], to, n[1]), func(t *testing.T) {
					t.Parallel()
					old, err := Open("127.0.0.1:0", n[0], from)
					if err != nil {
						t.Fatal(err)
					}
					old.Accept(several(t, n[0], from), echoes)
					takeOver(t, old, n[1], to)
				})
			}
		}
	}
}

// several is n loops.
func several(t testing.TB, n int, d Driver) (loops []*Loop) {
	t.Helper()
	for range n {
		loops = append(loops, running(t, d))
	}
	return loops
}

// takeOver hands the sockets of old over to a new group while clients connect.
func takeOver(t *testing.T, old *Group, n int, d Driver) {
	t.Helper()
	cs := startClients(old.Addr(), 3)
	defer func() {
		close(cs.stop)
		cs.working.Wait()
		if n := cs.failed.Load(); n > 0 {
			t.Errorf("%d of %d exchanges failed: %v", n, cs.done.Load(), cs.first.Load())
		}
	}()
	for cs.done.Load() < 50 {
		await(t, cs.beat, "exchanges with the old group")
	}
	files, err := old.Files()
	if err != nil {
		t.Fatal(err)
	}
	successor, err := FromFiles(files, n, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { successor.Close() })
	closeFiles(files)
	if successor.Addr() != old.Addr() {
		t.Errorf("the new group listens on %v", successor.Addr())
	}
	var served atomic.Int64
	successor.Accept(several(t, n, d), func(*Loop, *Conn) Handler {
		served.Add(1)
		return newEcho(100)
	})
	old.Pause()
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	for served.Load() < 50 {
		await(t, cs.beat, "exchanges with the new group")
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func TestOnlyListeningSocketsCanBeAdopted(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		if _, err := FromFiles(nil, 1, d); err == nil {
			t.Error("adopted nothing")
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer closeFiles([]*os.File{r, w})
		good, err := open(t, 1, d).Files()
		if err != nil {
			t.Fatal(err)
		}
		defer closeFiles(good)
		for _, files := range [][]*os.File{{r}, {r, good[0]}, {good[0], r}} {
			if g, err := FromFiles(files, 1, d); err == nil {
				g.Close()
				t.Error("adopted a pipe")
			}
		}
	})
}

func TestAddressesThatCannotBeListenedOn(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		for _, address := range []string{ln.Addr().String(), "127.0.0.1", "127.0.0.1:http:x", "192.0.2.1:0"} {
			if g, err := Open(address, 2, d); err == nil {
				g.Close()
				t.Errorf("listening on %s", address)
			}
		}
	})
}
