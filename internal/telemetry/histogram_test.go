package telemetry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBucketHoldsItsDuration(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		-1, 0, 999, time.Microsecond, 7999, 8 * time.Microsecond, 15999, 16 * time.Microsecond, 17 * time.Microsecond,
		18 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 1023 * time.Microsecond, 1024 * time.Microsecond,
		time.Second, 59 * time.Second, time.Hour, 18 * time.Hour,
	} {
		i := bucket(d)
		if upper(i) <= d {
			t.Errorf("%v is in bucket %d, which ends at %v", d, i, upper(i))
		}
		if i > 0 && upper(i-1) > max(d, 0) {
			t.Errorf("%v is in bucket %d, which starts at %v", d, i, upper(i-1))
		}
	}
}

func TestBucketsCountUpWithoutGaps(t *testing.T) {
	t.Parallel()
	for i := 1; i < buckets; i++ {
		if upper(i) <= upper(i-1) {
			t.Fatalf("bucket %d ends at %v, the one before at %v", i, upper(i), upper(i-1))
		}
		if got := bucket(upper(i - 1)); got != i {
			t.Fatalf("a duration of %v, where bucket %d starts, is in bucket %d", upper(i-1), i, got)
		}
	}
}

func TestDurationsBeyondTheLastBucketCountInIt(t *testing.T) {
	t.Parallel()
	var h Histogram
	h.Add(1000 * time.Hour)
	if h.Counts[buckets-1] != 1 {
		t.Error("1000h is not in the last bucket")
	}
	if got, want := h.Quantile(0.5).Round(time.Hour), 19*time.Hour; got != want {
		t.Errorf("quantile = %v, want %v", got, want)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var thousand Histogram
	for i := 1; i <= 1000; i++ {
		thousand.Add(time.Duration(i) * time.Millisecond)
	}
	var one Histogram
	one.Add(5 * time.Microsecond)
	tests := map[string]struct {
		h    *Histogram
		q    float64
		want time.Duration
	}{
		"empty is 0":               {&Histogram{}, 0.99, 0},
		"one value is all of them": {&one, 0.5, 6 * time.Microsecond},
		"p0 is the least":          {&thousand, 0, 1024 * time.Microsecond},
		"p50 is 1/8 high at most":  {&thousand, 0.5, 524288 * time.Microsecond},
		"p99":                      {&thousand, 0.99, 1048576 * time.Microsecond},
		"p100 is the greatest":     {&thousand, 1, 1048576 * time.Microsecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.h.Quantile(tt.q); got != tt.want {
				t.Errorf("Quantile(%v) = %v, want %v", tt.q, got, tt.want)
			}
		})
	}
}

func TestMergeAddsUp(t *testing.T) {
	t.Parallel()
	var a, b, both Histogram
	for i, d := range []time.Duration{3 * time.Microsecond, 80 * time.Microsecond, 5 * time.Millisecond, 2 * time.Second} {
		both.Add(d)
		if i%2 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	if diff := cmp.Diff(both, a); diff != "" {
		t.Errorf("merged differs from added together (-want +got):\n%s", diff)
	}
}

func TestNegativeDurationsCountAsZero(t *testing.T) {
	t.Parallel()
	var h Histogram
	h.Add(-time.Second)
	if h.Sum != 0 || h.Count != 1 || h.Counts[0] != 1 {
		t.Errorf("sum %v, count %d, first bucket %d; want 0, 1, 1", h.Sum, h.Count, h.Counts[0])
	}
}

func TestCountAtMostNeverCountsAboveItsBound(t *testing.T) {
	t.Parallel()
	var h Histogram
	for _, d := range []time.Duration{time.Microsecond, 10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond} {
		h.Add(d)
	}
	for d, want := range map[time.Duration]uint64{
		0: 0, 2 * time.Microsecond: 1, 11 * time.Microsecond: 2, 104 * time.Microsecond: 3,
		103 * time.Microsecond: 2, // in the middle of the bucket that ends at 104 µs
		time.Millisecond:       3, // its bucket ends at 1024 µs
		time.Hour:              4,
	} {
		if got := h.CountAtMost(d); got != want {
			t.Errorf("CountAtMost(%v) = %d, want %d", d, got, want)
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Add(time.Millisecond) }); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}

func TestBucketsAreTheOnesThatCountSomething(t *testing.T) {
	t.Parallel()
	var h Histogram
	for _, d := range []time.Duration{time.Millisecond, time.Microsecond, time.Millisecond} {
		h.Add(d)
	}
	got := map[time.Duration]uint64{}
	for end, n := range h.Buckets() {
		got[end] = n
	}
	want := map[time.Duration]uint64{2 * time.Microsecond: 1, 1024 * time.Microsecond: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for range h.Buckets() {
		return // a loop may stop early
	}
	t.Error("no bucket was yielded")
}
