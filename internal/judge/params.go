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
	Tail    float64 // share of answers beyond the primary's that may be in the tail
	Pairs   int64   // fewer are NOT_ENOUGH_TRAFFIC

	// Floor is the share of answers that are thought to differ by themselves
	// where nothing has measured it: no baseline, no repeats, no calibration.
	Floor float64

	// Slack is time by which the shadow may be slower whatever the primary takes:
	// 5 % of a millisecond is what the way there takes.
	Slack time.Duration

	Offsets Offsets // as measured by calibration; the zero value is none
}

// What no user is asked for.
const (
	defaultTail  = 0.005 // one answer in ten more than the twentieth that is the tail
	defaultFloor = 0.002
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
		Floor:   defaultFloor,
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

// Offsets are what a shadow of the primary's own version was measured to do: by
// how much it is slower without being worse, and how often its answers differ.
// The zero value is that nothing was measured.
type Offsets struct {
	Latency  time.Duration `json:"latency"`  // that its answers take longer, whatever the primary takes
	Scale    float64       `json:"scale"`    // what the primary's time is multiplied by; 0 is 1
	Mismatch float64       `json:"mismatch"` // upper limit of the share of answers that differ
	Pairs    int64         `json:"pairs"`    // that were measured
}

// Measured says whether the offsets are from a calibration.
func (o Offsets) Measured() bool { return o.Pairs > 0 }

// of returns how long an answer that took the primary so long may take a shadow
// of the same version.
func (o Offsets) of(primary float64) float64 {
	if o.Scale > 0 {
		primary *= o.Scale
	}
	return primary + o.Latency.Seconds()
}
