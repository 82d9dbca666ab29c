//go:build linux

package peers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/understudy-proxy/understudy/test/load"
)

// webSockets is how many there are at a time.
const webSockets = 16

func serveWebSockets(kind string, fill byte) (*Backend, error) {
	s := newServer(kind, fill)
	return s.serveWeb(nil, s.webSocket)
}

// webSocket answers each message with one, until the client closes.
func (s *server) webSocket(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if s.kind == Unanswered {
		select {
		case <-s.ctx.Done():
		case <-r.Context().Done():
		}
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(largeBytes)
	for n := 0; s.kind != StopsReading || n < takes; n++ {
		_, got, err := c.Read(s.ctx)
		if err != nil {
			return
		}
		s.check(got, large)
		if err := c.Write(s.ctx, websocket.MessageBinary, s.answer); err != nil {
			return
		}
	}
	<-s.ctx.Done()
}

func driveWebSockets(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	chat := func(ctx context.Context) error { return chatWith(ctx, target) }
	return talk(ctx, duration, slices.Repeat([]func(context.Context) error{chat}, webSockets)), nil
}

// chatWith opens a WebSocket, has its messages answered and closes it.
func chatWith(ctx context.Context, target string) error {
	c, _, err := websocket.Dial(ctx, "ws://"+target+"/", nil) //nolint:bodyclose // it is c's
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseNow() }()
	for range largeMessages {
		if err := c.Write(ctx, websocket.MessageBinary, large); err != nil {
			return err
		}
		_, got, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if !rightAnswer(got) {
			return errAnswer
		}
	}
	return c.Close(websocket.StatusNormalClosure, "")
}
