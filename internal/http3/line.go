package http3

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// blockSize is what one direction of a line holds: two records of TLS, as for
// connections that goroutines move elsewhere.
const blockSize = 32 << 10

// block is bytes on their way: data[from:to].
type block struct {
	from, to int
	data     [blockSize]byte
}

func (b *block) bytes() []byte { return b.data[b.from:b.to] }

var blocks = sync.Pool{New: func() any { return new(block) }}

func newBlock() *block {
	b := blocks.Get().(*block)
	b.from, b.to = 0, 0
	return b
}

var errReset = errors.New("the stream was reset by the client")

// line is a virtual connection between a goroutine, which holds one end, and a
// loop. Methods in lower case are for goroutines, the others are the loop's
// ([loop.Carrier]).
type line struct {
	loop.Virtual
	on *loop.Loop

	mu     sync.Mutex
	moved  sync.Cond // something below has changed
	up     *block    // to the loop; nil if there is room
	down   *block    // from the loop; nil if there is nothing
	hungUp bool      // nothing comes after up
	ended  bool      // nothing comes after down
	broken bool      // reset by the client
	closed bool      // by the loop
	posted bool      // look is on its way
}

func newLine(on *loop.Loop) *line {
	l := &line{on: on}
	l.moved.L = &l.mu
	return l
}

// put hands over a block, which belongs to the line from then on, and waits until
// there is room for it.
func (l *line) put(b *block) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.up != nil && !l.closed && !l.broken && !l.hungUp {
		l.moved.Wait()
	}
	if l.closed || l.broken || l.hungUp {
		blocks.Put(b)
		return net.ErrClosed
	}
	l.up = b
	l.notify()
	return nil
}

// take waits for bytes and returns them; io.EOF after the last ones, whether or not
// they end well. They belong to the caller.
func (l *line) take() (*block, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.down == nil && !l.ended && !l.broken {
		l.moved.Wait()
	}
	switch {
	case l.broken:
		return nil, errReset
	case l.down == nil:
		return nil, io.EOF
	}
	b := l.down
	l.down = nil
	l.notify()
	return b, nil
}

// hangUp ends the line after what was put.
func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hungUp = true
	l.moved.Broadcast()
	l.notify()
}

// reset breaks the line: nothing that waits is of use any more.
func (l *line) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.hungUp {
		l.broken = true
		l.moved.Broadcast()
		l.notify()
	}
}

// notify has the loop look at the line. l.mu is held.
func (l *line) notify() {
	if !l.posted && !l.closed {
		l.posted = l.on.Post(l.look)
	}
}

// look tells the loop what the line can do.
func (l *line) look() {
	l.mu.Lock()
	l.posted = false
	broken, closed := l.broken, l.closed
	ready := l.readiness()
	l.mu.Unlock()
	switch {
	case closed:
	case broken:
		l.Fail(errReset)
	default:
		l.SetReady(ready)
	}
}

// readiness is what the loop can do. l.mu is held.
func (l *line) readiness() (r loop.Ready) {
	if l.up != nil || l.hungUp {
		r |= loop.Readable
	}
	if l.down == nil || l.down.to < blockSize {
		r |= loop.Writable
	}
	return r
}

// Recv implements loop.Carrier.
func (l *line) Recv(p []byte) (n int, err error) {
	l.mu.Lock()
	switch {
	case len(p) == 0:
	case l.broken:
		err = errReset
	case l.up != nil:
		n = copy(p, l.up.bytes())
		if l.up.from += n; l.up.from == l.up.to {
			blocks.Put(l.up)
			l.up = nil
			l.moved.Broadcast()
		}
	case l.hungUp:
		err = io.EOF
	default:
		err = loop.ErrAgain
	}
	ready := l.readiness()
	l.mu.Unlock()
	l.SetReady(ready)
	return n, err
}

// Send implements loop.Carrier.
func (l *line) Send(v [][]byte) (n int, err error) {
	l.mu.Lock()
	want := 0
	for _, p := range v {
		want += len(p)
		if len(p) > 0 && l.down == nil {
			l.down = newBlock()
		}
		if len(p) > 0 {
			m := copy(l.down.data[l.down.to:], p)
			l.down.to += m
			n += m
		}
	}
	switch {
	case l.broken:
		n, err = 0, errReset
	case n == 0 && want > 0:
		err = loop.ErrAgain
	case n > 0:
		l.moved.Broadcast()
	}
	ready := l.readiness()
	l.mu.Unlock()
	l.SetReady(ready)
	return n, err
}

// CloseWrite implements loop.Carrier.
func (l *line) CloseWrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.moved.Broadcast()
	return nil
}

// Close implements loop.Carrier. Whether what was written is a whole answer, its
// framing tells.
func (l *line) Close(abort bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.ended = true, true
	l.drop(&l.up)
	if abort {
		l.drop(&l.down)
	}
	l.moved.Broadcast()
}

// free lets go of what nobody will take.
func (l *line) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(&l.down)
}

func (l *line) drop(b **block) {
	if *b != nil {
		blocks.Put(*b)
		*b = nil
	}
}
