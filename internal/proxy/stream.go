package proxy

import (
	"github.com/understudy-proxy/understudy/internal/preface"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// A stream is a connection of a TCP listener, or one of TLS that passes through:
// one request that is a tunnel from its first byte. Its primary is connected to at
// once, because some servers speak first. Each side's end is passed on as it is: an
// end, after which the other side may go on, or a reset. A stream that the proxy
// must give up gets a reset too, so that nobody takes a part for the whole.

// rootPath is the path of what has none: every rule without paths matches it.
var rootPath = []byte("/")

// stream begins the request of a client without messages.
func (r *request) stream(cl *client) {
	w := cl.worker
	r.client = cl
	r.start = w.loop.Now()
	r.moved = r.start
	r.tunnel, r.streamed, r.bodyDone = true, true, true
	m := &w.match
	m.Listener, m.Host = w.plan.place(cl.listener).index, append(m.Host[:0:0], cl.server...)
	m.Method, m.Path, m.Query, m.Headers, m.GRPC = nil, rootPath, nil, nil, false
	m.Source, m.Identities = cl.peer, cl.identities
	matched := w.plan.table.Match(m)
	if matched != nil {
		r.rule = &w.plan.rules[matched.ID]
		r.live = r.rule.own
	}
	w.newID()
	r.sample(m)
	r.count(1)
	if matched == nil {
		r.breakStream(traffic.Client, "no route matches")
		return
	}
	choice := r.rule.choose(w.random.Uint64())
	if choice == nil {
		r.breakStream(traffic.Internal, "the rule has no backend")
		return
	}
	r.count(-1)
	r.live = choice.live
	r.count(1)
	endpoint := w.up.Pick(choice.backend, nil)
	if endpoint == nil {
		r.breakStream(traffic.Primary, "the backend has no endpoints")
		return
	}
	r.call.Raw, r.call.Timed = true, r.join != nil
	r.announce(choice.backend)
	r.send(endpoint)
	r.watch()
	s := &w.subject
	s.Head, s.Match, s.Draw = nil, m, w.random.Uint64()
	s.From, s.To = cl.from, cl.to
	for _, policy := range r.rule.mirrors {
		if c := w.copies.OfferStream(policy, s, r.join); c != nil {
			r.copies = append(r.copies, c.Ticket())
		}
	}
}

// announce has a primary that wants it be told of the client first. Its connection
// is then this request's alone: the next one may be somebody else's.
func (r *request) announce(b *upstream.Backend) {
	if version := b.ProxyProtocol(); version != 0 {
		r.call.Alone = true
		r.call.Preface = preface.AppendProxy(r.call.Preface[:0], version, r.client.from, r.client.to)
	}
}

// endTunnel passes on that the client has ended its direction.
func (r *request) endTunnel() {
	r.moved = r.worker.loop.Now()
	r.ended = true
	r.call.CloseWrite()
	if r.streamed {
		r.finishCopies(nil)
	} else {
		r.cutCopies() // of a WebSocket, whose last word is a frame and not this
	}
}

// heard notes a part of what the primary says, and says whether it was its end.
func (r *request) heard(p []byte) (end bool) {
	if len(p) == 0 {
		r.lastWord = true
		r.client.flushSoon()
		return true
	}
	if r.first == 0 {
		r.first, r.arrived = r.moved, r.worker.loop.Arrived()
	}
	return false
}

// passEnd tells the client, which has all bytes, that no more will come.
func (r *request) passEnd() {
	r.lastWord = false
	if !r.answered {
		_ = r.client.conn.CloseWrite() // a client that has gone tells so itself
	}
}

// breakStream gives up: the client gets a reset, and the copies, which lack
// nothing that the client has sent, an end. What the primary has said before goes
// out if it can at once.
func (r *request) breakStream(source traffic.Source, why string) {
	cl := r.client
	if cl.closed {
		return
	}
	r.source, r.reason = source, why
	r.finishCopies(nil)
	cl.broken = true
	cl.worker.loop.AfterEvent((*streamBroken)(cl))
}

// streamBroken is the client of a stream that was given up. It ends after the
// event, because the connection may only just have been accepted.
type streamBroken client

// Run writes what can be written, and ends the client.
func (c *streamBroken) Run() {
	cl := (*client)(c)
	if cl.closed || cl.req == nil {
		return
	}
	if cl.out.Len() > 0 && !cl.writing {
		cl.flush()
	}
	if !cl.closed {
		cl.gone(cl.req.source, cl.req.reason)
	}
}
