package loop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// blockSize is what a busy direction of a pump holds: two TLS records.
	blockSize = 32 << 10

	// idleSize is the read buffer of a connection that waits: enough for a
	// request, and little for ten thousand of them.
	idleSize = 2 << 10

	// flushTime is how long a closed pump may take to send what it holds. The
	// kernel is as patient with its sockets; flushAtEnd is for the loop's end.
	flushTime  = 30 * time.Second
	flushAtEnd = time.Second
)

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// pump is a connection whose bytes goroutines move: one reads as long as the
// connection is open, one writes as long as there is something to write. Each
// direction holds a bounded number of bytes.
type pump struct {
	Conn
	nc     net.Conn           // nil until dialled; set by the dialling goroutine under mu
	cancel context.CancelFunc // ends dialling
	post   func()             // p.onLoop, bound once
	posted atomic.Bool        // post is in the loop's queue
	taken  chan struct{}      // the loop has taken all of in; holds one token
	hungUp bool               // Hangup was reported; loop only

	mu       sync.Mutex
	in       []byte // read and not yet taken; part of the reader's buffer
	readErr  error  // after in; io.EOF or why reading ended
	out      *[blockSize]byte
	outLen   int
	writeErr error
	fed      bool // the loop wants to hear that there is room
	writing  bool // the writing goroutine runs
	fin      bool // CloseWrite was called
	finSent  bool
	ending   bool // Close was called
	aborted  bool
}

func newPump(l *Loop, nc net.Conn, h Handler) *Conn {
	p := startPump(l, h)
	p.nc = nc
	p.local, p.remote = netAddrPort(nc.LocalAddr()), netAddrPort(nc.RemoteAddr())
	l.pumping.Go(p.read)
	return &p.Conn
}

func dialPump(l *Loop, addr netip.AddrPort, h Handler) *Conn {
	p := startPump(l, h)
	ctx, cancel := context.WithCancel(context.Background())
	p.remote, p.connecting, p.want, p.cancel = addr, true, Readable|Writable, cancel
	l.pumping.Go(func() { p.dial(ctx) })
	return &p.Conn
}

func startPump(l *Loop, h Handler) *pump {
	p := &pump{taken: make(chan struct{}, 1)}
	p.loop, p.transport, p.handler, p.want = l, p, h, Readable
	p.post = p.onLoop
	l.mu.Lock()
	l.pumps[p] = struct{}{}
	l.mu.Unlock()
	return p
}

// notify has the loop look at the pump; any goroutine.
func (p *pump) notify() {
	if p.posted.CompareAndSwap(false, true) {
		p.loop.Post(p.post)
	}
}

// onLoop reports what the pump is ready for, and asks for another look as long
// as that does not change.
func (p *pump) onLoop() {
	p.posted.Store(false)
	if p.over {
		return
	}
	if r := p.readiness(); r != 0 {
		p.event(r)
	}
	if !p.over && p.readiness()&^Hangup != 0 {
		p.notify()
	}
}

func (p *pump) readiness() Ready {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.connecting {
		return p.connected()
	}
	var r Ready
	if len(p.in) > 0 || p.readErr != nil {
		r |= Readable & p.want
	}
	if p.outLen <= blockSize/2 || p.writeErr != nil {
		r |= Writable & p.want
	}
	if p.err == nil {
		p.err = p.writeErr
		if p.readErr != nil && p.readErr != io.EOF {
			p.err = p.readErr
		}
	}
	if p.err != nil && (p.want != 0 || !p.hungUp) {
		p.hungUp = true
		r |= Hangup
	}
	return r
}

// connected ends connecting when the dialling goroutine is done.
func (p *pump) connected() Ready {
	if p.nc == nil && p.readErr == nil {
		return 0
	}
	p.connecting = false
	p.want &^= Writable
	if p.nc == nil {
		p.err, p.hungUp = p.readErr, true
		return Hangup
	}
	p.local = netAddrPort(p.nc.LocalAddr())
	return Writable
}

func (p *pump) update() {
	p.mu.Lock()
	p.fed = p.want&Writable != 0
	p.mu.Unlock()
	p.notify()
}

func (p *pump) recv(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(b) == 0:
		return 0, nil
	case len(p.in) > 0:
		n := copy(b, p.in)
		p.in = p.in[n:]
		if len(p.in) == 0 {
			p.proceed()
		}
		return n, nil
	case p.readErr != nil:
		return 0, p.readErr
	}
	return 0, ErrAgain
}

// proceed lets the reading goroutine go on.
func (p *pump) proceed() {
	select {
	case p.taken <- struct{}{}:
	default:
	}
}

func (p *pump) send(v [][]byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fin {
		return 0, os.NewSyscallError("write", syscall.EPIPE)
	}
	if p.writeErr != nil {
		return 0, p.writeErr
	}
	n, want := 0, 0
	for _, b := range v {
		want += len(b)
		if len(b) > 0 && p.out == nil {
			p.out = blocks.Get().(*[blockSize]byte)
		}
		if p.out != nil {
			m := copy(p.out[p.outLen:], b)
			p.outLen += m
			n += m
		}
	}
	if n == 0 && want > 0 {
		return 0, ErrAgain
	}
	p.startWriting()
	return n, nil
}

func (p *pump) startWriting() {
	if !p.writing {
		p.writing = true
		p.loop.pumping.Go(p.write)
	}
}

func (p *pump) end(how ending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch how {
	case endWrite:
		if _, ok := p.nc.(writeCloser); !ok {
			return errors.ErrUnsupported
		}
		p.fin = true
		p.startWriting()
		return nil
	case endAbort:
		p.aborted = true
	}
	p.ending, p.over = true, true
	p.in = nil
	if p.cancel != nil {
		p.cancel()
	}
	p.proceed()
	if p.nc == nil {
		p.forget()
		return nil
	}
	if how == endAbort {
		return p.reset()
	}
	_ = p.nc.SetReadDeadline(time.Unix(1, 0)) // ends the reading goroutine
	_ = p.nc.SetWriteDeadline(time.Now().Add(flushTime))
	p.startWriting()
	return nil
}

// writeCloser is a net.Conn that can end one direction.
type writeCloser interface{ CloseWrite() error }

// reset closes the TCP connection below, whatever is above it: TLS would wait to
// say goodbye.
func (p *pump) reset() error {
	nc := p.nc
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	p.forget()
	return nc.Close()
}

// hurry cuts the time that a closed pump has left.
func (p *pump) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nc != nil {
		_ = p.nc.SetWriteDeadline(time.Now().Add(flushAtEnd))
	}
}

func (p *pump) forget() {
	p.loop.mu.Lock()
	delete(p.loop.pumps, p)
	p.loop.mu.Unlock()
}

// dial connects and then reads.
func (p *pump) dial(ctx context.Context) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", p.remote.String())
	p.mu.Lock()
	p.readErr = err
	if err == nil && p.ending {
		nc.Close()
		err = net.ErrClosed
	}
	if err == nil {
		p.nc = nc
	}
	p.mu.Unlock()
	p.notify()
	if err == nil {
		p.read()
	}
}

// read is the reading goroutine.
func (p *pump) read() {
	idle := make([]byte, idleSize)
	buf := idle
	var block *[blockSize]byte
	for {
		n, err := p.nc.Read(buf)
		p.mu.Lock()
		if p.ending {
			p.mu.Unlock()
			break
		}
		p.in, p.readErr = buf[:n], err
		p.mu.Unlock()
		if n > 0 || err != nil {
			p.notify()
		}
		if err != nil {
			return // the loop still reads from buf
		}
		if n > 0 {
			<-p.taken
		}
		switch {
		case n == len(idle) && block == nil:
			block = blocks.Get().(*[blockSize]byte)
			buf = block[:]
		case n < len(idle) && block != nil:
			blocks.Put(block)
			block, buf = nil, idle
		}
	}
	if block != nil {
		blocks.Put(block)
	}
}

// write is the writing goroutine. It ends when there is nothing left to do, and
// with it the connection if that was closed.
func (p *pump) write() {
	for {
		p.mu.Lock()
		block, n, err := p.out, p.outLen, p.writeErr
		p.out, p.outLen = nil, 0
		fin := p.fin && !p.finSent && n == 0
		p.finSent = p.finSent || fin
		ending, aborted := p.ending, p.aborted
		p.writing = n > 0 || fin || ending
		writing := p.writing
		p.mu.Unlock()
		switch {
		case aborted || !writing:
			return
		case n > 0 && err == nil:
			_, err = p.nc.Write(block[:n])
			blocks.Put(block)
		case fin && err == nil:
			err = p.nc.(writeCloser).CloseWrite()
		case ending:
			p.forget()
			_ = p.nc.Close()
			return
		}
		p.mu.Lock()
		p.writeErr = err
		tell := p.fed || err != nil
		p.mu.Unlock()
		if tell {
			p.notify()
		}
	}
}
