package proxy

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync/atomic"
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

// Both instances have the address of a UDP listener for a moment, and then the
// new one has it alone. A datagram on its way may be lost, as any may.
func TestANewInstanceTakesOverDatagrams(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		web := freeAddress(t)
		text := strings.Replace(datagramsAt(web, primary.address(), primary.address(), "", ", percent: 0"), "protocol: UDP}", `protocol: UDP}, {name: http, address: "`+web+`"}`, 1)
		text = strings.Replace(text, "routes:", "routes:\n  - {name: http, rules: [{backends: [{name: v1}]}]}", 1)
		start := func() *Server {
			s, err := New(parse(t, text), Options{Driver: d, Takeover: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			return s
		}
		old := start()
		c := dialUDP(t, web)
		if got := query(t, c, "old"); got != "OLD" {
			t.Errorf("got %q", got)
		}
		fresh := start()
		<-old.Done()
		if got := query(t, c, "new"); got != "NEW" {
			t.Errorf("got %q", got)
		}
		fresh.Drain(context.Background())
		for _, s := range []*Server{old, fresh} {
			snap := s.Snapshot()
			if row := snap.Live[len(snap.Live)-1]; row.Codes[0] != 1 || row.InFlight != 0 {
				t.Errorf("the books say %+v, want one session each", row)
			}
		}
	})
}

// twoListeners is plain with a second listener.
func twoListeners(primary, web, two string) string {
	text := strings.Replace(plain(primary, ""), "127.0.0.1:0", web, 1)
	return strings.Replace(text, "protocol: HTTP}]", `protocol: HTTP}, {name: two, address: "`+two+`"}]`, 1)
}

func TestASuccessorGetsEveryListenerAndTheOldOneIsToldOnce(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		web, two := freeAddress(t), freeAddress(t)
		var told atomic.Int64
		old, err := New(parse(t, strings.Replace(plain(primary.address(), ""), "127.0.0.1:0", web, 1)), Options{Driver: d, TakenOver: func() { told.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := old.Apply(parse(t, twoListeners(primary.address(), web, two))); err != nil {
			t.Fatal(err)
		}
		// A client that nobody has served yet waits in the queue of the listener
		// that came later: it must not be lost with the old instance.
		var waiting net.Conn
		for _, ln := range old.listeners {
			if ln.name == "two" {
				ln.group.Pause()
				waiting = dial(t, two)
			}
		}
		fresh, err := New(parse(t, twoListeners(primary.address(), web, two)), Options{Driver: d, Takeover: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.Start(); err != nil {
			t.Fatal(err)
		}
		<-old.Done()
		send(t, waiting, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if got := status(t, bufio.NewReader(waiting), "GET"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		if n := told.Load(); n != 1 {
			t.Errorf("the old instance was told %d times", n)
		}
		fresh.Drain(context.Background())
	})
}

func TestASuccessorThatFailsLeavesTheOldInstanceAsItWas(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		web := freeAddress(t)
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		s, err := New(parse(t, strings.Replace(plain(primary.address(), ""), "127.0.0.1:0", web, 1)), Options{Driver: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		client := newClient(t)
		for range 3 {
			if fresh, err := New(parse(t, twoListeners(primary.address(), web, taken.Addr().String())), Options{Driver: d, Takeover: true}); err == nil {
				fresh.Drain(context.Background())
				t.Fatal("listening on an address that is taken")
			}
			client.CloseIdleConnections()
			if status, _, err := get(client, "http://"+web+"/"); status != 200 || err != nil {
				t.Errorf("got %d, %v, want 200", status, err)
			}
		}
		// One that never says that it serves does not hold up the end.
		silent, err := net.DialUnix("unix", nil, takeoverName(web))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if _, err := silent.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		client.CloseIdleConnections()
		s.Drain(context.Background())
	})
}
