package mirror

import (
	"math/rand/v2"
	"sync"
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
// goroutines: all loops share it, and its lock is held for a few instructions.
type Breaker struct {
	// Changed, if not nil, is told of every change, with the pause in front of
	// the next probe. It must not block.
	Changed func(s BreakerState, pause time.Duration)

	mu        sync.Mutex
	failures  int           // consecutive ones that open it
	base, max time.Duration // pauses
	state     BreakerState
	run       int           // consecutive failures
	trips     int           // consecutive pauses
	until     time.Duration // when an open breaker probes
}

// Configure sets how many consecutive failures open the breaker, and the
// first and the longest pause.
func (b *Breaker) Configure(failures int, base, max time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.base, b.max = failures, base, max
}

// State returns the state, and when an open breaker probes next.
func (b *Breaker) State() (BreakerState, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.until
}

// Allow says whether a copy may go at now, and whether it is the probe, whose
// end must be told by Succeeded, Failed or Abandoned.
func (b *Breaker) Allow(now time.Duration) (ok, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == Closed:
		return true, false
	case b.state == Open && now >= b.until:
		b.set(HalfOpen, 0)
		return true, true
	}
	return false, false
}

// Succeeded notes an answer. Only the probe's closes an open breaker: what was
// sent before it opened says nothing about now.
func (b *Breaker) Succeeded(probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Closed || probe {
		b.run = 0
	}
	if probe && b.state == HalfOpen {
		b.trips = 0
		b.set(Closed, 0)
	}
}

// Failed notes a failure.
func (b *Breaker) Failed(now time.Duration, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.run++
	if probe && b.state == HalfOpen || b.state == Closed && b.run >= b.failures {
		b.pause(now)
	}
}

// Abandoned notes that the probe was dropped and has shown nothing.
func (b *Breaker) Abandoned(now time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == HalfOpen {
		b.until = now
		b.set(Open, 0)
	}
}

// pause opens the breaker for twice as long as the last time, up to the
// longest, less up to a half at random so that many proxies do not probe in
// step.
func (b *Breaker) pause(now time.Duration) {
	pause := b.max
	if b.trips < 20 {
		pause = min(b.base<<b.trips, b.max)
	}
	pause -= time.Duration(rand.Float64() * float64(pause) / 2)
	b.trips++
	b.until = now + pause
	b.set(Open, pause)
}

func (b *Breaker) set(s BreakerState, pause time.Duration) {
	b.state = s
	if b.Changed != nil {
		b.Changed(s, pause)
	}
}
