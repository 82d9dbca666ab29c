package judge

import (
	"time"
)

// Everywhere is the endpoint of the tally that observes every pair of a mirror,
// beside those of the single endpoints. A PASS is first of all about it.
const Everywhere = "*"

// Pair is what the statistics need of one exchange: the primary's and one
// shadow's answer to the same request. Pairs of class infra, and tainted ones,
// are not observed at all.
type Pair struct {
	Mismatch      bool // the answers differ, beyond noise
	PrimaryFailed bool // 5xx, no answer in time, or gRPC's like
	ShadowFailed  bool

	// Controlled says that the same request was also answered by a control: the
	// baseline, compared with the primary, or else the shadow asked twice, both of
	// its answers compared. ControlMismatch says that those differed, beyond noise.
	// Whether there is a control must have been decided without looking at how the
	// answers compare: asking again because they differ is none.
	Controlled      bool
	ControlMismatch bool

	Primary time.Duration // until the first byte of the answer; 0 if there is none
	Shadow  time.Duration
	Time    time.Time // when it began
}

// Tally is the state of one endpoint of one mirror: counts and sketches, a few
// kilobytes, as JSON to be resumed. Make one by [NewTally]; one goroutine uses it.
type Tally struct {
	Endpoint string `json:"endpoint"` // METHOD /template, or Everywhere
	Pairs    int64  `json:"pairs"`
}

// NewTally returns an empty tally. The limits of latency and the offsets are
// applied while observing, so later ones need another tally.
func NewTally(endpoint string, p Params) *Tally {
	return &Tally{Endpoint: endpoint}
}

// Observe adds a pair.
func (t *Tally) Observe(pair Pair) { t.Pairs++ }

// Repeat adds that the shadow was asked the same twice and whether its answers
// differed, where the pair that belongs to it is not at hand. Like controls,
// repeats must not be chosen by how the answers compare.
func (t *Tally) Repeat(mismatch bool) {}

// Merge adds what another tally of the same params has seen. The other stays as it is.
func (t *Tally) Merge(other *Tally) error {
	t.Pairs += other.Pairs
	return nil
}

// Checks returns the four checks of the endpoint. Their verdicts are as if each
// were the only one; [Decide] corrects that.
func (t *Tally) Checks(p Params) []Check { return nil }

// Primary and Shadow return the sketches of latencies in seconds, of answers that did not fail.
func (t *Tally) Primary() *Sketch { return NewSketch() }

// Shadow returns the sketch of the shadow's latencies; see [Tally.Primary].
func (t *Tally) Shadow() *Sketch { return NewSketch() }

// Calibrate returns the offsets that a tally of a shadow of the primary's own
// version shows.
func Calibrate(t *Tally, p Params) Offsets { return Offsets{} }
