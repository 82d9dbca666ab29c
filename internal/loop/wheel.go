package loop

import (
	"math/bits"
	"time"
)

const (
	// tick is the resolution of timers. Finer would mean more wake-ups of an
	// idle loop; timeouts of a proxy are hundreds of milliseconds and more.
	tick = 10 * time.Millisecond

	// Four levels of 64 slots: 640 ms, 41 s, 44 min, 46 h. One word of bits says
	// which slots of a level are in use. Timers of an upper level move down
	// when their slot begins, so that an idle loop with any number of long
	// timers wakes up at most once in 640 ms for them.
	wheelBits  = 6
	wheelSlots = 1 << wheelBits
	wheelTop   = 4

	// forever is the longest time of a timer: 73 years, and no overflow.
	forever = time.Duration(1) << 61

	dueList    = wheelTop * wheelSlots // expired, run in the next pass
	firingList = dueList + 1           // being run in this pass
)

// Timer runs a task once, later. It is meant to be a field of its owner: the
// zero value with Task set is a disarmed timer, and arming it allocates nothing.
// A Timer must not be copied while armed. Loop goroutine only.
type Timer struct {
	// Task is what to run. The owner sets it before the first Arm.
	Task Task

	next, prev *Timer // ring of the timers in one list
	at         int64  // tick at which to expire
	list       uint16 // 1 + index of the list it is in; 0 when disarmed
}

// Armed says whether the timer is going to run.
func (t *Timer) Armed() bool { return t.list != 0 }

// wheel holds the armed timers of a loop. Time is counted in ticks.
type wheel struct {
	now   int64 // every timer up to this tick is in dueList, firingList or gone
	used  [wheelTop]uint64
	heads [firingList + 1]*Timer
}

// arm puts t, which must be disarmed, where it expires at tick at.
func (w *wheel) arm(t *Timer, at int64) {
	t.at = at
	delta := at - w.now
	if delta <= 0 {
		w.push(dueList, t)
		return
	}
	level := (bits.Len64(uint64(delta)) - 1) / wheelBits
	slot := at >> (level * wheelBits)
	if level >= wheelTop {
		// Beyond the last level: wait in its farthest slot and look again then.
		level = wheelTop - 1
		slot = w.now>>(level*wheelBits) + wheelSlots - 1
	}
	slot &= wheelSlots - 1
	w.used[level] |= 1 << slot
	w.push(level*wheelSlots+int(slot), t)
}

func (w *wheel) push(list int, t *Timer) {
	t.list = uint16(list + 1)
	head := w.heads[list]
	if head == nil {
		t.next, t.prev = t, t
		w.heads[list] = t
		return
	}
	t.next, t.prev = head, head.prev
	head.prev.next = t
	head.prev = t
}

// disarm takes t out of its list.
func (w *wheel) disarm(t *Timer) {
	list := int(t.list) - 1
	if list < 0 {
		return
	}
	if t.next == t {
		w.heads[list] = nil
		if list < dueList {
			w.used[list/wheelSlots] &^= 1 << (list % wheelSlots)
		}
	} else {
		t.prev.next, t.next.prev = t.next, t.prev
		if w.heads[list] == t {
			w.heads[list] = t.next
		}
	}
	t.next, t.prev, t.list = nil, nil, 0
}

// next is the tick at which there is something to do: timers expire, or those
// of an upper level move down. False: never. It does not look at dueList.
func (w *wheel) next() (int64, bool) {
	var first int64
	found := false
	for level, used := range w.used {
		if used == 0 {
			continue
		}
		// The slot after the present one is the nearest, the present one itself
		// the farthest: its timers wait for the next turn of the level.
		base := w.now>>(level*wheelBits) + 1
		ahead := bits.TrailingZeros64(bits.RotateLeft64(used, -int(base&(wheelSlots-1))))
		at := (base + int64(ahead)) << (level * wheelBits)
		if !found || at < first {
			first, found = at, true
		}
	}
	return first, found
}

// advance moves every timer up to tick to into dueList.
func (w *wheel) advance(to int64) {
	for w.now < to {
		at, ok := w.next()
		if !ok || at > to {
			w.now = to
			return
		}
		w.now = at
		for level := wheelTop - 1; level >= 0; level-- {
			if at&(1<<(level*wheelBits)-1) != 0 {
				continue
			}
			w.spill(level*wheelSlots + int(at>>(level*wheelBits))&(wheelSlots-1))
		}
	}
}

// spill sorts the timers of a list in again, now that it has begun.
func (w *wheel) spill(list int) {
	last := w.heads[list]
	if last == nil {
		return
	}
	// A timer may come back into the same list only from the last level, and
	// then behind the one that is last now.
	last = last.prev
	for {
		t := w.heads[list]
		w.disarm(t)
		w.arm(t, t.at)
		if t == last {
			return
		}
	}
}

// tickAt converts a time to the tick at or after it: timers are never early.
func tickAt(d time.Duration) int64 { return int64((d + tick - 1) / tick) }
