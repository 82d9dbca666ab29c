package telemetry

import (
	"iter"
	"math/bits"
	"time"
)

// Histogram counts durations in log-linear buckets: eight per power of two
// from 1 µs to about 19 hours, so that a quantile is at most 1/8 too high.
// The zero value is empty. It is not safe for concurrent use: a loop owns its
// own and snapshots add them up. Add does not allocate.
type Histogram struct {
	Counts [buckets]uint64 `json:"-"`
	Count  uint64          `json:"count"`
	Sum    time.Duration   `json:"sum"`
}

const (
	subBits = 3
	sub     = 1 << subBits
	buckets = 34 * sub
)

// Add counts one duration; negative ones count as zero.
func (h *Histogram) Add(d time.Duration) {
	h.Counts[bucket(d)]++
	h.Count++
	h.Sum += max(d, 0)
}

// Merge adds the counts of o.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.Count += o.Count
	h.Sum += o.Sum
}

// Quantile returns the upper bound of the bucket that holds quantile q
// (0 to 1), and 0 if the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.Count))
	rank = min(rank, h.Count-1)
	var seen uint64
	for i, n := range h.Counts {
		seen += n
		if seen > rank {
			return upper(i)
		}
	}
	return upper(buckets - 1)
}

// CountAtMost returns how many durations were in buckets that end at or below d.
func (h *Histogram) CountAtMost(d time.Duration) uint64 {
	var seen uint64
	for i, n := range h.Counts {
		if upper(i) > d {
			break
		}
		seen += n
	}
	return seen
}

// bucket finds the bucket of d: values below 8 µs have one each, above that
// the three bits behind the leading one choose among eight.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < sub {
		return int(us)
	}
	exp := bits.Len64(us) - subBits - 1
	return min(exp*sub+int(us>>exp), buckets-1)
}

// upper returns where bucket i ends, exclusive.
func upper(i int) time.Duration {
	if i < sub {
		return time.Duration(i+1) * time.Microsecond
	}
	exp := i/sub - 1
	return time.Duration(uint64(i%sub+sub+1)<<exp) * time.Microsecond
}

// Buckets yields where each bucket that is not empty ends, exclusive, and what
// it counts, shortest durations first.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, n := range h.Counts {
			if n > 0 && !yield(upper(i), n) {
				return
			}
		}
	}
}
