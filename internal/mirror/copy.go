package mirror

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/grpc"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Copy is one request on its way to a shadow. It ends exactly once, by finish.
// It belongs to one loop and is used again after it has ended: whoever holds
// one keeps a Ticket.
type Copy struct {
	call   upstream.Call
	owner  *Dispatcher
	lane   *lane
	policy *Policy
	join   *Join
	slot   int // of the outcome in the exchange
	place  int // in lane.all

	timer    loop.Timer
	chunked  bool  // the body is sent in chunks
	left     int64 // body bytes that may still be sent; -1 = no limit
	held     bool  // waits for its end before it is sent, to know its length
	queued   bool  // in lane.waiting
	active   bool  // counted in lane.active
	probe    bool
	paced    bool
	retried  bool
	ended    bool
	bare     spool.Queue        // the head to send if a held body is over the limit
	tunnel   *tunnel            // of a WebSocket; nil for every other copy
	spare    *tunnel            // memory for it, kept from use to use
	rpc      rpc                // of a gRPC call
	endpoint *upstream.Endpoint // where it must go; nil = anywhere
	charged  int                // bytes charged to the mirror's memory
	reply    *Capture           // of the shadow's answer; nil if nobody wants it
	ready    time.Duration      // when it began to wait for its turn
	start    time.Duration
	moved    time.Duration // of a stream: when the shadow last took a step, or had to
	first    time.Duration
	arrived  time.Duration // when the head of the answer was there
	status   int
	received int64
	id       uint64 // grows with each use, see Ticket
}

// Ticket refers to a copy for as long as it has not ended.
type Ticket struct {
	copy *Copy
	id   uint64
}

// Ticket returns a reference to c; the zero Ticket refers to nothing.
func (c *Copy) Ticket() Ticket {
	if c == nil {
		return Ticket{}
	}
	return Ticket{c, c.id}
}

// Copy returns the copy, or nil if it has ended.
func (t Ticket) Copy() *Copy {
	if t.copy == nil || t.copy.id != t.id || t.copy.ended {
		return nil
	}
	return t.copy
}

// newCopy returns a fresh copy that counts as in flight from now on.
func (d *Dispatcher) newCopy(l *lane, p *Policy, join *Join) *Copy {
	var c *Copy
	if last := len(d.free) - 1; last >= 0 {
		c = d.free[last]
		d.free = d.free[:last]
		*c = Copy{
			id: c.id + 1, call: upstream.Call{Out: c.call.Out, Preface: c.call.Preface[:0], Server: c.call.Server[:0]},
			bare: c.bare, spare: c.spare, timer: c.timer,
		}
	} else {
		c = &Copy{}
		c.call.Out.Pool, c.bare.Pool = d.client.Pool, d.client.Pool
		c.timer.Task = (*copyExpired)(c)
	}
	c.call.User = c
	c.owner, c.lane, c.policy, c.join = d, l, p, join
	c.place = len(l.all)
	l.all = append(l.all, c)
	d.total++
	if join != nil {
		c.slot = len(join.X.Copies)
		o := traffic.Outcome{Mirror: p.Def.Name, Backend: p.Def.Backend}
		c.reply, o.Compare = join.captureOf(p)
		join.X.Copies = append(join.X.Copies, o)
		join.Hold()
		c.call.Timed = true
	}
	return c
}

// begin builds the head and sends the copy on its way, or says why not.
func (c *Copy) begin(r *http1.Request, o *http1.Outgoing) traffic.Reason {
	def := c.policy.Def
	limit := int64(def.Body.Limit)
	length := c.cutsMessages(r.Framing())
	o.Length, o.Expect, o.Extra = length, false, nil
	o.Marker = c.policy.marker
	c.left = -1
	c.setHost(r, o)
	c.nameServer(r, o)
	c.setTrace(r, o)
	if o.Upgrade {
		c.dig(r)
	}
	const bare = 0 // a length, because some servers want one with methods that may have a body
	switch {
	case length == http1.LengthNone || limit < 0:
	case length == http1.LengthChunked:
		c.left = limit
		if def.Body.OverLimit == config.OverLimitHeaders {
			c.held = true
			o.Length = bare
			o.Extra = omittedLine
			c.build(&c.bare, r, o)
			o.Length, o.Extra = length, nil
		}
	case length <= limit:
	case def.Body.OverLimit == config.OverLimitTruncate:
		o.Length = limit
		c.left = limit
		o.Extra = c.owner.mark(truncated, length)
	case def.Body.OverLimit == config.OverLimitHeaders:
		o.Length = bare
		c.left = 0
		o.Extra = c.owner.mark(omitted, length)
	default:
		return traffic.DropBodyLimit
	}
	if !c.held && !c.allowed() {
		return traffic.DropPaused
	}
	c.chunked = o.Length == http1.LengthChunked
	c.call.Head = string(r.Method()) == "HEAD"
	c.call.Whole = o.Length == http1.LengthNone || o.Length == 0
	c.build(&c.call.Out, r, o)
	if !c.charge() {
		return traffic.DropMemory
	}
	switch {
	case c.held:
	case !c.call.Whole:
		c.owner.startSoon(c)
	default:
		return c.lane.dispatch(c)
	}
	return ""
}

// startSoon dispatches c after the event. A small body comes with its head, so
// by then the copy is whole: it may wait in a queue and share a connection,
// which a copy that is still arriving may not.
func (d *Dispatcher) startSoon(c *Copy) {
	if len(d.starting) == 0 {
		d.loop.AfterEvent((*start)(d))
	}
	d.starting = append(d.starting, c.Ticket())
}

// start is a dispatcher with copies to dispatch.
type start Dispatcher

// Run dispatches them.
func (d *start) Run() {
	for _, t := range d.starting {
		if c := t.Copy(); c != nil {
			if reason := c.lane.dispatch(c); reason != "" {
				c.drop(reason)
			}
		}
	}
	clear(d.starting)
	d.starting = d.starting[:0]
}

// The marks of a copy whose body is not all there.
const (
	truncated = "x-understudy-body: truncated"
	omitted   = "x-understudy-body: omitted"
)

var truncatedLine, omittedLine = []byte(truncated + "\r\n"), []byte(omitted + "\r\n")

// mark returns the line that says what became of a body of that length.
func (d *Dispatcher) mark(what string, length int64) []byte {
	line := append(d.extra[:0], what...)
	line = append(line, "; length="...)
	line = strconv.AppendInt(line, length, 10)
	d.extra = append(line, "\r\n"...)
	return d.extra
}

// allowed asks the breaker, when the copy is ready to be sent or to wait for it:
// a probe that first waited for its own body would keep all others waiting.
func (c *Copy) allowed() (ok bool) {
	ok, c.probe = c.lane.state.Breaker.Allow(c.owner.loop.Now())
	return ok
}

func (c *Copy) build(q *spool.Queue, r *http1.Request, o *http1.Outgoing) {
	room := headRoom + int(min(max(o.Length, 0), maxJoint))
	q.Commit(http1.AppendRequest(q.Room(room), r, c.policy.edit, o))
}

// headRoom is the room for a head that needs no second block, and maxJoint the
// size up to which a body is put behind it, so that one write takes both.
const (
	headRoom = 1 << 10
	maxJoint = 16 << 10
)

// setHost chooses the copy's host as its policy says.
func (c *Copy) setHost(r *http1.Request, o *http1.Outgoing) {
	d, policy := c.owner, c.policy.Def.Host
	host := o.Host
	if host == nil {
		host = r.Host()
	}
	d.host = d.host[:0]
	switch policy.Kind {
	case config.HostLiteral:
		d.host = append(d.host, policy.Literal...)
	case config.HostSuffix:
		if len(host) == 0 {
			return // HTTP/1.0 may do without
		}
		name, port := http1.SplitPort(host)
		d.host = append(d.host, name...)
		d.host = append(d.host, "-shadow"...)
		d.host = append(d.host, port...)
	case config.HostBackend:
		// The name is needed before the copy is sent, so it is sent there. Only
		// a retry after a refused connection may go elsewhere.
		c.endpoint = d.clientFor(c.policy).Pick(c.policy.Backend, nil)
		if c.endpoint == nil {
			return
		}
		d.host = append(d.host, c.endpoint.Address...)
	default:
		return
	}
	o.Host = d.host
}

// nameServer has the connection ask by TLS for the host of the copy.
func (c *Copy) nameServer(r *http1.Request, o *http1.Outgoing) {
	host := o.Host
	if host == nil {
		host = r.Host()
	}
	if c.policy.Def.Host.Kind == config.HostBackend {
		host = nil // it is the endpoint's
	}
	name, _ := http1.SplitPort(host)
	c.call.Server = append(c.call.Server[:0], bytes.Trim(name, "[]")...)
}

// setTrace gives the copy a trace of its own, so that shadows do not distort
// live traces, and names the live span in tracestate, so that the two can be
// linked. A request without a trace gets none.
func (c *Copy) setTrace(r *http1.Request, o *http1.Outgoing) {
	live := o.Traceparent
	if live == nil {
		live, _ = r.Lookup(http1.Traceparent)
	}
	id, ok := TraceID(live)
	if !ok {
		return
	}
	d := c.owner
	fresh := append(d.traceparent[:0], "00-"...)
	fresh = appendHex(fresh, rand.Uint64())
	fresh = appendHex(fresh, rand.Uint64()|1) // all zeros would be invalid
	fresh = append(fresh, '-')
	fresh = appendHex(fresh, rand.Uint64()|1)
	fresh = append(fresh, live[52:55]...) // sampled or not, as the live one
	d.traceparent, o.Traceparent = fresh, fresh
	state := append(d.tracestate[:0], "understudy="...)
	state = append(state, id...)
	state = append(state, live[35:52]...)
	d.tracestate, o.Tracestate = state, state
}

func appendHex(dst []byte, v uint64) []byte {
	var b [8]byte
	for i := range b {
		b[i] = byte(v >> (56 - 8*i))
	}
	return hex.AppendEncode(dst, b[:])
}

// Body adds a part of the request's body, or of what the client sends through a
// tunnel. p lies in block b, which may be nil.
func (c *Copy) Body(p []byte, b *spool.Buffer) {
	if c.tunnel != nil {
		c.relay(p, b)
		return
	}
	if c.call.Whole || len(p) == 0 {
		return
	}
	if c.rpc.cut {
		c.addMessages(p, b)
		return
	}
	if c.left >= 0 && int64(len(p)) > c.left {
		c.overLimit(p)
		return
	}
	if c.left > 0 {
		c.left -= int64(len(p))
	}
	if c.call.Out.Len() == 0 {
		c.moved = c.owner.loop.Now()
	}
	c.add(p, b)
	if c.left == 0 && !c.chunked {
		c.finishBody(nil) // cut off here: it has the length that was announced
		return
	}
	if !c.charge() {
		c.drop(traffic.DropMemory)
		return
	}
	c.call.Flush()
}

// add puts p behind what waits, in the framing of the copy.
func (c *Copy) add(p []byte, b *spool.Buffer) {
	out := &c.call.Out
	if !c.chunked {
		out.Add(p, b)
		return
	}
	out.Commit(http1.AppendChunkHeader(out.Room(16), len(p)))
	out.Add(p, b)
	out.Copy(crlf)
}

var crlf = []byte("\r\n")

// overLimit does what the mirror wants when the body is longer than its limit.
func (c *Copy) overLimit(p []byte) {
	switch c.policy.Def.Body.OverLimit {
	case config.OverLimitTruncate:
		if c.left > 0 {
			c.add(p[:c.left], nil)
		}
		c.finishBody(truncatedLine)
	case config.OverLimitHeaders:
		c.call.Out.Reset()
		c.call.Out, c.bare = c.bare, c.call.Out
		c.chunked = false
		c.finishBody(nil)
	default:
		c.drop(traffic.DropBodyLimit)
	}
}

// Finish says that the request is whole.
func (c *Copy) Finish(trailer []byte) {
	if c.call.Whole {
		return
	}
	if rest := c.rpc.messages.Pending(); len(rest) > 0 { // the client's mistake, and for the shadow to find
		c.add(rest, nil)
	}
	c.finishBody(trailer)
}

func (c *Copy) finishBody(trailer []byte) {
	out := &c.call.Out
	if c.chunked {
		out.Commit(http1.AppendLastChunk(out.Room(8+len(trailer)), trailer))
	}
	c.call.Whole = true
	if !c.charge() {
		c.drop(traffic.DropMemory)
		return
	}
	if c.held {
		c.held = false
		c.release()
		return
	}
	if c.call.Raw {
		c.moved = c.owner.loop.Now()
		c.call.CloseWrite()
		return
	}
	c.call.Flush()
}

// release sends a copy that was held until it was whole.
func (c *Copy) release() {
	c.bare.Reset()
	reason := traffic.DropPaused
	switch {
	case c.lane.stopped():
		reason = traffic.DropShutdown
	case c.allowed():
		reason = c.lane.dispatch(c)
	}
	if reason != "" {
		c.drop(reason)
	}
}

// Cut gives the copy up because its request will never be whole. A whole copy
// goes on, and that of a WebSocket ends as the WebSocket did.
func (c *Copy) Cut() {
	switch {
	case c.tunnel != nil:
		c.hangUp()
	case !c.call.Whole:
		c.drop(traffic.DropClientGone)
	}
}

// charge tells the mirror's memory bound what the copy holds now.
func (c *Copy) charge() bool {
	held := c.call.Out.Held() + c.bare.Held()
	if c.tunnel != nil {
		held += c.tunnel.waiting.Held()
	}
	delta := held - c.charged
	if delta == 0 {
		return true
	}
	c.charged = held
	return c.lane.state.memory.Adjust(int64(delta)) || delta < 0
}

// send hands the copy to a connection.
func (c *Copy) send() {
	d := c.owner
	c.active = true
	c.start = d.loop.Now()
	c.lane.state.lastCopy.Store(wall(c.start))
	if c.policy.adaptive() {
		d.Governor.Copied()
	}
	if t := c.patience(); t > 0 {
		d.loop.Arm(&c.timer, t)
	}
	c.sendTo(c.endpoint)
}

// sendTo sends the copy to e, or, if that is nil, to an endpoint that is not the
// one it was sent to before.
func (c *Copy) sendTo(e *upstream.Endpoint) {
	client := c.owner.clientFor(c.policy)
	if e == nil {
		e = client.Pick(c.policy.Backend, c.call.Endpoint())
	}
	if e == nil {
		c.fail(traffic.FailConnect, "the backend has no endpoints")
		return
	}
	client.Send(&c.call, e)
	if c.call.Raw && c.call.Whole {
		c.call.CloseWrite()
	}
}

// began is the wall clock at zero of the loops' clock.
var began = time.Now().UnixNano() - int64(loop.Now())

// wall returns now as Unix time in ns.
func wall(now time.Duration) int64 { return began + int64(now) }

// copyExpired is a copy whose time is up.
type copyExpired Copy

// Run fails the copy. A shadow that is still waiting for the client is not to
// blame.
func (e *copyExpired) Run() {
	c := (*Copy)(e)
	if c.call.Raw && !c.stalled() {
		return
	}
	if c.tunnel != nil && c.tunnel.open {
		c.tunnelExpired()
		return
	}
	if c.rpc.hurried {
		c.call.Cancel()
		c.miss(traffic.FailTimeout, outOfTime)
		return
	}
	if !c.call.Whole && c.call.Out.Len() == 0 {
		c.call.Cancel()
		c.miss(traffic.FailTimeout, "the request was not whole in time")
		return
	}
	c.call.Fail()
	c.fail(traffic.FailTimeout, "no whole answer in time")
}

// Sent implements upstream.Caller.
func (c *Copy) Sent(_ *upstream.Call, n int) {
	c.moved = c.owner.loop.Now()
	c.lane.books.Bytes += uint64(n)
	c.charge()
	if c.tunnel != nil && c.tunnel.open {
		c.tunnel.deaf = c.tunnel.deaf || n == 0
		c.pong()
	}
}

// Answer implements upstream.Caller.
func (c *Copy) Answer(_ *upstream.Call, r *http1.Response) {
	if r.Interim() && r.Status() != 101 {
		return
	}
	c.status = r.Status()
	c.first, c.arrived = c.owner.loop.Now(), c.owner.loop.Arrived()
	c.reply.Head(r.Raw(), r.Framing())
	c.lane.books.First.Add(c.first - c.start)
	count(&c.lane.books.Codes, c.status)
	if c.rpc.is {
		grpc.ReadHead(&c.rpc.end, r, c.join != nil)
	}
	if c.tunnel != nil {
		c.switched(r)
	}
}

// Data implements upstream.Caller: the answer is read, so that its connection
// can be used again, and dropped.
func (c *Copy) Data(_ *upstream.Call, p []byte, _ *spool.Buffer) {
	c.received += int64(len(p))
	c.reply.Body(p)
	if c.first == 0 && c.call.Raw {
		c.first, c.arrived = c.owner.loop.Now(), c.owner.loop.Arrived()
	}
	if c.probe && c.call.Raw {
		c.alive()
	}
	open := c.tunnel != nil && c.tunnel.open
	if open {
		c.shadowSaid(p)
	}
	switch {
	case c.ended || c.received <= freeAnswer:
	case c.received > maxAnswer && !c.call.Raw && !open:
		c.call.Cancel()
		c.complete()
	case !c.owner.pace.take(c, len(p)):
		c.paced = true
		c.call.Pause()
	}
}

// End implements upstream.Caller.
func (c *Copy) End(_ *upstream.Call, trailer []byte, f upstream.Failure) {
	switch {
	case !f.Failed() && c.call.Raw && !c.call.Whole:
		c.fail(traffic.FailReset, "the shadow closed the connection before the client")
	case c.tunnel != nil && c.tunnel.open:
		c.shadowEnded(f)
	case !f.Failed():
		if c.rpc.is {
			grpc.ReadTrailer(&c.rpc.end, trailer, c.status, c.join != nil)
			count(&c.lane.books.GRPC, c.rpc.end.Status)
		}
		c.reply.End(trailer)
		c.complete()
	case f.Stale && c.owner.closed:
		c.drop(traffic.DropShutdown) // it was behind a copy that was dropped
	case c.rpc.deadline > 0 && c.owner.loop.Now() >= c.rpc.deadline:
		c.miss(traffic.FailTimeout, outOfTime) // the shadow knows the client's time too
	case c.again(f):
		c.retried = true
		if !f.Stale {
			c.endpoint = nil // it refuses connections
		}
		c.sendTo(c.endpoint)
	case f.Stale:
		c.miss(f.Reason, f.Detail)
	default:
		c.fail(f.Reason, f.Detail)
	}
}

// again says whether the copy is sent once more: if nothing of it was sent yet,
// because its connection turned out to be of no use, or because none could be
// made and the mirror wants that.
func (c *Copy) again(f upstream.Failure) bool {
	if !f.Unsent || c.retried || c.lane.stopped() {
		return false
	}
	return f.Stale || f.Reason == traffic.FailConnect && c.policy.Def.Retry
}

// complete ends the copy because it was answered.
func (c *Copy) complete() {
	c.lane.state.Breaker.Succeeded(c.probe)
	c.lane.books.Completed++
	c.finish(traffic.Completed, "", "")
}

// fail ends the copy because of its shadow, or the way to it.
func (c *Copy) fail(reason traffic.Reason, detail string) {
	c.lane.state.Breaker.Failed(c.owner.loop.Now(), c.probe)
	count(&c.lane.books.Failed, reason)
	c.finish(traffic.Failed, reason, detail)
}

// miss ends the copy without an answer, but not because the shadow is sick.
func (c *Copy) miss(reason traffic.Reason, detail string) {
	c.unprove()
	count(&c.lane.books.Failed, reason)
	c.finish(traffic.Failed, reason, detail)
}

// drop gives the copy up.
func (c *Copy) drop(reason traffic.Reason) { c.dropFor(reason, "") }

// dropFor is drop with something to say about it.
func (c *Copy) dropFor(reason traffic.Reason, detail string) {
	c.unprove()
	c.call.Cancel()
	count(&c.lane.books.Dropped, reason)
	c.finish(traffic.Dropped, reason, detail)
}

// unprove tells the breaker that it learns nothing from this copy.
func (c *Copy) unprove() {
	if c.probe {
		c.lane.state.Breaker.Abandoned(c.owner.loop.Now())
	}
}

// finish ends the copy: it lets go of everything it holds, reports its
// outcome, and makes room for the next one.
func (c *Copy) finish(fate traffic.Fate, reason traffic.Reason, detail string) {
	d, l := c.owner, c.lane
	c.ended = true
	d.loop.Disarm(&c.timer)
	if c.paced {
		d.pace.forget(c)
	}
	if c.queued {
		l.waiting[l.first+slices.Index(l.waiting[l.first:], c)] = nil
		l.state.queued.Add(-1)
	}
	c.call.Out.Reset()
	c.bare.Reset()
	if c.tunnel != nil {
		c.tunnel.waiting.Reset()
	}
	c.charge()
	c.report(fate, reason, detail)
	last := len(l.all) - 1
	l.all[c.place] = l.all[last]
	l.all[c.place].place = c.place
	l.all[last] = nil
	l.all = l.all[:last]
	d.total--
	active := c.active
	d.release(c)
	if active {
		l.leave()
		l.next()
	}
}

// release makes the copy free for use once this pass is over: until then
// callers further up the stack may still look at it.
func (d *Dispatcher) release(c *Copy) {
	if len(d.ended) == 0 {
		d.loop.AfterPass((*recycle)(d))
	}
	d.ended = append(d.ended, c)
}

// recycle is a dispatcher that has copies to recycle.
type recycle Dispatcher

// Run makes ended copies free.
func (d *recycle) Run() {
	d.free = append(d.free, d.ended...)
	clear(d.ended)
	d.ended = d.ended[:0]
}

// report tells the exchange, if anybody asked for one.
func (c *Copy) report(fate traffic.Fate, reason traffic.Reason, detail string) {
	if c.join == nil {
		return
	}
	o := &c.join.X.Copies[c.slot]
	o.Fate, o.Reason, o.Error = fate, reason, detail
	o.Status, o.GRPC, o.Bytes = c.status, c.rpc.end, c.received
	if e := c.call.Endpoint(); e != nil && c.active {
		o.Endpoint = e.Address
	}
	if c.ready > 0 {
		o.Queued = c.join.Since(c.ready)
	}
	o.Connect = c.call.Connect
	o.Answer = c.reply.Message()
	join := c.join
	join.Times(o, c.call.SentAt, c.arrived, c.owner.loop.Arrived())
	if fate == traffic.Failed {
		o.Source = traffic.Shadow
	}
	c.join, c.reply = nil, nil // from now on they are others'
	join.Release()
}
