package mirror

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Join holds an exchange together until the live request and every copy of it
// have ended, and then offers it to the sinks, and to that of the tap if it was
// captured. Whoever works on a part of it holds it; the last Release offers. It
// belongs to one loop.
type Join struct {
	X     *traffic.Exchange
	Begin time.Duration  // X.Start on the loop's clock
	Sinks []traffic.Sink // get it without its messages; may be none

	holders    int
	tap        *Tap
	want       Want
	collection *collection // that it is a part of; nil if it was not to be captured
}

// NewJoin begins an exchange that is not captured, which began at that time of the
// loop's clock, with one holder.
func NewJoin(begin time.Duration, sinks []traffic.Sink) *Join {
	return &Join{X: &traffic.Exchange{}, Begin: begin, Sinks: sinks, holders: 1}
}

// Hold adds a holder.
func (j *Join) Hold() { j.holders++ }

// Release takes a holder away. The last one hands the exchange over.
func (j *Join) Release() {
	if j.holders--; j.holders > 0 {
		return
	}
	if len(j.Sinks) > 0 {
		x := j.X
		if j.collection != nil {
			x = uncaptured(x) // the other is used again, and its owner may change it
		}
		for _, sink := range j.Sinks {
			sink.Offer(x)
		}
	}
	if j.collection != nil {
		j.handOver()
		return
	}
	j.X = nil
}

// Since returns the time from the start of the exchange to t.
func (j *Join) Since(t time.Duration) time.Duration { return t - j.Begin }

// Times fills in when what o is about was sent, answered and over, on the loop's
// clock, 0 for never. An answer that came with the events of a pass may have been
// there before bytes that were written in the pass.
func (j *Join) Times(o *traffic.Outcome, sent, first, end time.Duration) {
	if sent > 0 {
		o.Start = j.Since(sent)
	}
	if first > 0 {
		o.First = max(j.Since(first), o.Start)
	}
	o.End = max(j.Since(end), o.Start, o.First)
}
