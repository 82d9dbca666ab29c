package http1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines joins lines of a head and ends it.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

func TestForwardsRequests(t *testing.T) {
	t.Parallel()
	b := func(s string) []byte { return []byte(s) }
	none := func(o Outgoing) *Outgoing { o.Length = LengthNone; return &o }
	xff := NewEdit([]string{"X-Forwarded-For", "x-request-id", "traceparent", "X-Understudy-Copy", "x-forwarded-proto", "x-forwarded-host", "tracestate"}, nil, nil)
	cases := []struct {
		name string
		in   string
		edit *Edit
		out  *Outgoing
		want string
	}{
		{"as received, order and case and spacing kept", "GET /a?b HTTP/1.1\r\nAccept:*/*\r\nhost: a\r\nX-b:  c \r\nx-B:\td\r\n\r\n", nil, nil,
			lines("GET /a?b HTTP/1.1", "Host: a", "Accept:*/*", "X-b:  c ", "x-B:\td")},
		{"length", post("", "Content-Length: 003", "A: b"), nil, nil, lines("POST / HTTP/1.1", "Host: a", "A: b", "Content-Length: 3")},
		{"length zero", post("", "Content-Length: 0"), nil, nil, lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0")},
		{"POST without a body", get("A: b"), nil, nil, lines("GET / HTTP/1.1", "Host: a", "A: b")},
		{"chunked with Trailer", post("", "Trailer: X-Sum", "Transfer-Encoding: CHUNKED"), nil, nil,
			lines("POST / HTTP/1.1", "Host: a", "Trailer: X-Sum", "Transfer-Encoding: chunked")},
		{"chunked to length: no Trailer", post("", "Trailer: X-Sum", "Transfer-Encoding: chunked"), nil, &Outgoing{Length: 5},
			lines("POST / HTTP/1.1", "Host: a", "Content-Length: 5")},
		{"length to chunked", post("", "Content-Length: 7"), nil, &Outgoing{Length: LengthChunked},
			lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")},
		{"head only", post("", "Content-Length: 7"), nil, none(Outgoing{}), lines("POST / HTTP/1.1", "Host: a")},
		{"hop-by-hop", get("Connection: close, x-a, x-forwarded-for, te", "A: 1", "X-A: 2", "Keep-Alive: 3", "Proxy-Connection: 4", "TE: gzip", "Upgrade: 5",
			"Proxy-Authorization: 6", "Proxy-Authenticate: 7", "HTTP2-Settings: 8", "X-Forwarded-For: 9", "Z: 10"), nil, nil,
			lines("GET / HTTP/1.1", "Host: a", "A: 1", "X-Forwarded-For: 9", "Z: 10")},
		{"TE: trailers", get("TE: deflate;q=0.5, Trailers", "Connection: TE", "A: b"), nil, nil,
			lines("GET / HTTP/1.1", "Host: a", "A: b", "Connection: TE", "TE: trailers")},
		{"no TE for HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n", nil, nil, lines("GET / HTTP/1.1", "Host: a")},
		{"upgrade not asked for", get("Connection: upgrade", "Upgrade: websocket"), nil, nil, lines("GET / HTTP/1.1", "Host: a")},
		{"upgrade", get("Connection: upgrade", "Upgrade: websocket", "A: b"), nil, none(Outgoing{Upgrade: true}),
			lines("GET / HTTP/1.1", "Host: a", "A: b", "Connection: upgrade", "Upgrade: websocket")},
		{"upgrade and TE", get("Connection: upgrade", "Upgrade: websocket", "TE: trailers"), nil, none(Outgoing{Upgrade: true}),
			lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade, TE", "TE: trailers", "Upgrade: websocket")},
		{"upgrade asked for where there is none", get("Upgrade: websocket"), nil, none(Outgoing{Upgrade: true}), lines("GET / HTTP/1.1", "Host: a")},
		{"Expect only when asked for", post("", "Expect: 100-continue", "Content-Length: 1"), nil, nil, lines("POST / HTTP/1.1", "Host: a", "Content-Length: 1")},
		{"Expect", post("", "Expect: 100-Continue", "Content-Length: 1"), nil, &Outgoing{Length: 1, Expect: true},
			lines("POST / HTTP/1.1", "Host: a", "Content-Length: 1", "Expect: 100-continue")},
		{"absolute form", "GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", nil, nil, lines("GET /c?d HTTP/1.1", "Host: b:81", "A: b")},
		{"absolute form without path", "GET http://b? HTTP/1.1\r\nHost: a\r\n\r\n", nil, nil, lines("GET /? HTTP/1.1", "Host: b")},
		{"OPTIONS in absolute form", "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", nil, nil, lines("OPTIONS * HTTP/1.1", "Host: b")},
		{"CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", nil, nil, lines("CONNECT b:443 HTTP/1.1", "Host: b:443")},
		{"CONNECT keeps its target", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", nil, none(Outgoing{Target: b("/x")}), lines("CONNECT b:443 HTTP/1.1", "Host: b:443")},
		{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", nil, nil, lines("GET / HTTP/1.1", "Host: ")},
		{"target and host replaced", get("A: b"), nil, none(Outgoing{Target: b("/x?y"), Host: b("c:82")}), lines("GET /x?y HTTP/1.1", "Host: c:82", "A: b")},
		{"host added", "GET / HTTP/1.0\r\n\r\n", nil, none(Outgoing{Host: b("c")}), lines("GET / HTTP/1.1", "Host: c")},
		{"forwarding, none received", get("A: b"), nil, none(Outgoing{ForwardedFor: b("10.0.0.1"), Proto: b("http"), ForwardedHost: b("a")}),
			lines("GET / HTTP/1.1", "Host: a", "A: b", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a")},
		{"forwarding, received and trusted", get("x-forwarded-for: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-For: ", "X-Forwarded-For: 2.2.2.2, 3.3.3.3", "X-Forwarded-Host: h", "Forwarded: for=1.1.1.1"), nil,
			none(Outgoing{ForwardedFor: b("10.0.0.1"), Proto: b("http"), ForwardedHost: b("a")}),
			lines("GET / HTTP/1.1", "Host: a", "X-Forwarded-Proto: https", "X-Forwarded-Host: h", "Forwarded: for=1.1.1.1", "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1")},
		{"forwarding, received and not trusted", get("X-Forwarded-For: 1.1.1.1", "A: b", "X-Forwarded-Proto: https", "X-Forwarded-Host: h", "X-Forwarded-Port: 1", "X-Real-IP: 1.1.1.1", "Forwarded: for=1.1.1.1"), nil,
			none(Outgoing{ForwardedFor: b("10.0.0.1"), Proto: b("http"), ForwardedHost: b("a"), ReplaceForwarded: true}),
			lines("GET / HTTP/1.1", "Host: a", "A: b", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a")},
		{"forwarding left alone", get("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"), nil, none(Outgoing{}),
			lines("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2")},
		{"identity, none received", get("A: b"), nil, none(Outgoing{RequestID: b("1"), Traceparent: b("2"), Tracestate: b("3"), Marker: b("4")}),
			lines("GET / HTTP/1.1", "Host: a", "A: b", "x-request-id: 1", "traceparent: 2", "tracestate: 3", "x-understudy-copy: 4")},
		{"identity, received", get("X-Request-ID: r", "Traceparent: s", "Tracestate: t", "Tracestate: u", "X-Understudy-Copy: v"), nil,
			none(Outgoing{RequestID: b("1"), Traceparent: b("2"), Tracestate: b(""), Marker: b("4")}),
			lines("GET / HTTP/1.1", "Host: a", "X-Request-ID: r", "traceparent: 2", "x-understudy-copy: 4")},
		{"identity, received and left alone", get("X-Request-ID: r", "Traceparent: s", "X-Understudy-Copy: v"), nil, none(Outgoing{}),
			lines("GET / HTTP/1.1", "Host: a", "X-Request-ID: r", "Traceparent: s", "X-Understudy-Copy: v")},
		{"an edit also removes what we add", get("A: b"), xff,
			none(Outgoing{ForwardedFor: b("10.0.0.1"), Proto: b("http"), ForwardedHost: b("a"), RequestID: b("1"), Traceparent: b("2"), Tracestate: b("3"), Marker: b("4")}),
			lines("GET / HTTP/1.1", "Host: a", "A: b")},
		{"edit and extra lines", get("A: 1", "b: 2", "C: 3", "Authorization: 4"), NewEdit([]string{"AUTHORIZATION", "c"}, []Header{{"B", "5"}}, []Header{{"A", "6"}}),
			none(Outgoing{Extra: b("Z: 7\r\n")}), lines("GET / HTTP/1.1", "Host: a", "A: 1", "B: 5", "A: 6", "Z: 7")},
		{"edit sets Host", get("A: 1"), NewEdit([]string{"host"}, []Header{{"host", "e.example"}}, nil), none(Outgoing{Host: b("c")}),
			lines("GET / HTTP/1.1", "Host: e.example", "A: 1")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := parsed(t, c.in)
			got := string(AppendRequest([]byte("before "), r, c.edit, c.out))
			if diff := cmp.Diff("before "+c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestForwardsResponses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		in   string
		edit *Edit
		out  *ResponseOutgoing
		want string
	}{
		{"as received", lines("HTTP/1.1 200 Fine", "date: x", "Content-Length: 3", "Set-Cookie:a", "Set-Cookie: b"), nil, nil,
			lines("HTTP/1.1 200 Fine", "date: x", "Set-Cookie:a", "Set-Cookie: b", "Content-Length: 3")},
		{"version is ours", lines("HTTP/1.0 200 OK", "Content-Length: 3"), nil, nil, lines("HTTP/1.1 200 OK", "Content-Length: 3")},
		{"no reason", lines("HTTP/1.1 200", "Content-Length: 3"), nil, nil, lines("HTTP/1.1 200 ", "Content-Length: 3")},
		{"hop-by-hop", lines("HTTP/1.1 200 OK", "Connection: x-a, close", "X-A: 1", "Keep-Alive: 2", "B: 3", "Proxy-Authenticate: 4", "Upgrade: 5", "Transfer-Encoding: chunked", "Trailer: C"), nil, nil,
			lines("HTTP/1.1 200 OK", "B: 3", "Trailer: C", "Transfer-Encoding: chunked")},
		{"until close", lines("HTTP/1.1 200 OK", "A: b"), nil, nil, lines("HTTP/1.1 200 OK", "A: b", "Connection: close")},
		{"until close to chunked", lines("HTTP/1.1 200 OK", "A: b"), nil, &ResponseOutgoing{Length: LengthChunked, Minor: 1},
			lines("HTTP/1.1 200 OK", "A: b", "Transfer-Encoding: chunked")},
		{"chunked to an HTTP/1.0 client", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: A"), nil, &ResponseOutgoing{Length: LengthChunked},
			lines("HTTP/1.1 200 OK", "Connection: close")},
		{"length to an HTTP/1.0 client that keeps alive", lines("HTTP/1.1 200 OK", "Content-Length: 3"), nil, &ResponseOutgoing{Length: 3},
			lines("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: keep-alive")},
		{"closing", lines("HTTP/1.1 200 OK", "Content-Length: 3"), nil, &ResponseOutgoing{Length: 3, Minor: 1, Close: true},
			lines("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: close")},
		{"204 has no framing", lines("HTTP/1.1 204 No Content", "Content-Length: 0"), nil, &ResponseOutgoing{Minor: 1}, lines("HTTP/1.1 204 No Content")},
		{"304 keeps the length it speaks of", lines("HTTP/1.1 304 Not Modified", "Content-Length: 9"), nil, nil, lines("HTTP/1.1 304 Not Modified", "Content-Length: 9")},
		{"304 without length", lines("HTTP/1.1 304 Not Modified", "ETag: a"), nil, nil, lines("HTTP/1.1 304 Not Modified", "ETag: a")},
		{"interim has neither framing nor connection", lines("HTTP/1.1 103 Early Hints", "Link: a", "Content-Length: 1"), nil, &ResponseOutgoing{Length: 4, Close: true},
			lines("HTTP/1.1 103 Early Hints", "Link: a")},
		{"upgrade", lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "A: b"), nil, &ResponseOutgoing{Minor: 1, Upgrade: true},
			lines("HTTP/1.1 101 Switching Protocols", "A: b", "Connection: upgrade", "Upgrade: websocket")},
		{"edit and extra lines", lines("HTTP/1.1 200 OK", "Server: a", "X-Powered-By: b", "Content-Length: 3"),
			NewEdit([]string{"x-powered-by"}, []Header{{"Server", "c"}}, nil), &ResponseOutgoing{Length: 3, Minor: 1, Extra: []byte("Z: d\r\n")},
			lines("HTTP/1.1 200 OK", "Content-Length: 3", "Server: c", "Z: d")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var r Response
			if n, err := r.Parse([]byte(c.in), nil); n != len(c.in) {
				t.Fatalf("%q: n %d, error %v", c.in, n, err)
			}
			got := string(AppendResponse([]byte("before "), &r, c.edit, c.out))
			if diff := cmp.Diff("before "+c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendsChunks(t *testing.T) {
	t.Parallel()
	out := AppendChunk(nil, []byte("0123456789abcdef"))
	out = AppendChunk(out, nil)
	out = AppendChunkHeader(out, 10)
	out = append(out, "0123456789\r\n"...)
	if got, want := string(out)+LastChunk, "10\r\n0123456789abcdef\r\na\r\n0123456789\r\n0\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(AppendLastChunk(nil, []byte("A: b\r\n"))); got != "0\r\nA: b\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendLastChunk(nil, nil)); got != LastChunk {
		t.Errorf("got %q", got)
	}
}

func TestAppendsAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, got, want string
	}{
		{"with a text", string((&Answer{Status: 400, Body: "invalid Host", Close: true}).Append(nil)),
			"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\nConnection: close\r\n\r\ninvalid Host\n"},
		{"to HEAD", string((&Answer{Status: 503, Body: "no endpoint", HeadOnly: true}).Append(nil)),
			"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 12\r\n\r\n"},
		{"without a text", string((&Answer{Status: 599}).Append(nil)), "HTTP/1.1 599 Status\r\nContent-Length: 0\r\n\r\n"},
		{"interim", string((&Answer{Status: 100}).Append(nil)), "HTTP/1.1 100 Continue\r\n\r\n"},
		{"redirect to HTTP/1.0", string((&Answer{Status: 308, Extra: []byte("Location: /a\r\n"), KeepAlive10: true}).Append([]byte("x"))),
			"xHTTP/1.1 308 Permanent Redirect\r\nContent-Length: 0\r\nConnection: keep-alive\r\nLocation: /a\r\n\r\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}
