package spool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// model runs a Queue beside a plain slice of bytes.
type model struct {
	pool  Pool
	queue Queue
	mark  Mark
	bytes []byte // what the queue must hold
	saved []byte // what the mark must hold
	block *Buffer
	fill  byte
	seen  map[*Buffer]bool // that were ever in the queue
}

func newModel() *model {
	m := &model{seen: map[*Buffer]bool{}}
	m.queue.Pool = &m.pool
	m.block = m.pool.Get(Block)
	for i := range m.block.data {
		m.block.data[i] = byte(i >> (8 * (i % 4)))
	}
	return m
}

// some returns n bytes that are unlike those before.
func (m *model) some(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		m.fill = m.fill*5 + 1
		b[i] = m.fill
	}
	return b
}

// maxModel is from how many bytes on nothing is added.
const maxModel = 2 * Block

// do takes one step: op says which, a and b how.
func (m *model) do(op byte, a, b int) error {
	q := &m.queue
	if len(m.bytes) > maxModel {
		op, a, b = 4, 1, len(m.bytes)-b%1000 // comparing more would take long
	}
	switch op % 8 {
	case 0: // a copy
		p := m.some(a % 3000)
		q.Copy(p)
		m.bytes = append(m.bytes, p...)
	case 1: // a copy of more than a block
		p := m.some(a % (Block + 1000))
		q.Add(p, nil)
		m.bytes = append(m.bytes, p...)
	case 2: // a part of a shared block, with its capacity cut off or not
		from := a % Block
		to := from + b%(Block-from)
		p := m.block.data[from:to]
		if b%2 == 0 {
			p = m.block.data[from:to:to]
		}
		q.Add(p, m.block)
		m.bytes = append(m.bytes, p...)
	case 3: // room that is used in part, in full or beyond
		p := m.some(b % 2000)
		q.Commit(append(q.Room(a%2000), p...))
		m.bytes = append(m.bytes, p...)
	case 4: // a write that takes a part
		n := a * b % (len(m.bytes) + 1)
		q.Advance(n)
		m.bytes = m.bytes[n:]
	case 5: // a mark, if there is none
		if len(m.saved) == 0 {
			m.mark.Release()
			q.Mark(&m.mark)
			m.saved = bytes.Clone(m.bytes)
		}
	case 6: // the marked bytes once more
		m.mark.Replay(q)
		m.bytes = append(m.bytes, m.saved...)
		if a%2 == 0 {
			m.mark.Release()
			m.saved = nil
		}
	case 7: // the end of it
		if a%4 == 0 {
			q.Reset()
			m.bytes = nil
		}
	}
	return m.check(b%100 + 1)
}

// check compares the queue with the slice: its bytes, its length, and the
// blocks that it says it holds with those in its spans.
func (m *model) check(limit int) error {
	q := &m.queue
	for _, s := range q.spans {
		if s.buf != nil {
			m.seen[s.buf] = true
		}
	}
	if q.Len() != len(m.bytes) || m.mark.Len() != len(m.saved) {
		return fmt.Errorf("%d bytes wait and %d are marked, want %d and %d", q.Len(), m.mark.Len(), len(m.bytes), len(m.saved))
	}
	if v := q.Spans(nil, 1<<20); !bytes.Equal(bytes.Join(v, nil), m.bytes) {
		return fmt.Errorf("the %d bytes that wait are not those that were added", len(m.bytes))
	}
	v := q.Spans(nil, limit)
	if len(v) > limit || !bytes.HasPrefix(m.bytes, bytes.Join(v, nil)) || len(v) < limit && len(bytes.Join(v, nil)) != len(m.bytes) {
		return fmt.Errorf("%d slices of at most %d are not the first of what waits", len(v), limit)
	}
	held := 0
	for _, s := range q.spans[q.first:] {
		held += s.buf.Cap()
	}
	if q.Held() != held {
		return fmt.Errorf("%d bytes are held, want %d", q.Held(), held)
	}
	return nil
}

// end empties everything and looks for blocks that somebody still holds, or
// that would be given away twice.
func (m *model) end() error {
	m.queue.Reset()
	m.mark.Release()
	if m.queue.Len() != 0 || m.queue.Held() != 0 {
		return fmt.Errorf("an empty queue has %d bytes and holds %d", m.queue.Len(), m.queue.Held())
	}
	if m.block.refs != 1 {
		return fmt.Errorf("the shared block has %d holders, want the test", m.block.refs)
	}
	m.block.Release()
	for b := range m.seen {
		if b.refs != 0 {
			return fmt.Errorf("a block of %d bytes has %d holders after the end", b.Cap(), b.refs)
		}
	}
	given := map[*Buffer]bool{}
	for _, list := range m.pool.free {
		for _, b := range list {
			if given[b] {
				return fmt.Errorf("a block of %d bytes was released twice", b.Cap())
			}
			given[b] = true
		}
	}
	return nil
}

// The seeds make this the same test every time: it has no chance to fail by
// chance.
func TestQueueIsLikeASliceOfBytes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := newModel()
		for step := range 100 {
			if err := m.do(byte(random.Uint32()), random.IntN(1<<20), random.IntN(1<<20)); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
		if err := m.end(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// Every four bytes of the input are a step.
func FuzzQueue(f *testing.F) {
	f.Add([]byte("\x00\x10\x00\x00\x04\x01\x00\x08"))
	f.Add([]byte("\x02\x00\x00\xff\x05\x00\x00\x00\x04\x03\x00\x05\x06\x00\x01\x00\x03\x01\x01\x09"))
	f.Add([]byte("\x03\x02\x00\xc0\x03\x00\x00\x00\x01\xff\xff\x01\x07\x04\x00\x00\x06\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		m := newModel()
		steps = steps[:min(len(steps), 400)]
		for len(steps) >= 4 {
			a := int(steps[1])<<8 | int(steps[2])
			if err := m.do(steps[0], a, a+int(steps[3])*251); err != nil {
				t.Fatal(err)
			}
			steps = steps[4:]
		}
		if err := m.end(); err != nil {
			t.Fatal(err)
		}
	})
}
