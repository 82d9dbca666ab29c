package redact

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// unpackLimit bounds what is made of an encoded body. What lies beyond is not
// kept.
const unpackLimit = 8 << 20

// Exchange redacts x in place, once: heads, bodies and trailers of all messages,
// and the fields that repeat a part of them. What was a part of a message is
// replaced, never written to; a message without secrets is left as it is, and
// costs no allocation.
//
// A body with content encodings in which something was found is kept without
// them; in its head the name of the field is then [content.Unpacked]. Length is
// moved by as much as the body became longer or shorter, so that what lies
// beyond a cut body, and whether it is cut, stays the same. Hash is replaced by
// a keyed hash of itself, for that of a whole body would tell who guessed right;
// one that has been is kept, as tokens are: recordings are redacted already.
func (r *Redactor) Exchange(x *traffic.Exchange) {
	w := r.workers.Get().(*worker)
	defer r.workers.Put(w)
	w.method, w.numbers = strings.TrimPrefix(x.Path, "/"), nil
	if len(r.protobuf) > 0 {
		w.numbers = r.numbersOf(w.method)
	}
	x.Path = w.string(x.Path, inTarget)
	x.Query = w.string(x.Query, inQuery)
	x.UserAgent = w.string(x.UserAgent, inText)
	x.Error = w.string(x.Error, inText)
	x.GRPC.Message = w.string(x.GRPC.Message, inText)
	w.messageOf(x.Request)
	w.outcome(&x.Primary)
	for i := range x.Copies {
		w.outcome(&x.Copies[i])
	}
}

func (w *worker) outcome(o *traffic.Outcome) {
	o.Error = w.string(o.Error, inText)
	o.GRPC.Message = w.string(o.GRPC.Message, inText)
	w.messageOf(o.Answer)
}

// string redacts text for people, or a query.
func (w *worker) string(s string, in place) string {
	if s == "" {
		return s
	}
	w.text = append(w.text[:0], s...)
	if out := w.line(w.text, in); !same(out, w.text) {
		return string(out)
	}
	return s
}

// line redacts pairs, URLs and what looks like a credential.
func (w *worker) line(b []byte, in place) []byte {
	e := edit{src: b}
	w.pairs(&e, 0, len(b), in)
	b = w.urls(e.end())
	if in == inText {
		b = w.literals(b)
	}
	return w.shapes(w.encoded(b))
}

func (w *worker) messageOf(m *traffic.Message) {
	if m == nil {
		return
	}
	b := content.Read(m, unpackLimit)
	declared, _ := content.Lookup(m.Head, "content-type")
	w.cut = b.Cut
	out := w.body(b, declared, 0)
	w.cut = false
	unpacked := b.Encoded && (b.Cut || b.Err != nil || !same(out, b.Data))
	if unpacked || !same(out, b.Data) {
		w.replace(m, b, out)
	}
	m.Head = w.head(m.Head, true)
	if unpacked {
		m.Head = rename(m.Head)
	}
	m.Trailer = w.head(m.Trailer, false)
	if m.Hash != 0 && m.Hash>>32 != marked {
		m.Hash = w.markedNumber(binary.BigEndian.AppendUint64(w.value[:0], m.Hash))
	}
}

// replace puts another body in the place of a message's own. b is what was read
// of that.
func (w *worker) replace(m *traffic.Message, b content.Body, body []byte) {
	beyond := m.Length - int64(len(m.Body))
	if b.Encoded && b.Cut && m.Whole {
		beyond = max(1, beyond) // what the limit cut off
	}
	m.Body = b.Encode(body)
	m.Length = int64(len(m.Body)) + max(0, beyond)
}

// rename changes the names of fields that speak of content encodings.
func rename(head []byte) []byte {
	head = bytes.Clone(head)
	for name := range content.Fields(head) {
		if content.EqualFold(name, "content-encoding") {
			copy(name, content.Unpacked)
		}
	}
	return head
}

// body redacts a body by its kind, and returns its data, or a changed copy.
func (w *worker) body(b content.Body, declared []byte, depth int) []byte {
	if b.Err != nil && b.Kind != content.GRPC && !utf8.Valid(b.Data) || depth > maxParts {
		return w.token(nil, whole, b.Data) // nobody can look into it
	}
	switch b.Kind {
	case content.Empty, content.Opaque:
		return b.Data
	case content.Multipart:
		return w.multipart(b, depth)
	case content.Protobuf:
		return w.message(b.Data)
	case content.GRPC:
		return w.frames(b.Data, bytes.Contains(declared, []byte("json")))
	}
	return w.plain(b.Kind, b.Data)
}

// plain redacts text of a kind.
func (w *worker) plain(k content.Kind, b []byte) []byte {
	e := &w.edit
	defer func() { *e = edit{} }()
	*e = edit{src: b}
	switch k = kindOf(k, b); k {
	case content.JSON:
		if w.json(e, 0, len(b), 0, false) {
			return w.line(e.end(), inText)
		}
		return w.shapes(e.end())
	case content.NDJSON:
		w.lines(e)
		return w.shapes(e.end())
	case content.SSE:
		w.events(e)
		return w.shapes(w.urls(e.end()))
	case content.Form:
		w.form(e)
		return w.line(e.end(), inQuery) // other pairs may be parted by ; or stand in URLs
	case content.XML, content.HTML:
		w.markup(e)
		b = w.entities(e.end())
		*e = edit{src: b}
	case content.Text:
		w.settings(e)
		b = e.end()
		*e = edit{src: b}
	}
	w.json(e, 0, len(b), 0, true)
	return w.line(e.end(), inText)
}
