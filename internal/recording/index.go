package recording

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// maxEndpoints bounds how many kinds of exchanges are told apart: paths come
	// from clients.
	maxEndpoints = 1000
	maxEndpoint  = 128 // bytes of a name
)

// index is what a segment says about itself at its end, so that nobody has to
// read it for that. It is gathered from the records, by a writer as it writes and
// by a reader of a segment without an end.
type index struct {
	blocks    []indexEntry
	endpoints map[string]*int64 // name to count; the empty name is all that have no room
	name      []byte            // reused
}

// indexEntry is where a block is.
type indexEntry struct {
	offset      int64
	count       int64
	first, last int64 // earliest and latest start
}

// span is the count, and earliest and latest start, of some records.
type span struct {
	count       int64
	first, last int64
}

// add makes one span of two.
func (s *span) add(t span) {
	switch {
	case t.count == 0:
	case s.count == 0:
		*s = t
	default:
		*s = span{s.count + t.count, min(s.first, t.first), max(s.last, t.last)}
	}
}

func (s span) times() (first, last time.Time) {
	if s.count == 0 {
		return time.Time{}, time.Time{}
	}
	return time.Unix(0, s.first).UTC(), time.Unix(0, s.last).UTC()
}

// survey counts the records of a block by endpoint.
func (x *index) survey(raw []byte) (span, error) {
	s := span{first: math.MaxInt64, last: math.MinInt64}
	for len(raw) > 0 {
		record, rest, err := cutRecord(raw)
		if err != nil {
			return span{}, err
		}
		raw = rest
		var start int64
		var method, path []byte
		err = eachField(record, func(number protowire.Number, v value) error {
			switch number {
			case 2:
				start = v.int()
			case 8:
				method = v.bytes
			case 10:
				path = v.bytes
			}
			return nil
		})
		if err != nil {
			return span{}, err
		}
		s.count++
		s.first, s.last = min(s.first, start), max(s.last, start)
		x.count(method, path)
	}
	return s, nil
}

// count counts one exchange.
func (x *index) count(method, path []byte) {
	x.name = appendEndpoint(x.name[:0], method, path)
	if n := x.endpoints[string(x.name)]; n != nil {
		*n++
		return
	}
	if len(x.endpoints) >= maxEndpoints {
		x.name = x.name[:0]
	}
	x.countNamed(string(x.name), 1)
}

func (x *index) countNamed(name string, more int64) {
	n := x.endpoints[name]
	if n == nil {
		if x.endpoints == nil {
			x.endpoints = map[string]*int64{}
		}
		n = new(int64)
		x.endpoints[name] = n
	}
	*n += more
}

// appendEndpoint appends what kind of exchange it is: GET /users/{}. It is for
// overviews only, and so simple: a part of the path that looks like an id is one.
func appendEndpoint(b, method, path []byte) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	for len(path) > 0 && len(b) < maxEndpoint {
		end := bytes.IndexByte(path[1:], '/') + 1
		if end == 0 {
			end = len(path)
		}
		if part := path[1:end]; path[0] == '/' && looksLikeID(part) {
			b = append(b, "/{}"...)
		} else {
			b = append(b, path[:end]...)
		}
		path = path[end:]
	}
	return b[:min(len(b), maxEndpoint)]
}

// looksLikeID says whether a part of a path is a number, a UUID, a hash, or long
// and with digits, as tokens are.
func looksLikeID(part []byte) bool {
	digits, others := 0, 0
	for _, c := range part {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c != '-' && (c < 'a' || c > 'f') && (c < 'A' || c > 'F'):
			others++
		}
	}
	return digits > 0 && (others == 0 || len(part) >= 20)
}

// total is the span of all blocks.
func (x *index) total() span {
	var s span
	for _, e := range x.blocks {
		s.add(span{e.count, e.first, e.last})
	}
	return s
}

func (x *index) append(b []byte) []byte {
	for _, e := range x.blocks {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		at := len(b)
		b = appendInt(b, 1, e.offset)
		b = appendInt(b, 2, e.count)
		b = appendInt(b, 3, e.first)
		b = appendInt(b, 4, e.last)
		b = prefixLength(b, at)
	}
	for _, name := range slices.Sorted(maps.Keys(x.endpoints)) {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		at := len(b)
		b = appendText(b, 1, name)
		b = appendInt(b, 2, *x.endpoints[name])
		b = prefixLength(b, at)
	}
	return b
}

// parseIndex reads the index of a segment of size bytes, which says how many
// blocks there can be.
func parseIndex(b []byte, size int64) (*index, error) {
	x := &index{}
	return x, eachField(b, func(number protowire.Number, v value) error {
		switch {
		case number == 1 && int64(len(x.blocks)) < size/blockHeaderSize:
			e, err := parseEntry(v.bytes)
			x.blocks = append(x.blocks, e)
			return err
		case number == 2 && len(x.endpoints) <= maxEndpoints:
			return x.parseEndpoint(v.bytes)
		}
		return nil
	})
}

func parseEntry(b []byte) (indexEntry, error) {
	var e indexEntry
	err := eachField(b, func(number protowire.Number, v value) error {
		switch number {
		case 1:
			e.offset = v.int()
		case 2:
			e.count = v.int()
		case 3:
			e.first = v.int()
		case 4:
			e.last = v.int()
		}
		return nil
	})
	return e, err
}

func (x *index) parseEndpoint(b []byte) error {
	var name string
	var count int64
	err := eachField(b, func(number protowire.Number, v value) error {
		switch number {
		case 1:
			name = string(v.bytes[:min(len(v.bytes), maxEndpoint)])
		case 2:
			count = v.int()
		}
		return nil
	})
	x.countNamed(name, count)
	return err
}
