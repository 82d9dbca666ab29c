package redact

import (
	"bytes"
	"encoding/base64"

	"github.com/understudy-proxy/understudy/internal/content"
)

// maxParts bounds multipart bodies within others. What is deeper is replaced.
const maxParts = 3

// multipart redacts the parts of a body by their names, and by what they are.
func (w *worker) multipart(b content.Body, depth int) []byte {
	e := edit{src: b.Data}
	line := append([]byte("--"), b.Boundary...)
	i := nextBoundary(b.Data, line, 0)
	w.mixed(&e, 0, i) // what is before the parts; all of it if the boundary is wrong
	for i < len(b.Data) {
		from := i + len(line)
		i = nextBoundary(b.Data, line, from)
		w.part(&e, from, i, depth, b.Cut && i == len(b.Data))
	}
	return e.end()
}

// nextBoundary returns where the next line of a boundary begins, or the end.
func nextBoundary(data, line []byte, i int) int {
	for {
		n := bytes.Index(data[i:], line)
		if n < 0 {
			return len(data)
		}
		if i += n; i == 0 || data[i-1] == '\n' {
			return i
		}
		i += len(line)
	}
}

// part redacts what stands between two boundaries: the end of the first line, a
// head, an empty line, a body.
func (w *worker) part(e *edit, from, to, depth int, cut bool) {
	part := e.src[from:to]
	i := bytes.IndexByte(part, '\n')
	if i < 0 || bytes.HasPrefix(part, []byte("--")) { // what is behind the parts
		w.mixed(e, from, to)
		return
	}
	from += i + 1
	part = part[i+1:]
	headEnd, bodyAt := blankLine(part)
	head, body := part[:headEnd], part[bodyAt:]
	if len(body) > 0 && !cut { // the line end before a boundary is the boundary's
		body = bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
	}
	if hidden := w.head(head, false); !same(hidden, head) {
		e.cut(from, from+headEnd)
		e.out = append(e.out, hidden...)
	}
	hidden := w.partBody(head, body, depth, cut)
	if !same(hidden, body) {
		e.cut(from+bodyAt, from+bodyAt+len(body))
		e.out = append(e.out, hidden...)
	}
}

// blankLine returns where a head ends and where its body begins.
func blankLine(part []byte) (headEnd, bodyAt int) {
	for i := 0; i < len(part); {
		n := bytes.IndexByte(part[i:], '\n')
		if n < 0 {
			break
		}
		if len(bytes.TrimSuffix(part[i:i+n], []byte("\r"))) == 0 {
			return i, i + n + 1
		}
		i += n + 1
	}
	return len(part), len(part)
}

func (w *worker) partBody(head, body []byte, depth int, cut bool) []byte {
	if len(body) == 0 || isOurs(body) {
		return body
	}
	disposition, _ := content.LookupLine(head, "content-disposition")
	if w.named(content.Parameter(disposition, "name"), w.fields.has) {
		return w.token(nil, text, body)
	}
	declared, _ := content.LookupLine(head, "content-type")
	coding, _ := content.LookupLine(head, "content-transfer-encoding")
	if !content.EqualFold(coding, "base64") {
		b := content.Describe(declared, body, cut)
		hidden := w.body(b, declared, depth+1)
		if same(hidden, b.Data) {
			return body
		}
		return b.Encode(hidden)
	}
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Decode(plain, body)
	if err != nil && !cut {
		return w.token(nil, whole, body)
	}
	b := content.Describe(declared, plain[:n], cut)
	hidden := w.body(b, declared, depth+1)
	if same(hidden, b.Data) {
		return body
	}
	return base64.StdEncoding.AppendEncode(nil, b.Encode(hidden))
}
