package proxy

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// row returns the books of a live row. rs.mu is held.
func (rs *relays) row(id int) *telemetry.Live {
	if rs.live == nil {
		rs.live = map[int]*telemetry.Live{}
		rs.loads = map[*upstream.Endpoint]upstream.Load{}
	}
	if rs.live[id] == nil {
		rs.live[id] = &telemetry.Live{Codes: map[int]uint64{}, Errors: map[traffic.Source]uint64{}}
	}
	return rs.live[id]
}

// begun opens the books on a session.
func (rs *relays) begun(s *flow) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.row(s.live).InFlight++
	l := rs.loads[s.endpoint]
	l.Endpoint = s.endpoint
	l.InFlight++
	l.Requests++
	rs.loads[s.endpoint] = l
}

// finished closes the books on a session that is over.
func (rs *relays) finished(s *flow) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	row := rs.row(s.live)
	row.InFlight--
	row.Codes[0]++
	row.BytesIn += uint64(s.bytesIn)
	row.BytesOut += uint64(s.bytesOut)
	row.Duration.Add(s.moved - s.start)
	if s.refused {
		row.Errors[traffic.Primary]++
	}
	l := rs.loads[s.endpoint]
	l.InFlight--
	rs.loads[s.endpoint] = l
}

// visit adds the books of all relays to a snapshot.
func (rs *relays) visit(c *collector, snap *telemetry.Snapshot) {
	rs.mu.Lock()
	for id, row := range rs.live {
		if id < len(c.keys) {
			c.row(c.keys[id]).Merge(row)
		}
	}
	for _, l := range rs.loads {
		c.load(l)
	}
	snap.Datagrams = rs.counts
	rs.mu.Unlock()
	rs.server.mirrors.Datagrams(c.book, c.load)
}

// sample starts an exchange if there is a sink and this session is drawn.
func (s *flow) sample(p *plan) {
	if p.sampled == 0 || len(s.relay.server.options.Sinks) == 0 || p.sampled != 1<<64-1 && rand.Uint64() >= p.sampled {
		return
	}
	s.exchange = &traffic.Exchange{
		ID:       fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()),
		Start:    s.began,
		Listener: p.nameOf(s.relay.listener),
		Client:   s.key.from.Addr(),
		Protocol: "UDP",
		Route:    s.rule.Route,
		Rule:     s.rule.Index,
	}
}

// report hands the exchange of a session that is over to the sinks.
func (s *flow) report() {
	x := s.exchange
	if x == nil {
		return
	}
	since := func(at time.Duration) time.Duration { return max(at-s.start, 0) }
	x.Duration = since(s.moved)
	x.BytesIn, x.BytesOut = s.bytesIn, s.bytesOut
	x.Primary = traffic.Outcome{Backend: s.endpoint.Backend.Name, Endpoint: s.endpoint.Address, Bytes: s.bytesOut, First: since(s.first), End: since(s.moved)}
	if s.refused {
		x.Source, x.Error = traffic.Primary, "the primary refused datagrams"
		x.Primary.Source, x.Primary.Error = x.Source, x.Error
	}
	end := since(loop.Now())
	for _, f := range s.flows {
		o := f.Outcome()
		o.End = end
		x.Copies = append(x.Copies, o)
	}
	for _, sink := range s.relay.server.options.Sinks {
		sink.Offer(x)
	}
}
