package proxy

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/session"
)

var http2Preface = []byte(http2.Preface)

// recognise looks whether the first bytes of a connection, p, begin HTTP/2. It
// is decided as soon as they do, or cannot.
func (cl *client) recognise(p []byte) (used int, decided bool) {
	switch {
	case bytes.HasPrefix(p, http2Preface):
		cl.become(p)
		return len(p), true
	case bytes.HasPrefix(http2Preface, p):
		if cl.in.Len() == 0 {
			cl.wait(cl.worker.plan.config.Client.HeadTimeout)
		}
		return 0, false
	}
	cl.fresh = false
	return 0, true
}

// become hands the connection, which has sent p, over to a session. What is
// left of the client is closed.
func (cl *client) become(p []byte) {
	w := cl.worker
	cl.closed = true
	w.loop.Disarm(&cl.timer)
	delete(w.clients, cl)
	s := session.Serve(cl.conn, w.serving)
	w.sessions[s] = cl.arrival
	if cl.retired {
		s.Retire()
	}
	s.Receive(p)
	cl.in.Reset()
}

// sessionOptions returns how clients that speak HTTP/2 are served under p.
func (w *worker) sessionOptions(p *plan) *session.Options {
	c := &p.config.Client
	return &session.Options{
		Loop:    w.loop,
		Pool:    &w.pool,
		Intake:  w.intake,
		Limits:  p.limits,
		Streams: c.Streams,
		Idle:    duration(c.IdleTimeout),
		Stall:   duration(c.IdleTimeout),
		Begin:   duration(c.HeadTimeout),
		Accept:  w.acceptLane,
		Ended:   w.sessionEnded,
	}
}

// acceptLane takes a stream of a session.
func (w *worker) acceptLane(s *session.Session, c *loop.Conn) loop.Handler {
	a := w.sessions[s]
	a.conn = c
	cl := w.newClient(a)
	cl.version = "HTTP/2.0"
	cl.rest()
	w.lanes++
	return cl
}

func (w *worker) sessionEnded(s *session.Session) {
	if _, ok := w.sessions[s]; ok {
		delete(w.sessions, s)
		w.server.clients.Add(-1)
		w.checkDrained()
	}
}

// retireSessions lets sessions of some listeners finish what they have begun.
func (w *worker) retireSessions(which func(*listener) bool) {
	for s, a := range w.sessions {
		if which(a.listener) {
			s.Retire()
		}
	}
}
