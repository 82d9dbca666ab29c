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
	queue   chan *traffic.Exchange
	wake    chan struct{} // there is a new output
	quit    chan struct{} // no more will be offered
	done    chan struct{} // the writer has ended

	offering sync.RWMutex // held for writing only to set closed
	closed   bool
	on       atomic.Bool
	held     atomic.Int64 // bytes of text in the queue
	written  atomic.Uint64
	dropped  atomic.Uint64

	applying sync.Mutex
	path     string
	next     atomic.Pointer[io.WriteCloser] // for the writer to continue with

	// The writer's own.
	out     io.WriteCloser
	buf     []byte
	torn    bool // the last write ended inside a line
	failing bool // the last write failed
}

// Open starts a log that writes to the file at path, "-" for standard output;
// with an empty one it is off until [Log.Apply] turns it on. The caller must
// Close it.
func Open(path string, o Options) (*Log, error) {
	l := &Log{
		options: o,
		queue:   make(chan *traffic.Exchange, queueLength),
		wake:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
		out:     off,
	}
	if err := l.Apply(path); err != nil {
		return nil, err
	}
	l.swap()
	select {
	case <-l.wake:
	default:
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

// switchTo hands the writer a new output. It never waits for the writer, which
// may be stuck in a write.
func (l *Log) switchTo(path string) error {
	out, err := l.open(path)
	if err != nil {
		return fmt.Errorf("open access log: %w", err)
	}
	l.path = path
	if unused := l.next.Swap(&out); unused != nil {
		(*unused).Close()
	}
	l.on.Store(path != "") // what is accepted from now on finds its output
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

func (l *Log) open(path string) (io.WriteCloser, error) {
	switch path {
	case "":
		return off, nil
	case "-":
		return unowned{l.options.Stdout}, nil
	}
	// Lines hold addresses of clients: nobody else on the machine needs them.
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
}

// unowned is an output that is not ours to close.
type unowned struct{ io.Writer }

func (unowned) Close() error { return nil }

// off is the output of a log that is off.
var off = unowned{io.Discard}

// Offer takes e if there is room. It takes everything it is offered: whoever
// offers draws which exchanges are logged, before making them. While the log is
// off everything is refused, and not counted as lost.
func (l *Log) Offer(e *traffic.Exchange) bool {
	if !l.on.Load() {
		return false
	}
	// Only Close ever holds this lock for writing, and only for an instant; a
	// failed attempt means that the log is closing.
	if !l.offering.TryRLock() {
		l.dropped.Add(1)
		return false
	}
	defer l.offering.RUnlock()
	size := textSize(e)
	if held := l.held.Add(size); l.closed || held > queueBytes {
		return l.refuse(size)
	}
	select {
	case l.queue <- e:
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

// write is the writer. It waits for: an exchange, a new output, the end.
func (l *Log) write() {
	defer close(l.done)
	resting := time.NewTimer(0)
	defer resting.Stop()
	<-resting.C
	for {
		select {
		case e := <-l.queue:
			l.writeAll(e)
			resting.Reset(rest)
			select {
			case <-resting.C:
			case <-l.quit:
			}
		case <-l.wake:
			// What was accepted before the switch belongs into the old output.
			l.writeAll(l.poll())
			l.swap()
		case <-l.quit:
			l.writeAll(l.poll())
			l.out.Close()
			return
		}
	}
}

// swap continues with the next output, if there is one.
func (l *Log) swap() {
	if next := l.next.Swap(nil); next != nil {
		l.out.Close()
		l.out, l.torn = *next, false
	}
}

// poll takes an exchange from the queue, or nil if it is empty.
func (l *Log) poll() *traffic.Exchange {
	select {
	case e := <-l.queue:
		return e
	default:
		return nil
	}
}

// writeAll writes e, unless it is nil, and what is queued behind it.
func (l *Log) writeAll(e *traffic.Exchange) {
	if l.out == off {
		l.swap() // e was accepted for an output that is waiting
	}
	for e != nil {
		l.buf = l.buf[:0]
		if l.torn {
			l.buf = append(l.buf, '\n')
		}
		lines := uint64(0)
		for ; e != nil && len(l.buf) < batchBytes; e = l.poll() {
			l.held.Add(-textSize(e))
			l.buf = appendLine(l.buf, e)
			lines++
		}
		l.flush(lines)
	}
}

// flush writes the buffer, which ends in the given number of whole lines.
func (l *Log) flush(lines uint64) {
	n, err := l.out.Write(l.buf)
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
