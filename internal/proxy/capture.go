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
	if !record && !mirror.Compares(r.rule.mirrors, w.choices, want.Draw) {
		return
	}
	if r.join == nil {
		r.openExchange(m, nil)
	}
	r.asked = r.join.Tap(&w.tap, want, len(w.choices))
	r.told = r.join.Capture()
	r.asked.Head(r.client.head.Raw(), o.Length)
	if r.bodyDone {
		r.asked.End(nil)
	}
}
