package spool

import "unsafe"

// Queue holds, in order, the bytes that wait for one socket. The zero value is
// empty and needs Pool before the first byte is added.
type Queue struct {
	Pool *Pool

	spans []span
	first int // spans before it are gone
	size  int
	held  int
}

// span is a part of a block. The queue retains the block once per span.
type span struct {
	buf      *Buffer
	off, end int
	own      bool // the queue filled the block and may go on filling it
}

// shareFrom is the size from which bytes of a shared block are referenced
// rather than copied. Below it a copy costs less than the block that a
// reference would pin.
const shareFrom = 16 << 10

// Len returns the number of bytes that wait.
func (q *Queue) Len() int { return q.size }

// Held returns the bytes of memory that the queue keeps from being reused:
// the sizes of the blocks, not of the parts in use.
func (q *Queue) Held() int { return q.held }

// Add appends p. If p lies in block b and is large, b is shared; otherwise the
// bytes are copied. b may be nil.
func (q *Queue) Add(p []byte, b *Buffer) {
	if b == nil || len(p) < shareFrom {
		q.Copy(p)
		return
	}
	// Where p starts in the block cannot be told from its capacity: a decoder
	// may have cut that off, so that nobody appends into what follows.
	off := int(uintptr(unsafe.Pointer(&p[0])) - uintptr(unsafe.Pointer(&b.data[0])))
	q.push(span{buf: b, off: off, end: off + len(p)})
}

// Move takes the first n bytes of from, n at most its Len, to the end of q. Large
// parts are shared rather than copied.
func (q *Queue) Move(from *Queue, n int) {
	for left := n; left > 0; {
		s := &from.spans[from.first]
		step := min(left, s.end-s.off)
		if step < moveFrom {
			q.Copy(s.buf.data[s.off : s.off+step])
		} else {
			q.push(span{buf: s.buf, off: s.off, end: s.off + step})
		}
		from.Advance(step)
		left -= step
	}
}

// moveFrom is the size from which Move shares: whoever moves has held the block
// already, so sharing pins nothing that was not.
const moveFrom = 2 << 10

// Copy appends a copy of p.
func (q *Queue) Copy(p []byte) {
	for len(p) > 0 {
		room := q.Room(min(len(p), Block))
		n := copy(room[:cap(room)], p)
		q.Commit(room[:n])
		p = p[n:]
	}
}

// Room returns an empty slice with room for at least n bytes to append to;
// Commit adds what was appended. Nothing else may be called in between.
func (q *Queue) Room(n int) []byte {
	if q.first < len(q.spans) {
		if last := &q.spans[len(q.spans)-1]; last.own && len(last.buf.data)-last.buf.used >= n {
			return last.buf.data[last.end:last.end]
		}
	}
	b := q.Pool.Get(n)
	q.push(span{buf: b, own: true})
	b.Release() // the span holds it now
	return b.data[:0]
}

// Commit adds p, which must be what Room returned with bytes appended. If
// appending outgrew the room, and so moved the bytes, they are copied.
func (q *Queue) Commit(p []byte) {
	last := &q.spans[len(q.spans)-1]
	if cap(p) != len(last.buf.data)-last.end {
		if last.off == last.end {
			q.drop(len(q.spans) - 1)
		}
		b := q.Pool.Get(len(p))
		copy(b.data, p)
		b.used = len(p)
		q.push(span{buf: b, end: len(p), own: true})
		b.Release()
		q.size += len(p)
		return
	}
	last.end += len(p)
	last.buf.used = last.end
	q.size += len(p)
}

// push appends a span and retains its block. The bytes of a non-empty span
// count at once.
func (q *Queue) push(s span) {
	if q.first > 16 && 2*q.first > len(q.spans) || q.first == len(q.spans) {
		q.compact()
	}
	if !s.own {
		q.size += s.end - s.off
	}
	s.buf.Retain()
	q.held += s.buf.Cap()
	q.spans = append(q.spans, s)
}

// compact forgets the spans that are gone, so that a queue that is never quite
// empty does not grow.
func (q *Queue) compact() {
	n := copy(q.spans, q.spans[q.first:])
	clear(q.spans[n:])
	q.spans, q.first = q.spans[:n], 0
}

// drop removes the empty span at i, the last one.
func (q *Queue) drop(i int) {
	q.held -= q.spans[i].buf.Cap()
	q.spans[i].buf.Release()
	q.spans[i] = span{}
	q.spans = q.spans[:i]
}

// Spans appends the waiting bytes to v, at most limit slices in all, and
// returns it. They stay valid until Advance or Reset.
func (q *Queue) Spans(v [][]byte, limit int) [][]byte {
	for _, s := range q.spans[q.first:] {
		if len(v) >= limit {
			break
		}
		if s.off < s.end {
			v = append(v, s.buf.data[s.off:s.end])
		}
	}
	return v
}

// Advance takes the first n bytes away, n at most Len, and lets go of blocks
// that are used up.
func (q *Queue) Advance(n int) {
	q.size -= n
	for q.first < len(q.spans) {
		s := &q.spans[q.first]
		step := min(n, s.end-s.off)
		s.off += step
		n -= step
		if s.off < s.end {
			return
		}
		q.held -= s.buf.Cap()
		s.buf.Release()
		*s = span{}
		q.first++
	}
	q.spans, q.first = q.spans[:0], 0
}

// Reset empties the queue and lets go of every block.
func (q *Queue) Reset() { q.Advance(q.size) }

// Mark is a reference to everything that waits in a queue at one moment, so
// that it can be sent again. It holds its blocks until Release.
type Mark struct {
	spans []span
	size  int
}

// Mark fills m, which must be empty, with what waits in q.
func (q *Queue) Mark(m *Mark) {
	for _, s := range q.spans[q.first:] {
		s.buf.Retain()
		s.own = false
		m.spans = append(m.spans, s)
	}
	m.size = q.size
}

// Len returns the number of bytes marked.
func (m *Mark) Len() int { return m.size }

// Replay appends the marked bytes to q.
func (m *Mark) Replay(q *Queue) {
	for _, s := range m.spans {
		q.push(s)
	}
}

// Release lets go of the blocks and empties m.
func (m *Mark) Release() {
	for i := range m.spans {
		m.spans[i].buf.Release()
		m.spans[i] = span{}
	}
	m.spans, m.size = m.spans[:0], 0
}
