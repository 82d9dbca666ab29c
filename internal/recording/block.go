package recording

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// Sizes of docs/formats/recording.md, in bytes.
const (
	segmentHeaderSize = 32
	blockHeaderSize   = 48
	trailerSize       = 16

	blockSize = 256 << 10 // of records, when a block is full; twice as much compresses hardly better
	maxRecord = 32 << 20  // larger exchanges are refused
	maxRaw    = 64 << 20  // of a block, for readers: what a damaged length may make of itself
	maxStored = maxRaw + maxRaw/64
)

const formatVersion = 1

var (
	segmentMagic = [8]byte{0x89, 'U', 'S', 'R', 'E', 'C', '\r', '\n'}
	trailerMagic = [4]byte{'E', 'N', 'D', '\n'}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// marker begins every block of a segment. It is drawn for each segment, so that
// nobody can put into a body what would look like a block after damage.
type marker [8]byte

func newMarker() (m marker) {
	_, _ = rand.Read(m[:]) // it never fails
	return m
}

// blockKind is what a block holds.
type blockKind uint32

const (
	recordBlock blockKind = 1
	indexBlock  blockKind = 2
)

// blockHeader stands before every block.
type blockHeader struct {
	kind     blockKind
	stored   uint32 // bytes that follow
	raw      uint32 // bytes that they become
	count    uint32 // records
	first    int64  // earliest and latest start of an exchange, nanoseconds since 1970
	last     int64
	checksum uint32 // CRC-32C of what is stored
}

func segmentHeader(m marker, created time.Time) []byte {
	b := append([]byte(nil), segmentMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = append(b, m[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(created.UnixNano()))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// What a file can be that is not a segment.
var (
	errNoSegment = errors.New("not a segment of a recording")
	errShort     = errors.New("it has only just been made")
	errVersion   = errors.New("another version of the format than this program knows")
)

func parseSegmentHeader(b []byte) (marker, error) {
	switch {
	case len(b) < segmentHeaderSize && bytes.HasPrefix(segmentMagic[:], b[:min(len(b), len(segmentMagic))]):
		return marker{}, errShort
	case len(b) < segmentHeaderSize || !bytes.Equal(b[:8], segmentMagic[:]):
		return marker{}, errNoSegment
	case crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]):
		return marker{}, fmt.Errorf("%w: its header is damaged", errNoSegment)
	case binary.LittleEndian.Uint32(b[8:]) != formatVersion:
		return marker{}, fmt.Errorf("%w: %d and not %d", errVersion, binary.LittleEndian.Uint32(b[8:]), formatVersion)
	}
	return marker(b[12:20]), nil
}

func appendBlockHeader(b []byte, m marker, h blockHeader) []byte {
	at := len(b)
	b = append(b, m[:]...)
	for _, v := range [...]uint32{uint32(h.kind), h.stored, h.raw, h.count} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(h.first))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.last))
	b = binary.LittleEndian.AppendUint32(b, h.checksum)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

var (
	errHeader = errors.New("the header of a block is damaged")
	errBlock  = errors.New("the checksum of a block is wrong")
	errCut    = errors.New("the file ends inside a block")
)

func parseBlockHeader(b []byte, m marker) (blockHeader, error) {
	if len(b) < blockHeaderSize || marker(b[:8]) != m || crc32.Checksum(b[:44], castagnoli) != binary.LittleEndian.Uint32(b[44:]) {
		return blockHeader{}, errHeader
	}
	number := binary.LittleEndian.Uint32
	h := blockHeader{
		kind: blockKind(number(b[8:])), stored: number(b[12:]), raw: number(b[16:]), count: number(b[20:]),
		first: int64(binary.LittleEndian.Uint64(b[24:])), last: int64(binary.LittleEndian.Uint64(b[32:])), checksum: number(b[40:]),
	}
	if h.raw > maxRaw || h.stored > maxStored {
		return blockHeader{}, errHeader
	}
	return h, nil
}

func appendTrailer(b []byte, index int64) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(index))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
	return append(b, trailerMagic[:]...)
}

// parseTrailer returns where the index block is.
func parseTrailer(b []byte) (int64, bool) {
	if len(b) != trailerSize || !bytes.Equal(b[12:], trailerMagic[:]) || crc32.Checksum(b[:8], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(b)), true
}

// newEncoder compresses blocks. Its speed is what recording costs.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(blockSize))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// blockReader reads the blocks of one segment, which may be damaged anywhere.
type blockReader struct {
	in      io.ReaderAt
	size    int64
	marker  marker
	at      int64 // of the next block
	decoder *zstd.Decoder
	stored  []byte // reused
}

// newBlockReader reads the header of a segment of size bytes.
func newBlockReader(in io.ReaderAt, size int64, decoder *zstd.Decoder) (*blockReader, error) {
	b := make([]byte, segmentHeaderSize)
	n, err := in.ReadAt(b, 0)
	if n < len(b) && err != io.EOF {
		return nil, err
	}
	m, err := parseSegmentHeader(b[:n])
	if err != nil {
		return nil, err
	}
	return &blockReader{in: in, size: size, marker: m, at: segmentHeaderSize, decoder: decoder}, nil
}

// header reads the header of the next block, and io.EOF after the last. A
// finished segment ends with its index.
func (r *blockReader) header() (blockHeader, error) {
	if r.at >= r.size {
		return blockHeader{}, io.EOF
	}
	var b [blockHeaderSize]byte
	n, err := r.in.ReadAt(b[:min(blockHeaderSize, r.size-r.at)], r.at)
	if n < len(b) {
		if err != nil && err != io.EOF {
			return blockHeader{}, err
		}
		return blockHeader{}, errCut
	}
	h, err := parseBlockHeader(b[:], r.marker)
	if err == nil && r.at+blockHeaderSize+int64(h.stored) > r.size {
		err = errCut
	}
	return h, err
}

// skip goes on behind a block.
func (r *blockReader) skip(h blockHeader) { r.at += blockHeaderSize + int64(h.stored) }

// content reads the block of a header that was just read.
func (r *blockReader) content(h blockHeader) ([]byte, error) {
	if cap(r.stored) < int(h.stored) {
		r.stored = make([]byte, h.stored)
	}
	stored := r.stored[:h.stored]
	if n, err := r.in.ReadAt(stored, r.at+blockHeaderSize); n < len(stored) {
		if err == io.EOF {
			err = errCut
		}
		return nil, err
	}
	if crc32.Checksum(stored, castagnoli) != h.checksum {
		return nil, errBlock
	}
	raw, err := r.decoder.DecodeAll(stored, make([]byte, 0, min(h.raw, 4*blockSize)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBlock, err)
	}
	if len(raw) != int(h.raw) {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", errBlock, len(raw), h.raw)
	}
	return raw, nil
}

// indexHeader reads the header of the index, if the segment was finished. It says
// of the whole segment what other headers say of their blocks.
func (r *blockReader) indexHeader() (blockHeader, bool) {
	at, found := r.findIndex()
	if !found {
		return blockHeader{}, false
	}
	before := r.at
	defer func() { r.at = before }()
	r.at = at
	h, err := r.header()
	return h, err == nil && h.kind == indexBlock
}

// findIndex returns where the trailer says that the index is.
func (r *blockReader) findIndex() (int64, bool) {
	var b [trailerSize]byte
	if r.size < segmentHeaderSize+blockHeaderSize+trailerSize {
		return 0, false
	}
	if n, _ := r.in.ReadAt(b[:], r.size-trailerSize); n < len(b) {
		return 0, false
	}
	at, found := parseTrailer(b[:])
	return at, found && at >= segmentHeaderSize && at <= r.size-trailerSize-blockHeaderSize
}

// readIndex reads the index, if the segment was finished and it is whole.
func (r *blockReader) readIndex() (*index, bool) {
	h, found := r.indexHeader()
	if !found {
		return nil, false
	}
	before := r.at
	defer func() { r.at = before }()
	r.at, _ = r.findIndex()
	raw, err := r.content(h)
	if err != nil {
		return nil, false
	}
	x, err := parseIndex(raw, r.size)
	return x, err == nil
}

// resync goes to the next block whose header is whole, behind where it is, and
// says whether there is one.
func (r *blockReader) resync() bool {
	window := make([]byte, 64<<10)
	for from := r.at + 1; from+blockHeaderSize <= r.size; from += int64(len(window)) - blockHeaderSize {
		// No further than the file went when it was opened: what was written since
		// does not make the block that was being written a damaged one.
		n, _ := r.in.ReadAt(window[:min(int64(len(window)), r.size-from)], from)
		for start := 0; ; start++ {
			found := bytes.Index(window[start:n], r.marker[:])
			if found < 0 || start+found+blockHeaderSize > n {
				break
			}
			start += found
			if _, err := parseBlockHeader(window[start:n], r.marker); err == nil {
				r.at = from + int64(start)
				return true
			}
		}
		if n < len(window) {
			break
		}
	}
	return false
}

// cutRecord takes the first record from the content of a block.
func cutRecord(raw []byte) (record, rest []byte, err error) {
	record, n := protowire.ConsumeBytes(raw)
	if n < 0 {
		return nil, nil, fmt.Errorf("%w: %w", errRecord, protowire.ParseError(n))
	}
	return record, raw[n:], nil
}
