package mirror

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// datagrams sends the copies of one mirror's datagrams, on a goroutine of its own,
// so that nothing a socket does holds up anybody else. Each datagram is a copy in
// the books: completed when it was handed to the network, which is all that anybody
// knows of a datagram.
type datagrams struct {
	state   *State
	wake    chan struct{}   // holds one token
	sockets *sync.WaitGroup // of goroutines that read them

	mu     sync.Mutex
	queue  []parcel
	books  telemetry.Mirror
	loads  map[*upstream.Endpoint]upstream.Load
	flows  map[*Flow]struct{} // that have a socket
	order  list.List          // of *Flow that have a place, the longest silent last
	closed bool
}

// parcel is a datagram that waits, or without bytes the end of its flow.
type parcel struct {
	flow  *Flow
	bytes []byte
	last  bool
	probe bool
}

// Flow is the copies of one session's datagrams for one mirror: all are made, or
// none, so that a shadow sees whole conversations. Safe for many goroutines.
type Flow struct {
	owner  *datagrams
	policy *Policy
	skip   traffic.Reason // why none are copied

	endpoint *upstream.Endpoint // sender only, as conn
	conn     *net.UDPConn

	// Under owner.mu.
	place  *list.Element // in owner.order, as long as it has a place
	moved  time.Duration
	closed bool
	lost   int
	why    traffic.Reason // of the first that was lost
	fate   traffic.Fate   // of that one
}

// rest is how long a flow keeps its place, and its socket, without a datagram when
// others want it. One that goes on later gets another.
const rest = time.Second

// Flow begins the copies of a session's datagrams. Close must be called.
func (r *Registry) Flow(p *Policy, s *Subject) *Flow {
	d := r.datagramsOf(p.State)
	decision := p.Decide(s)
	if decision.Unkeyed {
		d.mu.Lock()
		d.books.Unkeyed++
		d.mu.Unlock()
	}
	return &Flow{owner: d, policy: p, skip: decision.Skip}
}

// datagramsOf returns the sender of a mirror, and starts it at the first use.
func (r *Registry) datagramsOf(s *State) *datagrams {
	if d := s.datagrams.Load(); d != nil {
		return d
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := s.datagrams.Load(); d != nil {
		return d
	}
	d := &datagrams{state: s, wake: make(chan struct{}, 1), sockets: &r.senders, flows: map[*Flow]struct{}{}, loads: map[*upstream.Endpoint]upstream.Load{}}
	s.datagrams.Store(d)
	r.senders.Go(d.run)
	return d
}

// Close ends the senders of datagrams. What waits is dropped.
func (r *Registry) Close() {
	for _, s := range r.all() {
		if d := s.datagrams.Load(); d != nil {
			d.close()
		}
	}
	r.senders.Wait()
}

// Datagrams calls f with the books of every mirror of datagrams, and load for every
// endpoint that they were sent to. F must not keep them.
func (r *Registry) Datagrams(f func(*telemetry.Mirror), load func(upstream.Load)) (waiting int) {
	for _, s := range r.all() {
		d := s.datagrams.Load()
		if d == nil {
			continue
		}
		d.mu.Lock()
		b := &d.books
		b.Route, b.Name, b.Backend = s.Route, s.Name, s.backend
		waiting += int(b.InFlight)
		b.Queued = b.InFlight
		f(b)
		for _, l := range d.loads {
			load(l)
		}
		d.mu.Unlock()
	}
	return waiting
}

// Copy offers a datagram of the session. It never waits, and does not keep p.
func (f *Flow) Copy(p []byte) {
	d := f.owner
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.skip != "" {
		count(&d.books.Skipped, f.skip)
		return
	}
	d.books.Selected++
	probe, reason := f.admit(len(p))
	if reason != "" {
		if probe {
			d.state.Breaker.Abandoned(loop.Now())
		}
		f.lose(traffic.Dropped, reason)
		return
	}
	d.books.InFlight++
	d.push(parcel{flow: f, bytes: append(make([]byte, 0, len(p)), p...), probe: probe})
}

// admit says why a datagram must not be copied, if so. What it allows has been
// charged to the mirror's memory.
func (f *Flow) admit(size int) (probe bool, reason traffic.Reason) {
	d, s := f.owner, f.owner.state
	now := loop.Now()
	switch {
	case d.closed || f.closed || s.off():
		return false, traffic.DropShutdown
	case !f.enter(now):
		return false, traffic.DropInFlight
	case !s.rate.take(now):
		return false, traffic.DropRate
	case d.books.InFlight >= uint64(s.limits.Load().Queue):
		return false, traffic.DropQueueFull
	}
	if !s.memory.Adjust(int64(size)) {
		s.memory.Adjust(int64(-size))
		return false, traffic.DropMemory
	}
	ok, probe := s.Breaker.Allow(now)
	if !ok {
		s.memory.Adjust(int64(-size))
		return probe, traffic.DropPaused
	}
	return probe, ""
}

// enter gives the flow one of the places for flows in flight, or says that there is
// none. owner.mu is held.
func (f *Flow) enter(now time.Duration) bool {
	d := f.owner
	f.moved = now
	if f.place != nil {
		d.order.MoveToFront(f.place)
		return true
	}
	if !d.state.inFlight.Adjust(1) {
		d.state.inFlight.Adjust(-1)
		last := d.order.Back()
		if last == nil || now-last.Value.(*Flow).moved < rest {
			return false
		}
		last.Value.(*Flow).leave()
		if !d.state.inFlight.Adjust(1) {
			d.state.inFlight.Adjust(-1)
			return false
		}
	}
	f.place = d.order.PushFront(f)
	return true
}

// leave gives the place back, and closes the socket behind the datagrams that wait.
// owner.mu is held.
func (f *Flow) leave() {
	d := f.owner
	if f.place == nil {
		return
	}
	d.order.Remove(f.place)
	f.place = nil
	d.state.inFlight.Adjust(-1)
	if !d.closed {
		d.push(parcel{flow: f, last: true})
	}
}

// lose counts a datagram that was not copied. owner.mu is held.
func (f *Flow) lose(fate traffic.Fate, reason traffic.Reason) {
	b := &f.owner.books
	if fate == traffic.Failed {
		count(&b.Failed, reason)
	} else {
		count(&b.Dropped, reason)
	}
	if f.lost++; f.lost == 1 {
		f.fate, f.why = fate, reason
	}
}

// push queues a parcel. d.mu is held.
func (d *datagrams) push(p parcel) {
	d.queue = append(d.queue, p)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Close ends the flow behind the datagrams that wait.
func (f *Flow) Close() {
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	f.closed = true
	f.leave()
}

// Outcome says what became of the flow up to now.
func (f *Flow) Outcome() traffic.Outcome {
	o := traffic.Outcome{Mirror: f.policy.Def.Name, Backend: f.policy.Def.Backend, Fate: traffic.Completed}
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	if f.endpoint != nil {
		o.Endpoint = f.endpoint.Address
	}
	switch {
	case f.skip != "":
		o.Fate, o.Reason = traffic.Skipped, f.skip
	case f.lost > 0:
		o.Fate, o.Reason = f.fate, f.why
	}
	return o
}

// run sends until close.
func (d *datagrams) run() {
	for range d.wake {
		for {
			d.mu.Lock()
			batch := d.queue
			d.queue = nil
			closed := d.closed
			d.mu.Unlock()
			for i := range batch {
				d.handle(&batch[i])
			}
			if closed {
				return
			}
			if len(batch) == 0 {
				break
			}
		}
	}
}

// handle sends a datagram, or ends a flow.
func (d *datagrams) handle(p *parcel) {
	if p.last {
		d.shut(p.flow)
		return
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	var err error
	if !closed {
		if err = p.flow.dial(); err == nil {
			_, err = p.flow.conn.Write(p.bytes)
		}
	}
	now := loop.Now()
	s := d.state
	s.memory.Adjust(int64(-len(p.bytes)))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.books.InFlight--
	switch {
	case closed || d.closed && err != nil:
		if p.probe {
			s.Breaker.Abandoned(now)
		}
		p.flow.lose(traffic.Dropped, traffic.DropShutdown)
	case err != nil:
		s.Breaker.Failed(now, p.probe)
		p.flow.lose(traffic.Failed, traffic.FailConnect)
	default:
		if p.probe {
			s.Breaker.Succeeded(true)
		}
		s.lastCopy.Store(wall(now))
		d.books.Completed++
		d.books.Bytes += uint64(len(p.bytes))
	}
}

// dial opens the flow's socket at its first datagram.
func (f *Flow) dial() error {
	if f.conn != nil {
		return nil
	}
	d := f.owner
	e := f.policy.Backend.Next(loop.Now(), true)
	if e == nil {
		return errNoEndpoint
	}
	addr, ok := e.Addr()
	if !ok {
		return errNoEndpoint
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return net.ErrClosed
	}
	f.conn, f.endpoint = conn, e
	d.flows[f] = struct{}{}
	l := d.loads[e]
	l.Endpoint = e
	l.InFlight++
	l.Requests++
	d.loads[e] = l
	d.sockets.Go(func() { f.listen(conn, e) })
	return nil
}

var errNoEndpoint = &net.AddrError{Err: "the backend has no endpoints"}

// listen reads what the shadow says, of which nobody needs a byte, until the flow
// is closed.
func (f *Flow) listen(conn *net.UDPConn, e *upstream.Endpoint) {
	var b [1]byte
	for {
		_, err := conn.Read(b[:])
		switch {
		case err == nil:
			e.Answered(true)
			f.owner.state.Breaker.Succeeded(false)
		case errors.Is(err, syscall.ECONNREFUSED): // by ICMP, to an earlier datagram
			e.Refused(loop.Now(), true)
			f.owner.state.Breaker.Failed(loop.Now(), false)
		default:
			return
		}
	}
}

// shut closes the flow's socket.
func (d *datagrams) shut(f *Flow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.conn == nil {
		return
	}
	_ = f.conn.Close()
	f.conn = nil
	delete(d.flows, f)
	l := d.loads[f.endpoint]
	l.InFlight--
	d.loads[f.endpoint] = l
}

// close ends the sender, and a write that it may wait in.
func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for f := range d.flows {
		_ = f.conn.SetWriteDeadline(time.Unix(1, 0))
		d.queue = append(d.queue, parcel{flow: f, last: true})
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
