package recording

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// ErrLocked is what [Create] returns when another writer has the folder.
var ErrLocked = errors.New("another process records into this folder")

// Options of a [Writer]. The zero value is ready to use.
type Options struct {
	Segment int64         // bytes of a segment; default 64 MiB, and no more than a quarter of Size
	Size    int64         // bytes of all segments, give or take a block: the oldest are deleted; 0 = no limit
	Age     time.Duration // older segments are deleted; 0 = never
	Sync    time.Duration // an accepted exchange is on the disk after about so long; default 1 s
	Memory  int64         // bytes of accepted exchanges that may wait for the disk; default 32 MiB
	Wait    bool          // if another writer has the folder, begin when it has ended
	Log     *slog.Logger  // told once when writing starts to fail and once when it works again; nil = nobody
}

const (
	syncBytes = 4 << 20     // of records, when they are synced before Options.Sync has passed
	retry     = time.Second // between two attempts to write to a disk that is full
	tidyEvery = time.Minute // how often old segments are looked for
)

// Counts are what became of exchanges that a writer was offered.
type Counts struct {
	Accepted     uint64
	Acknowledged uint64 // of the accepted: on the disk, so that a crash does not lose them
	Behind       uint64 // refused: too many wait for the disk
	TooLarge     uint64 // refused: larger than 32 MiB, or than Options.Memory
	Closed       uint64 // refused: after the end
}

// Writer is a [traffic.Sink] that writes exchanges to a folder. All methods are
// safe for concurrent use.
//
// Offer encodes on its caller's goroutine and appends to a block. The writer's own
// compresses full blocks, writes and syncs them; a block's memory is held until it
// is on the disk, so that after an error it is written again, in order. While that
// fails the memory fills up and exchanges are refused, nothing else.
type Writer struct {
	dir     string
	options Options
	wake    chan struct{}   // a block was begun, or is full
	asks    chan chan error // Sync
	quit    chan struct{}   // nothing more will be accepted
	done    chan struct{}   // the goroutine has ended
	failure error           // of the end; to be read after done

	mu     sync.Mutex
	closed bool
	begun  block
	full   []block // before begun
	spare  [][]byte
	held   int64 // bytes of records that are not acknowledged

	accepted, acknowledged, behind, tooLarge, late atomic.Uint64

	disk disk
}

// block is the content of a block, not compressed.
type block struct {
	raw   []byte
	count int
}

// Create opens a folder for writing, and makes it if there is none. A folder has
// one writer at a time.
func Create(dir string, o Options) (*Writer, error) {
	return create(dir, o, openFile)
}

func create(dir string, o Options, open func(path string) (file, error)) (*Writer, error) {
	o.Segment = orDefault(o.Segment, 64<<20)
	if o.Size > 0 {
		o.Segment = min(o.Segment, o.Size/4)
	}
	o.Sync = orDefault(o.Sync, time.Second)
	o.Memory = orDefault(o.Memory, 32<<20)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &Writer{
		dir: dir, options: o, wake: make(chan struct{}, 1), asks: make(chan chan error), quit: make(chan struct{}), done: make(chan struct{}),
	}
	w.disk = disk{dir: dir, options: o, open: open, encoder: newEncoder(), written: w.acknowledge}
	if err := w.disk.lock(); err != nil && !(o.Wait && errors.Is(err, ErrLocked)) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	go w.run()
	return w, nil
}

func orDefault[T int64 | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// Offer encodes x at once and keeps nothing of it. It never waits for the disk:
// false says that x was refused and counted.
func (w *Writer) Offer(x *traffic.Exchange) bool {
	limit := sizeLimit(x)
	if limit > min(maxRecord, w.options.Memory) || len(x.Copies) > maxCopies {
		w.tooLarge.Add(1)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		w.late.Add(1)
		return false
	case w.held+limit > w.options.Memory:
		w.behind.Add(1)
		return false
	}
	at := len(w.begun.raw)
	if at == 0 {
		w.begun.raw = w.buffer()
		w.nudge()
	}
	w.begun.raw = prefixLength(appendExchange(w.begun.raw, x), at)
	w.begun.count++
	w.held += int64(len(w.begun.raw) - at)
	w.accepted.Add(1)
	if len(w.begun.raw) >= blockSize {
		w.endBlock()
		w.nudge()
	}
	return true
}

func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// buffer returns an empty buffer for a block. mu is held.
func (w *Writer) buffer() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return make([]byte, 0, blockSize+blockSize/4)
}

// endBlock has the next exchange begin a block. mu is held.
func (w *Writer) endBlock() {
	w.full = append(w.full, w.begun)
	w.begun = block{}
}

// take hands over the blocks that are full, or all there are.
func (w *Writer) take(all bool) []block {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all && w.begun.count > 0 {
		w.endBlock()
	}
	taken := w.full
	w.full = nil
	return taken
}

// acknowledge lets go of a block that is on the disk.
func (w *Writer) acknowledge(b block) {
	const mostSpare = 32 // of 320 KiB
	w.acknowledged.Add(uint64(b.count))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held -= int64(len(b.raw))
	if len(w.spare) < mostSpare && cap(b.raw) <= 2*blockSize {
		w.spare = append(w.spare, b.raw[:0])
	}
}

// run writes until the writer is closed.
func (w *Writer) run() {
	defer close(w.done)
	due := time.NewTimer(0)
	<-due.C
	armed := false
	arm := func(d time.Duration) {
		if !armed {
			armed = true
			due.Reset(d)
		}
	}
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	for {
		select {
		case <-w.wake:
			arm(w.options.Sync)
			w.disk.add(w.take(false))
			if !w.disk.failing {
				_ = w.disk.write(false) // the disk has noted what went wrong
			}
		case <-due.C:
			// While nothing can be written, blocks are filled before the next is
			// begun: each holds its whole memory.
			armed = false
			failing := w.disk.failing
			w.disk.add(w.take(!failing))
			_ = w.disk.write(true)
			if failing {
				arm(w.options.Sync)
			}
		case reply := <-w.asks:
			w.disk.add(w.take(true))
			reply <- w.disk.write(true)
		case <-tidy.C:
			w.disk.tidy()
		case <-w.quit:
			w.disk.add(w.take(true))
			w.failure = w.disk.end()
			return
		}
		if w.disk.failing {
			arm(retry)
		}
	}
}

// Sync returns when everything that was accepted before is on the disk, or why it
// is not: it will be tried again.
func (w *Writer) Sync(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case w.asks <- reply:
	case <-w.done:
		return w.failure
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what was accepted and ends the segment. Nothing is accepted
// afterwards. It waits for the disk no longer than ctx.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.quit)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
		return w.failure
	case <-ctx.Done():
		return fmt.Errorf("%s: %d exchanges are not on the disk: %w", w.dir, w.accepted.Load()-w.acknowledged.Load(), ctx.Err())
	}
}

// Acknowledged is how many exchanges are on the disk: a crash does not lose them.
func (w *Writer) Acknowledged() uint64 { return w.acknowledged.Load() }

// Counts returns what became of all exchanges so far.
func (w *Writer) Counts() Counts {
	c := Counts{Acknowledged: w.acknowledged.Load(), Behind: w.behind.Load(), TooLarge: w.tooLarge.Load(), Closed: w.late.Load()}
	c.Accepted = w.accepted.Load() // last, so that it is never less than what was acknowledged
	return c
}

// Directory is where it writes.
func (w *Writer) Directory() string { return w.dir }
