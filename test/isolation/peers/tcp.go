//go:build linux

package peers

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// connections is how many there are at a time.
const connections = 16

func serveTCP(kind string, fill byte) (*Backend, error) {
	s := newServer(kind, fill)
	l, err := s.listen()
	if err != nil {
		return nil, err
	}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed: these few connections use up nothing
			}
			s.wg.Go(func() { s.connection(c) })
		}
	})
	return &Backend{addr: l.Addr().String(), stats: s.stats, stop: func() error {
		s.stop()
		err := l.Close()
		s.wg.Wait()
		return err
	}}, nil
}

// connection answers each message until the client ends.
func (s *server) connection(c net.Conn) {
	cut := context.AfterFunc(s.ctx, func() { _ = c.Close() })
	defer func() {
		cut()
		_ = c.Close()
	}()
	got := make([]byte, largeBytes)
	for n := 0; ; n++ {
		if _, err := io.ReadFull(c, got); err != nil {
			return
		}
		if n == 0 {
			s.requests.Add(1)
		}
		s.check(got, large)
		if _, err := c.Write(s.answer); err != nil {
			return
		}
	}
}

func driveTCP(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	connect := func(ctx context.Context) error { return connectTo(ctx, target) }
	return talk(ctx, duration, slices.Repeat([]func(context.Context) error{connect}, connections)), nil
}

// connectTo has its messages answered on a connection and sees it end.
func connectTo(ctx context.Context, target string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // fails on a closed connection only
	}
	answer := make([]byte, AnswerBytes)
	for range largeMessages {
		if _, err := c.Write(large); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return err
		}
		if !rightAnswer(answer) {
			return errAnswer
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	switch _, err := c.Read(answer); {
	case err == nil:
		return errAnswer // more than was asked for
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
