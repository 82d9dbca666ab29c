package analyze

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Question is a request that a backend is sent once more.
type Question struct {
	Route   string
	Rule    int
	Mirror  string
	Backend string            // the shadow, or the baseline
	ID      string            // x-request-id of the exchange it comes from; the question has one of its own
	Request *traffic.Message  // as it came, with what is secret in it: never to be stored or shown
	Live    *traffic.Exchange // the exchange without messages, for its listener, client and host

	mirror  *mirror
	held    *held
	control bool
	x       *traffic.Exchange // redacted, with both answers; Copies has the one it is about
	size    int64
	delay   time.Duration
	asked   int // times
}

// Asker sends a question and returns what came of it; the outcome's times count
// from when it was sent. It is called from several goroutines.
type Asker interface {
	Ask(ctx context.Context, q *Question) *traffic.Outcome
}

// reply is an answer to a question; its outcome is nil if it was not asked.
type reply struct {
	question *Question
	outcome  *traffic.Outcome
}

// Bounds on questions, of all mirrors together.
const (
	mostQuestions = 256      // that wait or are on their way
	mostAsking    = 8        // on their way
	questionBytes = 16 << 20 // of their requests and answers
	questionsRate = 10.0     // a second, and
	questionShare = 0.1      // for each pair that is looked at,
	questionBurst = 64.0     // at most so many at once
	mostOfOne     = 4        // times that one request is sent again
)

// Shadows are asked once more after this long, and up to twice as long: a replica
// that lags has caught up, a clock has moved on.
const askAfter = time.Second

// asker puts questions, a bounded number of them. Its owner's lock guards room, ample
// and pair.
type asker struct {
	send    Asker
	ctx     context.Context
	cancel  context.CancelFunc
	slots   chan struct{}
	replies chan reply // has room for every question
	open    atomic.Int64
	bytes   atomic.Int64
	running sync.WaitGroup

	tokens float64
	filled time.Time
}

func newAsker(send Asker) *asker {
	ctx, cancel := context.WithCancel(context.Background())
	return &asker{
		send: send, ctx: ctx, cancel: cancel, tokens: questionBurst, filled: time.Now(),
		slots: make(chan struct{}, mostAsking), replies: make(chan reply, mostQuestions),
	}
}

// pair earns a part of a question.
func (a *asker) pair() { a.tokens = min(a.tokens+questionShare, questionBurst) }

// room says that a question of so many bytes may be put now, and takes its token.
func (a *asker) room(size int64) bool {
	a.fill()
	if a.tokens < 1 || a.open.Load() >= mostQuestions || a.bytes.Load()+size > questionBytes || a.closed() {
		return false
	}
	a.tokens--
	return true
}

// fill adds the tokens that time has brought.
func (a *asker) fill() {
	now := time.Now()
	a.tokens = min(a.tokens+now.Sub(a.filled).Seconds()*questionsRate, questionBurst)
	a.filled = now
}

// ample says that there is room for questions that nobody waits for: half of what
// there may be at most is left to the others.
func (a *asker) ample() bool {
	a.fill()
	return a.tokens >= questionBurst/2 && a.open.Load() < mostQuestions/2 && a.bytes.Load() < questionBytes/2
}

// put sends q when its time has come. Its reply comes by the channel.
func (a *asker) put(q *Question) {
	a.open.Add(1)
	a.bytes.Add(q.size)
	a.running.Go(func() {
		a.replies <- reply{q, a.ask(q)}
		a.bytes.Add(-q.size)
	})
}

func (a *asker) ask(q *Question) *traffic.Outcome {
	wait := time.NewTimer(q.delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-a.ctx.Done():
		return nil
	}
	select {
	case a.slots <- struct{}{}:
	case <-a.ctx.Done():
		return nil
	}
	defer func() { <-a.slots }()
	return a.send.Ask(a.ctx, q)
}

// idle says that no question is open. A question is open until its reply was
// looked at.
func (a *asker) idle() bool { return a == nil || a.open.Load() == 0 }

// closed says that all questions that are open are given up.
func (a *asker) closed() bool { return a.ctx.Err() != nil }

// close gives up all questions that are open.
func (a *asker) close() {
	a.cancel()
	a.running.Wait()
}
