package replay

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Skip is why a request that was read is not sent. The strings are part of the
// contract.
type Skip string

// Why requests are not sent.
const (
	SkipFilter   Skip = "filter"   // it was not asked for
	SkipNotKept  Skip = "not_kept" // the recording has the outcome only
	SkipUpgrade  Skip = "upgrade"  // a tunnel, not a request
	SkipWrite    Skip = "write"    // its method may change something
	SkipCut      Skip = "cut"      // its body was not kept whole
	SkipRedacted Skip = "redacted" // it carries tokens in place of secrets
	SkipInvalid  Skip = "invalid"  // HTTP has no such request
	SkipBacklog  Skip = "backlog"  // it was due, and too many waited already
	SkipStopped  Skip = "stopped"  // the replay ended before
)

// Skips lists the closed set in display order. It must not be changed.
var Skips = []Skip{SkipFilter, SkipNotKept, SkipUpgrade, SkipWrite, SkipCut, SkipRedacted, SkipInvalid, SkipBacklog, SkipStopped}

// End is why a replay ended. The strings are part of the contract.
type End string

// Why a replay ends.
const (
	EndAll       End = "all"       // everything was sent that was to be
	EndLimit     End = "limit"     // of requests
	EndTime      End = "time"      // it was over
	EndInterrupt End = "interrupt" // somebody ended it
	EndError     End = "error"     // the recording cannot be read further
)

// Summary is what was sent and how well the pace was kept. Read is the sum of
// Sent and Skipped; Sent that of Completed, Failed and Dropped. Its JSON is part
// of the contract. Quantiles are in milliseconds.
type Summary struct {
	Target    string                   `json:"target"`
	Pace      string                   `json:"pace"`
	Started   time.Time                `json:"started"`
	Seconds   float64                  `json:"seconds"` // until the last answer
	End       End                      `json:"end"`
	Read      int64                    `json:"read"`
	Sent      int64                    `json:"sent"`
	Skipped   map[Skip]int64           `json:"skipped"`
	Completed int64                    `json:"completed"`
	Failed    map[traffic.Reason]int64 `json:"failed"`
	Dropped   int64                    `json:"dropped"`  // by us, with an error
	Statuses  map[int]int64            `json:"statuses"` // of completed ones
	Refused   int64                    `json:"refused"`  // sent and answered, and not compared
	Tokens    int64                    `json:"tokens"`   // sent with tokens in place of secrets

	// Schedule is how late requests were handed on, whatever the target does;
	// Lateness how late they were sent, with what they waited for earlier ones of
	// their session (Held of them did) or for any earlier one (Crowded).
	Schedule Quantiles `json:"schedule"`
	Lateness Quantiles `json:"lateness"`
	Held     int64     `json:"held"`
	Crowded  int64     `json:"crowded"`

	// Latencies are to the first byte of the answer: Recorded that of the primary,
	// Target from when a request was sent, and FromDue from when it should have
	// been.
	Recorded Quantiles `json:"recorded"`
	Latency  Quantiles `json:"latency"`
	FromDue  Quantiles `json:"fromDue"`
}

// Quantiles of a duration, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Progress is how far a replay has come.
type Progress struct {
	Read    int64
	Sent    int64
	Skipped int64
	Failed  int64 // of those sent, with those dropped
	Waiting int   // due, and not sent yet
	Sending int   // sent, and not answered yet
}

// Progress may be called by any goroutine, before, while and after the replay
// runs.
func (r *Replay) Progress() Progress {
	waiting, sending := r.crew.load()
	b := &r.books
	return Progress{
		Read: b.read.Load(), Sent: b.sentCount.Load(), Skipped: b.skippedCount.Load(), Failed: b.failedCount.Load(),
		Waiting: waiting, Sending: sending,
	}
}

// books count what becomes of requests. They may be used by many goroutines.
type books struct {
	read, sentCount, skippedCount, failedCount atomic.Int64

	mu         sync.Mutex
	s          Summary
	recorded   spread
	latency    spread
	fromDue    spread
	onSchedule spread
	late       spread
}

// begin opens the books.
func (b *books) begin(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s = Summary{Started: now, Skipped: map[Skip]int64{}, Failed: map[traffic.Reason]int64{}, Statuses: map[int]int64{}}
}

// ended notes why the replay ends: the first reason is the one.
func (b *books) ended(why End) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s.End == "" {
		b.s.End = why
	}
}

func (b *books) skip(why Skip) {
	b.skippedCount.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Skipped[why]++
}

// scheduled notes how late a request was handed on.
func (b *books) scheduled(late time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onSchedule.add(late)
}

// sent notes what became of a job whose exchange is somebody else's already.
func (b *books) sent(j *job, recorded, now *traffic.Outcome, refused bool) {
	b.sentCount.Add(1)
	if now.Fate != traffic.Completed {
		b.failedCount.Add(1)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch now.Fate {
	case traffic.Completed:
		b.s.Completed++
		b.s.Statuses[now.Status]++
	case traffic.Failed:
		b.s.Failed[now.Reason]++
	default:
		b.s.Dropped++
	}
	if refused {
		b.s.Refused++
	}
	if j.tokens {
		b.s.Tokens++
	}
	if j.held {
		b.s.Held++
	} else if j.crowded {
		b.s.Crowded++
	}
	b.late.add(j.begun.Sub(j.due))
	if recorded.First > 0 {
		b.recorded.add(recorded.First - recorded.Start)
	}
	if now.First > 0 {
		b.latency.add(now.First - now.Start)
		b.fromDue.add(now.First)
	}
}

// close returns the summary.
func (b *books) close(now time.Time, o Options) *Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.Target, s.Pace = o.Target.URL(), o.Pace.String()
	s.Seconds = now.Sub(s.Started).Seconds()
	s.Read, s.Sent = b.read.Load(), b.sentCount.Load()
	s.Skipped, s.Failed, s.Statuses = maps.Clone(s.Skipped), maps.Clone(s.Failed), maps.Clone(s.Statuses)
	s.Schedule, s.Lateness = b.onSchedule.quantiles(), b.late.quantiles()
	s.Recorded, s.Latency, s.FromDue = b.recorded.quantiles(), b.latency.quantiles(), b.fromDue.quantiles()
	return &s
}

// spread is how durations spread. Its quantiles are at most an eighth too high;
// the greatest is exact.
type spread struct {
	h       telemetry.Histogram
	longest time.Duration
}

func (s *spread) add(d time.Duration) {
	s.h.Add(d)
	s.longest = max(s.longest, d)
}

func (s *spread) quantiles() Quantiles {
	at := func(q float64) float64 { return milliseconds(min(s.h.Quantile(q), s.longest)) }
	return Quantiles{P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: milliseconds(s.longest)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
