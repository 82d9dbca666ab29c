package mirror

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Tap captures exchanges on one loop: it keeps their messages, within bounds, for
// whoever compares or records. Nothing waits for it, and what does not fit is
// lost and counted. It belongs to its loop.
type Tap struct {
	Loop   *loop.Loop
	Sink   traffic.Sink  // gets what was captured, at the end of a pass; nil = nothing is
	Memory *spool.Budget // of the captures of all loops
	Body   int64         // bytes kept of each body
	Books  telemetry.Capture

	done []*collection  // to be handed over
	last bool           // after whatever else this pass does
	pass int            // captures that are lost before the next one is made
	gap  int            // how many are lost after a refusal
	why  traffic.Reason // of the last refusal
}

// maxGap bounds how many captures are lost after one that the sink refused: when
// the next is taken, there is room for so many at least.
const maxGap = 63

// Capture is one message that is being captured. All methods do nothing on nil,
// and once the exchange's capture is lost.
type Capture struct {
	join *Join
	kept traffic.Message
	want int64          // length of the body, if it was announced
	most int            // bytes of the body that are kept
	hash *xxhash.Digest // of the whole body, once it is longer than what is kept
}

// Want says what an exchange is captured for.
type Want struct {
	Record bool   // everything, to be recorded
	Draw   uint64 // of the request: mirrors that compare a larger share than this compare the answers to it
}

// compares says whether p compares the answers to a request of that draw.
func (p *Policy) compares(draw uint64) bool {
	return draw < p.compared
}

// Draws says whether an exchange is to be captured: to be recorded, or because one
// of the policies that have selected the request compares the answers, by the draw.
// decisions are those of the policies, in order. It raises the draw if only a part of
// what is drawn is wanted now: the mirrors with the larger shares go on longest.
func (t *Tap) Draws(want *Want, policies []*Policy, decisions []Decision) bool {
	if !compares(policies, decisions, want.Draw) {
		return want.Record
	}
	if c, ok := t.Sink.(traffic.Chooser); ok {
		want.Draw = raise(want.Draw, c.Wanted())
	}
	if want.Record || compares(policies, decisions, want.Draw) {
		return true
	}
	t.Books.Drawn++
	t.Books.Lose(traffic.LostBusy)
	return false
}

// raise returns a draw that is below any share for the wanted part of the draws
// that are below it now.
func raise(draw uint64, wanted float64) uint64 {
	if wanted >= 1 {
		return draw
	}
	raised := float64(draw) / wanted
	if raised >= 1<<64 { // also if nothing is wanted
		return math.MaxUint64
	}
	return uint64(raised)
}

// compares says whether one of the policies that have selected a request compares
// the answers to it.
func compares(policies []*Policy, decisions []Decision, draw uint64) bool {
	for i, p := range policies {
		if decisions[i].Skip == "" && p.compares(draw) {
			return true
		}
	}
	return false
}

// Join begins an exchange that is captured, which began at that time of the loop's
// clock, with one holder; nil if there is no room, or the sink is behind. It has room for so many copies.
func (t *Tap) Join(begin time.Duration, want Want, copies int) *Join {
	t.Books.Drawn++
	if t.pass > 0 {
		t.pass--
		t.Books.Lose(t.why)
		return nil
	}
	c := collections.Get().(*collection)
	if !c.arena.Open(t.Memory) {
		collections.Put(c)
		t.Books.Lose(traffic.LostMemory)
		return nil
	}
	t.Books.InFlight++
	c.exchange, c.taken = traffic.Exchange{}, 0
	c.join = Join{X: &c.exchange, Begin: begin, holders: 1, tap: t, want: want, collection: c}
	c.exchange.Copies = slices.Grow(c.copies[:0], copies)
	c.exchange.Record = want.Record
	return &c.join
}

// Captured says whether j's exchange is being captured.
func (j *Join) Captured() bool { return j != nil && j.collection != nil && j.collection.arena.Opened() }

// Capture returns what takes one more message.
func (j *Join) Capture() *Capture {
	if !j.Captured() {
		return nil
	}
	all := j.collection
	var c *Capture
	if all.taken < len(all.captures) {
		c = &all.captures[all.taken]
		all.taken++
	} else {
		c = new(Capture)
	}
	*c = Capture{join: j, most: int(j.tap.Body)}
	return c
}

// captureOf returns what takes the answer to a copy of p, if somebody wants it.
func (j *Join) captureOf(p *Policy) (c *Capture, compare bool) {
	if !j.Captured() {
		return nil, false
	}
	compare = p.compares(j.want.Draw)
	if compare || j.want.Record {
		c = j.Capture()
	}
	return c, compare
}

// Head takes the start line and field lines; length is that of the body, if it is
// known.
func (c *Capture) Head(raw []byte, length int64) {
	if c == nil || !c.join.Captured() {
		return
	}
	c.want = length
	c.keep(&c.kept.Head, raw, len(raw))
}

// Body takes the next bytes of the body.
func (c *Capture) Body(p []byte) {
	if c == nil || !c.join.Captured() {
		return
	}
	c.kept.Length += int64(len(p))
	n := min(len(p), max(c.most-len(c.kept.Body), 0))
	if n > 0 && !c.keep(&c.kept.Body, p[:n], int(min(c.want, int64(c.most)))) {
		return
	}
	if n == len(p) {
		return
	}
	if c.hash == nil {
		c.hash = xxhash.New()
		_, _ = c.hash.Write(c.kept.Body) // it never fails
	}
	_, _ = c.hash.Write(p[n:])
}

// End says that the message is whole.
func (c *Capture) End(trailer []byte) {
	if c == nil || !c.join.Captured() {
		return
	}
	c.kept.Whole = true
	if len(trailer) > 0 {
		c.keep(&c.kept.Trailer, trailer, len(trailer))
	}
}

// keep adds p to what was kept in *to, and says whether there was room.
func (c *Capture) keep(to *[]byte, p []byte, want int) (ok bool) {
	j := c.join
	if *to, ok = j.collection.arena.Append(*to, p, want); !ok {
		j.tap.Books.Lose(traffic.LostMemory)
		j.tap.Books.InFlight--
		j.collection.arena.Close()
	}
	return ok
}

// Message returns what was kept; nil if nothing came.
func (c *Capture) Message() *traffic.Message {
	if c == nil || !c.join.Captured() || c.kept.Head == nil {
		return nil
	}
	if c.hash != nil {
		c.kept.Hash = c.hash.Sum64()
	}
	return &c.kept
}

// handOver gives the captured exchange to the tap's sink, or gives up the memory of
// one whose capture was lost. Whatever of j is used again afterwards is others'.
func (j *Join) handOver() {
	c, t := j.collection, j.tap
	if !j.Captured() {
		c.Release()
		return
	}
	if len(t.done) == 0 {
		t.Loop.AfterPass(t)
	}
	t.done = append(t.done, c)
}

// Run implements loop.Task: it hands over what this pass has completed, when all
// bytes of the pass have been written. A sink that sleeps is woken once for all.
func (t *Tap) Run() {
	if t.last = !t.last; t.last {
		t.Loop.AfterPass(t) // behind the tasks that are waiting now
		return
	}
	for i, c := range t.done {
		t.done[i] = nil
		t.Books.InFlight--
		c.exchange.Memory = c
		if t.Sink.Offer(&c.exchange) {
			t.Books.Taken++
			t.gap /= 2
		} else {
			t.refused()
			c.Release()
		}
	}
	t.done = t.done[:0]
}

// refused notes that the sink is behind. What would be refused anyway is not worth
// the work of capturing it: the next ones are lost before that.
func (t *Tap) refused() {
	t.why = traffic.LostQueue
	if c, ok := t.Sink.(traffic.Chooser); ok {
		t.why = c.Refuses()
	}
	t.Books.Lose(t.why)
	t.gap = min(2*t.gap+1, maxGap)
	t.pass = t.gap
}

// uncaptured returns x without its messages, for others than the owner of those.
func uncaptured(x *traffic.Exchange) *traffic.Exchange {
	y := *x
	y.Request, y.Memory, y.Record, y.Primary.Answer = nil, nil, false, nil
	y.Copies = slices.Clone(x.Copies)
	for i := range y.Copies {
		y.Copies[i].Answer, y.Copies[i].Compare = nil, false
	}
	return &y
}

// collection is a captured exchange with its join and all its memory, in one piece
// that is used again. What was in it stays until then: whoever releases it is on
// another core, and what that one writes to has to be fetched from there.
type collection struct {
	exchange traffic.Exchange
	copies   [2]traffic.Outcome
	captures [4]Capture
	taken    int // of captures
	join     Join
	arena    spool.Arena
}

var collections = sync.Pool{New: func() any { return new(collection) }}

// Release implements traffic.Memory.
func (c *collection) Release() {
	c.arena.Close()
	collections.Put(c)
}
