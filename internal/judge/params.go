package judge

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Params say what a verdict asks for. Shares and limits are fractions: 0.001 is
// 0.1 %. The zero value is of no use; see [ParamsOf].
type Params struct {
	Alpha   float64 // probability of a FAIL without a cause, and of a PASS in spite of one, however often one looks
	Excess  float64 // share of differing answers beyond noise that PASS rules out
	Errors  float64 // share of errors beyond the primary's that PASS rules out
	Latency float64 // share by which the shadow may be slower
	Tail    float64 // share of slow answers beyond the primary's that PASS rules out
	Pairs   int64   // fewer are NOT_ENOUGH_TRAFFIC

	// Noise is the share of answers that are thought to differ by themselves
	// where nothing has measured it: no baseline, no repeats, no calibration.
	Noise float64

	// Slack is time by which the shadow may be slower whatever the primary takes:
	// 5 % of a millisecond is what the way there takes.
	Slack time.Duration

	Offsets Offsets // as measured by calibration; the zero value is none
}

// What no user is asked for.
const (
	defaultTail  = 0.005 // one answer in two hundred that would not have been slow
	defaultNoise = 0.002
	defaultSlack = 200 * time.Microsecond
)

// ParamsOf returns the params that a configuration asks for. What is left out
// there has its default here as well.
func ParamsOf(c config.Judge) Params {
	p := Params{
		Alpha:   c.Alpha,
		Excess:  percent(c.Excess, 0.1),
		Errors:  percent(c.Errors, 0.1),
		Latency: percent(c.Latency, 5),
		Tail:    defaultTail,
		Pairs:   int64(c.Pairs),
		Noise:   defaultNoise,
		Slack:   defaultSlack,
	}
	if p.Alpha == 0 {
		p.Alpha = 0.05
	}
	if p.Pairs == 0 {
		p.Pairs = 300
	}
	return p
}

func percent(of *float64, otherwise float64) float64 {
	if of == nil {
		return otherwise / 100
	}
	return *of / 100
}

// noise returns the limits between which the share of answers that differ by
// themselves is thought to lie, before repeats and controls are asked.
func (p Params) noise() (low, high float64) {
	if p.Offsets.Measured() {
		return p.Offsets.MismatchLow, p.Offsets.Mismatch
	}
	return 0, p.Noise
}
