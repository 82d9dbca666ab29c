package grpc

import "encoding/binary"

// prefixSize is how many bytes come before each message: whether it is
// compressed, and its length.
const prefixSize = 5

// Messages finds the messages in one direction of a call, so that it can be cut
// between two of them. It is a value; the zero value is ready.
type Messages struct {
	prefix [prefixSize]byte
	have   int   // bytes of prefix, all of them while in a message
	left   int64 // bytes of the message that are still to come
}

// Part is what Next has found.
type Part uint8

// The parts of a message. They come in this order.
const (
	Begun  Part = iota // some bytes of a prefix, see Prefix
	Prefix             // the rest of a prefix: a message begins, see Size
	Data               // bytes of the message
)

// Next reads p, which is not empty, the bytes that follow what was read before.
// It uses n of them, more than none, which are one part.
func (m *Messages) Next(p []byte) (n int, part Part) {
	if m.left > 0 {
		n = int(min(m.left, int64(len(p))))
		m.left -= int64(n)
		return n, Data
	}
	if m.have == prefixSize {
		m.have = 0
	}
	n = copy(m.prefix[m.have:], p)
	if m.have += n; m.have < prefixSize {
		return n, Begun
	}
	m.left = int64(binary.BigEndian.Uint32(m.prefix[1:]))
	return n, Prefix
}

// Prefix returns the bytes of the prefix that was found last, as far as they
// have come; none before the first message, and valid until the next call.
func (m *Messages) Prefix() []byte { return m.prefix[:m.have] }

// Size returns the length of a message that has just begun, with its prefix.
func (m *Messages) Size() int64 { return prefixSize + m.left }

// Pending returns the bytes of a prefix that is not whole.
func (m *Messages) Pending() []byte {
	if m.have == prefixSize {
		return nil
	}
	return m.prefix[:m.have]
}
