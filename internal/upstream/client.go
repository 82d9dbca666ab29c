package upstream

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

// Client is one loop's way to its backends. It must be used on its loop's
// goroutine only.
type Client struct {
	Loop   *loop.Loop
	Pool   *spool.Pool
	Intake *spool.Intake
	Limits http1.Limits // of the heads of answers

	// Late writes at the end of a loop's pass instead of after the event, so
	// that what belongs to live requests goes first. It is for copies, for which
	// the health of endpoints is kept apart.
	Late bool
	// Depth is how many calls may be on their way on one connection. Zero and
	// one mean that each waits for the one before.
	Depth int

	pools []pool // by Endpoint.id
	turns []uint // by Backend.id, for round robin
	vec   [][]byte
	probe [1]byte // see Conn.quiet
}

// pool is what one loop knows of one endpoint.
type pool struct {
	endpoint *Endpoint
	idle     []*Conn // no call on them; the last was used last
	open     []*Conn // fewer than Depth calls on them; only with Depth > 1
	inFlight int
	requests uint64
	sessions sessions
}

// Load is what one loop has to say about an endpoint.
type Load struct {
	Endpoint *Endpoint
	InFlight int
	Idle     int
	Requests uint64
}

// Loads calls f for every endpoint that this client has ever reached.
func (cl *Client) Loads(f func(Load)) {
	for i := range cl.pools {
		if p := &cl.pools[i]; p.endpoint != nil {
			f(Load{Endpoint: p.endpoint, InFlight: p.inFlight, Idle: len(p.idle), Requests: p.requests})
		}
	}
}

// Pick chooses an endpoint of b: one that is not ejected, or any if all are,
// because a backend that might answer is better than none. It returns nil if b
// has no endpoints. avoid, if not nil, is chosen only when it is the only one.
func (cl *Client) Pick(b *Backend, avoid *Endpoint) *Endpoint {
	all := b.Endpoints()
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 {
		return all[0]
	}
	for b.id >= len(cl.turns) {
		cl.turns = append(cl.turns, rand.Uint()%1024) // loops start at different endpoints
	}
	now := cl.Loop.Now()
	least := b.def.Load().Balance == config.LeastRequest
	var best *Endpoint
	for range all {
		cl.turns[b.id]++
		e := all[cl.turns[b.id]%uint(len(all))]
		if time.Duration(cl.health(e).until.Load()) > now || e == avoid {
			continue
		}
		if !least {
			return e
		}
		if best == nil || cl.pool(e).inFlight < cl.pool(best).inFlight {
			best = e
		}
	}
	cl.turns[b.id]++ // a whole turn ends where it began: the next of equals comes next
	for tries := 0; (best == nil || best == avoid) && tries < 2; tries++ {
		cl.turns[b.id]++
		best = all[cl.turns[b.id]%uint(len(all))]
	}
	return best
}

// health returns what calls of this kind have shown of e.
func (cl *Client) health(e *Endpoint) *health {
	return e.healthOf(cl.Late)
}

func (cl *Client) pool(e *Endpoint) *pool {
	for e.id >= len(cl.pools) {
		cl.pools = append(cl.pools, pool{})
	}
	p := &cl.pools[e.id]
	p.endpoint = e
	return p
}

// Room says whether a call to e could be sent without opening a connection.
func (cl *Client) Room(e *Endpoint) bool {
	p := cl.pool(e)
	return len(p.idle) > 0 || len(p.open) > 0
}

// Send sends call to e, on a pooled connection or a new one. Whatever goes
// wrong is told by Caller.End, never before Send has returned.
func (cl *Client) Send(call *Call, e *Endpoint) {
	p := cl.pool(e)
	p.inFlight++
	p.requests++
	call.endpoint = e
	call.started, call.answered = false, false
	call.SentAt, call.Connect = 0, 0
	var c *Conn
	if !call.Raw && !call.Alone {
		c = p.take(call)
	}
	if c == nil {
		p.makeRoom(call)
		c = cl.dial(e, call)
	}
	call.Reused, call.Refusable = !c.connecting, c.lane
	c.add(call)
}

// take returns a connection with room for call, or nil.
func (p *pool) take(call *Call) *Conn {
	for i := len(p.open) - 1; i >= 0 && call.Whole; i-- {
		if c := p.open[i]; c.suits(call) && c.joins(call) {
			return c
		}
	}
	for i := len(p.idle) - 1; i >= 0; i-- {
		c := p.idle[i]
		if !c.suits(call) {
			continue
		}
		if call.Once && !c.quiet() {
			c.close()
			continue
		}
		p.idle = slices.Delete(p.idle, i, i+1)
		c.place = nowhere
		return c
	}
	return nil
}

// makeRoom closes the connection that rests longest, if there is one: it asked
// for another name, and connections are bounded by what is in flight.
func (p *pool) makeRoom(call *Call) {
	if len(p.idle) > 0 && !call.Raw && !call.Alone {
		p.idle[0].close()
	}
}

// CloseIdle closes the pooled connections of endpoints that are no longer
// configured, and forgets such endpoints once nothing is on its way to them; or
// closes all pooled connections.
func (cl *Client) CloseIdle(all bool) {
	for i := range cl.pools {
		p := &cl.pools[i]
		if p.endpoint == nil || !all && !p.endpoint.gone.Load() {
			continue
		}
		for j := len(p.idle) - 1; j >= 0; j-- {
			p.idle[j].close()
		}
		p.sessions.retire()
		if p.inFlight == 0 && p.endpoint.gone.Load() {
			*p = pool{}
		}
	}
}

// dial opens a connection to e for call. A dial that fails at once is told after the
// event, like one that fails later.
func (cl *Client) dial(e *Endpoint, call *Call) *Conn {
	c := &Conn{client: cl, endpoint: e, place: nowhere, addrs: *e.addrs.Load(), preface: call.Preface, dialled: loop.Now()}
	c.lastCall, c.upgrade = call.Raw || call.Alone, call.Upgrade
	c.raw, c.tunnel, c.inBody = call.Raw, call.Raw, call.Raw
	if e.tls != nil && e.def.ServerName == "" {
		c.server = string(call.Server)
	}
	c.timer.Task = (*connExpired)(c)
	cl.Loop.Arm(&c.timer, limit(e.Backend.def.Load().ConnectTimeout))
	c.dialNext()
	return c
}

// limit turns a timeout into a duration for a timer; off is a year.
func limit(t config.Timeout) time.Duration {
	if t < 0 {
		return 365 * 24 * time.Hour
	}
	return time.Duration(t)
}

// dialNext tries the next of the endpoint's addresses.
func (c *Conn) dialNext() {
	c.dialErr = "the name has no address"
	for len(c.addrs) > 0 {
		var addr netip.AddrPort
		addr, c.addrs = c.addrs[0], c.addrs[1:]
		conn, err := c.connect(addr)
		if err == nil {
			c.conn, c.connecting = conn, conn.Connecting()
			return
		}
		c.dialErr = err.Error()
	}
	c.connecting = true
	c.client.Loop.AfterEvent((*connRefused)(c))
}
