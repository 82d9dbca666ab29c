package replay

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Pace says when requests are due. The zero value is the pace of the recording.
// Exactly one of the fields is set, or none.
type Pace struct {
	Speed float64 // times the pace of the recording; 0 = 1
	Rate  float64 // requests per second, evenly spaced, whatever the recording's
	Max   bool    // as soon as an earlier one has been answered: the only pace that waits for the target
}

// ParseSpeed reads a factor such as 2x or 0.5x, or the words original and max.
func ParseSpeed(text string) (Pace, error) {
	switch text {
	case "original":
		return Pace{}, nil
	case "max":
		return Pace{Max: true}, nil
	}
	speed, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil {
		return Pace{}, fmt.Errorf("%q is neither a factor such as 2x nor original or max", text)
	}
	p := Pace{Speed: speed}
	if speed == 0 { // which in a Pace means the recording's
		return p, fmt.Errorf("%q never sends anything: give a factor above 0", text)
	}
	return p, p.validate()
}

func (p Pace) validate() error {
	switch {
	case p.Speed < 0 || math.IsNaN(p.Speed) || math.IsInf(p.Speed, 0):
		return fmt.Errorf("a speed of %g is not above 0", p.Speed)
	case p.Rate < 0 || p.Rate > maxRate || math.IsNaN(p.Rate):
		return fmt.Errorf("a rate of %g is not above 0 and at most %d requests per second", p.Rate, int(maxRate))
	case p.Speed > 0 && p.Rate > 0 || p.Max && (p.Speed > 0 || p.Rate > 0):
		return fmt.Errorf("a speed, a rate and max exclude each other")
	}
	return nil
}

// maxRate keeps the distance of two requests well above the clock's resolution.
const maxRate = 1e6

// String says the pace to people.
func (p Pace) String() string {
	switch {
	case p.Max:
		return "as fast as answers come"
	case p.Rate > 0:
		return strconv.FormatFloat(p.Rate, 'g', -1, 64) + " requests per second"
	case p.Speed == 0 || p.Speed == 1:
		return "the recorded pace"
	}
	return strconv.FormatFloat(p.Speed, 'g', -1, 64) + " times the recorded pace"
}

// due is when the n-th request, counted from 0, is due after the first one. It
// was recorded so much later than the first. Each is computed from the beginning
// and not from the one before, so that nothing adds up.
func (p Pace) due(n int64, recorded time.Duration) time.Duration {
	switch {
	case p.Max:
		return 0
	case p.Rate > 0:
		return time.Duration(math.Round(float64(n) / p.Rate * float64(time.Second)))
	case p.Speed > 0:
		return time.Duration(math.Round(float64(recorded) / p.Speed))
	}
	return recorded
}
