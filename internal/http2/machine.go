package http2

import (
	"time"

	"golang.org/x/net/http2/hpack"
)

// Output takes the bytes that a machine wants to send, in order. Between Room
// and Commit nothing else happens to it.
type Output interface {
	// Room returns an empty slice with a capacity of at least n.
	Room(n int) []byte
	// Commit takes what Room returned, with bytes appended.
	Commit(p []byte)
}

// Handler hears what a peer has sent. It may send, cancel and consume from
// within, but not call Receive.
type Handler interface {
	// Head is called for the head of a message, for each 1xx before an answer,
	// and for trailers. h is valid during the call. end says that nothing
	// follows. On a server the first call for a stream brings a new one.
	Head(s *Stream, h *Head, end bool)
	// Data is called for a part of a body, which may be empty when end is set. p
	// is a part of what Receive was given. It counts against the stream's window
	// until Consumed.
	Data(s *Stream, p []byte, end bool)
	// Reset is called when a stream has ended before its time: the peer reset
	// it, it broke a rule and was reset, or the peer's GOAWAY refuses it, which
	// is told as RefusedStream. It is not called for what Cancel ends. A stream
	// whose peer has sent all of its message can be reset too.
	Reset(s *Stream, code Code)
	// Window is called when more can be sent on s, because its window has grown,
	// or, with nil, on any stream, because the connection's has.
	Window(s *Stream)
}

// Limits are what a machine allows its peer. All must be set.
type Limits struct {
	Streams uint32 // streams at one time
	Window  uint32 // bytes of one stream that wait to be consumed
	Conn    uint32 // bytes of all streams on their way
	// Head is the most bytes of a field section, counted as name, value and 4
	// for each field. What is over is left out, see Head.Cut.
	Head int
}

// Stream is one exchange on a connection. It is used again after it has ended:
// nobody may hold one for longer.
type Stream struct {
	// User belongs to the machine's user.
	User any

	id       uint32
	send     int64 // window towards the peer; negative after its settings shrank
	recv     int64 // window of the peer
	consumed int64 // not given back yet
	length   int64 // bytes of the body still announced, -1 if not
	headDone bool  // the head that is not 1xx was received
	bodiless bool  // the answer has no body, whatever length it speaks of
	remote   bool  // the peer has ended its direction
	local    bool  // we have ended ours
}

// ID returns the stream's number.
func (s *Stream) ID() uint32 { return s.id }

// RemoteEnded says whether the peer has sent its whole message.
func (s *Stream) RemoteEnded() bool { return s.remote }

// Machine is one end of a connection. Make it with [New].
type Machine struct {
	// Out gets what is to be sent.
	Out Output
	// Now is the present time, as the user last set it: what a peer may waste is
	// earned anew with time.
	Now time.Duration

	handler Handler
	limits  Limits
	server  bool
	err     *Error

	// Reading.
	preface int // bytes of it still to come
	header  [headerLen]byte
	have    int    // of header
	payload []byte // so far, of a frame that is read whole
	left    int    // of the present frame's payload
	kind    frameType
	flags   uint8
	id      uint32
	reading bool // header is whole
	settled bool // SETTINGS came
	body    int  // data of a DATA frame still to come …
	pad     int  // … and the padding behind it
	padded  bool // the length of the padding comes first

	// A field section.
	block   []byte
	parts   int    // frames of it
	section uint32 // stream of the section that goes on; 0 = none
	ends    bool   // it ends the stream
	odd     bool   // it names itself as its parent
	decoder *hpack.Decoder
	head    Head

	// Streams.
	streams map[uint32]*Stream
	free    []*Stream
	last    uint32 // highest number the peer has opened, or of a client the own
	past    past
	refuse  uint32 // streams of the peer above this number are ignored
	leaving bool   // the peer sent GOAWAY
	most    uint32 // streams that the peer allows
	budget  budget

	// Sending.
	send     int64 // window of the connection
	recv     int64
	arrived  int64 // not given back yet
	first    int64 // window of new streams
	resize   bool  // the peer's header table has changed
	sections []byte
}

// New returns a machine that serves as server or client and sends its first
// frames to out.
func New(server bool, lim Limits, h Handler, out Output) *Machine {
	m := &Machine{
		Out:     out,
		handler: h,
		limits:  lim,
		server:  server,
		streams: map[uint32]*Stream{},
		refuse:  mostID,
		most:    assumedStreams,
		send:    firstWindow,
		recv:    int64(lim.Conn),
		first:   firstWindow,
		budget:  budget{left: wasteBurst},
	}
	m.decoder = hpack.NewDecoder(tableSize, m.head.add)
	m.head.limit = lim.Head
	if server {
		m.preface = len(Preface)
	}
	m.start()
	return m
}

const (
	// tableSize is the size of the table that the peer's encoder may use.
	tableSize = 4096
	// assumedStreams is how many streams a peer allows that does not say.
	assumedStreams = 1000
)

// start sends the preface and the settings.
func (m *Machine) start() {
	p := m.Out.Room(128)
	settings := 4
	if !m.server {
		settings = 3
		p = append(p, Preface...)
	}
	p = appendFrame(p, 6*settings, frameSettings, 0, 0)
	if m.server {
		p = appendSetting(p, settingStreams, m.limits.Streams)
		p = appendSetting(p, settingConnect, 1)
	} else {
		p = appendSetting(p, settingPush, 0)
	}
	p = appendSetting(p, settingWindow, m.limits.Window)
	p = appendSetting(p, settingHeaderList, uint32(m.limits.Head))
	if more := m.limits.Conn - firstWindow; m.limits.Conn > firstWindow {
		p = appendFrame(p, 4, frameWindow, 0, 0)
		p = append(p, byte(more>>24), byte(more>>16), byte(more>>8), byte(more))
	}
	m.Out.Commit(p)
}

// Receive reads p, the bytes that follow what was received before, and calls
// the handler. An error ends the connection: GOAWAY was sent, and whoever owns
// the connection sends what waits and closes it. Errors are final.
func (m *Machine) Receive(p []byte) *Error {
	for len(p) > 0 && m.err == nil {
		n, err := m.step(p)
		p = p[n:]
		if err != nil {
			m.fail(err)
		}
	}
	return m.err
}

// fail ends the connection.
func (m *Machine) fail(err *Error) {
	m.err = err
	m.goAway(m.lastSeen(), err.Code)
}

// lastSeen is the highest stream of the peer that was looked at.
func (m *Machine) lastSeen() uint32 {
	if !m.server {
		return 0
	}
	return min(m.last, m.refuse)
}

// step reads one piece at the front of p: of the preface, of a frame's header,
// or of its payload.
func (m *Machine) step(p []byte) (int, *Error) {
	if m.preface > 0 {
		n := min(m.preface, len(p))
		want := Preface[len(Preface)-m.preface:][:n]
		if string(p[:n]) != want {
			return n, errPreface
		}
		m.preface -= n
		return n, nil
	}
	if !m.reading {
		n := copy(m.header[m.have:], p)
		if m.have += n; m.have < headerLen {
			return n, nil
		}
		m.have = 0
		return n, m.begin()
	}
	if m.kind == frameData {
		return m.data(p)
	}
	if m.kind > frameContinuation { // a frame that nobody here knows
		n := min(m.left, len(p))
		if m.left -= n; m.left == 0 {
			m.reading = false
		}
		return n, nil
	}
	if len(m.payload) == 0 && len(p) >= m.left {
		n := m.left
		m.reading = false
		return n, m.whole(p[:n])
	}
	n := min(m.left-len(m.payload), len(p))
	m.payload = append(m.payload, p[:n]...)
	if len(m.payload) < m.left {
		return n, nil
	}
	m.reading = false
	err := m.whole(m.payload)
	m.payload = m.payload[:0]
	return n, err
}

// begin starts on the payload of a frame whose header is whole.
func (m *Machine) begin() *Error {
	h := &m.header
	m.left = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	m.kind, m.flags = frameType(h[3]), h[4]
	m.id = (uint32(h[5])<<24 | uint32(h[6])<<16 | uint32(h[7])<<8 | uint32(h[8])) & mostID
	switch {
	case !m.settled && (m.kind != frameSettings || m.flags&flagAck != 0):
		return errFirst
	case m.left > leastFrame:
		return errFrameLong
	case m.section != 0 && (m.kind != frameContinuation || m.id != m.section):
		return errContinuation
	}
	m.reading = true
	switch {
	case m.kind == frameData:
		return m.beginData()
	case m.kind > frameContinuation:
		m.reading = m.left > 0
		return m.waste()
	case m.left == 0:
		m.reading = false
		return m.whole(nil)
	}
	return nil
}

// whole handles a frame that is read whole.
func (m *Machine) whole(p []byte) *Error {
	switch m.kind {
	case frameHeaders:
		return m.headers(p)
	case framePriority:
		return m.priority(p)
	case frameReset:
		return m.reset(p)
	case frameSettings:
		return m.settings(p)
	case framePush:
		return errPush
	case framePing:
		return m.ping(p)
	case frameGoAway:
		return m.gone(p)
	case frameWindow:
		return m.window(p)
	}
	return m.continuation(p)
}

// Settled says whether the peer's settings have come.
func (m *Machine) Settled() bool { return m.settled }

// Leaving says whether the peer wants no more streams.
func (m *Machine) Leaving() bool { return m.leaving }

// Streams returns how many streams are open.
func (m *Machine) Streams() int { return len(m.streams) }

// Most returns how many streams the peer allows at one time.
func (m *Machine) Most() int { return int(min(m.most, mostID)) }

// newStream returns a stream without content.
func (m *Machine) newStream(id uint32) *Stream {
	var s *Stream
	if n := len(m.free) - 1; n >= 0 {
		s = m.free[n]
		m.free = m.free[:n]
	} else {
		s = &Stream{}
	}
	*s = Stream{id: id, send: m.first, recv: int64(m.limits.Window), length: -1}
	m.streams[id] = s
	return s
}

// settle forgets s once both directions have ended.
func (m *Machine) settle(s *Stream) {
	if s.local && s.remote {
		m.budget.earn(4)
		m.drop(s)
	}
}

// drop forgets s.
func (m *Machine) drop(s *Stream) {
	delete(m.streams, s.id)
	s.User = nil
	m.free = append(m.free, s)
}

// past remembers of the last streams whether they were opened, and whether we
// cut them, so that what was on its way when they ended is understood.
type past struct {
	opened, cut [pastWords]uint64
}

const (
	pastWords = 16
	pastSize  = pastWords * 64 // streams
)

// open notes stream id, the first after last.
func (p *past) open(last, id uint32) {
	if id-last >= 2*pastSize {
		*p = past{}
	} else {
		for i := last + 2; i < id; i += 2 {
			p.clear(i)
		}
	}
	p.clear(id)
	n := id / 2 % pastSize
	p.opened[n/64] |= 1 << (n % 64)
}

func (p *past) clear(id uint32) {
	n := id / 2 % pastSize
	p.opened[n/64] &^= 1 << (n % 64)
	p.cut[n/64] &^= 1 << (n % 64)
}

func (p *past) setCut(id uint32) {
	n := id / 2 % pastSize
	p.cut[n/64] |= 1 << (n % 64)
}

// had says whether stream id, at most last, was opened, and whether it was cut.
// Of streams too long ago it is taken for granted.
func (p *past) had(last, id uint32) (opened, cut bool) {
	if last-id >= 2*pastSize {
		return true, true
	}
	n := id / 2 % pastSize
	return p.opened[n/64]>>(n%64)&1 != 0, p.cut[n/64]>>(n%64)&1 != 0
}

// budget bounds what a peer may waste: frames that cost work and bring nothing.
type budget struct {
	left int
	at   time.Duration
}

const (
	// wasteBurst is how many such frames may come at once. A client that
	// cancels everything it has asked for stays below it.
	wasteBurst = 1000
	// wasteRate is how many more are allowed for each second.
	wasteRate = 200
)

func (b *budget) earn(n int) { b.left = min(b.left+n, wasteBurst) }

// waste takes one frame from the budget.
func (m *Machine) waste() *Error {
	b := &m.budget
	if b.left--; b.left >= 0 {
		return nil
	}
	earned := int((m.Now - b.at) * wasteRate / time.Second)
	b.at = m.Now
	if b.earn(min(earned, wasteBurst)); b.left < 0 {
		return errFlood
	}
	return nil
}
