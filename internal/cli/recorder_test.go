package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// recorded reads the ids of what is in a folder.
func recorded(t *testing.T, dir string) string {
	t.Helper()
	s, _, errOut := testStreams()
	var ids []string
	if err := each(s, dir, &recording.Filter{}, func(x *traffic.Exchange) error {
		ids = append(ids, x.ID)
		return nil
	}); err != nil || errOut.String() != "" {
		t.Fatalf("%v %s", err, errOut)
	}
	return strings.Join(ids, " ")
}

// TestRecorderDoesAsTheConfigurationSays begins, moves, bounds, refuses and ends a
// recording, as reloads may.
func TestRecorderDoesAsTheConfigurationSays(t *testing.T) {
	t.Parallel()
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	var log bytes.Buffer
	r := &recorder{log: slog.New(slog.NewTextHandler(&log, nil))}
	apply := func(c *config.Record) {
		t.Helper()
		if err := r.apply(c); err != nil {
			t.Fatal(err)
		}
	}
	offer := func(id string) {
		t.Helper()
		if !r.Offer(&traffic.Exchange{ID: id, Record: true}) {
			t.Fatalf("%s was refused", id)
		}
	}
	apply(nil)
	offer("nowhere")
	apply(&config.Record{Directory: one})
	offer("a")
	if !r.Offer(&traffic.Exchange{ID: "not drawn"}) {
		t.Error("an exchange that was not drawn counts as refused")
	}
	apply(&config.Record{Directory: one}) // as it was
	offer("b")
	apply(&config.Record{Directory: one, Segment: 1 << 20}) // the same folder, by another writer
	offer("c")
	apply(&config.Record{Directory: two, Size: 1 << 30, Age: config.Age(time.Hour)})
	offer("d")
	holder, err := recording.Create(one, recording.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.apply(&config.Record{Directory: one}); !errors.Is(err, recording.ErrLocked) || !strings.HasPrefix(err.Error(), "nothing can be recorded in "+one+": ") {
		t.Errorf("got %v, want %v", err, recording.ErrLocked)
	}
	offer("e") // where it was
	if err := holder.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(nil)
	offer("nowhere again")
	if err := errors.Join(r.close(), r.close()); err != nil {
		t.Error(err)
	}
	if got, want := r.counts(), (telemetry.Recording{Accepted: 5, Written: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := recorded(t, one)+", "+recorded(t, two), "a b c, d e"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if log.String() != "" {
		t.Errorf("the log has %s", &log)
	}
}

// TestATakeoverWaitsForTheFolder has what is recorded meanwhile be kept.
func TestATakeoverWaitsForTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	before, after := &recorder{log: quiet}, &recorder{log: quiet, wait: true}
	for _, r := range []*recorder{before, after} {
		if err := r.apply(&config.Record{Directory: dir}); err != nil {
			t.Fatal(err)
		}
	}
	after.Offer(&traffic.Exchange{ID: "second", Record: true})
	before.Offer(&traffic.Exchange{ID: "first", Record: true})
	for _, r := range []*recorder{before, after} {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
	if got, want := recorded(t, dir), "first second"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
