package mirror

import "time"

// Governor lowers a loop's share of copies when live requests get slower while
// copies are being made, and raises it again when they do not: multiplicative
// decrease, additive increase. The live path has first call on the machine;
// a copy is only worth making if nobody feels it.
//
// It compares the mean time to the first byte of live answers in windows of a
// second with a slow average of calm windows. The zero value is ready and lets
// everything through. It belongs to one loop.
type Governor struct {
	withheld float64 // part of the configured share, 0 to 1
	baseline time.Duration
	start    time.Duration // of the window
	sum      time.Duration
	count    int
	copies   int
	stuck    int // bad windows in which nothing was copied
}

const (
	window     = time.Second
	minCount   = 20                    // fewer live answers in a window say nothing
	slowFactor = 3                     // times the baseline …
	slowBy     = 20 * time.Millisecond // … and this much over it is slow
	increase   = 0.05
	stuckLimit = 5 // bad windows without copies: copying is not the cause
)

// Throttle returns the part of the configured share that may be copied, 0 to 1.
func (g *Governor) Throttle() float64 { return 1 - g.withheld }

// Live notes the time to the first byte of a live answer.
func (g *Governor) Live(first time.Duration) {
	g.sum += first
	g.count++
}

// Copied notes that a copy was sent.
func (g *Governor) Copied() { g.copies++ }

// Tick closes the window if it is over at now, and says whether the throttle
// has begun or ended.
func (g *Governor) Tick(now time.Duration) (changed bool) {
	if now-g.start < window {
		return false
	}
	before := g.withheld > 0
	g.close()
	g.start, g.sum, g.count, g.copies = now, 0, 0, 0
	return before != (g.withheld > 0)
}

func (g *Governor) close() {
	if g.count < minCount {
		g.withheld = max(0, g.withheld-increase)
		return
	}
	mean := g.sum / time.Duration(g.count)
	if g.baseline == 0 {
		g.baseline = mean
	}
	slow := mean > slowFactor*g.baseline && mean > g.baseline+slowBy
	switch {
	case !slow:
		g.baseline += (mean - g.baseline) / 16
		g.withheld = max(0, g.withheld-increase)
		g.stuck = 0
	case g.copies > 0:
		g.withheld = 1 - (1-g.withheld)/2
		if g.withheld > 0.99 {
			g.withheld = 1
		}
	default:
		if g.stuck++; g.stuck >= stuckLimit {
			g.baseline, g.stuck = mean, 0
		}
	}
}
