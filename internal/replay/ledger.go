package replay

import (
	"sync"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// ledger bounds what the sink holds: exchanges that it has got and not released.
// It may be used by many goroutines.
type ledger struct {
	most  int   // exchanges
	bytes int64 // of their messages

	mu    sync.Mutex
	freed sync.Cond
	count int
	held  int64
}

func newLedger(most int, bytes int64) *ledger {
	l := &ledger{most: most, bytes: bytes}
	l.freed.L = &l.mu
	return l
}

// lend lets the sink hold x until it releases it. Without room it waits, or returns
// false at once. There is always room for one.
func (l *ledger) lend(x *traffic.Exchange, wait bool) bool {
	size := sizeOf(x)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count > 0 && (l.count >= l.most || l.held+size > l.bytes) {
		if !wait {
			return false
		}
		l.freed.Wait()
	}
	l.count++
	l.held += size
	x.Memory = &loan{ledger: l, size: size, below: x.Memory}
	return true
}

// loan is the memory of one exchange.
type loan struct {
	ledger *ledger
	size   int64
	below  traffic.Memory // what the exchange came with, nil if nothing
}

// Release implements traffic.Memory.
func (l *loan) Release() {
	if l.below != nil {
		l.below.Release()
	}
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	l.ledger.count--
	l.ledger.held -= l.size
	l.ledger.freed.Signal()
}
