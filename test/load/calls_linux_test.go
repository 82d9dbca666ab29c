package load

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCallersAndServerAgree(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]CallPlan{
		"one message":   {Messages: 1, MessageBytes: 100},
		"many messages": {Messages: 20, MessageBytes: 3000},
		"empty ones":    {Messages: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t, UpstreamOptions{GRPC: true, AnswerBytes: 200, Fill: 'p', CheckBody: true})
			plan.Target, plan.Conns, plan.Streams, plan.Duration = u.Addr(), 2, 3, 50*time.Millisecond
			plan.AnswerFill, plan.AnswerBytes = 'p', 200
			r, err := RunCallsProcess(context.Background(), plan)
			if err != nil {
				t.Fatal(err)
			}
			s := u.Stats()
			if r.OK == 0 || r.OK != r.Requests || r.Answered != r.Sent || r.Latency.Count() != r.OK || r.Throughput <= 0 || r.CPU <= 0 {
				t.Errorf("result %+v", r)
			}
			messages := r.OK * uint64(plan.Messages)
			want := UpstreamStats{Requests: r.OK, Messages: messages, IDs: r.Sent, BodyBytes: messages * uint64(plan.MessageBytes)}
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("the server counted something else than was called (-called +counted):\n%s", diff)
			}
			u.Reset()
			if got := u.Stats(); got != (UpstreamStats{}) {
				t.Errorf("after a reset the counts are %+v", got)
			}
		})
	}
}

func TestCallsStandStill(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, UpstreamOptions{GRPC: true, AnswerBytes: 3, Fill: 'p', Takes: 2})
	plan := CallPlan{Target: u.Addr(), Conns: 1, Streams: 1, Messages: 3, MessageBytes: 10, Duration: time.Minute, AnswerFill: 'p', AnswerBytes: 3}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	r, err := RunCalls(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != 0 || r.Requests == 0 || r.Errors["grpc_DeadlineExceeded"] != r.Requests || u.Stats().Messages != 2 {
		t.Errorf("%d of %d calls ended, %v; %d messages taken, want 2", r.OK, r.Requests, r.Errors, u.Stats().Messages)
	}
}

func TestFailedCallsAreCountedByTheirReason(t *testing.T) {
	t.Parallel()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	u := startUpstream(t, UpstreamOptions{GRPC: true, AnswerBytes: 3, Fill: 'p'})
	for name, tt := range map[string]struct {
		target string
		plan   CallPlan
		reason string
	}{
		"nobody there":  {addr, CallPlan{AnswerFill: 'p', AnswerBytes: 3}, "grpc_Unavailable"},
		"other content": {u.Addr(), CallPlan{AnswerFill: 's', AnswerBytes: 3}, ErrBadAnswer},
		"other length":  {u.Addr(), CallPlan{AnswerFill: 'p', AnswerBytes: 4}, ErrBadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.plan.Target, tt.plan.Conns, tt.plan.Streams, tt.plan.Duration, tt.plan.Messages = tt.target, 1, 1, time.Millisecond, 1
			r, err := RunCalls(context.Background(), tt.plan)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK != 0 || r.Requests == 0 || r.Errors[tt.reason] != r.Requests {
				t.Errorf("%d of %d calls are fine, errors %v; want all to be %s", r.OK, r.Requests, r.Errors, tt.reason)
			}
		})
	}
	if _, err := RunCalls(context.Background(), CallPlan{Target: addr}); err == nil {
		t.Error("a plan without calls was taken")
	}
}
