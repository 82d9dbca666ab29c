package http1

import (
	"strings"
	"testing"
)

// getHead is a head with ten fields as an API client sends it.
const getHead = "GET /api/v1/orders?page=2&size=50 HTTP/1.1\r\n" +
	"Host: shop.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: application/json\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=0123456789abcdef\r\n" +
	"X-Request-Id: 7f1c9a52-30a5-4b9e\r\n" +
	"X-Tenant: acme\r\n" +
	"Cache-Control: no-cache\r\n" +
	"Connection: keep-alive\r\n" +
	"\r\n"

const okHead = "HTTP/1.1 200 OK\r\n" +
	"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n" +
	"Server: shop/1.2\r\n" +
	"Content-Type: application/json\r\n" +
	"Content-Length: 200\r\n" +
	"Connection: keep-alive\r\n" +
	"\r\n"

var chunkedBody = []byte(strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 16) + "0\r\n\r\n")

func BenchmarkParseRequestOf10Fields(b *testing.B) {
	buf := []byte(getHead)
	var r Request
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		r.Reset()
		if n, err := r.Parse(buf, nil); n != len(buf) {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkParseResponseOf5Fields(b *testing.B) {
	buf := []byte(okHead)
	var r Response
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		r.Reset()
		if n, err := r.Parse(buf, nil); n != len(buf) {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkDecode16KiBInChunks(b *testing.B) {
	var r Request
	if _, err := r.Parse([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(chunkedBody)))
	for b.Loop() {
		body := r.Body()
		for p := chunkedBody; !body.Done(); {
			_, n, err := body.Decode(p)
			if err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	var r Request
	if _, err := r.Parse([]byte(getHead), nil); err != nil {
		b.Fatal(err)
	}
	e := NewEdit([]string{"x-tenant"}, []Header{{"X-Env", "trial"}}, nil)
	o := &Outgoing{Length: LengthNone, ForwardedFor: []byte("10.1.2.3"), Proto: []byte("http"), Marker: []byte("shop-v2")}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], &r, e, o)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendResponse(b *testing.B) {
	var r Response
	if _, err := r.Parse([]byte(okHead), nil); err != nil {
		b.Fatal(err)
	}
	o := &ResponseOutgoing{Length: 200, Minor: 1}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], &r, nil, o)
	}
	b.SetBytes(int64(len(dst)))
}
