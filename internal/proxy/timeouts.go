package proxy

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// tunnelIdle is how long an upgraded connection may be silent. WebSockets
// often are, for much longer than a request may.
const tunnelIdle = time.Hour

// deadline returns when the request has taken too long if nothing moves from
// now on; 0 for never.
func (r *request) deadline() (at time.Duration) {
	stall := r.rule.idle
	switch {
	case r.streamed && stall == 0:
		return 0
	case r.streamed:
		return r.moved + stall
	case r.tunnel:
		return r.moved + tunnelIdle
	case !r.begun && r.bodyDone:
		stall = r.rule.backend
	}
	if stall > 0 {
		at = r.moved + stall
	}
	if total := r.total(); total > 0 && (at == 0 || r.start+total < at) {
		at = r.start + total
	}
	return at
}

// watch arms the next look at the request's timeouts. Which of them counts
// changes as the request goes on, and moving the timer each time would cost
// more than a look too many: so it looks after the shortest at the latest.
func (r *request) watch() {
	d, at := r.rule.shortest, r.deadline()
	if left := at - r.worker.loop.Now(); at > 0 && (d == 0 || left < d || r.tunnel) {
		d = left
	}
	if d > 0 {
		r.worker.loop.Arm(&r.timer, d)
	}
}

// requestExpired is a request whose timer has fired.
type requestExpired request

// Run ends the request if it has taken too long, and looks again later if not.
func (e *requestExpired) Run() {
	r := (*request)(e)
	if at := r.deadline(); at > 0 && at <= r.worker.loop.Now() {
		r.timedOut()
		return
	}
	r.watch()
}

// timedOut ends the request and blames whoever was waited for.
func (r *request) timedOut() {
	const stopped = "the client stopped sending"
	switch {
	case r.streamed:
		r.finishCopies(nil)
		r.client.gone(traffic.None, "")
	case r.tunnel: // nobody owed anything
		r.client.gone(traffic.None, "")
	case r.client.out.Len() > 0:
		r.client.gone(traffic.Client, "the client stopped reading")
	case r.overdue(): // which says more about the client's patience than about anybody's health
		r.expire()
	case r.bodyDone || r.call.Out.Len() > 0 || r.expect:
		r.call.Fail()
		r.fail(504, traffic.Primary, "the primary did not answer in time")
	case r.begun:
		r.client.gone(traffic.Client, stopped)
	default:
		r.keep = false
		r.fail(408, traffic.Client, stopped)
	}
}
