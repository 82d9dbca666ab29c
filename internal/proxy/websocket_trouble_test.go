package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/websocket"
)

// sockethouse is a server that has each connection played by play, the seed and
// the connection's number decide about its luck.
func sockethouse(t *testing.T, seed uint64, play func(c *net.TCPConn, random *rand.Rand)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.Map
	var accepting, playing sync.WaitGroup
	accepting.Go(func() {
		for i := uint64(0); ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			playing.Go(func() {
				defer open.Delete(c)
				defer c.Close()
				play(c.(*net.TCPConn), rand.New(rand.NewPCG(seed, i)))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		playing.Wait()
	})
	return ln.Addr().String()
}

// frameEcho answers the handshake and sends every byte back; a Close ends it.
func frameEcho(c *net.TCPConn, _ *rand.Rand) {
	in := bufio.NewReader(c)
	if _, err := readHead(in); err != nil {
		return
	}
	io.WriteString(c, socketAnswer)
	listenTo(in, c)
	c.CloseWrite()
}

// obey is a shadow as it should be: it answers the handshake and Close.
func obey(c *net.TCPConn, _ *rand.Rand) {
	in := bufio.NewReader(c)
	if _, err := readHead(in); err != nil {
		return
	}
	io.WriteString(c, socketAnswer)
	listenTo(in, io.Discard)
	io.WriteString(c, serverBye)
}

// listenTo reads frames up to Close, and writes what it reads.
func listenTo(in io.Reader, out io.Writer) {
	frames := websocket.Frames{Masked: true}
	p := make([]byte, 4096)
	for {
		n, err := in.Read(p)
		if err != nil {
			return
		}
		if _, err := out.Write(p[:n]); err != nil {
			return
		}
		for rest := p[:n]; len(rest) > 0; {
			used, done, err := frames.Next(rest)
			if err != nil || done && frames.Opcode() == websocket.Close {
				return
			}
			rest = rest[used:]
		}
	}
}

// disturb is a shadow that does anything.
func disturb(c *net.TCPConn, random *rand.Rand) {
	in := bufio.NewReader(c)
	if random.IntN(10) == 0 {
		io.Copy(io.Discard, in) // no answer
		return
	}
	if _, err := readHead(in); err != nil {
		return
	}
	switch random.IntN(12) {
	case 0:
		io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
	case 1:
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	case 2:
		io.WriteString(c, socketAnswer[:40])
		return
	case 3:
		c.SetLinger(0)
		return
	default:
		io.WriteString(c, socketAnswer)
	}
	for range random.IntN(30) {
		io.CopyN(io.Discard, in, int64(random.IntN(4000)))
		switch random.IntN(12) {
		case 0:
			io.WriteString(c, serverBye)
		case 1:
			io.WriteString(c, "\x81\x85masked?")
		case 2:
			c.SetLinger(0)
			return
		case 3:
			return
		case 4:
			c.CloseWrite()
		case 5:
			io.Copy(io.Discard, in) // nothing to say
			return
		default:
			io.WriteString(c, "\x89\x04ping\x82\x7e\x10\x00"+strings.Repeat("d", 4096))
		}
	}
	io.WriteString(c, serverBye)
	io.Copy(io.Discard, in)
}

// gossip opens a WebSocket, sends a few frames, checks that they come back, and
// leaves in one of several ways.
func gossip(t *testing.T, addr string, random *rand.Rand) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	io.WriteString(c, socketRequest)
	if random.IntN(10) == 0 {
		return
	}
	if _, err := readHead(in); err != nil {
		t.Error(err)
		return
	}
	for range random.IntN(20) {
		size := 126 + random.IntN(1<<random.IntN(16))
		frame := string([]byte{0x82, 0xfe, byte(size >> 8), byte(size)}) + "abcd" + strings.Repeat("x", size)
		io.WriteString(c, frame)
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != frame {
			t.Errorf("got %.20q, %v, want the same frame", got, err)
			return
		}
	}
	switch random.IntN(5) {
	case 0:
		io.WriteString(c, hello[:random.IntN(len(hello))])
	case 1:
		c.(*net.TCPConn).SetLinger(0)
	case 2:
	default:
		io.WriteString(c, masked(0x88, normalCode))
		io.Copy(io.Discard, in)
	}
}

// As TestCopiesAreConservedInAnyTrouble, for WebSockets.
func TestCopiesOfWebSocketsAreConservedInAnyTrouble(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		const seed = 7
		primary, well := sockethouse(t, seed, frameEcho), sockethouse(t, seed, obey)
		bad := sockethouse(t, seed, disturb)
		var configs []*config.Config
		for _, mirrors := range []string{`
          - {name: bad, backend: bad, upgrades: copy, timeout: 100ms, limits: {memory: 64KiB}, backoff: {failures: 1000}}
          - {name: well, backend: well, upgrades: copy}`, `
          - {name: bad, backend: bad, upgrades: copy, percent: 70, timeout: 100ms, limits: {inFlight: 3}, backoff: {failures: 5, base: 10ms, max: 20ms}}
          - {name: well, backend: well, percent: 0}`} {
			configs = append(configs, parse(t, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
workers: 2
shutdown: {drain: 10s, copies: 3s}
accessLog: {path: "-"}
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:%s
backends: [{name: v1, endpoints: [%q]}, {name: bad, endpoints: [%q]}, {name: well, endpoints: [%q]}]
`, mirrors, primary, bad, well)))
		}
		sink := &fates{exchanges: map[*traffic.Exchange]bool{}, copies: map[string]map[string]uint64{}}
		s, err := New(configs[0], Options{Driver: d, Sinks: []traffic.Sink{sink}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		addr := s.Addrs()["web"].String()
		ctx, stop := context.WithCancel(context.Background())
		var operators, clients sync.WaitGroup
		w := &watcher{T: t, before: map[string]telemetry.Mirror{}, most: 32<<20 + 1<<20}
		operators.Go(func() {
			for ctx.Err() == nil {
				w.look(s.Snapshot())
			}
		})
		operators.Go(func() { reload(ctx, t, s, configs) })
		for i := range uint64(8) {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(seed, i))
				for range 40 {
					gossip(t, addr, random)
				}
			})
		}
		clients.Wait()
		stop()
		operators.Wait()
		drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(drain); err != nil {
			t.Error(err)
		}
		snap := s.Snapshot()
		w.look(snap)
		balanced(t, snap)
		settledBooks(t, snap, sink, "bad", "well")
	})
}
