package spool

// classes are the sizes of blocks. The smallest holds an ordinary head, the
// largest is what one read of a stream asks the kernel for.
var classes = [...]int{1 << 10, 4 << 10, 16 << 10, 64 << 10, Block}

// Block is the size of the largest block, in bytes. With half of it a body of
// 64 KiB, which comes with its head, costs a second read and a second write to
// every backend: a third more CPU per copied request.
const Block = 128 << 10

// keep bounds how many bytes of unused blocks of one class a pool holds on
// to; what is over goes back to the garbage collector.
const keep = 4 << 20

// Pool recycles the blocks of one event loop. The zero value is ready.
type Pool struct {
	free [len(classes)][]*Buffer
}

// Buffer is a block of bytes with a count of its holders. Bytes in
// data[:used] never change while anybody holds the block; whoever holds it
// alone may fill the rest.
type Buffer struct {
	data  []byte
	used  int
	refs  int
	class int // index into classes, -1 for a block of its own size
	pool  *Pool
}

// Get returns an empty block that holds at least n bytes, held once by the
// caller. Blocks over [Block] are allocated and not recycled.
func (p *Pool) Get(n int) *Buffer {
	for class, size := range classes {
		if n > size {
			continue
		}
		if last := len(p.free[class]) - 1; last >= 0 {
			b := p.free[class][last]
			p.free[class] = p.free[class][:last]
			b.refs, b.used = 1, 0
			return b
		}
		return &Buffer{data: make([]byte, size), refs: 1, class: class, pool: p}
	}
	return &Buffer{data: make([]byte, n), refs: 1, class: -1}
}

// Cap returns the block's size in bytes: what it costs whoever holds it.
func (b *Buffer) Cap() int { return len(b.data) }

// Retain adds a holder.
func (b *Buffer) Retain() { b.refs++ }

// Release takes a holder away; the last one gives the block back to its pool.
func (b *Buffer) Release() {
	b.refs--
	switch {
	case b.refs > 0:
	case b.refs < 0:
		panic("spool: a block was released more often than it was retained")
	case b.class >= 0 && len(b.pool.free[b.class])*classes[b.class] < keep:
		b.pool.free[b.class] = append(b.pool.free[b.class], b)
	}
}

// Intake is the block that a loop reads sockets into. Readers that keep a part
// of it retain the block, and the next read gets another; otherwise the same
// block serves every read.
type Intake struct {
	pool *Pool
	cur  *Buffer
}

// NewIntake returns an intake that takes its blocks from p.
func NewIntake(p *Pool) *Intake { return &Intake{pool: p} }

// Next returns a block to read into that nobody else holds. It stays the
// intake's own: retain it to keep what was read.
func (in *Intake) Next() *Buffer {
	if in.cur != nil && in.cur.refs > 1 {
		in.cur.Release()
		in.cur = nil
	}
	if in.cur == nil {
		in.cur = in.pool.Get(Block)
	}
	return in.cur
}

// Space returns all of the block's bytes, for the holder that is alone with it.
func (b *Buffer) Space() []byte { return b.data }
