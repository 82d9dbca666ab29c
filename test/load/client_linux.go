package load

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clientState is where a connection stands. From connectingBusy on it holds a
// request.
type clientState uint8

const (
	closed         clientState = iota
	connecting                 // ahead of the first request
	open                       // idle
	connectingBusy             // with a request that waits for it
	sending                    // some of the request is not written yet
	receiving
)

// pieceBytes is how much of an unpaced body is written at once.
const pieceBytes = 256 << 10

// client is one connection of a generator and the request on it.
type client struct {
	g       *generator
	index   int32
	life    int32 // grows with every socket opened and closed
	fd      int   // -1 without a socket
	state   clientState
	watched uint32

	id    uint64
	due   time.Duration // latency counts from here
	began time.Duration // the timeout counts from here

	out      []byte // piece of the request that is being written
	scratch  []byte // out's memory, where that is not the pattern
	produced int64  // bytes of the body put into out so far
	headDone bool   // the head has been put into out
	last     bool   // out holds the end of the request
	paused   bool   // until resume
	rested   bool   // the pause before the next piece is over
	started  bool   // a byte has been written

	in     []byte // unfinished head of the answer
	answer answer
}

// answer is what has been seen of an answer.
type answer struct {
	head   head
	body   body
	inBody bool
	bytes  int64
	wrong  bool
}

// connect opens a socket; the connection is there when it becomes writable.
func (c *client) connect(next clientState) error {
	fd, err := newSocket(c.g.family)
	if err != nil {
		return err
	}
	if err = unix.Connect(fd, c.g.sa); err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return err
	}
	c.life++
	c.fd, c.watched, c.state = fd, unix.EPOLLOUT, next
	return c.g.poll.watch(unix.EPOLL_CTL_ADD, fd, c.watched, token{c.index, c.life})
}

// close leaves the client without a socket and without a request.
func (c *client) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
		c.fd = -1
	}
	c.life++
	c.state = closed
}

// begin takes a request that fell due at due.
func (c *client) begin(due time.Duration) {
	g := c.g
	c.id = g.base + g.result.Requests*uint64(g.plan.Loops) + g.index
	g.result.Requests++
	g.busy++
	c.due, c.began = due, g.now()
	c.out, c.produced = nil, 0
	c.headDone, c.last, c.paused, c.rested, c.started = false, false, false, false, false
	c.in, c.answer = c.in[:0], answer{}
	if c.state == open {
		c.state = sending
		c.write()
		return
	}
	if err := c.connect(connectingBusy); err != nil {
		c.fail(ErrConnect)
	}
}

func (c *client) onReady(events uint32) {
	switch c.state {
	case connecting, connectingBusy:
		c.connected()
	case open:
		c.idleEvent()
	case sending, receiving:
		if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.read()
		}
		if c.state == sending && events&unix.EPOLLOUT != 0 {
			c.write()
		}
	}
}

// idleEvent: the other side closed an idle connection, which is its right, or
// sent something that nobody asked for, which is not.
func (c *client) idleEvent() {
	var b [1]byte
	n, err := unix.Read(c.fd, b[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if n > 0 {
		c.g.result.Stray++
	}
	c.close()
}

func (c *client) connected() {
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	failed := err != nil || errno != 0
	switch {
	case failed && c.state == connecting:
		c.close()
	case failed:
		c.fail(ErrConnect)
	case c.state == connecting:
		c.state = open
		c.watch(unix.EPOLLIN)
	default:
		c.state = sending
		c.write()
	}
}

func (c *client) watch(events uint32) {
	if events != c.watched {
		c.watched = events
		_ = c.g.poll.watch(unix.EPOLL_CTL_MOD, c.fd, events, token{c.index, c.life})
	}
}

// write sends as much of the request as the socket and the plan's pace allow.
func (c *client) write() {
	r := c.g.result
	for len(c.out) > 0 || c.produce() {
		n, err := unix.Write(c.fd, c.out)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			c.watch(unix.EPOLLIN | unix.EPOLLOUT)
			return
		case err != nil:
			// Whoever refuses a long upload answers and closes: that
			// answer may be there to be read.
			c.out, c.last, c.paused = nil, true, false
			c.state = receiving
			c.watch(unix.EPOLLIN)
			c.read()
			return
		}
		if !c.started {
			c.started = true
			if c.g.idAt >= 0 {
				r.Sent.Add(c.id)
			}
		}
		r.BytesSent += uint64(n)
		c.out = c.out[n:]
	}
	if c.last {
		c.state = receiving
	}
	c.watch(unix.EPOLLIN)
}

// produce puts the next piece of the request into out; false if there is none,
// or none before the pause is over.
func (c *client) produce() bool {
	p := c.g.plan
	if c.last || c.paused {
		return false
	}
	if c.headDone && p.Pace > 0 && !c.rested {
		c.paused = true
		c.g.after(p.Pace, c)
		return false
	}
	c.rested = false
	n := min(p.BodyBytes-c.produced, pieceBytes)
	if p.Pace > 0 {
		n = min(n, int64(p.ChunkBytes))
	}
	if c.headDone && !p.Chunked {
		c.out = patternAt(c.produced, int(n))
		c.produced += int64(len(c.out))
		c.last = c.produced == p.BodyBytes
		return true
	}
	c.scratch = c.scratch[:0]
	if !c.headDone {
		c.headDone = true
		c.scratch = append(c.scratch, c.g.head...)
		if c.g.idAt >= 0 {
			putID(c.scratch[c.g.idAt:], c.id)
		}
	}
	for n > 0 {
		n -= c.appendBody(int(n))
	}
	if c.last = c.produced == p.BodyBytes; c.last && p.Chunked {
		c.scratch = append(c.scratch, "0\r\n\r\n"...)
	}
	c.out = c.scratch
	return true
}

// appendBody puts up to n bytes of the body, or one chunk, into scratch.
func (c *client) appendBody(n int) int64 {
	p := c.g.plan
	if p.Chunked {
		n = min(n, p.ChunkBytes)
	}
	content := patternAt(c.produced, n)
	if p.Chunked {
		c.scratch = strconv.AppendInt(c.scratch, int64(len(content)), 16)
		c.scratch = append(c.scratch, "\r\n"...)
	}
	c.scratch = append(c.scratch, content...)
	if p.Chunked {
		c.scratch = append(c.scratch, "\r\n"...)
	}
	c.produced += int64(len(content))
	return int64(len(content))
}

// resume goes on after a pause: with the body, or with dialling.
func (c *client) resume() {
	switch {
	case c.state == sending && c.paused:
		c.paused, c.rested = false, true
		c.write()
	case c.state == closed:
		c.g.idle.push(c)
	}
}

func (c *client) read() {
	n, err := unix.Read(c.fd, c.g.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.fail(ErrReset)
		return
	case n == 0 && c.answer.inBody && c.answer.body.framing == byClose:
		c.answer.head.close = true
		c.finish()
		return
	case n == 0:
		c.fail(ErrEOF)
		return
	}
	c.g.result.BytesReceived += uint64(n)
	c.feed(c.g.buf[:n])
}

// feed takes bytes of the answer; heads of interim answers are passed over.
func (c *client) feed(p []byte) {
	a := &c.answer
	for !a.inBody {
		if len(c.in) > 0 {
			c.in = append(c.in, p...)
			p = c.in
		}
		h, n, err := parseHead(p)
		if err != nil || n > 0 && (h.status < 100 || h.status == 101) {
			c.fail(ErrBadAnswer)
			return
		}
		if n == 0 {
			c.in = append(c.in[:0], p...)
			return
		}
		p = p[n:]
		if h.status >= 200 {
			a.head, a.inBody = h, true
			a.body = newBody(answerFraming(&h, c.g.plan.Method == "HEAD"), h.length)
			a.wrong = c.g.idAt >= 0 && h.hasID && h.id != c.id
			break
		}
		p = append([]byte(nil), p...) // may lie in c.in, which is used again
		c.in = c.in[:0]
	}
	for len(p) > 0 && !a.body.done() {
		content, n, err := a.body.next(p)
		if err != nil {
			c.fail(ErrBadAnswer)
			return
		}
		p = p[n:]
		a.bytes += int64(len(content))
		if fill := c.g.plan.AnswerFill; fill != 0 && a.head.status/100 == 2 {
			a.wrong = a.wrong || bytes.Count(content, []byte{fill}) != len(content)
		}
	}
	if a.body.done() {
		a.wrong = a.wrong || len(p) > 0
		c.finish()
	}
}

// finish counts a whole answer and makes the connection idle.
func (c *client) finish() {
	g, a, r := c.g, &c.answer, c.g.result
	now := g.now()
	r.Elapsed = max(r.Elapsed, now)
	r.Latency.Record(now - c.due)
	ok := a.head.status/100 == 2
	if want := g.plan.AnswerBytes; ok && want != 0 && g.plan.Method != "HEAD" {
		a.wrong = a.wrong || a.bytes != want
	}
	switch {
	case a.wrong:
		r.Errors[ErrBadAnswer]++
	case ok:
		r.OK++
		if now <= g.end {
			g.inTime++
		}
		if g.idAt >= 0 {
			r.Answered.Add(c.id)
		}
	default:
		r.Errors[statusError(a.head.status)]++
	}
	g.busy--
	c.state = open
	if a.wrong || a.head.close || g.plan.Close || !c.last || len(c.out) > 0 {
		c.close()
	}
	g.idle.push(c)
}

func statusError(status int) string {
	switch status / 100 {
	case 3:
		return ErrStatus3xx
	case 4:
		return ErrStatus4xx
	case 5:
		return ErrStatus5xx
	}
	return ErrStatusRest
}

// fail counts a request without a whole answer and gives up its connection.
func (c *client) fail(kind string) {
	g := c.g
	now := g.now()
	g.result.Errors[kind]++
	g.result.Elapsed = max(g.result.Elapsed, now)
	if kind == ErrTimeout {
		g.result.Latency.Record(now - c.due)
	}
	g.busy--
	c.close()
	if kind == ErrConnect {
		g.after(redialPause, c)
		return
	}
	g.idle.push(c)
}
