package raw

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestFramingIsMadeRight(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		m        traffic.Message
		bodiless bool
		want     string
	}{
		{"a request without a body", traffic.Message{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n")}, false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"one that had chunks", traffic.Message{Head: []byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n"), Body: []byte("xy")}, false,
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy"},
		{"one that had chunks and no body", traffic.Message{Head: []byte("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n")}, false,
			"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
		{"a trailer", traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nTrailer: x\r\ncontent-length: 9\r\n"), Body: []byte("xy"), Trailer: []byte("x: 1\n")}, false,
			"HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\nx: 1\r\n\r\n"},
		{"a trailer without a body", traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\n"), Trailer: []byte("x: 1\r\n")}, false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: 1\r\n\r\n"},
		{"no trailer after all", traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n"), Body: []byte("xy")}, false,
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy"},
		{"an answer to HEAD", traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n")}, true, "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"},
		{"a body that was decoded to redact it", traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Unpacked: gzip\r\nContent-Length: 99\r\n"), Body: []byte("xy")}, false,
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy"},
		{"bare line ends", traffic.Message{Head: []byte("HTTP/1.1 200 OK\nA: b\n"), Body: []byte("xy")}, false, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nxy"},
	} {
		got := string(Append(nil, &test.m, test.bodiless))
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		back, err := Parse([]byte(got), test.bodiless)
		if err != nil || string(back.Body) != string(test.m.Body) || !back.Whole ||
			strings.ReplaceAll(string(back.Trailer), "\r", "") != strings.ReplaceAll(string(test.m.Trailer), "\r", "") {
			t.Errorf("%s: back to %+v, %v", test.name, back, err)
		}
	}
}

func TestMessagesAreParsed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text     string
		bodiless bool
		want     traffic.Message
	}{
		{"GET / HTTP/1.1\r\nA: b\r\n\r\n", false, traffic.Message{Head: []byte("GET / HTTP/1.1\r\nA: b\r\n"), Whole: true}},
		{"GET / HTTP/1.1\n\nrest", false, traffic.Message{Head: []byte("GET / HTTP/1.1\n"), Whole: true}},
		{"HTTP/1.1 200\r\n\r\nuntil the end", false, traffic.Message{Head: []byte("HTTP/1.1 200\r\n"), Body: []byte("until the end"), Length: 13, Whole: true}},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", false, traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"), Body: []byte("abc"), Length: 3, Whole: true}},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", false, traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), Body: []byte("abcd"), Length: 4}},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), Whole: true}},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\nabc\r\n1\nd\n0\r\nT: u\r\n\r\n", false, traffic.Message{
			Head: []byte("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n"), Body: []byte("abcd"), Trailer: []byte("T: u\r\n"), Length: 4, Whole: true}},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", false, traffic.Message{
			Head: []byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"), Body: []byte("abc"), Length: 3}},
	} {
		got, err := Parse([]byte(test.text), test.bodiless)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if len(got.Body) == 0 {
			got.Body = nil
		}
		if diff := cmp.Diff(&test.want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", test.text, diff)
		}
	}
	for _, text := range []string{"", "GET / HTTP/1.1\r\nA: b\r\n", "hello\r\n\r\n", "a b c\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"} {
		if _, err := Parse([]byte(text), false); !errors.Is(err, ErrMessage) {
			t.Errorf("%q: got %v, want an error", text, err)
		}
	}
}

func TestRequestsAreDescribed(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]traffic.Exchange{
		"GET /a?b=c?d HTTP/1.1\r\nHost: h\r\nUser-Agent: u\r\nX-Request-Id: 7\r\n": {ID: "7", Method: "GET", Path: "/a", Query: "b=c?d", Host: "h", UserAgent: "u", Protocol: "HTTP/1.1"},
		"GET http://other:80?q HTTP/1.0\r\nHost: h\r\n":                            {Method: "GET", Path: "/", Query: "q", Host: "other:80", Protocol: "HTTP/1.0"},
		"GET http://other HTTP/1.1\r\n":                                            {Method: "GET", Path: "/", Host: "other", Protocol: "HTTP/1.1"},
		"GET /to?u=http://x HTTP/1.1\r\n":                                          {Method: "GET", Path: "/to", Query: "u=http://x", Protocol: "HTTP/1.1"},
		"OPTIONS * HTTP/1.1\r\n":                                                   {Method: "OPTIONS", Path: "*", Protocol: "HTTP/1.1"},
	} {
		x := traffic.Exchange{Request: &traffic.Message{Head: []byte(head)}}
		Describe(&x)
		x.Request = nil
		if diff := cmp.Diff(want, x, cmp.Comparer(func(a, b traffic.Memory) bool { return a == b }), cmp.Comparer(func(a, b struct{}) bool { return true }), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Client" }, cmp.Ignore())); diff != "" {
			t.Errorf("%q (-want +got)\n%s", head, diff)
		}
	}
}

// FuzzParse parses any message; what it understands it writes and understands
// again, with the same body.
func FuzzParse(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 204 No Content\nContent-Length: 5\n\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, bodiless bool) {
		m, err := Parse(b, bodiless)
		if err != nil {
			return
		}
		again, err := Parse(Append(nil, m, bodiless), bodiless)
		if err != nil {
			t.Fatal(err)
		}
		if string(again.Body) != string(m.Body) || !again.Whole {
			t.Fatalf("%q became %q", m.Body, again.Body)
		}
	})
}
