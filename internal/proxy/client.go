package proxy

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// client is one client's connection. It serves one request at a time; what is
// pipelined behind it waits in the inbox.
type client struct {
	arrival
	worker   *worker
	protocol string // TCP or TLS if it is a stream, which is one request without messages
	server   string // that a TLS client asked for
	version  string // of HTTP, if the client is a lane
	peer     netip.Addr
	peerText []byte // peer as text, once needed

	in    spool.Inbox
	out   spool.Queue
	head  *http1.Request // being parsed or served; nil between requests
	req   *request       // being served
	timer loop.Timer     // between requests, for a head, or for a lingering close

	fresh     bool // nothing was parsed yet: it may turn out to speak HTTP/2
	closed    bool
	broken    bool // it gets a reset: a stream that did not end well must not look whole
	eof       bool // the client has ended its direction
	closing   bool // close when out is empty
	lingering bool // closed to the client; what still comes is thrown away
	retired   bool // no more requests after this one
	dirty     bool // a flush is due
	rushed    bool // it is due after the event
	writing   bool // waits for the socket to take more
	deaf      bool // does not want to read
	blocked   bool // the primary must take bytes before more are read
}

const (
	// highWater is how many bytes may wait for the primary before the client is
	// no longer read: more than one read brings, so that a primary that takes
	// what it gets costs no system call to stop and go.
	highWater = 2 * spool.Block
	// urgent is how many bytes are written after the event that brought them.
	urgent = 16 << 10
	// maxSlices is how many slices one write takes at most.
	maxSlices = 64
	// lingerTime is how long a client that was answered early may go on
	// sending: closing at once would reset the connection and could take the
	// answer with it (RFC 9112 §9.6).
	lingerTime = 2 * time.Second
	// retireTime is how long an idle client of a draining proxy may still send
	// one more request, which is then answered with Connection: close. Closing
	// at once would fail a request that is already on its way.
	retireTime = 3 * time.Second
)

type (
	clientExpired client
	clientFlush   client
	clientResume  client
)

// Run ends a client that took too long.
func (c *clientExpired) Run() {
	cl := (*client)(c)
	if cl.req == nil && cl.in.Len() > 0 && !cl.closing {
		cl.refuse(&errHeadLate)
		return
	}
	cl.gone(traffic.Client, "the client took too long")
}

var errHeadLate = http1.Error{Status: 408, Reason: "the request head did not arrive in time"}

// Run writes what is due.
func (c *clientFlush) Run() { (*client)(c).flush() }

// Run goes on with what waits in the inbox.
func (c *clientResume) Run() {
	cl := (*client)(c)
	if !cl.closed && cl.in.Len() > 0 && cl.wants() {
		cl.in.Discard(cl.consume(cl.in.Bytes(), nil))
	}
	if cl.eof {
		cl.ended()
	}
	cl.listen()
}

// OnReady implements loop.Handler.
func (cl *client) OnReady(_ *loop.Conn, r loop.Ready) {
	if r&loop.Readable != 0 && !cl.deaf || r&loop.Hangup != 0 {
		cl.read()
	}
	if cl.closed {
		return
	}
	if r&loop.Hangup != 0 {
		cl.gone(traffic.Client, "connection reset by the client")
		return
	}
	if r&loop.Writable != 0 && cl.writing {
		cl.flush()
	}
}

// read takes what the socket has, once: the loop comes back for more.
func (cl *client) read() {
	w := cl.worker
	if cl.lingering {
		cl.discard()
		return
	}
	if cl.in.Len() > 0 {
		n, err := cl.conn.Read(cl.in.Room(&w.pool, 4<<10))
		cl.in.Grow(n)
		if n > 0 && cl.wants() {
			cl.in.Discard(cl.consume(cl.in.Bytes(), nil))
		}
		cl.afterRead(err)
		return
	}
	block := w.intake.Next()
	n, err := cl.conn.Read(block.Space())
	if n > 0 {
		p := block.Space()[:n]
		used := cl.consume(p, block)
		if !cl.closed && !cl.lingering {
			cl.in.Keep(&w.pool, p[used:])
		}
	}
	cl.afterRead(err)
}

// discard reads what nobody wants any more.
func (cl *client) discard() {
	switch _, err := cl.conn.Read(cl.worker.intake.Next().Space()); {
	case err == nil || errors.Is(err, loop.ErrAgain):
	case errors.Is(err, io.EOF):
		cl.eof = true
		if cl.req == nil && cl.out.Len() == 0 {
			cl.close()
		}
		cl.listen()
	default:
		cl.gone(traffic.Client, err.Error())
	}
}

func (cl *client) afterRead(err error) {
	switch {
	case cl.closed || cl.lingering:
		return
	case err == nil || errors.Is(err, loop.ErrAgain):
	case errors.Is(err, io.EOF):
		cl.eof = true
		cl.ended()
	default:
		cl.gone(traffic.Client, err.Error())
		return
	}
	cl.listen()
}

// ended does what the end of the client's direction means by now. What waits
// in the inbox comes before the end, so it is called again when that has moved.
func (cl *client) ended() {
	switch {
	case cl.closed || cl.closing:
	case cl.req == nil: // what is in the inbox will never be a whole head
		cl.closeAfterFlush()
	case cl.in.Len() > 0:
	case cl.req.tunnel:
		cl.req.endTunnel()
	case !cl.req.bodyDone:
		cl.gone(traffic.Client, "the client left in the middle of its request")
	}
}

// wants says whether the next byte can be used now.
func (cl *client) wants() bool {
	if cl.closing || cl.blocked {
		return false
	}
	return cl.req == nil || cl.req.tunnel || !cl.req.bodyDone
}

// listen tells the loop whether to look for more bytes: not when some wait
// that cannot be used yet, and not after the end.
func (cl *client) listen() {
	deaf := cl.eof || !cl.lingering && (cl.blocked || cl.in.Len() > 0 && !cl.wants())
	if deaf != cl.deaf && !cl.closed {
		cl.deaf = deaf
		cl.conn.WantRead(!deaf)
	}
}

// consume uses bytes of p, which lie in block b, and returns how many. What is
// left is a part of a head, or has to wait.
func (cl *client) consume(p []byte, b *spool.Buffer) (used int) {
	for used < len(p) && !cl.closed && cl.wants() {
		var n int
		if cl.req == nil {
			n = cl.parse(p[used:])
		} else {
			n = cl.req.body(p[used:], b)
		}
		if n == 0 {
			break
		}
		used += n
	}
	return used
}

// parse looks for a whole head at the front of p and begins its request.
func (cl *client) parse(p []byte) (used int) {
	w := cl.worker
	if cl.fresh {
		if used, decided := cl.recognise(p); !decided || cl.closed {
			return used
		}
	}
	fresh := cl.head == nil
	if fresh {
		cl.head = w.newHead()
	}
	n, err := cl.head.Parse(p, &w.plan.limits)
	switch {
	case err != nil:
		cl.refuse(err)
		return len(p)
	case n == 0:
		if fresh {
			cl.wait(w.plan.config.Client.HeadTimeout)
		}
		return 0
	}
	w.loop.Disarm(&cl.timer)
	cl.req = w.newRequest()
	cl.req.begin(cl)
	return n
}

// refuse answers a broken head and closes: what follows cannot be trusted.
func (cl *client) refuse(err *http1.Error) {
	w := cl.worker
	row := w.row(0)
	row.Codes[err.Status]++
	row.Errors[traffic.Client]++
	cl.report(err)
	a := http1.Answer{Status: err.Status, Body: err.Reason, Close: true}
	cl.out.Commit(a.Append(cl.out.Room(512)))
	cl.closeAfterFlush()
	cl.linger()
}

// flushSoon writes what waits in this pass, and a lot of it at once, so that
// its blocks are free for the next read.
func (cl *client) flushSoon() {
	if cl.writing || cl.closed {
		return
	}
	switch l := cl.worker.loop; {
	case cl.rushed:
	case cl.out.Len() >= urgent:
		cl.rushed = true
		l.AfterEvent((*clientFlush)(cl))
	case !cl.dirty:
		l.AfterEvents((*clientFlush)(cl))
	}
	cl.dirty = true
}

// flush writes until nothing is left or the socket takes no more.
func (cl *client) flush() {
	cl.dirty, cl.rushed = false, false
	for !cl.closed && cl.out.Len() > 0 {
		v := cl.out.Spans(cl.worker.vec[:0], maxSlices)
		cl.worker.vec = v
		n, err := cl.write(v)
		if err != nil && !errors.Is(err, loop.ErrAgain) {
			cl.gone(traffic.Client, err.Error())
			return
		}
		size := 0
		for _, p := range v {
			size += len(p)
		}
		cl.out.Advance(n)
		if cl.req != nil && n > 0 {
			cl.req.moved = cl.worker.loop.Now()
		}
		if n < size {
			cl.wantWrite(true)
			break
		}
	}
	if cl.closed {
		return
	}
	if cl.out.Len() > 0 {
		if cl.req != nil {
			cl.req.call.Pause()
		}
		return
	}
	cl.wantWrite(false)
	if cl.req != nil {
		cl.req.call.Resume()
		if cl.req.answered {
			cl.req.complete()
		}
	}
	if cl.req != nil && cl.req.lastWord {
		cl.req.passEnd()
	}
	if cl.closing && cl.req == nil {
		cl.finish()
	}
}

func (cl *client) write(v [][]byte) (int, error) {
	if len(v) == 1 {
		return cl.conn.Write(v[0])
	}
	return cl.conn.Writev(v)
}

func (cl *client) wantWrite(on bool) {
	if cl.writing != on {
		cl.writing = on
		cl.conn.WantWrite(on)
	}
}

// served makes the connection ready for the next request. keep says that the
// client was told that there may be one.
func (cl *client) served(keep bool) {
	if cl.head != nil {
		cl.worker.freeHead(cl.head)
	}
	cl.head, cl.req, cl.blocked = nil, nil, false
	switch {
	case !keep || cl.eof && cl.in.Len() == 0:
		cl.closing = true
		if cl.in.Len() > 0 {
			cl.linger()
		}
	case cl.in.Len() > 0:
		cl.worker.loop.AfterEvent((*clientResume)(cl))
	default:
		cl.rest()
		cl.listen()
	}
}

// rest waits for the next request.
func (cl *client) rest() {
	if cl.retired {
		cl.worker.loop.Arm(&cl.timer, retireTime)
		return
	}
	cl.wait(cl.worker.plan.config.Client.IdleTimeout)
}

// wait has the client's time end after t.
func (cl *client) wait(t config.Timeout) {
	if d := duration(t); d > 0 {
		cl.worker.loop.Arm(&cl.timer, d)
	} else {
		cl.worker.loop.Disarm(&cl.timer)
	}
}

// retire lets the client finish its request, or send one more if it is idle.
func (cl *client) retire() {
	if cl.retired {
		return
	}
	cl.retired = true
	if cl.req == nil && !cl.closing {
		cl.rest()
	}
}

// closeAfterFlush closes when what waits was written, or when the client has
// not read it for too long.
func (cl *client) closeAfterFlush() {
	cl.closing = true
	cl.rest()
	cl.flushSoon()
}

// linger throws away what the client still sends, and has finish wait until it
// stops.
func (cl *client) linger() {
	cl.lingering, cl.blocked = true, false
	cl.in.Reset()
	cl.listen()
}

// finish closes, at once or, if the client may still be sending, when it has
// seen that it was answered.
func (cl *client) finish() {
	if !cl.lingering || cl.eof || cl.conn.CloseWrite() != nil {
		cl.close()
		return
	}
	cl.worker.loop.Arm(&cl.timer, lingerTime)
}

// gone ends the connection at once, and with it the request.
func (cl *client) gone(source traffic.Source, why string) {
	if cl.closed {
		return
	}
	if cl.req != nil {
		cl.req.abandon(source, why)
	}
	cl.close()
}

// close frees everything. The request, if any, must have ended.
func (cl *client) close() {
	if cl.closed {
		return
	}
	cl.closed = true
	w := cl.worker
	if cl.broken {
		cl.conn.Abort()
	}
	if cl.version != "" {
		w.lanes--
	} else {
		w.server.clients.Add(-1)
	}
	w.loop.Disarm(&cl.timer)
	cl.conn.Close()
	cl.in.Reset()
	cl.out.Reset()
	if cl.head != nil {
		w.freeHead(cl.head)
		cl.head = nil
	}
	delete(w.clients, cl)
	w.checkDrained()
}
