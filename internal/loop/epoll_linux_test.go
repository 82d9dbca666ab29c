package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollStage is a stage of the epoll driver, for what only it promises.
func epollStage(t *testing.T) *stage {
	t.Helper()
	return &stage{T: t, driver: Epoll, loop: running(t, Epoll)}
}

func TestEventOfAClosedSocketDoesNotReachTheNextOwnerOfItsDescriptor(t *testing.T) {
	s := epollStage(t)          // not parallel: descriptors must come back at once
	target := open(t, 1, Epoll) // the kernel connects; accepting would take descriptors
	var victim, heir *Conn
	first := make(chan Ready, 1)
	passed := false
	_, p1 := s.pair(handler(func(c *Conn, _ Ready) {
		fd := victim.transport.(*socket).fd
		s.loop.AfterPass(task(func() { passed = true }))
		c.Close()
		victim.Close()
		for range 50 { // until one has the victim's descriptor
			if heir != nil {
				break
			}
			next, err := s.loop.Dial(target.Addr(), handler(func(c *Conn, r Ready) {
				if c == heir {
					if !passed {
						t.Error("the victim's event reached the heir")
					}
					first <- r
				}
				c.Close()
			}))
			if err != nil {
				t.Error(err)
				return
			}
			if next.transport.(*socket).fd == fd {
				heir = next
			}
		}
	}))
	v, p2 := s.pair(silent(t))
	s.on(func() {
		victim = v
		// With room to write besides, its event looks like the heir's own.
		victim.WantWrite(true)
		io.WriteString(p1, "1")
		io.WriteString(p2, "2")
	})
	if r := await(t, first, "the connection"); r != Writable {
		t.Errorf("ready for %b", r)
	}
}

func TestResetIsSeenWithoutWantingToRead(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	hangup := make(chan Ready, 10)
	c, peer := s.pair(handler(func(_ *Conn, r Ready) { hangup <- r }))
	s.on(func() { c.WantRead(false) })
	s.passes()
	peer.SetLinger(0)
	peer.Close()
	if r := await(t, hangup, "the hangup"); r != Hangup {
		t.Errorf("ready for %b", r)
	}
	s.passes()
	s.on(func() {
		if len(hangup) != 0 {
			t.Error("the hangup came again although nothing is wanted")
		}
		for range 2 {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read said %v", err)
			}
		}
	})
}

func TestBytesBeforeAResetCanBeRead(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	k := newCollector()
	c, peer := s.pair(k)
	s.on(func() { // the loop sees all of it at once
		io.WriteString(peer, "final words")
		peer.SetLinger(0)
		peer.Close()
		c.SetHandler(handler(func(c *Conn, r Ready) {
			if r != Readable|Hangup {
				t.Errorf("ready for %b", r)
			}
			c.SetHandler(k)
			k.OnReady(c, Readable)
			k.OnReady(c, r)
		}))
	})
	if got := k.text(t, 11); got != "final words" {
		t.Errorf("got %q", got)
	}
	if err := await(t, k.hangup, "the hangup"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("hangup because of %v", err)
	}
}

func TestConnectionThatEndedBothWaysLetsTheLoopSleep(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	k := newCollector()
	c, peer := s.pair(k)
	s.on(func() { c.CloseWrite() })
	peer.Close()
	await(t, k.end, "the end")
	s.passes()
	s.on(func() {
		if c.Closed() || c.Err() != nil {
			t.Errorf("closed %v, %v", c.Closed(), c.Err())
		}
		if n := len(s.loop.poll.(*epoll).again); n != 0 {
			t.Errorf("%d sockets keep the loop from sleeping", n)
		}
		c.SetHandler(k)
		c.WantRead(true)
	})
	if err := await(t, k.end, "the end once more"); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestInterestThatCameAndWentIsNotServed(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	c, peer := s.pair(silent(t))
	s.on(func() { c.WantRead(false) })
	io.WriteString(peer, "unwanted")
	s.passes()
	s.on(func() {
		c.WantWrite(true)
		c.WantRead(true)
		c.WantWrite(false)
		c.WantRead(false)
		if n := len(s.loop.poll.(*epoll).again); n != 1 {
			t.Errorf("%d sockets are to be called again", n)
		}
	})
	s.passes()
	s.on(func() {
		if n := len(s.loop.poll.(*epoll).again); n != 0 {
			t.Errorf("%d sockets are to be called again", n)
		}
	})
}

// The kernel reports bytes and the end behind them as one change.
func TestEndBehindAShortReadIsSeen(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	k := newCollector()
	c, peer := s.pair(k)
	s.on(func() { // the loop sees all of it at once
		io.WriteString(peer, "all")
		peer.Close()
	})
	if got := k.text(t, 3); got != "all" {
		t.Errorf("got %q", got)
	}
	if err := await(t, k.end, "the end"); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	s.on(c.Close)
}

// What a read leaves in the socket is no change that the kernel would report.
func TestBytesThatAReadLeftAreDelivered(t *testing.T) {
	t.Parallel()
	s := epollStage(t)
	got := make(chan byte, 8)
	_, peer := s.pair(handler(func(c *Conn, _ Ready) {
		var one [1]byte
		if n, _ := c.Read(one[:]); n == 1 {
			got <- one[0]
		}
	}))
	io.WriteString(peer, "four")
	for i := range 4 {
		if b := await(t, got, "a byte"); b != "four"[i] {
			t.Errorf("byte %d is %q", i, b)
		}
	}
}

func TestAcceptedSocketsInheritTheirOptions(t *testing.T) {
	t.Parallel()
	g := open(t, 1, Epoll)
	l := running(t, Epoll)
	conns := make(chan *Conn, 1)
	g.Accept([]*Loop{l}, func(_ *Loop, c *Conn) Handler { conns <- c; return newEcho(1) })
	dial(t, g.Addr())
	c := await(t, conns, "a connection")
	on(t, l, func() {
		fd := c.transport.(*socket).fd
		for name, o := range map[string]struct{ level, option, want int }{
			"no delay":   {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			"keep alive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			"idle":       {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
		} {
			if got, err := unix.GetsockoptInt(fd, o.level, o.option); got != o.want || err != nil {
				t.Errorf("%s: %d, %v", name, got, err)
			}
		}
	})
}

// Not parallel: it takes the descriptors of the whole process.
func TestAcceptingRestsWhileDescriptorsAreShort(t *testing.T) {
	for d := range drivers {
		t.Run(string(d), func(t *testing.T) {
			g := open(t, 1, d)
			l := running(t, d)
			g.Accept([]*Loop{l}, echoes)
			exchange(t, dial(t, g.Addr()), "before")
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			nc := os.NewFile(uintptr(fd), "client")
			defer nc.Close()
			restore := exhaust(t)
			to := &unix.SockaddrInet4{Port: int(g.Addr().Port()), Addr: g.Addr().Addr().As4()}
			if err := unix.Connect(fd, to); err != nil {
				restore()
				t.Fatal(err)
			}
			for resting := d != Epoll; !resting; {
				on(t, l, func() { resting = l.poll.(*epoll).acceptors[0].rest.Armed() })
			}
			restore()
			conn, err := net.FileConn(nc)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			exchange(t, conn, "after")
		})
	}
}

// exhaust takes away all descriptors that are free, until restored.
func exhaust(t *testing.T) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	// No descriptor is free below the limit once the lowest free one is above.
	next, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}
}

// Not parallel: it counts the allocations of the whole process.
func TestPassesDoNotAllocate(t *testing.T) {
	s := epollStage(t)
	var timer Timer
	timer.Task = task(func() {})
	nothing := Task(task(func() {}))
	answered := make(chan struct{}, 1)
	var buf [100]byte
	vec := [][]byte{buf[:1], buf[1:2], buf[2:5]}
	_, peer := s.pair(handler(func(c *Conn, _ Ready) {
		n, _ := c.Read(buf[:])
		if buf[0] == 'v' {
			c.Writev(vec)
		} else {
			c.Write(buf[:n])
		}
		c.Loop().Arm(&timer, 1<<40)
		c.Loop().AfterEvent(nothing)
		c.Loop().AfterPass(nothing)
		c.WantWrite(true)
		c.WantWrite(false)
		answered <- struct{}{}
	}))
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, message := range map[string][]byte{"write": []byte("wxyz1"), "writev": []byte("vwxyz")} {
		answer := make([]byte, len(message))
		if n := testing.AllocsPerRun(500, func() {
			unix.Write(fd, message)
			<-answered // so that the loop parks in every round
			if n, _ := unix.Read(fd, answer); n != len(answer) {
				t.Errorf("%s: %d bytes", name, n)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for an exchange", name, n)
		}
	}
}

func TestConnectionsAreSmall(t *testing.T) {
	t.Parallel()
	// A socket and its place in the table of descriptors.
	if size := unsafe.Sizeof(socket{}) + 8; size > 256 {
		t.Errorf("a connection takes %d bytes of its loop", size)
	}
}
