package content

import (
	"bytes"
	"iter"
)

// Fields yields the fields of a head, as names and values, in their order. Names
// are as received; values have no blanks around them. The start line is skipped;
// so are lines that are no fields. A value that continues on lines that begin
// with a blank (RFC 9112 §5.2) has these line ends within. The slices are the
// head's own memory.
func Fields(head []byte) iter.Seq2[[]byte, []byte] {
	return Lines(afterStart(head))
}

// Lines yields the fields of a head without its start line, or of a trailer, as
// [Fields] does.
func Lines(fields []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(fields) > 0 {
			var line []byte
			line, fields = nextField(fields)
			name, value, ok := splitField(line)
			if ok && !yield(name, value) {
				return
			}
		}
	}
}

// Lookup returns the value of the first field of a head with that name, in
// whatever case.
func Lookup(head []byte, name string) ([]byte, bool) {
	return LookupLine(afterStart(head), name)
}

// LookupLine is Lookup for a head without its start line, or a trailer.
func LookupLine(fields []byte, name string) ([]byte, bool) {
	for len(fields) > 0 {
		var line []byte
		line, fields = nextField(fields)
		if len(line) <= len(name) || !EqualFold(line[:len(name)], name) {
			continue
		}
		if n, value, ok := splitField(line); ok && len(n) == len(name) {
			return value, true
		}
	}
	return nil, false
}

// Parameter returns the value of a parameter of a field's value, such as charset
// of Content-Type, without quotes; nil if there is none. A quoted value with
// escapes is returned with them.
func Parameter(value []byte, name string) []byte {
	_, rest := cutParameter(value)
	for len(rest) > 0 {
		var item []byte
		item, rest = cutParameter(rest)
		key, v, ok := bytes.Cut(item, []byte("="))
		if !ok || !EqualFold(trim(key), name) {
			continue
		}
		if v = trim(v); len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			return v[1 : len(v)-1]
		}
		return v
	}
	return nil
}

// unescaped undoes the escapes of a quoted value. Without any it returns b itself.
func unescaped(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		out = append(out, b[i])
	}
	return out
}

// cutParameter splits at the first semicolon outside of quotes.
func cutParameter(b []byte) (item, rest []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			quoted = !quoted
		case b[i] == '\\' && quoted:
			i++
		case b[i] == ';' && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// afterStart returns what follows the first line.
func afterStart(head []byte) []byte {
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return head[i+1:]
	}
	return nil
}

// nextField cuts off a line with those that continue it.
func nextField(b []byte) (line, rest []byte) {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return b, nil
		}
		from += i + 1
		if from == len(b) || b[from] != ' ' && b[from] != '\t' {
			return b[:from], b[from:]
		}
	}
}

func splitField(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 || blank(line[0]) {
		return nil, nil, false
	}
	return trim(line[:i]), trim(line[i+1:]), true
}

// trim cuts off blanks and line ends.
func trim(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// EqualFold says whether b is the ASCII text s, whatever the case of its letters.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
