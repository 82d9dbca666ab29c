package loop

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// ErrAgain is returned by reads and writes that would have to wait.
var ErrAgain = errors.New("nothing can be read or written at present")

// Ready says what a connection can do.
type Ready uint8

const (
	// Readable: a read returns bytes, io.EOF or the connection's error; or
	// ErrAgain, if the one before filled its buffer with the last byte, or if a
	// part of a TLS record came.
	Readable Ready = 1 << iota
	// Writable: a write takes bytes.
	Writable
	// Hangup: the connection was reset or could not be made; [Conn.Err] says
	// why. Bytes that came before may still be read. A peer that only ended its
	// own direction (FIN) makes the connection Readable instead.
	Hangup
)

// Handler is called when a connection is ready. Readiness is a level, not an
// edge: as long as bytes wait and the connection wants them, it is called again
// in every pass.
type Handler interface {
	// OnReady is called on the loop's goroutine, at most once per pass for one
	// connection, with at least one bit that the connection wants or Hangup.
	OnReady(c *Conn, r Ready)
}

// Conn is a TCP connection, or a pumped net.Conn, of one loop. All methods
// belong to the loop's goroutine. A Conn is never reused: a closed one stays
// closed for whoever still holds it.
type Conn struct {
	loop          *Loop
	handler       Handler
	transport     transport
	layer         *layer // the transport, if that is TLS
	err           error
	local, remote netip.AddrPort
	want          Ready
	connecting    bool
	closed        bool
	over          bool // the transport has ended; what is closed may still be sending
	accepted      bool // counted in loop.accepted
}

// transport moves the bytes of a Conn.
type transport interface {
	// recv and send are Read and Writev of an open, connected Conn.
	recv(p []byte) (int, error)
	send(v [][]byte) (int, error)
	// update tells that Conn.want has changed.
	update()
	// end ends the connection in one of three ways.
	end(how ending) error
}

type ending int

const (
	endWrite ending = iota // FIN; reading goes on
	endClose
	endAbort // RST
)

// Loop is the loop that the connection belongs to.
func (c *Conn) Loop() *Loop { return c.loop }

// Read reads what is there: (0, ErrAgain) when nothing is, (0, io.EOF) when the
// peer has ended its direction. After n < len(p) there is nothing left for now,
// and no reason to try before the next Readable.
func (c *Conn) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.connecting {
		return 0, ErrAgain
	}
	return c.transport.recv(p)
}

// Write writes what it can without waiting: n < len(p) with a nil error, or
// (0, ErrAgain). The rest is for when the connection is Writable, which
// WantWrite(true) asks for.
func (c *Conn) Write(p []byte) (int, error) {
	v := &c.loop.single
	v[0] = p
	n, err := c.Writev(v[:])
	v[0] = nil
	return n, err
}

// Writev is Write of several slices by one system call, which takes up to 64 of
// them. It neither keeps nor changes v.
func (c *Conn) Writev(v [][]byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.connecting {
		return 0, ErrAgain
	}
	return c.transport.send(v)
}

// WantRead says whether the handler is to hear that the connection is readable;
// on by default. Off also hides the end of the peer's direction, but not a reset;
// a pumped connection, though, learns of a reset only by reading or writing, and
// reads ahead no more than it has room for.
func (c *Conn) WantRead(on bool) { c.setWant(Readable, on) }

// WantWrite says whether the handler is to hear that the connection is writable;
// off by default, except until a dialled connection is connected.
func (c *Conn) WantWrite(on bool) { c.setWant(Writable, on) }

func (c *Conn) setWant(r Ready, on bool) {
	held := &c.want
	if c.layer != nil {
		held = &c.layer.want
	}
	want := *held &^ r
	if on {
		want |= r
	}
	if want == *held || c.closed {
		return
	}
	*held = want
	c.transport.update()
}

// CloseWrite ends this side's direction (FIN); reading goes on.
func (c *Conn) CloseWrite() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.connecting {
		return syscall.ENOTCONN
	}
	return c.transport.end(endWrite)
}

// Close closes the connection; what was written is still sent. When it returns,
// the handler will not be called again, not even for readiness already seen.
// With bytes unread the peer may see a reset. Closing twice does nothing. A pumped
// connection gives up sending after half a minute, or a second when its loop ends.
func (c *Conn) Close() { c.finish(endClose) }

// Abort closes the connection with a reset, dropping what was not sent.
func (c *Conn) Abort() { c.finish(endAbort) }

func (c *Conn) finish(how ending) {
	if c.closed {
		return
	}
	c.closed = true
	if c.accepted {
		c.loop.accepted.Add(-1)
	}
	_ = c.transport.end(how) // nobody is left who could act on it
	c.handler = nil
}

// Closed says whether Close or Abort was called.
func (c *Conn) Closed() bool { return c.closed }

// SetHandler changes who is called, from the next event on.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Local is this side's address; the zero AddrPort before a dialled connection
// is connected, and for a pumped connection that is not TCP.
func (c *Conn) Local() netip.AddrPort { return c.local }

// Remote is the peer's address; the zero AddrPort for a pumped connection that
// is not TCP.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Connecting says whether the connection was dialled and is not yet connected.
func (c *Conn) Connecting() bool { return c.connecting }

// Err is why the connection hung up, nil if it has not.
func (c *Conn) Err() error { return c.err }

// event calls the handler and what follows an event.
func (c *Conn) event(r Ready) {
	c.loop.wake()
	if c.layer != nil {
		c.layer.ready(r)
	} else {
		c.handler.OnReady(c, r)
	}
	c.loop.finishEvent()
}
