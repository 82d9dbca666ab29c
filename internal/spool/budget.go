package spool

import "sync/atomic"

// Budget bounds what all copies of one mirror, or all captures, use over all event
// loops: bytes held, or places in flight. It may have a parent that bounds all mirrors
// together. Safe for many goroutines; the zero value allows nothing.
type Budget struct {
	Parent *Budget
	limit  atomic.Int64
	used   atomic.Int64
}

// SetLimit changes the bound. What is already used stays.
func (b *Budget) SetLimit(n int64) { b.limit.Store(n) }

// Used returns what is used now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Adjust adds delta, which may be negative, and says whether what is used is
// within the bounds. An increase is made even if it is not: whoever
// asked lets go of something and adjusts again.
func (b *Budget) Adjust(delta int64) bool {
	ok := true
	for ; b != nil; b = b.Parent {
		if b.used.Add(delta) > b.limit.Load() {
			ok = false
		}
	}
	return ok
}
