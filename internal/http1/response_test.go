package http1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadsResponses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, in string
		head     bool
		want     message
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP", false, message{
			Start: "1 200 OK", Fields: []string{"Content-Length: 3"}, Framing: 3, KeepAlive: true, Body: "abc", Done: true, Left: "HTTP",
		}},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nabc", false, message{
			Start: "1 200 OK", Framing: LengthClose, KeepAlive: true, Body: "abc", Done: true,
		}},
		{"chunked with trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a\r\nContent-Length: 5\r\n\r\n", false, message{
			Start: "1 200 OK", Fields: []string{"-Transfer-Encoding: chunked"}, Framing: LengthChunked, KeepAlive: true,
			Body: "a", Trailer: "Grpc-Status: 0\r\n", Done: true,
		}},
		{"no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, message{
			Start: "1 200 ", Fields: []string{"Content-Length: 0"}, KeepAlive: true, Done: true,
		}},
		{"no reason and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, message{
			Start: "1 200 ", Fields: []string{"Content-Length: 0"}, KeepAlive: true, Done: true,
		}},
		{"reason in another language", "HTTP/1.1 404 Nicht\tgef\xfcnden \r\nContent-Length: 0\r\n\r\n", false, message{
			Start: "1 404 Nicht\tgef\xfcnden ", Fields: []string{"Content-Length: 0"}, KeepAlive: true, Done: true,
		}},
		{"status 999", "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", false, message{
			Start: "1 999 ", Fields: []string{"Content-Length: 0"}, KeepAlive: true, Done: true,
		}},
		{"HEAD with length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP", true, message{
			Start: "1 200 OK", Fields: []string{"Content-Length: 3"}, Framing: 3, KeepAlive: true, Done: true, Left: "HTTP",
		}},
		{"HEAD with chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP", true, message{
			Start: "1 200 OK", Fields: []string{"-Transfer-Encoding: chunked"}, Framing: LengthChunked, KeepAlive: true, Done: true, Left: "HTTP",
		}},
		{"304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nHTTP", false, message{
			Start: "1 304 Not Modified", Fields: []string{"Content-Length: 3"}, Framing: 3, KeepAlive: true, Done: true, Left: "HTTP",
		}},
		{"304", "HTTP/1.1 304 \r\nETag: a\r\n\r\n", false, message{
			Start: "1 304 ", Fields: []string{"ETag: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"204", "HTTP/1.1 204 No Content\r\n\r\nHTTP", false, message{
			Start: "1 204 No Content", Framing: LengthNone, KeepAlive: true, Done: true, Left: "HTTP",
		}},
		{"204 that announces a body is not trusted with another response", "HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, message{
			Start: "1 204 ", Fields: []string{"-Transfer-Encoding: chunked"}, Framing: LengthNone, Done: true, Left: "0\r\n\r\n",
		}},
		{"204 with length 0", "HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n", false, message{
			Start: "1 204 ", Fields: []string{"Content-Length: 0"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200", false, message{
			Start: "1 103 Early Hints", Fields: []string{"Link: </a>"}, Framing: LengthNone, KeepAlive: true, Done: true, Left: "HTTP/1.1 200",
		}},
		{"switching protocols", "HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05", false, message{
			Start: "1 101 ", Fields: []string{"-Connection: Upgrade", "-Upgrade: websocket"}, Framing: LengthNone, KeepAlive: true, Upgrade: "websocket", Done: true, Left: "\x81\x05",
		}},
		{"HTTP/1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, message{
			Start: "0 200 OK", Fields: []string{"Content-Length: 1"}, Framing: 1, Body: "a", Done: true,
		}},
		{"HTTP/1.0 keeps alive when it says so", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na", false, message{
			Start: "0 200 OK", Fields: []string{"Content-Length: 1", "-Connection: keep-alive"}, Framing: 1, KeepAlive: true, Body: "a", Done: true,
		}},
		{"Host and Expect mean nothing", "HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\nExpect: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false, message{
			Start: "1 200 OK", Fields: []string{"Host: a b", "Host: c", "Expect: d", "Content-Length: 0", "-Connection: close"}, Done: true,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := everySplit(t, c.in, func(pieces ...string) *message { return readResponse(c.head, pieces...) })
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.in, diff)
			}
		})
	}
}

func TestReadsAFinalResponseAfterAnInterimOne(t *testing.T) {
	t.Parallel()
	var r Response
	in := []byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	n, err := r.Parse(in, nil)
	if err != nil || n != 25 || !r.Interim() || r.Status() != 100 {
		t.Fatalf("n %d, error %v, status %d", n, err, r.Status())
	}
	r.Reset()
	n, err = r.Parse(in[n:], nil)
	if err != nil || n != 38 || r.Interim() || r.Status() != 200 || string(r.Reason()) != "OK" {
		t.Fatalf("n %d, error %v, status %d", n, err, r.Status())
	}
	moved := append([]byte(nil), in[25:]...)
	r.Rebase(moved)
	clear(in)
	if string(r.Reason()) != "OK" {
		t.Errorf("after Rebase: reason %q", r.Reason())
	}
}

func TestErrorsOfResponsesAreFinalUntilReset(t *testing.T) {
	t.Parallel()
	var r Response
	for range 2 {
		n, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n: a\r\n\r\n"), nil)
		if n != 0 || err == nil || err.Status != 502 || err.Reason != "empty field name" {
			t.Fatalf("n %d, error %v", n, err)
		}
	}
	r.Reset()
	if n, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n\r\n"), nil); n != 19 || err != nil {
		t.Fatalf("after Reset: n %d, error %v", n, err)
	}
}

func TestLimitsResponseHeads(t *testing.T) {
	t.Parallel()
	var r Response
	in := []byte("HTTP/1.1 200 " + strings.Repeat("a", 100))
	if n, err := r.Parse(in, &Limits{Head: 100}); n != 0 || err == nil || err.Status != 502 || err.Reason != "head too long" {
		t.Errorf("n %d, error %v", n, err)
	}
}
