package judge

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sort"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// How exact sketches are, and how large they may grow.
const (
	sketchError = 0.01 // of a value
	sketchBins  = 2048 // 17 decades at that error; beyond, the lowest values run together
)

// Sketch holds how positive values are distributed, each within 1 % of itself, in
// a few kilobytes: a DDSketch (Masson, Rim, Lee: VLDB 2019, arXiv 1908.10693).
// Sketches add up exactly, in any order. The zero value is empty and ready.
type Sketch struct {
	sketch *ddsketch.DDSketch
}

var sketchMapping = func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(sketchError)
	if err != nil {
		panic(err) // the constant is wrong
	}
	return m
}()

func sketchStore() store.Store { return store.NewCollapsingLowestDenseStore(sketchBins) }

// NewSketch returns an empty sketch.
func NewSketch() *Sketch { return &Sketch{} }

func (s *Sketch) made() *ddsketch.DDSketch {
	if s.sketch == nil {
		s.sketch = ddsketch.NewDDSketch(sketchMapping, sketchStore(), sketchStore())
	}
	return s.sketch
}

// Add adds a value that is finite. What is not positive counts as 0.
func (s *Sketch) Add(value float64) {
	// The error is that value is beyond 1e308 or no number, and then it is left out.
	_ = s.made().Add(max(value, 0))
}

// Count returns how many values were added.
func (s *Sketch) Count() int64 {
	if s.sketch == nil {
		return 0
	}
	return int64(s.sketch.GetCount())
}

// Quantile returns the value that a share q of the values do not exceed, from 0
// to 1. Of an empty sketch it is 0.
func (s *Sketch) Quantile(q float64) float64 {
	if s.Count() == 0 {
		return 0
	}
	value, err := s.sketch.GetValueAtQuantile(q)
	if err != nil { // q is no share
		return 0
	}
	return value
}

// Merge adds the values of another sketch, which stays as it is.
func (s *Sketch) Merge(other *Sketch) {
	if other.sketch == nil {
		return
	}
	// The error is that the mappings are not the same, and there is only one.
	_ = s.made().MergeWith(other.sketch)
}

// medianBetween returns limits of the median, each of which is ever wrong with a
// probability of at most alpha: the bounds of bins that so many values lie above, or
// below, that the median must. At a fixed value signs are what [evidence] wants, and
// only the bound that is the median could be ruled out by mistake (Howard, Ramdas,
// arXiv 1906.09712, without the union over values). Of too few values they are 0 and
// mostRatio.
func (s *Sketch) medianBetween(alpha float64) (low, high float64) {
	low, high = 0, mostRatio
	if s.Count() == 0 {
		return low, high
	}
	target := logInverse(alpha)
	n := s.Count()
	var bounds []float64 // of bins, ascending
	var below []int64    // values below each bound
	sum := int64(s.sketch.GetZeroCount())
	s.sketch.GetPositiveValueStore().ForEach(func(index int, bin float64) bool {
		bounds = append(bounds, sketchMapping.LowerBound(index))
		below = append(below, sum)
		sum += int64(bin)
		return false
	})
	if most, err := s.sketch.GetMaxValue(); err == nil {
		bounds = append(bounds, most*(1+sketchError))
	}
	below = append(below, sum)[:len(bounds)]
	// The bounds that too many values lie above come first, those that too many lie below last.
	i := sort.Search(len(bounds), func(i int) bool {
		return 2*below[i] >= n || evidence(n-below[i], below[i], 0.5, flat) < target
	})
	if i > 0 {
		low = bounds[i-1]
	}
	if i = sort.Search(len(bounds), func(i int) bool {
		return 2*below[i] > n && evidence(below[i], n-below[i], 0.5, flat) >= target
	}); i < len(bounds) {
		high = bounds[i]
	}
	return low, high
}

// The binary form is a version, the number of zeros, the index of the lowest bin,
// and the counts of it and those that follow, as varints. The library's own is not
// read here: it panics on bytes that it did not write.
const sketchVersion = 1

// MarshalBinary returns the sketch in a compact form, nothing of an empty one.
func (s *Sketch) MarshalBinary() ([]byte, error) {
	if s.Count() == 0 {
		return nil, nil
	}
	b := binary.AppendUvarint([]byte{sketchVersion}, uint64(s.sketch.GetZeroCount()))
	next, first := 0, true
	s.sketch.GetPositiveValueStore().ForEach(func(index int, bin float64) bool { // ascending
		if first {
			b = binary.AppendVarint(b, int64(index))
			next, first = index, false
		}
		for ; next < index; next++ {
			b = append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(bin))
		next++
		return false
	})
	return b, nil
}

// UnmarshalBinary replaces the sketch by one that [Sketch.MarshalBinary] wrote.
func (s *Sketch) UnmarshalBinary(b []byte) error {
	s.sketch = nil
	if len(b) == 0 {
		return nil
	}
	if b[0] != sketchVersion {
		return fmt.Errorf("sketch: version %d, not %d", b[0], sketchVersion)
	}
	zeros, b, err := uvarint(b[1:])
	if err != nil {
		return err
	}
	read := s.made()
	defer func() {
		if err != nil {
			s.sketch = nil
		}
	}()
	if err = read.AddWithCount(0, float64(zeros)); err != nil || len(b) == 0 {
		return err
	}
	index, n := binary.Varint(b)
	b = b[max(n, 0):]
	if n <= 0 || index < lowestBin || index > highestBin {
		err = errors.New("sketch: the index of the first bin is none")
		return err
	}
	for i := int(index); len(b) > 0; i++ {
		var count uint64
		if count, b, err = uvarint(b); err != nil {
			return err
		}
		if i > int(index)+sketchBins || int64(i) > highestBin {
			err = errors.New("sketch: there are too many bins")
			return err
		}
		if count > 0 {
			read.GetPositiveValueStore().AddWithCount(i, float64(count))
		}
	}
	return nil
}

// The bins of what a float64 can hold.
var (
	lowestBin  = int64(sketchMapping.Index(sketchMapping.MinIndexableValue()))
	highestBin = int64(sketchMapping.Index(sketchMapping.MaxIndexableValue()))
)

// uvarint reads a number that a sketch can hold exactly.
func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<52 {
		return 0, nil, errors.New("sketch: a number is cut off or too large")
	}
	return v, b[n:], nil
}

// MarshalJSON returns the binary form as a string of base64.
func (s Sketch) MarshalJSON() ([]byte, error) {
	b, err := s.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// UnmarshalJSON reads what [Sketch.MarshalJSON] wrote.
func (s *Sketch) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("sketch: %w", err)
	}
	return s.UnmarshalBinary(b)
}
