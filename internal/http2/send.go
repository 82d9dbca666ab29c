package http2

import "encoding/binary"

// Open opens a stream, of a client. It is nil when the peer allows no more, or
// the connection has come to its end. headOnly says that the answer will have no
// body, as that to HEAD.
func (m *Machine) Open(user any, headOnly bool) *Stream {
	id := m.last + 2
	if m.last == 0 {
		id = 1
	}
	if m.err != nil || m.leaving || len(m.streams) >= m.Most() || id > mostID-2 {
		return nil
	}
	m.past.open(m.last, id)
	m.last = id
	s := m.newStream(id)
	s.User, s.bodiless = user, headOnly
	return s
}

// Exhausted says whether no further stream can be opened, now or later.
func (m *Machine) Exhausted() bool { return m.err != nil || m.leaving || m.last >= mostID-4 }

// SendHead sends the fields that were appended by f since BeginHead. end says
// that nothing follows.
func (m *Machine) SendHead(s *Stream, f *Fields, end bool) {
	block := f.block
	kind, flags := frameHeaders, uint8(0)
	if end {
		flags = flagEndStream
	}
	for first := true; first || len(block) > 0; first = false {
		n := min(len(block), leastFrame)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		p := appendFrame(m.Out.Room(headerLen+n), n, kind, flags, s.id)
		m.Out.Commit(append(p, block[:n]...))
		block = block[n:]
		kind, flags = frameContinuation, 0
	}
	if m.sections = nil; cap(f.block) <= leastFrame {
		m.sections = f.block[:0]
	}
	m.ended(s, end)
}

// Sendable returns how many bytes of data can be sent on s in one frame now.
// Frames are never longer than anybody takes, so that streams take turns.
func (m *Machine) Sendable(s *Stream) int {
	return int(max(0, min(s.send, m.send, leastFrame)))
}

// Blocked says whether s waits for its own window, and not for the connection's.
func (m *Machine) Blocked(s *Stream) bool { return s.send <= 0 }

// SendData sends the header of a DATA frame. The caller puts n bytes behind it,
// at most Sendable. end says that nothing follows.
func (m *Machine) SendData(s *Stream, n int, end bool) {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	m.Out.Commit(appendFrame(m.Out.Room(headerLen), n, frameData, flags, s.id))
	s.send -= int64(n)
	m.send -= int64(n)
	if m.Sendable(s) > 0 {
		// Not a drip from a window kept small: whoever measures the connection
		// answers with a PING, and gives back a window on either level.
		m.budget.earn(3)
	}
	m.budget.earn(n >> 10)
	m.ended(s, end)
}

// ended notes that we have ended our direction. A caller that has stops using
// a stream whose other direction has ended.
func (m *Machine) ended(s *Stream, end bool) {
	if end {
		s.local = true
		m.settle(s)
	}
}

// Consumed says that n bytes that came by Data were used: the peer may send as
// many more.
func (m *Machine) Consumed(s *Stream, n int) {
	s.consumed += int64(n)
	if s.remote || s.consumed < int64(m.limits.Window)/2 {
		return
	}
	m.sendWindow(s.id, s.consumed)
	s.recv += s.consumed
	s.consumed = 0
}

// Cancel ends a stream at once.
func (m *Machine) Cancel(s *Stream, code Code) {
	m.sendReset(s.id, code)
	m.past.setCut(s.id)
	m.drop(s)
}

// Warn tells a client that the connection is going to end, while streams that
// are on their way are still welcome (RFC 9113 §6.8).
func (m *Machine) Warn() { m.goAway(mostID, NoError) }

// Leave tells the peer that streams which have not arrived yet will not be
// looked at.
func (m *Machine) Leave() {
	m.refuse = m.last
	m.goAway(m.lastSeen(), NoError)
}

func (m *Machine) goAway(last uint32, code Code) {
	p := appendFrame(m.Out.Room(headerLen+8), 8, frameGoAway, 0, 0)
	p = binary.BigEndian.AppendUint32(p, last)
	m.Out.Commit(binary.BigEndian.AppendUint32(p, uint32(code)))
}

func (m *Machine) sendReset(id uint32, code Code) {
	p := appendFrame(m.Out.Room(headerLen+4), 4, frameReset, 0, id)
	m.Out.Commit(binary.BigEndian.AppendUint32(p, uint32(code)))
}

func (m *Machine) sendWindow(id uint32, n int64) {
	p := appendFrame(m.Out.Room(headerLen+4), 4, frameWindow, 0, id)
	m.Out.Commit(binary.BigEndian.AppendUint32(p, uint32(n)))
}
