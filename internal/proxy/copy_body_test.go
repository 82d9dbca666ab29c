package proxy

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// TestBodiesOverTheLimit sends a body of 20 bytes past a mirror with a limit.
// The primary always gets it whole.
func TestBodiesOverTheLimit(t *testing.T) {
	const body = "0123456789abcdefghij"
	length := "Content-Length: 20\r\n\r\n" + body
	chunks := "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nf\r\n56789abcdefghij\r\n0\r\nX-Sum: 1\r\n\r\n"
	tests := []struct {
		name, limit, framing string
		body, mark, coding   string // what the shadow gets
		trailer              string
		dropped              bool
	}{
		{name: "skip, length", limit: "limit: 19", framing: length, dropped: true},
		{name: "skip, chunks", limit: "limit: 19", framing: chunks, dropped: true},
		{name: "truncate, length", limit: "limit: 8, overLimit: truncate", framing: length, body: body[:8], mark: "truncated; length=20"},
		{name: "truncate, chunks", limit: "limit: 8, overLimit: truncate", framing: chunks, body: body[:8], coding: "chunked", trailer: "x-understudy-body: truncated"},
		{name: "headers, length", limit: "limit: 8, overLimit: headers", framing: length, mark: "omitted; length=20"},
		{name: "headers, chunks", limit: "limit: 8, overLimit: headers", framing: chunks, mark: "omitted"},

		{name: "skip, length within", limit: "limit: 20", framing: length, body: body},
		{name: "skip, chunks within", limit: "limit: 20", framing: chunks, body: body, coding: "chunked", trailer: "X-Sum: 1"},
		{name: "truncate, length within", limit: "limit: 20, overLimit: truncate", framing: length, body: body},
		{name: "truncate, chunks within", limit: "limit: 20, overLimit: truncate", framing: chunks, body: body, coding: "chunked", trailer: "X-Sum: 1"},
		{name: "headers, length within", limit: "limit: 20, overLimit: headers", framing: length, body: body},
		{name: "headers, chunks within", limit: "limit: 20, overLimit: headers", framing: chunks, body: body, coding: "chunked", trailer: "X-Sum: 1"},
		{name: "no limit", limit: "limit: none", framing: chunks, body: body, coding: "chunked", trailer: "X-Sum: 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow := record(t, fine), record(t, fine)
				s, addr := serve(t, d, withMirrors(primary.address(), []string{shadow.address()}, "writes: copy, body: {"+test.limit+"}"))
				ask(t, addr, "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\n"+test.framing)
				if got := primary.one(t, "r1").body; got != body {
					t.Errorf("the primary got %q", got)
				}
				m := settled(s)["m0"]
				if test.dropped {
					if m.Dropped[traffic.DropBodyLimit] != 1 || m.Selected != 1 || len(shadow.ids()) != 0 {
						t.Errorf("got %v dropped, and the shadow %v, want one for the limit", m.Dropped, shadow.ids())
					}
					return
				}
				got := shadow.one(t, "r1")
				if diff := cmp.Diff([]string{test.body, test.mark, test.coding, test.trailer},
					[]string{got.body, got.value("x-understudy-body"), got.value("Transfer-Encoding"), strings.Join(got.trailer, "\n")}); diff != "" {
					t.Errorf("at the shadow (- want, + got)\n%s", diff)
				}
				if m.Completed != 1 {
					t.Errorf("got %+v, want one copy completed", m)
				}
			})
		})
	}
}

func TestAShadowGetsBytesBeforeTheRequestHasEnded(t *testing.T) {
	for _, framing := range []string{"Content-Length: 6", "Transfer-Encoding: chunked"} {
		t.Run(framing, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow := scripted(t), scripted(t)
				s, addr := serve(t, d, withMirrors(primary.address(), []string{shadow.address()}, "writes: copy"))
				c := dial(t, addr)
				send(t, c, "PUT / HTTP/1.1\r\nHost: h\r\n"+framing+"\r\n\r\n")
				p, sh := primary.next(t), shadow.next(t)
				pr, sr := bufio.NewReader(p), bufio.NewReader(sh)
				head(t, pr)
				head(t, sr)
				for i := range 3 {
					part := fmt.Sprintf("%d%d", i, i)
					if strings.HasPrefix(framing, "T") {
						part = "2\r\n" + part + "\r\n"
					}
					send(t, c, part)
					expect(t, pr, part)
					expect(t, sr, part)
				}
				if strings.HasPrefix(framing, "T") {
					send(t, c, "0\r\n\r\n")
					expect(t, sr, "0\r\n\r\n")
				}
				send(t, sh, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // before the primary has answered
				settled(s)
				send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
				expect(t, c, "HTTP/1.1 204 No Content\r\n\r\n")
				if m := settled(s)["m0"]; m.Completed != 1 {
					t.Errorf("got %+v, want one copy completed", m)
				}
			})
		})
	}
}

// A shadow that accepts and never reads must not slow down an upload that does
// not fit into the buffers in between. Were the client to wait for it, it would
// wait for the copy's timeout, which is far longer than the test has.
func TestAnUploadDoesNotWaitForAShadowThatNeverReads(t *testing.T) {
	tests := []struct {
		name, mirror string
		reason       traffic.Reason // empty: the copy is held whole until the end
	}{
		{"more than it may hold", "limits: {memory: 1MiB}", traffic.DropMemory},
		{"as much as it may hold", "limits: {memory: 64MiB}", ""},
	}
	for _, test := range tests {
		for _, framing := range []string{"Content-Length: 16777216", "Transfer-Encoding: chunked"} {
			t.Run(test.name+", "+framing[:7], func(t *testing.T) {
				drivers(t, func(t *testing.T, d loop.Driver) {
					primary, shadow := record(t, fine), scripted(t)
					s, addr := serve(t, d, "shutdown: {copies: 10ms}\n"+mirrored(primary.address(), shadow.address(), `            writes: copy
            timeout: 10m
            body: {limit: none}
            `+test.mirror))
					const size = 16 << 20
					request := "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\n" + framing + "\r\n\r\n"
					if strings.HasPrefix(framing, "C") {
						request += strings.Repeat("x", size)
					} else {
						request += strings.Repeat("40000\r\n"+strings.Repeat("x", size/64)+"\r\n", 64) + "0\r\n\r\n"
					}
					if got := ask(t, addr, request)[0]; !strings.HasPrefix(got.start, "HTTP/1.1 200 ") {
						t.Errorf("got %s, want 200", got.start)
					}
					if n := len(primary.one(t, "r1").body); n != size {
						t.Errorf("the primary got %d bytes", n)
					}
					m := s.Snapshot().Mirrors[0]
					switch {
					case test.reason != "" && m.Dropped[test.reason] != 1:
						t.Errorf("dropped %v, want %s", m.Dropped, test.reason)
					case test.reason == "" && m.InFlight != 1:
						t.Errorf("%d in flight, dropped %v, want the copy to wait", m.InFlight, m.Dropped)
					}
				})
			})
		}
	}
}
