package mirror

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// BreakerState is what a breaker lets through.
type BreakerState uint8

// The states of a breaker. Closed lets everything through, Open nothing, and
// HalfOpen has let one copy through to see whether the shadow is back.
const (
	Closed BreakerState = iota
	Open
	HalfOpen
)

// String returns the name used in status and metrics.
func (s BreakerState) String() string { return [...]string{"closed", "open", "half-open"}[s] }

// Breaker pauses the copies of one mirror when its shadow fails again and
// again. The zero value is closed and needs Configure. It is safe for many
// goroutines: all loops share it. As long as nothing fails it takes no lock and
// writes nothing.
type Breaker struct {
	// Changed, if not nil, is told of every change, with the pause in front of
	// the next probe. It must not block.
	Changed func(s BreakerState, pause time.Duration)

	state atomic.Uint32 // a BreakerState
	run   atomic.Int64  // consecutive failures

	mu        sync.Mutex    // for every change, and of what follows
	failures  int64         // consecutive ones that open it
	base, max time.Duration // pauses
	trips     int           // consecutive pauses
	until     time.Duration // when an open breaker probes
}

// reprobe is how long after a probe that came to nothing the next one goes.
const reprobe = 100 * time.Millisecond

// Configure sets how many consecutive failures open the breaker, and the
// first and the longest pause.
func (b *Breaker) Configure(failures int, base, max time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.base, b.max = int64(failures), base, max
}

// State returns the state, and when an open breaker probes next.
func (b *Breaker) State() (BreakerState, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now(), b.until
}

func (b *Breaker) now() BreakerState { return BreakerState(b.state.Load()) }

// Allow says whether a copy may go at now, and whether it is the probe, whose
// end must be told by Succeeded, Failed or Abandoned.
func (b *Breaker) Allow(now time.Duration) (ok, probe bool) {
	if b.now() == Closed {
		return true, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.now() == Closed:
		return true, false
	case b.now() == Open && now >= b.until:
		b.set(HalfOpen, 0)
		return true, true
	}
	return false, false
}

// Succeeded notes an answer. Only the probe's closes an open breaker: what was
// sent before it opened says nothing about now.
func (b *Breaker) Succeeded(probe bool) {
	if !probe && (b.run.Load() == 0 || b.now() != Closed) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe || b.now() == Closed {
		b.run.Store(0)
	}
	if probe && b.now() == HalfOpen {
		b.trips = 0
		b.set(Closed, 0)
	}
}

// Failed notes a failure.
func (b *Breaker) Failed(now time.Duration, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := b.run.Add(1)
	if probe && b.now() == HalfOpen || b.now() == Closed && run >= b.failures {
		b.pause(now)
	}
}

// Abandoned notes that the probe ended and has shown nothing: another goes
// soon. Changed is not told, since nobody has learnt anything.
func (b *Breaker) Abandoned(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now() == HalfOpen {
		b.until = now + reprobe
		b.state.Store(uint32(Open))
	}
}

// pause opens the breaker for twice as long as the last time, up to the
// longest, less up to a half at random so that many proxies do not probe in
// step.
func (b *Breaker) pause(now time.Duration) {
	pause := min(b.base, b.max)
	for i := 0; i < b.trips && pause < b.max; i++ {
		pause = min(2*pause, b.max)
	}
	pause -= time.Duration(rand.Float64() * float64(pause) / 2)
	b.trips++
	b.until = now + pause
	b.set(Open, pause)
}

func (b *Breaker) set(s BreakerState, pause time.Duration) {
	b.state.Store(uint32(s))
	if b.Changed != nil {
		b.Changed(s, pause)
	}
}
