package redact

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/content"
)

// head redacts a head, or lines of fields if there is no start line.
func (w *worker) head(head []byte, startLine bool) []byte {
	if len(head) == 0 {
		return head
	}
	e := edit{src: head}
	if startLine {
		at := len(content.StartLine(head))
		w.pairs(&e, 0, at, inTarget)
		head = head[at:]
		if i := bytes.IndexByte(head, '\n'); i >= 0 {
			head = head[i+1:]
		} else {
			head = nil
		}
	}
	for name, value := range content.Lines(head) {
		from := cap(e.src) - cap(value) // value is a part of src
		w.field(&e, name, from, from+len(value))
	}
	return w.shapes(w.encoded(w.urls(e.end())))
}

// field redacts the value of a field, which stands between two places.
func (w *worker) field(e *edit, name []byte, from, to int) {
	value := e.src[from:to]
	switch {
	case len(value) == 0:
	case !w.headers.has(plainName(name)):
		if bytes.IndexByte(value, '"') >= 0 {
			w.mixed(e, from, to) // perhaps JSON
		} else {
			w.pairs(e, from, to, inText)
		}
	case content.EqualFold(name, "cookie"):
		for at := from; at < to; {
			end := to
			if i := bytes.IndexByte(e.src[at:to], ';'); i >= 0 {
				end = at + i
			}
			w.cookie(e, at, end)
			at = end + 1
		}
	case content.EqualFold(name, "set-cookie"):
		w.setCookies(e, from, to)
	case content.EqualFold(name, "authorization"), content.EqualFold(name, "proxy-authorization"):
		if i := bytes.IndexByte(value, ' '); i > 0 { // the scheme says nothing
			from += i
			for from < to && e.src[from] == ' ' {
				from++
			}
		}
		w.hide(e, from, to)
	default:
		w.hide(e, from, to)
	}
}

// carried are what gateways and stores put before names of their users.
var carried = [...]string{"grpc-metadata-", "x-amz-meta-", "x-goog-meta-", "x-ms-meta-"}

// plainName cuts that off.
func plainName(name []byte) []byte {
	for _, prefix := range carried {
		if len(name) > len(prefix) && content.EqualFold(name[:len(prefix)], prefix) {
			return name[len(prefix):]
		}
	}
	return name
}

// setCookies redacts the values of a Set-Cookie field, which some programs make
// one of several with commas between. Of attributes, those stay that say nothing
// but how a cookie is kept.
func (w *worker) setCookies(e *edit, from, to int) {
	for first := true; from < to; first = false {
		end := to
		if i := bytes.IndexByte(e.src[from:to], ';'); i >= 0 {
			end = from + i
		}
		if first {
			w.cookie(e, from, end)
		} else {
			w.attribute(e, from, end)
		}
		from = end + 1
	}
}

// attribute looks at an attribute of a cookie, which may be the last one before
// the next cookie.
func (w *worker) attribute(e *edit, from, to int) {
	for comma := from; ; comma++ {
		n := bytes.IndexByte(e.src[comma:to], ',')
		if n < 0 {
			break
		}
		comma += n
		name, _, ok := bytes.Cut(bytes.TrimLeft(e.src[comma+1:to], " \t"), []byte{'='})
		if ok && isToken(string(name)) { // and not the comma of a date
			w.cookie(e, comma+1, to)
			return
		}
	}
	w.pairs(e, from, to, inText)
}

// cookie redacts the value of a cookie that stands between two places, and all
// of what has no name.
func (w *worker) cookie(e *edit, from, to int) {
	for from < to && (e.src[from] == ' ' || e.src[from] == '\t') {
		from++
	}
	for from < to && (e.src[to-1] == ' ' || e.src[to-1] == '\t') {
		to--
	}
	if eq := bytes.IndexByte(e.src[from:to], '='); eq >= 0 {
		if w.cookies.has(e.src[from : from+eq]) {
			return
		}
		from += eq + 1
	}
	if to-from >= 2 && e.src[from] == '"' && e.src[to-1] == '"' {
		from, to = from+1, to-1
	}
	w.hide(e, from, to)
}

// urls redacts users and passwords of URLs in text.
func (w *worker) urls(b []byte) []byte {
	e := edit{src: b}
	w.userinfo(&e)
	return e.end()
}
