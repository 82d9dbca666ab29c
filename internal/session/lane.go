package session

import (
	"io"
	"net"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

// lane is a virtual connection: the HTTP/1.1 side of one stream after another.
type lane struct {
	loop.Virtual
	session *Session
	stream  *http2.Stream // nil between two exchanges
	place   int           // in session.lanes; -1 when it is closed
	rest    int           // in session.idle, or -1

	// Towards the one who holds the virtual connection.
	in       spool.Queue // text
	owed     int         // bytes of the stream's window in it
	chunked  bool        // the body comes in chunks
	skip     bool        // there is no place for a body, nor for trailers
	eof      bool        // nothing will come any more
	headOnly bool        // the request is HEAD
	opening  bool        // a WebSocket that was not answered yet
	tunnel   bool        // it was: everything is data
	early    spool.Queue // what came while it was opening
	ended    bool        // and the end behind it

	// Towards the peer.
	text     []byte // part of a head
	request  http1.Request
	response http1.Response
	body     http1.Body
	pending  spool.Queue // of the body
	trailer  []byte      // after it
	inBody   bool
	whole    bool // the message is whole, though some may wait
	sent     bool // END_STREAM was sent
	waits    bool // in session.waiting
	last     bool // no stream after this one
	broken   bool // Send fails
	listed   bool // in session.ready
	moved    time.Duration
}

// signal tells the loop what the lane can do.
func (l *lane) signal() {
	r := loop.Ready(0)
	if l.in.Len() > 0 || l.eof {
		r |= loop.Readable
	}
	if l.pending.Len() < l.session.high && !l.waits || l.broken {
		r |= loop.Writable
	}
	l.SetReady(r)
}

// Recv implements loop.Carrier.
func (l *lane) Recv(p []byte) (n int, err error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case l.in.Len() == 0 && l.Err() != nil:
		return 0, l.Err()
	case l.in.Len() == 0 && l.eof:
		return 0, io.EOF
	case l.in.Len() == 0:
		return 0, loop.ErrAgain
	}
	var slices [8][]byte
	for n < len(p) && l.in.Len() > 0 {
		step := 0
		for _, b := range l.in.Spans(slices[:0], len(slices)) {
			step += copy(p[n+step:], b)
		}
		l.in.Advance(step)
		n += step
	}
	back := min(n, l.owed)
	if l.in.Len() == 0 {
		back = l.owed
	}
	if l.owed -= back; back > 0 && l.stream != nil {
		l.session.machine.Consumed(l.stream, back)
		l.session.flushSoon()
	}
	l.signal()
	return n, nil
}

// Send implements loop.Carrier.
func (l *lane) Send(v [][]byte) (n int, err error) {
	want := 0
	for _, p := range v {
		want += len(p)
		for len(p) > 0 {
			used, err := l.take(p)
			n += used
			if err != nil && n > 0 {
				l.broken = true
				break
			}
			if err != nil {
				return 0, err
			}
			if used == 0 {
				break
			}
			p = p[used:]
		}
		if len(p) > 0 {
			break
		}
	}
	if l.stream != nil && l.hasData() {
		l.moved = l.session.options.Loop.Now()
		l.push()
	}
	l.signal()
	if n == 0 && want > 0 {
		return 0, loop.ErrAgain
	}
	return n, nil
}

// push sends what windows allow, unless others wait.
func (l *lane) push() {
	s := l.session
	for s.first == len(s.ready) && s.out.Len() < outHigh {
		if l.stream == nil || !l.emit() {
			break
		}
		if s.machine.Sendable(l.stream) == 0 {
			s.list(l)
		}
	}
	if l.stream != nil && l.hasData() && !s.machine.Blocked(l.stream) {
		s.list(l)
	}
	s.flushSoon()
}

// wait has the lane try again when another stream has ended.
func (l *lane) wait() {
	if !l.waits {
		l.waits = true
		l.session.waiting = append(l.session.waiting, l)
	}
}

// hasData says whether the lane has something for its stream.
func (l *lane) hasData() bool { return l.pending.Len() > 0 || l.whole && !l.sent }

// emit sends one frame of the body, or the trailers behind it. It returns
// whether there is more that the stream's window does not hold back.
func (l *lane) emit() bool {
	m, s := l.session.machine, l.stream
	n := min(l.pending.Len(), m.Sendable(s))
	if n == 0 && l.pending.Len() > 0 {
		return !m.Blocked(s)
	}
	end := l.whole && n == l.pending.Len()
	switch {
	case end && len(l.trailer) > 0:
		if n > 0 {
			m.SendData(s, n, false)
			l.session.out.Move(&l.pending, n)
		}
		f := m.BeginHead()
		addLines(&f, l.trailer)
		m.SendHead(s, &f, true)
	case n > 0 || end && !l.sent:
		m.SendData(s, n, end)
		l.session.out.Move(&l.pending, n)
	}
	l.moved = l.session.options.Loop.Now()
	if end {
		l.finished()
		l.signal()
		return false
	}
	l.signal()
	return l.pending.Len() > 0 && !m.Blocked(s)
}

// finished goes on when our message was sent.
func (l *lane) finished() {
	l.sent = true
	switch s := l.stream; {
	case s.RemoteEnded():
		l.next()
	case l.session.server:
		// An early answer: the rest of the request is not wanted (RFC 9113 §8.1).
		l.session.machine.Cancel(s, http2.NoError)
		l.stream = nil
		l.in.Reset()
		l.eof = true
		l.session.checkDone()
		if l.Closed() {
			l.session.forget(l)
		}
	case l.Closed():
		l.session.machine.Cancel(s, http2.Cancel)
		l.next()
	}
}

// next makes the lane ready for another exchange.
func (l *lane) next() {
	l.stream, l.owed = nil, 0
	l.whole, l.sent, l.inBody, l.headOnly = false, false, false, false
	l.opening, l.tunnel, l.ended = false, false, false
	l.trailer = l.trailer[:0]
	l.request.Reset()
	l.response.Reset()
	l.session.checkDone()
	l.session.admit()
	if l.Closed() {
		l.session.forget(l)
		return
	}
	if l.last {
		l.retire()
		return
	}
	l.session.settle(l)
}

// fail breaks the lane: its stream is gone.
func (l *lane) fail(err error) {
	l.stream = nil
	l.broken = true
	l.pending.Reset()
	l.early.Reset()
	l.Fail(err)
	l.session.checkDone()
	if l.Closed() {
		l.session.forget(l)
	}
}

// stopped goes on when a server that has answered wants no more of the request.
func (l *lane) stopped() {
	l.stream = nil
	l.broken, l.eof = true, true
	l.pending.Reset()
	l.signal()
	if l.Closed() {
		l.session.forget(l)
	}
}

// watch breaks the lane if the peer takes nothing of it.
func (l *lane) watch(now, stall time.Duration) {
	if l.stream != nil && l.pending.Len() > 0 && now-l.moved >= stall {
		l.session.machine.Cancel(l.stream, http2.Cancel)
		l.fail(errSlow)
		l.session.flushSoon()
	}
}

// CloseWrite implements loop.Carrier: of messages, only an answer until close
// ends by it. The lane takes no further stream.
func (l *lane) CloseWrite() error {
	if l.broken {
		return net.ErrClosed
	}
	l.last = true
	l.endText()
	if l.stream == nil {
		l.retire()
	}
	return nil
}

// retire ends a lane whose holder writes no more.
func (l *lane) retire() {
	if l.rest >= 0 {
		l.session.unrest(l)
	}
	l.in.Reset()
	l.eof = true
	l.signal()
}

// endText ends a body that goes on until its connection is closed.
func (l *lane) endText() {
	if l.stream != nil && l.inBody && l.body.UntilClose() && !l.whole {
		l.whole = true
		l.push()
	}
}

// Close implements loop.Carrier.
func (l *lane) Close(abort bool) {
	s := l.session
	l.in.Reset()
	l.early.Reset()
	if !abort {
		l.endText()
	}
	switch {
	case l.stream == nil:
	case s.server && l.whole && !abort:
		return // what was written is still sent
	default:
		code := http2.Cancel
		if s.server {
			code = http2.InternalError
		}
		s.machine.Cancel(l.stream, code)
		l.stream = nil
		s.checkDone()
		s.admit()
		s.flushSoon()
	}
	l.pending.Reset()
	s.forget(l)
}
