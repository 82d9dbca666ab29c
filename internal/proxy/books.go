package proxy

import (
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// count adds the request to those in flight, or with -1 takes it away.
func (r *request) count(n int64) {
	r.counted = n > 0
	r.worker.row(r.live).InFlight += n
}

// finish closes the books on the request and lets go of it.
func (r *request) finish() {
	w := r.worker
	now := w.loop.Now()
	row := w.row(r.live)
	if r.counted {
		r.count(-1)
	}
	row.Codes[r.status]++
	if r.rpc.end.Status != "" {
		if row.GRPC == nil {
			row.GRPC = map[traffic.GRPCStatus]uint64{}
		}
		row.GRPC[r.rpc.end.Status]++
	}
	if r.source != traffic.None {
		row.Errors[r.source]++
	}
	row.BytesIn += uint64(r.bytesIn)
	row.BytesOut += uint64(r.bytesOut)
	row.Duration.Add(now - r.start)
	if r.first > 0 && !r.streamed {
		row.First.Add(r.first - r.sent)
	}
	w.loop.Disarm(&r.timer)
	r.cutCopies()
	r.mark.Release()
	r.call.Out.Reset()
	if join := r.join; join != nil {
		r.reportTo(join.X, now)
		r.join, r.asked, r.told = nil, nil, nil // from now on they are others'
		join.Release()
	}
	w.freeRequest(r)
}

// drawn says whether there is a sink and the present request is drawn for it.
func (w *worker) drawn() bool { return len(w.sinks) > 0 && w.drawnFrom(w.plan.sampled) }

// drawnFrom draws: with a chance of part / 2^64 it says true.
func (w *worker) drawnFrom(part uint64) bool {
	return part != 0 && (part == 1<<64-1 || w.random.Uint64() < part)
}

// sample starts an exchange if there is a sink and this request is drawn.
func (r *request) sample(m *route.Request) {
	if w := r.worker; w.drawn() {
		r.join = mirror.NewJoin(r.start, w.sinks)
		r.describe(r.join.X, m)
	}
}

// describe fills in who the request is from and what it says of itself, as parts
// of one string.
func (r *request) describe(x *traffic.Exchange, m *route.Request) {
	w, h := r.worker, r.client.head
	x.Start = w.wallAt(r.start)
	x.Listener = r.worker.plan.nameOf(r.client.listener)
	x.Client = m.Source
	if r.rule != nil {
		x.Route, x.Rule = r.rule.Route, r.rule.Index
	}
	id := w.id[:]
	var path, query, agent []byte
	x.Protocol = r.client.protocol
	if h != nil {
		if own, ok := h.Lookup(http1.XRequestID); ok {
			id = own
		}
		agent, _ = h.Lookup(http1.UserAgent)
		path, query = h.Path(), h.Query()
		x.Method, x.Protocol = methodName(h.Method()), r.protocol()
	}
	w.makeText(len(id) + len(m.Host) + len(path) + len(query) + len(agent))
	x.ID, x.Host, x.Path, x.Query, x.UserAgent = w.textOf(id), w.textOf(m.Host), w.textOf(path), w.textOf(query), w.textOf(agent)
}

// wallAt is the wall clock at t on the loop's clock. It is looked at once a second:
// for each exchange that would be a good part of what capturing costs.
func (w *worker) wallAt(t time.Duration) time.Time {
	if w.wall.IsZero() || t-w.looked > time.Second {
		w.wall, w.looked = time.Now(), loop.Now()
	}
	return w.wall.Add(t - w.looked)
}

// textBlock is how much text of exchanges is allocated at once: a string for each
// would be most of what capturing costs. Whoever keeps one keeps the block.
const textBlock = 4 << 10

// makeText makes room for n bytes of strings.
func (w *worker) makeText(n int) {
	if w.text.Cap()-w.text.Len() < n {
		w.text = strings.Builder{} // the old block belongs to its strings
		w.text.Grow(max(n, textBlock))
	}
}

// textOf returns b as a string, for which makeText has made room.
func (w *worker) textOf(b []byte) string {
	from := w.text.Len()
	w.text.Write(b)
	return w.text.String()[from:]
}

// methodName is string(m), without making another one of those that most
// requests have.
func methodName(m []byte) string {
	switch string(m) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "PATCH":
		return "PATCH"
	}
	return string(m)
}

// protocol is what the client speaks.
func (r *request) protocol() string {
	if v := r.client.version; v != "" {
		return v
	}
	return [...]string{"HTTP/1.0", "HTTP/1.1"}[r.minor]
}

// report tells the sinks of a request whose head cannot be read: all that is
// known is who sent it and what is wrong.
func (cl *client) report(err *http1.Error) {
	cl.worker.reportTo(&cl.arrival, err.Status, err.Reason)
}

// reportTo tells the sinks of a client of whom nothing more is known.
func (w *worker) reportTo(a *arrival, status int, why string) {
	if !w.drawn() {
		return
	}
	w.newID()
	for _, sink := range w.sinks {
		sink.Offer(&traffic.Exchange{
			ID:       string(w.id[:]),
			Start:    time.Now(),
			Listener: w.plan.nameOf(a.listener),
			Client:   a.from.Addr(),
			Status:   status,
			Source:   traffic.Client,
			Error:    why,
		})
	}
}

// reportTo fills in the live side of an exchange.
func (r *request) reportTo(x *traffic.Exchange, now time.Duration) {
	x.Duration = now - r.start
	x.Status, x.Source, x.Error = r.status, r.source, r.reason
	x.GRPC = r.rpc.end
	x.BytesIn, x.BytesOut = r.bytesIn, r.bytesOut
	x.Request = r.asked.Message()
	p := &x.Primary
	if e := r.call.Endpoint(); e != nil {
		p.Backend, p.Endpoint = e.Backend.Name, e.Address
	}
	if r.arrived > 0 {
		p.Status, p.GRPC = r.status, r.rpc.end
	}
	p.Bytes = r.bytesOut
	p.Connect = r.call.Connect
	p.Answer = r.told.Message()
	if r.source == traffic.Primary {
		p.Source, p.Error = r.source, r.reason
	}
	over := r.over
	if over == 0 {
		over = now // it was given up
	}
	r.join.Times(p, r.call.SentAt, r.arrived, over)
}
