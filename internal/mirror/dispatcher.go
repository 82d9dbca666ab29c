package mirror

import (
	"log/slog"
	"math"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Dispatcher sends the copies of one event loop. It belongs to that loop.
type Dispatcher struct {
	Governor Governor

	loop     *loop.Loop
	client   *upstream.Client   // one for mirrors that do not pipeline …
	piped    []*upstream.Client // … and one per depth for those that do
	log      *slog.Logger
	lanes    []*lane // by State.id
	pace     pace
	free     []*Copy
	ended    []*Copy  // free at the end of this pass
	starting []Ticket // to be dispatched after the event
	closed   bool     // no more copies
	total    int      // copies in flight in all lanes

	// Working space for the head of the copy that is being built.
	out                           http1.Outgoing
	host, traceparent, tracestate []byte
	extra                         []byte
	protocol, extensions          []byte // that a shadow has chosen
}

// lane is what one loop knows of one mirror.
type lane struct {
	state   *State
	all     []*Copy // that have not ended
	waiting []*Copy // for the bound on copies in flight
	first   int     // waiting[:first] are gone
	active  int     // sent and not yet ended
	books   telemetry.Mirror
	retry   loop.Timer // looks again when other loops use the whole bound
	owner   *Dispatcher
}

// retryAfter is how long a loop with waiting copies and none on their way lets
// the others finish before it looks again.
const retryAfter = 10 * time.Millisecond

// NewDispatcher returns a dispatcher that sends through client, which must be
// Late and of depth 1.
func NewDispatcher(client *upstream.Client, log *slog.Logger) *Dispatcher {
	client.Late = true
	d := &Dispatcher{loop: client.Loop, client: client, log: log}
	d.pace.init(d.loop)
	return d
}

// Offer takes a copy of a request, if p selects it, as s.Decision says, and no
// bound says otherwise; it returns nil if it is not copied. It never waits. The
// copy's head is built from s.Head and o, which has what the primary gets and is
// not kept. join may be nil. The caller goes on with Body, Finish or Cut on the
// copy, by a Ticket: it may have ended already.
func (d *Dispatcher) Offer(p *Policy, s *Subject, o *http1.Outgoing, join *Join) *Copy {
	c := d.choose(p, s, join)
	if c == nil {
		return nil
	}
	d.out = *o
	if reason := c.begin(s.Head, &d.out); reason != "" {
		c.drop(reason)
		return nil
	}
	return c
}

// choose makes a copy if p selects s and no bound says otherwise.
func (d *Dispatcher) choose(p *Policy, s *Subject, join *Join) *Copy {
	l := d.lane(p.State)
	if s.Decision.Unkeyed {
		l.books.Unkeyed++
	}
	if s.Decision.Skip != "" {
		d.skipped(l, p, s, s.Decision.Skip, join)
		return nil
	}
	l.books.Selected++
	c := d.newCopy(l, p, join)
	if reason := d.admit(c, s.Decision.Position); reason != "" {
		c.drop(reason)
		return nil
	}
	c.rpc.is, c.rpc.deadline, c.call.Until = s.Match.GRPC, s.Deadline, s.Deadline
	c.announce(s)
	return c
}

// admit says why c must not be made, if so.
func (d *Dispatcher) admit(c *Copy, position uint64) traffic.Reason {
	switch {
	case c.lane.stopped():
		return traffic.DropShutdown
	case c.policy.adaptive() && c.policy.throttled(position, d.Governor.Throttle()):
		return traffic.DropPaused
	case !c.lane.state.rate.take(d.loop.Now()):
		return traffic.DropRate
	}
	return ""
}

// lane returns this loop's part of a mirror.
func (d *Dispatcher) lane(s *State) *lane {
	for s.id >= len(d.lanes) {
		d.lanes = append(d.lanes, nil)
	}
	l := d.lanes[s.id]
	if l == nil {
		l = &lane{state: s, owner: d}
		l.retry.Task = l
		d.lanes[s.id] = l
	}
	return l
}

// clientFor returns the connections for copies of p: mirrors that pipeline
// share them with mirrors of the same depth only.
func (d *Dispatcher) clientFor(p *Policy) *upstream.Client {
	if p.Def.Pipeline <= 1 {
		return d.client
	}
	for _, cl := range d.piped {
		if cl.Depth == p.Def.Pipeline {
			return cl
		}
	}
	cl := &upstream.Client{Loop: d.loop, Pool: d.client.Pool, Intake: d.client.Intake, Limits: d.client.Limits, Late: true, Depth: p.Def.Pipeline}
	d.piped = append(d.piped, cl)
	return cl
}

// Run implements loop.Task for the retry timer.
func (l *lane) Run() { l.next() }

// stopped says that nothing more may be sent: the proxy shuts down, or the
// mirror was turned off.
func (l *lane) stopped() bool { return l.owner.closed || l.state.off() }

// dispatch sends c now if the bound on copies in flight allows, or lets it
// wait, or says why it can do neither.
func (l *lane) dispatch(c *Copy) traffic.Reason {
	c.ready = l.owner.loop.Now()
	if l.first == len(l.waiting) && l.enter() {
		c.send()
		return ""
	}
	limits := l.state.limits.Load()
	switch {
	case !c.call.Whole && !c.held, c.call.Raw, c.streams():
		return traffic.DropInFlight // what still arrives cannot be kept waiting
	case l.state.queued.Add(1) > int64(limits.Queue):
		l.state.queued.Add(-1)
		return traffic.DropQueueFull
	}
	if l.first == len(l.waiting) {
		l.waiting, l.first = l.waiting[:0], 0
	} else if l.first > 64 && l.first > len(l.waiting)/2 {
		n := copy(l.waiting, l.waiting[l.first:])
		clear(l.waiting[n:])
		l.waiting, l.first = l.waiting[:n], 0
	}
	c.queued = true
	l.waiting = append(l.waiting, c)
	if l.active == 0 {
		l.owner.loop.Arm(&l.retry, retryAfter)
	}
	return ""
}

// enter takes one of the places for copies in flight.
func (l *lane) enter() bool {
	if !l.state.inFlight.Adjust(1) {
		l.state.inFlight.Adjust(-1)
		return false
	}
	l.active++
	return true
}

// leave gives the place back.
func (l *lane) leave() {
	l.active--
	l.state.inFlight.Adjust(-1)
}

// next sends waiting copies while there are places, and drops those that must
// not be sent any more.
func (l *lane) next() {
	for l.first < len(l.waiting) {
		c := l.waiting[l.first]
		switch {
		case c == nil: // it ended while it waited
			l.pop()
		case l.stopped():
			l.pop()
			c.drop(traffic.DropShutdown)
		case l.state.Breaker.now() != Closed && !c.probe:
			l.pop()
			c.drop(traffic.DropPaused)
		case l.enter():
			l.pop()
			c.send()
		default:
			if l.active == 0 {
				l.owner.loop.Arm(&l.retry, retryAfter)
			}
			return
		}
	}
}

// pop takes the first off the list of waiting copies.
func (l *lane) pop() {
	if c := l.waiting[l.first]; c != nil {
		c.queued = false
		l.state.queued.Add(-1)
	}
	l.waiting[l.first] = nil
	l.first++
}

// Shutdown drops every copy that has not ended, for good.
func (d *Dispatcher) Shutdown() {
	d.closed = true
	for _, l := range d.lanes {
		if l == nil {
			continue
		}
		l.next() // those that wait, in order, without looking for each
		for len(l.all) > 0 {
			l.all[len(l.all)-1].drop(traffic.DropShutdown)
		}
	}
}

// InFlight returns how many copies have not ended.
func (d *Dispatcher) InFlight() int { return d.total }

// CloseIdle closes pooled connections that are of no more use, or all.
func (d *Dispatcher) CloseIdle(all bool) {
	d.client.CloseIdle(all)
	for _, cl := range d.piped {
		cl.CloseIdle(all)
	}
}

// Loads calls f for every endpoint that copies have been sent to.
func (d *Dispatcher) Loads(f func(upstream.Load)) {
	d.client.Loads(f)
	for _, cl := range d.piped {
		cl.Loads(f)
	}
}

// count adds one to a reason; the map is made at the first.
func count[K comparable](m *map[K]uint64, key K) {
	if *m == nil {
		*m = map[K]uint64{}
	}
	(*m)[key]++
}

// Books calls f with this loop's books of every mirror it has seen. f must not
// keep them.
func (d *Dispatcher) Books(f func(*telemetry.Mirror)) {
	for _, l := range d.lanes {
		if l == nil {
			continue
		}
		b := &l.books
		s := l.state
		b.Route, b.Name, b.Backend = s.Route, s.Name, s.backend
		b.InFlight = uint64(len(l.all))
		b.Queued = uint64(len(l.all) - l.active)
		f(b)
	}
}

// Gauges fills in what all loops share about a mirror.
func (r *Registry) Gauges(f func(route, mirror, backend string, g Gauges)) {
	now := loop.Now()
	for _, s := range r.all() {
		state, until := s.Breaker.State()
		g := Gauges{
			Share:   math.Float64frombits(s.share.Load()),
			Memory:  s.memory.Used(),
			Breaker: state,
		}
		if last := s.lastCopy.Load(); last > 0 {
			g.LastCopy = time.Unix(0, last)
		}
		if state == Open {
			g.Retry = time.Now().Add(until - now)
		}
		f(s.Route, s.Name, s.backend, g)
	}
}

// Gauges is the present state of a mirror over all loops.
type Gauges struct {
	Share    float64 // configured, 0 to 1
	Memory   int64   // bytes held
	Breaker  BreakerState
	Retry    time.Time // when an open breaker probes
	LastCopy time.Time // when the last copy was sent; zero if never
}
