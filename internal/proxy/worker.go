package proxy

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/session"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// worker is all that belongs to one event loop. Only its loop's goroutine
// touches it.
type worker struct {
	server *Server
	loop   *loop.Loop
	pool   spool.Pool
	intake *spool.Intake
	up     *upstream.Client
	copies *mirror.Dispatcher
	tap    mirror.Tap
	plan   *plan
	sinks  []traffic.Sink
	random *rand.PCG

	openings   map[*opening]struct{}
	clients    map[*client]struct{}
	lanes      int // of clients, those that are streams of sessions
	sessions   map[*session.Session]arrival
	guests     int              // connections of annexes
	serving    *session.Options // of new sessions
	accepted   uint64
	live       []*telemetry.Live // by live id; nil until used
	handshakes map[handshakeRow]uint64
	failures   failureLog
	draining   bool
	drained    func() // called when the last client has gone

	// Working space of the request that is being started, and of writes.
	match   route.Request
	subject mirror.Subject
	choices []mirror.Decision // of the mirrors of its rule
	out     http1.Outgoing
	target  []byte
	text    strings.Builder // of exchanges
	wall    time.Time       // at looked, on the loop\'s clock
	looked  time.Duration
	id      [36]byte // for a request that has no x-request-id
	vec     [][]byte

	heads    []*http1.Request // not in use
	requests []*request       // not in use
	ended    []*request       // not in use after this pass
}

func newWorker(s *Server, l *loop.Loop) *worker {
	w := &worker{
		server:     s,
		loop:       l,
		openings:   map[*opening]struct{}{},
		handshakes: map[handshakeRow]uint64{},
		clients:    map[*client]struct{}{},
		sessions:   map[*session.Session]arrival{},
		sinks:      s.options.Sinks,
		random:     rand.NewPCG(rand.Uint64(), rand.Uint64()),
	}
	w.intake = spool.NewIntake(&w.pool)
	w.up = &upstream.Client{Loop: l, Pool: &w.pool, Intake: w.intake}
	w.tap.Loop, w.tap.Sink, w.tap.Memory = l, s.options.Capture, &s.captured
	w.copies = mirror.NewDispatcher(&upstream.Client{Loop: l, Pool: &w.pool, Intake: w.intake}, s.log)
	return w
}

// adopt puts p in force for requests that begin from now on.
func (w *worker) adopt(p *plan) {
	w.use(p)
	w.up.CloseIdle(false)
	w.copies.CloseIdle(false)
	w.copies.HangUp()
	for cl := range w.clients {
		if !p.place(cl.listener).open {
			cl.retire()
		}
	}
	w.retireSessions(func(ln *listener) bool { return !p.place(ln).open })
}

// use has requests from now on served by p.
func (w *worker) use(p *plan) {
	w.plan = p
	w.serving = w.sessionOptions(p)
	w.tap.Body = int64(p.config.Capture.Body)
}

// accept takes a new client, or nobody if there are as many as there may be.
func (w *worker) accept(c *loop.Conn, ln *listener) loop.Handler {
	n := w.server.clients.Add(1)
	if limit := int64(w.plan.config.Client.Connections); limit > 0 && n > limit {
		w.server.clients.Add(-1)
		return nil
	}
	w.accepted++
	a := arrival{conn: c, listener: ln, from: unmapped(c.Remote()), to: unmapped(c.Local())}
	if o := w.open(a); o != nil {
		return o
	}
	return w.serve(a, "", nil)
}

// arrival is a connection and whose it is: the ends of the connection itself, or
// those that a load balancer has told by a PROXY header.
type arrival struct {
	conn     *loop.Conn
	listener *listener
	from, to netip.AddrPort

	secure     bool     // by TLS
	identities []string // names in the client's certificate
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// serve makes a client of a connection that nothing needs to be known of any more
// but what server it asked for by TLS, if that was read. rest is what was read of
// its own bytes.
func (w *worker) serve(a arrival, server string, rest []byte) *client {
	cl := w.newClient(a)
	cl.server = server
	cl.in.Keep(&w.pool, rest)
	if l := w.plan.listener(a.listener); l != nil && l.Layer4() {
		cl.protocol = l.Protocol
		cl.req = w.newRequest()
		cl.req.stream(cl)
	} else {
		cl.fresh = true
		cl.rest()
	}
	if w.draining {
		cl.retire()
	}
	if len(rest) > 0 {
		w.loop.AfterEvent((*clientResume)(cl))
	}
	return cl
}

// newClient returns what serves requests on a connection.
func (w *worker) newClient(a arrival) *client {
	cl := &client{worker: w, arrival: a}
	cl.out.Pool = &w.pool
	cl.timer.Task = (*clientExpired)(cl)
	cl.peer = a.from.Addr()
	w.clients[cl] = struct{}{}
	return cl
}

// drain lets clients finish what they have begun and calls done when the last
// one has gone.
func (w *worker) drain(done func()) {
	w.draining = true
	w.drained = done
	for o := range w.openings {
		w.loop.Arm(&o.timer, retireTime)
	}
	for cl := range w.clients {
		cl.retire()
	}
	w.retireSessions(func(*listener) bool { return true })
	w.checkDrained()
}

func (w *worker) checkDrained() {
	if w.draining && len(w.clients)+len(w.openings)+len(w.sessions) == 0 && w.drained != nil {
		done := w.drained
		w.drained = nil
		done()
	}
}

// abort closes every client that is left.
func (w *worker) abort() {
	for o := range w.openings {
		o.close()
	}
	for cl := range w.clients {
		cl.gone(traffic.Internal, "shutdown")
	}
	for s := range w.sessions {
		s.Abort()
	}
}

// row returns the books of a live row.
func (w *worker) row(id int) *telemetry.Live {
	for id >= len(w.live) {
		w.live = append(w.live, nil)
	}
	if w.live[id] == nil {
		w.live[id] = &telemetry.Live{Codes: map[int]uint64{}, Errors: map[traffic.Source]uint64{}}
	}
	return w.live[id]
}

// newHead returns a parser.
func (w *worker) newHead() *http1.Request {
	if last := len(w.heads) - 1; last >= 0 {
		h := w.heads[last]
		w.heads = w.heads[:last]
		return h
	}
	return &http1.Request{}
}

func (w *worker) freeHead(h *http1.Request) {
	h.Reset()
	w.heads = append(w.heads, h)
}

// newRequest returns a request without content.
func (w *worker) newRequest() *request {
	if last := len(w.requests) - 1; last >= 0 {
		r := w.requests[last]
		w.requests = w.requests[:last]
		return r
	}
	r := &request{worker: w}
	r.call.User = r
	r.call.Out.Pool = &w.pool
	r.timer.Task = (*requestExpired)(r)
	return r
}

// freeRequest makes r free for use after this pass: until then callers further
// up the stack may still look at it.
func (w *worker) freeRequest(r *request) {
	if len(w.ended) == 0 {
		w.loop.AfterPass((*recycle)(w))
	}
	w.ended = append(w.ended, r)
}

// recycle is a worker with requests to use again.
type recycle worker

// Run frees them.
func (w *recycle) Run() {
	for i, r := range w.ended {
		r.reset()
		w.requests = append(w.requests, r)
		w.ended[i] = nil
	}
	w.ended = w.ended[:0]
}

// newID sets w.id to a random UUID (RFC 9562, version 4).
func (w *worker) newID() {
	const digits = "0123456789abcdef"
	hi, lo := w.random.Uint64(), w.random.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 1<<63
	n := 0
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			w.id[n] = '-'
			n++
		}
		v := hi
		if i >= 16 {
			v = lo
		}
		w.id[n] = digits[v>>(60-4*(i%16))&15]
		n++
	}
}

// report tells people of a change of the governor.
func (w *worker) report(now time.Duration) {
	if !w.copies.Governor.Tick(now) {
		return
	}
	throttle := w.copies.Governor.Throttle()
	w.server.notes.add(func(log *slog.Logger) {
		if throttle < 1 {
			log.Info("live answers got slower while copying: fewer copies for now", "throttle", throttle)
		} else {
			log.Info("live answers are as fast as before: copying in full again")
		}
	})
}
