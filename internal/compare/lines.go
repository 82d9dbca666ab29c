package compare

import "bytes"

// What text may have to be compared by line.
const (
	maxLines    = 4 << 10
	maxLineText = 256 << 10
)

// addText adds text: as its lines if there are few enough, else whole.
func (t *tree) addText(s span, prefix bool) {
	b := t.in(s)
	if len(b) > maxLineText || bytes.IndexByte(b, '\n') < 0 || bytes.Count(b, []byte{'\n'}) > maxLines {
		t.scalar(text, s)
		return
	}
	begun := t.begin()
	for line := range t.lines(s) {
		t.scalar(text, line)
	}
	t.endOf(begun, array, prefix)
}

// endOf is end for a body that may have been cut: then its last child is not
// whole, and is left out.
func (t *tree) endOf(begun int, f form, prefix bool) {
	is := trait(0)
	if prefix {
		is = cut
		t.open = t.open[:max(begun, len(t.open)-1)]
	}
	t.end(begun, f, is)
}

// lines goes through lines, without their ends: LF or CRLF.
func (t *tree) lines(s span) func(yield func(span) bool) {
	return func(yield func(span) bool) {
		for s.size > 0 {
			b := t.in(s)
			size := bytes.IndexByte(b, '\n')
			next := size + 1
			if size < 0 {
				size, next = len(b), len(b)
			}
			line := span{s.at, uint32(size)}
			if size > 0 && b[size-1] == '\r' {
				line.size--
			}
			if !yield(line) {
				return
			}
			s.at, s.size = s.at+uint32(next), s.size-uint32(next)
		}
	}
}

// recordSeparator begins each document of a sequence of JSON (RFC 7464).
const recordSeparator = 0x1e

// addNDJSON adds documents of JSON, one on a line. It returns false, and has
// added nothing, if one of them is none.
func (t *tree) addNDJSON(s span, prefix bool) bool {
	begun := t.begin()
	end := s.at + s.size
	for line := range t.lines(s) {
		last := line.at+line.size == end && prefix
		if line.size > 0 && t.bytes[line.at] == recordSeparator {
			line.at, line.size = line.at+1, line.size-1
		}
		if len(bytes.TrimSpace(t.in(line))) == 0 {
			continue
		}
		if last {
			break // not whole, though it may look so: 12 of 123
		}
		if !t.addJSON(line, false) {
			t.open = t.open[:begun]
			return false
		}
	}
	is := trait(0)
	if prefix {
		is = cut
	}
	t.end(begun, array, is)
	return true
}

// addEvents adds server-sent events, as HTML's living standard reads them: each
// an object of its fields.
func (t *tree) addEvents(s span, prefix bool) {
	begun := t.begin()
	event := -1 // where the fields of the event that has begun are
	data := span{}
	finish := func() {
		if event < 0 {
			return
		}
		if data.size > 0 {
			name := t.keepString("data")
			data.size-- // the last line's end
			at := t.begin()
			if !t.addJSON(data, false) {
				t.scalar(text, data)
			}
			t.named(name, at)
		}
		t.end(event, object, fields)
		event, data = -1, span{}
	}
	for line := range t.lines(s) {
		if line.size == 0 {
			finish()
			continue
		}
		if t.bytes[line.at] == ':' {
			continue // a comment, to keep the connection alive
		}
		if event < 0 {
			event = t.begin()
		}
		name, value := t.cutField(line)
		if string(t.in(name)) == "data" {
			data = t.join(data, value)
			continue
		}
		at := t.begin()
		t.scalar(text, value)
		t.named(name, at)
	}
	if prefix && event >= 0 {
		t.open = t.open[:event] // not whole
		event = -1
	}
	finish()
	is := trait(0)
	if prefix {
		is = cut
	}
	t.end(begun, array, is)
}

// cutField cuts a line at its first colon, and a space after it.
func (t *tree) cutField(line span) (name, value span) {
	b := t.in(line)
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return line, span{line.at + line.size, 0}
	}
	next := i + 1
	if next < len(b) && b[next] == ' ' {
		next++
	}
	return span{line.at, uint32(i)}, span{line.at + uint32(next), line.size - uint32(next)}
}

// join adds a line of data to those before it, with a line end behind it. They
// are kept at the end of the tree's bytes.
func (t *tree) join(data, line span) span {
	if data.size > 0 && int(data.at+data.size) != len(t.bytes) {
		data = t.keep(t.in(data))
	}
	if data.size == 0 {
		data.at = uint32(len(t.bytes))
	}
	t.bytes = append(append(t.bytes, t.in(line)...), '\n')
	data.size += line.size + 1
	return data
}
