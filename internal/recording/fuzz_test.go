package recording

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"testing"
	"time"
)

// readSegment reads bytes as a segment, and fails if that goes wrong in another
// way than by naming problems.
func readSegment(t *testing.T, b []byte) (read int) {
	t.Helper()
	decoder := newDecoder()
	defer decoder.Close()
	blocks, err := newBlockReader(bytes.NewReader(b), int64(len(b)), decoder)
	if err != nil {
		if _, known := segmentProblem("", err); !known {
			t.Fatal(err)
		}
		return 0
	}
	_, _ = blocks.readIndex()
	r := &Reader{file: io.NopCloser(nil), blocks: blocks, decoder: decoder, since: beginning}
	for {
		_, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
	}
	for _, p := range r.Problems() {
		if p.Bytes < 0 || p.Offset < 0 || p.Offset+p.Bytes > int64(len(b)) || p.String() == "" {
			t.Fatalf("problem %+v in %d bytes", p, len(b))
		}
	}
	return read
}

// FuzzSegment reads any bytes as a segment.
func FuzzSegment(f *testing.F) {
	golden, err := os.ReadFile("testdata/v1.rec")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add(segmentHeader(marker{}, time.Unix(0, 0)))
	f.Fuzz(func(t *testing.T, b []byte) { readSegment(t, b) })
}

// FuzzBlock puts any header and content into a segment whose checksums are right,
// and a good block behind, which must be read in any case.
func FuzzBlock(f *testing.F) {
	good := prefixLength(appendExchange(nil, full()), 0)
	compressed := newEncoder().EncodeAll(good, nil)
	f.Add(uint32(1), uint32(len(good)), uint32(1), int64(0), compressed)
	f.Add(uint32(1), uint32(maxRaw), uint32(1), int64(0), compressed)
	f.Add(uint32(1), uint32(len(good)), uint32(1<<31), int64(-1), []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0})
	f.Add(uint32(2), uint32(0), uint32(0), int64(0), []byte{})
	f.Fuzz(func(t *testing.T, kind, raw, count uint32, first int64, stored []byte) {
		m := marker{1, 2, 3, 4, 5, 6, 7, 8}
		b := segmentHeader(m, time.Unix(0, 0))
		h := blockHeader{blockKind(kind), uint32(len(stored)), raw, count, first, first, crc32.Checksum(stored, castagnoli)}
		b = append(appendBlockHeader(b, m, h), stored...)
		h = blockHeader{recordBlock, uint32(len(compressed)), uint32(len(good)), 1, 0, 0, crc32.Checksum(compressed, castagnoli)}
		b = append(appendBlockHeader(b, m, h), compressed...)
		if read := readSegment(t, b); read == 0 && blockKind(kind) != indexBlock {
			t.Fatal("the good block behind was not read")
		}
	})
}

// FuzzRecord decodes any bytes, and what it understands it writes and understands
// again.
func FuzzRecord(f *testing.F) {
	f.Add(appendExchange(nil, full()))
	f.Add(appendExchange(nil, numbered(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeExchange(b)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		written := appendExchange(nil, x)
		if int64(len(written)) > sizeLimit(x) {
			t.Fatalf("a record of %d bytes is over its limit of %d", len(written), sizeLimit(x))
		}
		again, err := decodeExchange(written)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(appendExchange(nil, again), written) {
			t.Fatalf("%x became %x", written, appendExchange(nil, again))
		}
	})
}

// FuzzIndex reads any bytes as an index.
func FuzzIndex(f *testing.F) {
	x := &index{blocks: []indexEntry{{32, 2, 5, 9}}}
	x.countNamed("GET /", 2)
	f.Add(x.append(nil), int64(4096))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		x, err := parseIndex(b, size)
		if err == nil && (int64(len(x.blocks)) > max(size, 0)/blockHeaderSize || len(x.endpoints) > maxEndpoints+1) {
			t.Fatalf("%d blocks and %d endpoints in %d bytes", len(x.blocks), len(x.endpoints), size)
		}
	})
}

// FuzzFilter reads any text as a filter.
func FuzzFilter(f *testing.F) {
	f.Add("method=GET,path=/a*b*c,status=5xx,since=10m")
	f.Add("path=***")
	x := full()
	f.Fuzz(func(t *testing.T, text string) {
		if filter, err := ParseFilter(text); err == nil {
			_ = filter.Match(x)
		} else if err.Error() == "" {
			t.Fatal("an error without words")
		}
	})
}
