//go:build linux

package shadow

import (
	"sync"
	"time"
)

// pace spreads bytes evenly over time. It may be shared by goroutines: each
// take gets the next free slot, so that together they keep to the rate.
type pace struct {
	perByte time.Duration
	mu      sync.Mutex
	free    time.Duration // when the next slot begins
}

func newPace(bytesPerSecond int) *pace {
	return &pace{perByte: time.Second / time.Duration(bytesPerSecond)}
}

// take books n bytes at the given time since any fixed moment and returns how
// long to wait before they may move. Time that nobody used is not saved up:
// a burst after a pause would not be slow reading.
func (p *pace) take(now time.Duration, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = max(p.free, now) + time.Duration(n)*p.perByte
	return p.free - now
}
