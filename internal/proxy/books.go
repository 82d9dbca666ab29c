package proxy

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
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
	if r.join != nil {
		r.reportTo(r.join.X, now)
		r.join.Release()
	}
	w.freeRequest(r)
}

// drawn says whether there is a sink and the present request is drawn for it.
func (w *worker) drawn() bool {
	part := w.plan.sampled
	return part != 0 && len(w.sinks) > 0 && (part == 1<<64-1 || w.random.Uint64() < part)
}

// sample starts an exchange if there is a sink and this request is drawn.
func (r *request) sample(m *route.Request) {
	w := r.worker
	if !w.drawn() {
		return
	}
	x := &traffic.Exchange{
		ID:       string(w.id[:]),
		Start:    time.Now(),
		Listener: w.plan.nameOf(r.client.listener),
		Client:   m.Source,
		Host:     string(m.Host),
		Protocol: r.client.protocol,
	}
	if h := r.client.head; h != nil {
		r.describe(x, h)
	}
	r.join = &mirror.Join{Begin: r.start, Sinks: w.sinks, X: x}
	if r.rule != nil {
		r.join.X.Route, r.join.X.Rule = r.rule.Route, r.rule.Index
	}
	r.join.Hold()
}

// describe fills in what the head of a request says.
func (r *request) describe(x *traffic.Exchange, h *http1.Request) {
	if id, ok := h.Lookup(http1.XRequestID); ok {
		x.ID = string(id)
	}
	agent, _ := h.Lookup(http1.UserAgent)
	x.Method, x.Path, x.Query, x.UserAgent = string(h.Method()), string(h.Path()), string(h.Query()), string(agent)
	x.Protocol = r.protocol()
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
	p := &x.Primary
	if e := r.call.Endpoint(); e != nil {
		p.Backend, p.Endpoint = e.Backend.Name, e.Address
	}
	if r.sent > 0 {
		p.Start = r.sent - r.start
	}
	if r.first > 0 {
		p.First = r.first - r.start
		p.Status, p.GRPC = r.status, r.rpc.end
	}
	p.End = now - r.start
	p.Bytes = r.bytesOut
	if r.source == traffic.Primary {
		p.Source, p.Error = r.source, r.reason
	}
}
