package recording

import (
	"cmp"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Survey is what there is in a recording.
type Survey struct {
	Segments  []SegmentSurvey
	Exchanges int64
	Bytes     int64     // on the disk
	First     time.Time // earliest and latest start of an exchange; zero without one
	Last      time.Time
	Endpoints []EndpointSurvey // the most frequent first
	Problems  []Problem
}

// SegmentSurvey is what there is in one segment.
type SegmentSurvey struct {
	Name      string
	Bytes     int64
	Exchanges int64
	First     time.Time
	Last      time.Time
	Finished  bool // false: it is being written, or was when the writer was killed
}

// EndpointSurvey is how many exchanges there are of one kind. Parts of the path
// that look like ids are left out; an empty name is of all that were too rare, or
// too many, to be told apart.
type EndpointSurvey struct {
	Name  string // GET /users/{}
	Count int64
}

// Look surveys the recording in a folder. It reads the index of each finished
// segment, and the others whole. Each is told to progress, which may be nil.
func Look(dir string, progress func(done, of int)) (*Survey, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &Survey{}
	var all span
	endpoints := &index{}
	for i, name := range r.names {
		if progress != nil {
			progress(i, len(r.names))
		}
		one, x, err := s.segment(filepath.Join(r.dir, name), r.decoder)
		if err != nil {
			p, known := segmentProblem(name, err)
			if !known {
				return nil, err
			}
			s.Problems = append(s.Problems, p)
			continue
		}
		total := x.total()
		one.Exchanges = total.count
		one.First, one.Last = total.times()
		s.Segments = append(s.Segments, one)
		s.Bytes += one.Bytes
		all.add(total)
		for name, n := range x.endpoints {
			endpoints.countNamed(name, *n)
		}
	}
	s.Exchanges = all.count
	s.First, s.Last = all.times()
	for name, n := range endpoints.endpoints {
		s.Endpoints = append(s.Endpoints, EndpointSurvey{name, *n})
	}
	slices.SortFunc(s.Endpoints, func(a, b EndpointSurvey) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	return s, nil
}

// segment surveys one segment.
func (s *Survey) segment(path string, decoder *zstd.Decoder) (SegmentSurvey, *index, error) {
	f, blocks, err := openSegment(path, decoder)
	if err != nil {
		return SegmentSurvey{}, nil, err
	}
	defer f.Close()
	one := SegmentSurvey{Name: filepath.Base(path), Bytes: blocks.size}
	x, finished := blocks.readIndex()
	if one.Finished = finished; finished {
		return one, x, nil
	}
	r := &Reader{name: one.Name, file: f, blocks: blocks, decoder: decoder, since: beginning}
	x, err = r.survey()
	s.Problems = append(s.Problems, r.problems...)
	return one, x, err
}

// survey gathers an index of what is left of the segment that is open.
func (r *Reader) survey() (*index, error) {
	x := &index{}
	for {
		err := r.block()
		if errors.Is(err, io.EOF) {
			return x, nil
		} else if err != nil {
			return nil, err
		}
		records, err := x.survey(r.records)
		if err != nil {
			r.damaged(r.at, -1, err)
		}
		x.blocks = append(x.blocks, indexEntry{r.at, records.count, records.first, records.last})
	}
}
