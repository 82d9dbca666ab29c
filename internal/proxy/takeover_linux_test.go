package proxy

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

func TestANewInstanceTakesOverWithoutAFailedRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr().String()
		free.Close()
		text := strings.Replace(plain(primary.address(), ""), "127.0.0.1:0", addr, 1)
		start := func() *Server {
			cfg, err := config.Parse("x", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(cfg, Options{Driver: d, Takeover: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			return s
		}
		old := start()
		stop := make(chan struct{})
		answers, wait := hammer(t, addr, stop)
		for range 3 {
			reach(answers, 50)
			fresh := start()
			<-old.Done()
			reach(answers, 50)
			old = fresh
		}
		close(stop)
		wait()
		old.Drain(context.Background())
	})
}
