package recording

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// ErrLocked is what [Create] returns when another writer has the folder.
var ErrLocked = errors.New("another process records into this folder")

// Options of a [Writer]. The zero value is ready to use.
type Options struct {
	Segment int64         // bytes of a segment; default 64 MiB
	Size    int64         // bytes of all segments: the oldest are deleted; 0 = no limit
	Age     time.Duration // older segments are deleted; 0 = never
	Sync    time.Duration // an accepted exchange is on disk after about so long; default 1 s
	Memory  int64         // bytes of accepted exchanges that may wait for the disk; default 32 MiB
	Wait    bool          // if another writer has the folder, begin when it has ended
	Log     *slog.Logger  // told once when writing starts to fail and once when it works again; nil = nobody
}

// Writer is a [traffic.Sink] that writes exchanges to a folder. All methods are
// safe for concurrent use.
type Writer struct{}

// Create opens a folder for writing, and makes it if there is none.
func Create(dir string, o Options) (*Writer, error) { return nil, errors.ErrUnsupported }

// Offer encodes x at once and keeps nothing of it. It never waits for the disk:
// false says that x was refused and counted.
func (w *Writer) Offer(x *traffic.Exchange) bool { return false }

// Sync returns when everything that was accepted before is on the disk.
func (w *Writer) Sync(ctx context.Context) error { return nil }

// Close writes what was accepted and ends the segment. Nothing is accepted
// afterwards.
func (w *Writer) Close(ctx context.Context) error { return nil }

// Acknowledged is how many exchanges are on the disk: a crash does not lose them.
func (w *Writer) Acknowledged() uint64 { return 0 }

// Reader reads a folder's exchanges in the order in which they were written,
// which is that in which they ended. One goroutine uses it.
type Reader struct{}

// Open opens the recording in a folder, or one segment of it if path is a file.
func Open(path string) (*Reader, error) { return nil, errors.ErrUnsupported }

// Next returns the next exchange, which belongs to the caller, or io.EOF. What
// is damaged is left out and told by Problems.
func (r *Reader) Next() (*traffic.Exchange, error) { return nil, io.EOF }

// Seek has Next leave out what began before t.
func (r *Reader) Seek(t time.Time) {}

// Problem is a part of a recording that could not be read.
type Problem struct {
	Segment   string // file name
	Offset    int64  // where it begins
	Bytes     int64
	Exchanges int    // that were in it, -1 = not known
	Tail      bool   // it is the unfinished end of a segment: being written, or never acknowledged
	Reason    string // for people
}

// Problems lists what could not be read so far.
func (r *Reader) Problems() []Problem { return nil }

// Close closes the file that is open.
func (r *Reader) Close() error { return nil }

// Filter chooses exchanges. The zero value chooses all.
type Filter struct {
	ID     string
	Method string
	Path   string // a prefix, or with * a pattern for the whole path
	Status string // as 404 or 5xx
	Since  time.Time
	Until  time.Time
}

// ParseFilter reads a filter as people write it: method=GET,path=/api,status=5xx,since=…,until=…,id=….
func ParseFilter(text string) (Filter, error) { return Filter{}, nil }

// Match says whether x is chosen.
func (f *Filter) Match(x *traffic.Exchange) bool { return true }
