package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// marker tells mirrors on the way that a request is a copy already, and who made
// it. It is part of the contract: a mirror does not copy what carries it.
const marker = "X-Understudy-Copy"

// markerValue names the mirror that made the copy.
const markerValue = "replay"

// Header is a change of all requests that are sent: a header that is set to a
// value whatever was recorded, or left out.
type Header struct {
	Name  string
	Value string // empty = the header is left out
}

// ParseHeader reads name=value, or name: value as curl has it. Without a value
// the header is left out.
func ParseHeader(text string) (Header, error) {
	at := strings.IndexAny(text, "=:")
	if at < 0 {
		return Header{}, fmt.Errorf("%q is not name=value; name= leaves the header out", text)
	}
	h := Header{Name: http.CanonicalHeaderKey(strings.TrimSpace(text[:at])), Value: strings.TrimSpace(text[at+1:])}
	switch {
	case !validName(h.Name):
		return Header{}, fmt.Errorf("%q is no name of a header", h.Name)
	case h.Name == "Host":
		return Header{}, errors.New("the host is said by --host")
	case h.Name == marker || h.Name == "Content-Length" || hopByHop[h.Name]:
		return Header{}, fmt.Errorf("%s is not yours to set: it follows from how a request is sent", h.Name)
	case !httpguts.ValidHeaderFieldValue(h.Value):
		return Header{}, fmt.Errorf("the value of %s has characters that no header may have", h.Name)
	}
	return h, nil
}

func validName(name string) bool { return httpguts.ValidHeaderFieldName(name) }

// hopByHop are the fields that belong to a connection and not to a request
// (RFC 9110, 7.6.1), besides those that a connection field names. TE is among
// them, but for gRPC, which asks for trailers by it.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true,
}

// unpacked stands in the place of Content-Encoding where redaction undid it: nobody
// sent it.
var unpacked = http.CanonicalHeaderKey(content.Unpacked)

// errRequest is wrapped by the errors of what cannot be sent as it was recorded.
var errRequest = errors.New("not a request that can be sent")

// request makes the request that is sent for a recorded one. The Message stays
// the caller's and must not change until the request has been answered.
func (t *Target) request(ctx context.Context, m *traffic.Message) (*http.Request, error) {
	line, _, _ := bytes.Cut(m.Head, []byte("\n"))
	method, target, ok := strings.Cut(strings.TrimRight(string(line), "\r"), " ")
	target, _, ok2 := strings.Cut(target, " ")
	if !ok || !ok2 || !validName(method) {
		return nil, fmt.Errorf("%w: no start line", errRequest)
	}
	u, err := t.locate(target)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	r := (&http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: u.Host, ContentLength: int64(len(m.Body)), Body: http.NoBody,
	}).WithContext(ctx)
	if r.Header, err = t.header(m.Head, r); err != nil {
		return nil, err
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return nil, fmt.Errorf("%w: the host %.60q", errRequest, r.Host)
	}
	if len(m.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(m.Body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Body)), nil }
	}
	if len(m.Trailer) > 0 {
		r.ContentLength = -1 // only a chunked body has trailers
		r.Trailer = http.Header{}
		for name, value := range fields(m.Trailer) {
			if !httpguts.ValidTrailerHeader(string(name)) || !validName(string(name)) || !httpguts.ValidHeaderFieldValue(string(value)) {
				return nil, fmt.Errorf("%w: the trailer %.40q", errRequest, name)
			}
			r.Trailer.Add(string(name), string(value))
		}
	}
	return r, nil
}

// header returns what is sent of the fields of a head, and reads the host of r
// from it.
func (t *Target) header(head []byte, r *http.Request) (http.Header, error) {
	_, lines, _ := bytes.Cut(head, []byte("\n"))
	h := make(http.Header, 16)
	for name, value := range fields(lines) {
		key := http.CanonicalHeaderKey(string(name))
		if !validName(key) || !httpguts.ValidHeaderFieldValue(string(value)) {
			return nil, fmt.Errorf("%w: the field %.40q", errRequest, name)
		}
		h[key] = append(h[key], string(value))
	}
	if host := h.Get("Host"); host != "" && !t.options.OwnHost {
		r.Host = host
	}
	trailers := httpguts.HeaderValuesContainsToken(h["Te"], "trailers")
	for _, named := range h["Connection"] {
		for name := range strings.SplitSeq(named, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for name := range hopByHop {
		delete(h, name)
	}
	delete(h, "Host")
	delete(h, "Content-Length")
	delete(h, unpacked)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	for _, change := range t.options.Headers {
		if change.Value == "" {
			delete(h, change.Name)
		} else {
			h[change.Name] = []string{change.Value}
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or net/http names itself
	}
	h[marker] = []string{markerValue}
	return h, nil
}

// locate puts a recorded request target onto the target, as it was received: an
// Opaque that begins with one slash is sent as it is.
func (t *Target) locate(target string) (*url.URL, error) {
	u := &url.URL{Scheme: t.scheme, Host: t.host}
	if target == "" {
		return nil, errors.New("no path")
	}
	if target[0] != '/' && target != "*" { // absolute form, as a proxy gets it
		absolute, err := url.Parse(target)
		if err != nil || absolute.Host == "" {
			return nil, fmt.Errorf("the path %.60q", target)
		}
		target = absolute.RequestURI()
	}
	if strings.HasPrefix(target, "//") {
		// net/http would take the part behind the slashes for a host.
		target = t.scheme + "://" + t.host + target
		rest, err := url.Parse(target)
		if err != nil {
			return nil, fmt.Errorf("the path %.60q", target)
		}
		return rest, nil
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return nil, fmt.Errorf("the path %.60q", target)
		}
	}
	u.Opaque = target
	return u, nil
}

// fields yields the name and the value of each field line, without the space
// around values.
func fields(lines []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for line := range bytes.Lines(lines) {
			name, value, ok := bytes.Cut(line, []byte(":"))
			if ok && !yield(name, bytes.TrimSpace(value)) {
				return
			}
		}
	}
}

// lookup returns the first value of a field of a head, whatever the case of its
// name.
func lookup(head []byte, name string) ([]byte, bool) {
	for value := range values(head, name) {
		return value, true
	}
	return nil, false
}

// values yields all values of a field of a head, whatever the case of its name.
func values(head []byte, name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		_, lines, _ := bytes.Cut(head, []byte("\n"))
		for n, value := range fields(lines) {
			if strings.EqualFold(string(n), name) && !yield(value) {
				return
			}
		}
	}
}
