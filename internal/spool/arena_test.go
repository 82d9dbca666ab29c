package spool

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// budget returns one of n bytes.
func budget(n int64) *Budget {
	b := &Budget{}
	b.SetLimit(n)
	return b
}

// opened returns an open arena.
func opened(t *testing.T, b *Budget) *Arena {
	a := new(Arena)
	if !a.Open(b) || !a.Opened() {
		t.Error("no room for an arena")
	}
	return a
}

// Slices grow in turns, as messages do, with lengths that are announced, unknown
// or wrong: none may be overwritten by another. The seed makes it the same every
// time; there is no chance in it.
func TestArenaKeepsEverythingThatWasAppended(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		b := budget(1 << 30)
		a := opened(t, b)
		var got, want [4][]byte
		for range 30 {
			i := random.IntN(len(got))
			p := bytes.Repeat([]byte{byte(random.Uint32())}, 1<<random.IntN(17)-random.IntN(2))
			announced := []int{-1, 0, len(want[i]) + len(p), 1 << 20}[random.IntN(4)]
			var ok bool
			if got[i], ok = a.Append(got[i], p, announced); !ok {
				t.Fatalf("round %d: no room, with %d bytes used", round, b.Used())
			}
			want[i] = append(want[i], p...)
			for k := range got {
				if !bytes.Equal(got[k], want[k]) {
					t.Fatalf("round %d: after %d bytes more in slice %d, slice %d is not what was put into it", round, len(p), i, k)
				}
			}
		}
		a.Close()
		if a.Close(); b.Used() != 0 || a.Opened() {
			t.Fatalf("round %d: %d bytes are used after Close", round, b.Used())
		}
	}
}

func TestArenaCountsTheBlocksThatItHolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		parts   []int // appended in order to one slice
		want    int   // announced
		charged int64
	}{
		{"a head", []int{300}, 300, 4 << 10},
		{"all of the first block", []int{4 << 10}, 4 << 10, 4 << 10},
		{"grows at the end of its block", []int{1000, 1000, 2000}, -1, 4 << 10},
		{"more than the first block", []int{10_000}, 10_000, 20 << 10},
		{"announced, and in parts", []int{10_000, 30_000}, 40_000, 68 << 10},
		{"announced, and does not come", []int{100}, 1 << 20, 4 << 10},
		{"not announced, and moves", []int{10_000, 10_000}, -1, 84 << 10},
		{"the largest block that is used again", []int{1 << 20}, 1 << 20, 1<<20 + 4<<10},
		{"larger than any", []int{1<<20 + 1}, 1<<20 + 1, 1<<20 + 1 + 4<<10},
	} {
		b := budget(1 << 30)
		a := opened(t, b)
		var s []byte
		for _, n := range c.parts {
			s, _ = a.Append(s, make([]byte, n), c.want)
		}
		if b.Used() != c.charged {
			t.Errorf("%s: %d bytes are counted, want %d", c.name, b.Used(), c.charged)
		}
		a.Close()
	}
}

func TestArenaSaysWhenThereIsNoRoom(t *testing.T) {
	t.Parallel()
	little := budget(4<<10 - 1)
	if closed := new(Arena); closed.Open(little) || closed.Opened() || little.Used() != 0 {
		t.Error("an arena of 4 KiB fits in less")
	}
	b := budget(20 << 10)
	a := opened(t, b)
	kept, ok := a.Append(nil, []byte(strings.Repeat("x", 3000)), -1)
	if !ok {
		t.Fatal("no room for 3000 bytes in the first block")
	}
	if other := new(Arena); !other.Open(b) {
		t.Error("no room for a second arena of 4 KiB")
	} else {
		if more, ok := a.Append(kept, make([]byte, 3000), -1); ok || string(more) != strings.Repeat("x", 3000) {
			t.Errorf("got %d bytes, %v, want the 3000 that were there, and no room for more", len(more), ok)
		}
		if b.Used() != 8<<10 {
			t.Errorf("%d bytes are counted, want those of the two arenas", b.Used())
		}
		other.Close()
	}
	if more, ok := a.Append(kept, make([]byte, 3000), -1); !ok || len(more) != 6000 {
		t.Errorf("got %d bytes, %v, want room for 6000 once another is closed", len(more), ok)
	}
	a.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes are used after the last Close", b.Used())
	}
}

// What one goroutine has filled another closes, while blocks go round.
func TestArenasAreHandedOver(t *testing.T) {
	t.Parallel()
	b := budget(1 << 30)
	type filled struct {
		arena *Arena
		bytes []byte
		fill  byte
	}
	filling := make(chan filled, 8)
	var wg sync.WaitGroup
	for i := range byte(2) {
		wg.Go(func() {
			for n := range 500 {
				a := opened(t, b)
				p, _ := a.Append(nil, bytes.Repeat([]byte{i}, 100+n*100), -1)
				filling <- filled{a, p, i}
			}
		})
	}
	wg.Go(func() {
		for range 1000 {
			f := <-filling
			if n := bytes.Count(f.bytes, []byte{f.fill}); n != len(f.bytes) {
				t.Errorf("%d of %d bytes are not those that were put there", len(f.bytes)-n, len(f.bytes))
			}
			f.arena.Close()
		}
	})
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes are used after the last Close", b.Used())
	}
}

func BenchmarkArenaOfAnExchange(b *testing.B) {
	head, body := make([]byte, 300), make([]byte, 1024)
	all := budget(1 << 30)
	a := new(Arena)
	for b.Loop() {
		a.Open(all)
		a.Append(nil, head, len(head))
		for range 2 {
			a.Append(nil, head, len(head))
			a.Append(nil, body, len(body))
		}
		a.Close()
	}
}
