//go:build linux

package peers

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/test/load"
)

// server is what the backends written here have in common.
type server struct {
	kind   string // "": healthy
	answer []byte

	requests, badBodies atomic.Uint64

	ctx  context.Context // ends with the server
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newServer(kind string, fill byte) *server {
	s := &server{kind: kind, answer: bytes.Repeat([]byte{fill}, AnswerBytes)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// message is what clients of HTTP/2 send, large what those of sessions do.
var (
	message = load.Body(messageBytes)
	large   = load.Body(largeBytes)
)

// check counts a message that is not as it was sent.
func (s *server) check(got, want []byte) {
	if !bytes.Equal(got, want) {
		s.badBodies.Add(1)
	}
}

func (s *server) stats() load.UpstreamStats {
	return load.UpstreamStats{Requests: s.requests.Load(), BadBodies: s.badBodies.Load()}
}

// serveWeb serves HTTP with a handler, which must end with s.ctx.
func (s *server) serveWeb(protocols *http.Protocols, handle http.HandlerFunc) (*Backend, error) {
	l, err := s.listen()
	if err != nil {
		return nil, err
	}
	web := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.wg.Add(1)
		defer s.wg.Done()
		handle(w, r)
	})}
	s.wg.Go(func() { _ = web.Serve(l) }) // ends with Close, and with nothing else
	return &Backend{addr: l.Addr().String(), stats: s.stats, stop: func() error {
		s.stop()
		err := web.Close()
		s.wg.Wait()
		return err
	}}, nil
}

// listen makes receive buffers small where nobody reads: with the kernel's
// default of megabytes, bytes that nobody read would look read.
func (s *server) listen() (net.Listener, error) {
	var how net.ListenConfig
	if s.kind == StopsReading {
		how.Control = func(_, _ string, raw syscall.RawConn) error {
			var err error
			if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) }); e != nil {
				return e
			}
			return err
		}
	}
	return how.Listen(s.ctx, "tcp4", "127.0.0.1:0")
}
