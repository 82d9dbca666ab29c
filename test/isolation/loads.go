//go:build linux

package main

import (
	"context"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// clients is how many keep-alive connections every load uses.
const clients = 64

// uploadBytes is more than socket buffers hold: a smaller body disappears into
// them, and the client never notices who does not read at the other end.
const uploadBytes = 16 << 20

// After these times a client gives up, which counts as an error. They differ
// from the proxies' own timeouts for copies, 5 s and 15 s, or it would be chance
// which of the two comes first.
const (
	patience       = 4 * time.Second
	uploadPatience = 12 * time.Second
)

// kindOfLoad is one column of the suite: a request and how it is sent.
type kindOfLoad struct {
	name string
	plan load.Plan // without target and duration
	// paced is the time that the plan itself spends pausing in each request.
	// Latency counts from there, or the pauses would hide it.
	paced time.Duration
	// alone: before the rounds, single uploads are timed as well.
	alone bool
	// few is how many requests a short round (see brief) stops after, because
	// one for each client would take longer than the round; 0 = no such limit.
	few int
	// drive runs the load where it is not of HTTP/1.1; plan is not used then.
	drive func(ctx context.Context, target string, duration time.Duration) (*load.Result, error)
	// unasked is how many copies a proxy makes of what no load has sent.
	unasked uint64
}

// run sends the load to a proxy.
func (k kindOfLoad) run(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	if k.drive != nil {
		return k.drive(ctx, target, duration)
	}
	return load.RunProcess(ctx, k.at(target, duration))
}

// brief is how long a round may be to be called short.
const brief = time.Second

// The streaming upload is 32 chunks, one every 10 ms.
const (
	streamChunk  = 32 << 10
	streamChunks = 32
	streamPace   = 10 * time.Millisecond
)

var loads = []kindOfLoad{
	{name: "get", plan: load.Plan{RequestTimeout: patience}},
	{name: "post-4k", plan: load.Plan{BodyBytes: 4 << 10, RequestTimeout: patience}},
	{name: "post-16m", plan: load.Plan{BodyBytes: uploadBytes, RequestTimeout: uploadPatience}, alone: true, few: 32},
	{
		name: "stream",
		plan: load.Plan{
			BodyBytes: streamChunks * streamChunk, Chunked: true, ChunkBytes: streamChunk, Pace: streamPace,
			RequestTimeout: patience,
		},
		paced: (streamChunks - 1) * streamPace,
	},
}

// answerBytes is the size of every answer of the primary and the healthy shadow.
const answerBytes = 200

// What the answers' bodies are made of: a client that sees a shadow's byte counts it as an error.
const (
	primaryFill = 'p'
	shadowFill  = 's'
)

// at completes the plan of a load against a proxy.
func (k kindOfLoad) at(target string, duration time.Duration) load.Plan {
	p := k.plan
	p.Target, p.Duration, p.Conns = target, duration, clients
	if duration < brief {
		p.Requests = k.few
	}
	return checked(p)
}

// single is a plan of n uploads after each other on one connection.
func single(target string, n int) load.Plan {
	return checked(load.Plan{Target: target, Conns: 1, Requests: n, BodyBytes: uploadBytes, RequestTimeout: patience})
}

// checked makes the client look at every answer: is it whole, is it the
// primary's, and is it this request's?
func checked(p load.Plan) load.Plan {
	p.UniqueIDs, p.AnswerFill, p.AnswerBytes = true, primaryFill, answerBytes
	return p
}
