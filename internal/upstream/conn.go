package upstream

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/session"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// maxSlices is how many slices one write takes at most.
const maxSlices = 64

// place says which list of its pool holds a connection.
type place uint8

const (
	nowhere place = iota
	inIdle
	inOpen
)

// Conn is a connection to an endpoint and the calls on it, in order: the
// first is being answered, calls[:sent] are written whole.
type Conn struct {
	client   *Client
	endpoint *Endpoint
	conn     *loop.Conn
	addrs    []netip.AddrPort // left to try
	dialErr  string
	timer    loop.Timer     // until connected, then while idle
	refusal  traffic.Reason // why the last dial failed
	server   string         // asked for by TLS, if a call said so
	dialled  time.Duration  // when connecting began

	calls []*Call
	sent  int
	in    spool.Inbox
	resp  http1.Response
	body  http1.Body

	place      place
	connecting bool
	shaking    bool // hands, by TLS; still connecting
	closed     bool
	dirty      bool // a flush is due
	rushed     bool // it is due after the event
	writing    bool // waits for the socket to take more
	paused     bool
	inBody     bool
	tunnel     bool
	closeWrite bool
	served     bool // an answer was read whole
	deaf       bool // the other side takes no more bytes
	lastCall   bool // close after the calls on it
	lane       bool // of a session: takes one call at a time
	upgrade    bool // made for a call that HTTP/2 cannot carry, where the backend has a choice

	preface   []byte // of the call, not yet written
	raw       bool   // see Call.Raw
	readEnded bool   // the other side has ended its direction
	sentEnd   bool   // we have ended ours
}

// A task of a connection is the connection under another type, so that none
// needs an allocation.
type (
	connFlush   Conn
	connExpired Conn
	connRefused Conn
	connResumed Conn
)

// Run writes what is due.
func (c *connFlush) Run() { (*Conn)(c).flush() }

// Run ends a connection that took too long to connect or was idle too long.
func (c *connExpired) Run() {
	conn := (*Conn)(c)
	if conn.shaking {
		conn.fail(Failure{Reason: traffic.FailTLS, Detail: "the backend did not finish the TLS handshake in time"})
		return
	}
	if conn.connecting {
		conn.fail(Failure{Reason: traffic.FailConnect, Detail: "connect timed out"})
		return
	}
	conn.close()
}

// Run tells of a dial that failed at once.
func (c *connRefused) Run() {
	conn := (*Conn)(c)
	if !conn.closed {
		reason := traffic.FailConnect
		if conn.refusal != "" {
			reason = conn.refusal
		}
		conn.fail(Failure{Reason: reason, Detail: conn.dialErr})
	}
}

// Run goes on with bytes that were left when reading was paused.
func (c *connResumed) Run() {
	conn := (*Conn)(c)
	if !conn.closed && !conn.paused && conn.in.Len() > 0 {
		conn.in.Discard(conn.consume(conn.in.Bytes(), nil))
	}
}

// suits says whether c can carry call, and asked for the server that it is for.
func (c *Conn) suits(call *Call) bool {
	if call.Upgrade && c.lane {
		return false
	}
	return c.endpoint.tls == nil || c.endpoint.def.ServerName != "" || c.server == string(call.Server)
}

// joins says whether call may be put behind the calls that are on c.
func (c *Conn) joins(call *Call) bool {
	last := c.calls[len(c.calls)-1]
	return last.Whole && !last.Upgrade && !call.Upgrade
}

// add puts call on c.
func (c *Conn) add(call *Call) {
	call.conn = c
	c.calls = append(c.calls, call)
	if len(c.calls) == 1 && !c.connecting {
		c.client.Loop.Disarm(&c.timer)
	}
	c.setPlace()
	c.flushSoon(call.Out.Len())
}

// flushSoon has what the calls hold written in this pass: the bytes of live
// requests before those of copies, and a lot of bytes at once, so that their
// blocks are free for the next read.
func (c *Conn) flushSoon(waiting int) {
	if c.writing || c.connecting {
		return
	}
	switch l := c.client.Loop; {
	case c.client.Late && !c.dirty:
		l.AfterPass((*connFlush)(c))
	case c.client.Late || c.rushed:
	case waiting >= urgent:
		c.rushed = true
		l.AfterEvent((*connFlush)(c))
	case !c.dirty:
		l.AfterEvents((*connFlush)(c))
	}
	c.dirty = true
}

// urgent is how many bytes are written after the event that brought them.
const urgent = 16 << 10

// flush writes what the calls have until nothing is left or the socket takes
// no more.
func (c *Conn) flush() {
	c.dirty, c.rushed = false, false
	if c.deaf {
		c.discard()
		return
	}
	for !c.closed && !c.connecting {
		v := c.gather()
		if len(v) == 0 {
			c.wantWrite(false)
			if c.closeWrite && c.calls[0].Out.Len() == 0 {
				c.conn.CloseWrite()
				c.closeWrite, c.sentEnd = false, true
				if c.readEnded {
					c.finish()
				}
			}
			return
		}
		at := c.stamp()
		n, err := c.write(v)
		if err != nil && !errors.Is(err, loop.ErrAgain) {
			c.deafen(err)
			return
		}
		full := n < total(v)
		c.taken(n, at)
		if full && !c.closed {
			c.wantWrite(true)
			return
		}
	}
}

// deafen goes on when the other side takes no more bytes. It may have answered
// before it closed, as servers do that refuse a long body, so what it said is
// read before the connection is given up. Reading comes to an end by itself: a
// connection that cannot be written to does not stay open.
func (c *Conn) deafen(err error) {
	c.deaf, c.lastCall = true, true
	c.wantWrite(false)
	c.setPlace()
	if !c.calls[0].started && !c.raw {
		c.broken(err) // it has not been asked anything
		return
	}
	c.discard()
	if !c.closed && !c.paused {
		c.read()
	}
}

// discard throws away the rest of the call that the other side stopped taking,
// so that its caller goes on. Calls behind it keep theirs, to be sent elsewhere.
func (c *Conn) discard() {
	for _, call := range c.calls[c.sent:] {
		if call.started && call.Out.Len() > 0 {
			call.Out.Reset()
			call.User.Sent(call, 0)
			return
		}
	}
}

// gather returns the bytes that may be written now: those of the first call
// that is not written whole, and of those behind it as long as each is whole.
func (c *Conn) gather() [][]byte {
	v := c.client.vec[:0]
	for _, call := range c.calls[c.sent:] {
		v = call.Out.Spans(v, maxSlices)
		if !call.Whole || len(v) == maxSlices {
			break
		}
	}
	c.client.vec = v
	return v
}

func (c *Conn) write(v [][]byte) (int, error) {
	if len(v) == 1 {
		return c.conn.Write(v[0])
	}
	return c.conn.Writev(v)
}

func total(v [][]byte) (n int) {
	for _, p := range v {
		n += len(p)
	}
	return n
}

// stamp reads the clock if one of the calls that may be written now wants to know
// when its first byte left.
func (c *Conn) stamp() time.Duration {
	for _, call := range c.calls[c.sent:] {
		if call.Timed && !call.started {
			return loop.Now()
		}
	}
	return 0
}

// taken notes that the socket took n bytes at that time and tells the calls they
// were of.
func (c *Conn) taken(n int, at time.Duration) {
	for i := c.sent; i < len(c.calls) && n > 0; i++ {
		call := c.calls[i]
		part := min(n, call.Out.Len())
		call.Out.Advance(part)
		if !call.started {
			call.started, call.SentAt = true, at
		}
		n -= part
		if call.Whole && call.Out.Len() == 0 {
			c.sent++
		}
		call.User.Sent(call, part)
		if c.closed {
			return
		}
	}
}

func (c *Conn) wantWrite(on bool) {
	if c.writing != on {
		c.writing = on
		c.conn.WantWrite(on)
	}
}

// OnReady implements loop.Handler.
func (c *Conn) OnReady(_ *loop.Conn, r loop.Ready) {
	if c.connecting {
		c.connected(r)
		return
	}
	// A caller that has paused gets what came before a reset when it goes on.
	if r&loop.Readable != 0 || r&loop.Hangup != 0 && !c.paused {
		c.read()
	}
	if c.closed {
		return
	}
	if r&loop.Hangup != 0 && len(c.calls) == 0 {
		c.close()
		return
	}
	if r&loop.Writable != 0 && c.writing {
		c.flush()
	}
}

// connected goes on when a dial has ended, one way or the other.
func (c *Conn) connected(r loop.Ready) {
	if r&loop.Hangup != 0 {
		if err := c.conn.Err(); err != nil {
			c.dialErr, c.refusal = err.Error(), ""
			switch trust := (*session.TrustError)(nil); {
			case errors.As(err, &trust):
				c.dialErr, c.refusal = tlsFault(trust.Err), traffic.FailTLS
			case refusedBy(err): // of a session, whose handshake was over for us
				c.dialErr, c.refusal = tlsFault(err), traffic.FailTLS
			case speaksOther(err):
				c.refusal = traffic.FailProtocol
			}
		}
		detail := c.dialErr
		c.conn.Close()
		if c.dialNext(); c.conn.Closed() {
			c.dialErr = detail
		}
		return
	}
	if c.endpoint.tls != nil && !c.lane {
		c.secure()
		return
	}
	c.opened()
}

// noteConnect tells the calls how long connecting took.
func (c *Conn) noteConnect() {
	took := loop.Now() - c.dialled
	for _, call := range c.calls {
		call.Connect = took
	}
}

// opened goes on when the connection can be used.
func (c *Conn) opened() {
	c.noteConnect()
	c.connecting = false
	c.client.Loop.Disarm(&c.timer)
	if len(c.preface) > 0 {
		// A fresh connection takes so little at once, or is of no use.
		if n, err := c.conn.Write(c.preface); n < len(c.preface) {
			c.broken(err)
			return
		}
		c.preface = nil
	}
	if c.raw {
		c.client.health(c.endpoint).succeeded() // it may not end for days
	}
	c.conn.WantRead(!c.paused)
	c.flushSoon(0)
}

// read takes what the socket has, once: a loop comes back for more.
func (c *Conn) read() {
	if c.in.Len() > 0 {
		n, err := c.conn.Read(c.in.Room(c.client.Pool, 4<<10))
		c.in.Grow(n)
		if n > 0 {
			c.in.Discard(c.consume(c.in.Bytes(), nil))
		}
		c.readError(err)
		return
	}
	block := c.client.Intake.Next()
	n, err := c.conn.Read(block.Space())
	if n > 0 {
		p := block.Space()[:n]
		used := c.consume(p, block)
		if !c.closed {
			c.in.Keep(c.client.Pool, p[used:])
		}
	}
	c.readError(err)
}

func (c *Conn) readError(err error) {
	switch {
	case c.closed || err == nil || errors.Is(err, loop.ErrAgain):
	case !errors.Is(err, io.EOF):
		c.broken(err)
	case c.raw:
		c.endRead()
	case c.inBody && (c.body.UntilClose() || c.tunnel):
		c.finish()
	default:
		c.broken(io.ErrUnexpectedEOF)
	}
}

// endRead notes that the other side of a raw call has ended its direction, or,
// the second time, that it has gone.
func (c *Conn) endRead() {
	if c.sentEnd || c.deaf || c.readEnded {
		c.finish()
		return
	}
	c.readEnded = true
	c.conn.WantRead(false)
	c.calls[0].User.Data(c.calls[0], nil, nil)
}

// consume hands p to the calls and returns how much was used. The rest is a
// part of a head, or belongs to a reader that has paused.
func (c *Conn) consume(p []byte, b *spool.Buffer) (used int) {
	for used < len(p) && !c.closed && !c.paused {
		if len(c.calls) == 0 {
			c.close() // nobody asked
			break
		}
		if !c.calls[0].started && !c.raw {
			// The answer to a request that has not been sent is somebody else's.
			c.fail(Failure{Reason: traffic.FailProtocol, Detail: "an answer came before the request was sent", Stale: c.served})
			break
		}
		c.calls[0].answered = true
		n := c.step(p[used:], b)
		used += n
		if n == 0 {
			break
		}
	}
	return used
}

// step handles one head or one part of a body at the front of p.
func (c *Conn) step(p []byte, b *spool.Buffer) (used int) {
	if !c.inBody {
		n, err := c.resp.Parse(p, &c.client.Limits)
		if err != nil {
			c.fail(Failure{Reason: traffic.FailProtocol, Detail: err.Error()})
		} else if n > 0 {
			c.head()
		}
		return n
	}
	if c.tunnel {
		c.calls[0].User.Data(c.calls[0], p, b)
		return len(p)
	}
	data, n, err := c.body.Decode(p)
	if err != nil {
		c.fail(Failure{Reason: traffic.FailProtocol, Detail: err.Error()})
		return n
	}
	if len(data) > 0 {
		c.calls[0].User.Data(c.calls[0], data, b)
	}
	if !c.closed && c.body.Done() {
		c.finish()
	}
	return n
}

// head passes on the head that was parsed.
func (c *Conn) head() {
	call := c.calls[0]
	status := c.resp.Status()
	if status == 101 && !call.Upgrade {
		c.fail(Failure{Reason: traffic.FailProtocol, Detail: "101 without a request to upgrade"})
		return
	}
	final := status >= 200 || status == 101
	if final {
		c.inBody = true
		c.tunnel = status == 101
		c.body = c.resp.Body(call.Head)
	}
	call.User.Answer(call, &c.resp)
	if c.closed {
		return
	}
	switch {
	case !final:
		c.resp.Reset()
	case c.tunnel:
		c.lastCall = true
		call.Whole, c.sent = false, 0 // what the client sends from now on follows
	case c.body.Done():
		c.finish()
	}
}

// finish ends the first call with success and makes the connection ready for
// the next, or closes it if it cannot be used again.
func (c *Conn) finish() {
	call := c.calls[0]
	whole := call.Whole && call.Out.Len() == 0
	c.lastCall = c.lastCall || !whole || c.tunnel || c.body.UntilClose() || !c.resp.KeepAlive() || c.endpoint.gone.Load()
	c.remove(0)
	c.inBody, c.tunnel, c.served = false, false, true
	c.client.health(c.endpoint).succeeded()
	// The caller may send its next call from within End, here or elsewhere.
	c.rest()
	call.User.End(call, c.body.Trailer(), Failure{})
	if c.lastCall {
		c.failAll(Failure{Reason: traffic.FailReset, Detail: "the connection was closed after an earlier answer", Stale: true})
		return
	}
	c.resp.Reset()
}

// quiet says whether the other side has neither closed an idle connection nor
// said anything unasked. It must not read into the client's Intake, which may
// hold the request that is about to be sent.
func (c *Conn) quiet() bool {
	_, err := c.conn.Read(c.client.probe[:])
	return errors.Is(err, loop.ErrAgain)
}

// rest puts the connection where it belongs after a call has left it.
func (c *Conn) rest() {
	if len(c.calls) == 0 && !c.lastCall {
		c.client.Loop.Arm(&c.timer, limit(c.endpoint.Backend.def.Load().IdleTimeout))
	}
	c.setPlace()
}

// remove takes calls[i] off the connection. What the first call has paused goes
// on for the next.
func (c *Conn) remove(i int) {
	call := c.calls[i]
	call.conn = nil
	if i == 0 {
		c.pause(false)
	}
	copy(c.calls[i:], c.calls[i+1:])
	c.calls[len(c.calls)-1] = nil
	c.calls = c.calls[:len(c.calls)-1]
	if i < c.sent {
		c.sent--
	}
	c.client.pool(c.endpoint).inFlight--
}

// pause stops reading, or lets it go on.
func (c *Conn) pause(on bool) {
	if c.paused == on {
		return
	}
	c.paused = on
	if c.conn != nil {
		c.conn.WantRead(!on && !c.readEnded)
	}
}

// setPlace puts the connection on the list of its pool where it belongs.
func (c *Conn) setPlace() {
	want := nowhere
	switch {
	case c.closed || c.lastCall:
	case len(c.calls) == 0:
		want = inIdle
	case len(c.calls) < c.client.Depth && !c.lane:
		want = inOpen
	}
	if want == c.place {
		return
	}
	p := c.client.pool(c.endpoint)
	switch c.place {
	case inIdle:
		p.idle = without(p.idle, c)
	case inOpen:
		p.open = without(p.open, c)
	}
	switch c.place = want; want {
	case inIdle:
		p.idle = append(p.idle, c)
	case inOpen:
		p.open = append(p.open, c)
	}
}

func without(list []*Conn, c *Conn) []*Conn {
	i := slices.Index(list, c)
	return slices.Delete(list, i, i+1)
}

// broken ends the connection because reading or writing failed.
func (c *Conn) broken(err error) {
	detail := "connection reset"
	if err != nil {
		detail = err.Error()
	}
	if len(c.calls) == 0 {
		c.close()
		return
	}
	first := c.calls[0]
	f := Failure{Reason: traffic.FailReset, Detail: detail, Stale: (first.Reused || c.served) && !first.answered}
	switch {
	case errors.Is(err, session.ErrReset):
		f.Stale = false // it was this very call that was given up
	case refusedBy(err):
		f.Reason, f.Detail = traffic.FailTLS, tlsFault(err)
	case session.Refused(err):
		f.Stale, f.Refused = true, true
	case speaksOther(err):
		f.Reason, f.Stale = traffic.FailProtocol, false
	}
	c.fail(f)
}

// fail ends all calls and the connection. The first call has f; those behind
// it were in its way. A tunnel that breaks says nothing about the endpoint:
// both ends of one often just go away.
func (c *Conn) fail(f Failure) {
	if c.closed {
		return
	}
	if !f.Stale && (!c.tunnel || c.connecting) && !c.overdue() {
		c.client.health(c.endpoint).failed(c.endpoint, c.client.Loop.Now())
	}
	c.failAll(f)
}

// overdue says that nobody waits any more for the call that is being answered.
func (c *Conn) overdue() bool {
	return len(c.calls) > 0 && c.calls[0].Until > 0 && c.client.Loop.Now() >= c.calls[0].Until
}

// failAll closes the connection and ends all calls, the first one with f.
func (c *Conn) failAll(f Failure) {
	c.lastCall = true
	if c.connecting {
		c.noteConnect()
	}
	c.close()
	for len(c.calls) > 0 {
		call := c.calls[0]
		c.remove(0)
		f.Unsent = !call.started
		call.User.End(call, nil, f)
		// Nobody could connect; but what happened to an answer happened to one.
		f.Stale = f.Stale || f.Reason != traffic.FailConnect && f.Reason != traffic.FailTLS
	}
}

// cancel takes call off the connection, which must be closed if any byte of
// the call was sent: the other side would take the next request for its body.
func (c *Conn) cancel(call *Call) {
	c.remove(slices.Index(c.calls, call))
	idle := len(c.calls) == 0
	switch {
	case c.closed:
	case call.started || c.raw && !c.connecting:
		if c.client.Late {
			// A shadow that has stopped reading would keep what the system still
			// has to send, and its memory, for minutes.
			c.conn.Abort()
		}
		c.failAll(Failure{Reason: traffic.FailReset, Detail: "an earlier request on the connection was given up", Stale: true})
	case idle && (c.connecting || c.lastCall || c.endpoint.gone.Load()):
		c.close()
	default:
		c.rest()
	}
}

// close closes the socket and leaves the pool. Calls that are still on the
// connection are not told.
func (c *Conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	c.client.Loop.Disarm(&c.timer)
	c.setPlace()
	c.in.Reset()
	if c.conn != nil {
		c.conn.Close()
	}
}
