package proxy

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// accessLog is a sink that hands out what it gets.
type accessLog struct{ got chan *traffic.Exchange }

func newLog() *accessLog { return &accessLog{make(chan *traffic.Exchange, 10000)} }

// Offer implements traffic.Sink.
func (l *accessLog) Offer(x *traffic.Exchange) bool {
	select {
	case l.got <- x:
		return true
	default:
		return false
	}
}

// next returns the next exchange.
func (l *accessLog) next(t *testing.T) *traffic.Exchange {
	t.Helper()
	select {
	case x := <-l.got:
		return x
	case <-time.After(10 * time.Second):
		t.Fatal("no exchange was handed over")
		return nil
	}
}

// stuckLog is a log handler that does not return before stuck is closed.
type stuckLog struct {
	slog.Handler
	stuck, asked chan struct{}
}

func (l *stuckLog) logger() *slog.Logger { l.Handler = slog.DiscardHandler; return slog.New(l) }

// Enabled implements slog.Handler.
func (l *stuckLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *stuckLog) Handle(context.Context, slog.Record) error {
	select {
	case l.asked <- struct{}{}:
	default:
	}
	<-l.stuck
	return nil
}
