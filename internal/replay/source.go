package replay

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Source gives recorded exchanges one by one, and io.EOF after the last. The
// caller owns what it gets. One goroutine uses a Source.
type Source interface {
	Next() (*traffic.Exchange, error)
}

// Repeat gives the exchanges of what open opens so many times. Those of a later
// pass begin after the last of the pass before has begun, and their ids end in
// the number of the pass. If what open returns is an [io.Closer], it is closed
// when it has been read.
func Repeat(open func() (Source, error), times int) Source {
	return &repeated{open: open, times: times}
}

type repeated struct {
	open  func() (Source, error)
	times int

	source      Source
	pass        int
	shift       time.Duration // of the current pass
	first, last time.Time     // beginnings, of all passes so far
	n           int64         // exchanges of the current pass
}

// Next implements [Source].
func (r *repeated) Next() (*traffic.Exchange, error) {
	for {
		if r.source == nil {
			if r.pass == r.times {
				return nil, io.EOF
			}
			if err := r.begin(); err != nil {
				return nil, err
			}
		}
		x, err := r.source.Next()
		if errors.Is(err, io.EOF) {
			if err := r.end(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		r.n++
		r.place(x)
		return x, nil
	}
}

// place puts x into the time of its pass.
func (r *repeated) place(x *traffic.Exchange) {
	if r.first.IsZero() || r.pass == 1 && x.Start.Before(r.first) {
		r.first = x.Start
	}
	x.Start = x.Start.Add(r.shift)
	if x.Start.After(r.last) {
		r.last = x.Start
	}
	if r.pass > 1 {
		x.ID = fmt.Sprintf("%s-%d", x.ID, r.pass)
	}
}

func (r *repeated) begin() error {
	var err error
	if r.source, err = r.open(); err != nil {
		return err
	}
	r.pass++
	if r.pass > 1 {
		// As if the recording went on: the first of a pass follows the last of the
		// one before at the mean distance.
		span := r.last.Sub(r.first)
		r.shift = span + span/time.Duration(max(1, r.n*int64(r.pass-1)-1))
	}
	r.n = 0
	return nil
}

func (r *repeated) end() error {
	if r.n == 0 {
		r.pass = r.times // an empty recording stays empty
	}
	return r.Close()
}

// Close closes what is being read.
func (r *repeated) Close() error {
	source := r.source
	r.source = nil
	if c, ok := source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// sorter gives the exchanges of a source in the order in which they began. A
// recording holds them in the order in which they ended, so that a long one lies
// behind shorter ones that began after it. The sorter looks ahead over a bounded
// number of exchanges and bytes; what began even earlier than that comes late.
type sorter struct {
	source  Source
	ahead   byStart
	bytes   int64
	end     error // of the source, once it has ended
	arrived int64
}

const (
	sorterExchanges = 1024
	sorterBytes     = 32 << 20
)

// Next implements [Source].
func (s *sorter) Next() (*traffic.Exchange, error) {
	for s.end == nil && len(s.ahead) < sorterExchanges && s.bytes < sorterBytes {
		x, err := s.source.Next()
		if err != nil {
			s.end = err
			break
		}
		s.bytes += sizeOf(x)
		heap.Push(&s.ahead, arrival{x, s.arrived})
		s.arrived++
	}
	if len(s.ahead) == 0 {
		return nil, s.end
	}
	x := heap.Pop(&s.ahead).(arrival).Exchange
	s.bytes -= sizeOf(x)
	return x, nil
}

// arrival is an exchange and its place in the recording, which decides between
// those that began at the same moment.
type arrival struct {
	*traffic.Exchange
	place int64
}

// byStart implements [heap.Interface].
type byStart []arrival

// Len implements [heap.Interface].
func (h byStart) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h byStart) Less(i, j int) bool {
	if !h[i].Start.Equal(h[j].Start) {
		return h[i].Start.Before(h[j].Start)
	}
	return h[i].place < h[j].place
}

// Swap implements [heap.Interface].
func (h byStart) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *byStart) Push(x any) { *h = append(*h, x.(arrival)) }

// Pop implements [heap.Interface].
func (h *byStart) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = arrival{}
	*h = (*h)[:last]
	return x
}

// sizeOf is what an exchange holds, in bytes.
func sizeOf(x *traffic.Exchange) int64 {
	const fixed = 1024 // the exchange itself and its short texts
	size := int64(fixed)
	size += sizeOfMessage(x.Request) + sizeOfMessage(x.Primary.Answer)
	for i := range x.Copies {
		size += sizeOfMessage(x.Copies[i].Answer)
	}
	return size
}

func sizeOfMessage(m *traffic.Message) int64 {
	if m == nil {
		return 0
	}
	return int64(len(m.Head) + len(m.Body) + len(m.Trailer))
}
