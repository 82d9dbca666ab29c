package analyze

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Options are what a pipeline is given besides the configuration.
type Options struct {
	Log     *slog.Logger   // nil = nothing is logged
	Store   store.Store    // keeps what was learned, over restarts; nil = nothing does. It is the caller's to close, after the pipeline
	Takers  []traffic.Sink // get every exchange, redacted, before its memory is given back: they have copied what they need when Offer returns
	Offline bool           // the shadow is not asked again
	Asker   Asker          // who asks it; nil = by HTTP

	// OtherKey says that the primary's answers were redacted with another key
	// already, so that tokens cannot be told from each other.
	OtherKey bool
}

// Bounds and paces of a pipeline.
const (
	queueLength = 4096                 // where the configuration says nothing
	saveEvery   = 5 * time.Second      // what was learned
	restAfter   = 5 * time.Millisecond // of work the worker pauses, if it may not use a whole core
)

// Pipeline looks at captured exchanges. It is a [traffic.Sink]; all its methods
// are safe for many goroutines. Make it with [New].
type Pipeline struct {
	options Options
	queue   chan item
	closing chan struct{}   // closed by Close
	ending  context.Context // ends when Close may wait no longer
	end     context.CancelFunc
	stopped chan struct{} // closed when the worker has ended
	once    sync.Once
	asker   *asker  // nil if nobody is asked
	sender  *sender // nil if somebody else asks

	lostQueue atomic.Int64
	lostCPU   atomic.Int64
	resting   atomic.Bool // the worker pauses to stay within its share of CPU
	strain    strain

	waiting []chan struct{} // whose items have passed, and who wait for replies; the worker's

	asking sync.WaitGroup // about the messages of services

	mu       sync.Mutex  // guards what follows, and all that is learned
	store    store.Store // nil = nothing is kept
	cfg      *config.Config
	redactor *redact.Redactor
	unsaved  bool      // the last attempt to save has failed
	pruned   time.Time // when old rollups were last deleted
	mirrors  map[label]*mirror
	// calibrated are those that were, also while no configuration has them.
	calibrated map[label]*Calibration
	raw        traffic.Message // of the request that is looked at, before it was redacted
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
	p := &Pipeline{
		options: o, queue: make(chan item, length), closing: make(chan struct{}), stopped: make(chan struct{}), mirrors: make(map[label]*mirror),
		store: o.Store, calibrated: make(map[label]*Calibration),
	}
	p.ending, p.end = context.WithCancel(context.Background())
	if !o.Offline {
		if o.Asker == nil {
			p.sender = newSender()
			o.Asker = p.sender
		}
		p.asker = newAsker(o.Asker)
	}
	err := p.loadCalibrations()
	if err == nil {
		err = p.Apply(cfg)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	go p.work()
	return p, nil
}

// Offer implements traffic.Sink. It never blocks: what finds the queue full is
// refused and counted.
func (p *Pipeline) Offer(x *traffic.Exchange) bool {
	select {
	case <-p.closing:
	default:
		select {
		case p.queue <- item{exchange: x}:
			return true
		default:
		}
	}
	if p.Refuses() == traffic.LostCPU {
		p.lostCPU.Add(1)
	} else {
		p.lostQueue.Add(1)
	}
	return false
}

// Wanted implements [traffic.Chooser]: it is less than all while others need the
// processors.
func (p *Pipeline) Wanted() float64 { return p.strain.wanted() }

// Refuses implements [traffic.Chooser].
func (p *Pipeline) Refuses() traffic.Reason {
	if p.resting.Load() {
		return traffic.LostCPU
	}
	return traffic.LostQueue
}

// Apply puts another configuration in force. What was learned of a mirror is kept
// unless its shadow or its compare block changed. An error changes nothing.
func (p *Pipeline) Apply(cfg *config.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	redactor, err := redact.New(cfg.Redact)
	if err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	next := make(map[label]*mirror)
	for i := range cfg.Routes {
		for j := range cfg.Routes[i].Rules {
			if err := p.applyRule(cfg, &cfg.Routes[i], j, next); err != nil {
				return err
			}
		}
	}
	for l, m := range next {
		if old := p.mirrors[l]; old != nil && old.print == m.print {
			old.way, old.comparer = m.way, m.comparer
			next[l] = old
		}
	}
	p.cfg, p.redactor, p.mirrors = cfg, redactor, next
	if p.sender != nil {
		p.sender.apply(cfg)
	}
	return nil
}

// applyRule adds the mirrors of a rule that compare to next.
func (p *Pipeline) applyRule(cfg *config.Config, r *config.Route, rule int, next map[label]*mirror) error {
	for i := range r.Rules[rule].Mirrors {
		def := &r.Rules[rule].Mirrors[i]
		if def.Layer4 || def.Compare.Percent != nil && *def.Compare.Percent == 0 {
			continue
		}
		l := label{r.Name, rule, def.Name}
		w, ok := find(cfg, l, def.Backend)
		if !ok {
			continue
		}
		rules, err := p.rules(w)
		if err != nil {
			return fmt.Errorf("route %s, rule %d, mirror %s: %w", r.Name, rule, def.Name, err)
		}
		m, err := newMirror(l, w, rules)
		if err == nil {
			err = m.allowFor(p.calibrated[l])
		}
		if err != nil {
			return fmt.Errorf("route %s, rule %d, mirror %s: %w", r.Name, rule, def.Name, err)
		}
		m.asker = p.asker
		if old := p.mirrors[l]; old == nil || old.print != m.print {
			if err := p.resume(m); err != nil {
				return err
			}
		}
		next[l] = m
	}
	return nil
}

// resume takes up what was saved of a new mirror.
func (p *Pipeline) resume(m *mirror) error {
	if p.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	return m.load(ctx, p.store)
}

// fingerprint says what the learned belongs to: the shadow's endpoints, how it is
// compared and what is allowed for.
func fingerprint(w way, o judge.Offsets) string {
	text, err := json.Marshal(struct {
		Endpoints []string
		Compare   config.Compare
		Offsets   judge.Offsets
	}{w.backend.Endpoints, w.mirror.Compare, o})
	if err != nil {
		return err.Error() // there is nothing in it that cannot be written
	}
	return fmt.Sprintf("%016x", xxhash.Sum64(text))
}

// Reset forgets what was learned of the mirrors of that name, or of all if it is
// empty.
func (p *Pipeline) Reset(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l, m := range p.mirrors {
		if name == "" || l.Mirror == name {
			if err := m.forget(); err != nil {
				return err
			}
			m.wipe, m.changed = true, true
		}
	}
	return nil
}

// Wait returns when all that was offered before has been looked at, and the shadow
// has answered what it was asked about it. Offline, everything is decided then
// with what is known.
func (p *Pipeline) Wait(ctx context.Context) error {
	passed := make(chan struct{})
	select {
	case p.queue <- item{passed: passed}:
	case <-p.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the pipeline: %w", ctx.Err())
	}
	select {
	case <-passed:
	case <-p.stopped:
	case <-ctx.Done():
		return fmt.Errorf("wait for the pipeline: %w", ctx.Err())
	}
	return nil
}

// errStillBusy says that Close did not wait for everything.
var errStillBusy = errors.New("what was captured last has not been looked at")

// Close looks at what was offered, as long as ctx allows, saves what was learned,
// and ends. What pairs wait for is decided with what is known, if no store lets them
// wait on. Report and Pair may still be called afterwards.
func (p *Pipeline) Close(ctx context.Context) error {
	p.once.Do(func() { close(p.closing) })
	select {
	case <-p.stopped:
		return nil
	case <-ctx.Done():
	}
	p.end()
	<-p.stopped
	return fmt.Errorf("%w: %w", errStillBusy, ctx.Err())
}

// redactedMark is in every token that redaction puts in a secret's place.
const redactedMark = "redacted-"
