package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// CallService is the gRPC service that an upstream with UpstreamOptions.GRPC
// has. Its methods are ids in sixteen hex digits.
const CallService = "load.Calls"

// rawMessages passes messages on as the bytes they are: there is no schema.
type rawMessages struct{}

func (rawMessages) Name() string { return "proto" }

func (rawMessages) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawMessages) Unmarshal(data mem.BufferSlice, v any) error {
	into := v.(*[]byte)
	*into = append((*into)[:0], data.Materialize()...)
	return nil
}

// callServer is the gRPC side of an upstream: every method answers each message
// with one, and ends when the caller does.
type callServer struct {
	u      *Upstream
	server *grpc.Server
	answer []byte
	check  bool
	takes  int // see UpstreamOptions
}

func startCalls(u *Upstream, o *UpstreamOptions) error {
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return err
	}
	u.addr = listener.Addr().String()
	s := &callServer{u: u, answer: []byte(strings.Repeat(string(rune(o.Fill)), int(o.AnswerBytes))), check: o.CheckBody, takes: o.Takes}
	s.server = grpc.NewServer(grpc.ForceServerCodecV2(rawMessages{}), grpc.UnknownServiceHandler(s.handle), grpc.MaxConcurrentStreams(1<<16))
	u.calls = s
	u.wg.Go(func() { _ = s.server.Serve(listener) }) // ends with Stop, and with nothing else
	return nil
}

func (s *callServer) handle(_ any, stream grpc.ServerStream) error {
	var in []byte
	for n := 0; ; n++ {
		if s.takes > 0 && n == s.takes {
			<-stream.Context().Done()
			s.u.unfinished.Add(1)
			return stream.Context().Err()
		}
		err := stream.RecvMsg(&in)
		if errors.Is(err, io.EOF) {
			s.ended(stream)
			return nil
		}
		if err != nil {
			s.u.unfinished.Add(1)
			return err
		}
		s.u.messages.Add(1)
		s.u.bodyBytes.Add(uint64(len(in)))
		if s.check && !matchesPattern(in, 0) {
			s.u.badBodies.Add(1)
		}
		if err := stream.SendMsg(s.answer); err != nil {
			s.u.unfinished.Add(1)
			return err
		}
	}
}

func (s *callServer) ended(stream grpc.ServerStream) {
	method, _ := grpc.MethodFromServerStream(stream)
	if id, ok := getID([]byte(method[strings.LastIndexByte(method, '/')+1:])); ok {
		s.u.ids.add(id)
	}
	s.u.requests.Add(1)
}

// CallPlan says which gRPC calls to make: each sends its messages one by one
// and waits for the answer to each. All fields must be set.
type CallPlan struct {
	Target   string        `json:"target"`   // host:port
	Conns    int           `json:"conns"`    // connections
	Streams  int           `json:"streams"`  // calls at a time on a connection
	Duration time.Duration `json:"duration"` // no call starts later

	Messages     int   `json:"messages"`      // of a call, each way
	MessageBytes int   `json:"message_bytes"` // of a message of the caller
	AnswerFill   byte  `json:"answer_fill"`   // see Plan
	AnswerBytes  int64 `json:"answer_bytes"`
}

// caller carries a CallPlan out.
type caller struct {
	plan    *CallPlan
	end     time.Time
	next    atomic.Uint64
	message []byte

	mu     sync.Mutex
	result *Result
}

// callLimit bounds one call.
const callLimit = 30 * time.Second

// RunCalls makes calls until the plan's end. The requests of the result are
// calls; its Throughput is calls per second.
func RunCalls(ctx context.Context, p CallPlan) (*Result, error) {
	if p.Target == "" || p.Conns <= 0 || p.Streams <= 0 || p.Duration <= 0 || p.Messages <= 0 || p.MessageBytes > patternLen {
		return nil, fmt.Errorf("load: incomplete plan of calls: %+v", p)
	}
	r := &caller{plan: &p, end: time.Now().Add(p.Duration), message: patternAt(0, p.MessageBytes), result: newResult()}
	r.next.Store(firstID())
	start := time.Now()
	var wg sync.WaitGroup
	for range p.Conns {
		conn, err := grpc.NewClient("passthrough:///"+p.Target,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawMessages{})))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		for range p.Streams {
			wg.Go(func() { r.run(ctx, conn) })
		}
	}
	wg.Wait()
	r.result.Elapsed = time.Since(start)
	r.result.Throughput = float64(r.result.OK) / r.result.Elapsed.Seconds()
	return r.result, nil
}

func (r *caller) run(ctx context.Context, conn *grpc.ClientConn) {
	for ctx.Err() == nil && time.Now().Before(r.end) {
		id := r.next.Add(1)
		began := time.Now()
		err := r.call(ctx, conn, id)
		r.note(id, time.Since(began), err)
	}
}

func (r *caller) note(id uint64, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Requests++
	r.result.Sent.Add(id)
	r.result.Latency.Record(took)
	switch {
	case err == nil:
		r.result.OK++
		r.result.Answered.Add(id)
	case errors.Is(err, errMessage):
		r.result.Errors[ErrBadAnswer]++
	default:
		r.result.Errors["grpc_"+status.Code(err).String()]++
	}
}

// call makes one call; an error that is none of gRPC's is errMessage.
func (r *caller) call(ctx context.Context, conn *grpc.ClientConn, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var method [16]byte
	putID(method[:], id)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+CallService+"/"+string(method[:]))
	if err != nil {
		return err
	}
	var answer []byte
	for range r.plan.Messages {
		// What failed is told by RecvMsg.
		if err := stream.SendMsg(r.message); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := stream.RecvMsg(&answer); err != nil {
			return notEarly(err)
		}
		if int64(len(answer)) != r.plan.AnswerBytes || strings.Trim(string(answer), string(rune(r.plan.AnswerFill))) != "" {
			return errMessage
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	err = stream.RecvMsg(&answer)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errMessage // a message nobody asked for
	}
	return err
}

// notEarly makes an error of an end that came too early.
func notEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return errMessage
	}
	return err
}
