package proxy

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Snapshot asks every loop for its books and adds them up. Each loop answers
// between two events, so that its part balances, and so does the sum.
func (s *Server) Snapshot() *telemetry.Snapshot {
	s.mu.Lock()
	keys := s.liveKeys
	version := s.plan.config.Version
	s.mu.Unlock()
	c := collector{keys: keys, live: map[liveKey]*telemetry.Live{}, mirrors: map[mirrorKey]*telemetry.Mirror{}, loads: map[*upstream.Endpoint]upstream.Load{}, handshakes: map[handshakeRow]uint64{}}
	snap := &telemetry.Snapshot{
		Time:     time.Now(),
		Started:  s.began,
		Config:   version,
		Reloads:  s.reloads.Load(),
		Draining: s.draining.Load(),
		Loops:    len(s.workers),
		Driver:   string(s.driver),
	}
	for _, w := range s.workers {
		s.visit(w, func() { c.visit(w, snap) })
	}
	s.relays.visit(&c, snap)
	s.mirrors.Gauges(c.gauges)
	snap.Capture.Memory = s.captured.Used()
	c.finish(snap)
	snap.Endpoints = s.endpoints(c.loads)
	snap.Listeners = c.listeners(s.Config())
	return snap
}

// visit runs f while nothing else touches w: on its loop, or, before loops run
// and after they have ended, here.
func (s *Server) visit(w *worker, f func()) {
	if s.before(f) || w.loop.Call(f) {
		return
	}
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// before runs f if the server was not started yet.
func (s *Server) before(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.draining.Load() {
		return false
	}
	f()
	return true
}

type mirrorKey struct{ route, name, backend string }

// collector adds up the parts of a snapshot.
type collector struct {
	keys     []liveKey
	live     map[liveKey]*telemetry.Live
	mirrors  map[mirrorKey]*telemetry.Mirror
	order    []mirrorKey
	loads    map[*upstream.Endpoint]upstream.Load
	throttle float64

	handshakes map[handshakeRow]uint64
}

// visit runs on w's loop.
func (c *collector) visit(w *worker, snap *telemetry.Snapshot) {
	snap.Clients += int64(len(w.clients) - w.lanes + len(w.sessions) + len(w.openings) + w.guests)
	snap.Accepted += w.accepted
	for row, n := range w.handshakes {
		c.handshakes[row] += n
	}
	for id, row := range w.live {
		if row == nil || id >= len(c.keys) {
			continue
		}
		c.row(c.keys[id]).Merge(row)
	}
	snap.Capture.Merge(&w.tap.Books)
	w.copies.Books(c.book)
	w.up.Loads(c.load)
	w.copies.Loads(c.load)
	snap.Lag = max(snap.Lag, w.loop.Lag())
	throttle := w.copies.Governor.Throttle()
	if w == w.server.workers[0] || throttle < c.throttle {
		c.throttle = throttle
	}
}

func (c *collector) row(key liveKey) *telemetry.Live {
	sum := c.live[key]
	if sum == nil {
		sum = &telemetry.Live{Route: key.route, Backend: key.backend}
		c.live[key] = sum
	}
	return sum
}

func (c *collector) book(b *telemetry.Mirror) {
	c.mirror(mirrorKey{b.Route, b.Name, b.Backend}).Merge(b)
}

func (c *collector) load(l upstream.Load) {
	sum := c.loads[l.Endpoint]
	sum.InFlight += l.InFlight
	sum.Idle += l.Idle
	sum.Requests += l.Requests
	c.loads[l.Endpoint] = sum
}

func (c *collector) mirror(key mirrorKey) *telemetry.Mirror {
	m := c.mirrors[key]
	if m == nil {
		m = &telemetry.Mirror{Route: key.route, Name: key.name, Backend: key.backend}
		c.mirrors[key] = m
		c.order = append(c.order, key)
	}
	return m
}

func (c *collector) gauges(route, name, backend string, g mirror.Gauges) {
	m := c.mirror(mirrorKey{route, name, backend})
	m.Share, m.Memory, m.LastCopy = g.Share, g.Memory, g.LastCopy
	m.Breaker, m.Retry, m.Throttle = g.Breaker.String(), g.Retry, c.throttle
}

// finish puts the rows in the order in which they were first configured.
func (c *collector) finish(snap *telemetry.Snapshot) {
	for _, key := range c.keys {
		if row := c.live[key]; row != nil {
			snap.Live = append(snap.Live, *row)
		}
	}
	for _, key := range c.order {
		snap.Mirrors = append(snap.Mirrors, *c.mirrors[key])
	}
}

// listeners are the rows of those that speak TLS.
func (c *collector) listeners(cfg *config.Config) (rows []telemetry.Listener) {
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if !l.Terminates() {
			continue
		}
		row := telemetry.Listener{Name: l.Name, Handshakes: map[traffic.Handshake]uint64{}}
		for _, h := range traffic.Handshakes {
			row.Handshakes[h] = c.handshakes[handshakeRow{l.Name, h}]
		}
		rows = append(rows, row)
	}
	return rows
}

func (s *Server) endpoints(loads map[*upstream.Endpoint]upstream.Load) (rows []telemetry.Endpoint) {
	now := loop.Now()
	for _, b := range s.registry.All() {
		for _, e := range b.Endpoints() {
			load := loads[e]
			row := telemetry.Endpoint{
				Backend:  b.Name,
				Address:  e.Address,
				InFlight: int64(load.InFlight),
				Idle:     int64(load.Idle),
				Requests: load.Requests,
				Failures: e.Failures(),
			}
			var until time.Duration
			if until, row.Ejected = e.Ejected(now); row.Ejected {
				row.Until = time.Now().Add(until - now)
			}
			rows = append(rows, row)
		}
	}
	return rows
}
