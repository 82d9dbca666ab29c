package proxy

import (
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
