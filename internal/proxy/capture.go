package proxy

import (
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
)

// tap has the request's messages captured if it is drawn: to be recorded, or
// because a mirror that has selected it compares answers. It is drawn once for
// all mirrors of the rule. Connections that may become another protocol's are
// left out: what is said there is no message.
func (r *request) tap(m *route.Request, o *http1.Outgoing) {
	w := r.worker
	if w.tap.Sink == nil || o.Upgrade {
		return
	}
	record := w.drawnFrom(w.plan.record)
	want := mirror.Want{Record: record}
	if len(w.choices) > 0 {
		want.Draw = w.random.Uint64()
	}
	if !w.tap.Draws(&want, r.rule.mirrors, w.choices) {
		return
	}
	join := w.tap.Join(r.start, want, len(w.choices))
	if join == nil {
		return
	}
	r.describe(join.X, m)
	if r.join != nil {
		join.Sinks = r.join.Sinks
	}
	r.join = join
	r.asked, r.told = join.Capture(), join.Capture()
	r.asked.Head(r.client.head.Raw(), o.Length)
	if r.bodyDone {
		r.asked.End(nil)
	}
}
