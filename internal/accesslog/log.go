package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

const (
	queueLength = 8192     // exchanges; two rests at 200,000 requests a second
	queueBytes  = 16 << 20 // of text in queued exchanges, or long URLs could hold any amount of memory
	batchBytes  = 64 << 10 // handed to one write

	// rest is how long the writer leaves the queue alone after a write. Waking
	// a goroutine costs the request path a system call, so it happens at most
	// once per rest and not once per request.
	rest = 20 * time.Millisecond
)

// Options of a [Log].
type Options struct {
	Stdout io.Writer    // what the path "-" means
	Log    *slog.Logger // told once when writing starts to fail and once when it works again
}

// Log is a [traffic.Sink] that writes lines. All methods are safe for
// concurrent use, and all but Close return without waiting for the writer.
type Log struct {
	options Options
	queue   chan line
	wake    chan struct{} // there is something to close
	quit    chan struct{} // no more will be offered
	done    chan struct{} // the writer has ended

	// offering is held for reading while a line is queued, and for writing
	// only for the instant in which current changes or the log closes.
	offering sync.RWMutex
	current  atomic.Pointer[output] // nil = off
	closed   bool
	held     atomic.Int64 // bytes of text in the queue
	written  atomic.Uint64
	dropped  atomic.Uint64

	applying sync.Mutex
	path     string

	retiring sync.Mutex
	retired  []*output // not current any more, to be closed when their lines are written

	// The writer's own.
	buf     []byte
	last    *output // written to last
	torn    bool    // that write ended inside a line
	failing bool    // that write failed
}

// output is where lines go.
type output struct {
	io.Writer
	file *os.File // nil = not ours to close
}

// line goes to the output that was current when it was accepted.
type line struct {
	*traffic.Exchange
	out *output
}

// Open starts a log that writes to the file at path, "-" for standard output;
// with an empty one it is off until [Log.Apply] turns it on. The caller must
// Close it.
func Open(path string, o Options) (*Log, error) {
	l := &Log{
		options: o,
		queue:   make(chan line, queueLength),
		wake:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	if err := l.Apply(path); err != nil {
		return nil, err
	}
	go l.write()
	return l, nil
}

// Apply continues with the file at path, "-" for standard output; an empty one
// turns the log off. On an error nothing has changed.
func (l *Log) Apply(path string) error {
	l.applying.Lock()
	defer l.applying.Unlock()
	if path == l.path {
		return nil
	}
	return l.switchTo(path)
}

// Reopen opens the file by its name again, as a log rotation needs it after it
// has moved the old one away. On an error the old file stays in use.
func (l *Log) Reopen() error {
	l.applying.Lock()
	defer l.applying.Unlock()
	return l.switchTo(l.path)
}

// switchTo changes the output of what is accepted from now on. It never waits
// for the writer, which may be stuck in a write.
func (l *Log) switchTo(path string) error {
	out, err := l.open(path)
	if err != nil {
		return fmt.Errorf("open access log: %w", err)
	}
	l.path = path
	l.offering.Lock()
	old := l.current.Swap(out)
	l.offering.Unlock()
	if old == nil {
		return nil
	}
	l.retiring.Lock()
	l.retired = append(l.retired, old)
	l.retiring.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

func (l *Log) open(path string) (*output, error) {
	switch path {
	case "":
		return nil, nil
	case "-":
		return &output{Writer: l.options.Stdout}, nil
	}
	// Lines hold addresses of clients: nobody else on the machine needs them.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return &output{Writer: file, file: file}, err
}

// Offer takes e if there is room. It takes everything it is offered: whoever
// offers draws which exchanges are logged, before making them. While the log is
// off everything is refused, and not counted as lost.
func (l *Log) Offer(e *traffic.Exchange) bool {
	if l.current.Load() == nil {
		return false
	}
	// A request never waits for this lock: losing a line in the instant in
	// which the log changes is the lesser evil.
	if !l.offering.TryRLock() {
		l.dropped.Add(1)
		return false
	}
	defer l.offering.RUnlock()
	out := l.current.Load()
	if out == nil {
		return false
	}
	size := textSize(e)
	if held := l.held.Add(size); l.closed || held > queueBytes {
		return l.refuse(size)
	}
	select {
	case l.queue <- line{e, out}:
		return true
	default:
		return l.refuse(size)
	}
}

func (l *Log) refuse(size int64) bool {
	l.held.Add(-size)
	l.dropped.Add(1)
	return false
}

// textSize is how much text of any length e holds.
func textSize(e *traffic.Exchange) int64 {
	return int64(len(e.ID) + len(e.Host) + len(e.Path) + len(e.Query) + len(e.UserAgent))
}

// Counts says how many lines were written and how many were lost.
func (l *Log) Counts() telemetry.AccessLog {
	return telemetry.AccessLog{Written: l.written.Load(), Dropped: l.dropped.Load()}
}

// Close takes nothing more, writes what it has and closes the file. If ctx
// ends first, because the disk or the pipe is stuck, the rest is lost and the
// writer's goroutine is left behind.
func (l *Log) Close(ctx context.Context) error {
	l.offering.Lock()
	if !l.closed {
		l.closed = true
		close(l.quit)
	}
	l.offering.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close access log: its output takes nothing, %d lines are lost: %w", len(l.queue), ctx.Err())
	}
}

// write is the writer. It waits for: a line, something to close, the end.
func (l *Log) write() {
	defer close(l.done)
	resting := time.NewTimer(0)
	defer resting.Stop()
	<-resting.C
	for {
		select {
		case next := <-l.queue:
			l.writeAll(next)
			resting.Reset(rest)
			select {
			case <-resting.C:
			case <-l.quit:
			}
		case <-l.wake:
			l.retire()
		case <-l.quit:
			l.retire()
			l.current.Load().close()
			return
		}
	}
}

// retire writes what is queued and closes the outputs that were retired before:
// no later line has them.
func (l *Log) retire() {
	l.retiring.Lock()
	retired := l.retired
	l.retired = nil
	l.retiring.Unlock()
	l.writeAll(l.poll())
	for _, out := range retired {
		out.close()
	}
}

func (o *output) close() {
	if o != nil && o.file != nil {
		o.file.Close()
	}
}

// poll takes a line from the queue; it has no exchange if the queue is empty.
func (l *Log) poll() line {
	select {
	case next := <-l.queue:
		return next
	default:
		return line{}
	}
}

// writeAll writes next, if it has an exchange, and what is queued behind it, in
// as few writes as their number and their outputs allow.
func (l *Log) writeAll(next line) {
	for next.Exchange != nil {
		out := next.out
		if out != l.last {
			l.last, l.torn = out, false
		}
		l.buf = l.buf[:0]
		if l.torn {
			l.buf = append(l.buf, '\n')
		}
		lines := uint64(0)
		for ; next.Exchange != nil && next.out == out && len(l.buf) < batchBytes; next = l.poll() {
			l.held.Add(-textSize(next.Exchange))
			l.buf = appendLine(l.buf, next.Exchange)
			lines++
		}
		l.flush(lines)
	}
}

// flush writes the buffer, which ends in the given number of whole lines.
func (l *Log) flush(lines uint64) {
	n, err := l.last.Write(l.buf)
	lost := uint64(bytes.Count(l.buf[n:], []byte{'\n'}))
	l.torn = n > 0 && l.buf[n-1] != '\n' || n == 0 && l.torn
	l.written.Add(lines - min(lost, lines))
	l.dropped.Add(min(lost, lines))
	if failing := err != nil; failing != l.failing {
		l.failing = failing
		if failing {
			l.options.Log.Error("access log cannot be written, lines are lost", slog.Any("error", err))
		} else {
			l.options.Log.Info("access log is written again", slog.Uint64("lost", l.dropped.Load()))
		}
	}
}
