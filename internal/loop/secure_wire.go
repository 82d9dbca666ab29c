package loop

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
)

// maxFed is how many bytes a handshake may leave unread: more than the longest
// message of one, which crypto/tls bounds to 64 KiB.
const maxFed = 128 << 10

// wire is what crypto/tls takes for its network connection. During the
// handshake, on a goroutine, it blocks like one; afterwards, on the loop, it
// reads what is there and collects what is written.
type wire struct {
	layer *layer
	cut   bool   // the bytes have ended
	dry   bool   // nothing is left below: there will be another event before there is
	whole []byte // the buffer that layer.out is a part of

	mu      sync.Mutex
	more    sync.Cond // of in and err
	shaking bool
	in      []byte // read and not taken by TLS
	out     []byte // of the handshake
	err     error  // after in
	posted  bool   // take is in the loop's queue
}

// blockError is what a read finds that would have to wait. crypto/tls lets such a
// read be tried again, because it says that it is temporary.
type blockError struct{}

func (blockError) Error() string   { return "nothing can be read at present" }
func (blockError) Timeout() bool   { return true }
func (blockError) Temporary() bool { return true }

var wouldBlock error = blockError{}

// arithmetic lets as many handshakes compute at once as leaves the loops room.
// Those that wait for their peer do not count.
var arithmetic = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

func (w *wire) init(s *layer, first []byte) {
	w.layer, w.shaking = s, true
	w.more.L = &w.mu
	w.in = append(w.in, first...)
}

// shake starts the goroutine of the handshake.
func (w *wire) shake() {
	s := w.layer
	l := s.conn.loop
	l.pumping.Go(func() {
		arithmetic <- struct{}{}
		err := s.tls.Handshake()
		<-arithmetic
		w.mu.Lock()
		w.shaking = false
		w.mu.Unlock()
		l.Post(func() { s.shaken(err) })
	})
}

// feed reads from below for the handshake.
func (w *wire) feed(below transport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var buf [4 << 10]byte
	for len(w.in) < maxFed && w.err == nil {
		n, err := below.recv(buf[:])
		w.in = append(w.in, buf[:n]...)
		if errors.Is(err, ErrAgain) {
			break
		}
		w.err = err
		if n < len(buf) && err == nil {
			break
		}
	}
	w.more.Broadcast()
}

// hungry says whether feed would take more.
func (w *wire) hungry() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.in) < maxFed && w.err == nil
}

// fail ends a handshake.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shaking {
		w.err = err
		w.more.Broadcast()
	}
}

// take moves what the handshake has written to the layer.
func (w *wire) take() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = false
	w.collect(w.out)
	w.out = w.out[:0]
}

// collect puts b behind what the layer has to send.
func (w *wire) collect(b []byte) {
	s := w.layer
	if len(b) == 0 {
		return
	}
	if s.out == nil {
		w.whole, s.conn.loop.sealed = s.conn.loop.sealed[:0], nil
	} else if len(s.out) < len(w.whole) {
		w.whole = w.whole[:copy(w.whole, s.out)]
	}
	w.whole = append(w.whole, b...)
	s.out = w.whole
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	s := w.layer
	if s.done == nil {
		return w.readNow(p)
	}
	return w.readWaiting(p)
}

func (w *wire) readWaiting(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.in) == 0 && w.err == nil {
		<-arithmetic
		w.more.Wait()
		w.mu.Unlock()
		arithmetic <- struct{}{}
		w.mu.Lock()
	}
	if len(w.in) == 0 {
		return 0, w.err
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	if len(w.in) == 0 {
		w.in = nil
	}
	return n, nil
}

func (w *wire) readNow(p []byte) (int, error) {
	if len(w.in) > 0 {
		n := copy(p, w.in)
		if w.in = w.in[n:]; len(w.in) == 0 {
			w.in = nil
		}
		return n, nil
	}
	err := w.err
	n := 0
	switch {
	case err != nil:
	case w.dry:
		return 0, wouldBlock
	default:
		n, err = w.layer.below.recv(p)
		w.dry = n < len(p) && err == nil
	}
	if errors.Is(err, ErrAgain) {
		err = wouldBlock
	}
	if err == io.EOF {
		w.cut = true
	}
	return n, err
}

// Write implements net.Conn: it takes everything.
func (w *wire) Write(p []byte) (int, error) {
	s := w.layer
	w.mu.Lock()
	shaking := w.shaking
	if shaking {
		if w.err != nil && w.err != io.EOF {
			w.mu.Unlock()
			return 0, w.err
		}
		w.out = append(w.out, p...)
		post := !w.posted
		w.posted = true
		w.mu.Unlock()
		if post {
			s.conn.loop.Post(s.handOut)
		}
		return len(p), nil
	}
	w.mu.Unlock()
	w.collect(p)
	return len(p), nil
}

// Close implements net.Conn. The layer closes what is below.
func (w *wire) Close() error { return nil }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(w.layer.conn.local) }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(w.layer.conn.remote) }

// SetDeadline implements net.Conn. The layer has timers of its own.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
