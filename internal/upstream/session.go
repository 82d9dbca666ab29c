package upstream

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/session"
)

// sessions are the HTTP/2 connections of a pool. Each holds many of the pool's
// connections, as lanes.
type sessions struct {
	options *session.Options
	open    []pooled
}

// pooled is a session and the name of the server that was asked for by TLS, empty
// for the usual one.
type pooled struct {
	*session.Session
	server string
}

// connect begins to connect to addr: by a socket of c's own, or by a lane of a
// session.
func (c *Conn) connect(addr netip.AddrPort) (*loop.Conn, error) {
	cl, def := c.client, c.endpoint.Backend.def.Load()
	if c.raw || !c.two(def) {
		return cl.Loop.Dial(addr, c)
	}
	c.lane = true
	p := &cl.pool(c.endpoint).sessions
	for i := len(p.open) - 1; i >= 0; i-- { // one for each hundred calls in flight
		if s := p.open[i]; s.server == c.server && s.Room() && s.Conn().Remote() == addr {
			return s.Open(c), nil
		}
	}
	o := cl.sessionOptions(c.endpoint)
	if c.endpoint.tls != nil {
		named := *o
		named.TLS = c.settings([]string{"h2"})
		o = &named
	}
	s, err := session.Dial(addr, o)
	if err != nil {
		return nil, err
	}
	p.open = append(p.open, pooled{s, c.server})
	return s.Open(c), nil
}

// two says whether HTTP/2 is spoken with the endpoint. One that may choose is asked
// by the first connection.
func (c *Conn) two(def *config.Backend) bool {
	switch def.Protocol {
	case config.ProtocolHTTP2:
		return true
	case config.ProtocolAuto:
		return c.endpoint.chose.Load() && len(c.preface) == 0 && !c.upgrade
	}
	return false
}

// sessionOptions returns how sessions with e are led.
func (cl *Client) sessionOptions(e *Endpoint) *session.Options {
	p, def := &cl.pool(e).sessions, e.Backend.def.Load()
	idle, begin := time.Duration(max(def.IdleTimeout, 0)), time.Duration(max(def.ConnectTimeout, 0))
	if o := p.options; o != nil && o.Idle == idle && o.Begin == begin {
		return o
	}
	p.options = &session.Options{
		Loop:   cl.Loop,
		Pool:   cl.Pool,
		Intake: cl.Intake,
		Limits: cl.Limits,
		Late:   cl.Late,
		Idle:   idle,
		Begin:  begin,
		Ended:  func(s *session.Session) { cl.forget(e, s) },
	}
	return p.options
}

// forget takes a session that has ended off its pool.
func (cl *Client) forget(e *Endpoint, s *session.Session) {
	p := &cl.pools[e.id].sessions
	if i := slices.IndexFunc(p.open, func(o pooled) bool { return o.Session == s }); i >= 0 {
		p.open = slices.Delete(p.open, i, i+1)
	}
}

// retire ends the sessions when their calls have ended.
func (p *sessions) retire() {
	for i := len(p.open) - 1; i >= 0; i-- {
		if i < len(p.open) {
			p.open[i].Retire()
		}
	}
}

// speaksOther says whether err means that the other side does not speak HTTP/2
// as it should.
func speaksOther(err error) bool {
	var broken *http2.Error
	return errors.As(err, &broken) || errors.Is(err, session.ErrBroken)
}
