package judge

import (
	"encoding/json"
	"fmt"

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
// most.
func (s *Sketch) medianBetween(alpha, most float64) (low, high float64) {
	low, high = 0, most
	if s.Count() == 0 {
		return low, high
	}
	target := logInverse(alpha)
	n := s.Count()
	below := int64(s.sketch.GetZeroCount())
	s.sketch.GetPositiveValueStore().ForEach(func(index int, bin float64) bool { // ascending
		if 2*below < n && evidence(n-below, below, 0.5, flat) >= target {
			low = sketchMapping.LowerBound(index)
		}
		below += int64(bin)
		if 2*below > n && evidence(below, n-below, 0.5, flat) >= target {
			high = sketchMapping.LowerBound(index + 1)
			return true
		}
		return false
	})
	return low, high
}

// AppendBinary appends the sketch in DDSketch's own encoding.
func (s *Sketch) AppendBinary(b []byte) ([]byte, error) {
	if s.sketch != nil {
		s.sketch.Encode(&b, false)
	}
	return b, nil
}

// MarshalBinary returns the sketch in DDSketch's own encoding, nothing of an empty one.
func (s *Sketch) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// UnmarshalBinary replaces the sketch by one that was encoded.
func (s *Sketch) UnmarshalBinary(b []byte) error {
	s.sketch = nil
	if len(b) == 0 {
		return nil
	}
	decoded, err := ddsketch.DecodeDDSketch(b, sketchStore, sketchMapping)
	if err != nil {
		return fmt.Errorf("sketch: %w", err)
	}
	s.sketch = decoded
	return nil
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
