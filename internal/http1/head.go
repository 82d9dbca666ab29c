package http1

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Limits bound a head. A zero field means its default; a nil *Limits means all
// defaults. Read-only once in use, and may be shared.
type Limits struct {
	// Head is the most bytes of a whole head, its empty line included.
	Head int
	// Target is the most bytes of a request target.
	Target int
	// Fields is the most fields of a head.
	Fields int
}

// The defaults. A browser's largest cookies and tokens fit several times over;
// 128 fields are more than clients in the field send, and bound the work that
// Connection can ask for.
const (
	DefaultHead   = 64 << 10
	DefaultTarget = 16 << 10
	DefaultFields = 128
)

func (l *Limits) orDefaults() Limits {
	out := Limits{DefaultHead, DefaultTarget, DefaultFields}
	if l == nil {
		return out
	}
	if l.Head > 0 {
		out.Head = min(l.Head, math.MaxInt32) // offsets are 32 bits wide
	}
	if l.Target > 0 {
		out.Target = l.Target
	}
	if l.Fields > 0 {
		out.Fields = l.Fields
	}
	return out
}

// Lengths of a body that are not a number of bytes. See [Outgoing].
const (
	LengthNone    int64 = -1 // no body, and no field that says so
	LengthChunked int64 = -2 // Transfer-Encoding: chunked
	LengthClose   int64 = -3 // responses only: until the connection closes
)

// maxOptions bounds the names in Connection that are looked up among the
// fields; without it, work would grow with their product.
const maxOptions = 32

// span is a part of the buffer. Offsets survive a buffer that moves.
type span struct{ from, to uint32 }

func (s span) of(b []byte) []byte { return b[s.from:s.to:s.to] }

// field is one field line: its name starts the line, which ends where the next
// line starts.
type field struct {
	name, value span
	id          FieldID
	dropped     bool
}

// head is what requests and responses share: lines, fields and framing.
type head struct {
	buf    []byte
	fields []field
	err    *Error
	seen   fieldSet // known names present

	line uint32 // where the line being read starts
	scan uint32 // where the search for its end goes on
	end  uint32 // bytes of the whole head, 0 until it is complete

	length     int64 // Content-Length, -1 if none
	minor      uint8
	request    bool
	started    bool // the first line is done
	repeated   bool // Upgrade came twice
	codings    coding
	close      bool // Connection: close
	keepAlive  bool // Connection: keep-alive
	upgrade    bool // Connection: upgrade
	options    bool // Connection names a field that is not a known one
	trailersOK bool // TE: trailers

	trailer []byte // kept for bodies, see Body
}

// coding sums up the transfer codings seen so far.
type coding uint8

const (
	codingNone    coding = iota
	codingChunked        // chunked, and nothing else
	codingOther          // something else, chunked may follow
	codingBoth           // something else, then chunked
)

func (h *head) reset() {
	*h = head{fields: h.fields[:0], trailer: h.trailer[:0], request: h.request, length: LengthNone}
}

// nextLine returns the span of the next line without its CRLF and moves on.
// ok is false when more bytes are needed or, with an error, when the line
// would cross limit, the offset that no line may end behind.
func (h *head) nextLine(limit int) (line span, ok bool, cut bool, err *Error) {
	window := h.buf[:min(len(h.buf), limit)]
	i := bytes.IndexByte(window[h.scan:], '\n')
	if i < 0 {
		h.scan = uint32(len(window))
		return span{}, false, len(h.buf) >= limit, nil
	}
	lf := h.scan + uint32(i)
	line = span{h.line, lf}
	if lf == h.line || h.buf[lf-1] != '\r' {
		return span{}, false, false, errBareLF
	}
	line.to--
	h.line, h.scan = lf+1, lf+1
	return line, true, false, nil
}

// readFields reads field lines up to and with the empty line. It returns true
// when the head is complete.
func (h *head) readFields(lim *Limits) (bool, *Error) {
	for {
		line, ok, cut, err := h.nextLine(lim.Head)
		switch {
		case err != nil:
			return false, err
		case cut:
			return false, errHeadLong
		case !ok:
			return false, nil
		case line.from == line.to:
			h.end = h.line
			return true, h.finish()
		case len(h.fields) >= lim.Fields:
			return false, errTooManyFields
		}
		if err := h.readField(line); err != nil {
			return false, err
		}
	}
}

// readField checks one field line and remembers it.
func (h *head) readField(line span) *Error {
	b := line.of(h.buf)
	n, err := nameEnd(b)
	if err != nil {
		return err
	}
	value := b[n+1:]
	from, to := 0, len(value)
	for from < to && (value[from] == ' ' || value[from] == '\t') {
		from++
	}
	for from < to && (value[to-1] == ' ' || value[to-1] == '\t') {
		to--
	}
	value = value[from:to]
	if err := checkValue(value); err != nil {
		return err
	}
	id := identify(b[:n])
	start := line.from + uint32(n) + 1 + uint32(from)
	h.fields = append(h.fields, field{
		name:    span{line.from, line.from + uint32(n)},
		value:   span{start, start + uint32(len(value))},
		id:      id,
		dropped: hopByHop.has(id),
	})
	if id == Other {
		return nil
	}
	again := h.seen.has(id)
	h.seen |= 1 << id
	if !meaningful.has(id) {
		return nil
	}
	return h.interpret(id, value, again)
}

// nameEnd returns where the colon behind the name is.
func nameEnd(b []byte) (int, *Error) {
	for i, c := range b {
		if class[c]&isToken != 0 {
			continue
		}
		if c == ':' && i > 0 {
			return i, nil
		}
		return 0, nameError(b, i)
	}
	return 0, errNoColon
}

// nameError says what is wrong with a field line whose i-th byte ends the name
// but is not its colon.
func nameError(b []byte, i int) *Error {
	space := b[i] == ' ' || b[i] == '\t'
	switch {
	case i == 0 && space:
		return errFold
	case b[i] == ':':
		return errNameEmpty
	case b[i] == '\r':
		return errBareCR
	case bytes.IndexByte(b[i:], ':') < 0:
		return errNoColon
	case space:
		return errNameSpace
	}
	return errName
}

// checkValue refuses control characters but HTAB, eight bytes at a time; the
// last eight may overlap the ones before.
func checkValue(v []byte) *Error {
	if len(v) < 8 {
		return checkBytes(v)
	}
	last := len(v) - 8
	for i := 0; ; i = min(i+8, last) {
		if controls(binary.LittleEndian.Uint64(v[i:])) != 0 {
			if err := checkBytes(v[i : i+8]); err != nil {
				return err
			}
		}
		if i == last {
			return nil
		}
	}
}

func checkBytes(v []byte) *Error {
	for _, c := range v {
		if isText(c) {
			continue
		}
		switch c {
		case 0:
			return errNUL
		case '\r':
			return errBareCR
		}
		return errValue
	}
	return nil
}

// NumFields returns the number of fields.
func (h *head) NumFields() int { return len(h.fields) }

// Field returns the name as received, the value without surrounding
// whitespace, and the known name of the i-th field.
func (h *head) Field(i int) (name, value []byte, id FieldID) {
	f := &h.fields[i]
	return f.name.of(h.buf), f.value.of(h.buf), f.id
}

// Lookup returns the value of the first field with a known name.
func (h *head) Lookup(id FieldID) ([]byte, bool) {
	if id == Other || !h.seen.has(id) {
		return nil, false
	}
	for i := range h.fields {
		if h.fields[i].id == id {
			return h.fields[i].value.of(h.buf), true
		}
	}
	return nil, false
}

// Value returns the i-th value (from 0) of the fields called name, ignoring
// case, and false when there are not that many.
func (h *head) Value(name string, i int) ([]byte, bool) {
	for k := range h.fields {
		f := &h.fields[k]
		if int(f.name.to-f.name.from) != len(name) || !equalFold(f.name.of(h.buf), name) {
			continue
		}
		if i == 0 {
			return f.value.of(h.buf), true
		}
		i--
	}
	return nil, false
}

// Dropped reports whether the i-th field ends at this connection: it is
// hop-by-hop by itself (RFC 9110 §7.6.1) or named by Connection. A known name
// that is not hop-by-hop by itself is never dropped, whatever Connection says:
// otherwise a sender could make us remove Host, Authorization or
// X-Forwarded-For from its own request.
func (h *head) Dropped(i int) bool { return h.fields[i].dropped }

// ContentLength returns the value of Content-Length, LengthNone if there is none.
func (h *head) ContentLength() int64 { return h.length }

// Minor returns 1 for HTTP/1.1 and 0 for HTTP/1.0.
func (h *head) Minor() int { return int(h.minor) }

// Chunked reports whether Transfer-Encoding is chunked.
func (h *head) Chunked() bool { return h.codings == codingChunked }

// KeepAlive reports whether the sender is ready for another message on the
// connection, as far as its head says.
func (h *head) KeepAlive() bool { return !h.close && (h.minor > 0 || h.keepAlive) }

// Upgrade returns the protocols in Upgrade, nil unless Connection names it
// too, the version is HTTP/1.1, and there is exactly one such field. It is
// also nil when h2c is among them: behind it, requests would flow past
// routing, and RFC 9113 has given it up.
func (h *head) Upgrade() []byte {
	if !h.upgrade || h.repeated || h.minor == 0 {
		return nil
	}
	v, _ := h.Lookup(Upgrade)
	for rest, more := v, true; more; {
		var e []byte
		if e, rest, more = element(rest); equalFold(e, "h2c") {
			return nil
		}
	}
	if len(v) == 0 {
		return nil
	}
	return v
}
