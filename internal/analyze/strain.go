package analyze

import (
	"math"
	"sync/atomic"
	"time"
)

// Live requests have first call on the machine. While hardly a processor is idle,
// whatever is captured and compared is taken from them. Then fewer of the drawn are
// wanted. Those are chosen by their draw, before anything is kept, so that what is
// compared stays a fair sample. It falls by half and rises in steps, as a congestion
// window does.
const (
	strainEvery  = 200 * time.Millisecond
	strainIdle   = 0.1      // of all processors, and
	strainCore   = 0.5      // of one: with less to spare, others are short of them
	strainBefore = 5        // times in a row before anything is withheld
	strainRise   = 1.0 / 32 // of all, each time that nothing is short
	leastPairs   = 500.0    // a second are always wanted: 1 % of a core, and a verdict in a minute
)

// usage is what processors did since the system started: the unit does not matter.
// The zero value is not known.
type usage struct {
	processors  int
	total, idle int64
	throttled   int64 // times that the control group's quota was used up
}

// short says that between two readings the processors had more to do than is good
// for everybody.
func (u usage) short(before usage) bool {
	total, n := float64(u.total-before.total), float64(u.processors)
	idle := float64(u.idle-before.idle) / total * n
	return total > 0 && idle < max(strainCore, strainIdle*n) || u.throttled > before.throttled
}

// strain decides how much of what is drawn is wanted. The zero value wants
// everything. It belongs to the worker; any goroutine may call wanted.
type strain struct {
	withheld atomic.Uint64 // bits of a float64: part of the drawn that is not wanted
	pairs    int           // looked at since
	since    time.Time
	usage    usage // at that time
	strained int   // times in a row
}

// wanted is the part of the drawn that is wanted, more than 0, at most 1.
func (s *strain) wanted() float64 { return 1 - math.Float64frombits(s.withheld.Load()) }

func (s *strain) want(part float64) { s.withheld.Store(math.Float64bits(1 - min(part, 1))) }

// due says that it is time to look.
func (s *strain) due(now time.Time) bool { return now.Sub(s.since) >= strainEvery }

// look takes in what the processors did until now, and whether what the worker is to
// look at piles up.
func (s *strain) look(now time.Time, u usage, behind bool) {
	elapsed, before, pairs, first := now.Sub(s.since), s.usage, float64(s.pairs), s.since.IsZero()
	s.since, s.usage, s.pairs = now, u, 0
	part := s.wanted()
	if first {
		return
	}
	if !behind && !u.short(before) {
		s.strained = 0
		s.want(part + strainRise*float64(elapsed)/float64(strainEvery))
		return
	}
	if s.strained++; s.strained < strainBefore && part == 1 {
		return
	}
	drawn := pairs / part / elapsed.Seconds() // a second
	least := leastPairs / max(drawn, leastPairs)
	s.want(min(max(part/2, least), part+strainRise)) // a worker that starves has seen few, of however many
}
