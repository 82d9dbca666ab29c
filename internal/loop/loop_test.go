package loop

import (
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// task makes a Task of a function.
type task func()

func (f task) Run() { f() }

func TestPostsRunInOrderFromManyGoroutines(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		const posters, each = 8, 500
		last := make([]int, posters)
		var posting sync.WaitGroup
		for p := range posters {
			posting.Go(func() {
				for i := range each {
					l.Post(func() {
						if last[p] != i {
							t.Errorf("poster %d: %d ran after %d", p, i, last[p])
						}
						last[p] = i + 1
					})
				}
			})
		}
		posting.Wait()
		on(t, l, func() {
			for p, n := range last {
				if n != each {
					t.Errorf("poster %d: %d posts ran", p, n)
				}
			}
		})
	})
}

func TestEveryAcceptedPostRunsAlthoughTheLoopStops(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		for range 20 {
			l, ended := start(t, d)
			var promised, ran atomic.Int64
			var posting sync.WaitGroup
			for range 4 {
				posting.Go(func() {
					for range 2000 {
						if !l.Post(func() { ran.Add(1) }) {
							return
						}
						promised.Add(1)
					}
				})
			}
			on(t, l, func() {})
			l.Stop()
			posting.Wait()
			await(t, ended, "the loop to end")
			if ran.Load() != promised.Load() {
				t.Fatalf("%d posts were accepted, %d ran", promised.Load(), ran.Load())
			}
			if l.Call(func() {}) {
				t.Fatal("called on a loop that has ended")
			}
		}
	})
}

func TestPostFromTheLoopRunsInALaterPass(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		var order []string
		done := make(chan struct{})
		l.Post(func() {
			l.AfterPass(task(func() { order = append(order, "end of pass") }))
			l.Post(func() { order = append(order, "post"); close(done) })
		})
		await(t, done, "the post")
		if diff := cmp.Diff([]string{"end of pass", "post"}, order); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTasksFollowTheirEventAndTheirPass(t *testing.T) {
	stages(t, func(s *stage) {
		var order []string
		note := func(what string) Task { return task(func() { order = append(order, what) }) }
		handle := func(name string) Handler {
			return handler(func(c *Conn, _ Ready) {
				var b [2]byte // a read that fills its buffer has another event follow
				c.Read(b[:])
				order = append(order, name)
				s.loop.AfterPass(task(func() {
					order = append(order, name+": pass")
					s.loop.AfterEvent(note(name + ": event of the pass"))
					s.loop.AfterPass(note(name + ": pass of the pass"))
				}))
				s.loop.AfterEvent(task(func() {
					order = append(order, name+": event")
					s.loop.AfterEvent(note(name + ": event of the event"))
				}))
			})
		}
		ca, pa := s.pair(handle("a"))
		cb, pb := s.pair(handle("b"))
		s.on(func() {
			io.WriteString(pa, "1")
			settled(ca)
			io.WriteString(pb, "2")
			settled(cb)
		})
		s.passes()
		var got []string
		s.on(func() { got = order })
		want := []string{
			"a", "a: event", "a: event of the event",
			"b", "b: event", "b: event of the event",
			"a: pass", "a: event of the pass", "b: pass", "b: event of the pass",
			"a: pass of the pass", "b: pass of the pass",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.Error(diff)
		}
	})
}

func TestTimerIsNeverEarly(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		waits := []time.Duration{1, time.Millisecond, 9 * time.Millisecond, 25 * time.Millisecond, 60 * time.Millisecond}
		fired := make(chan struct{}, len(waits))
		for _, wait := range waits {
			on(t, l, func() {
				armed := l.Now()
				timer := &Timer{}
				timer.Task = task(func() {
					if since := l.Now() - armed; since < wait {
						t.Errorf("timer of %v ran after %v", wait, since)
					}
					if timer.Armed() {
						t.Error("armed while it runs")
					}
					fired <- struct{}{}
				})
				l.Arm(timer, wait)
			})
		}
		for range waits {
			await(t, fired, "a timer")
		}
	})
}

func TestTimerWithoutTimeRunsInTheNextPass(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		done := make(chan struct{})
		passes, runs := 0, 0
		l.Post(func() {
			timer := &Timer{}
			timer.Task = task(func() {
				l.AfterPass(task(func() { passes++ }))
				if runs++; runs == 5 {
					close(done)
					return
				}
				if passes != runs-1 {
					t.Errorf("run %d in pass %d", runs, passes)
				}
				l.Arm(timer, -time.Second)
			})
			l.Arm(timer, 0)
		})
		await(t, done, "the timer")
	})
}

func TestTimerTasksDisarmAndRearmOthers(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		done := make(chan struct{})
		on(t, l, func() {
			var a, b, later Timer
			a.Task = task(func() { l.Disarm(&b) })
			b.Task = task(func() { l.Disarm(&a) })
			runs := 0
			count := func() {
				if runs++; runs == 2 {
					close(done)
				}
			}
			// Of two timers due together, the first keeps the other from running.
			first := func(t Task) Task { return task(func() { t.Run(); count() }) }
			a.Task, b.Task = first(a.Task), first(b.Task)
			later.Task = task(count)
			l.Arm(&a, 0)
			l.Arm(&b, 0)
			l.Arm(&later, time.Hour)
			l.Arm(&later, 20*time.Millisecond)
			l.Disarm(&Timer{})
		})
		await(t, done, "both runs")
		on(t, l, func() {})
	})
}

func TestTimersEndAWaitThatAnotherTimerMadeLonger(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		done := make(chan struct{})
		var longest, long, short Timer
		longest.Task = task(func() { t.Error("the longest timer ran") })
		long.Task = task(func() { t.Error("the long timer ran") })
		short.Task = task(func() { close(done) })
		on(t, l, func() { l.Arm(&longest, math.MaxInt64) })
		on(t, l, func() { l.Arm(&long, time.Hour) })
		on(t, l, func() { l.Arm(&short, 15*time.Millisecond) })
		await(t, done, "the short timer")
		on(t, l, func() { l.Disarm(&long) })
	})
}

func TestClockStandsStillWithinAnEvent(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		before := Now()
		on(t, l, func() {
			first := l.Now()
			for Now() == first {
				continue
			}
			if l.Now() != first {
				t.Error("the clock moved")
			}
			if first < before || first > Now() {
				t.Errorf("%v is not between %v and now", first, before)
			}
		})
	})
}

func TestLagIsTheLongestPassSinceAsked(t *testing.T) {
	stages(t, func(s *stage) {
		handled := make(chan struct{}, 1)
		_, peer := s.pair(handler(func(c *Conn, _ Ready) {
			for start := Now(); Now()-start < 2*time.Millisecond; {
				continue
			}
			var b [10]byte
			c.Read(b[:])
			handled <- struct{}{}
		}))
		s.passes()
		s.on(func() { s.loop.Lag() })
		io.WriteString(peer, "x")
		await(s, handled, "the slow handler")
		s.passes()
		s.on(func() {
			if lag := s.loop.Lag(); lag < 2*time.Millisecond {
				s.Errorf("lag %v", lag)
			}
			if lag := s.loop.Lag(); lag != 0 {
				s.Errorf("lag %v once it was told", lag)
			}
		})
	})
}

func TestStopClosesEverything(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l, ended := start(t, d)
		s := &stage{T: t.T, driver: d, loop: l}
		dialled, p1 := s.pair(silent(t))
		s.attached = true
		attached, p2 := s.pair(silent(t))
		g, err := Open("127.0.0.1:0", 1, d)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan *Conn, 1)
		g.Accept([]*Loop{l}, func(_ *Loop, c *Conn) Handler { accepted <- c; return silent(t) })
		p3 := dial(t, g.Addr())
		conns := []*Conn{dialled, attached, await(t, accepted, "a connection")}
		l.Stop()
		l.Stop()
		await(t, ended, "the loop to end")
		for i, c := range conns {
			if !c.Closed() {
				t.Errorf("connection %d is open", i)
			}
		}
		for i, p := range []io.Reader{p1, p2, p3} {
			if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("peer %d read %d, %v", i, n, err)
			}
		}
		if refused(g.Addr()) == nil {
			t.Error("still listening")
		}
		if l.Post(func() {}) {
			t.Error("a post was accepted")
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopBeforeRun(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		ran := false
		l.Post(func() { ran = true })
		l.Stop()
		l.Run()
		if !ran {
			t.Error("the post did not run")
		}
	})
}

func TestDriversHaveNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "auto", string(DefaultDriver())} {
		if d, err := ParseDriver(name); d != DefaultDriver() || err != nil {
			t.Errorf("%q: %q, %v", name, d, err)
		}
	}
	if d, err := ParseDriver("go"); d != Go || err != nil {
		t.Errorf("go: %q, %v", d, err)
	}
	for _, name := range []string{"Epoll", "kqueue", " "} {
		if _, err := ParseDriver(name); err == nil {
			t.Errorf("%q: no error", name)
		}
		if _, err := New(Driver(name)); name != "" && err == nil {
			t.Errorf("a loop of driver %q", name)
		}
	}
	if _, err := ParseDriver("epoll"); (err == nil) != slices.Contains(names(), Epoll) {
		t.Errorf("epoll: %v", err)
	}
}

func names() (all []Driver) {
	for d := range drivers {
		all = append(all, d)
	}
	return all
}
