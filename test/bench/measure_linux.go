package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/test/load"
)

// workload is one kind of traffic.
type workload struct {
	Name    string
	Title   string
	Answer  int64 // bytes
	Body    int64 // bytes of the request's body
	Chunked bool
	Chunk   int  // bytes of a chunk
	Same    bool // the shadow answers as the primary does
	Open    bool // open loop at a fixed rate, for latency

	Wire    wire
	Conns   int // connections of the load; 0 leaves it to the flags
	Streams int // with HTTP/2: requests at a time on a connection
	// Messages of a gRPC call, each way, of which Body and Answer are the
	// sizes. With more than one, figures are for each message.
	Messages int
}

// with says whether a contestant can speak what the workload wants. nginx
// speaks HTTP/1.1 to upstreams, and a gRPC call has no bare answer.
func (w *workload) with(c contestant) bool {
	return !w.Wire.GRPC || c.Program != "nginx" && !c.Bare
}

// sample is what one proxy did under one workload in one round. CPU is that of
// the proxy's process tree for each live request that the primary saw, until
// the copies had drained.
type sample struct {
	Workload string `json:"workload"`
	Proxy    string `json:"proxy"`
	Round    int    `json:"round"` // from 0

	UserMicros   float64 `json:"user_us"`           // per live request
	SystemMicros float64 `json:"system_us"`         // per live request
	LoopMicros   float64 `json:"loop_us,omitempty"` // the event loops' part of the two
	Throughput   float64 `json:"throughput"`
	P50Micros    float64 `json:"p50_us"`
	P99Micros    float64 `json:"p99_us"`
	P999Micros   float64 `json:"p999_us"`
	MemoryMiB    float64 `json:"memory_mib"` // PSS of the tree after the load

	Live   uint64 `json:"live"`   // requests the primary saw
	Copies uint64 `json:"copies"` // requests the shadow saw
	// Compared are the pairs that understudy has captured to be compared.
	Compared uint64            `json:"compared,omitempty"`
	Errors   map[string]uint64 `json:"errors"` // as the clients saw them
	// WrongBodies counts pieces of bodies that reached an upstream changed.
	WrongBodies uint64 `json:"wrong_bodies"`
	// Lost says by reason what understudy's own books count as copies dropped
	// and failed.
	Lost map[string]float64 `json:"lost,omitempty"`
	// SameSet: the primary saw exactly the requests that were sent, and the
	// shadow of a 100 % mirror exactly those too.
	SameSet bool `json:"same_set"`

	OtherCPU  float64 `json:"other_cpu"`  // part of all cores that unknown programs took
	StolenCPU float64 `json:"stolen_cpu"` // part of all cores that the hypervisor took
}

// CPUMicros is user and system time per live request.
func (s *sample) CPUMicros() float64 { return s.UserMicros + s.SystemMicros }

// plan is the load of a workload on a target.
func (b *bench) plan(w workload, target string) load.Plan {
	p := load.Plan{
		Target: target, Conns: b.options.conns, Duration: b.options.time, UniqueIDs: true,
		Path: "/shop/items?page=2", Host: host,
		Headers: []load.Header{
			{Name: "User-Agent", Value: "bench/1.0 (load generator)"},
			{Name: "Accept", Value: "text/html,application/json;q=0.9,*/*;q=0.8"},
			{Name: "Accept-Language", Value: "en-GB,en;q=0.7"},
			{Name: "Cookie", Value: "session=0123456789abcdef; theme=dark"},
		},
		BodyBytes: w.Body, Chunked: w.Chunked, ChunkBytes: w.Chunk,
		AnswerFill: 'p', AnswerBytes: w.Answer,
	}
	if w.Open {
		// Far fewer requests than in closed loop: the tail needs time.
		p.Rate, p.Duration = b.options.rate, 2*p.Duration
	}
	return p
}

// measure takes one sample: start, warm up, drain, reset, load, drain, stop.
func (b *bench) measure(ctx context.Context, w workload, c contestant, st *stage) (s sample, err error) {
	c.Wire = w.Wire
	r, err := b.start(ctx, c, st.upstreams(c))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()

	// Without the counts of whoever was measured before, or the warm-up's
	// copies would seem to have arrived at once.
	if err := st.reset(); err != nil {
		return s, err
	}
	warmed, err := b.drive(ctx, w, r, drive{span: b.options.time / 8, closed: true})
	if err != nil {
		return s, fmt.Errorf("warm up %s: %w", c.Name, err)
	}
	if _, err := drain(ctx, st.shadowOf(c), c, warmed.OK); err != nil {
		return s, err
	}
	if err := st.reset(); err != nil {
		return s, err
	}
	booksBefore, err := readBooks(ctx, r)
	if err != nil {
		return s, err
	}
	before, err := readUsage(r, st)
	if err != nil {
		return s, err
	}
	share := b.watchLoops(ctx, r)
	result, err := b.drive(ctx, w, r, drive{span: b.options.time, expect: warmed.Throughput})
	if err != nil {
		return s, fmt.Errorf("load %s: %w", c.Name, err)
	}
	shadow, err := drain(ctx, st.shadowOf(c), c, result.OK)
	if err != nil {
		return s, err
	}
	after, err := readUsage(r, st)
	if err != nil {
		return s, err
	}
	primary, err := st.primary.Stats()
	if err != nil {
		return s, err
	}
	s = newSample(result, primary, shadow)
	s.Workload, s.Proxy = w.Name, c.Name
	s.SameSet = w.sameSet(result, primary.IDs) && (c.Percent < 100 || shadow.IDs == primary.IDs)
	if w.Messages > 1 {
		s.Live, s.Copies = primary.Messages, shadow.Messages
		s.Throughput *= float64(w.Messages)
	}
	s.charge(before, after, result.CPU)
	part, err := share()
	if err != nil {
		return s, err
	}
	s.LoopMicros = part * s.CPUMicros()
	booksAfter, err := readBooks(ctx, r)
	if err != nil {
		return s, err
	}
	s.Lost, s.Compared = grown(booksBefore.lost, booksAfter.lost), uint64(booksAfter.taken-booksBefore.taken)
	if r.process != nil {
		m, err := r.process.Memory()
		if err != nil {
			return s, err
		}
		s.MemoryMiB = float64(m.PSS) / (1 << 20)
	}
	return s, nil
}

// drain waits until the shadow's count no longer grows: at once for a complete
// set of copies.
func drain(ctx context.Context, shadow *load.UpstreamProcess, c contestant, live uint64) (load.UpstreamStats, error) {
	if c.Percent == 0 {
		return shadow.Stats()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return shadow.Drain(ctx, live, 300*time.Millisecond)
}

func newSample(r *load.Result, primary, shadow load.UpstreamStats) sample {
	micros := func(q float64) float64 { return float64(r.Latency.Quantile(q)) / float64(time.Microsecond) }
	return sample{
		Throughput: r.Throughput, P50Micros: micros(0.5), P99Micros: micros(0.99), P999Micros: micros(0.999),
		Live: primary.Requests, Copies: shadow.Requests, Errors: r.Errors,
		WrongBodies: primary.BadBodies + shadow.BadBodies,
	}
}

// usage is a reading of every meter at one time.
type usage struct {
	at           time.Time
	user, system time.Duration // of the proxy
	known        time.Duration // of the upstreams and this process
	busy, stolen time.Duration // of the machine
}

func readUsage(r *running, st *stage) (u usage, err error) {
	if u.user, u.system, err = r.cpu(); err != nil {
		return u, err
	}
	if u.known, err = st.cpu(); err != nil {
		return u, err
	}
	var self unix.Rusage
	if err = unix.Getrusage(unix.RUSAGE_SELF, &self); err != nil {
		return u, err
	}
	u.known += time.Duration(self.Utime.Nano() + self.Stime.Nano())
	u.at = time.Now()
	u.busy, u.stolen, err = load.MachineCPU()
	return u, err
}

// charge turns two readings into the sample's CPU figures; generator is the CPU
// time of the load generator in between.
func (s *sample) charge(before, after usage, generator time.Duration) {
	if s.Live > 0 {
		s.UserMicros = float64(after.user-before.user) / float64(time.Microsecond) / float64(s.Live)
		s.SystemMicros = float64(after.system-before.system) / float64(time.Microsecond) / float64(s.Live)
	}
	all := float64(after.at.Sub(before.at)) * float64(load.CPUCount())
	known := after.known - before.known + after.user - before.user + after.system - before.system + generator
	// Ticks are coarse: what is known may seem more than all there was.
	s.OtherCPU = max(float64(after.busy-before.busy-known)/all, 0)
	s.StolenCPU = float64(after.stolen-before.stolen) / all
}
