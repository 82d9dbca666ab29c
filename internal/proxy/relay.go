package proxy

import (
	"container/list"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// relays are the UDP listeners of a server, and their books. They run on
// goroutines beside the loops: a datagram has no connection that would belong to
// one.
type relays struct {
	server  *Server
	running sync.WaitGroup

	mu     sync.Mutex
	live   map[int]*telemetry.Live // by live id
	loads  map[*upstream.Endpoint]upstream.Load
	counts telemetry.Datagrams
}

// relay is one UDP listener: its socket, and a session for each client that has
// sent something lately. A session is one request in the books.
type relay struct {
	*relays
	listener *listener
	addr     netip.AddrPort
	socket   *datagramSocket
	ended    chan struct{}
	started  bool
	retiring sync.Once

	mu       sync.Mutex
	sessions map[flowKey]*flow
	order    list.List // of *flow, the longest silent last
	waiting  int       // sessions whose last word was the client's
}

// flowKey tells sessions apart: by the client, and by which of our addresses it
// talks to, because answers must come from there.
type flowKey struct {
	from, to netip.AddrPort
	device   uint32 // that it came by; 0 if it does not matter
}

// flow is a session of UDP: a client and the endpoint that answers it.
type flow struct {
	relay    *relay
	key      flowKey
	rule     *rule
	live     int // row of its books
	endpoint *upstream.Endpoint
	conn     *net.UDPConn
	flows    []*mirror.Flow
	began    time.Time
	start    time.Duration
	exchange *traffic.Exchange // nil if nobody asked for it

	// Under relay.mu.
	element           *list.Element
	moved, first      time.Duration
	bytesIn, bytesOut int64
	waits             bool // for an answer
	refused           bool
	over              bool
}

const (
	// maxDatagram is more than IPv4 and IPv6 without jumbograms can carry: nothing
	// is ever cut off.
	maxDatagram = 64 << 10
	// readBuffer is what the system shall hold for a listener: clients come in bursts,
	// and what does not fit is lost.
	readBuffer = 4 << 20
	// lastAnswers is how long a UDP listener that closes waits for answers that
	// its clients are still due.
	lastAnswers = time.Second
)

var packets = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// open binds a listener.
func (rs *relays) open(ln *listener, address string) (*relay, error) {
	socket, err := listenDatagrams(address)
	if err != nil {
		return nil, err
	}
	r := &relay{relays: rs, listener: ln, socket: socket, ended: make(chan struct{}), sessions: map[flowKey]*flow{}}
	r.addr = unmapped(socket.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	return r, nil
}

// start serves.
func (r *relay) start() {
	r.started = true
	r.running.Go(r.read)
	r.running.Go(r.expire)
}

// retire serves until no client waits for an answer, for a moment at most, and
// closes.
func (r *relay) retire() {
	r.retiring.Do(func() {
		if !r.started {
			_ = r.socket.conn.Close()
			return
		}
		r.running.Go(func() {
			const look = 10 * time.Millisecond
			for deadline := time.Now().Add(lastAnswers); r.unanswered() > 0 && time.Now().Before(deadline); {
				<-time.After(look)
			}
			close(r.ended)
			_ = r.socket.conn.Close() // ends read
		})
	})
}

func (r *relay) unanswered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// read passes on what clients send.
func (r *relay) read() {
	buf := make([]byte, maxDatagram)
	for {
		n, key, err := r.socket.read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			r.endAll()
			return
		case err != nil: // of one datagram, such as an answer that found nobody
			continue
		}
		if !r.pass(key, buf[:n]) {
			r.lost()
		}
	}
}

// pass passes on a datagram, again if its session ended at this moment.
func (r *relay) pass(key flowKey, p []byte) bool {
	for range 2 {
		s := r.session(key)
		if s == nil {
			return false
		}
		if s.forward(p) {
			return true
		}
	}
	return false
}

func (rs *relays) lost() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.counts.Lost++
}

// session returns the session of a client, a new one if there is none, and nil if
// there can be none.
func (r *relay) session(key flowKey) *flow {
	r.mu.Lock()
	s := r.sessions[key]
	r.mu.Unlock()
	if s != nil {
		return s
	}
	p := r.server.current.Load()
	l := p.listener(r.listener)
	if l == nil {
		return nil
	}
	r.evict(l.Sessions - 1)
	m := &route.Request{Listener: p.place(r.listener).index, Path: rootPath, Source: key.from.Addr()}
	matched := p.table.Match(m)
	if matched == nil {
		return nil
	}
	s = &flow{relay: r, key: key, rule: &p.rules[matched.ID], began: time.Now(), start: loop.Now()}
	s.moved = s.start
	if !s.connect() {
		return nil
	}
	s.sample(p)
	subject := mirror.Subject{Match: m, Draw: rand.Uint64(), From: key.from, To: key.to}
	for _, policy := range s.rule.mirrors {
		s.flows = append(s.flows, r.server.mirrors.Flow(policy, &subject))
	}
	r.mu.Lock()
	r.sessions[key] = s
	s.element = r.order.PushFront(s)
	r.mu.Unlock()
	r.running.Go(s.answer)
	return s
}

// connect makes the socket to a primary.
func (s *flow) connect() bool {
	choice := s.rule.choose(rand.Uint64())
	if choice == nil {
		return false
	}
	s.live = choice.live
	if s.endpoint = choice.backend.Next(s.start, false); s.endpoint == nil {
		return false
	}
	addr, ok := s.endpoint.Addr()
	if !ok {
		return false
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return false
	}
	s.conn = conn
	s.relay.begun(s)
	return true
}

// forward passes a datagram on to the primary, and copies of it to shadows. False
// says that the session is over.
func (s *flow) forward(p []byte) bool {
	if !s.step(len(p), 0) {
		return false
	}
	_, err := s.conn.Write(p)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.failed()
		_, err = s.conn.Write(p) // the error was the answer to an earlier one, by ICMP
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return false
	case err != nil:
		s.relay.lost()
	}
	for _, f := range s.flows {
		f.Copy(p)
	}
	return true
}

// answer passes on what the primary says, until the session is closed.
func (s *flow) answer() {
	read := newReceiver(s.conn)
	for {
		p, err := read.next()
		switch {
		case err == nil:
			s.step(0, len(p))
			s.endpoint.Answered(false)
			if s.relay.socket.write(p, s.key) != nil {
				s.relay.lost()
			}
			read.done()
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.failed()
		}
	}
}

// step notes that something moved, unless the session is over.
func (s *flow) step(in, out int) bool {
	r := s.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.over {
		return false
	}
	s.moved = loop.Now()
	s.bytesIn += int64(in)
	s.bytesOut += int64(out)
	if out > 0 && s.first == 0 {
		s.first = s.moved
	}
	r.order.MoveToFront(s.element)
	s.setWaits(in > 0)
	return true
}

// setWaits notes whether the client waits for an answer. relay.mu is held.
func (s *flow) setWaits(waits bool) {
	if s.waits == waits {
		return
	}
	s.waits = waits
	if waits {
		s.relay.waiting++
	} else {
		s.relay.waiting--
	}
}

// failed notes that the primary, or the way to it, has refused a datagram.
func (s *flow) failed() {
	s.endpoint.Refused(loop.Now(), false)
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.refused = s.refused || !s.over
}

// evict ends the longest silent sessions until at most n are left.
func (r *relay) evict(n int) {
	for {
		r.mu.Lock()
		var last *flow
		if len(r.sessions) > n {
			last = r.order.Back().Value.(*flow)
		}
		r.mu.Unlock()
		if last == nil {
			return
		}
		last.end()
		r.relays.mu.Lock()
		r.counts.Evicted++
		r.relays.mu.Unlock()
	}
}

// expire ends sessions that have been silent for too long.
func (r *relay) expire() {
	tick := time.NewTicker(time.Second / 4)
	defer tick.Stop()
	for {
		select {
		case <-r.ended:
			return
		case <-tick.C:
		}
		for _, s := range r.silent() {
			s.end()
		}
	}
}

// silent are the sessions whose time is over. Rules have timeouts of their own, so
// all are looked at.
func (r *relay) silent() (old []*flow) {
	now := loop.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.order.Back(); e != nil; e = e.Prev() {
		if s := e.Value.(*flow); now-s.moved >= s.rule.idle {
			old = append(old, s)
		}
	}
	return old
}

func (r *relay) endAll() {
	r.mu.Lock()
	var all []*flow
	for _, s := range r.sessions {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		s.end()
	}
}

// end closes the session and its books, once.
func (s *flow) end() {
	r := s.relay
	r.mu.Lock()
	if s.over {
		r.mu.Unlock()
		return
	}
	s.over = true
	s.setWaits(false)
	delete(r.sessions, s.key)
	r.order.Remove(s.element)
	r.mu.Unlock()
	_ = s.conn.Close()
	s.report()
	for _, f := range s.flows {
		f.Close()
	}
	r.finished(s)
}
