package loop

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Task is a piece of work that a loop runs once. A pointer to a struct of the
// owner makes one without allocating.
type Task interface {
	// Run is called on the loop's goroutine and must not block.
	Run()
}

// Loop is an event loop. Make one with [New], give it a goroutine with
// [Loop.Run]. Methods may be called on the loop's goroutine only (from
// handlers, tasks, posted functions) unless they say otherwise.
type Loop struct {
	poll  poller
	wheel wheel
	now   time.Duration
	woke  time.Duration // when the first event of this pass began; 0 = none yet
	lag   time.Duration // see Lag

	single  [1][]byte           // the argument of Conn.Write
	plain   []byte              // scratch: one record to be encrypted
	sealed  []byte              // scratch: what was encrypted
	leaving map[*layer]struct{} // closed, and not yet rid of what they hold
	ended   bool                // no more passes

	afterEvent  []Task
	afterEvents []Task
	afterPass   []Task
	virtuals    []*Virtual // whose handlers are to be called
	telling     []*Virtual // whose handlers are being called; reused

	listeners []*netListener // that deal connections to the loop
	pumping   sync.WaitGroup // goroutines of pumps
	accepted  atomic.Int64   // open connections from listeners, for balance

	stopping atomic.Bool
	asleep   atomic.Bool // the loop may be waiting: whoever posts must wake it
	running  []func()    // the posts of this pass; reused

	mu      sync.Mutex
	posts   []func()
	stopped bool               // no more posts
	pumps   map[*pump]struct{} // whose connections are not yet closed
}

// New makes a loop; d "" means [DefaultDriver]. It fails when the system is out
// of file descriptors or cannot run the driver. What it holds is freed when
// [Loop.Run] ends.
func New(d Driver) (*Loop, error) {
	m, err := mechanismOf(d)
	if err != nil {
		return nil, err
	}
	l := &Loop{pumps: map[*pump]struct{}{}, leaving: map[*layer]struct{}{}}
	if l.poll, err = m.poller(l); err != nil {
		return nil, err
	}
	l.refresh()
	l.wheel.now = int64(l.now / tick)
	return l, nil
}

// Run runs the loop until [Loop.Stop]; call it once, on a goroutine of its own.
// At the end it runs the functions still posted, then closes all connections,
// without calling their handlers, and the listening sockets it accepts from,
// and returns when all goroutines of pumped connections have ended.
func (l *Loop) Run() {
	for !l.stopping.Load() {
		l.poll.wait(l.patience())
		l.expire()
		l.runPosts()
		l.runVirtuals()
		l.endPass()
	}
	l.shut()
	l.runPosts()
	l.endPass()
	l.ended = true
	for s := range l.leaving {
		s.bury(endClose)
	}
	l.poll.close()
	for _, q := range l.listeners {
		q.leave(l)
	}
	l.closePumps()
	l.pumping.Wait()
}

// Stop ends [Loop.Run] after the pass it is in. Any goroutine, any number of
// times, also before Run.
func (l *Loop) Stop() {
	l.stopping.Store(true)
	l.rouse()
}

// Post has the loop call f soon, in the order of posting; any goroutine. False
// means the loop has ended and f will not run. It never blocks.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return false
	}
	l.posts = append(l.posts, f)
	l.mu.Unlock()
	l.rouse()
	return true
}

// Call posts f and waits until it has run. Any goroutine but the loop's own,
// which would wait for itself. False means the loop has ended and f will not run.
func (l *Loop) Call(f func()) bool {
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		return false
	}
	<-done
	return true
}

// Now is the time on the clock of [Now] when the present event began.
func (l *Loop) Now() time.Duration { return l.now }

// Arrived is a time by which all was there that sockets bring in this pass: when
// its first event began, which may be long before [Loop.Now] in a pass with many.
// Outside of events it is Now.
func (l *Loop) Arrived() time.Duration {
	if l.woke > 0 {
		return l.woke
	}
	return l.now
}

// AfterEvent has t run once the present callback has returned. Tasks may add
// tasks.
func (l *Loop) AfterEvent(t Task) { l.afterEvent = append(l.afterEvent, t) }

// AfterEvents has t run when all that was ready in this pass has been handled,
// before the tasks of AfterPass. Writing then, rather than after each event,
// wakes whoever reads once for several writes. Tasks may add tasks, which run
// in the same pass.
func (l *Loop) AfterEvents(t Task) { l.afterEvents = append(l.afterEvents, t) }

// AfterPass has t run at the end of this pass. Tasks may add tasks, which run
// in the same pass.
func (l *Loop) AfterPass(t Task) { l.afterPass = append(l.afterPass, t) }

// Arm has t run in d, counted from [Loop.Now]: not earlier, and some 10 ms later
// when the loop is not busy. A d ≤ 0 means in the next pass. Arming an armed
// timer moves it.
func (l *Loop) Arm(t *Timer, d time.Duration) {
	l.wheel.disarm(t)
	if d <= 0 {
		l.wheel.arm(t, l.wheel.now)
		return
	}
	l.wheel.arm(t, tickAt(l.now+min(d, forever)))
}

// Disarm keeps t from running; on a disarmed timer it does nothing.
func (l *Loop) Disarm(t *Timer) { l.wheel.disarm(t) }

// Dial starts to connect to addr by TCP without waiting. When connected, h gets
// Writable; when that fails, Hangup, and [Conn.Err] says why. An error says that
// it failed at once, and h is not called.
func (l *Loop) Dial(addr netip.AddrPort, h Handler) (*Conn, error) {
	return l.poll.dial(addr, h)
}

// Attach makes a connection of the loop out of nc, which belongs to the loop
// from now on. Goroutines move its bytes, so nc can be anything that blocks,
// such as a TLS connection after its handshake.
func (l *Loop) Attach(nc net.Conn, h Handler) *Conn {
	return newPump(l, nc, h)
}

// patience is how long after l.now the loop may sleep: 0 not at all, negative
// for ever.
func (l *Loop) patience() time.Duration {
	if l.wheel.heads[dueList] != nil || len(l.virtuals) > 0 || l.pending() {
		return 0
	}
	at, ok := l.wheel.next()
	if !ok {
		return -1
	}
	return max(0, time.Duration(at)*tick-l.now)
}

// pending says whether there is anything a sleeping loop would miss.
func (l *Loop) pending() bool {
	if l.stopping.Load() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.posts) > 0
}

// rouse wakes the loop if it sleeps or is about to.
func (l *Loop) rouse() {
	if l.asleep.CompareAndSwap(true, false) {
		l.poll.wake()
	}
}

// drowse announces that the loop is going to sleep; false means that there is
// work and it must not. Whoever posts either sees asleep set or was seen here.
func (l *Loop) drowse() bool {
	l.asleep.Store(true)
	if l.pending() {
		l.asleep.Store(false)
		return false
	}
	return true
}

func (l *Loop) refresh() { l.now = Now() }

// wake begins an event, and the pass if it is the first.
func (l *Loop) wake() {
	l.refresh()
	if l.woke == 0 {
		l.woke = l.now
	}
}

// Lag returns how long the longest pass with events took since Lag was last
// called: for as long, ready connections may have had to wait.
func (l *Loop) Lag() time.Duration {
	lag := l.lag
	l.lag = 0
	return lag
}

// finishEvent runs the tasks that wait for the end of an event.
func (l *Loop) finishEvent() {
	for i := 0; i < len(l.afterEvent); i++ {
		t := l.afterEvent[i]
		l.afterEvent[i] = nil
		t.Run()
	}
	l.afterEvent = l.afterEvent[:0]
}

// finishEvents runs the tasks that wait for the end of all events.
func (l *Loop) finishEvents() {
	for i := 0; i < len(l.afterEvents); i++ {
		t := l.afterEvents[i]
		l.afterEvents[i] = nil
		t.Run()
		l.finishEvent()
	}
	l.afterEvents = l.afterEvents[:0]
}

func (l *Loop) endPass() {
	l.finishEvents()
	for i := 0; i < len(l.afterPass); i++ {
		t := l.afterPass[i]
		l.afterPass[i] = nil
		t.Run()
		l.finishEvent()
		l.finishEvents()
	}
	l.afterPass = l.afterPass[:0]
	if l.woke > 0 {
		l.refresh()
		l.lag = max(l.lag, l.now-l.woke)
		l.woke = 0
	}
}

// expire runs the timers that are due.
func (l *Loop) expire() {
	w := &l.wheel
	l.refresh()
	w.advance(int64(l.now / tick))
	// Timers that the tasks arm for now belong to the next pass.
	for t := w.heads[dueList]; t != nil; t = w.heads[dueList] {
		w.disarm(t)
		w.push(firingList, t)
	}
	for t := w.heads[firingList]; t != nil; t = w.heads[firingList] {
		w.disarm(t)
		l.refresh()
		t.Task.Run()
		l.finishEvent()
	}
}

// runPosts runs what has been posted up to now.
func (l *Loop) runPosts() {
	l.mu.Lock()
	l.running, l.posts = l.posts, l.running[:0]
	l.mu.Unlock()
	for i, f := range l.running {
		l.running[i] = nil
		l.refresh()
		f()
		l.finishEvent()
	}
}

// closePumps closes all pumps and has them hurry, also those closed before.
func (l *Loop) closePumps() {
	l.mu.Lock()
	pumps := slices.Collect(maps.Keys(l.pumps))
	l.mu.Unlock()
	for _, p := range pumps {
		p.Close()
		p.hurry()
	}
}

// shut refuses posts from now on; those before have been promised to run.
func (l *Loop) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}
