package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, path string, stdout io.Writer) *Log {
	t.Helper()
	l, err := Open(path, Options{Stdout: stdout, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func offer(t *testing.T, l *Log, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if !l.Offer(&traffic.Exchange{ID: id}) {
			t.Fatalf("exchange %s was refused", id)
		}
	}
}

// ids lists the request ids of a log.
func ids(t *testing.T, text string) string {
	t.Helper()
	var list []string
	for line := range strings.Lines(text) {
		var got logged
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		list = append(list, got.RequestID)
	}
	return strings.Join(list, " ")
}

func fileIDs(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return ids(t, string(text))
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseWritesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	l := open(t, path, nil)
	offer(t, l, "a", "b", "c")
	closeLog(t, l)
	if got := fileIDs(t, path); got != "a b c" {
		t.Errorf("logged %q, want a b c", got)
	}
	if got, want := l.Counts(), (telemetry.AccessLog{Written: 3}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	if l.Offer(&traffic.Exchange{}) {
		t.Error("a closed log accepted an exchange")
	}
	if got := l.Counts().Dropped; got != 1 {
		t.Errorf("%d dropped, want the one after the end", got)
	}
	closeLog(t, l) // again does nothing
}

func TestFileIsContinuedNotReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	for _, id := range []string{"first", "second"} {
		l := open(t, path, nil)
		offer(t, l, id)
		closeLog(t, l)
	}
	if got := fileIDs(t, path); got != "first second" {
		t.Errorf("logged %q, want both runs", got)
	}
	if mode := stat(t, path).Mode().Perm(); mode&0o007 != 0 {
		t.Errorf("mode %v lets everybody read addresses of clients", mode)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestReopenAfterRotationContinuesInANewFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		l := open(t, path, nil)
		offer(t, l, "old", "queued")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * rest)
		offer(t, l, "new")
		closeLog(t, l)
		if got := fileIDs(t, path+".1"); got != "old queued" {
			t.Errorf("the rotated file has %q", got)
		}
		if got := fileIDs(t, path); got != "new" {
			t.Errorf("the new file has %q", got)
		}
	})
}

func TestReopenThatFailsKeepsTheOldFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, filepath.Join(dir, "access.log"), nil)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reopen without a folder: %v", err)
	}
	offer(t, l, "a")
	closeLog(t, l)
	if got := fileIDs(t, filepath.Join(dir+".moved", "access.log")); got != "a" {
		t.Errorf("the old file has %q", got)
	}
}

func TestOpenFailsWhenTheFileCannotBeOpened(t *testing.T) {
	t.Parallel()
	_, err := Open(t.TempDir(), Options{Log: quiet})
	if err == nil || !strings.HasPrefix(err.Error(), "open access log: ") {
		t.Errorf("opening a folder: %v", err)
	}
}

func TestApplyTurnsTheLogOffAndOnAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := open(t, "", &out)
		if l.Offer(&traffic.Exchange{}) {
			t.Error("a log that is off took an exchange")
		}
		apply := func(path string) {
			t.Helper()
			if err := l.Apply(path); err != nil {
				t.Fatal(err)
			}
		}
		apply("-")
		offer(t, l, "on")
		apply("-") // nothing to change
		offer(t, l, "still")
		apply("")
		if l.Offer(&traffic.Exchange{ID: "off"}) {
			t.Error("a log that was turned off took an exchange")
		}
		closeLog(t, l)
		if got := ids(t, out.String()); got != "on still" {
			t.Errorf("logged %q", got)
		}
		if got, want := l.Counts(), (telemetry.AccessLog{Written: 2}); got != want {
			t.Errorf("counts %+v, want %+v: what is off is not lost", got, want)
		}
	})
}

func TestApplyThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := open(t, "-", &out)
	if err := l.Apply(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("a file without a folder was opened")
	}
	offer(t, l, "a")
	closeLog(t, l)
	if got := ids(t, out.String()); got != "a" {
		t.Errorf("logged %q", got)
	}
}

// stuck is an output whose Write waits until it is released.
type stuck struct {
	entered chan struct{}
	release chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.release
	return len(p), nil
}

func TestAStuckOutputLosesLinesAndNeverBlocks(t *testing.T) {
	t.Parallel()
	s := &stuck{entered: make(chan struct{}, 1), release: make(chan struct{})}
	l := open(t, "-", s)
	offer(t, l, "first")
	<-s.entered // the writer is stuck with it, the queue is empty
	for range queueLength {
		offer(t, l, "queued")
	}
	for range 5 {
		if l.Offer(&traffic.Exchange{}) {
			t.Fatal("a full queue took an exchange")
		}
	}
	if got := l.Counts().Dropped; got != 5 {
		t.Errorf("%d dropped, want 5", got)
	}
	if err := l.Reopen(); err != nil { // must not wait either
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "8192 lines are lost") {
		t.Errorf("Close of a stuck log: %v", err)
	}
	close(s.release)
	<-l.done
	if got, want := l.Counts(), (telemetry.AccessLog{Written: 1 + queueLength, Dropped: 5}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestQueuedTextIsBounded(t *testing.T) {
	t.Parallel()
	s := &stuck{entered: make(chan struct{}, 1), release: make(chan struct{})}
	l := open(t, "-", s)
	offer(t, l, "first")
	<-s.entered
	long := strings.Repeat("x", 1<<20)
	taken := 0
	for l.Offer(&traffic.Exchange{Path: long}) {
		taken++
	}
	if taken != 16 {
		t.Errorf("%d exchanges of 1 MiB were queued, want 16", taken)
	}
	close(s.release)
	closeLog(t, l)
	if got := l.held.Load(); got != 0 {
		t.Errorf("an empty queue holds %d bytes", got)
	}
}

// flaky fails while broken, after having written the first bytes.
type flaky struct {
	broken bool
	part   int
	bytes.Buffer
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.broken {
		n, _ := f.Buffer.Write(p[:min(f.part, len(p))])
		return n, errors.New("disk full")
	}
	return f.Buffer.Write(p)
}

func TestLinesThatCannotBeWrittenAreCountedAndToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		out := &flaky{broken: true, part: 7}
		l, err := Open("-", Options{Stdout: out, Log: telemetry.NewLogger(&told, telemetry.LogText, slog.LevelInfo)})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			offer(t, l, "lost")
			time.Sleep(2 * rest)
			synctest.Wait()
			out.part = 0
		}
		out.broken = false
		offer(t, l, "kept")
		closeLog(t, l)

		if got, want := l.Counts(), (telemetry.AccessLog{Written: 1, Dropped: 3}); got != want {
			t.Errorf("counts %+v, want %+v", got, want)
		}
		torn, rest, _ := strings.Cut(out.String(), "\n")
		if torn != `{"time"` || ids(t, rest) != "kept" {
			t.Errorf("the line after a torn one does not start afresh: %q", out.String())
		}
		if got := strings.Count(told.String(), "\n"); got != 2 || !strings.Contains(told.String(), "lost=3") {
			t.Errorf("told:\n%s", told.String())
		}
	})
}

// writes counts calls of Write.
type writes struct {
	mu sync.Mutex
	n  int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return len(p), nil
}

func TestLinesThatComeWhileTheWriterRestsAreOneWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out writes
		l := open(t, "-", &out)
		offer(t, l, "first")
		synctest.Wait() // it is written, the writer rests
		for range 100 {
			offer(t, l, "x")
			time.Sleep(rest / 200)
		}
		time.Sleep(rest)
		closeLog(t, l)
		if out.n != 2 {
			t.Errorf("%d writes, want 2", out.n)
		}
	})
}

func TestConcurrentOffersAreAllWrittenOrCounted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := open(t, "-", &out)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				l.Offer(&traffic.Exchange{ID: "x"})
			}
		})
	}
	wg.Wait()
	closeLog(t, l)
	c := l.Counts()
	if lines := uint64(bytes.Count(out.Bytes(), []byte("\n"))); c.Written != lines || c.Written+c.Dropped != 16000 {
		t.Errorf("%d lines; written %d + dropped %d, want 16000", lines, c.Written, c.Dropped)
	}
}
