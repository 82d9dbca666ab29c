package http3

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
)

// upload is a request on its way to the loop.
type upload struct {
	request *http.Request
	line    *line
	chunked bool
	rest    *block // of the body, read ahead
	whole   bool   // nothing of the body is left to be read
}

// headRoom is what is left free in front of a part of a body, for the size of a
// chunk: four digits and a line end.
const headRoom, tailRoom = 6, 2

// begin finds out how the request's body is framed, and sends the head. Of a request
// that seldom has a body, and announces none, it waits for the first bytes or the
// end: an HTTP/3 head does not say whether it is all there is.
func (u *upload) begin(w http.ResponseWriter, patience time.Duration) error {
	r := u.request
	switch {
	case r.Method == http.MethodConnect || r.ContentLength == 0:
		u.whole = true
	case r.ContentLength > 0:
	case !bodiless[r.Method]:
		u.chunked = true
	default:
		c := http.NewResponseController(w)
		if patience > 0 {
			_ = c.SetReadDeadline(time.Now().Add(patience)) // not supported: it waits longer
		}
		b, err := u.read()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		_ = c.SetReadDeadline(time.Time{})
		u.rest, u.whole = b, err != nil
		u.chunked = b != nil
	}
	return u.text(appendRequest(nil, r, u.chunked))
}

// bodiless are the methods of requests that hardly ever have a body.
var bodiless = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodTrace: true, http.MethodDelete: true,
}

// text sends bytes that have no room of their own.
func (u *upload) text(p []byte) error {
	for len(p) > 0 {
		b := newBlock()
		b.to = copy(b.data[:], p)
		p = p[b.to:]
		if err := u.line.put(b); err != nil {
			return err
		}
	}
	return nil
}

// read returns the next bytes of the body, nil if there are none; io.EOF says that
// there are no more.
func (u *upload) read() (*block, error) {
	b := newBlock()
	for {
		n, err := u.request.Body.Read(b.data[headRoom : blockSize-tailRoom])
		if n == 0 && err == nil {
			continue
		}
		b.from, b.to = headRoom, headRoom+n
		if n == 0 {
			blocks.Put(b)
			b = nil
		}
		return b, err
	}
}

// run sends the body. A client that breaks it off breaks the line.
func (u *upload) run() {
	for err := error(nil); ; {
		b := u.rest
		u.rest = nil
		if b == nil && !u.whole {
			b, err = u.read()
		}
		if b != nil {
			if u.chunked {
				b.frame()
			}
			if u.line.put(b) != nil {
				return
			}
		}
		switch {
		case u.whole || errors.Is(err, io.EOF):
			if u.chunked {
				_ = u.text(appendTrailer(nil, u.request.Trailer)) // a line that has closed wants no more
			}
			return
		case err != nil:
			u.line.reset()
			return
		}
	}
}

// frame makes a chunk of the block.
func (b *block) frame() {
	var head [headRoom]byte
	p := http1.AppendChunkHeader(head[:0], b.to-b.from)
	b.from -= copy(b.data[b.from-len(p):], p)
	b.to += copy(b.data[b.to:], "\r\n")
}

// appendTrailer ends a body in chunks. Fields that may not come last, the parser
// leaves out.
func appendTrailer(dst []byte, trailer http.Header) []byte {
	end := len(dst)
	dst = append(dst, "0\r\n"...)
	for name, values := range sorted(trailer) {
		for _, v := range values {
			if !sendable(name, v) {
				return append(dst[:end], "0\r\n\r\n"...)
			}
			dst = appendField(dst, name, v)
		}
	}
	return append(dst, "\r\n"...)
}

// appendRequest appends the head of r as HTTP/1.1. Anything that could end a line,
// or a word, where it must not makes the whole head one that is refused.
func appendRequest(dst []byte, r *http.Request, chunked bool) []byte {
	begin := len(dst)
	if !word(r.Method) || !word(r.RequestURI) || !word(r.Host) {
		return append(dst, refused...)
	}
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.RequestURI...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendField(dst, "host", r.Host)
	for name, values := range sorted(r.Header) {
		if ours[name] || connection[name] {
			continue
		}
		for _, v := range values {
			if !sendable(name, v) {
				return append(dst[:begin], refused...)
			}
			dst = appendField(dst, name, v)
		}
	}
	if len(r.Trailer) > 0 && chunked {
		dst = appendField(dst, "trailer", strings.Join(slices.Collect(lower(r.Trailer)), ", "))
	}
	switch {
	case chunked:
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	case r.ContentLength >= 0 && r.Method != http.MethodConnect:
		dst = append(dst, "content-length: "...)
		dst = append(strconv.AppendInt(dst, r.ContentLength, 10), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// refused is a head that no parser takes.
const refused = "malformed\r\n\r\n"

// ours are fields of a request that are written by themselves.
var ours = map[string]bool{"host": true, "content-length": true, "trailer": true}

// connection are fields about a connection of HTTP/1.1: HTTP/3 has none (RFC 9114
// §4.2).
var connection = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "upgrade": true,
}

// sorted yields fields by their names in lower case, in an order that does not
// change from request to request.
func sorted(h http.Header) func(yield func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if !yield(strings.ToLower(name), h[name]) {
				return
			}
		}
	}
}

func lower(h http.Header) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range sorted(h) {
			if word(name) && !yield(name) {
				return
			}
		}
	}
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// word says whether s has nothing that ends a word of HTTP/1.1.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// sendable says whether a field is one line.
func sendable(name, value string) bool {
	return word(name) && !strings.Contains(name, ":") && !strings.ContainsAny(value, "\r\n\x00")
}
