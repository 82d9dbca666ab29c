package redact

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNested is how deep JSON may lie in strings of JSON to be looked into.
const maxNested = 3

// maxStack is how many containers deep paths are followed.
const maxStack = 1000

// frame is a container of JSON that is open.
type frame struct {
	at    *path
	array bool
}

// scanner finds members of JSON by their names, whatever stands around them: it
// reads strings and brackets, and believes nothing else.
type scanner struct {
	*worker
	e      *edit
	end    int  // of what is looked at
	events bool // lines begin with data:
	loose  bool // not JSON, or not whole: strings may begin anywhere
	lines  bool // strings may hold URLs or pairs
	depth  int  // of JSON in strings
	next   *path
}

// json redacts the members of JSON between two places, and says whether it is
// none, or not whole.
func (w *worker) json(e *edit, from, to, depth int, loose bool) bool {
	s := scanner{worker: w, e: e, end: to, depth: depth, loose: loose, next: w.paths, lines: holdsLine(e.src[from:to])}
	base := len(w.stack)
	s.scan(from, base)
	w.stack = w.stack[:base]
	return s.loose
}

// holdsLine says whether text may hold what line looks for by more than its
// looks, or strings that have to be unescaped to say.
func holdsLine(b []byte) bool {
	for _, c := range [...]byte{'=', '\\', '\'', '%'} {
		if bytes.IndexByte(b, c) >= 0 {
			return true
		}
	}
	return bytes.Contains(b, []byte("://"))
}

// lines redacts lines of JSON, each by itself.
func (w *worker) lines(e *edit) {
	for from := 0; from < len(e.src); {
		to := len(e.src)
		if i := bytes.IndexByte(e.src[from:], '\n'); i >= 0 {
			to = from + i
		}
		if isJSON(e.src[from:to]) {
			w.json(e, from, to, 0, false)
		} else {
			w.mixed(e, from, to)
		}
		from = to + 1
	}
}

// events redacts JSON in the data of events, each by itself. It may be spread
// over several lines.
func (w *worker) events(e *edit) {
	for from := 0; from < len(e.src); {
		to := len(e.src)
		for at := from; ; {
			i := bytes.IndexByte(e.src[at:], '\n')
			if i < 0 {
				break
			}
			if at += i + 1; at == len(e.src) || e.src[at] == '\n' || e.src[at] == '\r' {
				to = at
				break
			}
		}
		if isJSON(dataOf(e.src[from:to])) {
			s := scanner{worker: w, e: e, end: to, events: true, next: w.paths, lines: holdsLine(e.src[from:to])}
			base := len(w.stack)
			s.scan(from, base)
			w.stack = w.stack[:base]
		} else {
			w.mixed(e, from, to)
		}
		from = to + 1
	}
}

// dataOf returns an event from its first data on.
func dataOf(event []byte) []byte {
	if data, ok := bytes.CutPrefix(event, []byte("data:")); ok {
		return data
	}
	_, data, _ := bytes.Cut(event, []byte("\ndata:"))
	return data
}

func (s *scanner) scan(i, base int) {
	src := s.e.src[:s.end]
	for i < s.end {
		open := bytes.IndexByte(src[i:], '"')
		if open < 0 {
			return
		}
		open += i
		if s.paths != nil {
			s.brackets(src[i:open], base)
		}
		end, closed := stringEnd(src, open)
		after := s.skip(end)
		if !closed || after == s.end || src[after] != ':' {
			i = s.value(open, end, after, closed)
			continue
		}
		i = after + 1
		if s.secret(src[open+1:end-1], base) {
			i = s.redact(i)
		}
	}
}

// value looks at a string that is no name, and returns where to go on.
func (s *scanner) value(open, end, after int, closed bool) int {
	src := s.e.src
	if !s.loose && (!closed || after < s.end && bytes.IndexByte([]byte(",]}"), src[after]) < 0 && after == s.skipBlanks(end)) {
		s.loose = true // quotes are out of step
	}
	to := end
	if closed {
		to--
	}
	cut := s.cut
	s.worker.cut = cut && !closed
	s.inString(open+1, to)
	s.worker.cut = cut
	if s.loose && closed {
		return end - 1 // its last quote may be another's first
	}
	return end
}

// inString redacts what is secret in the text of a string: members of JSON that
// lies in it, pairs and URLs.
func (s *scanner) inString(from, to int) {
	text := s.e.src[from:to]
	if !s.lines || !holdsLine(text) {
		return
	}
	escaped := bytes.IndexByte(text, '\\') >= 0
	if escaped {
		text = s.unescaped(text)
	}
	var hidden []byte
	switch quoted := escaped && bytes.IndexByte(text, '"') >= 0; {
	case quoted && s.depth >= maxNested:
		s.hide(s.e, from, to) // it cannot be looked into
		return
	case quoted:
		e := edit{src: text}
		whole := isJSON(text)
		s.worker.json(&e, 0, len(text), s.depth+1, !whole)
		if hidden = e.end(); whole {
			hidden = s.urls(hidden)
		} else {
			hidden = s.line(hidden, inText)
		}
	default:
		hidden = s.line(text, inText)
	}
	if same(hidden, text) {
		return
	}
	s.e.cut(from, to)
	if escaped {
		s.e.out = escape(s.e.out, hidden)
	} else {
		s.e.out = append(s.e.out, hidden...)
	}
}

// unescaped returns the text of a string that has escapes.
func (s *scanner) unescaped(text []byte) []byte {
	if s.depth > 0 { // the worker's room holds the JSON around this
		return unescape(nil, text)
	}
	s.worker.nested = unescape(s.worker.nested[:0], text)
	return s.worker.nested
}

// brackets follows containers that begin and end.
func (s *scanner) brackets(between []byte, base int) {
	for _, c := range between {
		switch c {
		case '{', '[':
			at := s.next
			if n := len(s.stack); n > base && s.stack[n-1].array {
				at = s.stack[n-1].at
			}
			if len(s.stack)-base >= maxStack {
				s.loose = true
				continue
			}
			s.worker.stack = append(s.worker.stack, frame{at, c == '['})
			s.next = nil
		case '}', ']':
			if n := len(s.stack); n > base {
				s.worker.stack = s.stack[:n-1]
			}
			if len(s.stack) == base {
				s.next = s.paths
			}
		}
	}
}

// secret says whether the value of a name is redacted.
func (s *scanner) secret(name []byte, base int) bool {
	if bytes.IndexByte(name, '\\') >= 0 {
		s.worker.value = unescape(s.worker.value[:0], name)
		name = s.worker.value
	}
	if s.paths != nil {
		s.next = nil
		if n := len(s.stack); n > base {
			if s.next = s.stack[n-1].at.to(name); s.next != nil && s.next.leaf {
				return true
			}
		}
		if s.loose && s.leaves.has(name) {
			return true
		}
	}
	return s.fields.has(name)
}

// redact redacts the value that begins at i, after a colon, with all that it
// holds but names, and returns where it ends. Empty strings and null are kept:
// they say that there is no secret.
func (s *scanner) redact(i int) int {
	src := s.e.src[:s.end]
	for depth := 0; ; {
		if i = s.skip(i); i >= s.end {
			return s.end
		}
		switch c := src[i]; c {
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ':':
			if depth == 0 {
				return i
			}
			i++
			continue // a value follows
		case '"':
			end, closed := stringEnd(src, i)
			if after := s.skip(end); depth == 0 || !closed || after == s.end || src[after] != ':' {
				s.string(i, end, closed)
			}
			i = end
		default:
			end := literalEnd(src, i)
			s.literal(i, end)
			i = end
		}
		if depth == 0 {
			return i
		}
	}
}

func (s *scanner) string(open, end int, closed bool) {
	to := end
	if closed {
		to--
	}
	value := s.e.src[open+1 : to]
	if len(value) == 0 || isOurs(value) {
		return
	}
	if bytes.IndexByte(value, '\\') >= 0 {
		s.worker.value = unescape(s.worker.value[:0], value)
		value = s.worker.value
	}
	s.e.cut(open+1, to)
	s.e.out = s.token(s.e.out, text, value)
}

// literal redacts what is no string: it becomes one.
func (s *scanner) literal(from, to int) {
	value := s.e.src[from:to]
	k := number
	switch string(value) {
	case "null":
		return
	case "true", "false":
		k = boolean
	}
	s.e.cut(from, to)
	s.e.out = append(s.token(append(s.e.out, '"'), k, value), '"')
}

func (s *scanner) skipBlanks(i int) int {
	for i < s.end && (s.e.src[i] == ' ' || s.e.src[i] == '\t') {
		i++
	}
	return i
}

// skip returns where the next byte is that means something.
func (s *scanner) skip(i int) int {
	src := s.e.src
	for i < s.end && (src[i] == ' ' || src[i] == '\n' || src[i] == '\r' || src[i] == '\t') {
		i++
		if s.events && src[i-1] == '\n' && bytes.HasPrefix(src[i:s.end], []byte("data:")) {
			i += len("data:")
		}
	}
	return i
}

// stringEnd returns the place after the string that opens at i; closed is false
// if it has no end.
func stringEnd(src []byte, i int) (end int, closed bool) {
	for at := i + 1; ; {
		n := bytes.IndexByte(src[at:], '"')
		if n < 0 {
			return len(src), false
		}
		at += n
		back := at
		for back > i+1 && src[back-1] == '\\' {
			back--
		}
		if at++; (at-1-back)%2 == 0 {
			return at, true
		}
	}
}

// literalEnd returns where a number, or something that is no JSON, ends.
func literalEnd(src []byte, i int) int {
	end := i + 1
	for end < len(src) && bytes.IndexByte([]byte(",}]\r\n\""), src[end]) < 0 {
		end++
	}
	for end > i+1 && (src[end-1] == ' ' || src[end-1] == '\t') {
		end--
	}
	return end
}

// unescape appends the text of a string of JSON. What is no escape stays as it
// is.
func unescape(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			dst = append(dst, b[i])
			continue
		}
		i++
		switch c := b[i]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, ok := hex4(b[i+1:])
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && len(b) > i+2 && b[i+1] == '\\' && b[i+2] == 'u' {
				if low, ok := hex4(b[i+3:]); ok {
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						r = pair
						i += 6
					}
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		digit, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// escape appends text as the inside of a string of JSON.
func escape(dst, b []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
