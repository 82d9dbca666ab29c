package proxy

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// TestAnswersAreFramedForTheClient has the primary answer one request, and then
// another on the same connection of the client if that is still open.
func TestAnswersAreFramedForTheClient(t *testing.T) {
	const (
		get   = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		heads = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
		old   = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
		older = "HEAD / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
	)
	tests := []struct {
		name, request, answer string
		ends                  bool // the primary closes after its answer
		want                  string
		open                  bool // the client's connection stays open
	}{
		{"length", get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		{"length from HTTP/1.0", get, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		{"primary closes", get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", true, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		{"chunks", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true},
		{"until close", get, "HTTP/1.1 200 OK\r\n\r\nok", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true},
		{"until close, empty", get, "HTTP/1.1 200 OK\r\n\r\n", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
		{"no reason", get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", true},

		{"HEAD, length", heads, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", false, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", true},
		{"HEAD, chunks", heads, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"HEAD, nothing said", heads, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n", false, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n", true},
		{"HEAD with a body all the same", heads, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true},

		{"204", get, "HTTP/1.1 204 No Content\r\n\r\n", false, "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"204 with a length", get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"204 with a body", get, "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"204 with chunks", get, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"304 with a length", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", true},
		{"304 with a body", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", true},
		{"205 with a body", get, "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok", true},

		{"old client, length", old, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", true},
		{"old client, chunks with trailers", old, "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", false,
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", false},
		{"old client, until close", old, "HTTP/1.0 200 OK\r\n\r\nok", true, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", false},
		{"old client, HEAD of chunks", older, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", true},
		{"old client, 204", old, "HTTP/1.1 204 No Content\r\n\r\n", false, "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n", true},
		{"old client that does not ask", strings.Replace(old, "Connection: keep-alive\r\n", "", 1), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false,
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false},
		{"client closes", strings.Replace(get, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false,
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				_, addr := serve(t, d, plain(primary.address(), ""))
				c := dial(t, addr)
				send(t, c, test.request)
				p := primary.next(t)
				head(t, bufio.NewReader(p))
				send(t, p, test.answer)
				if test.ends {
					p.Close()
				}
				expect(t, c, test.want)
				if !test.open {
					atEOF(t, c)
					return
				}
				send(t, c, "GET /none HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n") // answered by the proxy
				expect(t, c, "HTTP/1.1 400 Bad Request\r\n")
			})
		})
	}
}

// What a primary sends behind an answer that has no body must not reach the
// next client as its answer.
func TestABodyThatShouldNotBeIsNobodysAnswer(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse")
		expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n")
		atEOF(t, p) // nothing else is asked on that connection
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p = primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
		expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
	})
}

func TestHalfAnAnswerWithoutLengthIsNotTakenForAWholeOne(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		cr := bufio.NewReader(c)
		head(t, cr)
		expect(t, cr, "half")
		p.Close()
		if rest, err := io.ReadAll(cr); err == nil {
			t.Errorf("got %q and an ordinary end, want a reset", rest)
		}
	})
}
