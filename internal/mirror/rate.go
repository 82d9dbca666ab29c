package mirror

import (
	"sync/atomic"
	"time"
)

// rate bounds copies per second over all loops: a generic cell rate algorithm
// with a burst of a tenth of a second. The zero value bounds nothing.
type rate struct {
	interval atomic.Int64 // ns between copies; 0 = no bound
	next     atomic.Int64 // when the next copy is due if they came evenly
}

const burst = 100 * time.Millisecond

func (r *rate) set(perSecond int) {
	if perSecond <= 0 {
		r.interval.Store(0)
		return
	}
	r.interval.Store(int64(time.Second) / int64(perSecond))
}

// take says whether a copy may go at now.
func (r *rate) take(now time.Duration) bool {
	interval := r.interval.Load()
	if interval == 0 {
		return true
	}
	for {
		next := r.next.Load()
		due := max(next, int64(now))
		if due-int64(now) > max(int64(burst)-interval, 0) {
			return false
		}
		if r.next.CompareAndSwap(next, due+interval) {
			return true
		}
	}
}
