package proxy

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// A server that closes idle connections does so at any moment. The loop is held
// up here, so that it cannot see it before it sends the next request.
func TestAWriteIsNotLostToAPooledConnectionThatWasJustClosed(t *testing.T) {
	primary := scripted(t)
	s, addr := serve(t, loop.Epoll, plain(primary.address(), ""))
	conns := pooled(t, primary, addr, 3)
	c := dial(t, addr)
	w := s.workers[0]
	for s.Snapshot().Clients < 4 {
	}
	held, release := make(chan struct{}), make(chan struct{})
	w.loop.Post(func() { close(held); <-release })
	<-held
	// The request comes first in the queue of events, so that it is served
	// before the loop hears of the closed connections.
	send(t, c, "POST /second HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
	for i, p := range conns {
		if i%2 == 0 {
			p.(*net.TCPConn).SetLinger(0)
		}
		p.Close()
	}
	close(release)
	p := primary.next(t)
	pr := bufio.NewReader(p)
	if got := head(t, pr); !strings.HasPrefix(got, "POST /second ") {
		t.Errorf("got %q, want the request", got)
	}
	expect(t, pr, "body")
	send(t, p, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 201 {
		t.Errorf("got %v, %v, want 201", resp, err)
	}
}
