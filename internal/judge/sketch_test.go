package judge

import (
	"encoding/json"
	"math"
	"testing"
)

func sketchOf(values ...float64) *Sketch {
	s := NewSketch()
	for _, v := range values {
		s.Add(v)
	}
	return s
}

func TestSketch(t *testing.T) {
	var s Sketch
	if s.Count() != 0 || s.Quantile(0.5) != 0 {
		t.Errorf("empty: %d, %v", s.Count(), s.Quantile(0.5))
	}
	for i := range 1000 {
		s.Add(float64(i+1) / 1000)
	}
	for q, want := range map[float64]float64{0: 0.001, 0.5: 0.5, 0.95: 0.95, 1: 1} {
		if got := s.Quantile(q); math.Abs(got-want) > 0.011*want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := s.Quantile(2); got != 0 {
		t.Errorf("quantile 2 is %v", got)
	}
	s.Add(-3) // nothing takes less than no time
	s.Add(0)
	s.Add(math.NaN())
	if s.Count() < 1002 || s.Quantile(0) != 0 {
		t.Errorf("%d values from %v", s.Count(), s.Quantile(0))
	}
}

func TestSketchesAddUp(t *testing.T) {
	one, two := sketchOf(1, 2, 3), sketchOf(4, 5)
	one.Merge(two)
	one.Merge(NewSketch())
	if one.Count() != 5 || math.Abs(one.Quantile(1)-5) > 0.051 || two.Count() != 2 {
		t.Errorf("%d up to %v, the other %d", one.Count(), one.Quantile(1), two.Count())
	}
	var empty Sketch
	empty.Merge(two)
	if empty.Count() != 2 {
		t.Errorf("%d", empty.Count())
	}
}

func TestSketchSurvivesJSON(t *testing.T) {
	for _, s := range []*Sketch{NewSketch(), sketchOf(0.001, 0.002, 5)} {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Sketch
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if again.Count() != s.Count() || again.Quantile(0.5) != s.Quantile(0.5) {
			t.Errorf("%d and %v, were %d and %v", again.Count(), again.Quantile(0.5), s.Count(), s.Quantile(0.5))
		}
	}
	for _, bad := range []string{`7`, `"!"`, `"/////w=="`, `"AQ=="`, `"AQD/"`, `"AQAA////////////AQ=="`} {
		if err := json.Unmarshal([]byte(bad), NewSketch()); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// Of 100 values, 5 % of doubt leaves the middle 30: evidence(65, 35) is e^3.13 and the
// first to reach 20, evidence(64, 36) is e^2.54.
func TestMedianBetween(t *testing.T) {
	s := NewSketch()
	for i := range 100 {
		s.Add(math.Pow(1.05, float64(i))) // more than two bins apart
	}
	low, high := s.medianBetween(0.05)
	if math.Abs(low/math.Pow(1.05, 35)-1) > 0.03 || math.Abs(high/math.Pow(1.05, 65)-1) > 0.03 {
		t.Errorf("between 1.05^%.1f and 1.05^%.1f", math.Log(low)/math.Log(1.05), math.Log(high)/math.Log(1.05))
	}
	if low, high := sketchOf(1, 2).medianBetween(0.05); low != 0 || high != 1000 {
		t.Errorf("of two values: %v to %v", low, high)
	}
	if low, high := NewSketch().medianBetween(0.05); low != 0 || high != 1000 {
		t.Errorf("of none: %v to %v", low, high)
	}
	var same Sketch
	for range 1000 {
		same.Add(2)
	}
	if low, high := same.medianBetween(0.05); low > 2 || low < 1.95 || high < 2 || high > 2.05 {
		t.Errorf("of one value: %v to %v", low, high)
	}
}

func FuzzSketch(f *testing.F) {
	for _, s := range []*Sketch{NewSketch(), sketchOf(1), sketchOf(0, 1e-9, 1e9)} {
		b, err := s.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Sketch
		if s.UnmarshalBinary(b) != nil {
			return
		}
		s.Add(1)
		s.Quantile(0.5)
		s.medianBetween(0.05)
	})
}
