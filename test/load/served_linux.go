package load

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// request is what must be remembered of a request until it is answered.
type request struct {
	id    uint64
	hasID bool
	head  bool // HEAD
	close bool
}

// maxOut is how many bytes of answers may wait before a connection is no longer
// read: a client that does not read its answers must not fill the memory.
const maxOut = 256 << 10

// served is one connection of an upstream.
type served struct {
	l       *upstreamLoop
	fd      int // -1 when closed
	index   int32
	life    int32
	watched uint32

	in     []byte // read and not yet understood
	req    request
	inBody bool
	body   body
	at     int64 // bytes of the body so far

	out     []byte // heads and short bodies
	written int    // of out
	stream  int64  // what follows out of a long body
	waiting int    // requests whose answer is delayed
	eof     bool   // the client will send no more
	closing bool   // close when everything is written
}

func (c *served) onReady(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if c.fd >= 0 && c.watched&unix.EPOLLIN != 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.read()
	} else if c.fd >= 0 && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.close() // reset while we were not reading
	}
}

func (c *served) read() {
	n, err := unix.Read(c.fd, c.l.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		c.close()
		return
	case n == 0:
		c.eof = true
		c.flush()
		return
	}
	data := c.l.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, ok := c.consume(data)
	if !ok {
		c.l.u.badRequests.Add(1)
		c.close()
		return
	}
	c.in = append(c.in[:0], rest...)
	c.flush()
}

// blocked says whether answers must go out before more requests are taken.
func (c *served) blocked() bool {
	return c.stream > 0 || len(c.out)-c.written > maxOut || c.closing
}

// consume takes requests apart and gives back what it cannot use yet; false if
// that is not HTTP.
func (c *served) consume(p []byte) (rest []byte, ok bool) {
	for len(p) > 0 && !c.blocked() {
		if c.inBody {
			n, ok := c.consumeBody(p)
			if !ok {
				return nil, false
			}
			p = p[n:]
			continue
		}
		h, n, err := parseHead(p)
		if err != nil {
			return nil, false
		}
		if n == 0 {
			return p, true
		}
		c.begin(&h)
		p = p[n:]
	}
	return p, true
}

func (c *served) begin(h *head) {
	c.req = request{id: h.id, hasID: h.hasID, head: string(h.method) == "HEAD", close: h.close}
	c.body, c.at = newBody(requestFraming(h), h.length), 0
	if c.body.done() {
		c.end()
		return
	}
	c.inBody = true
	if h.expect {
		c.out = append(c.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	}
}

func (c *served) consumeBody(p []byte) (int, bool) {
	content, n, err := c.body.next(p)
	if err != nil {
		return 0, false
	}
	if len(content) > 0 {
		c.l.u.bodyBytes.Add(uint64(len(content)))
		if c.l.o.CheckBody && !matchesPattern(content, c.at) {
			c.l.u.badBodies.Add(1)
		}
		c.at += int64(len(content))
	}
	if c.body.done() {
		c.inBody = false
		c.end()
	}
	return n, true
}

// matchesPattern compares bytes of a body, from offset at on, with what Run sends.
func matchesPattern(content []byte, at int64) bool {
	for len(content) > 0 {
		want := patternAt(at, len(content))
		if !bytes.Equal(content[:len(want)], want) {
			return false
		}
		content = content[len(want):]
		at += int64(len(want))
	}
	return true
}

// end counts a whole request and answers it, now or later.
func (c *served) end() {
	u := c.l.u
	if c.req.hasID {
		u.ids.add(c.req.id)
	}
	u.requests.Add(1)
	if c.l.o.Delay > 0 {
		c.waiting++
		c.l.delayed = append(c.l.delayed, delayed{at: c.l.now() + c.l.o.Delay, c: c, life: c.life, req: c.req})
		return
	}
	c.answer(c.req)
}

func (c *served) answer(r request) {
	a := &c.l.answers
	c.out = append(c.out, a.head...)
	if a.echo && r.hasID {
		c.out = append(c.out, echoHeader+": 0000000000000000\r\n"...)
		putID(c.out[len(c.out)-18:], r.id)
	}
	if r.close {
		c.out = append(c.out, "Connection: close\r\n"...)
		c.closing = true
	}
	c.out = append(c.out, "\r\n"...)
	switch {
	case r.head:
	case a.bytes <= maxOut/4:
		c.out = append(c.out, a.body...)
	default:
		c.stream = a.bytes
	}
}

// flush writes what it can, goes on with requests that had to wait for that,
// and closes what is finished.
func (c *served) flush() {
	for c.fd >= 0 {
		if !c.writeOut() {
			c.watch()
			return
		}
		if len(c.in) == 0 || c.eof && !c.more() {
			break
		}
		before := len(c.in)
		rest, ok := c.consume(c.in)
		if !ok {
			c.l.u.badRequests.Add(1)
			c.close()
			return
		}
		c.in = append(c.in[:0], rest...)
		if len(c.in) == before && len(c.out) == 0 && c.stream == 0 {
			break // nothing but an unfinished head
		}
	}
	if c.fd < 0 {
		return
	}
	if c.waiting == 0 && (c.closing || c.eof) {
		c.close()
		return
	}
	c.watch()
}

// more says whether what was read may hold another whole request.
func (c *served) more() bool { return c.inBody || bytes.Contains(c.in, []byte("\r\n\r\n")) }

// writeOut writes answers until all are out (true) or the socket is full or
// gone (false).
func (c *served) writeOut() bool {
	for c.written < len(c.out) || c.stream > 0 {
		p, streaming := c.out[c.written:], false
		if len(p) == 0 {
			p, streaming = c.l.answers.body[:min(c.stream, int64(len(c.l.answers.body)))], true
		}
		n, err := unix.Write(c.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			c.close()
			return false
		}
		if streaming {
			c.stream -= int64(n)
		} else {
			c.written += n
		}
	}
	c.out, c.written = c.out[:0], 0
	return true
}

// watch asks for the events that can lead on.
func (c *served) watch() {
	if c.fd < 0 {
		return
	}
	var want uint32
	if !c.eof && !c.blocked() {
		want |= unix.EPOLLIN
	}
	if c.written < len(c.out) || c.stream > 0 {
		want |= unix.EPOLLOUT
	}
	if want != c.watched {
		c.watched = want
		_ = c.l.poll.watch(unix.EPOLL_CTL_MOD, c.fd, want, token{c.index, c.life})
	}
}

func (c *served) close() {
	if c.fd < 0 {
		return
	}
	c.l.u.open.Add(-1)
	if c.inBody || len(c.in) > 0 {
		c.l.u.unfinished.Add(1)
	}
	_ = unix.Close(c.fd) // last: who sees it may look at the counts
	c.fd = -1
	c.l.free = append(c.l.free, c.index)
}
