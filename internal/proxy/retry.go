package proxy

import (
	"slices"

	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// maxAttempts bounds how often one request is sent: once, once more because a
// pooled connection turned out to be closed, and again for each endpoint that
// refuses the connection.
const maxAttempts = 4

// retry sends the request again if that is safe: no byte of an answer has come,
// and either no byte of the request was sent, or a pooled connection turned out
// to be closed and the method only reads, or the server says that it refused.
func (r *request) retry(f upstream.Failure) bool {
	if r.begun || r.attempts >= maxAttempts || r.client.closed {
		return false
	}
	last := r.call.Endpoint()
	var next *upstream.Endpoint
	switch {
	case r.streamed && f.Reason != traffic.FailConnect:
		return false // whoever took the connection has had its say
	case f.Unsent && (f.Reason == traffic.FailConnect || f.Reason == traffic.FailTLS):
		r.refused = append(r.refused, last)
		next = r.other(last)
	case f.Unsent:
		next = r.worker.up.Pick(last.Backend, last)
	case (f.Stale && r.safe || f.Refused) && r.mark.Len() > 0:
		next = r.worker.up.Pick(last.Backend, nil)
		r.call.Out.Reset()
		r.mark.Replay(&r.call.Out)
		r.mark.Release()
	}
	if next == nil {
		return false
	}
	r.send(next)
	return true
}

// other returns an endpoint beside last that has not refused the request yet,
// or nil.
func (r *request) other(last *upstream.Endpoint) *upstream.Endpoint {
	if next := r.worker.up.Pick(last.Backend, last); next == nil || !slices.Contains(r.refused, next) {
		return next
	}
	for _, e := range last.Backend.Endpoints() {
		if !slices.Contains(r.refused, e) {
			return e
		}
	}
	return nil
}
