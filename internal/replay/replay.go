package replay

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Options say what is sent again, and how.
type Options struct {
	Target  *Target
	Sink    traffic.Sink // takes what was sent and answered, and releases it; nil = nobody
	Pace    Pace
	Session SessionKey

	Concurrency int                            // requests that are sent and not answered yet; 0 = 256
	Writes      bool                           // send requests that write, too
	Cut         bool                           // send requests whose body was not kept whole, too
	NoTokens    bool                           // leave out requests with tokens in place of secrets, which the target does not know
	Filter      func(x *traffic.Exchange) bool // requests of which it says false are left out; nil = none is
	Limit       int64                          // requests that are sent; 0 = all
	For         time.Duration                  // what is due later is not sent; 0 = no end

	Queue  int   // requests that may wait for their session or for an earlier answer; 0 = 10,000
	Memory int64 // bytes that they may hold; 0 = 128MiB
	Ahead  int   // exchanges that the sink may hold, of as many bytes; the others are refused, or with Pace.Max waited for; 0 = 2,048

	Names Names

	// Untimed leaves the recorded times out of what the sink gets. Where another
	// machine or another pace decides, they say nothing about the target.
	Untimed bool
}

// Names are what exchanges are called when they are given to the sink, which
// knows no recording. The zero value is "replay" for all of them.
type Names struct {
	Route   string
	Mirror  string
	Primary string // backend
	Shadow  string // backend
}

// Replay sends requests once.
type Replay struct {
	options Options
	crew    *crew
	ledger  *ledger
	books   books
	seed    maphash.Seed
}

// New checks the options.
func New(o Options) (*Replay, error) {
	if err := o.Pace.validate(); err != nil {
		return nil, err
	}
	if o.Target == nil {
		return nil, errors.New("no target")
	}
	o.Concurrency = cmp.Or(o.Concurrency, 256)
	o.Queue = cmp.Or(o.Queue, 10_000)
	o.Memory = cmp.Or(o.Memory, 128<<20)
	for _, name := range []*string{&o.Names.Route, &o.Names.Mirror, &o.Names.Primary, &o.Names.Shadow} {
		*name = cmp.Or(*name, "replay")
	}
	r := &Replay{options: o, seed: maphash.MakeSeed()}
	r.ledger = newLedger(cmp.Or(o.Ahead, 2048), o.Memory)
	r.crew = newCrew(o.Concurrency, o.Queue, o.Memory, r.deliver)
	return r, nil
}

// Run sends what source gives, and returns when all has been answered. When ctx
// ends, nothing more is sent, and what has been is still waited for, which takes
// the target's timeout at most. The summary is of what was done, also with an
// error, which is the source's.
func (r *Replay) Run(ctx context.Context, source Source) (*Summary, error) {
	r.books.begin(time.Now())
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	jobs := newFeed()
	type ending struct {
		why End
		err error
	}
	read := make(chan ending, 1)
	go func() {
		defer close(jobs.jobs)
		why, err := r.read(reading, &sorter{source: source}, jobs)
		read <- ending{why, err}
	}()
	stopped := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(stopped)
		r.leaveOut(EndInterrupt, r.crew.stop()...)
	})
	r.schedule(ctx, jobs)
	stopReading()
	end := <-read
	for j := range jobs.jobs {
		r.leaveOut("", j)
	}
	r.crew.wait()
	if !undo() {
		<-stopped
	}
	r.crew.stop()
	r.books.ended(end.why)
	if c, ok := source.(io.Closer); ok {
		end.err = errors.Join(end.err, c.Close())
	}
	return r.books.close(time.Now(), r.options), end.err
}

// leaveOut counts jobs that are not sent because the replay ends.
func (r *Replay) leaveOut(why End, jobs ...*job) {
	if why != "" && len(jobs) > 0 {
		r.books.ended(why)
	}
	for _, j := range jobs {
		r.books.skip(SkipStopped)
		j.exchange.Release()
	}
}

// read hands on what is to be sent, until the source ends, the limit is reached
// or ctx ends, and says which it was.
func (r *Replay) read(ctx context.Context, source Source, jobs *feed) (End, error) {
	for sent := int64(0); r.options.Limit == 0 || sent < r.options.Limit; {
		x, err := source.Next()
		if errors.Is(err, io.EOF) {
			return EndAll, nil
		}
		if err != nil {
			return EndError, err
		}
		r.books.read.Add(1)
		tokens, why := r.leftOut(x)
		if why != "" {
			r.books.skip(why)
			x.Release()
			continue
		}
		x.Copies = nil
		j := &job{exchange: x, session: r.options.Session.of(x, r.seed), size: sizeOf(x), tokens: tokens}
		if !jobs.put(ctx, j) {
			r.leaveOut("", j)
			return EndInterrupt, nil
		}
		sent++
	}
	return EndLimit, nil
}

// leftOut says why an exchange is not sent, or nothing if it is, and then whether
// it is sent with tokens in place of secrets.
func (r *Replay) leftOut(x *traffic.Exchange) (tokens bool, why Skip) {
	o := &r.options
	switch {
	case o.Filter != nil && !o.Filter(x):
		return false, SkipFilter
	case x.Request == nil:
		return false, SkipNotKept
	case x.Primary.Status == 101 || x.Method == "CONNECT":
		return false, SkipUpgrade
	case writes(x.Method) && !o.Writes:
		return false, SkipWrite
	case (x.Request.Cut() || !x.Request.Whole) && !o.Cut:
		return false, SkipCut
	}
	q, err := o.Target.request(context.Background(), x.Request)
	if err != nil {
		return false, SkipInvalid
	}
	if tokens = hasTokens(q, x.Request.Body); tokens && o.NoTokens {
		return false, SkipRedacted
	}
	return tokens, ""
}

// hasTokens says whether a request carries tokens of redaction.
func hasTokens(q *http.Request, body []byte) bool {
	for _, fields := range []http.Header{q.Header, q.Trailer} {
		for _, values := range fields {
			for _, v := range values {
				if redact.Has([]byte(v)) {
					return true
				}
			}
		}
	}
	return redact.Has([]byte(q.URL.String())) || redact.Has(body)
}

// writes says that requests of a method may change something, as a mirror does.
func writes(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return false
	}
	return true
}

// schedule hands jobs to the crew when they are due, until they end, the time is
// over or ctx ends.
func (r *Replay) schedule(ctx context.Context, jobs *feed) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var base, first time.Time // now and in the recording
	for n := int64(0); ; n++ {
		j, err := jobs.take(ctx)
		switch {
		case err != nil:
			r.books.ended(EndInterrupt)
			return
		case j == nil:
			return
		}
		if n == 0 {
			base, first = time.Now(), j.exchange.Start
		}
		offset := max(0, r.options.Pace.due(n, j.exchange.Start.Sub(first)))
		if over := r.options.For; over > 0 && (offset >= over || time.Since(base) >= over) {
			r.leaveOut(EndTime, j)
			return
		}
		j.due = base.Add(offset)
		if wait := time.Until(j.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				r.leaveOut(EndInterrupt, j)
				return
			}
		}
		r.handOn(ctx, j)
	}
}

// handOn gives a job to the crew now that it is due.
func (r *Replay) handOn(ctx context.Context, j *job) {
	if r.options.Pace.Max {
		if !r.crew.put(j) {
			r.leaveOut(EndInterrupt, j)
		}
		return
	}
	r.books.scheduled(time.Since(j.due))
	switch {
	case r.crew.offer(j):
	case ctx.Err() != nil:
		r.leaveOut(EndInterrupt, j)
	default:
		r.books.skip(SkipBacklog)
		j.exchange.Release()
	}
}

// deliver sends a job and gives what came of it to the sink.
func (r *Replay) deliver(j *job) {
	j.begun = time.Now()
	if r.options.Pace.Max {
		j.due = j.begun // it was due when somebody had time for it
	}
	x := j.exchange
	recorded := x.Primary
	o := r.options.Target.send(context.Background(), x.Request, j.due)
	o.Backend, o.Mirror, o.Compare = r.options.Names.Shadow, r.options.Names.Mirror, true
	x.Start = j.due
	x.Route, x.Rule = r.options.Names.Route, 0
	x.Primary.Backend = r.options.Names.Primary
	if r.options.Untimed {
		x.Primary.Start, x.Primary.First, x.Primary.End = 0, 0, 0
	}
	x.Copies = []traffic.Outcome{o}
	refused := r.options.Sink == nil || !r.ledger.lend(x, r.options.Pace.Max) || !r.options.Sink.Offer(x)
	if refused {
		x.Release()
	}
	r.books.sent(j, &recorded, &o, refused)
}

// feed is what the reader has ready for the scheduler, bounded in number and in
// bytes.
type feed struct {
	jobs  chan *job
	bytes atomic.Int64
	taken chan struct{} // one was
}

// feedBytes are enough to bridge the decoding of a block of a recording.
const feedBytes = 16 << 20

func newFeed() *feed { return &feed{jobs: make(chan *job, 256), taken: make(chan struct{}, 1)} }

// put waits for room, or returns false when ctx ends.
func (f *feed) put(ctx context.Context, j *job) bool {
	for f.bytes.Load() > feedBytes {
		select {
		case <-f.taken:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case f.jobs <- j:
		f.bytes.Add(j.size)
		return true
	case <-ctx.Done():
		return false
	}
}

// take waits for a job. It is nil after the last one.
func (f *feed) take(ctx context.Context) (*job, error) {
	select {
	case j := <-f.jobs:
		if j != nil {
			f.bytes.Add(-j.size)
			select {
			case f.taken <- struct{}{}:
			default:
			}
		}
		return j, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
