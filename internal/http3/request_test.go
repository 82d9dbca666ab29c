package http3

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/http1"
)

func TestHeadsAreWrittenAsHTTP1(t *testing.T) {
	t.Parallel()
	request := func(method, target, host string, length int64, fields http.Header) *http.Request {
		return &http.Request{Method: method, RequestURI: target, Host: host, ContentLength: length, Header: fields}
	}
	trailing := request("POST", "/", "a", -1, nil)
	trailing.Trailer = http.Header{"X-Sum": nil, "X-Also": nil}
	for name, row := range map[string]struct {
		request *http.Request
		chunked bool
		want    string
	}{
		"no body": {request("GET", "/a?b=c", "shop:443", -1, http.Header{"Cookie": {"a=b; c=d"}, "Accept": {"x", "y"}, "Host": {"shop:443"}}), false,
			"GET /a?b=c HTTP/1.1\r\nhost: shop:443\r\naccept: x\r\naccept: y\r\ncookie: a=b; c=d\r\n\r\n"},
		"a length":   {request("PUT", "/", "a", 3, http.Header{"Content-Length": {"3"}}), false, "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"},
		"no length":  {request("POST", "/", "a", -1, nil), true, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"},
		"trailers":   {trailing, true, "POST / HTTP/1.1\r\nhost: a\r\ntrailer: x-also, x-sum\r\ntransfer-encoding: chunked\r\n\r\n"},
		"connect":    {request("CONNECT", "a:443", "a:443", -1, nil), false, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"},
		"two lines":  {request("GET", "/", "a", -1, http.Header{"X": {"1\r\nEvil: 2"}}), false, refused},
		"bare LF":    {request("GET", "/", "a", -1, http.Header{"X": {"1\nEvil: 2"}}), false, refused},
		"two words":  {request("GET", "/ HTTP/1.1", "a", -1, nil), false, refused},
		"a long way": {request("GET", "/\r\nEvil: 2", "a", -1, nil), false, refused},
		"a method":   {request("GET /x", "/", "a", -1, nil), false, refused},
		"a host":     {request("GET", "/", "a\r\nEvil: 2", -1, nil), false, refused},
		"no host":    {request("GET", "/", "", -1, nil), false, refused},
		"a name":     {request("GET", "/", "a", -1, http.Header{"X: 1\r\nEvil": {"2"}}), false, refused},
		"a colon":    {request("GET", "/", "a", -1, http.Header{"X:": {"2"}}), false, refused},
		"fields of another connection": {request("GET", "/", "a", -1, http.Header{
			"Connection": {"x"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Keep-Alive": {"1"}, "Proxy-Connection": {"x"}}), false, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"},
	} {
		if got := string(appendRequest(nil, row.request, row.chunked)); got != row.want {
			t.Errorf("%s: got\n%q\nwant\n%q", name, got, row.want)
		}
	}
	var r http1.Request
	if _, err := r.Parse([]byte(refused), nil); err == nil || err.Status != 400 {
		t.Errorf("got %v, want that what is refused gets a 400", err)
	}
}

func TestTrailersThatAreNoneAreLeftOut(t *testing.T) {
	t.Parallel()
	for want, trailer := range map[string]http.Header{
		"0\r\n\r\n":                     nil,
		"0\r\nx-a: 1\r\nx-a: 2\r\n\r\n": {"X-A": {"1", "2"}},
		"0\r\n\r\n\x00":                 {"X-A": {"1"}, "X-B": {"1\r\n\r\nGET / HTTP/1.1"}},
	} {
		if got := string(appendTrailer(nil, trailer)); got != strings.TrimSuffix(want, "\x00") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzHead looks for fields that become more than one request, or another one.
func FuzzHead(f *testing.F) {
	f.Add("GET", "/a?b", "shop.example.com", "X-A", "1", int64(-1), true)
	f.Add("POST", "/", "a:1", "Transfer-Encoding", "chunked", int64(5), false)
	f.Add("GET", "/ HTTP/1.1\r\n\r\nGET /b", "a", "Content-Length", "7", int64(0), false)
	f.Add("CONNECT", "a:443", "a:443", "Host", "b", int64(-1), false)
	f.Fuzz(func(t *testing.T, method, target, host, name, value string, length int64, chunked bool) {
		if chunked {
			length = -1 // begin never has both
		}
		r := &http.Request{Method: method, RequestURI: target, Host: host, ContentLength: length, Header: http.Header{name: {value}}}
		head := appendRequest(nil, r, chunked)
		var parsed http1.Request
		n, err := parsed.Parse(head, nil)
		if err != nil {
			return
		}
		if n != len(head) || !bytes.HasSuffix(head, []byte("\r\n\r\n")) || bytes.Count(head, []byte("\r\n\r\n")) != 1 {
			t.Fatalf("%q is not one head: %d bytes of %d were used", head, n, len(head))
		}
		if string(parsed.Method()) != method || parsed.Chunked() != chunked || !chunked && parsed.ContentLength() > 0 && parsed.ContentLength() != length {
			t.Fatalf("%q is another request than %s with length %d, chunked %t", head, method, length, chunked)
		}
	})
}
