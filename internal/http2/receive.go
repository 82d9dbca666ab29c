package http2

import "encoding/binary"

// beginData checks what the header of a DATA frame says.
func (m *Machine) beginData() *Error {
	n := int64(m.left)
	switch {
	case m.id == 0:
		return errStreamZero
	case m.idle(m.id):
		return errIdle
	case m.flags&flagPadded != 0 && m.left == 0:
		return errFrameSize
	case n > m.recv:
		return errWindow
	}
	m.recv -= n
	m.arrive(n)
	s := m.streams[m.id]
	switch {
	case s == nil:
		if _, cut := m.past.had(m.last, m.id); !cut {
			m.sendReset(m.id, StreamClosed)
			m.past.setCut(m.id)
		}
	case s.remote:
		m.broken(s, StreamClosed)
	case !s.headDone:
		m.broken(s, ProtocolError)
	case n > s.recv:
		m.broken(s, FlowControlError)
	default:
		s.recv -= n
	}
	m.body, m.pad, m.padded = m.left, 0, m.flags&flagPadded != 0
	if m.left > 0 {
		if m.left >= 512 {
			m.budget.earn(1)
		}
		return nil
	}
	m.reading = false
	if m.flags&flagEndStream == 0 {
		if err := m.waste(); err != nil {
			return err
		}
	}
	m.endData(nil)
	return nil
}

// data reads a part of the payload of a DATA frame.
func (m *Machine) data(p []byte) (int, *Error) {
	if m.padded {
		m.padded = false
		m.pad = int(p[0])
		if m.body -= 1 + m.pad; m.body < 0 {
			return 1, errPadding
		}
		if s := m.streams[m.id]; s != nil {
			m.Consumed(s, 1+m.pad) // nobody else will
		}
		if m.body == 0 {
			m.endData(nil)
		}
		m.reading = m.body+m.pad > 0
		return 1, nil
	}
	n := min(m.body, len(p))
	if m.body -= n; n > 0 && m.body == 0 {
		m.endData(p[:n:n])
	} else if n > 0 {
		m.pass(m.streams[m.id], p[:n:n], false)
	}
	skip := 0
	if m.body == 0 {
		skip = min(m.pad, len(p)-n)
	}
	m.pad -= skip
	m.reading = m.body+m.pad > 0
	return n + skip, nil
}

// endData passes on the last bytes of a DATA frame.
func (m *Machine) endData(p []byte) {
	end := m.flags&flagEndStream != 0
	if s := m.streams[m.id]; s != nil && (len(p) > 0 || end) {
		m.pass(s, p, end)
	}
}

// pass hands data to the handler, if it fits the length that was announced.
func (m *Machine) pass(s *Stream, p []byte, end bool) {
	if s == nil {
		return
	}
	n := int64(len(p))
	if s.length >= 0 && (n > s.length || end && n < s.length) && !s.bodiless {
		// However the frame was split: what was announced comes first.
		fits := min(n, s.length)
		if s.length = 0; fits > 0 {
			m.handler.Data(s, p[:fits:fits], false)
		}
		if m.streams[m.id] == s {
			m.broken(s, ProtocolError)
		}
		return
	}
	if s.bodiless && n > 0 {
		m.broken(s, ProtocolError)
		return
	}
	if s.length > 0 {
		s.length -= n
	}
	if end {
		s.remote = true
	}
	id := s.id
	m.handler.Data(s, p, end)
	if end && m.streams[id] == s {
		m.settle(s)
	}
}

// idle says whether stream id was never opened, also not by the other side.
func (m *Machine) idle(id uint32) bool { return id&1 == 0 || id > m.last }

// arrive gives bytes of the connection's window back.
func (m *Machine) arrive(n int64) {
	if m.arrived += n; m.arrived >= int64(m.limits.Conn)/2 {
		m.sendWindow(0, m.arrived)
		m.recv += m.arrived
		m.arrived = 0
	}
}

// broken ends a stream that broke a rule.
func (m *Machine) broken(s *Stream, code Code) {
	m.sendReset(s.id, code)
	m.past.setCut(s.id)
	m.handler.Reset(s, code)
	m.drop(s)
}

// headers begins a field section.
func (m *Machine) headers(p []byte) *Error {
	if m.id == 0 {
		return errStreamZero
	}
	pad := 0
	if m.flags&flagPadded != 0 {
		if len(p) < 1 {
			return errFrameSize
		}
		pad, p = int(p[0]), p[1:]
	}
	m.odd = false
	if m.flags&flagPriority != 0 {
		if len(p) < 5 {
			return errFrameSize
		}
		m.odd = binary.BigEndian.Uint32(p)&mostID == m.id
		p = p[5:]
	}
	if pad > len(p) {
		return errPadding
	}
	p = p[:len(p)-pad]
	if m.id&1 == 0 || !m.server && m.id > m.last {
		return errStreamID
	}
	m.ends = m.flags&flagEndStream != 0
	if m.flags&flagEndHeaders != 0 {
		return m.fields(p)
	}
	m.section, m.parts = m.id, 1
	m.block = append(m.block[:0], p...)
	return nil
}

// continuation goes on with a field section.
func (m *Machine) continuation(p []byte) *Error {
	if m.section == 0 {
		return errContinuation
	}
	m.parts++
	// One that is over the limit is read to be answered 431, but not for ever.
	if len(m.block)+len(p) > 2*m.limits.Head+leastFrame || m.parts > maxParts {
		return errHeadLong
	}
	m.block = append(m.block, p...)
	if m.flags&flagEndHeaders == 0 {
		return nil
	}
	m.section = 0
	err := m.fields(m.block)
	if m.block = m.block[:0]; cap(m.block) > leastFrame {
		m.block = nil // it was unusual
	}
	return err
}

// maxParts bounds the frames of a field section: each may be empty.
const maxParts = 128

// priority checks a PRIORITY frame and ignores it.
func (m *Machine) priority(p []byte) *Error {
	if m.id == 0 {
		return errStreamZero
	}
	code := NoError
	switch {
	case len(p) != 5:
		code = FrameSizeError
	case binary.BigEndian.Uint32(p)&mostID == m.id:
		code = ProtocolError
	}
	if code != NoError {
		if s := m.streams[m.id]; s != nil {
			m.broken(s, code)
		} else {
			m.sendReset(m.id, code)
		}
	}
	return m.waste()
}

// reset ends a stream because the peer says so.
func (m *Machine) reset(p []byte) *Error {
	switch {
	case m.id == 0:
		return errStreamZero
	case len(p) != 4:
		return errFrameSize
	case m.idle(m.id):
		return errIdle
	}
	if s := m.streams[m.id]; s != nil {
		code := Code(binary.BigEndian.Uint32(p))
		m.handler.Reset(s, code)
		m.drop(s)
	}
	return m.waste()
}

// settings takes over the peer's settings.
func (m *Machine) settings(p []byte) *Error {
	switch {
	case m.id != 0:
		return errStreamGiven
	case m.flags&flagAck != 0 && len(p) > 0, len(p)%6 != 0:
		return errFrameSize
	case m.flags&flagAck != 0:
		return m.waste()
	}
	m.settled = true
	before := m.first
	for ; len(p) > 0; p = p[6:] {
		if err := m.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	out := m.Out.Room(headerLen)
	m.Out.Commit(appendFrame(out, 0, frameSettings, flagAck, 0))
	if m.first > before {
		for _, s := range m.streams {
			m.handler.Window(s)
		}
	}
	return m.waste()
}

func (m *Machine) setting(id uint16, value uint32) *Error {
	switch id {
	case settingTable:
		// What is sent does not use the table; whoever has one of another size
		// need not be told, as long as nothing refers to it (RFC 7541 §4.2)
		// but that it was made smaller, in the next field section.
		m.resize = m.resize || value < tableSize
	case settingPush:
		if value > 1 || value == 1 && !m.server {
			return errSetting
		}
	case settingStreams:
		m.most = value
	case settingWindow:
		if value > mostWindow {
			return errSettingWindow
		}
		delta := int64(value) - m.first
		m.first = int64(value)
		for _, s := range m.streams {
			if s.send += delta; s.send > mostWindow {
				return errWindowLarge
			}
		}
	case settingFrame:
		if value < leastFrame || value > mostFrame {
			return errSetting
		}
	}
	return nil
}

// ping answers a PING.
func (m *Machine) ping(p []byte) *Error {
	switch {
	case m.id != 0:
		return errStreamGiven
	case len(p) != 8:
		return errFrameSize
	case m.flags&flagAck == 0:
		out := appendFrame(m.Out.Room(headerLen+8), 8, framePing, flagAck, 0)
		m.Out.Commit(append(out, p...))
	}
	return m.waste()
}

// gone notes that the peer wants no more streams, and ends those that it will
// not look at.
func (m *Machine) gone(p []byte) *Error {
	switch {
	case m.id != 0:
		return errStreamGiven
	case len(p) < 8:
		return errFrameSize
	}
	m.leaving = true
	last := binary.BigEndian.Uint32(p) & mostID
	if m.server {
		return m.waste()
	}
	for id, s := range m.streams {
		if id > last {
			m.handler.Reset(s, RefusedStream)
			m.drop(s)
		}
	}
	return m.waste()
}

// window makes a window larger.
func (m *Machine) window(p []byte) *Error {
	if len(p) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(p) & mostWindow)
	if m.id == 0 {
		switch m.send += n; {
		case n == 0:
			return errWindowZero
		case m.send > mostWindow:
			return errWindowLarge
		}
		m.handler.Window(nil)
		return m.waste()
	}
	if m.idle(m.id) {
		return errIdle
	}
	s := m.streams[m.id]
	switch {
	case s == nil:
	case n == 0:
		m.broken(s, ProtocolError)
	case s.send+n > mostWindow:
		m.broken(s, FlowControlError)
	default:
		s.send += n
		m.handler.Window(s)
	}
	return m.waste()
}
