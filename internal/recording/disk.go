package recording

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

const lockName = "lock" // in the folder; it stays there, empty

// disk is the part of a [Writer] that belongs to its goroutine: the segment that is
// open, and the blocks that are not known to be on the disk.
type disk struct {
	dir     string
	options Options
	open    func(path string) (file, error)
	encoder *zstd.Encoder
	written func(block) // told of every block that is on the disk, in order

	locked  *os.File // nil = somebody else writes
	segment *segment // nil = none is open
	blocks  []block  // in order
	next    int      // of blocks: what is before is in the segment, and not synced
	waiting int64    // bytes of records before next
	failing bool     // the last attempt to write failed
}

// lock makes this the only writer of the folder.
func (d *disk) lock() error {
	if d.locked != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(d.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return err
	}
	d.locked = f
	return nil
}

// add takes blocks to write.
func (d *disk) add(blocks []block) { d.blocks = append(d.blocks, blocks...) }

// write writes all blocks, and syncs when that is wanted or there are many. After
// an error everything that was not synced is written again by the next call, to a
// new segment: after a failed sync nobody knows what a file holds.
func (d *disk) write(sync bool) error {
	err := d.attempt(sync)
	switch {
	case err != nil:
		if d.segment != nil {
			d.segment.abandon()
			d.segment = nil
		}
		d.next, d.waiting = 0, 0
		switch {
		case d.failing:
		case errors.Is(err, ErrLocked):
			d.options.Log.Info("recording begins when the other process has ended", slog.String("directory", d.dir))
		default:
			d.options.Log.Error("recording has stopped and will be tried again; exchanges that find no room meanwhile are not recorded", slog.Any("error", err))
		}
	case d.failing:
		d.options.Log.Info("recording goes on", slog.String("directory", d.dir))
	}
	d.failing = err != nil
	return err
}

func (d *disk) attempt(sync bool) error {
	for d.next < len(d.blocks) {
		if err := d.ensureSegment(); err != nil {
			return err
		}
		b := d.blocks[d.next]
		if err := d.segment.write(b.raw, d.encoder); err != nil {
			return errors.Join(err, d.sync()) // what did find room need not be written again
		}
		d.next++
		d.waiting += int64(len(b.raw))
		full := d.segment.size >= d.options.Segment
		if full || d.waiting >= syncBytes {
			if err := d.sync(); err != nil {
				return err
			}
		}
		if full {
			if err := d.finish(); err != nil {
				return err
			}
		}
	}
	if sync {
		return d.sync()
	}
	return nil
}

// sync has everything that was written outlive a crash, and says so.
func (d *disk) sync() error {
	if d.next == 0 {
		return nil
	}
	if err := d.segment.sync(); err != nil {
		return err
	}
	for i, b := range d.blocks[:d.next] {
		d.written(b)
		d.blocks[i] = block{}
	}
	d.blocks = append(d.blocks[:0], d.blocks[d.next:]...)
	d.next, d.waiting = 0, 0
	return nil
}

// ensureSegment opens a segment if there is none.
func (d *disk) ensureSegment() error {
	if d.segment != nil {
		return nil
	}
	if err := d.lock(); err != nil {
		return err
	}
	names, err := listSegments(d.dir)
	if err != nil {
		return err
	}
	d.tidy()
	now := time.Now()
	d.segment, err = createSegment(filepath.Join(d.dir, nameSegment(nextNumber(names), now)), now, d.open)
	return err
}

// finish ends the segment that is open. All that is in it was synced.
func (d *disk) finish() error {
	s := d.segment
	if s == nil {
		return nil
	}
	d.segment = nil
	return s.finish(d.encoder)
}

// end writes what there is, and says how much could not be written.
func (d *disk) end() error {
	err := d.write(true)
	if err == nil {
		// Without an index a segment takes longer to open, and nothing else.
		if failed := d.finish(); failed != nil {
			d.options.Log.Warn("the last segment of the recording has no index", slog.Any("error", failed))
		}
	} else {
		lost := 0
		for _, b := range d.blocks {
			lost += b.count
		}
		err = fmt.Errorf("%s: the last %d exchanges are not recorded: %w", d.dir, lost, err)
	}
	_ = d.encoder.Close()
	if d.locked != nil {
		unlockFile(d.locked)
	}
	return err
}

// tidy deletes the oldest segments while there are too many bytes, and those that
// are too old. The one that is open is not touched, but ended when a part of the
// age has passed, so that it does not hold what is too old for long.
func (d *disk) tidy() {
	if d.locked == nil || d.options.Size <= 0 && d.options.Age <= 0 {
		return
	}
	if d.segment != nil && d.options.Age > 0 && time.Since(d.segment.created) > d.options.Age/4 {
		if err := d.write(true); err == nil {
			_ = d.finish() // without an index it is read all the same
		}
	}
	names, err := listSegments(d.dir)
	if err != nil {
		return
	}
	var total int64
	sizes := make([]int64, len(names))
	for i, name := range names {
		if stat, err := os.Stat(filepath.Join(d.dir, name)); err == nil {
			sizes[i] = stat.Size()
			total += sizes[i]
		}
	}
	for i, name := range names {
		path := filepath.Join(d.dir, name)
		tooMuch := d.options.Size > 0 && total > d.options.Size-d.options.Segment
		if d.segment != nil && path == d.segment.path || !tooMuch && !d.tooOld(path) {
			return
		}
		if err := os.Remove(path); err != nil {
			d.options.Log.Warn("an old segment of the recording cannot be deleted", slog.Any("error", err))
			return
		}
		total -= sizes[i]
	}
}

// tooOld says whether the last write to a segment is too long ago.
func (d *disk) tooOld(path string) bool {
	if d.options.Age <= 0 {
		return false
	}
	stat, err := os.Stat(path)
	return err == nil && time.Since(stat.ModTime()) > d.options.Age
}
