package mirror

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/preface"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// OfferStream is [Dispatcher.Offer] for a connection without messages: the copy
// is a connection that gets the client's bytes, by Body, and its end, by Finish.
// What the shadow says is read and dropped. It decides by itself. The shadow's stream never has a gap: a
// part that finds no room ends the copy.
func (d *Dispatcher) OfferStream(p *Policy, s *Subject, join *Join) *Copy {
	s.Decision = p.Decide(s)
	c := d.choose(p, s, join)
	switch {
	case c == nil:
		return nil
	case !c.allowed():
		c.drop(traffic.DropPaused)
		return nil
	}
	c.left = -1
	c.call.Raw = true
	d.startSoon(c)
	return c
}

// announce has a shadow that wants it be told of the client first.
func (c *Copy) announce(s *Subject) {
	if b := c.policy.Backend; b != nil && b.ProxyProtocol() != 0 {
		c.call.Alone = true
		c.call.Preface = preface.AppendProxy(c.call.Preface[:0], b.ProxyProtocol(), s.From, s.To)
	}
}

// stalled looks at a stream whose timer has fired: it says whether the shadow has
// been due for the mirror's timeout, and if not looks again later. Due it is while
// bytes wait for it, and after the client's end.
func (c *Copy) stalled() bool {
	limit := time.Duration(c.policy.Def.Timeout)
	left := limit
	if c.call.Whole || c.call.Out.Len() > 0 {
		left = c.moved + limit - c.owner.loop.Now()
	}
	if left <= 0 {
		return true
	}
	c.owner.loop.Arm(&c.timer, left)
	if left == limit {
		c.alive()
	}
	return false
}

// alive tells the breaker that the shadow is well, long before the end of a
// connection that may last for days.
func (c *Copy) alive() {
	c.lane.state.Breaker.Succeeded(c.probe)
	c.probe = false
}
