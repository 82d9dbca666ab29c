package redact

import (
	"bytes"
	"encoding/base64"
	"html"

	"github.com/understudy-proxy/understudy/internal/content"
)

// mixed redacts text between two places that is of no kind: there may be JSON in
// it, pairs and URLs.
func (w *worker) mixed(e *edit, from, to int) {
	text := e.src[from:to]
	if hidden := w.loose(text); !same(hidden, text) {
		e.cut(from, to)
		e.out = append(e.out, hidden...)
	}
}

// loose is mixed for text by itself.
func (w *worker) loose(text []byte) []byte {
	e := edit{src: text}
	w.json(&e, 0, len(text), 0, true)
	return w.line(e.end(), inText)
}

// isJSON says whether text begins as JSON with a name or more than one value does.
func isJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n\x1e")
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return len(b) > 0 && b[0] == '"'
	}
	next := bytes.TrimLeft(b[1:], " \t\r\n")
	switch {
	case len(next) == 0:
		return true
	case b[0] == '{':
		return next[0] == '"' || next[0] == '}'
	}
	for _, literal := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(next, []byte(literal)) {
			return true
		}
	}
	return bytes.IndexByte([]byte(`{["]-0123456789`), next[0]) >= 0
}

// kindOf returns as what a body is looked into that says to be of a kind: it may
// be something else, such as JSON that is sent as a form because that is what
// curl says of all it sends.
func kindOf(k content.Kind, b []byte) content.Kind {
	start := bytes.TrimLeft(b, " \t\r\n")
	if len(start) == 0 {
		return k
	}
	switch k {
	case content.JSON, content.NDJSON:
		if isJSON(start) {
			return k
		}
	case content.Form:
		if bytes.IndexByte([]byte("{[\"<"), start[0]) < 0 {
			return k
		}
		if isJSON(start) {
			return content.JSON
		}
	case content.Text:
		if isForm(start) {
			return content.Form
		}
		return k
	default:
		return k
	}
	if start[0] == '<' {
		return content.XML
	}
	return content.Text
}

// isForm says whether text has several pairs, and nothing that forms do not have.
func isForm(b []byte) bool {
	return bytes.IndexByte(b, '&') > 0 && bytes.IndexByte(b, '=') > 0 && !bytes.ContainsAny(b, " \t\r\n\"'<>{}")
}

// endsRun are the bytes that no percent-encoded text holds.
var endsRun = setOf("&# \"'<>()=?;,\t\r\n{}|\\\x00")

// encoded redacts what is secret in percent-encoded text within other text, as a
// URL that is a parameter of another.
func (w *worker) encoded(b []byte) []byte {
	e := edit{src: b}
	for i := 0; w.depth < maxNested; {
		n := bytes.IndexByte(b[i:], '%')
		if n < 0 {
			break
		}
		from, to := i+n, i+n
		for from > i && !endsRun[b[from-1]] {
			from--
		}
		for to < len(b) && !endsRun[b[to]] {
			to++
		}
		i = to
		if !holdsEncoded(b[from:to]) {
			continue
		}
		text := unpercent(nil, b[from:to])
		w.depth++
		inner := edit{src: text}
		w.json(&inner, 0, len(text), 1, true)
		hidden := w.line(inner.end(), inText)
		w.depth--
		if !same(hidden, text) {
			e.cut(from, to)
			e.out = percent(e.out, hidden)
		}
	}
	return e.end()
}

// holdsEncoded says whether percent-encoded text has a =, a : or a quote in it,
// without which there is nothing to find.
func holdsEncoded(b []byte) bool {
	for {
		n := bytes.IndexByte(b, '%')
		if n < 0 || n+2 >= len(b) {
			return false
		}
		if equalsAny(b[n+1:n+3], "3d", "3a", "22", "25") {
			return true
		}
		b = b[n+1:]
	}
}

// literals redacts what stands in quotes behind a secret name and a colon, an
// equals sign or an arrow: in GraphQL, in programs, in what they log.
func (w *worker) literals(b []byte) []byte {
	e := edit{src: b}
	double, single := nextByte(b, 0, '"'), nextByte(b, 0, '\'')
	for i := 0; ; {
		if double < i {
			double = nextByte(b, i, '"')
		}
		if single < i {
			single = nextByte(b, i, '\'')
		}
		open := min(double, single)
		if open == len(b) {
			return e.end()
		}
		i = open + 1
		name := nameBefore(b[:open])
		if name == nil || !w.named(name, w.fields.has) {
			continue
		}
		end := quoteEnd(b, open)
		w.hide(&e, open+1, end)
		i = max(i, end)
		if i < len(b) && b[i] == b[open] {
			i++
		}
	}
}

// nextByte returns where c is at or after i, or the end.
func nextByte(b []byte, i int, c byte) int {
	if n := bytes.IndexByte(b[i:], c); n >= 0 {
		return i + n
	}
	return len(b)
}

// settings redacts what follows a secret name and a colon or an equals sign to the
// end of its line, as in YAML, in files of settings, and in heads that a server
// sends back.
func (w *worker) settings(e *edit) {
	for from := 0; from < len(e.src); {
		to := nextByte(e.src, from, '\n')
		line := e.src[from:to]
		at := len(line) - len(bytes.TrimLeft(line, " \t-"))
		end := at
		for end < len(line) && nameChars[line[end]] {
			end++
		}
		sign := len(line) - len(bytes.TrimLeft(line[end:], " \t"))
		if end > at && sign < len(line) && (line[sign] == ':' || line[sign] == '=') && w.setting(line[at:end]) {
			w.settingValue(e, from+sign+1, to)
		}
		from = to + 1
	}
}

// setting says whether a name is that of a secret, or of a header that is.
func (w *worker) setting(name []byte) bool {
	return w.named(name, w.fields.has) || w.headers.has(name)
}

// settingValue redacts the value between two places, unless it is in quotes or
// JSON, which are looked for everywhere, or a pair of a query.
func (w *worker) settingValue(e *edit, from, to int) {
	text := e.src[from:to]
	from += len(text) - len(bytes.TrimLeft(text, " \t"))
	to -= len(text) - len(bytes.TrimRight(text, " \t\r"))
	if from >= to || bytes.IndexByte([]byte("\"'{["), e.src[from]) >= 0 || e.src[from-1] == '=' {
		return
	}
	w.hide(e, from, to)
}

// nameBefore returns the name of what begins at the end of b, nil if it has none.
func nameBefore(b []byte) []byte {
	if n := len(b); n > 1 && b[n-1] == '=' && nameChars[b[n-2]] {
		return nil // a pair, which was looked at
	}
	b = trimBlanks(b)
	switch {
	case bytes.HasSuffix(b, []byte("=>")):
		b = b[:len(b)-2]
	case bytes.HasSuffix(b, []byte(":")), bytes.HasSuffix(b, []byte("=")):
		b = b[:len(b)-1]
	default:
		return nil
	}
	b = trimBlanks(b)
	if n := len(b); n > 0 && (b[n-1] == '"' || b[n-1] == '\'') {
		b = b[:n-1]
	}
	from := len(b)
	for from > 0 && len(b)-from <= maxName && nameChars[b[from-1]] {
		from--
	}
	if from == len(b) {
		return nil
	}
	return b[from:]
}

var nameChars = setOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.$")

// trimBlanks cuts off some blanks at the end: nobody writes more of them there.
func trimBlanks(b []byte) []byte {
	for range 16 {
		if n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t') {
			b = b[:n-1]
		}
	}
	return b
}

// quoteEnd returns where the text ends whose quote opens at i: at the same quote
// without a backslash before it, or with the line.
func quoteEnd(b []byte, i int) int {
	end := i + 1
	for end < len(b) && b[end] != b[i] && b[end] != '\n' {
		if b[end] == '\\' {
			end++
		}
		end++
	}
	return min(end, len(b))
}

// entities redacts JSON in markup whose quotes are entities, as it stands in
// attributes.
func (w *worker) entities(b []byte) []byte {
	e := edit{src: b}
	for i, begin := 0, 0; ; {
		n := bytes.IndexByte(b[i:], '&')
		if n < 0 {
			return e.end()
		}
		from, to := i+n, i+n
		i = to + 1
		if !isQuote(b[to:]) {
			continue
		}
		for from > begin && !endsMarkup[b[from-1]] {
			from--
		}
		for to < len(b) && !endsMarkup[b[to]] {
			to++
		}
		i, begin = to, to
		text := []byte(html.UnescapeString(string(b[from:to])))
		inner := edit{src: text}
		w.json(&inner, 0, len(text), 1, true)
		if inner.out != nil {
			e.cut(from, to)
			e.out = append(e.out, html.EscapeString(string(inner.end()))...)
		}
	}
}

// isQuote says whether b begins with the entity of a quote.
func isQuote(b []byte) bool {
	for _, entity := range [...]string{"&quot;", "&#34;", "&#x22;"} {
		if bytes.HasPrefix(b, []byte(entity)) {
			return true
		}
	}
	return false
}

var endsMarkup = setOf("<>\"'")

// The beginnings of an object of JSON, and of a list of them, in base64.
var packedJSON = [...]string{"eyJ", "W3si"}

// packed redacts JSON that stands in text as base64 and has secrets in it.
func (w *worker) packed(b []byte) []byte {
	for _, begin := range packedJSON {
		e := edit{src: b}
		for i := 0; ; {
			n := bytes.Index(b[i:], []byte(begin))
			if n < 0 {
				break
			}
			from := i + n
			i = run(b, from, &base64Chars)
			to := i
			for i < len(b) && b[i] == '=' && i < to+2 {
				i++
			}
			if from == 0 || !base64Chars[b[from-1]] {
				w.unpack(&e, from, to, i)
			}
		}
		b = e.end()
	}
	return b
}

var base64Chars = setOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/-_")

// unpack puts a token in the place of JSON in base64, whose padding begins at pad,
// if something in it is secret: within the base64 nobody would see the token.
func (w *worker) unpack(e *edit, from, pad, to int) {
	const shortest = 16
	text := e.src[from:pad]
	if len(text) < shortest || w.depth >= maxNested {
		return
	}
	encoding := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	if len(text)%4 == 1 {
		text = text[:len(text)-1] // it was cut off
	}
	plain := make([]byte, encoding.DecodedLen(len(text)))
	n, err := encoding.Decode(plain, text)
	if err != nil && n == 0 {
		return
	}
	inner := edit{src: plain[:n]}
	w.depth++
	w.json(&inner, 0, n, 1, false)
	w.depth--
	if inner.out != nil {
		w.hide(e, from, to)
	}
}
