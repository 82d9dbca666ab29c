//go:build linux

package load

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// A bucket is at most 1/128 of its value wide, which keeps every quantile
// within 0.8 % of the truth: finer than two runs ever agree.
const (
	subBits = 7
	sub     = 1 << subBits
	buckets = (63-subBits-1)*sub + 2*sub
)

// Histogram counts durations in buckets of constant relative width (0.8 %).
// The zero value is empty and ready to use. It is not safe for concurrent use.
type Histogram struct {
	counts []uint64 // nil until the first value
	count  uint64
	sum    float64 // nanoseconds
	max    time.Duration
}

// bucketOf gives the bucket of a value: values below 2*sub have one each, every
// octave above has sub of them.
func bucketOf(v uint64) int {
	shift := bits.Len64(v) - subBits - 1
	if shift <= 0 {
		return int(v)
	}
	return shift*sub + int(v>>shift)
}

// upperEdge is the largest value that bucketOf puts into bucket i.
func upperEdge(i int) uint64 {
	if i < 2*sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return (uint64(i%sub+sub)+1)<<shift - 1
}

// Record adds one duration; negative ones count as zero.
func (h *Histogram) Record(d time.Duration) {
	if d < 0 {
		d = 0
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	h.counts[bucketOf(uint64(d))]++
	h.count++
	h.sum += float64(d)
	h.max = max(h.max, d)
}

// Merge adds all values of o, which it leaves alone.
func (h *Histogram) Merge(o *Histogram) {
	if o.count == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count is how many values were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the largest value recorded, exactly; 0 when empty.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the average of the values recorded; 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile gives the smallest value that at least q (0 to 1) of all values do
// not exceed, rounded up to its bucket's edge; 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(time.Duration(upperEdge(i)), h.max)
		}
	}
	return h.max
}

// sparse is a histogram on its way between processes.
type sparse struct {
	Buckets [][2]uint64 `json:"buckets"` // index, count
	Sum     float64     `json:"sum_ns"`
	Max     int64       `json:"max_ns"`
}

// MarshalJSON writes the buckets that are not empty.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	s := sparse{Buckets: [][2]uint64{}, Sum: h.sum, Max: int64(h.max)}
	for i, n := range h.counts {
		if n > 0 {
			s.Buckets = append(s.Buckets, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var s sparse
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	*h = Histogram{counts: make([]uint64, buckets), sum: s.Sum, max: time.Duration(s.Max)}
	for _, p := range s.Buckets {
		if p[0] >= buckets {
			return fmt.Errorf("decode histogram: bucket %d of %d", p[0], buckets)
		}
		h.counts[p[0]] += p[1]
		h.count += p[1]
	}
	return nil
}
