package interop

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// limit is how long a case may take before it has failed.
const limit = 10 * time.Second

// run runs a case and tells what it complains of.
func run(t *testing.T, name string, test func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer func() {
		t.Helper()
		switch p := recover().(type) {
		case nil:
		case complaint:
			t.Errorf("%s: %s", name, string(p))
		default:
			panic(p)
		}
	}()
	test(ctx)
}

// onService is a case that wants a client of the test service.
func onService(test func(context.Context, grpc_testing.TestServiceClient, ...grpc.CallOption), options ...grpc.CallOption) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, cc *grpc.ClientConn) {
		test(ctx, grpc_testing.NewTestServiceClient(cc), options...)
	}
}

var zipped = grpc.UseCompressor(gzip.Name)

// cases are those of gRPC that end by an answer: the cases, and what the access log
// says of their calls.
var cases = []struct {
	name string
	test func(context.Context, *grpc.ClientConn)
	want []string
}{
	{"empty_unary", onService(interop.DoEmptyUnaryCall), []string{"EmptyCall OK completed OK"}},
	{"large_unary", onService(interop.DoLargeUnaryCall), []string{"UnaryCall OK completed OK"}},
	{"large_unary, compressed", onService(interop.DoLargeUnaryCall, zipped), []string{"UnaryCall OK completed OK"}},
	{"client_streaming", onService(interop.DoClientStreaming), []string{"StreamingInputCall OK completed OK"}},
	{"client_streaming, compressed", onService(interop.DoClientStreaming, zipped), []string{"StreamingInputCall OK completed OK"}},
	{"server_streaming", onService(interop.DoServerStreaming), []string{"StreamingOutputCall OK completed OK"}},
	{"server_streaming, compressed", onService(interop.DoServerStreaming, zipped), []string{"StreamingOutputCall OK completed OK"}},
	{"ping_pong", onService(interop.DoPingPong), []string{"FullDuplexCall OK completed OK"}},
	{"ping_pong, compressed", onService(interop.DoPingPong, zipped), []string{"FullDuplexCall OK completed OK"}},
	{"empty_stream", onService(interop.DoEmptyStream), []string{"FullDuplexCall OK completed OK"}},
	{"custom_metadata", onService(interop.DoCustomMetadata), []string{"FullDuplexCall OK completed OK", "UnaryCall OK completed OK"}},
	{"status_code_and_message", onService(interop.DoStatusCodeAndMessage),
		[]string{"FullDuplexCall UNKNOWN completed UNKNOWN", "UnaryCall UNKNOWN completed UNKNOWN"}},
	{"special_status_message", onService(interop.DoSpecialStatusMessage), []string{"UnaryCall UNKNOWN completed UNKNOWN"}},
	{"unimplemented_method", interop.DoUnimplementedMethod, []string{"UnimplementedCall UNIMPLEMENTED completed UNIMPLEMENTED"}},
	{"unimplemented_service", func(ctx context.Context, cc *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, grpc_testing.NewUnimplementedServiceClient(cc))
	}, []string{"UnimplementedCall UNIMPLEMENTED completed UNIMPLEMENTED"}},
}

func TestCallsEndAsTheServerSays(t *testing.T) {
	stages(t, func(t *testing.T, s *stage) {
		calls := uint64(0)
		for _, c := range cases {
			run(t, c.name, func(ctx context.Context) { c.test(ctx, s.client) })
			if diff := cmp.Diff(c.want, s.seen.next(t, len(c.want))); diff != "" {
				t.Errorf("%s: exchanges (-want +got):\n%s", c.name, diff)
			}
			calls += uint64(len(c.want))
		}
		const want = "map[EmptyCall:1 FullDuplexCall:5 StreamingInputCall:2 StreamingOutputCall:2 UnaryCall:5 UnimplementedCall:2]"
		if got := s.primary.counts(); got != want {
			t.Errorf("the primary got %s, want %s", got, want)
		}
		if got := s.shadow.counts(); got != want {
			t.Errorf("the shadow got %s, want %s", got, want)
		}
		if m := s.books(t); m.Selected != calls || m.Completed != calls {
			t.Errorf("%d selected and %d completed, want %d of both", m.Selected, m.Completed, calls)
		}
	})
}

// answers counts the answers of a client that had a head of their own.
type answers struct{ heads atomic.Int64 }

// TagRPC implements stats.Handler.
func (a *answers) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (a *answers) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.InHeader); ok {
		a.heads.Add(1)
	}
}

// TagConn implements stats.Handler.
func (a *answers) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (a *answers) HandleConn(context.Context, stats.ConnStats) {}

// An answer that is trailers only is nothing else behind the proxy.
func TestTrailersOnly(t *testing.T) {
	stages(t, func(t *testing.T, s *stage) {
		run(t, "unimplemented_method", func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, s.client) })
		if n := s.answers.heads.Load(); n != 0 {
			t.Errorf("got %d heads, want none", n)
		}
		run(t, "empty_unary", func(ctx context.Context) { onService(interop.DoEmptyUnaryCall)(ctx, s.client) })
		if n := s.answers.heads.Load(); n != 1 {
			t.Errorf("got %d heads, want that of a call that was answered", n)
		}
	})
}

// One that has begun to answer when its client gives it up: the primary hears
// of it, and so does the shadow.
func TestACallThatIsCancelledAfterItsFirstAnswer(t *testing.T) {
	stages(t, func(t *testing.T, s *stage) {
		run(t, "cancel_after_first_response", func(ctx context.Context) { onService(interop.DoCancelAfterFirstResponse)(ctx, s.client) })
		s.primary.hears(t, codes.Canceled)
		if got := s.seen.next(t, 1)[0]; got != "FullDuplexCall dropped client_gone" {
			t.Errorf("got %q", got)
		}
		if m := s.books(t); m.Selected != 1 || m.Dropped["client_gone"] != 1 {
			t.Errorf("the books are %+v, want one dropped as client_gone", m)
		}
	})
}

// hears waits for the end of a stream, which must be of that kind.
func (s *server) hears(t *testing.T, want codes.Code) {
	t.Helper()
	select {
	case err := <-s.ended:
		if status.Code(err) != want {
			t.Errorf("the server's stream ended by %v, want %s", err, want)
		}
	case <-time.After(limit):
		t.Error("the server does not hear of the end of its stream")
	}
}

// Those that their client may give up before anybody has heard of them: whatever
// was seen of them is in the books.
func TestCallsThatAreGivenUpAtOnce(t *testing.T) {
	stages(t, func(t *testing.T, s *stage) {
		const n = 50
		for range n {
			run(t, "cancel_after_begin", func(ctx context.Context) { onService(interop.DoCancelAfterBegin)(ctx, s.client) })
			run(t, "timeout_on_sleeping_server", func(ctx context.Context) { onService(interop.DoTimeoutOnSleepingServer)(ctx, s.client) })
		}
		run(t, "empty_unary", func(ctx context.Context) { onService(interop.DoEmptyUnaryCall)(ctx, s.client) })
		m := s.books(t)
		accounted := m.Completed
		for _, ended := range m.Dropped {
			accounted += ended
		}
		for _, ended := range m.Failed {
			accounted += ended
		}
		if m.InFlight != 0 || m.Selected != accounted || m.Selected < 1 || m.Selected > 2*n+1 || m.Memory != 0 {
			t.Errorf("the books are %+v", m)
		}
	})
}

// A deadline ends a call of a server that says nothing, at the client, at the
// primary and at the shadow.
func TestADeadlineEndsACall(t *testing.T) {
	stages(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		stream, err := grpc_testing.NewTestServiceClient(s.client).FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{ResponseType: grpc_testing.PayloadType_COMPRESSABLE}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
		for name, b := range map[string]*server{"primary": s.primary, "shadow": s.shadow} {
			select {
			case err := <-b.ended:
				if c := status.Code(err); c != codes.Canceled && c != codes.DeadlineExceeded {
					t.Errorf("the %s's stream ended by %v", name, err)
				}
			case <-time.After(limit):
				t.Errorf("the %s does not hear of it", name)
			}
		}
		// Whoever looks at the clock first gives it up, servers by an answer.
		got := strings.TrimPrefix(s.seen.next(t, 1)[0], "FullDuplexCall ")
		switch strings.TrimPrefix(got, "DEADLINE_EXCEEDED ") {
		case "dropped client_gone", "failed timeout", "completed DEADLINE_EXCEEDED":
		default:
			t.Errorf("got %q", got)
		}
	})
}
