//go:build linux

package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// Few connections with many streams each, for what one stream can do to others.
const (
	http2Conns   = 4
	http2Streams = 16
)

func onlyHTTP2() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

func serveHTTP2(kind string, fill byte) (*Backend, error) {
	s := newServer(kind, fill)
	return s.serveWeb(onlyHTTP2(), s.exchange)
}

// exchange answers one request, or does what its kind does to one in a hundred.
func (s *server) exchange(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1)
	chosen := n%oneIn == 0
	if chosen && s.kind == StuckStream {
		select {
		case <-s.ctx.Done():
		case <-r.Context().Done():
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.check(body, message)
	if chosen && s.kind == SlowStream {
		s.drip(w, r)
		return
	}
	_, _ = w.Write(s.answer)
}

// drip writes the answer one byte every quarter of a second.
func (s *server) drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(time.Second / 4)
	defer tick.Stop()
	for i := range s.answer {
		if _, err := w.Write(s.answer[i : i+1]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // fails as the next Write does
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func driveHTTP2(ctx context.Context, target string, duration time.Duration) (*load.Result, error) {
	var sessions []func(context.Context) error
	for range http2Conns {
		t := &http.Transport{Protocols: onlyHTTP2()}
		defer t.CloseIdleConnections()
		client := &http.Client{Transport: t}
		for range http2Streams {
			sessions = append(sessions, func(ctx context.Context) error { return post(ctx, client, target) })
		}
	}
	return talk(ctx, duration, sessions), nil
}

func post(ctx context.Context, client *http.Client, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+target+"/", bytes.NewReader(message))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("status_%d", answer.StatusCode)
	case !rightAnswer(got):
		return errAnswer
	}
	return nil
}
