package loop

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patienceOfTests only turns a hang into a failure that says where.
const patienceOfTests = 30 * time.Second

// stage is a running loop on which connections are made in one of the ways.
type stage struct {
	*testing.T
	driver   Driver
	attached bool // connections are pumped, whatever the driver
	loop     *Loop
}

// stages runs a test in every way that connections can be made on this system.
func stages(t *testing.T, test func(s *stage)) {
	t.Helper()
	t.Parallel()
	for d := range drivers {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(&stage{T: t, driver: d, loop: running(t, d)})
		})
	}
	t.Run("attached", func(t *testing.T) {
		t.Parallel()
		test(&stage{T: t, driver: DefaultDriver(), attached: true, loop: running(t, DefaultDriver())})
	})
}

// eachDriver runs a test for every driver of this system, on loops of its own.
func eachDriver(t *testing.T, test func(t *stage)) {
	t.Helper()
	t.Parallel()
	for d := range drivers {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(&stage{T: t, driver: d})
		})
	}
}

// start runs a loop until it is stopped; the channel says that it has ended.
func start(t testing.TB, d Driver) (*Loop, <-chan struct{}) {
	t.Helper()
	l, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run()
	}()
	return l, ended
}

// running is a loop that runs until the test ends.
func running(t testing.TB, d Driver) *Loop {
	t.Helper()
	l, ended := start(t, d)
	t.Cleanup(func() {
		l.Stop()
		await(t, ended, "the loop to end")
	})
	return l
}

// await receives from c, or fails naming what never came.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patienceOfTests):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// on runs f on the loop and waits for it.
func on(t testing.TB, l *Loop, f func()) {
	t.Helper()
	if !l.Call(f) {
		t.Fatal("the loop has ended")
	}
}

func (s *stage) on(f func()) { s.Helper(); on(s, s.loop, f) }

// passes lets the loop go round a few times.
func (s *stage) passes() {
	for range 3 {
		s.on(func() {})
	}
}

// handler makes a Handler of a function.
type handler func(c *Conn, r Ready)

func (h handler) OnReady(c *Conn, r Ready) { h(c, r) }

// pair is a connection of the loop and its peer.
func (s *stage) pair(h Handler) (*Conn, *net.TCPConn) {
	s.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer ln.Close()
	var c *Conn
	if s.attached {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			s.Fatal(err)
		}
		s.on(func() { c = s.loop.Attach(nc, h) })
	} else {
		up := make(chan struct{})
		s.on(func() {
			c, err = s.loop.Dial(netAddrPort(ln.Addr()), handler(func(c *Conn, r Ready) {
				if r == Writable {
					c.SetHandler(h)
				}
				close(up)
			}))
		})
		if err != nil {
			s.Fatal(err)
		}
		defer await(s, up, "the connection to be made")
	}
	peer, err := ln.Accept()
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		s.loop.Call(c.Close) // its handler need not hear of the peer's end
		peer.Close()
	})
	if err := peer.SetDeadline(time.Now().Add(patienceOfTests)); err != nil {
		s.Fatal(err)
	}
	return c, peer.(*net.TCPConn)
}

// settled waits until what a peer has sent can be seen by c's loop. On loopback
// the kernel sees to it in the peer's call; a pump needs its goroutine.
func settled(c *Conn) {
	if p, ok := c.transport.(*pump); ok {
		for !p.posted.Load() {
			runtime.Gosched()
		}
	}
}

// collector reads all that comes and tells what it saw. It reads no more after
// the end.
type collector struct {
	chunks chan string
	end    chan error
	hangup chan error
}

func newCollector() *collector {
	return &collector{make(chan string, 1000), make(chan error, 1), make(chan error, 1)}
}

func (k *collector) OnReady(c *Conn, r Ready) {
	if r&Readable != 0 {
		var buf [1000]byte
		n, err := c.Read(buf[:])
		switch {
		case n > 0:
			k.chunks <- string(buf[:n])
		case err != ErrAgain:
			k.end <- err
			c.WantRead(false)
		}
	}
	if r&Hangup != 0 {
		k.hangup <- c.Err()
		c.Close()
	}
}

// text collects n bytes.
func (k *collector) text(t testing.TB, n int) string {
	t.Helper()
	s := ""
	for len(s) < n {
		s += await(t, k.chunks, "bytes")
	}
	return s
}

// silent is a handler that must not be called.
func silent(t testing.TB) Handler {
	t.Helper()
	return handler(func(_ *Conn, r Ready) { t.Errorf("handler called with %b", r) })
}

// echo sends back what it gets, at the pace at which the peer takes it, and
// closes when the peer has ended.
type echo struct {
	buf     []byte
	pending []byte
}

func newEcho(size int) *echo { return &echo{buf: make([]byte, size)} }

func (e *echo) OnReady(c *Conn, r Ready) {
	if r&Readable != 0 {
		n, err := c.Read(e.buf)
		if err != nil && err != ErrAgain {
			c.Close()
			return
		}
		e.pending = e.buf[:n]
	}
	n, err := c.Write(e.pending)
	if err != nil && err != ErrAgain {
		c.Close()
		return
	}
	e.pending = e.pending[n:]
	c.WantRead(len(e.pending) == 0)
	c.WantWrite(len(e.pending) > 0)
}

// exchange sends a message to an echo and checks what comes back.
func exchange(t testing.TB, nc net.Conn, message string) {
	t.Helper()
	if _, err := io.WriteString(nc, message); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != message {
		t.Fatalf("sent %q, got %q, %v", message, got, err)
	}
}
