package redact

import (
	"bytes"
	"encoding/binary"

	"github.com/understudy-proxy/understudy/internal/content"
)

// The wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

// frames redacts the messages of gRPC.
func (w *worker) frames(data []byte, json bool) []byte {
	e := edit{src: data}
	at := 0 // where the message begins, with its prefix
	for f := range content.Frames(data) {
		before := f.Data
		switch {
		case len(f.Data) == 0:
		case f.Packed:
			f.Data, f.Packed = w.token(nil, whole, f.Data), false
		case f.Trailer:
			f.Data = w.head(f.Data, false)
		case json:
			f.Data = w.plain(content.JSON, f.Data)
		default:
			f.Data = w.message(f.Data)
		}
		end := at + content.FramePrefix + len(before)
		if !same(before, f.Data) {
			e.cut(at, end)
			e.out = content.AppendFrame(e.out, f)
		}
		at = end
	}
	return e.end()
}

// same says whether two slices are the same memory.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// message redacts a message of protobuf.
func (w *worker) message(b []byte) []byte {
	if isOurs(b) {
		return b
	}
	b = w.overwrite(b)
	for _, fields := range w.numbers {
		if out, ok := w.fieldsOf(b, fields); ok {
			b = out
		} else {
			return w.token(nil, whole, b) // it is no such message
		}
	}
	return b
}

// fieldsOf redacts fields of a message, and returns b itself if it has none of
// them. A message that was cut off is redacted to its end. It returns false if b
// is no message.
func (w *worker) fieldsOf(b []byte, fields *numbers) (out []byte, ok bool) {
	e := edit{src: b}
	for i := 0; i < len(b); {
		tag, n := binary.Uvarint(b[i:])
		if n == 0 {
			break // cut off
		}
		if n < 0 || tag>>3 == 0 || tag>>3 > maxField {
			return nil, false
		}
		at := fields.next[tag>>3]
		from := i + n
		size, whole, ok := fieldSize(b[from:], tag&7)
		if !ok {
			return nil, false
		}
		i = from + size
		if at == nil {
			continue
		}
		switch wire := tag & 7; {
		case wire == wireBytes:
			w.bytesField(&e, from, i, whole, at)
		case at.leaf:
			if wire == wireFixed32 {
				w.shortField(&e, i-size-n, from, i)
			} else {
				w.numberField(&e, from, i, wire)
			}
		}
	}
	return e.end(), true
}

// fieldSize returns how many bytes the value of a field has, without its tag, as
// far as they are there. A group is no value: what is in it counts as the
// message's own.
func fieldSize(b []byte, wire uint64) (size int, whole, ok bool) {
	switch wire {
	case wireVarint:
		_, n := binary.Uvarint(b)
		if n == 0 {
			return len(b), false, true
		}
		return n, true, n > 0
	case wireFixed64:
		return min(8, len(b)), len(b) >= 8, true
	case wireFixed32:
		return min(4, len(b)), len(b) >= 4, true
	case wireBytes:
		length, n := binary.Uvarint(b)
		if n <= 0 {
			return len(b), false, n == 0
		}
		if length > uint64(len(b)-n) {
			return len(b), false, true
		}
		return n + int(length), true, true
	case wireGroup, wireEnd:
		return 0, true, true
	}
	return 0, false, false
}

// bytesField redacts a field with a length, which stands between two places.
func (w *worker) bytesField(e *edit, from, to int, whole bool, at *numbers) {
	length, n := binary.Uvarint(e.src[from:to])
	if n <= 0 {
		return
	}
	value := e.src[from+n : to]
	hidden := value
	if !at.leaf {
		var ok bool
		if hidden, ok = w.fieldsOf(value, at); !ok {
			hidden = nil
		}
	}
	if at.leaf || hidden == nil && len(value) > 0 {
		hidden = w.token(nil, text, value)
	}
	if bytes.Equal(hidden, value) {
		return
	}
	e.cut(from, to)
	size := uint64(len(hidden))
	if !whole {
		size += length - uint64(len(value)) // as much is missing as before
	}
	e.out = append(binary.AppendUvarint(e.out, size), hidden...)
}

// numberField redacts a number by another, drawn from its keyed hash. Of one that
// was cut off nothing is left.
func (w *worker) numberField(e *edit, from, to int, wire uint64) {
	value := e.src[from:to]
	number, n := binary.Uvarint(value)
	if wire == wireFixed64 {
		if n = 0; len(value) == 8 {
			number, n = binary.LittleEndian.Uint64(value), 8
		}
	}
	if len(value) == 0 || n > 0 && number>>32 == marked {
		return
	}
	e.cut(from, to)
	drawn := w.markedNumber(value)
	switch {
	case n <= 0:
	case wire == wireFixed64:
		e.out = binary.LittleEndian.AppendUint64(e.out, drawn)
	default:
		e.out = binary.AppendUvarint(e.out, drawn)
	}
}

// shortField redacts a number of 32 bits with its tag. There is no room in it for
// a mark, so it becomes a field of bytes.
func (w *worker) shortField(e *edit, tagAt, from, to int) {
	tag, _ := binary.Uvarint(e.src[tagAt:])
	e.cut(tagAt, to)
	e.out = binary.AppendUvarint(e.out, tag&^7|wireBytes)
	if to-from < 4 {
		return // cut off
	}
	token := w.token(w.value[:0], number, e.src[from:to])
	e.out = append(append(e.out, byte(len(token))), token...)
}
