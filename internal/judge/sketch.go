package judge

import (
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
// Sketches add up exactly, in any order. Make one by [NewSketch].
type Sketch struct {
	sketch *ddsketch.DDSketch
}

// NewSketch returns an empty sketch.
func NewSketch() *Sketch {
	return &Sketch{ddsketch.NewDDSketch(sketchMapping, store.NewCollapsingLowestDenseStore(sketchBins), store.NewDenseStore())}
}

var sketchMapping = func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(sketchError)
	if err != nil {
		panic(err) // the constant is wrong
	}
	return m
}()

// Add adds a value. What is not positive counts as the smallest.
func (s *Sketch) Add(value float64) { _ = s.sketch.Add(value) }

// Count returns how many values were added.
func (s *Sketch) Count() int64 { return int64(s.sketch.GetCount()) }

// Quantile returns the value that a share q of the values do not exceed, 0 of an empty sketch.
func (s *Sketch) Quantile(q float64) float64 {
	value, err := s.sketch.GetValueAtQuantile(q)
	if err != nil {
		return 0
	}
	return value
}

// Merge adds the values of another sketch, which stays as it is.
func (s *Sketch) Merge(other *Sketch) { _ = s.sketch.MergeWith(other.sketch) }
