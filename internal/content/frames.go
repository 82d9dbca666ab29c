package content

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// FramePrefix is the size of what comes before each message of gRPC: a flag and
// the length.
const FramePrefix = 5

// Frame is one message of gRPC.
type Frame struct {
	Data    []byte
	Packed  bool // it is still compressed: by an encoding that is unknown
	Trailer bool // of gRPC-Web: Data are field lines
	Whole   bool // false: it was cut off
}

// Frames yields the messages in a body of the kind GRPC, in their order.
func Frames(data []byte) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for {
			f, rest, ok := nextFrame(data)
			if !ok || !yield(f) {
				return
			}
			data = rest
		}
	}
}

func nextFrame(data []byte) (f Frame, rest []byte, ok bool) {
	if len(data) < FramePrefix {
		return Frame{}, nil, false
	}
	size := uint64(binary.BigEndian.Uint32(data[1:]))
	f = Frame{Packed: data[0]&1 != 0, Trailer: data[0]&0x80 != 0, Data: data[FramePrefix:]}
	if f.Whole = size <= uint64(len(f.Data)); f.Whole {
		f.Data = f.Data[:size:size]
	}
	return f, data[FramePrefix+len(f.Data):], true
}

// AppendFrame appends a message of gRPC with its prefix. One that is not whole
// claims a byte more than it has.
func AppendFrame(dst []byte, f Frame) []byte {
	var flag byte
	if f.Packed {
		flag |= 1
	}
	if f.Trailer {
		flag |= 0x80
	}
	size := len(f.Data)
	if !f.Whole {
		size++
	}
	dst = binary.BigEndian.AppendUint32(append(dst, flag), uint32(size))
	return append(dst, f.Data...)
}

// unpack undoes the compression of single messages, as grpc-encoding names it.
func (b *Body) unpack(coding []byte, limit int64) {
	if !hasPacked(b.Data) {
		return
	}
	var out []byte
	for f := range Frames(b.Data) {
		room := limit - int64(len(out))
		if room <= 0 {
			b.Cut = true
			break
		}
		if f.Packed && len(f.Data) > 0 {
			f = b.unpackFrame(f, coding, room)
		}
		out = AppendFrame(out, f)
	}
	b.Data, b.Encoded = out, true
}

func (b *Body) unpackFrame(f Frame, coding []byte, room int64) Frame {
	data, cut, err := inflate(coding, f.Data, room)
	if err != nil && (f.Whole || !errors.Is(err, io.ErrUnexpectedEOF)) {
		b.Err = fmt.Errorf("grpc-encoding %q: %w", coding, err)
	}
	if err != nil && len(data) == 0 {
		return f
	}
	b.Cut = b.Cut || cut
	return Frame{Data: data, Trailer: f.Trailer, Whole: f.Whole && !cut && err == nil}
}

// unpackText undoes the base64 of gRPC-Web's text. What is none stays text.
func (b *Body) unpackText(declared []byte) {
	declared = trim(declared)
	if len(declared) < len(grpcWebText) || !EqualFold(declared[:len(grpcWebText)], grpcWebText) {
		return
	}
	text := make([]byte, 0, len(b.Data))
	for _, c := range b.Data {
		if !blank(c) {
			text = append(text, c)
		}
	}
	if b.Cut {
		text = text[:len(text)&^3]
	}
	data := make([]byte, 0, base64.StdEncoding.DecodedLen(len(text)))
	for len(text) > 0 {
		group, rest := text, []byte(nil)
		if end := bytes.IndexByte(text, '='); end >= 0 {
			end = min((end+4)&^3, len(text))
			group, rest = text[:end], text[end:]
		}
		decoded, err := base64.StdEncoding.AppendDecode(data, group)
		if err != nil {
			b.Kind = Text
			return
		}
		data, text = decoded, rest
	}
	b.Data, b.base64 = data, true
}

func hasPacked(data []byte) bool {
	for {
		f, rest, ok := nextFrame(data)
		if !ok || f.Packed {
			return ok
		}
		data = rest
	}
}
