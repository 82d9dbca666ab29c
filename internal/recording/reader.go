package recording

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Reader reads a folder's exchanges in the order in which they were written, which
// is that in which they ended. It reads the segments that there were when it was
// opened, also while a writer goes on writing. One goroutine uses it; it holds one
// block in memory.
type Reader struct {
	dir     string
	names   []string // segments still to be read
	decoder *zstd.Decoder
	since   int64 // exchanges that began before are left out

	name     string
	file     io.Closer    // nil = none is open
	blocks   *blockReader // of the file
	at       int64        // of the block that was read
	records  []byte       // of it, still to be read
	problems []Problem
}

// beginning is a time before everything.
const beginning = math.MinInt64

// Problem is a part of a recording that could not be read.
type Problem struct {
	Segment   string // file name
	Offset    int64  // where it begins; 0 = nothing of the segment can be read
	Bytes     int64  // on the disk
	Exchanges int    // that were in it, -1 = not known
	Tail      bool   // it is the unfinished end of a segment: being written, or never acknowledged
	Reason    string // for people
}

// String says it in a line.
func (p Problem) String() string {
	if p.Offset == 0 {
		return fmt.Sprintf("%s is left out: %s", p.Segment, p.Reason)
	}
	what := fmt.Sprintf("%d bytes", p.Bytes)
	if p.Exchanges >= 0 {
		what += fmt.Sprintf(" with %d exchanges", p.Exchanges)
	}
	if p.Tail {
		return fmt.Sprintf("%s: the last %s, from %d on, are being written or were never acknowledged: %s", p.Segment, what, p.Offset, p.Reason)
	}
	return fmt.Sprintf("%s: %s from %d on are left out: %s", p.Segment, what, p.Offset, p.Reason)
}

// Open opens the recording in a folder, or one segment of it if path is a file.
func Open(path string) (*Reader, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{dir: path}
	if !stat.IsDir() {
		r.dir, r.names = filepath.Dir(path), []string{filepath.Base(path)}
	} else if r.names, err = listSegments(path); err != nil {
		return nil, err
	} else if len(r.names) == 0 && !isRecording(path) {
		return nil, fmt.Errorf("%s: there is no recording in it", path)
	}
	r.decoder = newDecoder()
	r.since = beginning
	return r, nil
}

// isRecording says whether a writer has been in a folder, even if it wrote nothing.
func isRecording(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, lockName))
	return err == nil
}

// Seek has Next leave out what began before t. It skips blocks, and so is fast.
// It never goes back.
func (r *Reader) Seek(t time.Time) { r.since = t.UnixNano() }

// Next returns the next exchange, which belongs to the caller, or io.EOF. What is
// damaged is left out and told by Problems; other errors are of the disk.
func (r *Reader) Next() (*traffic.Exchange, error) {
	for {
		for len(r.records) > 0 {
			x, err := r.record()
			if err != nil {
				r.damaged(r.at, -1, err)
				continue
			}
			if r.since == beginning || !x.Start.Before(time.Unix(0, r.since)) {
				return x, nil
			}
		}
		if err := r.block(); err != nil {
			return nil, err
		}
	}
}

// record takes a record from the block.
func (r *Reader) record() (*traffic.Exchange, error) {
	record, rest, err := cutRecord(r.records)
	r.records = rest // nil after an error: nobody knows where the next begins
	if err != nil {
		return nil, err
	}
	return decodeExchange(record)
}

// block reads the next block that is whole and not left out.
func (r *Reader) block() error {
	for {
		if r.file == nil {
			if err := r.open(); err != nil {
				return err
			}
		}
		h, err := r.blocks.header()
		switch {
		case err == io.EOF || err == nil && h.kind == indexBlock:
			r.close()
			continue
		case err == errCut || err == errHeader:
			r.lost(h, err)
			continue
		case err != nil:
			return err
		case h.last < r.since || h.kind != recordBlock:
			r.blocks.skip(h)
			continue
		}
		r.at = r.blocks.at
		r.records, err = r.blocks.content(h)
		r.blocks.skip(h)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errBlock) && err != errCut:
			return err
		}
		r.damaged(r.at, int(h.count), err)
	}
}

// lost goes to the next block whose header is whole.
func (r *Reader) lost(h blockHeader, why error) {
	at := r.blocks.at
	p := Problem{Segment: r.name, Offset: at, Exchanges: -1, Reason: why.Error()}
	if why == errCut && h.count > 0 {
		p.Exchanges = int(h.count)
	}
	if r.blocks.resync() {
		p.Bytes = r.blocks.at - at
	} else {
		p.Bytes, p.Tail = r.blocks.size-at, true
		r.blocks.at = r.blocks.size
	}
	r.problems = append(r.problems, p)
}

// damaged remembers what was left out of the segment that is open, from at to
// where the next block begins.
func (r *Reader) damaged(at int64, exchanges int, why error) {
	p := Problem{Segment: r.name, Offset: at, Bytes: r.blocks.at - at, Exchanges: exchanges, Reason: why.Error()}
	r.problems = append(r.problems, p)
}

// open opens the next segment that is not left out. One that is deleted meanwhile,
// or that is none, is a problem and not an error.
func (r *Reader) open() error {
	for len(r.names) > 0 {
		r.name, r.names = r.names[0], r.names[1:]
		f, blocks, err := openSegment(filepath.Join(r.dir, r.name), r.decoder)
		if err != nil {
			p, known := segmentProblem(r.name, err)
			if !known {
				return err
			}
			r.problems = append(r.problems, p)
			continue
		}
		if h, finished := blocks.indexHeader(); finished && h.last < r.since {
			_ = f.Close()
			continue
		}
		r.file, r.blocks = f, blocks
		return nil
	}
	return io.EOF
}

// close ends the segment that is open.
func (r *Reader) close() {
	_ = r.file.Close() // it was only read
	r.file, r.blocks = nil, nil
}

// Problems lists what could not be read so far.
func (r *Reader) Problems() []Problem { return r.problems }

// Close closes the file that is open.
func (r *Reader) Close() error {
	if r.file != nil {
		r.close()
	}
	r.decoder.Close()
	r.names, r.records = nil, nil
	return nil
}

// openSegment opens a segment for reading.
func openSegment(path string, decoder *zstd.Decoder) (*os.File, *blockReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	stat, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	blocks, err := newBlockReader(f, stat.Size(), decoder)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, blocks, nil
}

// segmentProblem says what is wrong with a segment that cannot be opened; what is
// wrong with the disk is not known here.
func segmentProblem(name string, err error) (Problem, bool) {
	p := Problem{Segment: name, Exchanges: -1, Reason: err.Error()}
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.Reason = "it was deleted meanwhile"
	case errors.Is(err, errShort):
		p.Exchanges, p.Tail = 0, true
	case !errors.Is(err, errNoSegment) && !errors.Is(err, errVersion):
		return Problem{}, false
	}
	return p, true
}
