package spool

// Inbox holds bytes that were read from a socket and could not be used yet: a
// part of a head, or a request that was pipelined behind another. The zero
// value is empty and holds no block.
type Inbox struct {
	buf *Buffer
	off int
}

// Len returns how many bytes wait.
func (in *Inbox) Len() int {
	if in.buf == nil {
		return 0
	}
	return in.buf.used - in.off
}

// Bytes returns the bytes that wait, valid until the next call.
func (in *Inbox) Bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.data[in.off:in.buf.used]
}

// Room returns at least n bytes of room behind what waits, moving it to a
// larger block of p if need be. Grow says how many were filled.
func (in *Inbox) Room(p *Pool, n int) []byte {
	if in.buf == nil {
		in.buf = p.Get(n)
		in.off = 0
	}
	if len(in.buf.data)-in.buf.used < n {
		b := p.Get(in.Len() + n)
		b.used = copy(b.data, in.Bytes())
		in.buf.Release()
		in.buf, in.off = b, 0
	}
	return in.buf.data[in.buf.used:]
}

// Grow adds n bytes that were written into Room.
func (in *Inbox) Grow(n int) { in.buf.used += n }

// Keep adds a copy of b.
func (in *Inbox) Keep(p *Pool, b []byte) {
	if len(b) > 0 {
		in.Grow(copy(in.Room(p, len(b)), b))
	}
}

// Discard takes n bytes from the front; an empty inbox holds no block. An inbox
// that was reset since Bytes stays empty: whoever used the bytes may have closed
// the connection that they came from.
func (in *Inbox) Discard(n int) {
	if n == 0 || in.buf == nil {
		return
	}
	if in.off += n; in.off >= in.buf.used {
		in.Reset()
	}
}

// Reset empties the inbox.
func (in *Inbox) Reset() {
	if in.buf != nil {
		in.buf.Release()
		in.buf, in.off = nil, 0
	}
}
