package proxy

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/grpc"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// rpc is what a request is besides, if it is a gRPC call.
type rpc struct {
	is      bool
	timeout time.Duration // that the client has named; 0 = none
	end     traffic.GRPCCall
}

// isCall says whether h is the head of a gRPC call.
func isCall(h *http1.Request) bool {
	contentType, _ := h.Lookup(http1.ContentType)
	return grpc.IsCall(h.Method(), contentType)
}

// readCall notes what there is to know if the request is a gRPC call. Its deadline
// bounds the whole request, as the rule's timeout does.
func (r *request) readCall(h *http1.Request) {
	if r.rpc.is = isCall(h); !r.rpc.is {
		return
	}
	if value, ok := h.Value(grpc.TimeoutField, 0); ok {
		if t, ok := grpc.Timeout(value); ok {
			r.rpc.timeout = max(t, 1) // a client may say that its time was up already
		}
	}
}

// total returns how long the request may take in all; 0 = for ever.
func (r *request) total() time.Duration {
	total := r.rule.total
	if t := r.rpc.timeout; t > 0 && (total == 0 || t < total) {
		return t
	}
	return total
}

// overdue says whether the client itself has given the call up by now.
func (r *request) overdue() bool {
	return r.rpc.timeout > 0 && r.worker.loop.Now() >= r.until()
}

// until returns when the client gives the call up, on the loop's clock; 0 = never.
func (r *request) until() time.Duration {
	if r.rpc.timeout == 0 {
		return 0
	}
	return r.start + r.rpc.timeout
}

// expire ends a call that is overdue. One that has been answered in part ends as its
// client expects, by trailers.
func (r *request) expire() {
	const why = "the primary did not answer within the client's grpc-timeout"
	if !r.begun || !r.outChunks {
		r.fail(504, traffic.Primary, why)
		return
	}
	r.source, r.reason = traffic.Primary, why
	r.call.Cancel()
	w, out := r.worker, &r.client.out
	r.rpc.end = traffic.GRPCCall{Status: traffic.GRPCDeadlineExceeded, Message: why}
	w.target = grpc.AppendStatus(w.target[:0], r.rpc.end.Status, why)
	out.Commit(http1.AppendLastChunk(out.Room(8+len(w.target)), w.target))
	r.settle()
}

// answerCall answers a gRPC call in the way that its client understands: with
// an HTTP 200 whose fields say how the call ended, and nothing behind them.
func (r *request) answerCall(status int, why string) {
	w := r.worker
	r.status = 200
	r.rpc.end = traffic.GRPCCall{Status: grpc.FromHTTP(status), Message: why}
	w.target = append(w.target[:0], "Content-Type: "+grpc.ContentType+"\r\n"...)
	w.target = grpc.AppendStatus(w.target, r.rpc.end.Status, why)
	r.answer(&http1.Answer{Status: 200, Extra: w.target})
}
