package mirror

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
	"github.com/understudy-proxy/understudy/internal/websocket"
)

// tunnel is what the copy of a WebSocket has besides an ordinary one. It is held
// until the primary has answered the handshake, so that what the shadow answers
// can be judged, and is one copy from then on until both sides are done.
//
//	held ── asked ── open ── parted ── ended
//
// Whatever ends it early ends it between two frames if that is possible, and by
// a reset otherwise: a shadow never takes a part of a message for a whole one.
type tunnel struct {
	client  websocket.Frames // what the client sends and the shadow gets
	shadow  websocket.Frames // what the shadow sends; it is read and dropped
	waiting spool.Queue      // the client's bytes until the shadow has switched protocols

	key                  []byte // of the client's handshake
	protocol, extensions []byte // that the primary has chosen

	refused bool // the primary did not switch: an ordinary copy
	leaving bool // the client has gone before the shadow had switched
	open    bool // the shadow has switched
	said    bool // a Close was sent, the client's or ours: nothing follows it
	heard   bool // the shadow has sent Close
	deaf    bool // the shadow takes no more bytes
	over    bool // the shadow has closed; the client may still be there
	parted  bool // the fate is known; only the shadow's end is waited for
	pinged  bool // the shadow waits for a pong

	fate   traffic.Fate // once parted
	reason traffic.Reason
	detail string

	ping [websocket.MaxControl]byte // payload of the last ping
	size int                        // bytes of it
}

// partingTime is how long a copy whose fate is known waits for its shadow to
// close: closing at once could take our Close from it.
const partingTime = 2 * time.Second

// dig makes c the copy of the WebSocket that r asks for.
func (c *Copy) dig(r *http1.Request) {
	if c.spare == nil {
		c.spare = &tunnel{}
		c.spare.waiting.Pool = c.owner.client.Pool
	}
	t := c.spare
	key, _ := r.Value(websocket.KeyField, 0)
	*t = tunnel{waiting: t.waiting, key: append(t.key[:0], key...), protocol: t.protocol[:0], extensions: t.extensions[:0]}
	t.client.Masked = true
	c.tunnel, c.held = t, true
	c.call.Upgrade, c.call.Once = true, true
}

// isWebSocket says whether r asks for a WebSocket (RFC 6455 §4.2.1).
func isWebSocket(r *http1.Request) bool {
	if string(r.Method()) != "GET" || r.HasBody() || !bytes.EqualFold(r.Upgrade(), protocolName) {
		return false
	}
	key, _ := r.Value(websocket.KeyField, 0)
	version, _ := r.Value(websocket.VersionField, 0)
	_, again := r.Value(websocket.KeyField, 1)
	return websocket.ValidKey(key) && string(version) == websocket.Version && !again
}

var protocolName = []byte("websocket")

// upgrades says whether r asks for an upgrade that p copies. What other
// protocols than WebSocket send cannot be cut without half a message.
func (p *Policy) upgrades(r *http1.Request) bool {
	return p.Def.Upgrades == config.UpgradesCopy && isWebSocket(r)
}

// Tunnel says whether the copy is one of a WebSocket: it wants to know what the
// primary answered, and then all that the client sends.
func (c *Copy) Tunnel() bool { return c.tunnel != nil }

// streams says whether c is a WebSocket that the client is sending to.
func (c *Copy) streams() bool { return c.tunnel != nil && !c.tunnel.refused }

// Answered sends a copy of a WebSocket on its way, now that the primary has
// answered with the head r; nil if it has not. Without a 101 of the primary the
// copy is an ordinary one.
func (c *Copy) Answered(r *http1.Response) {
	t := c.tunnel
	if t == nil || !c.held {
		return
	}
	t.refused = r == nil || r.Status() != 101 || !bytes.EqualFold(r.Upgrade(), protocolName)
	if !t.refused {
		t.protocol = appendValues(t.protocol, r, websocket.ProtocolField)
		t.extensions = appendValues(t.extensions, r, websocket.ExtensionsField)
		t.client.Extended = len(t.extensions) > 0
	}
	c.held = false
	c.release()
}

// appendValues appends the values of all fields called name, as one.
func appendValues(dst []byte, r *http1.Response, name string) []byte {
	for i := 0; ; i++ {
		v, ok := r.Value(name, i)
		if !ok {
			return dst
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
}

// switched judges the shadow's answer to the handshake.
func (c *Copy) switched(r *http1.Response) {
	t := c.tunnel
	if t.refused {
		if r.Status() == 101 { // where the primary did not: nothing can be sent through it
			c.call.Cancel()
			c.complete()
		}
		return
	}
	c.lane.state.Breaker.Succeeded(c.probe) // it is there, whatever it says
	c.probe = false
	if why := c.mismatch(r); why != "" {
		c.call.Cancel()
		c.miss(traffic.FailProtocol, why)
		return
	}
	t.open = true
	t.shadow.Extended = len(t.extensions) > 0
	c.owner.loop.Disarm(&c.timer)
	c.call.Out, t.waiting = t.waiting, c.call.Out
	c.call.Flush()
	switch {
	case t.said:
		c.part(traffic.Completed, "", "", 0)
	case t.leaving:
		c.part(traffic.Completed, "", "", websocket.GoingAway)
	}
}

// mismatch says why the client's frames cannot go to a shadow that has answered
// r; empty if they can.
func (c *Copy) mismatch(r *http1.Response) string {
	t := c.tunnel
	accept, _ := r.Value(websocket.AcceptField, 0)
	d := c.owner
	d.protocol = appendValues(d.protocol[:0], r, websocket.ProtocolField)
	d.extensions = appendValues(d.extensions[:0], r, websocket.ExtensionsField)
	switch {
	case r.Status() != 101:
		return fmt.Sprintf("the primary switched to WebSocket, the shadow answered %d", r.Status())
	case c.call.Out.Len() > 0:
		return "the shadow switched protocols before it had the whole request"
	case !bytes.EqualFold(r.Upgrade(), protocolName):
		return "the shadow switched to another protocol than WebSocket"
	case !websocket.Accepts(t.key, accept):
		return "the shadow's Sec-WebSocket-Accept does not belong to the key"
	case !bytes.Equal(d.protocol, t.protocol):
		return fmt.Sprintf("the primary chose the subprotocol %q, the shadow %q", t.protocol, d.protocol)
	case !websocket.Understands(d.extensions, t.extensions):
		return fmt.Sprintf("the primary chose the extensions %q, the shadow %q", t.extensions, d.extensions)
	}
	return ""
}

// relay adds bytes that the client has sent through the tunnel. p lies in block
// b, which may be nil.
func (c *Copy) relay(p []byte, b *spool.Buffer) {
	t := c.tunnel
	if t.refused || t.parted || t.said && !t.heard {
		return
	}
	if c.lane.stopped() {
		c.quit(traffic.DropShutdown, "")
		return
	}
	clean := t.client.Between() && c.call.Out.Len() == 0 // what the shadow got ends with a frame
	n, data := 0, false
	for n < len(p) {
		used, done, err := t.client.Next(p[n:])
		n += used
		if err != nil {
			c.dropFor(traffic.DropClientGone, err.Error())
			return
		}
		data = data || t.client.Data()
		if done && t.client.Opcode() == websocket.Close {
			t.said = true
			break
		}
	}
	if t.heard {
		c.ignore(data)
		return
	}
	c.pass(p[:n], b, clean)
}

// ignore does what bytes of the client mean after the shadow has closed: if
// they belong to a message, the shadow missed it.
func (c *Copy) ignore(data bool) {
	switch t := c.tunnel; {
	case data:
		c.call.Cancel()
		c.fail(traffic.FailReset, t.detail)
	case t.said && t.client.Opcode() == websocket.Close:
		c.part(traffic.Completed, "", "", 0)
	}
}

// pass sends the client's frames on, or keeps them until the shadow is ready.
func (c *Copy) pass(p []byte, b *spool.Buffer, clean bool) {
	t := c.tunnel
	out := &c.call.Out
	if !t.open {
		out = &t.waiting
	}
	out.Add(p, b)
	switch {
	case c.charge():
	case t.open && clean:
		out.Reset()
		c.part(traffic.Dropped, traffic.DropMemory, "", websocket.PolicyViolation)
		return
	default:
		c.drop(traffic.DropMemory)
		return
	}
	if !t.open {
		return
	}
	c.call.Flush()
	if t.said {
		c.part(traffic.Completed, "", "", 0)
	}
}

// hangUp ends the copy because the live connection has ended. If every message
// of the client was whole, so is the copy.
func (c *Copy) hangUp() {
	t := c.tunnel
	switch {
	case c.held:
		c.Answered(nil)
	case t.refused || t.parted || t.said && !t.heard:
	case !t.client.Whole():
		c.quit(traffic.DropClientGone, "the client left in the middle of a message")
	case !t.open:
		t.leaving = true
	default:
		c.part(traffic.Completed, "", "", websocket.GoingAway)
	}
}

// quit gives the copy up, between two frames if possible.
func (c *Copy) quit(reason traffic.Reason, detail string) {
	t := c.tunnel
	if t.parted || t.refused {
		return
	}
	if !t.open || !t.client.Between() {
		c.dropFor(reason, detail)
		return
	}
	c.part(traffic.Dropped, reason, detail, websocket.GoingAway)
}

// part decides the copy's fate, says Close with code unless one was sent, and
// lets the shadow close. Only a shadow that does so has got everything.
func (c *Copy) part(fate traffic.Fate, reason traffic.Reason, detail string, code int) {
	t := c.tunnel
	t.parted, t.fate, t.reason, t.detail = true, fate, reason, detail
	if !c.call.Active() {
		c.conclude()
		return
	}
	if !t.said {
		t.said = true
		out := &c.call.Out
		out.Commit(websocket.AppendClose(out.Room(16), code, maskKey()))
		c.charge() // a few bytes, soon gone: they are let over the bound
		c.call.Flush()
	}
	wait := time.Duration(c.policy.Def.Timeout)
	if fate != traffic.Completed || t.heard {
		wait = c.farewell()
	}
	c.owner.loop.Arm(&c.timer, wait)
}

// farewell returns how long a shadow may take to close once nothing depends on
// it any more.
func (c *Copy) farewell() time.Duration {
	return min(time.Duration(c.policy.Def.Timeout), partingTime)
}

// conclude ends a copy that has parted.
func (c *Copy) conclude() {
	t := c.tunnel
	c.call.Cancel()
	switch t.fate {
	case traffic.Completed:
		c.complete()
	case traffic.Dropped:
		c.dropFor(t.reason, t.detail)
	default:
		c.fail(t.reason, t.detail)
	}
}

// maskKey returns what a frame of ours is masked with. Nobody between can guess
// it, as RFC 6455 §5.3 wants.
func maskKey() (key [4]byte) {
	v := rand.Uint32()
	return [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// shadowSaid reads what the shadow sends. It is dropped here; whoever wants to
// compare messages finds them in t.shadow.
func (c *Copy) shadowSaid(p []byte) {
	t := c.tunnel
	for len(p) > 0 && !t.heard {
		n, done, err := t.shadow.Next(p)
		if err != nil {
			c.call.Cancel()
			c.fail(traffic.FailProtocol, "the shadow: "+err.Error())
			return
		}
		p = p[n:]
		if !done {
			continue
		}
		switch t.shadow.Opcode() {
		case websocket.Ping:
			t.pinged, t.size = true, copy(t.ping[:], t.shadow.Payload())
		case websocket.Close:
			c.shadowClosed(t.shadow.Payload())
			return
		}
	}
	c.pong()
}

// pong answers the last ping, when that can be done between two frames, and the
// shadow has taken what came before.
func (c *Copy) pong() {
	t := c.tunnel
	if !t.pinged || t.said || !t.client.Between() || c.call.Out.Len() > 0 {
		return
	}
	if c.lane.stopped() {
		c.quit(traffic.DropShutdown, "")
		return
	}
	t.pinged = false
	out := &c.call.Out
	out.Commit(websocket.AppendControl(out.Room(6+t.size), websocket.Pong, t.ping[:t.size], maskKey()))
	c.charge() // as in part
	c.call.Flush()
}

// shadowClosed answers the shadow's Close. If it came first, the client decides
// what it means: the shadow was as quick as the primary, or it gave up.
func (c *Copy) shadowClosed(payload []byte) {
	t := c.tunnel
	t.heard = true
	if t.parted {
		c.owner.loop.Arm(&c.timer, c.farewell())
		return
	}
	code := websocket.CloseCode(payload)
	t.detail = fmt.Sprintf("the shadow closed the WebSocket before the client did, with code %d", code)
	if !t.client.Whole() || c.call.Out.Len() > 0 {
		c.call.Cancel()
		c.fail(traffic.FailReset, t.detail)
		return
	}
	t.said = true
	out := &c.call.Out
	out.Commit(websocket.AppendControl(out.Room(16), websocket.Close, payload[:min(len(payload), 2)], maskKey()))
	c.charge() // as in part
	c.call.Flush()
	c.owner.loop.Arm(&c.timer, c.farewell())
}

// shadowEnded goes on when the shadow's side has ended; f is how.
func (c *Copy) shadowEnded(f upstream.Failure) {
	t := c.tunnel
	const silent = "the shadow closed the connection without a Close"
	switch {
	case t.heard && !t.parted:
		t.over = true
		c.owner.loop.Disarm(&c.timer)
	case t.heard || t.parted && t.fate != traffic.Completed:
		c.conclude()
	case f.Failed():
		c.fail(f.Reason, f.Detail)
	case !t.parted || t.deaf || c.call.Out.Len() > 0:
		c.fail(traffic.FailReset, silent)
	default: // it had everything, and does not bother with manners
		c.conclude()
	}
}

// tunnelExpired goes on when the shadow did not close in time.
func (c *Copy) tunnelExpired() {
	switch t := c.tunnel; {
	case t.heard && !t.parted:
		c.call.Cancel()
		t.over = true
	case t.parted && t.fate == traffic.Completed && !t.heard:
		c.call.Fail()
		c.fail(traffic.FailTimeout, "the shadow did not answer Close in time")
	default:
		c.conclude()
	}
}

// HangUp ends the copies of WebSockets whose mirrors were turned off. Other
// copies end by themselves.
func (d *Dispatcher) HangUp() {
	for _, l := range d.lanes {
		if l == nil || !l.stopped() {
			continue
		}
		for i := len(l.all) - 1; i >= 0; i-- {
			if c := l.all[i]; c.tunnel != nil {
				c.quit(traffic.DropShutdown, "")
			}
		}
	}
}
