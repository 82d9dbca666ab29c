package judge

import (
	"math"
	"time"
)

// count is what a sign test needs of some pairs.
type count struct {
	Pairs  int64 `json:"pairs"`
	Worse  int64 `json:"worse"`  // in which only the shadow was
	Better int64 `json:"better"` // in which only the primary was
}

func (c *count) add(worse, better bool) {
	c.Pairs++
	if worse && !better {
		c.Worse++
	}
	if better && !worse {
		c.Better++
	}
}

func (c *count) plus(other count) {
	c.Pairs += other.Pairs
	c.Worse += other.Worse
	c.Better += other.Better
}

// net is what an incident adds to a count.
func (c count) net() int64 { return c.Worse - c.Better }

// excess is the estimate of the excess; 0 of no pairs.
func (c count) excess() float64 {
	if c.Pairs == 0 {
		return 0
	}
	return float64(c.net()) / float64(c.Pairs)
}

// strand counts one metric: in all, in the block of time that is going on, and
// in the two blocks that were worst for the shadow.
type strand struct {
	Total count    `json:"total"`
	Block count    `json:"block"`
	Worst [2]count `json:"worst"` // the worse one first
	Moved moments  `json:"moved"` // of the blocks that have ended
}

// moments say how blocks of time vary, where n is the pairs of one and x how many
// more of them are worse than better.
type moments struct {
	Blocks int64   `json:"blocks"`
	N      float64 `json:"n"` // sums
	NN     float64 `json:"nn"`
	NX     float64 `json:"nx"`
	XX     float64 `json:"xx"`
}

func (m *moments) add(c count) {
	n, x := float64(c.Pairs), float64(c.net())
	m.plus(moments{1, n, n * n, n * x, x * x})
}

func (m *moments) plus(o moments) {
	m.Blocks += o.Blocks
	m.N += o.N
	m.NN += o.NN
	m.NX += o.NX
	m.XX += o.XX
}

func (s *strand) add(worse, better bool) {
	s.Total.add(worse, better)
	s.Block.add(worse, better)
}

// end ends the block.
func (s *strand) end() {
	s.keep(s.Block)
	s.Moved.add(s.Block)
	s.Block = count{}
}

// keep remembers a block if it is one of the two worst.
func (s *strand) keep(block count) {
	switch {
	case block.net() > s.Worst[0].net():
		s.Worst[0], s.Worst[1] = block, s.Worst[0]
	case block.net() > s.Worst[1].net():
		s.Worst[1] = block
	}
}

// merge adds another strand, whose block ends with that.
func (s *strand) merge(other strand) {
	s.Total.plus(other.Total)
	s.Moved.plus(other.Moved)
	for _, block := range append(other.Worst[:], other.Block) {
		s.keep(block)
	}
}

// lasting is the count without the two blocks that were worst. Pairs that have a
// cause in common, a pause, a deployment, an outage next door, come close to each
// other: what speaks against the shadow only as long as they are in is an incident,
// and not how it behaves.
func (s strand) lasting() count {
	s.end()
	rest := s.Total
	for _, block := range s.Worst {
		rest.Pairs -= block.Pairs
		rest.Worse -= block.Worse
		rest.Better -= block.Better
	}
	return rest
}

// fewBlocks say nothing about how blocks vary.
const fewBlocks = 5

// spread is how many times more the blocks vary than they would if no pair had to
// do with the ones before it, at least 1: so many pairs say no more than one. It is
// infinite while there are too few blocks to tell. A process of other speed every few
// seconds, on either side, looks like evidence otherwise.
func (s strand) spread() float64 {
	n := float64(s.Total.Pairs)
	if s.Moved.Blocks < fewBlocks || s.Moved.N == 0 {
		return math.Inf(1)
	}
	mean := float64(s.Total.net()) / n
	alone := float64(s.Total.Worse+s.Total.Better)/n - mean*mean // variance of one pair
	if alone < 1e-9 {
		return 1 // all are the same
	}
	m := s.Moved
	return math.Max(1, (m.XX-2*mean*m.NX+mean*mean*m.NN)/(m.N*alone))
}

// blocks says when a block of time ends. It lasts an eighth of the time that was
// watched so far, at most ten minutes, and holds at least ten pairs. So at the
// start, and at any rate, ten pairs are a block, and a shadow that always fails is
// found out within forty; later it takes more than an incident.
type blocks struct {
	First time.Time `json:"first"` // when the first pair began
	Begin time.Time `json:"begin"` // when the block began
	Pairs int64     `json:"pairs"` // in the block
}

const (
	blockShare = 8 // of the time watched
	blockLimit = 10 * time.Minute
	blockPairs = 10
)

// merge takes over what began earlier.
func (b *blocks) merge(other blocks) {
	if b.First.IsZero() || !other.First.IsZero() && other.First.Before(b.First) {
		b.First = other.First
	}
	if b.Begin.IsZero() {
		b.Begin = other.Begin
	}
}

// over counts a pair, and says whether the block ends with it.
func (b *blocks) over(at time.Time) bool {
	if b.First.IsZero() {
		b.First, b.Begin = at, at
	}
	b.Pairs++
	if b.Pairs < blockPairs || at.Sub(b.Begin) < min(at.Sub(b.First)/blockShare, blockLimit) {
		return false
	}
	b.Begin, b.Pairs = at, 0
	return true
}
