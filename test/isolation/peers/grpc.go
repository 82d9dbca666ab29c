//go:build linux

package peers

import (
	"context"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

const (
	grpcConns   = 4
	grpcStreams = 8
)

func serveCalls(kind string, fill byte) (*Backend, error) {
	o := load.UpstreamOptions{GRPC: true, AnswerBytes: AnswerBytes, Fill: fill, CheckBody: true}
	if kind == StopsReading {
		o.Takes = takes
	}
	u, err := load.StartUpstream(o)
	if err != nil {
		return nil, err
	}
	return &Backend{addr: u.Addr(), stats: u.Stats, stop: func() error { u.Stop(); return nil }}, nil
}

func driveCalls(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+patience)
	defer cancel()
	return load.RunCalls(ctx, load.CallPlan{
		Target: target, Conns: grpcConns, Streams: grpcStreams, Duration: duration,
		Messages: messages, MessageBytes: messageBytes, AnswerFill: primaryFill, AnswerBytes: AnswerBytes,
	})
}
