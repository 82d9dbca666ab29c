//go:build linux

package load

import (
	"bytes"
	"errors"
)

// maxHead bounds what is kept of an unfinished head.
const maxHead = 64 << 10

var errMessage = errors.New("load: not an HTTP/1.1 message")

// head is what a request's or an answer's head says about what follows.
type head struct {
	status  int    // answers
	method  []byte // requests; valid until the buffer changes
	target  []byte // requests; valid until the buffer changes
	length  int64  // Content-Length; -1 without
	chunked bool
	close   bool // HTTP/1.0 or Connection: close
	expect  bool
	id      uint64 // of the target's query, or echoed
	hasID   bool
}

// parseHead reads a whole head from the start of buf; n is 0 as long as it is
// not complete.
func parseHead(buf []byte) (h head, n int, err error) {
	end := bytes.Index(buf, []byte("\r\n\r\n"))
	if end < 0 {
		if len(buf) > maxHead {
			return h, 0, errMessage
		}
		return h, 0, nil
	}
	n = end + 4
	lines := buf[:end+2]
	eol := bytes.IndexByte(lines, '\n')
	h.length = -1
	if !h.startLine(lines[:eol-1]) {
		return h, n, errMessage
	}
	for lines = lines[eol+1:]; len(lines) > 0; lines = lines[eol+1:] {
		eol = bytes.IndexByte(lines, '\n')
		colon := bytes.IndexByte(lines[:eol], ':')
		if colon < 0 {
			return h, n, errMessage
		}
		if !h.field(lines[:colon], bytes.TrimSpace(lines[colon+1:eol])) {
			return h, n, errMessage
		}
	}
	return h, n, nil
}

func (h *head) startLine(line []byte) bool {
	if bytes.HasPrefix(line, []byte("HTTP/1.")) {
		if len(line) < 12 {
			return false
		}
		h.close = line[7] == '0'
		status, ok := atoi(line[9:12])
		h.status = int(status)
		return ok && h.status >= 100
	}
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return false
	}
	h.method, h.target, h.close = method, target, bytes.HasSuffix(version, []byte("0"))
	if _, query, ok := bytes.Cut(target, []byte("?")); ok {
		h.id, h.hasID = queryID(query)
	}
	return true
}

// queryID finds id=<sixteen hex digits> among a query's parameters.
func queryID(query []byte) (uint64, bool) {
	for len(query) > 0 {
		var param []byte
		param, query, _ = bytes.Cut(query, []byte("&"))
		if len(param) == 19 && string(param[:3]) == "id=" {
			return getID(param[3:])
		}
	}
	return 0, false
}

// echoHeader carries a request's id back in the answer.
const echoHeader = "X-Load-Id"

// field notes one header field; the length of the name decides cheaply that
// most of them do not matter.
func (h *head) field(name, value []byte) bool {
	ok := true
	switch len(name) {
	case len("Content-Length"):
		if asciiEqual(name, "content-length") {
			h.length, ok = atoi(value)
		}
	case len("Transfer-Encoding"):
		if asciiEqual(name, "transfer-encoding") {
			h.chunked = asciiEqual(value, "chunked")
			ok = h.chunked
		}
	case len("Connection"):
		if asciiEqual(name, "connection") {
			h.close = h.close && !asciiEqual(value, "keep-alive") || asciiEqual(value, "close")
		}
	case len("Expect"):
		h.expect = h.expect || asciiEqual(name, "expect")
	case len(echoHeader):
		if asciiEqual(name, "x-load-id") {
			h.id, h.hasID = getID(value)
		}
	}
	return ok
}

// asciiEqual compares without regard to case; lower is in lower case.
func asciiEqual(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func atoi(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// framing says how a body ends.
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// answerFraming says how the body of an answer with head h ends (RFC 9112,
// section 6.3).
func answerFraming(h *head, toHEAD bool) framing {
	switch {
	case toHEAD || h.status < 200 || h.status == 204 || h.status == 304 || h.length == 0 && !h.chunked:
		return noBody
	case h.chunked:
		return byChunks
	case h.length > 0:
		return byLength
	}
	return byClose
}

func requestFraming(h *head) framing {
	switch {
	case h.chunked:
		return byChunks
	case h.length > 0:
		return byLength
	}
	return noBody
}

// body takes a message's body apart. The zero value has none left.
type body struct {
	framing framing
	left    int64 // of the body, or of the current chunk
	state   chunkState
	line    int // bytes seen of a trailer line
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkBytes
	chunkEnd
	chunkTrailer
)

func newBody(f framing, length int64) body {
	b := body{framing: f}
	if f == byLength {
		b.left = length
	}
	return b
}

func (b *body) done() bool { return b.framing == noBody }

// next consumes n bytes of p and gives the content among them. The caller goes
// on with p[n:] until the body is done or p is used up.
func (b *body) next(p []byte) (content []byte, n int, err error) {
	switch b.framing {
	case byClose:
		return p, len(p), nil
	case byLength:
		n = int(min(int64(len(p)), b.left))
		if b.left -= int64(n); b.left == 0 {
			b.framing = noBody
		}
		return p[:n], n, nil
	case byChunks:
		return b.nextChunked(p)
	}
	return nil, 0, nil
}

func (b *body) nextChunked(p []byte) ([]byte, int, error) {
	if b.state == chunkBytes {
		n := int(min(int64(len(p)), b.left))
		if b.left -= int64(n); b.left == 0 {
			b.state = chunkEnd
		}
		return p[:n], n, nil
	}
	for i, c := range p {
		if !b.step(c) {
			return nil, i, errMessage
		}
		if b.state == chunkBytes || b.framing == noBody {
			return nil, i + 1, nil
		}
	}
	return nil, len(p), nil
}

// step takes one byte of the framing around chunks; false if it cannot be one.
func (b *body) step(c byte) bool {
	switch b.state {
	case chunkSize:
		return b.sizeByte(c)
	case chunkExtension:
		if c == '\n' {
			b.sizeEnd()
		}
	case chunkEnd:
		if c == '\n' {
			b.state, b.left = chunkSize, 0
			return true
		}
		return c == '\r'
	case chunkTrailer:
		switch {
		case c == '\n' && b.line == 0:
			b.framing = noBody
		case c == '\n':
			b.line = 0
		case c != '\r':
			b.line++
		}
	}
	return true
}

func (b *body) sizeByte(c byte) bool {
	switch {
	case '0' <= c && c <= '9':
		b.left = b.left<<4 | int64(c-'0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		b.left = b.left<<4 | int64(c|0x20-'a'+10)
	case c == ';' || c == '\r':
		b.state = chunkExtension
	default:
		return false
	}
	return b.left < 1<<48
}

func (b *body) sizeEnd() {
	b.line = 0
	if b.state = chunkBytes; b.left == 0 {
		b.state = chunkTrailer
	}
}
