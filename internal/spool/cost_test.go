package spool

import "testing"

// In steady state nothing here allocates: every request and every copy of one
// passes through it.
func TestAllocatesNothingInSteadyState(t *testing.T) {
	var p Pool
	q := Queue{Pool: &p}
	var m Mark
	var in Inbox
	var arena Arena
	var budget Budget
	budget.SetLimit(1 << 30)
	intake := NewIntake(&p)
	head := make([]byte, 300)
	body := make([]byte, 200000)
	vec := make([][]byte, 0, 64)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"a head that is built and written", func() {
			q.Commit(append(q.Room(1024), head...))
			vec = q.Spans(vec[:0], 64)
			q.Advance(q.Len())
		}},
		{"a body that is copied", func() {
			q.Copy(body)
			q.Advance(100000)
			q.Reset()
		}},
		{"a body that is shared", func() {
			b := intake.Next()
			q.Add(b.Space()[100:60000:60000], b)
			q.Add(b.Space()[60000:], b)
			vec = q.Spans(vec[:0], 64)
			q.Advance(q.Len())
		}},
		{"a request that is marked and sent again", func() {
			q.Copy(head)
			q.Mark(&m)
			q.Advance(q.Len())
			m.Replay(&q)
			m.Release()
			q.Reset()
		}},
		{"a head that comes in parts", func() {
			in.Keep(&p, head[:100])
			in.Grow(copy(in.Room(&p, 4096), head[100:]))
			in.Discard(300)
		}},
		{"blocks that several readers keep", func() {
			a := intake.Next()
			a.Retain()
			b := intake.Next()
			b.Retain()
			a.Release()
			b.Release()
		}},
		{"an arena that grows", func() {
			arena.Open(&budget)
			kept, _ := arena.Append(nil, head, len(head))
			kept, _ = arena.Append(kept, body, 300000)
			arena.Append(kept, body, 300000)
			arena.Close()
		}},
		{"a budget", func() {
			budget.Adjust(100)
			budget.Adjust(-100)
		}},
	} {
		if n := testing.AllocsPerRun(1000, c.run); n != 0 {
			t.Errorf("%s: %v allocations, want none", c.name, n)
		}
	}
	if q.Held() != 0 || budget.Used() != 0 {
		t.Errorf("%d bytes are held and %d counted, want none", q.Held(), budget.Used())
	}
}

func BenchmarkCopyHead(b *testing.B) {
	var p Pool
	q := Queue{Pool: &p}
	head := make([]byte, 500)
	vec := make([][]byte, 0, 64)
	for b.Loop() {
		q.Commit(append(q.Room(1024), head...))
		vec = q.Spans(vec[:0], 64)
		q.Advance(500)
	}
}

func BenchmarkShareBlock(b *testing.B) {
	var p Pool
	primary, shadow := Queue{Pool: &p}, Queue{Pool: &p}
	in := NewIntake(&p)
	b.SetBytes(Block)
	for b.Loop() {
		block := in.Next()
		primary.Add(block.Space(), block)
		shadow.Add(block.Space(), block)
		primary.Advance(Block)
		shadow.Advance(Block)
	}
}
