// Package content reads what HTTP messages carry: the fields of a head as it was
// received, the body with its content encodings and charset undone, and what
// kind of body that is. It is pure, keeps nothing from message to message, takes
// whatever bytes come without a panic, and is for any number of goroutines.
package content

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Kind says how a body is to be read.
type Kind uint8

// The kinds of bodies. The zero value is that of a message without one.
const (
	Empty     Kind = iota
	JSON           // one JSON text (RFC 8259)
	NDJSON         // a JSON text on each line
	SSE            // text/event-stream
	Form           // application/x-www-form-urlencoded
	Multipart      // parts, each with a head of its own (RFC 2046), see Body.Boundary
	XML            //
	HTML           //
	Protobuf       // one message, its schema unknown
	GRPC           // messages with prefixes, see Frames
	Text           // UTF-8 for people
	Opaque         // anything else
)

// String returns the lower-case name of the kind.
func (k Kind) String() string {
	return [...]string{"empty", "json", "ndjson", "sse", "form", "multipart", "xml", "html", "protobuf", "grpc", "text", "opaque"}[k]
}

// Unpacked is the name that the field Content-Encoding has in a head whose body
// was stored with its encodings undone. It has the same length.
const Unpacked = "content-unpacked"

// Body is what a message carries.
type Body struct {
	// Data is the body with its content encodings undone, and of textual kinds in
	// UTF-8 without a byte order mark, as far as the charset is known. It is the
	// message's own memory if there was nothing to undo: it must not be changed.
	Data     []byte
	Kind     Kind
	Charset  string // as declared, in lower case, or as the first bytes say; empty if neither does
	Boundary string // of Multipart
	Encoded  bool   // there were content encodings, and at least one was undone
	Cut      bool   // Data is not all: it was not kept, broke off on the way, or is beyond the limit
	Err      error  // an encoding that is unknown or broken; Data is what could be had nevertheless

	base64 bool // the messages of gRPC-Web were text
}

// Read reads the body of m, which may be nil. Undoing encodings yields at most
// limit bytes: what lies beyond is cut off, which is no error. The kind is what
// the head declares; if that says little, what the first bytes look like. A body
// without encoding costs no allocation, unless it is Multipart or in a charset
// other than UTF-8.
func Read(m *traffic.Message, limit int64) Body {
	if m == nil {
		return Body{}
	}
	b := Body{Data: m.Body, Cut: m.Cut() || !m.Whole}
	declared, _ := Lookup(m.Head, "content-type")
	if len(m.Body) == 0 {
		b.Charset = lowered(Parameter(declared, "charset"))
		return b
	}
	b.undo(m.Head, limit)
	b.describe(declared)
	if b.Kind == GRPC {
		b.unpackText(declared)
		coding, _ := Lookup(m.Head, "grpc-encoding")
		b.unpack(coding, limit)
	}
	return b
}

// Describe reads data as a body of the declared media type without content
// encodings, such as a part of a multipart body. cut says that it is not all.
func Describe(declared, data []byte, cut bool) Body {
	b := Body{Data: data, Cut: cut}
	if len(data) > 0 {
		b.describe(declared)
	}
	return b
}

// describe finds out the kind and makes UTF-8 of text.
func (b *Body) describe(declared []byte) {
	b.Charset = lowered(Parameter(declared, "charset"))
	if len(b.Data) == 0 {
		return
	}
	received := b.Data
	kind, sure := kindOf(declared)
	switch kind {
	case Multipart:
		b.Boundary = string(unescaped(Parameter(declared, "boundary")))
		if b.Boundary == "" {
			b.Boundary = firstBoundary(b.Data)
		}
		if b.Boundary == "" {
			kind, sure = Opaque, false
		}
	case Protobuf, GRPC:
	default:
		if !sure || kind != Opaque {
			b.decode()
		}
	}
	if !sure {
		kind = sniff(b.Data, kind)
	}
	if b.Kind = kind; kind == Opaque {
		b.Data = received // no text, whatever its first bytes are
	}
}

// StartLine returns the first line of a head without its line end.
func StartLine(head []byte) []byte {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}
