package upstream

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Call is one request on its way to an endpoint and the answer on its way
// back. The caller embeds it, sets the exported fields, and may use it again
// after End.
type Call struct {
	User Caller

	// Out holds the bytes of the request that were not yet taken by the
	// socket. More may be added at any time before Whole, followed by Flush.
	Out spool.Queue
	// Whole says that Out has, or had, the end of the request.
	Whole bool
	// Head says that the request is a HEAD request: its answer has no body.
	Head bool
	// Upgrade says that a 101 answer turns the connection into a tunnel: from
	// then on Data gets raw bytes, and End comes when the other side is done.
	Upgrade bool
	// Once says that the request must not be sent twice. A pooled connection is
	// then looked at before it is used, which costs a system call: the server may
	// have closed it a moment ago.
	Once bool
	// Raw says that the call is a tunnel from its first byte, on a connection of
	// its own: there are no heads and no Answer. A side that ends its direction may
	// still read: CloseWrite passes on the caller's end, and Data without bytes is
	// the other's. End comes after both.
	Raw bool
	// Alone says that the call shares its connection with no other, neither
	// before nor after it.
	Alone bool
	// Preface is written first on a connection that is made for this call, which
	// must be Alone or Raw. It is not kept after End.
	Preface []byte
	// Server is the name to ask for and to verify by TLS, if the backend has none
	// of its own; empty is the endpoint's host. It is not kept after End.
	Server []byte
	// Until is when whoever asked stops waiting, on the loop's clock; 0 = never. What
	// fails from then on is not held against the endpoint: a server may give up what
	// nobody waits for.
	Until time.Duration
	// Timed asks for SentAt. It may be set until the pass in which the call was
	// sent is over.
	Timed bool
	// SentAt is when the first byte was handed to the connection, on the loop's
	// clock, read right before the write; 0 = never, or nobody asked.
	SentAt time.Duration
	// Connect is how long connecting took, with TLS, or, if it failed, until it did;
	// 0 if there was a connection.
	Connect time.Duration
	// Reused says that the call went out on a connection that existed before.
	// Set by Send.
	Reused bool

	// Refusable says that the server may refuse the call alone, see
	// Failure.Refused. Set by Send.
	Refusable bool

	conn     *Conn
	endpoint *Endpoint
	started  bool // a byte was taken by the socket
	answered bool // a byte of the answer was read
}

// Caller hears how a call goes on, on the loop's goroutine. It may cancel any
// call and send new ones from within, but must not read sockets.
type Caller interface {
	// Sent is called when the socket took n bytes of Call.Out, or will take no
	// more of them.
	Sent(c *Call, n int)
	// Answer is called when a head has arrived: once for the answer, and
	// before that for each 1xx. r is valid during the call only.
	Answer(c *Call, r *http1.Response)
	// Data is called for each part of the answer's body. p is valid during the
	// call only, unless b, the block that p lies in, is not nil and retained.
	// Without bytes it says that the other side of a Raw call has ended.
	Data(c *Call, p []byte, b *spool.Buffer)
	// End is called once, unless the call was cancelled before: with the zero
	// Failure when the whole answer was received. trailer holds trailer fields
	// as lines, or nil, and is valid during the call only.
	End(c *Call, trailer []byte, f Failure)
}

// Failure says why a call ended without a whole answer. The zero value says
// that it did not.
type Failure struct {
	Reason traffic.Reason // FailConnect, FailTimeout, FailReset, FailProtocol or FailTLS
	Detail string         // for people
	// Stale says that the reason lay before the call: a pooled connection was
	// found closed before a byte of the answer was read, or another call in front
	// of this one broke it. The server may not have seen the request, and nothing
	// is held against it.
	Stale bool
	// Refused says that the server has not looked at the request and never will,
	// so that it may be sent again whatever it asks for. It comes with Stale.
	Refused bool
	// Unsent says that no byte of the request was taken by a socket.
	Unsent bool
}

// Failed says whether f is a failure.
func (f Failure) Failed() bool { return f.Reason != "" }

// Endpoint returns where the call was last sent, or nil.
func (c *Call) Endpoint() *Endpoint { return c.endpoint }

// Active says whether the call is on a connection.
func (c *Call) Active() bool { return c.conn != nil }

// Started says whether any byte of the request was taken by the socket.
func (c *Call) Started() bool { return c.started }

// Flush has the connection take what was added to Out. It does nothing if the
// call is over.
func (c *Call) Flush() {
	if c.conn != nil {
		c.conn.flushSoon(c.Out.Len())
	}
}

// Pause stops reading the answer until Resume, so that whoever takes the
// answer can catch up.
func (c *Call) Pause() {
	if c.conn != nil {
		c.conn.pause(true)
	}
}

// Resume goes on reading after Pause.
func (c *Call) Resume() {
	if c.conn != nil && c.conn.paused {
		c.conn.pause(false)
		c.client().Loop.AfterEvent((*connResumed)(c.conn))
	}
}

func (c *Call) client() *Client { return c.conn.client }

// Reset ends the call like Cancel, and has the other side see a reset, so that it
// does not take what it got for the whole.
func (c *Call) Reset() {
	if c.conn != nil && !c.conn.connecting {
		c.conn.conn.Abort()
	}
	c.Cancel()
}

// CloseWrite tells the other side of a tunnel that nothing more will come,
// once Out is empty.
func (c *Call) CloseWrite() {
	if c.conn != nil {
		c.conn.closeWrite = true
		c.conn.flushSoon(0)
	}
}

// Cancel ends the call without another word to its caller, and its connection
// unless that is open and nothing of the call was sent. Out is emptied. It does
// nothing else if the call is over.
func (c *Call) Cancel() {
	if c.conn != nil {
		c.conn.cancel(c)
	}
	c.Out.Reset()
}

// Fail ends the call like Cancel and holds f against the endpoint: for callers
// that ran out of patience.
func (c *Call) Fail() {
	if c.endpoint != nil && c.conn != nil {
		c.client().health(c.endpoint).failed(c.endpoint, c.client().Loop.Now())
	}
	c.Cancel()
}
