package load

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// connectWait is how long Run waits for its connections before it starts the
// clock without those that are not there yet.
const connectWait = 5 * time.Second

// redialPause keeps a closed loop from spinning on a port that refuses.
const redialPause = 10 * time.Millisecond

// Run carries out a plan and returns when every request it started has an
// outcome. If ctx ends first, requests still without an outcome are left out
// of the result, which then comes together with ctx's error.
func Run(ctx context.Context, p Plan) (*Result, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	loops := make([]*generator, p.Loops)
	defer func() {
		for _, g := range loops {
			if g != nil {
				g.closeAll()
			}
		}
	}()
	base := firstID()
	for i := range loops {
		if loops[i], err = newGenerator(&p, i, base); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() {
		for _, g := range loops {
			g.poll.wake()
		}
	})
	defer stop()

	var connected, done sync.WaitGroup
	connected.Add(len(loops))
	for _, g := range loops {
		done.Go(func() {
			// The thread dies with the goroutine: see preciseTimers.
			runtime.LockOSThread()
			preciseTimers()
			g.err = g.connectAll(ctx)
			connected.Done()
			connected.Wait()
			if g.err == nil {
				g.err = g.run(ctx)
			}
		})
	}
	done.Wait()

	r := newResult()
	var inTime uint64
	for _, g := range loops {
		err = errors.Join(err, g.err)
		r.add(g.result)
		inTime += g.inTime
	}
	over := r.Elapsed
	if p.Duration > 0 {
		over = min(over, p.Duration)
	}
	if over > 0 {
		r.Throughput = float64(inTime) / over.Seconds()
	}
	return r, errors.Join(err, ctx.Err())
}

// generator is one thread's share of a plan.
type generator struct {
	plan   *Plan
	index  uint64 // of this loop among plan.Loops
	base   uint64 // first id of the run
	poll   *poller
	sa     unix.Sockaddr
	family int
	head   []byte
	idAt   int
	buf    []byte

	clients []*client
	idle    queue[*client]
	backlog queue[time.Duration] // open loop: when requests fell due that wait for a connection
	timers  timers

	epoch    time.Time
	end      time.Duration // no request starts later
	quota    uint64        // requests that may still start
	next     uint64        // number of the next request in this loop
	busy     int
	running  bool          // the clock has started
	nextScan time.Duration // for timeouts

	result *Result
	inTime uint64 // OK answers before end
	err    error
}

func newGenerator(p *Plan, index int, base uint64) (*generator, error) {
	sa, family, err := resolve(p.Target)
	if err != nil {
		return nil, fmt.Errorf("load: resolve %s: %w", p.Target, err)
	}
	poll, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("load: open epoll: %w", err)
	}
	g := &generator{
		plan: p, index: uint64(index), base: base, poll: poll, sa: sa, family: family,
		buf: make([]byte, 256<<10), end: p.Duration, quota: 1 << 62, result: newResult(),
	}
	if p.Duration <= 0 {
		g.end = 1 << 62
	}
	if p.Requests > 0 {
		g.quota = share(uint64(p.Requests), g.index, uint64(p.Loops))
	}
	g.head, g.idAt = p.requestHead()
	for i := range share(uint64(p.Conns), g.index, uint64(p.Loops)) {
		g.clients = append(g.clients, &client{g: g, index: int32(i), fd: -1})
	}
	return g, nil
}

// share splits n over loops; the first ones get what does not divide.
func share(n, index, loops uint64) uint64 {
	s := n / loops
	if index < n%loops {
		s++
	}
	return s
}

func (g *generator) closeAll() {
	for _, c := range g.clients {
		c.close()
	}
	g.poll.close()
}

// now is the time since the clock started.
func (g *generator) now() time.Duration { return time.Since(g.epoch) }

// connectAll opens all connections before the clock starts. Those that fail
// are tried again, and counted, when their first request is due.
func (g *generator) connectAll(ctx context.Context) error {
	g.epoch = time.Now()
	if !g.plan.Close {
		for _, c := range g.clients {
			if c.connect(connecting) != nil {
				c.close()
			}
		}
	}
	for g.connecting() && ctx.Err() == nil && g.now() < connectWait {
		if err := g.pass(connectWait - g.now()); err != nil {
			return err
		}
	}
	for _, c := range g.clients {
		if c.state == connecting {
			c.close()
		}
		g.idle.push(c)
	}
	return nil
}

func (g *generator) connecting() bool {
	for _, c := range g.clients {
		if c.state == connecting {
			return true
		}
	}
	return false
}

// run is the loop: start what is due, wait for sockets and timers, until
// nothing more may start and everything has an outcome.
func (g *generator) run(ctx context.Context) error {
	g.epoch = time.Now()
	g.running = true
	for ctx.Err() == nil {
		now := g.now()
		g.fire(now)
		g.scan(now)
		g.dispatch(now)
		if g.busy == 0 && g.backlog.len() == 0 && !g.mayStart(now) {
			break
		}
		if err := g.pass(g.untilNext(now)); err != nil {
			return err
		}
	}
	return nil
}

// pass waits at most d and handles what is ready.
func (g *generator) pass(d time.Duration) error {
	events, err := g.poll.wait(d)
	if err != nil {
		return fmt.Errorf("load: wait for events: %w", err)
	}
	for i := range events {
		ev := &events[i]
		if ev.Fd == wakeSlot {
			g.poll.woken()
			continue
		}
		if c := g.clients[ev.Fd]; c.fd >= 0 && c.life == ev.Pad {
			c.onReady(ev.Events)
		}
		if g.running && g.idle.len() > 0 {
			g.dispatch(g.now())
		}
	}
	return nil
}

// mayStart says whether another request may fall due at now or later.
func (g *generator) mayStart(now time.Duration) bool {
	if g.quota == 0 {
		return false
	}
	if g.plan.Rate > 0 {
		return g.nextDue() < g.end
	}
	return now < g.end
}

func (g *generator) nextDue() time.Duration {
	return due(g.next*uint64(g.plan.Loops)+g.index, g.plan.Rate)
}

// dispatch gives what is due to idle connections.
func (g *generator) dispatch(now time.Duration) {
	if g.plan.Rate > 0 {
		for g.quota > 0 && g.nextDue() <= now && g.nextDue() < g.end {
			g.backlog.push(g.nextDue())
			g.next++
			g.quota--
		}
		for g.backlog.len() > 0 && g.idle.len() > 0 {
			g.idle.pop().begin(g.backlog.pop())
		}
		return
	}
	for g.idle.len() > 0 && g.mayStart(now) {
		g.next++
		g.quota--
		g.idle.pop().begin(now)
	}
}

// scan ends requests that take too long. Looking at all connections now and
// then is cheaper than a timer for each request.
func (g *generator) scan(now time.Duration) {
	for g.backlog.len() > 0 && now-g.backlog.peek() >= g.plan.RequestTimeout {
		g.backlog.pop()
		g.result.Requests++
		g.result.Errors[ErrUnsent]++
		g.result.Latency.Record(g.plan.RequestTimeout)
		g.result.Elapsed = max(g.result.Elapsed, now)
	}
	if now < g.nextScan {
		return
	}
	for _, c := range g.clients {
		if c.state >= connectingBusy && now-c.began >= g.plan.RequestTimeout {
			c.fail(ErrTimeout)
		}
	}
	g.nextScan = now + scanEvery
}

const scanEvery = 10 * time.Millisecond

// untilNext is how long nothing can happen but on sockets.
func (g *generator) untilNext(now time.Duration) time.Duration {
	at := time.Duration(1 << 62)
	if g.busy > 0 || g.backlog.len() > 0 {
		at = g.nextScan
	}
	if len(g.timers) > 0 {
		at = min(at, g.timers[0].at)
	}
	switch {
	case g.quota == 0:
	case g.plan.Rate > 0:
		if d := g.nextDue(); d < g.end {
			at = min(at, d)
		}
	default:
		at = min(at, g.end)
	}
	return max(at-now, 0)
}

// timer is when a connection goes on after a pause.
type timer struct {
	at   time.Duration
	c    *client
	life int32
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is for container/heap.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop is for container/heap.
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

func (g *generator) after(d time.Duration, c *client) {
	heap.Push(&g.timers, timer{at: g.now() + d, c: c, life: c.life})
}

func (g *generator) fire(now time.Duration) {
	for len(g.timers) > 0 && g.timers[0].at <= now {
		t := heap.Pop(&g.timers).(timer)
		if t.c.life == t.life {
			t.c.resume()
		}
	}
}

// queue is first in, first out. The zero value is empty.
type queue[T any] struct {
	items []T
	first int
}

func (q *queue[T]) len() int { return len(q.items) - q.first }
func (q *queue[T]) peek() T  { return q.items[q.first] }

func (q *queue[T]) push(v T) {
	if q.first > 64 && q.first*2 > len(q.items) {
		q.items = append(q.items[:0], q.items[q.first:]...)
		q.first = 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) pop() T {
	v := q.items[q.first]
	q.first++
	return v
}
