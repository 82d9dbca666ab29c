package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// recorder is a sink that records what was drawn for it, as the configuration in
// force says: which folder, or none.
type recorder struct {
	log     *slog.Logger
	wait    bool // the folder may still be another instance's
	current atomic.Pointer[recording.Writer]
	config  *config.Record // of current

	mu     sync.Mutex
	ending *recording.Writer   // that was current, and is being closed
	ended  telemetry.Recording // counts of the writers before
}

// apply puts c in force, or changes nothing. It is not called twice at a time.
func (r *recorder) apply(c *config.Record) error {
	if reflect.DeepEqual(c, r.config) {
		return nil
	}
	var next *recording.Writer
	if c != nil {
		o := recording.Options{Segment: int64(c.Segment), Size: int64(c.Size), Age: time.Duration(c.Age), Log: r.log}
		o.Wait = r.wait || r.config != nil && r.config.Directory == c.Directory // which this recorder has until it is closed, below
		var err error
		if next, err = recording.Create(c.Directory, o); err != nil {
			return fmt.Errorf("nothing can be recorded in %s: %w", c.Directory, err)
		}
	}
	r.config = c
	if err := r.replace(next); err != nil {
		r.log.Error("the end of a recording is lost", slog.Any("error", err))
	}
	return nil
}

// replace has what is offered from now on go to next, and ends the writer before.
func (r *recorder) replace(next *recording.Writer) error {
	r.mu.Lock()
	before := r.current.Swap(next)
	r.ending = before
	r.mu.Unlock()
	if before == nil {
		return nil
	}
	err := closeWriter(before)
	c := before.Counts()
	if c.Behind+c.TooLarge > 0 {
		r.log.Warn("exchanges were not recorded", slog.Uint64("recorded", c.Acknowledged), slog.Uint64("disk_behind", c.Behind), slog.Uint64("too_large", c.TooLarge))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending, r.ended = nil, sum(r.ended, c)
	return err
}

func sum(t telemetry.Recording, c recording.Counts) telemetry.Recording {
	return telemetry.Recording{
		Accepted: t.Accepted + c.Accepted, Written: t.Written + c.Acknowledged, Refused: t.Refused + c.Behind + c.Closed, TooLarge: t.TooLarge + c.TooLarge,
	}
}

// counts returns what became of everything that was drawn.
func (r *recorder) counts() telemetry.Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.ended
	for _, w := range []*recording.Writer{r.ending, r.current.Load()} {
		if w != nil {
			all = sum(all, w.Counts())
		}
	}
	return all
}

// Offer implements [traffic.Sink].
func (r *recorder) Offer(x *traffic.Exchange) bool {
	if !x.Record {
		return true
	}
	w := r.current.Load()
	return w == nil || w.Offer(x)
}

// close ends the recording.
func (r *recorder) close() error {
	r.config = nil
	return r.replace(nil)
}

// closeWriter waits for the disk for as long as the end of an instance may take.
func closeWriter(w *recording.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err := w.Close(ctx)
	if errors.Is(err, recording.ErrLocked) {
		return errors.Join(errors.New("another process never let go of the folder"), err)
	}
	return err
}
