package mirror

import (
	"math"
	"testing"
	"time"
)

// governed is a governor and the time; a test lives through windows.
type governed struct {
	Governor
	t   *testing.T
	now time.Duration
}

// window lets a second pass with n live answers that took first each, and so
// many copies. It checks what is left of the share then, and whether that is told.
func (g *governed) window(n int, first time.Duration, copies int, throttle float64, changed bool) {
	g.t.Helper()
	for range n {
		g.Live(first)
	}
	for range copies {
		g.Copied()
	}
	if g.Tick(g.now) {
		g.t.Errorf("at %s: a window ended before it was over", g.now)
	}
	g.now += time.Second
	if got := g.Tick(g.now); got != changed {
		g.t.Errorf("at %s: told of a change %v, want %v", g.now, got, changed)
	}
	if got := g.Throttle(); math.Abs(got-throttle) > 1e-9 {
		g.t.Errorf("at %s: the throttle is %v, want %v", g.now, got, throttle)
	}
}

// govern returns a governor that has seen a calm window with a mean of 10 ms.
func govern(t *testing.T) *governed {
	g := &governed{t: t, now: time.Hour}
	g.Tick(g.now)
	g.window(100, 10*time.Millisecond, 100, 1, false)
	return g
}

const (
	calm = 10 * time.Millisecond
	slow = 31 * time.Millisecond // more than three times as long, and 20 ms more
)

func TestShareHalvesDownToNothingAndComesBack(t *testing.T) {
	t.Parallel()
	g := govern(t)
	g.window(100, slow, 100, 0.5, true)
	for _, left := range []float64{0.25, 0.125, 0.0625, 0.03125, 0.015625, 0} {
		g.window(100, slow, 1, left, false)
	}
	g.window(100, slow, 1, 0, false) // no copies are left but what was on its way
	for i := 1; i < 20; i++ {
		g.window(100, calm, 0, 0.05*float64(i), false)
	}
	g.window(100, calm, 0, 1, true)
	g.window(100, calm, 100, 1, false)
}

func TestWhatIsSlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		baseline, mean time.Duration
		slow           bool
	}{
		{"as before", 10 * time.Millisecond, 10 * time.Millisecond, false},
		{"three times as long", 10 * time.Millisecond, 30 * time.Millisecond, false},
		{"more than that", 10 * time.Millisecond, 31 * time.Millisecond, true},
		{"many times as long, but still fast", 200 * time.Microsecond, 20 * time.Millisecond, false},
		{"many times as long", 200 * time.Microsecond, 21 * time.Millisecond, true},
		{"much longer, but not three times", time.Second, 2900 * time.Millisecond, false},
	} {
		g := &governed{t: t, now: time.Hour}
		g.Tick(g.now)
		g.window(100, c.baseline, 100, 1, false)
		throttle := 1.0
		if c.slow {
			throttle = 0.5
		}
		g.window(100, c.mean, 100, throttle, c.slow)
	}
}

// The mean counts, not one answer.
func TestOneSlowAnswerIsNoReason(t *testing.T) {
	t.Parallel()
	g := govern(t)
	g.Live(time.Second)
	g.window(99, calm, 100, 1, false)
}

func TestFewAnswersSayNothing(t *testing.T) {
	t.Parallel()
	g := govern(t)
	g.window(19, time.Second, 100, 1, false)
	g.window(20, time.Second, 100, 0.5, true)
	g.window(19, time.Second, 100, 0.55, false) // and let it recover
	g.window(0, 0, 0, 0.6, false)
}

// Live answers that are slow while nothing is copied are slow for another reason:
// after five such windows they are what is normal.
func TestSlownessWithoutCopiesBecomesNormal(t *testing.T) {
	t.Parallel()
	g := govern(t)
	g.window(100, slow, 100, 0.5, true)
	for range 5 {
		g.window(100, slow, 0, 0.5, false)
	}
	g.window(100, slow, 100, 0.55, false)
	g.window(100, slow, 100, 0.6, false)
	g.window(100, 94*time.Millisecond, 100, 0.3, false) // slow even so
}

// The baseline follows live latency slowly, and only while all is calm.
func TestBaselineFollowsCalmWindows(t *testing.T) {
	t.Parallel()
	g := govern(t)
	for range 100 { // 16 windows take it most of the way
		g.window(100, 26*time.Millisecond, 100, 1, false)
	}
	g.window(100, 75*time.Millisecond, 100, 1, false)
	before := g.baseline
	g.window(100, time.Second, 100, 0.5, true)
	if g.baseline != before {
		t.Errorf("the baseline went from %s to %s in a slow window", before, g.baseline)
	}
}

// A governor that has seen nothing lets everything through.
func TestZeroGovernorDoesNotThrottle(t *testing.T) {
	t.Parallel()
	var g Governor
	if g.Throttle() != 1 || g.Tick(time.Hour) || g.Throttle() != 1 {
		t.Errorf("the throttle is %v, want 1", g.Throttle())
	}
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		perSecond int
		every     time.Duration // a request
		first     int           // of the first 10 at one moment
		second    int           // of those within the second after
	}{
		{0, time.Millisecond, 10, 1000},
		{1, 10 * time.Millisecond, 1, 1},
		{5, 10 * time.Millisecond, 1, 5},
		{10, 10 * time.Millisecond, 1, 10},
		{100, time.Millisecond, 10, 100},
		{50, time.Millisecond, 5, 50},
		{500, 100 * time.Microsecond, 10, 540}, // 50 are the burst, of which 10 are gone
		{1000, 10 * time.Millisecond, 10, 100}, // fewer than allowed
	} {
		var r rate
		r.set(c.perSecond)
		now := time.Hour
		first, second := 0, 0
		for range 10 {
			if r.take(now) {
				first++
			}
		}
		for end := now + time.Second; now < end; {
			now += c.every
			if r.take(now) {
				second++
			}
		}
		if first != c.first || second != c.second {
			t.Errorf("%d per second: %d at once and %d in the next second, want %d and %d", c.perSecond, first, second, c.first, c.second)
		}
	}
}

func TestRateCanBeLifted(t *testing.T) {
	t.Parallel()
	var r rate
	r.set(1)
	if !r.take(time.Hour) || r.take(time.Hour) {
		t.Error("one per second is not one")
	}
	r.set(0)
	if !r.take(time.Hour) {
		t.Error("refused without a bound")
	}
}
