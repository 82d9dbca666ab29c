package spool

import "sync"

// Arena is memory for bytes that are kept of one exchange and looked at later, on
// another goroutine: they are copied out of the blocks of the loop that they flow
// through. What it holds counts in a budget from Open to Close, after which it can
// be opened again. One goroutine at a time uses it; it may be handed over. The zero
// value is closed. It is large and meant to be used again.
type Arena struct {
	budget *Budget
	room   []byte   // the block being filled: len is used
	larger []*piece // blocks beyond first
	held   int64
	first  [firstPiece]byte
}

// firstPiece is enough for a request and two answers of 1 KB with their heads, so
// that most exchanges need nothing else.
const firstPiece = 4 << 10

// pieces are the sizes of blocks beyond the first. Larger ones are made to
// measure and not used again.
var pieces = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20}

// piece is a block of an arena.
type piece struct {
	data  []byte
	class int // index into pieces, -1 for a size of its own
}

var freePieces [len(pieces)]sync.Pool

// Open makes an empty arena of a closed one, and says whether b, in which it
// counts, has room for that.
func (a *Arena) Open(b *Budget) bool {
	a.budget, a.room = b, a.first[:0]
	if !a.charge(firstPiece) {
		a.Close()
		return false
	}
	return true
}

// Opened says whether a is open.
func (a *Arena) Opened() bool { return a.budget != nil }

// charge counts n bytes more, and says whether there was room for them.
func (a *Arena) charge(n int) bool {
	a.held += int64(n)
	return a.budget.Adjust(int64(n))
}

// Append adds p behind b, which is nil or came from a, and returns where both are
// now; b must not be used any more. want is the length that it will grow to at
// the most, which saves moving it. ok is false if the budget has no room for it,
// and b stays what it was.
func (a *Arena) Append(b, p []byte, want int) (kept []byte, ok bool) {
	need := len(b) + len(p)
	if need <= cap(b) {
		return append(b, p...), true
	}
	if extra := need - cap(b); a.last(b) && extra <= cap(a.room)-len(a.room) {
		end := len(a.room)
		a.room = a.room[:end+extra]
		b = a.room[end-cap(b) : end-cap(b)+len(b) : end+extra]
		return append(b, p...), true
	}
	// A message may announce more than it has: room is made for what has come,
	// a few times over.
	size := max(need, min(want, max(eager*need, 2*cap(b))))
	to, ok := a.take(size)
	if !ok {
		return b, false
	}
	return append(append(to, b...), p...), true
}

// eager is how many times the bytes that have come room is made for, if they are
// announced.
const eager = 4

// last says whether b lies at the end of what is used.
func (a *Arena) last(b []byte) bool {
	n, end := cap(b), len(a.room)
	return n > 0 && n <= end && &a.room[:end][end-n] == &b[:n][0]
}

// take returns an empty slice of capacity n.
func (a *Arena) take(n int) (p []byte, ok bool) {
	if n > cap(a.room)-len(a.room) && !a.grow(n) {
		return nil, false
	}
	end := len(a.room)
	a.room = a.room[:end+n]
	return a.room[end : end : end+n], true
}

// grow begins another block, with room for n bytes.
func (a *Arena) grow(n int) bool {
	class, size := -1, n
	for i, s := range pieces {
		if n <= s {
			class, size = i, s
			break
		}
	}
	if !a.charge(size) {
		a.charge(-size)
		return false
	}
	var b *piece
	if class >= 0 {
		b, _ = freePieces[class].Get().(*piece)
	}
	if b == nil {
		b = &piece{make([]byte, size), class}
	}
	a.larger = append(a.larger, b)
	a.room = b.data[:0]
	return true
}

// Close gives everything back; nothing that came from a may be used any more. An
// arena that is closed stays so.
func (a *Arena) Close() {
	if a.budget == nil {
		return
	}
	a.budget.Adjust(-a.held)
	for i, b := range a.larger {
		if b.class >= 0 {
			freePieces[b.class].Put(b)
		}
		a.larger[i] = nil
	}
	a.larger, a.room, a.budget, a.held = a.larger[:0], nil, nil, 0
}
