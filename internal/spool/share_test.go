package spool

import (
	"bytes"
	"testing"
)

// A part of a block is shared as the bytes it has, wherever it lies and
// whatever capacity it was left with.
func TestQueueSharesThePartOfABlockThatItWasGiven(t *testing.T) {
	t.Parallel()
	const from, to = 1000, 1000 + shareFrom
	tests := map[string]func(block []byte) []byte{
		"capacity up to the block's end": func(block []byte) []byte { return block[from:to] },
		"capacity cut off":               func(block []byte) []byte { return block[from:to:to] },
		"capacity cut off in the middle": func(block []byte) []byte { return block[from : to : to+10] },
	}
	for name, part := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pool Pool
			b := pool.Get(Block)
			for i := range b.Space() {
				b.Space()[i] = byte(i >> 8)
			}
			q := Queue{Pool: &pool}
			q.Add(part(b.Space()), b)
			if b.refs != 2 {
				t.Fatalf("the block has %d holders, want 2: it was not shared once", b.refs)
			}
			got := bytes.Join(q.Spans(nil, 10), nil)
			want := make([]byte, shareFrom)
			for i := range want {
				want[i] = byte((from + i) >> 8)
			}
			if !bytes.Equal(got, want) {
				t.Error("other bytes of the block wait in the queue")
			}
			q.Reset()
			if b.refs != 1 {
				t.Errorf("the block has %d holders after Reset, want 1", b.refs)
			}
		})
	}
}
