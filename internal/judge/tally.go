package judge

import (
	"errors"
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
//
// Pairs that failed on either side count for errors alone: a failure is no answer
// that could be compared, and how fast it came says nothing.
type Tally struct {
	Endpoint string `json:"endpoint"` // METHOD /template, or Everywhere

	Errors   strand `json:"errors"`
	Mismatch strand `json:"mismatch"` // nothing is ever better
	Control  strand `json:"control"`  // of mismatches, pairs with a control alone: worse is the shadow against it
	Latency  strand `json:"latency"`  // worse is above the limit, better below it
	Tail     strand `json:"tail"`

	Repeats          int64 `json:"repeats"` // of the same request to the same version, controls among them
	RepeatMismatches int64 `json:"repeatMismatches"`

	// Waiting is how many pairs are not settled yet because it is still to be found
	// out whether their differences are noise. Who keeps them sets it before asking for
	// checks: no PASS is given that they could take back. It is not part of the state.
	Waiting int64 `json:"-"`

	PrimaryLatency Sketch  `json:"primaryLatency"` // in seconds
	ShadowLatency  Sketch  `json:"shadowLatency"`
	Ratio          Sketch  `json:"ratio"`  // of both, the offsets taken off
	TailAt         float64 `json:"tailAt"` // where the primary's tail begins by earlier pairs, in seconds; 0 while there are too few

	Blocks  blocks `json:"blocks"`  // of what is known at once
	Settled blocks `json:"settled"` // of mismatches and controls

	Slower  float64       `json:"slower"` // Params.Latency, Slack and Offsets as of its making
	Slack   time.Duration `json:"slack"`
	Offsets Offsets       `json:"offsets"`
}

// The tail begins a quarter above a quantile of the primary's latencies, which is
// taken anew every so many pairs. So it is known before the pairs that it is applied
// to. The quarter is for services whose latencies hardly vary: what the shadow may be
// slower would carry it beyond all that the primary ever takes, and a shadow that does
// not use that up could hide its outliers behind the primary's ordinary answers.
const (
	tailQuantile = 0.95
	tailFactor   = 1.25
	tailEvery    = 256
)

// NewTally returns an empty tally. The limit of latency and the offsets are
// applied while observing, so that other ones need another tally: see [Tally.Fits].
func NewTally(endpoint string, p Params) *Tally {
	return &Tally{Endpoint: endpoint, Slower: p.Latency, Slack: p.Slack, Offsets: p.Offsets}
}

// Fits says whether the tally was made with the same limit of latency and offsets.
func (t *Tally) Fits(p Params) bool {
	return t.Slower == p.Latency && t.Slack == p.Slack && t.Offsets == p.Offsets
}

// Observe adds a pair of which all is known.
func (t *Tally) Observe(pair Pair) {
	t.Arrive(pair)
	t.Settle(pair)
}

// Arrive adds what is known of a pair at once: who failed, and how long it took. It
// is for every pair, whether or not it is ever settled: errors would be a share of
// those alone of which the answers are understood otherwise.
func (t *Tally) Arrive(pair Pair) {
	over := t.Blocks.over(pair.Time)
	t.Errors.add(pair.ShadowFailed, pair.PrimaryFailed)
	if !pair.ShadowFailed && !pair.PrimaryFailed && pair.Primary > 0 && pair.Shadow > 0 {
		t.observeLatency(pair.Primary.Seconds(), pair.Shadow.Seconds())
	}
	if over {
		t.Errors.end()
		t.Latency.end()
		t.Tail.end()
	}
}

// Settle adds what may be known later of a pair that has arrived: whether its answers
// differ beyond noise. Which pairs are settled must not depend on that.
func (t *Tally) Settle(pair Pair) {
	over := t.Settled.over(pair.Time)
	if !pair.ShadowFailed && !pair.PrimaryFailed {
		t.observeAnswers(pair)
	}
	if over {
		t.Mismatch.end()
		t.Control.end()
	}
}

func (t *Tally) observeAnswers(pair Pair) {
	t.Mismatch.add(pair.Mismatch, false)
	if pair.Controlled {
		t.Control.add(pair.Mismatch, pair.ControlMismatch)
		t.Repeat(pair.ControlMismatch)
	}
}

func (t *Tally) observeLatency(primary, shadow float64) {
	limit := t.allowed(primary)
	t.Latency.add(shadow > limit, shadow < limit)
	if t.TailAt > 0 {
		t.Tail.add(shadow > t.allowed(t.TailAt), primary > t.TailAt)
	}
	t.PrimaryLatency.Add(primary)
	t.ShadowLatency.Add(shadow)
	t.Ratio.Add((shadow - t.Offsets.Latency.Seconds()) / (primary * t.Offsets.scale()))
	if t.Latency.Total.Pairs%tailEvery == 0 {
		t.TailAt = tailFactor * t.PrimaryLatency.Quantile(tailQuantile)
	}
}

// allowed returns how long a shadow may take, in seconds, where the primary takes so long.
func (t *Tally) allowed(primary float64) float64 {
	return t.Offsets.of(primary)*(1+t.Slower) + t.Slack.Seconds()
}

// Repeat adds that the shadow was asked the same twice and whether its answers
// differed beyond noise, where the pair that belongs to it is not at hand. Like
// controls, repeats must not be chosen by how the answers compare.
func (t *Tally) Repeat(mismatch bool) {
	t.Repeats++
	if mismatch {
		t.RepeatMismatches++
	}
}

func (t *Tally) strands() [5]*strand {
	return [...]*strand{&t.Errors, &t.Mismatch, &t.Control, &t.Latency, &t.Tail}
}

// Merge adds what another tally has seen, or fails if that was made with other
// params. The other stays as it is.
func (t *Tally) Merge(other *Tally) error {
	if t.Slower != other.Slower || t.Slack != other.Slack || t.Offsets != other.Offsets {
		return errors.New("tallies of different limits or offsets of latency do not add up")
	}
	theirs := other.strands()
	for i, s := range t.strands() {
		s.merge(*theirs[i])
	}
	t.Repeats += other.Repeats
	t.RepeatMismatches += other.RepeatMismatches
	t.PrimaryLatency.Merge(&other.PrimaryLatency)
	t.ShadowLatency.Merge(&other.ShadowLatency)
	t.Ratio.Merge(&other.Ratio)
	if t.PrimaryLatency.Count() >= tailEvery {
		t.TailAt = tailFactor * t.PrimaryLatency.Quantile(tailQuantile)
	}
	t.Blocks.merge(other.Blocks)
	t.Settled.merge(other.Settled)
	return nil
}

// Primary returns the sketch of the primary's latencies in seconds, of pairs in
// which neither side failed.
func (t *Tally) Primary() *Sketch { return &t.PrimaryLatency }

// Shadow returns the sketch of the shadow's latencies; see [Tally.Primary].
func (t *Tally) Shadow() *Sketch { return &t.ShadowLatency }
