package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// maxCodings bounds a chain of encodings. Nobody sends more than two; each more
// is another factor of a thousand for a bomb.
const maxCodings = 5

// maxWindow bounds the memory that a zstd stream may ask for: RFC 9659 says 8 MiB
// for HTTP.
const maxWindow = 8 << 20

// undo undoes the encodings that the head names, the last first.
func (b *Body) undo(head []byte, limit int64) {
	var room [maxCodings][]byte
	codings := room[:0]
	for name, value := range Fields(head) {
		if !EqualFold(name, "content-encoding") {
			continue
		}
		for coding := range bytes.SplitSeq(value, []byte(",")) {
			if coding = trim(coding); len(coding) == 0 || EqualFold(coding, "identity") {
				continue
			}
			if len(codings) == maxCodings {
				b.Err = errors.New("content-encoding: too many")
				return
			}
			codings = append(codings, coding)
		}
	}
	for i := len(codings) - 1; i >= 0 && len(b.Data) > 0; i-- {
		data, cut, err := inflate(codings[i], b.Data, limit)
		if err != nil && (!b.Cut || !errors.Is(err, io.ErrUnexpectedEOF)) {
			b.Err = fmt.Errorf("content-encoding %q: %w", codings[i], err)
		}
		b.Cut = b.Cut || cut || err != nil
		if len(data) == 0 && err != nil {
			return // nothing came of it: a body that is not encoded at all, perhaps
		}
		b.Data, b.Encoded = data, true
	}
}

var errUnknown = errors.New("unknown")

// inflate undoes one encoding, up to limit bytes. It returns what it got, also
// with an error; cut says that there is more.
func inflate(coding, data []byte, limit int64) (out []byte, cut bool, err error) {
	d := decoderOf(coding, data)
	if d == nil {
		return nil, false, errUnknown
	}
	defer d.put()
	r, err := d.open(bytes.NewReader(data))
	if err != nil {
		return nil, false, early(err)
	}
	return readUpTo(r, limit, len(data))
}

// readUpTo reads at most limit bytes. size is how many there are before they are
// decoded.
func readUpTo(r io.Reader, limit int64, size int) (out []byte, cut bool, err error) {
	out = make([]byte, 0, min(limit, max(512, 4*int64(size)))+1)
	for stuck := 0; ; {
		n, err := r.Read(out[len(out):min(int64(cap(out)), limit+1)])
		out = out[:len(out)+n]
		switch {
		case int64(len(out)) > limit:
			return out[:limit], true, nil
		case err == io.EOF:
			return out, false, nil
		case err != nil:
			return out, false, early(err)
		case n > 0:
			stuck = 0
		default:
			if stuck++; stuck > 100 {
				return out, false, io.ErrNoProgress
			}
		}
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
	}
}

// early makes one error of those that a stream has that ends too early.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decoder is a decoder of one encoding, kept for the next message.
type decoder struct {
	home   *sync.Pool
	reader io.Reader // nil if it is new
	reset  func(old io.Reader, from io.Reader) (io.Reader, error)
}

func (d *decoder) open(from io.Reader) (io.Reader, error) {
	r, err := d.reset(d.reader, from)
	if r != nil {
		d.reader = r
	}
	return r, err
}

func (d *decoder) put() { d.home.Put(d) }

// The decoders that are not in use.
var gzips, zlibs, flates, brotlis, zstds sync.Pool

func decoderOf(coding, data []byte) *decoder {
	switch {
	case EqualFold(coding, "gzip"), EqualFold(coding, "x-gzip"):
		return take(&gzips, resetGzip)
	case EqualFold(coding, "deflate") && isZlib(data):
		return take(&zlibs, resetZlib)
	case EqualFold(coding, "deflate"):
		return take(&flates, resetFlate)
	case EqualFold(coding, "br"):
		return take(&brotlis, resetBrotli)
	case EqualFold(coding, "zstd"):
		return take(&zstds, resetZstd)
	}
	return nil
}

func take(home *sync.Pool, reset func(old, from io.Reader) (io.Reader, error)) *decoder {
	if d, ok := home.Get().(*decoder); ok {
		return d
	}
	return &decoder{home: home, reset: reset}
}

// isZlib tells a zlib stream (RFC 1950), which deflate is, from a bare one
// (RFC 1951), which some servers send.
func isZlib(b []byte) bool {
	return len(b) >= 2 && b[0]&0x0f == 8 && (int(b[0])<<8|int(b[1]))%31 == 0
}

func resetGzip(old, from io.Reader) (io.Reader, error) {
	if r, ok := old.(*gzip.Reader); ok {
		return r, r.Reset(from)
	}
	r, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func resetZlib(old, from io.Reader) (io.Reader, error) {
	if r, ok := old.(zlib.Resetter); ok {
		return old, r.Reset(from, nil)
	}
	r, err := zlib.NewReader(from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func resetFlate(old, from io.Reader) (io.Reader, error) {
	if r, ok := old.(flate.Resetter); ok {
		return old, r.Reset(from, nil)
	}
	return flate.NewReader(from), nil
}

func resetBrotli(old, from io.Reader) (io.Reader, error) {
	if r, ok := old.(*brotli.Reader); ok {
		return r, r.Reset(from)
	}
	return brotli.NewReader(from), nil
}

func resetZstd(old, from io.Reader) (io.Reader, error) {
	if r, ok := old.(*zstd.Decoder); ok {
		return r, r.Reset(from)
	}
	r, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return r, nil
}
