package session

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

// ErrRefused says that the peer has not looked at a request and never will, so
// that it may be sent again, whatever it asks for.
var ErrRefused = errors.New("the stream was refused")

// ErrBroken says that the peer broke the rules on one stream.
var ErrBroken = errors.New("the peer broke the rules of HTTP/2 on the stream")

// ErrReset says that the peer gave up one stream.
var ErrReset = errors.New("the stream was reset by the peer")

var (
	errSlow = errors.New("the peer took no more bytes")
	errLate = errors.New("the peer did not say that it speaks HTTP/2")
	errOver = errors.New("the connection has ended")
	errFull = errors.New("the peer allows no further stream for now")
)

// Options are what sessions of one loop share. They must not be changed, nor
// copied, while sessions use them.
type Options struct {
	Loop   *loop.Loop
	Pool   *spool.Pool
	Intake *spool.Intake
	Limits http1.Limits // of heads

	// Late writes at the end of a pass rather than after its events.
	Late bool
	// Streams is how many streams a peer may have open at one time; 0 means
	// DefaultStreams.
	Streams int
	// Idle is how long a connection without streams stays open, Stall how long a
	// peer may take none of the bytes that wait for it, Begin how long it may take
	// to send its settings. 0 means for ever.
	Idle, Stall, Begin time.Duration

	// TLS are the settings of connections that are dialled; nil is none. A handshake
	// that fails is a [TrustError] of the lanes.
	TLS *tls.Config

	// Accept takes a new lane of a server and returns its handler; nil refuses it.
	Accept func(*Session, *loop.Conn) loop.Handler
	// Ended is called once, when a session takes or opens no more streams and
	// has none left; nil is nobody.
	Ended func(*Session)

	vec [][]byte // working space of writes
}

// DefaultStreams is how many streams a client may have open at one time: what
// RFC 9113 §6.5.2 recommends at least, and browsers and gRPC get on with.
const DefaultStreams = 128

const (
	// window is what of one stream may wait for its reader: twice what a reader
	// takes at once, so that it does not wait for the peer. Answers to copies are
	// read to be thrown away, and there may be many: lateWindow is for them, the
	// least that there can be.
	window     = 256 << 10
	lateWindow = 64 << 10
	// connWindow is what may be on its way on a connection.
	connWindow = 4 << 20
	// laneHigh is what may wait in a lane to be sent: more than one write of a
	// relayed body brings. What waits in lateHigh no longer counts against the
	// memory of its mirror, so that it is little.
	laneHigh = 128 << 10
	lateHigh = 32 << 10
	// outHigh is what may wait for the socket before lanes keep their data: it
	// goes out in the order in which it is put there, whatever comes behind.
	outHigh = 256 << 10
	// outStop is when a peer is not read any more until it reads what it asked
	// for: each frame may want one in return.
	outStop = 1 << 20
	// urgent is how many bytes are written after the event that brought them.
	urgent = 64 << 10
	// maxSlices is how many slices one write takes at most.
	maxSlices = 64
	// graceTime is how long a client is given to hear that it should open no
	// more streams.
	graceTime = time.Second
	// lingerTime is how long a connection stays open behind GOAWAY, so that a
	// reset does not overtake it.
	lingerTime = time.Second
)

// Session is one HTTP/2 connection. It belongs to a loop.
type Session struct {
	options *Options
	conn    *loop.Conn
	machine *http2.Machine
	scheme  []byte
	timer   loop.Timer
	server  bool
	high    int  // what may wait in a lane
	safe    bool // TLS, if any, is up

	out   spool.Queue
	block *spool.Buffer // that is being received from

	lanes []*lane // all
	idle  []*lane // without a stream; of a server
	ready []*lane // with data that could be sent; ready[:first] are gone
	first int

	waiting []*lane // for the end of another stream

	used   time.Duration // when there was a stream
	wrote  time.Duration // when the socket took bytes, or there were none
	left   time.Duration // when GOAWAY is to be final; 0 = not to
	opened time.Duration

	dirty   bool // a flush is due
	rushed  bool // it is due after the event
	writing bool // waits for the socket to take more
	deaf    bool // does not read
	settled bool // lanes that waited for the settings know that they came
	leaving bool // GOAWAY was sent
	closing bool // close when out is empty
	ended   bool // Ended was called
	over    bool // the connection is closed
}

type (
	sessionFlush Session
	sessionWatch Session
)

// Run writes what is due.
func (s *sessionFlush) Run() { (*Session)(s).flush() }

// Run looks after what takes too long.
func (s *sessionWatch) Run() { (*Session)(s).watch() }

// Serve makes c, a client's connection, a session. What was read from it already
// is for Receive.
func Serve(c *loop.Conn, o *Options) *Session {
	s := newSession(o, true)
	s.conn = c
	c.SetHandler(s)
	s.flushSoon()
	return s
}

// Dial opens a session with the server at addr, by TLS if the options say so.
func Dial(addr netip.AddrPort, o *Options) (*Session, error) {
	s := newSession(o, false)
	c, err := o.Loop.Dial(addr, s)
	if err != nil {
		o.Loop.Disarm(&s.timer)
		return nil, err
	}
	s.conn = c
	return s, nil
}

// Connect opens a session with the server at the other end of c, which is
// connected, and on which nothing was sent yet. scheme is http or https, where the
// handshake of TLS is over.
func Connect(c *loop.Conn, scheme string, o *Options) *Session {
	s := newSession(o, false)
	s.scheme = []byte(scheme)
	s.conn, s.safe = c, true
	c.SetHandler(s)
	s.flushSoon()
	return s
}

// TrustError says that a TLS handshake failed, and why.
type TrustError struct{ Err error }

// Error implements error.
func (e *TrustError) Error() string { return e.Err.Error() }

// Unwrap returns what crypto/tls said.
func (e *TrustError) Unwrap() error { return e.Err }

var errNotTwo = errors.New("the server does not agree to speak HTTP/2")

// secure begins the handshake of a connection that was dialled.
func (s *Session) secure() {
	s.options.Loop.SecureClient(s.conn, s.options.TLS, 0, func(c *loop.Conn, state *tls.ConnectionState, err error) {
		switch {
		case s.over:
			c.Close()
		case err != nil:
			s.end(&TrustError{err})
		case state.NegotiatedProtocol != "h2":
			s.end(&TrustError{errNotTwo})
		default:
			s.safe = true
			s.flush()
		}
	})
}

var schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

func newSession(o *Options, server bool) *Session {
	s := &Session{options: o, server: server, scheme: schemeHTTP, safe: server || o.TLS == nil}
	if o.TLS != nil {
		s.scheme = schemeHTTPS
	}
	s.out.Pool = o.Pool
	s.timer.Task = (*sessionWatch)(s)
	streams := o.Streams
	if streams == 0 {
		streams = DefaultStreams
	}
	head := o.Limits.Head
	if head == 0 {
		head = http1.DefaultHead
	}
	s.opened = o.Loop.Now()
	s.used, s.wrote = s.opened, s.opened
	recv := uint32(window)
	s.high = laneHigh
	if o.Late {
		recv, s.high = lateWindow, lateHigh
	}
	s.machine = http2.New(server, http2.Limits{Streams: uint32(streams), Window: recv, Conn: connWindow, Head: head}, s, &s.out)
	s.arm()
	return s
}

// Conn returns the connection that carries the session.
func (s *Session) Conn() *loop.Conn { return s.conn }

// Lanes returns how many virtual connections there are.
func (s *Session) Lanes() int { return len(s.lanes) }

// Over says whether the session has ended.
func (s *Session) Over() bool { return s.over || s.ended }

// Room says whether Open would give a lane.
func (s *Session) Room() bool {
	most := s.machine.Most()
	if !s.settled {
		most = min(most, cautious)
	}
	return !s.over && !s.closing && !s.leaving && !s.machine.Exhausted() && len(s.lanes) < most
}

// cautious is how many lanes wait for the settings of a server, which may allow
// fewer.
const cautious = 100

// Open returns a new lane to the server for h. It is connecting until the
// session is. Call it when there is Room.
func (s *Session) Open(h loop.Handler) *loop.Conn {
	l := s.newLane(h, !s.settled)
	return &l.Conn
}

// newLane makes a lane.
func (s *Session) newLane(h loop.Handler, connecting bool) *lane {
	l := &lane{session: s, place: len(s.lanes), rest: -1}
	l.in.Pool, l.pending.Pool, l.early.Pool = s.options.Pool, s.options.Pool, s.options.Pool
	s.options.Loop.Carry(&l.Virtual, l, h, connecting)
	l.SetAddrs(s.conn.Local(), s.conn.Remote())
	s.lanes = append(s.lanes, l)
	l.signal()
	return l
}

// accept returns a server's lane for a new stream, or nil.
func (s *Session) accept() *lane {
	if last := len(s.idle) - 1; last >= 0 {
		l := s.idle[last]
		s.unrest(l)
		return l
	}
	l := s.newLane(nil, false)
	h := s.options.Accept(s, &l.Conn)
	if h == nil {
		l.Conn.Close()
		return nil
	}
	l.SetHandler(h)
	return l
}

// settle puts a server's lane where the next stream finds it.
func (s *Session) settle(l *lane) {
	if s.server && l.rest < 0 && !l.Closed() && l.Err() == nil {
		l.rest = len(s.idle)
		s.idle = append(s.idle, l)
	}
}

func (s *Session) unrest(l *lane) {
	last := len(s.idle) - 1
	s.idle[l.rest] = s.idle[last]
	s.idle[l.rest].rest = l.rest
	s.idle[last] = nil
	s.idle = s.idle[:last]
	l.rest = -1
}

// forget takes a closed lane off the lists.
func (s *Session) forget(l *lane) {
	if l.place < 0 {
		return
	}
	if l.rest >= 0 {
		s.unrest(l)
	}
	last := len(s.lanes) - 1
	s.lanes[l.place] = s.lanes[last]
	s.lanes[l.place].place = l.place
	s.lanes[last] = nil
	s.lanes = s.lanes[:last]
	l.place = -1
}

// OnReady implements loop.Handler.
func (s *Session) OnReady(_ *loop.Conn, r loop.Ready) {
	if !s.safe && r&loop.Hangup == 0 {
		s.secure() // it is connected
		return
	}
	if r&loop.Readable != 0 || r&loop.Hangup != 0 && s.settled {
		s.read()
	}
	if s.over {
		return
	}
	if r&loop.Hangup != 0 {
		s.end(hangup(s.conn))
		return
	}
	if r&loop.Writable != 0 {
		s.flush()
	}
}

func hangup(c *loop.Conn) error {
	if err := c.Err(); err != nil {
		return err
	}
	return net.ErrClosed
}

// read takes what the socket has, once.
func (s *Session) read() {
	block := s.options.Intake.Next()
	n, err := s.conn.Read(block.Space())
	if n > 0 && !s.closing {
		s.block = block
		s.Receive(block.Space()[:n])
		s.block = nil
	}
	switch {
	case s.over || err == nil || errors.Is(err, loop.ErrAgain):
	case errors.Is(err, io.EOF):
		s.end(io.ErrUnexpectedEOF)
	default:
		s.end(err)
	}
}

// Receive takes bytes that were read from the connection by somebody else.
func (s *Session) Receive(p []byte) {
	s.machine.Now = s.options.Loop.Now()
	err := s.machine.Receive(p)
	switch {
	case err != nil:
		s.close(err)
	case !s.settled && s.machine.Settled():
		s.settled = true
		for _, l := range s.lanes {
			l.Connected()
		}
	}
	if !s.server && s.machine.Leaving() && !s.leaving {
		s.dismiss()
	}
	s.checkDone()
	s.admit()
	if s.out.Len() > 0 {
		s.flushSoon()
	}
	s.listen()
}

// admit lets lanes that wait for a stream try again, as many as there is room for.
func (s *Session) admit() {
	n := 0
	for room := s.machine.Most() - s.machine.Streams(); n < len(s.waiting) && (room > 0 || s.machine.Exhausted()); n++ {
		if l := s.waiting[n]; !l.Closed() {
			l.waits = false
			l.signal()
			room--
		}
	}
	if n > 0 {
		s.waiting = slices.Delete(s.waiting, 0, n)
	}
}

// listen stops reading a peer that takes nothing, and goes on when it does.
func (s *Session) listen() {
	if deaf := s.out.Len() > outStop; deaf != s.deaf && !s.over {
		s.deaf = deaf
		s.conn.WantRead(!deaf)
	}
}

// flushSoon writes what waits in this pass, and a lot of it at once.
func (s *Session) flushSoon() {
	if s.writing || s.over || s.conn.Connecting() {
		return
	}
	switch l := s.options.Loop; {
	case s.options.Late && !s.dirty:
		l.AfterPass((*sessionFlush)(s))
	case s.options.Late || s.rushed:
	case s.out.Len() >= urgent:
		s.rushed = true
		l.AfterEvent((*sessionFlush)(s))
	case !s.dirty:
		l.AfterEvents((*sessionFlush)(s))
	}
	s.dirty = true
}

// flush writes until nothing is left or the socket takes no more.
func (s *Session) flush() {
	s.dirty, s.rushed = false, false
	if !s.safe {
		return
	}
	now := s.options.Loop.Now()
	for !s.over && !s.conn.Connecting() {
		s.fill()
		if s.out.Len() == 0 {
			s.wrote = now
			break
		}
		v := s.out.Spans(s.options.vec[:0], maxSlices)
		s.options.vec = v
		n, err := s.conn.Writev(v)
		if err != nil && !errors.Is(err, loop.ErrAgain) {
			s.end(err)
			return
		}
		size := 0
		for _, p := range v {
			size += len(p)
		}
		s.out.Advance(n)
		if n > 0 {
			s.wrote = now
		}
		if n < size {
			break
		}
	}
	if s.over || s.conn.Connecting() {
		return
	}
	if waits := s.out.Len() > 0; waits != s.writing {
		s.writing = waits
		s.conn.WantWrite(waits)
	}
	s.listen()
	if s.closing && s.out.Len() == 0 {
		s.linger()
	}
}

// fill takes data from the lanes, one frame of each in turn.
func (s *Session) fill() {
	for s.first < len(s.ready) && s.out.Len() < outHigh {
		l := s.ready[s.first]
		s.ready[s.first] = nil
		s.first++
		l.listed = false
		if l.stream == nil {
			continue
		}
		if l.emit() {
			s.list(l)
			if s.machine.Sendable(l.stream) == 0 {
				return // the connection's window is used up: its growth calls again
			}
		}
	}
	if s.first == len(s.ready) {
		s.ready, s.first = s.ready[:0], 0
	} else if s.first > 64 && 2*s.first > len(s.ready) {
		n := copy(s.ready, s.ready[s.first:])
		clear(s.ready[n:])
		s.ready, s.first = s.ready[:n], 0
	}
}

// list puts a lane behind those that have data.
func (s *Session) list(l *lane) {
	if !l.listed {
		l.listed = true
		s.ready = append(s.ready, l)
	}
}

// Head implements http2.Handler.
func (s *Session) Head(st *http2.Stream, h *http2.Head, end bool) {
	if st.User == nil {
		l := s.accept()
		if l == nil {
			s.machine.Cancel(st, http2.RefusedStream)
			return
		}
		st.User, l.stream = l, st
		l.begin(h, end)
		return
	}
	st.User.(*lane).head(h, end)
}

// Data implements http2.Handler.
func (s *Session) Data(st *http2.Stream, p []byte, end bool) {
	st.User.(*lane).data(p, end)
}

// Reset implements http2.Handler.
func (s *Session) Reset(st *http2.Stream, code http2.Code) {
	l, ok := st.User.(*lane)
	if !ok {
		return
	}
	if !s.server && code == http2.NoError && st.RemoteEnded() {
		l.stopped() // it was answered and wants no more of the request
		return
	}
	switch {
	case code == http2.RefusedStream:
		l.fail(ErrRefused)
	case code == http2.ProtocolError || code == http2.FlowControlError || code == http2.EnhanceYourCalm:
		l.fail(ErrBroken)
	default:
		l.fail(ErrReset)
	}
}

// Window implements http2.Handler.
func (s *Session) Window(st *http2.Stream) {
	if st != nil {
		if l, ok := st.User.(*lane); ok && l.hasData() {
			s.list(l)
		}
	}
	if s.first < len(s.ready) {
		s.flushSoon()
	}
}
