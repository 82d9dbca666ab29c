package proxy

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Annex serves clients of a listener beside the event loops, and has each of their
// requests enter by an [Entrance]. See [Options.HTTP3].
type Annex interface {
	// Serve begins to take clients. It does not block. Called again, it does nothing.
	Serve()
	// Drain takes no more clients, waits until the last one has gone or ctx is done,
	// and frees everything. It may be called without Serve.
	Drain(ctx context.Context)
}

// Entrance is where the clients of an annex come in. Its methods are for any
// goroutine, but not for those of event loops.
type Entrance struct {
	server   *Server
	listener *listener
	next     atomic.Uint64 // worker
}

// Address is the bound address of the listener.
func (e *Entrance) Address() netip.AddrPort { return e.listener.addr() }

// TLS holds the settings of the listener for handshakes: they follow the
// configuration in force.
func (e *Entrance) TLS() *tls.Config { return e.listener.terminator.config }

// Client returns the bounds on clients that are in force.
func (e *Entrance) Client() config.Client { return e.server.current.Load().config.Client }

// Inherits says that another instance may still hold the address: it will let go
// of it when its own clients have gone.
func (e *Entrance) Inherits() bool { return e.server.options.Takeover }

// Admit takes a client's connection whose handshake is over. Nil is a client too
// many, or one who comes too late.
func (e *Entrance) Admit(from, to netip.AddrPort, state *tls.ConnectionState) *Guest {
	s := e.server
	n := s.clients.Add(1)
	if limit := int64(e.Client().Connections); limit > 0 && n > limit {
		s.clients.Add(-1)
		return nil
	}
	w := s.workers[e.next.Add(1)%uint64(len(s.workers))]
	g := &Guest{worker: w, arrival: arrival{
		listener: e.listener, from: unmapped(from), to: unmapped(to), secure: true, identities: identitiesOf(state),
	}}
	arrived := w.loop.Post(func() {
		w.accepted++
		w.guests++
		w.handshakes[handshakeRow{w.plan.nameOf(e.listener), traffic.HandshakeDone}]++
	})
	if !arrived {
		s.clients.Add(-1)
		return nil
	}
	return g
}

// Guest is a client's connection that an annex serves.
type Guest struct {
	worker  *worker
	arrival arrival
}

// Loop is the event loop that all requests of the guest are served by.
func (g *Guest) Loop() *loop.Loop { return g.worker.loop }

// Enter has v, which must be zero, carry one request and its answer as HTTP/1.1.
// c carries it; what it says to the loop's goroutine from now on comes after this.
// False means that the loop has ended.
func (g *Guest) Enter(v *loop.Virtual, c loop.Carrier) bool {
	w := g.worker
	return w.loop.Post(func() {
		w.loop.Carry(v, c, nil, false)
		v.SetAddrs(g.arrival.to, g.arrival.from)
		a := g.arrival
		a.conn = &v.Conn
		cl := w.newClient(a)
		cl.version = "HTTP/3.0"
		w.lanes++
		v.SetHandler(cl)
		cl.rest()
	})
}

// Leave says that the guest's connection has ended.
func (g *Guest) Leave() {
	w := g.worker
	w.server.clients.Add(-1)
	w.loop.Post(func() { w.guests-- })
}

// openAnnex opens what def wants served beside the loops.
func (s *Server) openAnnex(ln *listener, def *config.Listener) (err error) {
	if def.HTTP3 == nil || ln.annex != nil || s.options.HTTP3 == nil {
		return nil
	}
	ln.annex, err = s.options.HTTP3(&Entrance{server: s, listener: ln})
	return err
}

// serveAnnexes begins to take clients where that has not begun.
func (s *Server) serveAnnexes() {
	for _, ln := range s.listeners {
		if ln.annex != nil {
			ln.annex.Serve()
		}
	}
}

// closeAnnex lets the clients of ln's annex finish what they have begun.
func (s *Server) closeAnnex(ln *listener) {
	annex, patience := ln.annex, time.Duration(0)
	if s.plan != nil {
		patience = orLong(s.plan.config.Shutdown.Drain)
	}
	if annex == nil {
		return
	}
	ln.annex = nil
	s.annexes.Go(func() {
		ctx, cancel := context.WithTimeout(s.ended, patience)
		defer cancel()
		annex.Drain(ctx)
	})
}

// altSvc is the field that tells clients of HTTP/3 at port (RFC 9114 §3.1.1).
func altSvc(port uint16) []byte {
	line := strconv.AppendUint([]byte(`Alt-Svc: h3=":`), uint64(port), 10)
	return append(line, "\"; ma=86400\r\n"...)
}

// alternative is what answers to cl should tell of HTTP/3, if anything.
func (cl *client) alternative() []byte {
	if !cl.secure || cl.version == "HTTP/3.0" {
		return nil
	}
	return cl.worker.plan.place(cl.listener).altSvc
}

// alternative is that of the client, unless the primary or the rule says itself
// where else to go.
func (r *request) alternative(resp *http1.Response) []byte {
	line := r.client.alternative()
	if line == nil || r.tunnel || r.rule.answer.Names("alt-svc") {
		return nil
	}
	if _, own := resp.Value("alt-svc", 0); own {
		return nil
	}
	return line
}
