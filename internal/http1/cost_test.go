package http1

import (
	"strings"
	"testing"
)

// Not parallel: testing.AllocsPerRun counts what all goroutines allocate.
func TestAllocatesNothingInSteadyState(t *testing.T) {
	const upgrade = "GET http://[::1]:80/chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x-a\r\nUpgrade: websocket\r\nX-A: b\r\nTE: trailers\r\n" +
		"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n"
	in, head, answer, up := []byte(chunks("3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n")), []byte(getHead), []byte(okHead), []byte(upgrade)
	bad := []byte("GET / HTTP/1.1\r\nHost : a\r\n")
	edit := NewEdit([]string{"x-tenant", "cookie"}, []Header{{"X-Env", "trial"}}, nil)
	out := &Outgoing{Length: LengthNone, ForwardedFor: []byte("10.0.0.1"), Proto: []byte("http"), RequestID: []byte("1"), Marker: []byte("m"), Upgrade: true}
	back := &ResponseOutgoing{Length: 200, Minor: 1}
	var r, u Request
	var s Response
	dst := make([]byte, 0, 64<<10)
	parse := func(r *Request, b []byte) int {
		r.Reset()
		n, _ := r.Parse(b, nil)
		return n
	}
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"Request.Parse", func() { parse(&r, head) }},
		{"Request.Parse in two pieces", func() {
			parse(&r, head[:100])
			if n, _ := r.Parse(head, nil); n != len(head) {
				t.Error("not whole")
			}
		}},
		{"Request.Parse of an upgrade", func() { parse(&u, up) }},
		{"Request.Parse of a malformed head", func() { parse(&r, bad) }},
		{"views", func() {
			parse(&r, head)
			_, _ = r.Value("x-tenant", 0)
			_, _ = r.Lookup(Cookie)
			_, _, _ = r.Field(3)
			if !r.Safe() || !r.Idempotent() || r.Upgrade() != nil || r.ContentLength() != LengthNone || len(r.Path()) != 14 {
				t.Error("wrong view")
			}
		}},
		{"Body.Decode with trailers", func() {
			n := parse(&r, in)
			body := r.Body()
			for p := in[n:]; !body.Done(); {
				_, n, err := body.Decode(p)
				if err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			if len(body.Trailer()) != 10 {
				t.Errorf("trailer %q", body.Trailer())
			}
		}},
		{"AppendRequest", func() { dst = AppendRequest(dst[:0], &r, edit, out) }},
		{"AppendRequest as received", func() { dst = AppendRequest(dst[:0], &r, nil, nil) }},
		{"AppendRequest of an upgrade", func() { dst = AppendRequest(dst[:0], &u, edit, out) }},
		{"Response.Parse", func() {
			s.Reset()
			if n, _ := s.Parse(answer, nil); n != len(answer) {
				t.Error("not whole")
			}
		}},
		{"AppendResponse", func() { dst = AppendResponse(dst[:0], &s, edit, back) }},
		{"AppendResponse as received", func() { dst = AppendResponse(dst[:0], &s, nil, nil) }},
		{"AppendChunk", func() { dst = AppendChunk(dst[:0], head) }},
		{"Answer", func() { dst = (&Answer{Status: 503, Body: "no endpoint", Close: true}).Append(dst[:0]) }},
	} {
		if n := testing.AllocsPerRun(100, c.run); n != 0 {
			t.Errorf("%s: %v allocations, want none", c.name, n)
		}
	}
}

// Bytes that were searched for the end of a line are not searched again, so
// that a head that comes byte by byte costs what it costs in one piece.
func TestLooksAtEveryByteOnce(t *testing.T) {
	t.Parallel()
	in := []byte(get("A: " + strings.Repeat("b", 1000)))
	var r Request
	for n := 1; n < len(in); n++ {
		if used, err := r.Parse(in[:n], nil); used != 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", n, used, err)
		}
		if int(r.scan) != n {
			t.Fatalf("after %d bytes the search goes on at %d", n, r.scan)
		}
	}
}
