package recording

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// file is what a segment needs of a file, and where tests let a disk be full.
type file interface {
	WriteAt(p []byte, at int64) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// segmentName is number-time.rec. Names sort as they were written.
var segmentName = regexp.MustCompile(`^(\d{10})-\d{8}T\d{6}Z\.rec$`)

func nameSegment(number int64, created time.Time) string {
	return fmt.Sprintf("%010d-%s.rec", number, created.UTC().Format("20060102T150405Z"))
}

// listSegments returns the names of the segments in a folder, the oldest first.
func listSegments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if segmentName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// nextNumber is the number of a segment that comes after names.
func nextNumber(names []string) int64 {
	if len(names) == 0 {
		return 1
	}
	n, _ := strconv.ParseInt(names[len(names)-1][:10], 10, 64) // it matched
	return n + 1
}

// segment is a file that is being written. After an error it is of no use but to
// be abandoned.
type segment struct {
	file    file
	path    string
	marker  marker
	created time.Time
	index   index // of all blocks that were written
	size    int64 // where the next block goes

	synced int64  // up to where the last sync reached
	buf    []byte // reused
}

// createSegment makes a segment in a folder.
func createSegment(path string, created time.Time, open func(path string) (file, error)) (*segment, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	s := &segment{file: f, path: path, marker: newMarker(), created: created, size: segmentHeaderSize}
	if _, err = f.WriteAt(segmentHeader(s.marker, created), 0); err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path) // there is nothing in it
		return nil, err
	}
	s.synced = s.size
	return s, nil
}

func openFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // traffic is nobody else's business
}

// syncFolder has the names in a folder outlive a loss of power.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// write appends a block of records.
func (s *segment) write(raw []byte, encoder *zstd.Encoder) error {
	records, err := s.index.survey(raw)
	if err != nil {
		return err
	}
	h := blockHeader{kind: recordBlock, count: uint32(records.count), first: records.first, last: records.last}
	at := s.size
	if err := s.append(h, raw, encoder); err != nil {
		return err
	}
	s.index.blocks = append(s.index.blocks, indexEntry{at, records.count, records.first, records.last})
	return nil
}

func (s *segment) append(h blockHeader, raw []byte, encoder *zstd.Encoder) error {
	b := append(s.buf[:0], make([]byte, blockHeaderSize)...)
	b = encoder.EncodeAll(raw, b)
	s.buf = b
	h.raw, h.stored = uint32(len(raw)), uint32(len(b)-blockHeaderSize)
	h.checksum = crc32.Checksum(b[blockHeaderSize:], castagnoli)
	appendBlockHeader(b[:0], s.marker, h)
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	s.size += int64(len(b))
	return nil
}

// sync has what was written outlive a crash.
func (s *segment) sync() error {
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.synced = s.size
	return nil
}

// abandon ends the segment at what is known to be on the disk, without an index:
// a reader finds its blocks all the same.
func (s *segment) abandon() {
	_ = s.file.Truncate(s.synced) // else a reader finds, and names, what is left of a block
	_ = s.file.Close()
	if s.synced == segmentHeaderSize {
		_ = os.Remove(s.path)
	}
}

// finish writes the index, and ends the segment.
func (s *segment) finish(encoder *zstd.Encoder) error {
	all := s.index.total()
	at := s.size
	err := s.append(blockHeader{kind: indexBlock, count: uint32(len(s.index.blocks)), first: all.first, last: all.last}, s.index.append(nil), encoder)
	if err == nil {
		_, err = s.file.WriteAt(appendTrailer(nil, at), s.size)
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.abandon()
		return err
	}
	return s.file.Close()
}
