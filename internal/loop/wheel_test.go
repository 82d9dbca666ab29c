package loop

import (
	"math/rand/v2"
	"testing"
	"time"
)

// due takes all timers that have expired.
func due(w *wheel) map[*Timer]bool {
	got := map[*Timer]bool{}
	for t := w.heads[dueList]; t != nil; t = w.heads[dueList] {
		w.disarm(t)
		got[t] = true
	}
	return got
}

func TestWheelExpiresEveryTimerAtItsTick(t *testing.T) {
	t.Parallel()
	for _, start := range []int64{0, 1, 63, 64, 4095, 4096, 1<<18 - 1, 1 << 24, 1<<40 + 12345} {
		for _, delta := range []int64{
			1, 2, 62, 63, 64, 65, 127, 128, 4031, 4032, 4095, 4096, 4097, 8191, 8192,
			1<<18 - 1, 1 << 18, 1<<18 + 1, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1<<25 + 77, 1 << 30,
		} {
			w := wheel{now: start}
			var timer Timer
			w.arm(&timer, start+delta)
			if !timer.Armed() {
				t.Fatal("not armed")
			}
			w.advance(start + delta - 1)
			if got := due(&w); len(got) != 0 {
				t.Fatalf("start %d, delta %d: early", start, delta)
			}
			w.advance(start + delta)
			if got := due(&w); !got[&timer] || timer.Armed() {
				t.Fatalf("start %d, delta %d: late", start, delta)
			}
			if at, ok := w.next(); ok {
				t.Fatalf("start %d, delta %d: an empty wheel wants to wake up at %d", start, delta, at)
			}
		}
	}
}

// The seed is fixed: the test cannot fail by chance.
func TestWheelAgreesWithAMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	w := wheel{now: 1000}
	timers := make([]Timer, 200)
	armed := map[*Timer]int64{}
	for step := range 100_000 {
		timer := &timers[r.IntN(len(timers))]
		switch r.IntN(4) {
		case 0, 1:
			at := w.now + int64(r.Uint64N(1<<r.IntN(27)))
			w.disarm(timer)
			w.arm(timer, at)
			armed[timer] = at
		case 2:
			w.disarm(timer)
			delete(armed, timer)
		case 3:
			to := w.now + int64(r.Uint64N(1<<r.IntN(20)))
			if first, ok := w.next(); ok && r.IntN(2) == 0 {
				to = first
			}
			w.advance(to)
			got := due(&w)
			for timer, at := range armed {
				if got[timer] != (at <= to) {
					t.Fatalf("step %d: timer for %d, expired %v at %d", step, at, got[timer], to)
				}
				if at <= to {
					delete(armed, timer)
				}
			}
			if len(armed) > 0 {
				if next, ok := w.next(); !ok || next <= w.now {
					t.Fatalf("step %d: at %d, next is %d, %v", step, w.now, next, ok)
				}
			}
		}
		if timer.Armed() != (armed[timer] > 0) {
			t.Fatalf("step %d: armed %v", step, timer.Armed())
		}
	}
}

func TestWheelNeverOversleeps(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		w := wheel{now: int64(r.Uint64N(1 << 30))}
		first := int64(1 << 62)
		timers := make([]Timer, 1+r.IntN(5))
		for i := range timers {
			at := w.now + 1 + int64(r.Uint64N(1<<r.IntN(28)))
			w.arm(&timers[i], at)
			first = min(first, at)
		}
		if next, ok := w.next(); !ok || next > first {
			t.Fatalf("at %d: next %d, but a timer is due at %d", w.now, next, first)
		}
	}
}

func TestWheelWakesRarelyForLongTimers(t *testing.T) {
	t.Parallel()
	const second = int64(time.Second / tick)
	w := wheel{now: 777}
	timers := make([]Timer, 10_000)
	for i := range timers {
		w.arm(&timers[i], w.now+75*second+int64(i)%(10*second))
	}
	wakes := 0
	for end := w.now + 74*second; ; wakes++ {
		at, ok := w.next()
		if !ok || at > end {
			break
		}
		w.advance(at)
	}
	// One for each slot of the third level that begins, and of the second once
	// timers are there.
	if wakes > 60 {
		t.Errorf("%d wake-ups in 74 seconds", wakes)
	}
}

func TestTickIsNeverBeforeTheTime(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]int64{
		0: 0, 1: 1, tick - 1: 1, tick: 1, tick + 1: 2, time.Minute: 6000, time.Minute + 1: 6001,
	} {
		if got := tickAt(d); got != want {
			t.Errorf("%v: tick %d, want %d", d, got, want)
		}
	}
}
