package main

import (
	"context"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// host is who the requests are for.
const host = "shop.example.com"

// drive says how long to load a proxy.
type drive struct {
	span   time.Duration
	closed bool    // in closed loop even where the workload is open
	expect float64 // requests per second; 0 if not known, as in a warm-up
}

// drive puts a workload's load on a proxy: by our own generators, or by h2load
// for TLS and HTTP/2.
func (b *bench) drive(ctx context.Context, w workload, r *running, d drive) (*load.Result, error) {
	switch {
	case w.Messages > 1:
		return load.RunCallsProcess(ctx, load.CallPlan{
			Target: r.target, Conns: w.Conns, Streams: w.Streams, Duration: d.span,
			Messages: w.Messages, MessageBytes: int(w.Body), AnswerFill: 'p', AnswerBytes: w.Answer,
		})
	case w.Wire != wire{}:
		return b.h2load(ctx, w, r, d)
	}
	p := b.plan(w, r.target)
	if d.closed {
		p.Rate, p.Duration = 0, d.span
	}
	return load.RunProcess(ctx, p)
}

// sameSet says whether the primary saw the requests that were sent. h2load does
// not say which it sent, only how many.
func (w *workload) sameSet(r *load.Result, seen load.IDSet) bool {
	if w.Wire != (wire{}) && w.Messages <= 1 {
		return seen.Count == r.Requests
	}
	return seen == r.Sent
}
