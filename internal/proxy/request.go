package proxy

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/grpc"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// request is the life of one live request, from its head to the last byte of
// its answer. It is the primary's [upstream.Caller].
type request struct {
	worker *worker
	client *client
	rule   *rule // nil if no route matched
	live   int   // row of its books
	call   upstream.Call
	mark   spool.Mark      // what was sent on a pooled connection, to send it again
	copies []mirror.Ticket // of copies that want the body
	join   *mirror.Join    // nil if nobody asked for the exchange
	asked  *mirror.Capture // of the request; nil if nobody wants it
	told   *mirror.Capture // of the primary's answer, in the same way
	timer  loop.Timer

	decoder http1.Body // of the request's body
	chunked bool       // the primary gets chunks
	minor   int        // of the client's version
	safe    bool
	head    bool
	expect  bool // the client waits for 100 before it sends the body
	keep    bool // the client's connection may serve another request

	start, sent, first, moved time.Duration
	arrived, over             time.Duration // when the answer's head was there, and its end, or the primary's failure
	bytesIn, bytesOut         int64
	attempts                  int
	refused                   []*upstream.Endpoint // the connection
	rpc                       rpc
	key                       []byte // of a WebSocket whose client speaks HTTP/2
	status                    int
	source                    traffic.Source
	reason                    string

	bodyDone   bool // the whole request was read
	begun      bool // the client got a head
	answered   bool // the whole answer is in the client's queue
	outChunks  bool // the client gets chunks
	untilClose bool // the client takes the end of the connection for the end of the answer
	tunnel     bool // upgraded, or a stream
	streamed   bool // a tunnel from its first byte
	ended      bool // the client of a tunnel has ended its direction
	lastWord   bool // the primary of a stream has ended: the client hears of it after the last byte
	counted    bool // counted as in flight
}

// reset prepares r for its next use and keeps its memory.
func (r *request) reset() {
	*r = request{
		worker:  r.worker,
		call:    upstream.Call{User: r, Out: r.call.Out, Preface: r.call.Preface[:0]},
		mark:    r.mark,
		copies:  r.copies[:0],
		refused: r.refused[:0],
		key:     r.key[:0],
		timer:   r.timer,
	}
}

// begin starts the request whose head the client has parsed.
func (r *request) begin(cl *client) {
	w, h := cl.worker, cl.head
	r.client = cl
	r.start = w.loop.Now()
	r.moved = r.start
	r.decoder = h.Body()
	r.bodyDone = r.decoder.Done()
	r.minor = h.Minor()
	r.safe = h.Safe()
	r.head = string(h.Method()) == "HEAD"
	r.expect = h.ExpectContinue()
	r.keep = h.KeepAlive()
	r.readCall(h)
	r.readKey(h)
	m := &w.match
	m.Listener, m.Host, m.Method, m.Path, m.Query = w.plan.place(cl.listener).index, h.Host(), h.Method(), h.Path(), h.Query()
	var trusted bool
	m.Source, trusted = w.plan.source(cl.peer, h)
	m.Headers, m.Identities, m.GRPC = h, cl.identities, r.rpc.is
	matched := w.plan.table.Match(m)
	if matched != nil {
		r.rule = &w.plan.rules[matched.ID]
		r.live = r.rule.own
	}
	w.newID()
	r.sample(m)
	switch {
	case matched == nil:
		r.refuse(404, traffic.Client, "no route matches")
	case h.Connect():
		r.refuse(501, traffic.Client, "CONNECT is not supported")
	case r.rule.Def.Redirect != nil:
		r.redirect(m)
	default:
		r.forward(m, trusted)
	}
}

// forward sends the request to a primary, and copies of it to shadows.
func (r *request) forward(m *route.Request, trusted bool) {
	w := r.worker
	choice := r.rule.choose(w.random.Uint64())
	if choice == nil {
		r.refuse(503, traffic.Internal, "the rule has no backend")
		return
	}
	r.live = choice.live
	r.count(1)
	endpoint := w.up.Pick(choice.backend, nil)
	if endpoint == nil {
		r.fail(503, traffic.Primary, "the backend has no endpoints")
		return
	}
	o := r.outgoing(m, trusted)
	r.chunked = o.Length == http1.LengthChunked
	out := &r.call.Out
	room := 1 << 10
	if o.Length > 0 {
		room += int(min(o.Length, maxJoint))
	}
	out.Commit(http1.AppendRequest(out.Room(room), r.client.head, r.rule.edit, o))
	r.call.Head = r.head
	r.call.Once = !r.safe || !r.bodyDone
	r.call.Upgrade = o.Upgrade
	r.call.Until = r.until()
	r.call.Whole = r.bodyDone
	r.announce(choice.backend)
	r.send(endpoint)
	r.watch()
	r.copy(m, o)
}

// maxJoint is the size up to which a body is put behind its head in one block,
// so that one write takes both.
const maxJoint = 16 << 10

// send sends the request to endpoint.
func (r *request) send(endpoint *upstream.Endpoint) {
	r.attempts++
	r.sent, r.over = r.worker.loop.Now(), 0
	r.worker.up.Send(&r.call, endpoint)
	if r.ended {
		r.call.CloseWrite()
	}
	r.markSent()
}

// markSent keeps what goes out on a pooled connection, which the server may
// have closed, or to a server that may refuse it: see retry.
func (r *request) markSent() {
	if r.call.Whole && (r.call.Reused || r.call.Refusable) && !r.call.Started() && r.mark.Len() == 0 {
		r.call.Out.Mark(&r.mark)
	}
}

// copy offers the request to every mirror of its rule, and has the exchange
// captured if one of them, or the recording, wants that.
func (r *request) copy(m *route.Request, o *http1.Outgoing) {
	w := r.worker
	s := &w.subject
	w.choices = w.choices[:0]
	if len(r.rule.mirrors) > 0 {
		s.Head, s.Match, s.Draw, s.Deadline = r.client.head, m, w.random.Uint64(), r.until()
		s.From, s.To = r.client.from, r.client.to
	}
	for _, policy := range r.rule.mirrors {
		w.choices = append(w.choices, policy.Decide(s))
	}
	r.tap(m, o)
	r.call.Timed = r.join != nil
	for i, policy := range r.rule.mirrors {
		s.Decision = w.choices[i]
		c := w.copies.Offer(policy, s, o, r.join)
		if c != nil && (!r.bodyDone || c.Tunnel()) {
			r.copies = append(r.copies, c.Ticket())
		}
	}
}

// body uses bytes of the request's body, or of a tunnel, at the front of p.
func (r *request) body(p []byte, b *spool.Buffer) (used int) {
	r.moved = r.worker.loop.Now()
	if r.tunnel {
		r.bytesIn += int64(len(p))
		r.call.Out.Add(p, b)
		r.pushed()
		r.pushCopies(p, b)
		return len(p)
	}
	r.expect = false
	data, n, err := r.decoder.Decode(p)
	if err != nil {
		r.keep = false
		r.fail(err.Status, traffic.Client, err.Reason)
		return len(p)
	}
	if len(data) > 0 {
		r.bytesIn += int64(len(data))
		r.push(data, b)
	}
	if r.decoder.Done() {
		r.endBody()
	}
	return n
}

// push hands a part of the body to the primary and the copies.
func (r *request) push(data []byte, b *spool.Buffer) {
	r.asked.Body(data)
	if r.call.Active() {
		out := &r.call.Out
		if r.chunked {
			out.Commit(http1.AppendChunkHeader(out.Room(16), len(data)))
		}
		out.Add(data, b)
		if r.chunked {
			out.Copy(crlf)
		}
		r.pushed()
	}
	r.pushCopies(data, b)
}

// pushCopies hands bytes of the client's to the copies.
func (r *request) pushCopies(p []byte, b *spool.Buffer) {
	for _, t := range r.copies {
		if c := t.Copy(); c != nil {
			c.Body(p, b)
		}
	}
}

var crlf = []byte("\r\n")

func (r *request) pushed() {
	r.call.Flush()
	if r.call.Out.Len() >= highWater {
		r.client.blocked = true
	}
}

// endBody notes that the request is whole.
func (r *request) endBody() {
	r.bodyDone = true
	trailer := r.decoder.Trailer()
	r.asked.End(trailer)
	if r.call.Active() {
		if r.chunked {
			out := &r.call.Out
			out.Commit(http1.AppendLastChunk(out.Room(8+len(trailer)), trailer))
		}
		r.call.Whole = true
		r.markSent()
		r.call.Flush()
	}
	r.finishCopies(trailer)
}

func (r *request) finishCopies(trailer []byte) {
	for _, t := range r.copies {
		if c := t.Copy(); c != nil {
			c.Finish(trailer)
		}
	}
	r.copies = r.copies[:0]
}

// Sent implements upstream.Caller.
func (r *request) Sent(c *upstream.Call, _ int) {
	r.moved = r.worker.loop.Now()
	if cl := r.client; cl.blocked && c.Out.Len() < highWater {
		cl.blocked = false
		r.worker.loop.AfterEvent((*clientResume)(cl))
	}
}

// Answer implements upstream.Caller: the primary's head becomes the client's.
func (r *request) Answer(_ *upstream.Call, resp *http1.Response) {
	cl, w := r.client, r.worker
	r.moved = w.loop.Now()
	o := http1.ResponseOutgoing{Length: resp.Framing(), Minor: r.minor}
	if resp.Interim() && resp.Status() != 101 {
		r.expect = false
		if r.minor > 0 && !r.begun {
			cl.out.Commit(http1.AppendResponse(cl.out.Room(512), resp, nil, &o))
			cl.flushSoon()
		}
		return
	}
	if resp.Status() == 101 && !r.bodyDone {
		// The rest of the request would be taken for the first bytes of the new protocol.
		r.fail(502, traffic.Primary, "the primary switched protocols in the middle of the request")
		return
	}
	if why := r.disagrees(resp); why != "" {
		r.fail(502, traffic.Primary, why)
		return
	}
	r.mark.Release()
	r.first, r.arrived = r.moved, w.loop.Arrived()
	r.status = resp.Status()
	r.told.Head(resp.Raw(), resp.Framing())
	r.begun = true
	w.copies.Governor.Live(r.first - r.sent)
	w.report(r.moved)
	r.answerCopies(resp)
	if r.rpc.is {
		grpc.ReadHead(&r.rpc.end, resp, r.join != nil)
	}
	if r.status == 101 {
		o.Upgrade = true
		r.dig()
	}
	hasBody := !r.head && r.status >= 200 && r.status != 204 && r.status != 304
	r.frame(&o, hasBody)
	if !r.bodyDone || cl.retired || cl.eof && cl.in.Len() == 0 {
		r.keep = false
	}
	o.Close = !r.keep && !r.tunnel
	o.Extra = r.alternative(resp)
	room := 512
	if o.Length > 0 && hasBody {
		room += int(min(o.Length, maxJoint))
	}
	cl.out.Commit(http1.AppendResponse(cl.out.Room(room), resp, r.rule.answer, &o))
	cl.flushSoon()
}

// answerCopies sends copies of an upgrade on their way, which wait for the
// primary's answer.
func (r *request) answerCopies(resp *http1.Response) {
	for _, t := range r.copies {
		if c := t.Copy(); c != nil {
			c.Answered(resp)
		}
	}
}

// frame chooses how the client learns where the answer ends, when the way that
// the primary chose is none that the client would understand, or would cost
// the connection.
func (r *request) frame(o *http1.ResponseOutgoing, hasBody bool) {
	endless := o.Length == http1.LengthClose || o.Length == http1.LengthChunked && r.minor == 0
	switch {
	case endless && !hasBody:
		o.Length = http1.LengthNone
	case endless && r.minor == 0:
		r.keep, r.untilClose = false, true
	case endless:
		o.Length = http1.LengthChunked
	}
	r.outChunks = o.Length == http1.LengthChunked && hasBody && !r.untilClose
}

// dig makes the request a tunnel. The client may have sent the first bytes for
// it, or its end, before it knew.
func (r *request) dig() {
	r.tunnel, r.keep = true, false
	r.watch()
	r.worker.loop.AfterEvent((*clientResume)(r.client))
}

// Data implements upstream.Caller.
func (r *request) Data(_ *upstream.Call, p []byte, b *spool.Buffer) {
	cl := r.client
	r.moved = r.worker.loop.Now()
	if r.streamed && r.heard(p) {
		return
	}
	r.bytesOut += int64(len(p))
	r.told.Body(p)
	if r.outChunks {
		cl.out.Commit(http1.AppendChunkHeader(cl.out.Room(16), len(p)))
	}
	cl.out.Add(p, b)
	if r.outChunks {
		cl.out.Copy(crlf)
	}
	cl.flushSoon()
}

// End implements upstream.Caller.
func (r *request) End(_ *upstream.Call, trailer []byte, f upstream.Failure) {
	r.over = r.worker.loop.Arrived()
	switch {
	case f.Failed() && r.overdue():
		r.expire() // the primary knows the client's time too
	case f.Failed() && r.retry(f):
	case f.Failed() && r.streamed:
		r.breakStream(traffic.Primary, f.Detail)
	case f.Failed() && r.tunnel:
		r.settle()
	case f.Failed():
		status := 502
		if f.Reason == traffic.FailConnect || f.Reason == traffic.FailTLS {
			status = 503
		}
		r.fail(status, traffic.Primary, f.Detail)
	default:
		r.told.End(trailer)
		if r.rpc.is {
			grpc.ReadTrailer(&r.rpc.end, trailer, r.status, r.join != nil)
		}
		if r.outChunks {
			out := &r.client.out
			out.Commit(http1.AppendLastChunk(out.Room(8+len(trailer)), trailer))
		}
		r.settle()
	}
}

// settle notes that the whole answer, or as much of it as there is, is in the
// client's queue.
func (r *request) settle() {
	cl := r.client
	r.answered = true
	if !r.bodyDone {
		// The client is still sending what nobody wants any more.
		r.cutCopies()
		cl.linger()
	}
	if r.streamed && !cl.eof {
		r.finishCopies(nil) // the primary has taken no more than this
		cl.linger()
	}
	if r.tunnel || !r.keep {
		cl.closing = true
		cl.listen()
	}
	cl.flushSoon()
}

func (r *request) cutCopies() {
	for _, t := range r.copies {
		if c := t.Copy(); c != nil {
			c.Cut()
		}
	}
	r.copies = r.copies[:0]
}

// complete ends the request after its last byte was taken by the client.
func (r *request) complete() {
	cl, keep := r.client, r.keep && r.bodyDone
	r.finish()
	cl.served(keep)
}

// abandon ends the request because the client has gone, or must go: what the
// primary has not answered is cut off, so that it can stop working on it.
func (r *request) abandon(source traffic.Source, why string) {
	if !r.begun && !r.streamed {
		r.status = 499 // what nginx made the custom for a client that left
	}
	if r.source == traffic.None {
		r.source, r.reason = source, why
	}
	if r.streamed {
		r.client.broken = true
		r.call.Reset()
	}
	r.call.Cancel()
	r.cutCopies()
	r.finish()
	r.client.req = nil
}
