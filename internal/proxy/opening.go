package proxy

import (
	"errors"
	"io"
	"slices"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/preface"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// opening is a connection of which something must be read before it can be
// served: a PROXY header, because it comes from a load balancer, the name of the
// server in a TLS ClientHello that is passed on, or a handshake of TLS. The header
// is taken off, a ClientHello that is passed on is not.
type opening struct {
	arrival
	worker  *worker
	in      spool.Inbox
	timer   loop.Timer
	header  bool // a PROXY header is due
	hello   bool // a ClientHello is due
	tls     bool // a handshake of TLS is due
	shaking bool // and has begun
	left    bool // it was answered; what still comes is thrown away
	closed  bool
}

// open returns an opening if the connection needs one.
func (w *worker) open(a arrival) *opening {
	l := w.plan.listener(a.listener)
	if l == nil {
		return nil
	}
	o := &opening{arrival: a, worker: w, hello: passesThrough(l), tls: l.Terminates()}
	o.header = l.ProxyProtocol != nil && contains(l.ProxyProtocol.Sources, a.from.Addr())
	if !o.header && !o.hello && !o.tls {
		return nil
	}
	o.timer.Task = (*openingExpired)(o)
	w.openings[o] = struct{}{}
	if d := duration(w.plan.config.Client.HeadTimeout); d > 0 {
		w.loop.Arm(&o.timer, d)
	}
	return o
}

func passesThrough(l *config.Listener) bool {
	return l.TLS != nil && l.TLS.Mode == config.TLSPassthrough
}

// openingExpired is an opening whose time is up.
type openingExpired opening

// Run ends it.
func (e *openingExpired) Run() {
	switch o := (*opening)(e); {
	case o.left:
		o.close()
	case o.tls && !o.header:
		o.failed(traffic.HandshakeTimeout, errLate.Error())
		o.close()
	default:
		o.refuse(errLate)
	}
}

var (
	errLate = errors.New("the beginning of the connection did not arrive in time")
	errLeft = errors.New("the client left at the beginning of the connection")
)

// OnReady implements loop.Handler.
func (o *opening) OnReady(c *loop.Conn, r loop.Ready) {
	if o.left {
		o.discard()
		return
	}
	n, err := c.Read(o.in.Room(&o.worker.pool, 4<<10))
	o.in.Grow(n)
	if n > 0 {
		o.look()
	}
	switch {
	case o.closed || o.shaking || o.left:
	case errors.Is(err, io.EOF):
		o.refuse(errLeft)
	case err != nil && !errors.Is(err, loop.ErrAgain):
		o.refuse(err)
	case r&loop.Hangup != 0:
		o.refuse(errLeft)
	case o.in.Len() == 0:
		o.in.Reset()
	}
}

// look reads what has come, and goes on when nothing more is due.
func (o *opening) look() {
	if o.header {
		p, n, err := preface.ParseProxy(o.in.Bytes())
		switch {
		case err != nil:
			o.refuse(err)
			return
		case n == 0:
			return
		case p.From.IsValid():
			o.from, o.to = p.From, p.To
		}
		o.in.Discard(n)
		o.header = false
	}
	if o.tls {
		o.shake()
		return
	}
	server := ""
	if o.hello {
		name, done, err := preface.ServerName(o.in.Bytes())
		switch {
		case err != nil:
			o.refuse(err)
			return
		case !done:
			return
		}
		server = name
	}
	rest := slices.Clone(o.in.Bytes())
	o.forget()
	o.conn.SetHandler(o.worker.serve(o.arrival, server, rest))
}

// discard throws away what a client still sends that was answered.
func (o *opening) discard() {
	if _, err := o.conn.Read(o.worker.intake.Next().Space()); err != nil && !errors.Is(err, loop.ErrAgain) {
		o.close()
	}
}

// refuse ends a connection that did not begin as it had to. It gets a reset: what
// it speaks, and so how to tell it, is not known.
func (o *opening) refuse(err error) {
	w := o.worker
	if o.tls && !o.header {
		o.failed(traffic.HandshakeLeft, err.Error())
		o.close()
		return
	}
	row := w.row(0)
	row.Codes[0]++
	row.Errors[traffic.Client]++
	w.reportTo(&o.arrival, 0, err.Error())
	o.close()
}

// close ends the connection.
func (o *opening) close() {
	o.forget()
	o.worker.server.clients.Add(-1)
	o.conn.Abort()
	o.worker.checkDrained()
}

// forget lets go of everything but the connection.
func (o *opening) forget() {
	o.closed = true
	o.worker.loop.Disarm(&o.timer)
	o.in.Reset()
	delete(o.worker.openings, o)
}
