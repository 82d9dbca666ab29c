package mirror

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Join holds an exchange together until the live request and every copy of it
// have ended, and then offers it to the sinks. Whoever works on a part of it
// holds it; the last Release offers. It belongs to one loop.
type Join struct {
	X     *traffic.Exchange
	Begin time.Duration // X.Start on the loop's clock
	Sinks []traffic.Sink

	holders int
}

// Hold adds a holder.
func (j *Join) Hold() { j.holders++ }

// Release takes a holder away. The last one hands the exchange over.
func (j *Join) Release() {
	if j.holders--; j.holders > 0 {
		return
	}
	for _, sink := range j.Sinks {
		sink.Offer(j.X)
	}
	j.X = nil
}

// Since returns the time from the start of the exchange to t.
func (j *Join) Since(t time.Duration) time.Duration { return t - j.Begin }
