package spool

import (
	"testing"
)

func TestPoolGivesTheSmallestBlockThatIsLargeEnough(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, size int }{
		{0, 1024},
		{1, 1024},
		{1024, 1024},
		{1025, 4096},
		{4096, 4096},
		{4097, 16384},
		{Block - 1, Block},
		{Block, Block},
		{Block + 1, Block + 1}, // over the largest class: made to measure
		{1 << 20, 1 << 20},
	} {
		var p Pool
		if b := p.Get(c.n); b.Cap() != c.size {
			t.Errorf("for %d bytes: a block of %d, want %d", c.n, b.Cap(), c.size)
		}
	}
}

func TestPoolGivesReleasedBlocksAgain(t *testing.T) {
	t.Parallel()
	var p Pool
	first := p.Get(100)
	first.used = 100
	first.Retain()
	first.Release()
	if other := p.Get(100); other == first {
		t.Fatal("a block that is held was given away")
	}
	first.Release()
	again := p.Get(1)
	if again != first {
		t.Error("a released block was not used again")
	}
	if again.used != 0 || again.refs != 1 {
		t.Errorf("it has %d used bytes and %d holders, want 0 and 1", again.used, again.refs)
	}
}

func TestPoolKeepsABoundedNumberOfFreeBlocks(t *testing.T) {
	t.Parallel()
	var p Pool
	for _, size := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, Block, Block + 1} {
		var blocks []*Buffer
		for len(blocks)*size < 6<<20 {
			blocks = append(blocks, p.Get(size))
		}
		for _, b := range blocks {
			b.Release()
		}
	}
	for class, list := range p.free {
		size := 0
		for _, b := range list {
			size += b.Cap()
		}
		if size != 4<<20 {
			t.Errorf("%d bytes of blocks of class %d are kept, want 4 MiB", size, class)
		}
	}
}

func TestReleasingTooOftenPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if got, want := recover(), "spool: a block was released more often than it was retained"; got != want {
			t.Errorf("got %v, want %q", got, want)
		}
	}()
	var p Pool
	b := p.Get(1)
	b.Release()
	b.Release()
}

// A block that somebody has kept a part of must not be read into again.
func TestIntakeGivesABlockThatNobodyElseHolds(t *testing.T) {
	t.Parallel()
	var p Pool
	in := NewIntake(&p)
	first := in.Next()
	if len(first.Space()) != Block {
		t.Errorf("room for %d bytes, want %d", len(first.Space()), Block)
	}
	if in.Next() != first {
		t.Error("a block that nobody kept was not used again")
	}
	first.Retain()
	second := in.Next()
	if second == first {
		t.Fatal("a block that is held was given to read into")
	}
	if first.refs != 1 {
		t.Errorf("the intake still holds the block that it has given up: %d holders, want 1", first.refs)
	}
	first.Release()
	second.Retain()
	if in.Next() != first {
		t.Error("the block that was let go is not used again")
	}
}

func TestBudgetBoundsItselfAndItsParent(t *testing.T) {
	t.Parallel()
	var all, a, b Budget
	all.SetLimit(100)
	for _, child := range []*Budget{&a, &b} {
		child.Parent = &all
		child.SetLimit(80)
	}
	for i, step := range []struct {
		budget      *Budget
		delta       int64
		ok          bool
		a, b, whole int64
	}{
		{&a, 80, true, 80, 0, 80},
		{&a, 1, false, 81, 0, 81}, // over its own bound, and made all the same
		{&a, -1, true, 80, 0, 80},
		{&b, 20, true, 80, 20, 100},
		{&b, 1, false, 80, 21, 101}, // over the common bound
		{&a, -80, true, 0, 21, 21},
		{&b, 59, true, 0, 80, 80},
		{&b, 0, true, 0, 80, 80},
		{&b, -80, true, 0, 0, 0},
	} {
		if ok := step.budget.Adjust(step.delta); ok != step.ok {
			t.Errorf("step %d: within the bounds %v, want %v", i, ok, step.ok)
		}
		if got, want := [3]int64{a.Used(), b.Used(), all.Used()}, [3]int64{step.a, step.b, step.whole}; got != want {
			t.Errorf("step %d: %v are held, want %v", i, got, want)
		}
	}
}

func TestBudgetWithoutALimitAllowsNothing(t *testing.T) {
	t.Parallel()
	var b Budget
	if b.Adjust(1) {
		t.Error("a byte is within a budget of nothing")
	}
	if !b.Adjust(-1) {
		t.Error("nothing is not within a budget of nothing")
	}
}

func TestBudgetLimitMayShrinkUnderWhatIsHeld(t *testing.T) {
	t.Parallel()
	var b Budget
	b.SetLimit(10)
	b.Adjust(10)
	b.SetLimit(5)
	if b.Adjust(0) {
		t.Error("10 bytes are within a bound of 5")
	}
	if !b.Adjust(-5) {
		t.Error("5 bytes are not within a bound of 5")
	}
}
