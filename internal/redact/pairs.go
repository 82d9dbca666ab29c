package redact

import (
	"bytes"
)

// form redacts name=value pairs that are parted by &.
func (w *worker) form(e *edit) {
	for from := 0; from < len(e.src); {
		to := len(e.src)
		if i := bytes.IndexByte(e.src[from:], '&'); i >= 0 {
			to = from + i
		}
		if i := bytes.IndexByte(e.src[from:to], '='); i >= 0 {
			w.pair(e, from, from+i, to, w.fields.has)
		}
		from = to + 1
	}
}

// pair redacts the value of one pair, which stands between the = at eq and to,
// if its name says so, or what is secret in it if it is JSON.
func (w *worker) pair(e *edit, from, eq, to int, secret func([]byte) bool) {
	if w.named(e.src[from:eq], secret) {
		w.secretPair(e, eq, eq+1, to)
	} else if startsJSON(e.src[eq+1 : to]) {
		w.jsonPair(e, eq+1, to)
	}
}

// secretPair redacts the value between two places. It is decoded if it is not in
// quotes, and stands right behind the = at eq.
func (w *worker) secretPair(e *edit, eq, from, to int) {
	value := e.src[from:to]
	if len(value) == 0 || isOurs(value) {
		return
	}
	if from == eq+1 {
		w.value = unpercent(w.value[:0], value)
		value = w.value
	}
	e.cut(from, to)
	e.out = w.token(e.out, text, value)
}

// startsJSON says whether a value may be JSON that is looked into.
func startsJSON(b []byte) bool {
	if len(b) > 3 && b[0] == '%' {
		return equalsAny(b[:3], "%7b", "%5b")
	}
	return len(b) > 3 && (b[0] == '{' || b[0] == '[')
}

// jsonPair redacts what is secret in a value that is JSON.
func (w *worker) jsonPair(e *edit, from, to int) {
	if from >= to {
		return
	}
	if w.depth >= maxNested {
		w.hide(e, from, to) // it cannot be looked into
		return
	}
	inner := edit{src: unpercent(nil, e.src[from:to])}
	w.depth++
	w.json(&inner, 0, len(inner.src), 1, false)
	w.depth--
	if inner.out != nil {
		e.cut(from, to)
		e.out = percent(e.out, inner.end())
	}
}

// named says whether a name, such as user[password], card.number or x:token, is that of a
// secret: by any of its parts, or by the path that they are.
func (w *worker) named(name []byte, secret func([]byte) bool) bool {
	if bytes.IndexByte(name, '%') >= 0 || bytes.IndexByte(name, '+') >= 0 {
		w.value = unpercent(w.value[:0], name)
		name = w.value
	}
	if secret(bytes.TrimPrefix(name, []byte("data-"))) { // as attributes of HTML are called
		return true
	}
	for at := w.paths; len(name) > 0; {
		end := bytes.IndexAny(name, ".:[]")
		part := name
		if end >= 0 {
			part, name = name[:end], name[end+1:]
		} else {
			name = nil
		}
		if len(part) == 0 || '0' <= part[0] && part[0] <= '9' { // an array's place
			continue
		}
		if secret(part) {
			return true
		}
		if at = at.to(part); at != nil && at.leaf {
			return true
		}
	}
	return false
}

// hasParameter says whether a parameter of a query is secret.
func (w *worker) hasParameter(name []byte) bool { return w.fields.has(name) || w.query.has(name) }

// delimits are the bytes that no name of a pair holds: what stands before one.
var delimits = setOf("?&;,# \"'<>()=\t\r\n{}|\x00/")

// Where values of pairs end: in a query, where the text may go on, and elsewhere.
var (
	endsQuery = setOf("&# \"<>\t\r\n\x00")
	endsValue = setOf("&;,# \"'<>\t\r\n\x00{}")
	endsPath  = setOf("&;,# \"'<>\t\r\n\x00{}?/")
)

// place is what kind of text pairs are looked for in.
type place uint8

const (
	inText   place = iota
	inQuery        // of a URL, from its first parameter
	inTarget       // the start line of a request, or a path
)

func setOf(chars string) (set [256]bool) {
	for _, c := range []byte(chars) {
		set[c] = true
	}
	return set
}

// pairs redacts name=value wherever it stands in text between two places: in the
// queries and fragments of URLs, in parameters of headers.
func (w *worker) pairs(e *edit, from, to int, in place) {
	for i, start := from, from; i < to; start = i {
		eq := bytes.IndexByte(e.src[i:to], '=')
		if eq < 0 {
			return
		}
		eq += i
		name := eq
		for name > start && !delimits[e.src[name-1]] {
			name--
		}
		if in == inTarget && bytes.IndexByte(e.src[start:name], '?') >= 0 {
			in = inQuery
		}
		i = eq + 1
		if name == eq {
			continue
		}
		at := in
		if name > from && bytes.IndexByte([]byte("?&#"), e.src[name-1]) >= 0 {
			at = inQuery
		}
		// Where a value ends is asked only of those that are looked into, which are
		// left behind then: all others may be as long as the text.
		if w.named(e.src[name:eq], w.hasParameter) {
			first, end := valueAt(e.src[:to], eq+1, at)
			w.secretPair(e, eq, first, end)
			i = max(i, end)
		} else if startsJSON(e.src[eq+1 : to]) {
			_, end := valueAt(e.src[:to], eq+1, at)
			w.jsonPair(e, eq+1, end)
			i = max(i, end)
		}
	}
}

// valueAt returns where the value that begins at i stands; it may be in quotes.
func valueAt(src []byte, i int, in place) (first, end int) {
	if i < len(src) && (src[i] == '"' || src[i] == '\'') && in == inText {
		for end = i + 1; end < len(src) && src[end] != src[i]; end++ {
			if src[end] == '\\' {
				end++
			}
		}
		return i + 1, min(end, len(src))
	}
	ends := [...]*[256]bool{inText: &endsValue, inQuery: &endsQuery, inTarget: &endsPath}[in]
	end = i
	for end < len(src) && !ends[src[end]] {
		end++
	}
	if end < len(src) && (src[end] == '"' || src[end] == '\'') { // which may be quoted itself
		for end > i && src[end-1] == '\\' {
			end--
		}
	}
	return i, end
}

// userinfo redacts the password in URLs, or the user where there is none. At the
// end of a body that was cut off, what may be either.
func (w *worker) userinfo(e *edit) {
	for i := 0; ; {
		n := bytes.Index(e.src[i:], []byte("://"))
		if n < 0 {
			return
		}
		i += n + 3
		end := i
		for end < len(e.src) && bytes.IndexByte([]byte("/?# \"'<>\\\t\r\n"), e.src[end]) < 0 {
			end++
		}
		at := bytes.LastIndexByte(e.src[i:end], '@')
		if at < 0 {
			if !w.cut || end < len(e.src) {
				continue
			}
			at = end - i // the @ may have been cut off
		}
		if colon := bytes.IndexByte(e.src[i:i+at], ':'); colon >= 0 {
			w.hide(e, i+colon+1, i+at)
		} else {
			w.hide(e, i, i+at)
		}
	}
}

// unpercent appends text without its percent encoding, in which + is a blank.
func unpercent(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			high, ok1 := hexDigit(b[i+1])
			low, ok2 := hexDigit(b[i+2])
			if ok1 && ok2 {
				c = high<<4 | low
				i += 2
			}
		} else if c == '+' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

// percent appends text in percent encoding.
func percent(dst, b []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
