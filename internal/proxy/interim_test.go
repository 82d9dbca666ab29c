package proxy

import (
	"bufio"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
)

func TestInterimAnswersArePassedOn(t *testing.T) {
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
	tests := []struct{ name, version, interim, want string }{
		{"early hints", "1.1", hints, hints},
		{"several", "1.1", "HTTP/1.1 102 Processing\r\n\r\n" + hints + hints, "HTTP/1.1 102 Processing\r\n\r\n" + hints + hints},
		{"without the body that its length promises", "1.1", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"},
		{"unasked 100", "1.1", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"not to HTTP/1.0", "1.0", "HTTP/1.1 100 Continue\r\n\r\n" + hints, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				_, addr := serve(t, d, plain(primary.address(), ""))
				c := dial(t, addr)
				send(t, c, "GET / HTTP/"+test.version+"\r\nHost: h\r\nConnection: close\r\n\r\n")
				p := primary.next(t)
				head(t, bufio.NewReader(p))
				send(t, p, test.interim)
				expect(t, c, test.want) // before there is a final one
				send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
				atEOF(t, c)
			})
		})
	}
}

func TestABodyThatComesWithoutBeingAskedForIsSentOn(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		cr := bufio.NewReader(c)
		send(t, c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\nbody")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		if got := head(t, pr); !strings.Contains(got, "Expect: 100-continue\r\n") {
			t.Errorf("got %q, want Expect in it", got)
		}
		expect(t, pr, "body")
		send(t, p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
		expect(t, cr, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
		send(t, c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n") // the connections are still good
		if got := head(t, pr); !strings.HasPrefix(got, "GET /next ") {
			t.Errorf("got %q, want the next request", got)
		}
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		expect(t, cr, "HTTP/1.1 204 No Content\r\n\r\n")
	})
}

func TestOldOrEmptyExpectationsAreNotSentOn(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
	} {
		drivers(t, func(t *testing.T, d loop.Driver) {
			primary := scripted(t)
			_, addr := serve(t, d, plain(primary.address(), ""))
			send(t, dial(t, addr), request)
			if got := head(t, bufio.NewReader(primary.next(t))); strings.Contains(got, "Expect") {
				t.Errorf("got %q, want no Expect in it", got)
			}
		})
	}
}
