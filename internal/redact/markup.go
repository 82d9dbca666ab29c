package redact

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/content"
)

// markup redacts the text of elements of XML by their names, and the values of
// elements that another attribute names, as <input name="token" value="…">.
// Attributes are redacted by their own names with all other pairs.
func (w *worker) markup(e *edit) {
	src := e.src
	var secret []byte // the name of the element that is redacted
	labelled := false // the text of an element before said that the next one is secret
	depth := 0        // of elements of that name in it
	for i := 0; i < len(src); {
		open := bytes.IndexByte(src[i:], '<')
		if open < 0 {
			open = len(src) - i
		}
		open += i
		if secret != nil {
			w.hideText(e, i, open)
		} else if isLabel(src[:i]) && w.named(bytes.TrimSpace(src[i:open]), w.fields.has) {
			labelled = true
		}
		if open == len(src) {
			return
		}
		if data, ok := bytes.CutPrefix(src[open:], []byte("<![CDATA[")); ok {
			from := len(src) - len(data)
			end := len(src)
			if n := bytes.Index(data, []byte("]]>")); n >= 0 {
				end = from + n
			}
			if secret != nil {
				w.hideText(e, from, end)
			}
			i = min(end+len("]]>"), len(src))
			continue
		}
		end := tagEnd(src, open)
		name := tagName(src[open:end])
		i = end
		closes, alone := bytes.HasPrefix(src[open:], []byte("</")), bytes.HasSuffix(src[open:end], []byte("/>"))
		switch {
		case secret != nil && bytes.Equal(name, secret):
			if closes {
				depth--
			} else if !alone {
				depth++
			}
			if depth == 0 {
				secret = nil
			}
		case secret == nil && !closes && (w.tag(e, open, end, name) || labelled) && !alone:
			secret, depth = name, 1
			labelled = false
		}
	}
}

// tag looks at a tag that opens an element, and says whether the element's text
// is secret.
func (w *worker) tag(e *edit, from, to int, name []byte) bool {
	named := w.fields.has(local(name))
	if bytes.IndexByte(e.src[from:to], '=') < 0 {
		return named
	}
	byAttribute := e.src[to-1] != '>' // it was cut off, perhaps before the name
	var first, last int               // of the value
	for i := from + 1 + len(name); i < to; {
		eq := bytes.IndexByte(e.src[i:to], '=')
		if eq < 0 {
			break
		}
		eq += i
		start, end := valueAt(e.src[:to], eq+1, inText)
		switch key := lastWord(e.src[i:eq]); {
		case equalsAny(key, "name", "id", "key", "property"):
			byAttribute = byAttribute || w.named(e.src[start:end], w.fields.has)
		case equalsAny(key, "type"):
			byAttribute = byAttribute || equalsAny(e.src[start:end], "password")
		case equalsAny(key, "value", "content"):
			first, last = start, end
		}
		i = end + 1
	}
	if byAttribute && last > first {
		w.hide(e, first, last)
		return named
	}
	return named || byAttribute && isValue(name)
}

// isLabel says whether b ends with a tag of an element whose text names the next
// one, as <name>token</name><value>…</value> of XML-RPC and property lists.
func isLabel(b []byte) bool {
	for _, label := range [...]string{"<name>", "<key>"} {
		if bytes.HasSuffix(b, []byte(label)) {
			return true
		}
	}
	return false
}

// isValue says whether an element that is named by an attribute has its value as
// text, as <param name="token">…</param>.
func isValue(name []byte) bool {
	return equalsAny(local(name), "param", "property", "entry", "string", "int", "value", "item", "field", "attribute", "setting", "add", "textarea", "data")
}

func equalsAny(b []byte, words ...string) bool {
	for _, word := range words {
		if content.EqualFold(b, word) {
			return true
		}
	}
	return false
}

// hideText redacts text that is not blank.
func (w *worker) hideText(e *edit, from, to int) {
	text := e.src[from:to]
	from += len(text) - len(bytes.TrimLeft(text, " \t\r\n"))
	to -= len(text) - len(bytes.TrimRight(text, " \t\r\n"))
	if from < to && e.done <= from {
		w.hide(e, from, to)
	}
}

// tagEnd returns the place after a tag that opens at i, whose attributes may hold
// a > in quotes.
func tagEnd(src []byte, i int) int {
	if bytes.HasPrefix(src[i:], []byte("<!--")) {
		if n := bytes.Index(src[i:], []byte("-->")); n >= 0 {
			return i + n + 3
		}
		return len(src)
	}
	var quote byte
	for at := i + 1; at < len(src); at++ {
		switch c := src[at]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return at + 1
		case c == '<': // it was none
			return at
		case c == '"' || c == '\'':
			quote = c
		}
	}
	return len(src)
}

func tagName(tag []byte) []byte {
	tag = bytes.TrimLeft(tag, "</")
	if i := bytes.IndexAny(tag, " \t\r\n/>"); i >= 0 {
		tag = tag[:i]
	}
	return tag
}

// local cuts off the prefix of a namespace.
func local(name []byte) []byte {
	if i := bytes.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:]
	}
	return name
}

func lastWord(b []byte) []byte {
	b = bytes.TrimRight(b, " \t\r\n")
	if i := bytes.LastIndexAny(b, " \t\r\n\"'"); i >= 0 {
		b = b[i+1:]
	}
	return b
}
