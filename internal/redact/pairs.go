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
	value := e.src[eq+1 : to]
	switch {
	case len(value) == 0 || isOurs(value):
	case w.named(e.src[from:eq], secret):
		w.value = unpercent(w.value[:0], value, true)
		e.cut(eq+1, to)
		e.out = w.token(e.out, text, w.value)
	case w.depth >= maxNested:
	case value[0] == '{' || value[0] == '[' || bytes.HasPrefix(value, []byte("%7B")) || bytes.HasPrefix(value, []byte("%5B")) ||
		bytes.HasPrefix(value, []byte("%7b")) || bytes.HasPrefix(value, []byte("%5b")):
		inner := edit{src: unpercent(nil, value, true)}
		w.depth++
		w.json(&inner, 0, len(inner.src), 1, false)
		w.depth--
		if inner.out != nil {
			e.cut(eq+1, to)
			e.out = percent(e.out, inner.end())
		}
	}
}

// named says whether a name, such as user[password] or card.number, is that of a
// secret: by any of its parts, or by the path that they are.
func (w *worker) named(name []byte, secret func([]byte) bool) bool {
	if bytes.IndexByte(name, '%') >= 0 || bytes.IndexByte(name, '+') >= 0 {
		w.value = unpercent(w.value[:0], name, true)
		name = w.value
	}
	if secret(name) {
		return true
	}
	for at := w.paths; len(name) > 0; {
		end := bytes.IndexAny(name, ".[]")
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
	for i, start := from, from; i < to; {
		eq := bytes.IndexByte(e.src[i:to], '=')
		if eq < 0 {
			return
		}
		eq += i
		name := eq
		for name > start && !delimits[e.src[name-1]] {
			name--
		}
		if in == inTarget && bytes.IndexByte(e.src[from:name], '?') >= 0 {
			in = inQuery
		}
		at := in
		if name > from && bytes.IndexByte([]byte("?&#"), e.src[name-1]) >= 0 {
			at = inQuery
		}
		first, end := valueAt(e.src[:to], eq+1, at)
		if name < eq && first < end {
			w.pairAt(e, name, eq, first, end)
		}
		i = eq + 1
		if e.done > i { // do not look into what was replaced
			i = e.done
		}
		start = i
	}
}

func (w *worker) pairAt(e *edit, name, eq, first, end int) {
	if first == eq+1 {
		w.pair(e, name, eq, end, w.hasParameter)
		return
	}
	if w.named(e.src[name:eq], w.hasParameter) {
		w.hide(e, first, end)
	}
}

// valueAt returns where the value that begins at i stands; it may be in quotes.
func valueAt(src []byte, i int, in place) (first, end int) {
	if i < len(src) && (src[i] == '"' || src[i] == '\'') && in == inText {
		if n := bytes.IndexByte(src[i+1:], src[i]); n >= 0 {
			return i + 1, i + 1 + n
		}
		return i + 1, len(src)
	}
	ends := [...]*[256]bool{inText: &endsValue, inQuery: &endsQuery, inTarget: &endsPath}[in]
	end = i
	for end < len(src) && !ends[src[end]] {
		end++
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

// unpercent appends text without its percent encoding; plus says that + is a
// blank.
func unpercent(dst, b []byte, plus bool) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			high, ok1 := hexDigit(b[i+1])
			low, ok2 := hexDigit(b[i+2])
			if ok1 && ok2 {
				c = high<<4 | low
				i += 2
			}
		} else if c == '+' && plus {
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
