package mirror

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// A breaker under test; now is a clock that the test moves.
type watched struct {
	Breaker
	t      *testing.T
	now    time.Duration
	pauses []time.Duration
	states []string
}

func watch(t *testing.T) *watched {
	w := &watched{t: t, now: time.Hour}
	w.Configure(3, time.Second, 60*time.Second)
	w.Changed = func(s BreakerState, pause time.Duration) {
		w.states = append(w.states, s.String())
		if s == Open {
			w.pauses = append(w.pauses, pause)
		}
	}
	return w
}

// is checks the state.
func (w *watched) is(want BreakerState) {
	w.t.Helper()
	if got, _ := w.State(); got != want {
		w.t.Errorf("the breaker is %s, want %s", got, want)
	}
}

// allows checks what it lets through now.
func (w *watched) allows(ok, probe bool) {
	w.t.Helper()
	if gotOK, gotProbe := w.Allow(w.now); gotOK != ok || gotProbe != probe {
		w.t.Errorf("at %s it lets through %v, as a probe %v; want %v, %v", w.now, gotOK, gotProbe, ok, probe)
	}
}

// elapse moves the clock to where an open breaker probes.
func (w *watched) elapse() {
	_, w.now = w.State()
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	t.Parallel()
	w := watch(t)
	for range 2 {
		w.allows(true, false)
		w.Failed(w.now, false)
	}
	w.Succeeded(false)
	for range 2 {
		w.Failed(w.now, false)
		w.is(Closed)
	}
	w.Failed(w.now, false)
	w.is(Open)
	w.allows(false, false)
}

func TestBreakerProbesOnceAndCloses(t *testing.T) {
	t.Parallel()
	w := watch(t)
	for range 3 {
		w.Failed(w.now, false)
	}
	_, until := w.State()
	w.now = until - 1
	w.allows(false, false)
	w.now = until
	w.allows(true, true)
	w.is(HalfOpen)
	w.allows(false, false)
	w.now += time.Hour
	w.allows(false, false) // one probe, however long it takes

	// What was sent before it opened says nothing about now.
	w.Succeeded(false)
	w.is(HalfOpen)
	w.Failed(w.now, false)
	w.is(HalfOpen)

	w.Succeeded(true)
	w.is(Closed)
	w.allows(true, false)
	w.Failed(w.now, false)
	w.Failed(w.now, false)
	w.is(Closed) // it counts from the start
	if diff := cmp.Diff([]string{"open", "half-open", "closed"}, w.states); diff != "" {
		t.Error(diff)
	}
}

// Pauses double up to the longest, less up to a half at random, and begin again
// when the shadow has been well.
func TestPausesGrowWithinBounds(t *testing.T) {
	t.Parallel()
	for range 100 { // whatever chance says
		w := watch(t)
		for range 3 {
			w.Failed(w.now, false)
		}
		for range 8 {
			w.elapse()
			w.allows(true, true)
			w.Failed(w.now, true)
		}
		for i, longest := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			longest *= time.Second
			if p := w.pauses[i]; p > longest || p <= longest/2 {
				t.Fatalf("pause %d is %s, want %s less up to a half", i, p, longest)
			}
		}
		w.elapse()
		w.allows(true, true)
		w.Succeeded(true)
		for range 3 {
			w.Failed(w.now, false)
		}
		if p := w.pauses[9]; p > time.Second || p <= time.Second/2 {
			t.Fatalf("the first pause after all was well is %s, want 1s less up to a half", p)
		}
	}
}

func TestLongPausesDoNotOverflow(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.Configure(1, 24*time.Hour, 1000*24*time.Hour)
	w.Failed(w.now, false)
	for range 100 {
		w.elapse()
		w.allows(true, true)
		w.Failed(w.now, true)
	}
	for i, p := range w.pauses {
		if p < 12*time.Hour || p > 24000*time.Hour {
			t.Fatalf("pause %d is %s", i, p)
		}
	}
}

// Many proxies in front of one shadow must not probe in step. The chance that
// two pauses in a hundred are equal is 10⁻⁵.
func TestPausesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 100 {
		w := watch(t)
		for range 3 {
			w.Failed(w.now, false)
		}
		seen[w.pauses[0]] = true
	}
	if len(seen) < 99 {
		t.Errorf("%d different pauses of 100", len(seen))
	}
}

// A probe that came to nothing is followed by another soon, not at once: a
// mirror whose probes are all dropped must not write a log.
func TestAbandonedProbeIsRepeatedSoon(t *testing.T) {
	t.Parallel()
	w := watch(t)
	for range 3 {
		w.Failed(w.now, false)
	}
	w.elapse()
	w.allows(true, true)
	w.Abandoned(w.now)
	w.is(Open)
	w.allows(false, false)
	w.now += 100 * time.Millisecond
	w.allows(true, true)
	w.Succeeded(true)
	w.is(Closed)
	w.Abandoned(w.now) // by whoever is late
	w.is(Closed)
	if diff := cmp.Diff([]string{"open", "half-open", "half-open", "closed"}, w.states); diff != "" {
		t.Error(diff)
	}
}

// All loops share a breaker: of many that ask at once when it may probe, one
// gets the probe.
func TestOneLoopGetsTheProbe(t *testing.T) {
	t.Parallel()
	w := watch(t)
	for round := range 50 {
		for range 3 {
			w.Failed(w.now, false)
		}
		w.elapse()
		var probes sync.Map
		var asking sync.WaitGroup
		for i := range 8 {
			asking.Go(func() {
				if ok, probe := w.Allow(w.now); ok != probe {
					t.Errorf("let through %v, as a probe %v", ok, probe)
				} else if probe {
					probes.Store(i, true)
				}
				w.Failed(w.now, false)
				w.Succeeded(false)
			})
		}
		asking.Wait()
		n := 0
		probes.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Fatalf("round %d: %d probes, want 1", round, n)
		}
		w.Succeeded(true)
		w.is(Closed)
	}
}

// The whole way: a shadow fails until copies pause, is probed, fails again, is
// probed again and is well.
func TestCopiesPauseWhileTheShadowIsSick(t *testing.T) {
	drivers(t, func(s *stage) {
		answers := make(chan bool, 100) // whether the next connection answers
		p := s.mirror("v2", "backoff: {failures: 2}", s.shadow(func(_ int, v *visit) {
			for well := range answers {
				if v.request() == "" || !well {
					return
				}
				v.answer("ok")
			}
		}))
		changes := make(chan string, 100)
		p.State.Breaker.Changed = func(b BreakerState, _ time.Duration) { changes <- b.String() }
		offer := func(want string) {
			s.Helper()
			s.offer(p, get)
			s.settle()
			b := s.books(p)
			if got := fmt.Sprintf("%d completed, %d reset, %d paused", b.Completed, b.Failed["reset"], b.Dropped["paused"]); got != want {
				s.Errorf("%s, want %s", got, want)
			}
		}
		answers <- false
		offer("0 completed, 1 reset, 0 paused")
		answers <- false
		offer("0 completed, 2 reset, 0 paused")
		offer("0 completed, 2 reset, 1 paused")
		s.due(p)
		answers <- false
		offer("0 completed, 3 reset, 1 paused")
		offer("0 completed, 3 reset, 2 paused")
		s.mirrors.Gauges(func(_, _, _ string, g Gauges) {
			if g.Breaker != Open || time.Until(g.Retry) <= 0 || time.Until(g.Retry) > 2*time.Second {
				s.Errorf("the gauges say %s, to be probed in %s", g.Breaker, time.Until(g.Retry))
			}
		})
		s.due(p)
		answers <- true
		offer("1 completed, 3 reset, 2 paused")
		answers <- true
		offer("2 completed, 3 reset, 2 paused")
		close(answers)
		for _, want := range []string{"open", "half-open", "open", "half-open", "closed"} {
			if got := <-changes; got != want {
				s.Errorf("changed to %s, want %s", got, want)
			}
		}
	})
}

// due lets the pause of an open breaker be over.
func (s *stage) due(p *Policy) {
	b := &p.State.Breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now() != Open {
		s.Errorf("the breaker is %s, want open", b.now())
	}
	b.until = 0
}

// trip opens the breaker of p, ready to probe.
func (s *stage) trip(p *Policy) {
	for failures(p) < 5 {
		p.State.Breaker.Failed(0, false)
	}
	s.due(p)
}

// expire lets the time of a copy be over when its shadow has all that has come
// of the request.
func (s *stage) expire(t Ticket) {
	s.Helper()
	s.until("the copy is sent as far as it goes", func() bool { return t.Copy().call.Started() && t.Copy().call.Out.Len() == 0 })
	s.on(func() { (*copyExpired)(t.Copy()).Run() })
}

// However a probe ends, another follows: a breaker that waited for one that was
// dropped would never close.
func TestProbeThatIsDroppedIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name, lines, head string
		before            func(s *stage, p *Policy)
		drop              func(s *stage, t Ticket)
		reason            traffic.Reason
	}{
		{
			"in_flight", "limits: {inFlight: 1}", chunked,
			func(s *stage, p *Policy) { s.offer(p, get) }, nil, "in_flight",
		},
		{
			"queue_full", "limits: {inFlight: 1, queue: 1}", get,
			func(s *stage, p *Policy) { s.offer(p, get); s.offer(p, get) }, nil, "queue_full",
		},
		{
			"memory", "limits: {memory: 64KiB}", "GET /" + strings.Repeat("x", 1000) + " HTTP/1.1\nHost: a",
			func(s *stage, p *Policy) { p.State.memory.SetLimit(1 << 10) }, nil, "memory",
		},
		{"body_limit in front", "body: {limit: 5}", "POST / HTTP/1.1\nHost: a\nContent-Length: 6", nil, nil, "body_limit"},
		{"body_limit on the way", "body: {limit: 4}", chunked, nil, func(s *stage, t Ticket) { s.body(t, "hello") }, "body_limit"},
		{
			"client_gone", "timeout: 15s", chunked, nil,
			func(s *stage, t Ticket) {
				s.on(func() { t.Copy().Cut() })
			},
			"client_gone",
		},
		{"slow client", "timeout: 15s", chunked, nil, func(s *stage, t Ticket) { s.expire(t) }, "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				address, _, answer := s.silent()
				p := s.mirror("v2", "writes: copy, "+c.lines, address)
				if c.before != nil {
					c.before(s, p)
				}
				s.trip(p)
				copied := s.offer(p, c.head)
				if c.drop != nil {
					c.drop(s, copied)
				}
				s.until("the probe is over", func() bool { return copied.Copy() == nil })
				if state, _ := p.State.Breaker.State(); state != Open {
					t.Errorf("the breaker is %s after the probe was dropped, want open", state)
				}
				b := s.books(p)
				if n := b.Dropped[c.reason] + b.Failed[c.reason]; n != 1 {
					t.Errorf("dropped %v, failed %v, want 1 for %s", b.Dropped, b.Failed, c.reason)
				}
				close(answer)
				s.settle()
				p.State.memory.SetLimit(1 << 20)
				s.due(p)
				s.offer(p, get)
				s.settle()
				if state, _ := p.State.Breaker.State(); state != Closed {
					t.Errorf("the breaker is %s after a probe that was answered, want closed", state)
				}
			})
		})
	}
}

// A copy that is held until it is whole is no probe before: nobody knows how
// long its client will take.
func TestHeldCopyIsNotTheProbe(t *testing.T) {
	drivers(t, func(s *stage) {
		address, _ := s.polite()
		p := s.mirror("v2", "writes: copy, body: {overLimit: headers}", address)
		s.trip(p)
		held, late := s.offer(p, chunked), s.offer(p, chunked)
		if state, _ := p.State.Breaker.State(); state != Open {
			s.Errorf("the breaker is %s, want open", state)
		}
		s.finish(held, "")
		s.until("the probe is over", func() bool { return held.Copy() == nil })
		if state, _ := p.State.Breaker.State(); state != Closed {
			s.Errorf("the breaker is %s, want closed", state)
		}
		for range 5 {
			p.State.Breaker.Failed(loop.Now(), false)
		}
		s.finish(late, "")
		s.settle()
		s.counts(p, map[string]uint64{"completed": 1, "paused": 1})
	})
}

// Copies that wait when the breaker opens are dropped rather than sent to a
// shadow that is known to be sick.
func TestWaitingCopiesAreDroppedWhenTheBreakerOpens(t *testing.T) {
	drivers(t, func(s *stage) {
		address, got, answer := s.silent()
		p := s.mirror("v2", "limits: {inFlight: 1}", address)
		for range 4 {
			s.offer(p, get)
		}
		await(s.T, got, "the first copy")
		for range 5 {
			p.State.Breaker.Failed(loop.Now(), false)
		}
		close(answer)
		s.settle()
		s.counts(p, map[string]uint64{"completed": 1, "paused": 3})
	})
}
