package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/sqlite"
)

// heir waits for the store of an instance that is taken over, which has it until it
// has finished what it began. Until then what is learned is in memory only.
type heir struct {
	dir    string
	log    *slog.Logger
	cancel context.CancelFunc
	got    chan store.Store // nil if there is none
}

// begin has pairs be kept as soon as the store is free. The caller must call end.
func (h *heir) begin(pairs *analyze.Pipeline) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.got = cancel, make(chan store.Store, 1)
	h.log.Info("what is learned of pairs is in memory only, until the instance that is taken over has finished and lets go of the store", slog.String("data", h.dir))
	go func() { h.got <- h.wait(ctx, pairs) }()
}

// end waits no longer, and returns the store if there is one. It is the caller's to
// close, after the pipeline.
func (h *heir) end() store.Store {
	h.cancel()
	return <-h.got
}

// wait returns the store when it is in use, or nil if it cannot be, or ctx has ended
// and it is another's still.
func (h *heir) wait(ctx context.Context, pairs *analyze.Pipeline) store.Store {
	const pause = 200 * time.Millisecond // an attempt is two system calls
	for last := false; ; {
		s, err := sqlite.Open(context.WithoutCancel(ctx), h.dir)
		switch {
		case err == nil:
			return h.take(s, pairs)
		case !errors.Is(err, store.ErrLocked):
			h.log.Error("what is learned of pairs is not kept until the next start", slog.String("data", h.dir), slog.Any("error", err))
			return nil
		case last:
			h.log.Error("what was learned of pairs is lost: the instance that was taken over has not let go of the store", slog.String("data", h.dir))
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			last = true
		}
	}
}

// take has pairs be kept in s from now on.
func (h *heir) take(s store.Store, pairs *analyze.Pipeline) store.Store {
	found, err := pairs.Keep(s)
	if err != nil {
		h.log.Error("what is learned of pairs is not kept until the next start", slog.String("data", h.dir), slog.Any("error", errors.Join(err, s.Close())))
		return nil
	}
	h.log.Info("what is learned of pairs is kept, together with what the instance before has learned", slog.String("data", h.dir),
		slog.Int64("pairs_before", found.Before), slog.Int64("pairs_since", found.Meanwhile))
	if found.Forgotten > 0 {
		h.log.Warn("pairs were forgotten that did not go by the calibration in the store", slog.Int64("pairs", found.Forgotten))
	}
	return s
}
