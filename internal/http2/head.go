package http2

import (
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Head is a field section: the head of a message, or its trailers. What it
// holds is valid as long as it is not the next one's, though strings may be kept.
type Head struct {
	Method, Scheme, Authority, Path string // of a request
	Protocol                        string // that a CONNECT is for (RFC 8441 §4), else empty
	Status                          int    // of an answer, else 0
	// Fields are the others, in order, with names in lower case.
	Fields []hpack.HeaderField
	// Length is the Content-Length, -1 if there is none.
	Length int64
	// Trailer says that these are trailers.
	Trailer bool
	// Cut says that the section was over the limit: fields are missing.
	Cut bool

	limit, size int
	pseudo      uint8 // those seen
	regular     bool  // a field that is not pseudo was seen
	bad         bool  // malformed (RFC 9113 §8.1.1)
}

// The pseudo fields, as bits.
const (
	hasMethod uint8 = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasStatus
	hasProtocol
)

// keepFields is how many fields a head of the usual size has; the memory of
// larger ones is not kept for the life of a connection.
const keepFields = 128

func (h *Head) reset() {
	if clear(h.Fields); cap(h.Fields) > keepFields {
		h.Fields = nil
	}
	*h = Head{Fields: h.Fields[:0], Length: -1, limit: h.limit}
}

// add takes a field from the decoder. What is malformed or over the limit is
// still decoded, because later sections refer to it.
func (h *Head) add(f hpack.HeaderField) {
	if h.bad || h.Cut {
		return
	}
	h.size += len(f.Name) + len(f.Value) + 4
	if strings.HasPrefix(f.Name, ":") {
		h.addPseudo(f)
	} else {
		h.regular = true
		h.bad = !h.valid(f)
		h.Fields = append(h.Fields, f)
	}
	h.Cut = h.size > h.limit
}

func (h *Head) addPseudo(f hpack.HeaderField) {
	bit := uint8(0)
	switch f.Name {
	case ":method":
		bit, h.Method = hasMethod, f.Value
	case ":scheme":
		bit, h.Scheme = hasScheme, f.Value
	case ":authority":
		bit, h.Authority = hasAuthority, f.Value
	case ":path":
		bit, h.Path = hasPath, f.Value
	case ":protocol":
		bit, h.Protocol = hasProtocol, f.Value
	case ":status":
		bit = hasStatus
		if len(f.Value) == 3 && f.Value[0] >= '1' && f.Value[0] <= '9' && digit(f.Value[1]) && digit(f.Value[2]) {
			h.Status = int(f.Value[0]-'0')*100 + int(f.Value[1]-'0')*10 + int(f.Value[2]-'0')
		}
	}
	h.bad = bit == 0 || h.pseudo&bit != 0 || h.regular || !text(f.Value)
	h.pseudo |= bit
}

// valid checks a field (RFC 9113 §8.2).
func (h *Head) valid(f hpack.HeaderField) bool {
	if f.Name == "" || !text(f.Value) {
		return false
	}
	for i := range len(f.Name) {
		if !nameByte[f.Name[i]] {
			return false
		}
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	case "te":
		return f.Value == "trailers"
	case "content-length":
		n, ok := length(f.Value)
		if !ok || h.Length >= 0 && h.Length != n {
			return false
		}
		h.Length = n
	}
	return true
}

// length reads a Content-Length.
func length(v string) (n int64, ok bool) {
	if v == "" || len(v) > 18 {
		return 0, false
	}
	for i := range len(v) {
		if !digit(v[i]) {
			return 0, false
		}
		n = n*10 + int64(v[i]-'0')
	}
	return n, true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// nameByte says which bytes may stand in a field name: those of a token
// (RFC 9110 §5.6.2) but capitals.
var nameByte = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

// text checks a value: no control characters but HTAB, and nothing blank around it.
func text(v string) bool {
	if v == "" {
		return true
	}
	if blank(v[0]) || blank(v[len(v)-1]) {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// request checks the pseudo fields of a request (RFC 9113 §8.3.1).
func (h *Head) request() bool {
	switch {
	case h.bad:
		return false
	case h.Cut:
		return true
	case h.Method == "CONNECT" && h.pseudo&hasProtocol == 0:
		return h.pseudo == hasMethod|hasAuthority
	case h.Method == "CONNECT":
		return h.pseudo == hasMethod|hasScheme|hasAuthority|hasPath|hasProtocol && h.Protocol != "" && h.Scheme != "" &&
			h.Length < 0 && strings.HasPrefix(h.Path, "/") && h.sameHost()
	case h.pseudo&^hasAuthority != hasMethod|hasScheme|hasPath:
		return false
	}
	if h.Method == "" || h.Scheme == "" || strings.ContainsAny(h.Method, " \t") {
		return false
	}
	// An absolute form would name a host of its own.
	return (strings.HasPrefix(h.Path, "/") || h.Path == "*" && h.Method == "OPTIONS") && h.sameHost()
}

// sameHost says that Host, if there is one, names what :authority names.
func (h *Head) sameHost() bool {
	if h.pseudo&hasAuthority == 0 {
		return true
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Name == "host" && !strings.EqualFold(f.Value, h.Authority) {
			return false
		}
	}
	return true
}

// fields decodes a field section and tells the stream it belongs to.
func (m *Machine) fields(block []byte) *Error {
	h := &m.head
	h.reset()
	if _, err := m.decoder.Write(block); err != nil {
		return errCompression
	}
	if err := m.decoder.Close(); err != nil {
		return errCompression
	}
	s := m.streams[m.id]
	switch {
	case s != nil && s.remote:
		m.broken(s, StreamClosed)
		return m.waste()
	case s != nil:
		m.more(s, h)
		return nil
	case m.id <= m.last:
		opened, cut := m.past.had(m.last, m.id)
		switch {
		case !opened:
			return errStreamID
		case !cut:
			return errClosed
		}
		return m.waste() // it was on its way when we ended the stream
	}
	return m.open(h)
}

// open takes a new request.
func (m *Machine) open(h *Head) *Error {
	m.past.open(m.last, m.id)
	m.last = m.id
	switch {
	case m.id > m.refuse:
		m.past.setCut(m.id)
		return m.waste()
	case len(m.streams) >= int(m.limits.Streams):
		m.past.setCut(m.id)
		m.sendReset(m.id, RefusedStream)
		return m.waste()
	case m.odd || !h.request() || m.ends && h.Length > 0:
		m.past.setCut(m.id)
		m.sendReset(m.id, ProtocolError)
		return m.waste()
	}
	s := m.newStream(m.id)
	s.headDone, s.length, s.remote = true, h.Length, m.ends
	m.handler.Head(s, h, m.ends)
	return nil
}

// more takes the head of an answer, or trailers.
func (m *Machine) more(s *Stream, h *Head) {
	h.Trailer = s.headDone
	answer := !m.server && !s.headDone
	switch {
	case m.odd || h.bad,
		!answer && (h.pseudo != 0 || !m.ends || s.length > 0 && !s.bodiless),
		answer && (h.pseudo != hasStatus || h.Status == 0 || h.Status == 101):
		m.broken(s, ProtocolError)
		return
	case h.Cut:
		m.broken(s, EnhanceYourCalm)
		return
	}
	if answer {
		if h.Status < 200 && m.ends || m.ends && h.Length > 0 && !s.bodiless && h.Status != 304 {
			m.broken(s, ProtocolError)
			return
		}
		if s.headDone = h.Status >= 200; s.headDone {
			s.length = h.Length
			s.bodiless = s.bodiless || h.Status == 204 || h.Status == 304
		}
	}
	s.remote = m.ends
	id := s.id
	m.handler.Head(s, h, m.ends)
	if m.ends && m.streams[id] == s {
		m.settle(s)
	}
}
