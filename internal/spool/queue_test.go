package spool

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// waiting returns what waits in q, as one string.
func waiting(q *Queue) string {
	return string(bytes.Join(q.Spans(nil, 1<<20), nil))
}

// block returns a block of the largest size, in which every 4 bytes are different.
func block(p *Pool) *Buffer {
	b := p.Get(Block)
	for i := range b.data {
		b.data[i] = byte(i >> (8 * (i % 4)))
	}
	return b
}

func TestQueueKeepsOrder(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	b := block(&p)
	large := b.data[3000:23000]
	long := strings.Repeat("long ", 30000)

	q.Copy([]byte("head,"))
	q.Add([]byte("small,"), b)
	q.Add(large, b)
	q.Commit(append(q.Room(8), "room,"...))
	q.Add([]byte(long), nil)
	q.Commit(append(q.Room(4), "more than there was room for,"...))
	q.Copy(nil)
	q.Copy([]byte("end"))

	want := "head,small," + string(large) + "room," + long + "more than there was room for,end"
	if q.Len() != len(want) {
		t.Errorf("%d bytes wait, want %d", q.Len(), len(want))
	}
	if waiting(&q) != want {
		t.Error("not the bytes that were added")
	}
}

// A decoder returns parts of a block whose capacity it has cut off, so that
// where they lie cannot be told from that.
func TestQueueSharesTheVeryPartOfABlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to int }{{0, Block / 2}, {1, Block/2 + 1}, {100, Block}, {0, Block}, {Block / 2, Block}} {
		var p Pool
		q := Queue{Pool: &p}
		b := block(&p)
		q.Add(b.data[c.from:c.to:c.to], b)
		v := q.Spans(nil, 10)
		if len(v) != 1 || &v[0][0] != &b.data[c.from] || len(v[0]) != c.to-c.from {
			t.Errorf("%d to %d: not that part of the block", c.from, c.to)
		}
		if b.refs != 2 {
			t.Errorf("%d to %d: the block has %d holders, want the test and the queue", c.from, c.to, b.refs)
		}
		q.Reset()
		if b.refs != 1 {
			t.Errorf("%d to %d: the block has %d holders after Reset, want the test", c.from, c.to, b.refs)
		}
	}
}

func TestQueueCountsTheBlocksThatItHolds(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	b := block(&p)
	for i, step := range []struct {
		do   func()
		held int
	}{
		{func() {}, 0},
		{func() { q.Copy(make([]byte, 100)) }, 1 << 10},
		{func() { q.Copy(make([]byte, 924)) }, 1 << 10}, // fits behind it
		{func() { q.Copy(make([]byte, 1)) }, 2 << 10},
		{func() { q.Add(b.data[:3000], b) }, 6 << 10},          // copied
		{func() { q.Add(b.data[:Block/2], b) }, 6<<10 + Block}, // shared
		{func() { q.Room(1) }, 7<<10 + Block},                  // nothing committed
		{func() { q.Commit(append(q.Room(1), 'x')) }, 7<<10 + Block},
		{func() { q.Commit(append(q.Room(1), make([]byte, 5000)...)) }, 23<<10 + Block},
		{func() { q.Advance(1023) }, 23<<10 + Block}, // not the whole first block
		{func() { q.Advance(1) }, 22<<10 + Block},
		{func() { q.Advance(q.Len() - 1) }, 16 << 10},
		{func() { q.Advance(1) }, 0},
		{func() { q.Room(2000) }, 4 << 10},
		{func() { q.Reset() }, 0},
		{func() { q.Copy(make([]byte, Block+2000)) }, Block + 4<<10},
		{func() { q.Commit(append(q.Room(Block+10), 'x')) }, 2*Block + 4<<10 + 10},
		{func() { q.Reset() }, 0},
	} {
		step.do()
		if q.Held() != step.held {
			t.Errorf("step %d: %d bytes are held, want %d", i, q.Held(), step.held)
		}
	}
	if b.refs != 1 {
		t.Errorf("the block has %d holders, want the test", b.refs)
	}
}

func TestSpansStopAtTheLimit(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	b := block(&p)
	for i := range 5 {
		q.Add(b.data[i:i+Block/2], b)
	}
	q.Room(1) // an empty span is no slice
	before := []byte("already there")
	for limit, want := range []int{1, 1, 2, 3, 4, 5, 6, 6} {
		if got := len(q.Spans([][]byte{before}, limit)); got != want {
			t.Errorf("at most %d slices: %d, want %d", limit, got, want)
		}
	}
	q.Advance(Block/2 + 100)
	v := q.Spans(nil, 2)
	if len(v) != 2 || &v[0][0] != &b.data[101] || len(v[0]) != Block/2-100 || &v[1][0] != &b.data[2] {
		t.Error("after Advance, the slices do not begin where it stopped")
	}
}

// A connection that is never quite written empty would otherwise keep a note of
// every block that ever passed.
func TestQueueThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	b := block(&p)
	q.Add(b.data[:Block/2], b)
	for range 10000 {
		q.Add(b.data[:Block/2], b)
		q.Advance(Block / 2)
	}
	if cap(q.spans) > 64 {
		t.Errorf("room for %d spans, with 1 in use", cap(q.spans))
	}
	if q.Len() != Block/2 || q.Held() != Block || b.refs != 2 {
		t.Errorf("%d bytes, %d held, %d holders; want half a block, a block, 2", q.Len(), q.Held(), b.refs)
	}
}

func TestMarkedBytesAreSentAgain(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	b := block(&p)
	q.Copy([]byte("gone,"))
	q.Copy([]byte("head,"))
	q.Advance(5)
	q.Add(b.data[100:100+Block/2], b)
	q.Copy([]byte("tail"))
	want := "head," + string(b.data[100:100+Block/2]) + "tail"

	var m Mark
	q.Mark(&m)
	q.Copy([]byte(", and what came after the mark"))
	q.Advance(q.Len())
	if m.Len() != len(want) || q.Held() != 0 {
		t.Errorf("%d bytes marked and %d held by the queue, want %d and 0", m.Len(), q.Held(), len(want))
	}

	m.Replay(&q)
	m.Replay(&q)
	m.Release()
	if waiting(&q) != want+want || q.Len() != 2*len(want) {
		t.Error("the bytes are not those that were marked, twice")
	}
	// The queue must not write behind bytes that a mark refers to: they may be
	// followed by others by now.
	q.Copy([]byte("!"))
	if waiting(&q) != want+want+"!" {
		t.Error("what is added after a replay is not behind it")
	}
	q.Reset()
	if q.Held() != 0 || m.Len() != 0 || b.refs != 1 {
		t.Errorf("%d bytes held, %d marked, %d holders; want 0, 0, 1", q.Held(), m.Len(), b.refs)
	}
	if diff := cmp.Diff([]int{3, 0, 0}, free(&p)[:3]); diff != "" {
		t.Errorf("free blocks: %s", diff)
	}
}

func TestMarkOfNothingReplaysNothing(t *testing.T) {
	t.Parallel()
	var p Pool
	q := Queue{Pool: &p}
	var m Mark
	q.Mark(&m)
	m.Replay(&q)
	m.Release()
	m.Release()
	if q.Len() != 0 || q.Held() != 0 {
		t.Errorf("%d bytes wait and %d are held, want none", q.Len(), q.Held())
	}
}

// free returns how many blocks of each size p has in stock.
func free(p *Pool) (n []int) {
	for _, list := range p.free {
		n = append(n, len(list))
	}
	return n
}

func TestMoveTakesBytesInOrderAndHoldsNothingBack(t *testing.T) {
	p := &Pool{}
	from, to := &Queue{Pool: p}, &Queue{Pool: p}
	var want []byte
	for i, n := range []int{5, 40_000, 1, 3000, 100} {
		part := bytes.Repeat([]byte{byte('a' + i)}, n)
		want = append(want, part...)
		from.Copy(part)
	}
	for _, n := range []int{3, 10_000, 30_000, 3103} {
		to.Move(from, n)
	}
	if from.Len() != 0 || from.Held() != 0 {
		t.Errorf("%d bytes are left, and %d held", from.Len(), from.Held())
	}
	var got []byte
	for _, b := range to.Spans(nil, 100) {
		got = append(got, b...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came in another order than the %d that went", len(got), len(want))
	}
	if to.Reset(); to.Held() != 0 {
		t.Errorf("%d bytes are held", to.Held())
	}
}
