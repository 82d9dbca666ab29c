//go:build linux

package peers

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/shadow"
	"github.com/understudy-proxy/understudy/test/load"
)

// The ways to be bad that belong to a protocol. Protocol.Shadows lists kinds of
// package shadow besides.
const (
	SlowStream   = "slow-stream"   // HTTP/2: one stream in a hundred gets its answer at four bytes a second
	StuckStream  = "stuck-stream"  // HTTP/2: one stream in a hundred is neither read nor answered
	StopsReading = "stops-reading" // takes a few messages and answers them, then reads no more
	Unanswered   = "unanswered"    // WebSocket: the handshake gets no answer
)

// What every client sends and every backend answers.
const (
	messageBytes = 4 << 10 // of a message in HTTP/2 and gRPC
	messages     = 32      // of a call: 128 KiB, more than the window that a stream begins with
	AnswerBytes  = 200     // of an answer, all of them the backend's fill
	takes        = 4       // messages that StopsReading takes
	// WebSockets and connections hold more than socket buffers do, 4 MiB: less
	// disappears into them, and nobody notices who does not read at the other end.
	largeBytes    = 60 << 10
	largeMessages = 72
	oneIn         = 100 // streams, of which one is SlowStream's or StuckStream's
)

// patience is how long a session may take. Tests under the race detector need more.
var patience = 4 * time.Second

// Protocol is what clients, primary and shadow speak.
type Protocol struct {
	Name    string
	Shadows []string // the ways to be bad that are worth a look
	// Connections: the proxy copies connections, so that one which only looked
	// whether it listens has a copy as well.
	Connections bool

	serve func(kind string, fill byte) (*Backend, error) // kind "": healthy
	drive func(ctx context.Context, target string, duration time.Duration) (*load.Result, error)
}

// Protocols lists all of them in the order of the report.
func Protocols() []*Protocol {
	return []*Protocol{
		{Name: "http2", Shadows: []string{SlowStream, StuckStream, string(shadow.NeverReading)}, serve: serveHTTP2, drive: driveHTTP2},
		{Name: "grpc-bidi", Shadows: []string{StopsReading, string(shadow.NeverReading)}, serve: serveCalls, drive: driveCalls},
		{Name: "websocket", Shadows: []string{Unanswered, StopsReading}, serve: serveWebSockets, drive: driveWebSockets},
		{
			Name: "tcp", Shadows: []string{string(shadow.NeverReading), string(shadow.Vanishing)}, Connections: true,
			serve: serveTCP, drive: driveTCP,
		},
	}
}

// Answer starts a backend that answers everything, with bytes that are all fill.
func (p *Protocol) Answer(fill byte) (*Backend, error) { return p.serve("", fill) }

// Misbehave starts a bad shadow.
func (p *Protocol) Misbehave(kind string) (*Backend, error) {
	switch kind {
	case SlowStream, StuckStream, StopsReading, Unanswered:
		return p.serve(kind, 's')
	}
	s, err := shadow.Start(shadow.Kind(kind))
	if err != nil {
		return nil, err
	}
	return &Backend{addr: s.Addr(), stats: func() load.UpstreamStats { return load.UpstreamStats{} }, stop: s.Close}, nil
}

// Drive has clients talk to target, which must lead to a backend whose fill is
// 'p', until duration is over and each has ended what it began. A request of
// the result is an exchange of HTTP/2, a call, a WebSocket or a connection.
func (p *Protocol) Drive(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	return p.drive(ctx, target, duration)
}

// Backend is a running backend.
type Backend struct {
	addr  string
	stats func() load.UpstreamStats
	stop  func() error
}

// Addr is its host:port.
func (b *Backend) Addr() string { return b.addr }

// Stats says what it got: Requests and BadBodies alone are counted everywhere.
func (b *Backend) Stats() (load.UpstreamStats, error) { return b.stats(), nil }

// Stop cuts its connections and waits until nothing of it runs any more.
func (b *Backend) Stop(time.Duration) error { return b.stop() }

// errAnswer is an answer that is not the primary's, or not whole.
var errAnswer = errors.New("wrong answer")

// primaryFill is what clients want answers to be made of.
const primaryFill = 'p'

// rightAnswer tells whether an answer is whole and the primary's.
func rightAnswer(b []byte) bool { return filled(b, primaryFill) }

func filled(b []byte, fill byte) bool {
	for _, c := range b {
		if c != fill {
			return false
		}
	}
	return len(b) == AnswerBytes
}

// talk repeats every session until the time is over, each on a goroutine of its
// own. It waits for sessions that have begun: what is cut short proves nothing.
func talk(ctx context.Context, duration time.Duration, sessions []func(context.Context) error) *load.Result {
	r := &load.Result{Errors: map[string]uint64{}, Latency: &load.Histogram{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for _, session := range sessions {
		all.Go(func() {
			for ctx.Err() == nil && time.Since(start) < duration {
				began := time.Now()
				err := bounded(ctx, session)
				mu.Lock()
				r.Requests++
				r.Latency.Record(time.Since(began))
				if err == nil {
					r.OK++
				} else {
					r.Errors[kindOf(err)]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	r.Elapsed = time.Since(start)
	r.Throughput = float64(r.OK) / r.Elapsed.Seconds()
	return r
}

func bounded(ctx context.Context, session func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := session(ctx); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// kindOf names an error as load does where it can, and else by its innermost
// cause, which knows no addresses.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return load.ErrTimeout
	case errors.Is(err, errAnswer):
		return load.ErrBadAnswer
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return load.ErrEOF
	}
	for {
		var many interface{ Unwrap() []error }
		inner := errors.Unwrap(err)
		if inner == nil && errors.As(err, &many) {
			inner = many.Unwrap()[0]
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
