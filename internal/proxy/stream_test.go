package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// streams is a configuration of a TCP listener with one mirror, unless shadow is
// empty.
func streams(primary, shadow, mirrorLines string) string {
	mirrors := ""
	if shadow != "" {
		mirrors = fmt.Sprintf("        mirrors: [{backend: v2%s}]\n", mirrorLines)
	} else {
		shadow = "127.0.0.1:1"
	}
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0", protocol: TCP}]
workers: 2
accessLog: {path: "-"}
shutdown: {drain: 1s, copies: 1s}
routes:
  - name: db
    listeners: [web]
    rules:
      - backends: [{name: v1}]
%sbackends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
`, mirrors, primary, shadow)
}

// echoed is what a server answers to a client that said in: a greeting, in itself
// in reverse pairs, and a sum.
func echoed(in []byte) []byte {
	out := append([]byte("welcome\n"), in...)
	for i := len("welcome\n"); i+1 < len(out); i += 2 {
		out[i], out[i+1] = out[i+1], out[i]
	}
	sum := sha256.Sum256(in)
	return append(out, sum[:]...)
}

// tcpServer runs serve on each connection until the test ends.
func tcpServer(t *testing.T, serve func(c *net.TCPConn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.Map
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			running.Go(func() {
				defer open.Delete(c)
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return ln.Addr().String()
}

// echo greets, and answers when the client has ended its direction.
func echo(c *net.TCPConn) {
	if _, err := c.Write([]byte("welcome\n")); err != nil {
		return
	}
	in, err := io.ReadAll(c)
	if err == nil {
		c.Write(echoed(in)[len("welcome\n"):])
	}
}

// pieces writes p in random pieces.
func pieces(c net.Conn, p []byte, random *rand.Rand) error {
	for len(p) > 0 {
		n := min(len(p), 1+random.IntN(1<<random.IntN(17)))
		if _, err := c.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// converse sends random bytes and checks the answer of echo.
func converse(t *testing.T, addr string, random *rand.Rand) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := make([]byte, random.IntN(1<<random.IntN(20)))
	for i := range in {
		in[i] = byte(random.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		err := pieces(c, in, random)
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, echoed(in)) {
		t.Errorf("%d bytes sent: got %d bytes and %v, want %d", len(in), len(got), err, len(in)+40)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestStreamsArriveByteForByteAtBoth(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		var mu sync.Mutex
		primary, shadow := map[[32]byte]int{}, map[[32]byte]int{}
		counting := func(got map[[32]byte]int) string {
			return tcpServer(t, func(c *net.TCPConn) {
				c.Write([]byte("welcome\n"))
				in, err := io.ReadAll(c)
				if err != nil {
					return
				}
				mu.Lock()
				got[sha256.Sum256(in)]++
				mu.Unlock()
				c.Write(echoed(in)[len("welcome\n"):])
			})
		}
		s, addr := serve(t, d, streams(counting(primary), counting(shadow), ", limits: {inFlight: 1000, memory: 256MiB}"))
		const clients, each = 8, 25
		var running sync.WaitGroup
		for i := range uint64(clients) {
			running.Go(func() {
				random := rand.New(rand.NewPCG(7, i))
				for range each {
					converse(t, addr, random)
				}
			})
		}
		running.Wait()
		m := books(t, s)
		if m.Selected != clients*each || m.Completed != clients*each {
			t.Errorf("got %+v, want %d completed", m, clients*each)
		}
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(primary, shadow); diff != "" || len(primary) < clients*each/2 {
			t.Errorf("%d streams; the primary (-) and the shadow (+) got different ones:\n%s", len(primary), diff)
		}
		l := live(s)
		if l.Codes[0] != clients*each || len(l.Codes) != 1 || l.InFlight != 0 {
			t.Errorf("the books say %+v", l)
		}
	})
}

func TestEndsArePassedOnOneByOne(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		for _, clientFirst := range []bool{true, false} {
			primary, shadow := scripted(t), scripted(t)
			s, addr := serve(t, d, streams(primary.address(), shadow.address(), ""))
			c := dial(t, addr)
			p, q := primary.next(t).(*net.TCPConn), shadow.next(t).(*net.TCPConn)
			send(t, c, "one")
			expect(t, p, "one")
			expect(t, q, "one")
			first, second := net.Conn(c), net.Conn(p)
			if !clientFirst {
				first, second = p, c
			}
			first.(*net.TCPConn).CloseWrite()
			atEOF(t, second)
			send(t, second, "still here")
			expect(t, first, "still here")
			if clientFirst {
				atEOF(t, q)
			} else {
				expect(t, q, "still here")
			}
			second.(*net.TCPConn).CloseWrite()
			atEOF(t, first)
			if !clientFirst {
				atEOF(t, q)
			}
			q.Close()
			if m := books(t, s); m.Completed != 1 {
				t.Errorf("client first %t: got %+v, want 1 completed", clientFirst, m)
			}
		}
	})
}

// isReset says that a connection was reset.
func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// untilError reads until an error.
func untilError(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	if err == nil {
		return io.EOF
	}
	return err
}

// resetAtOnce connects, and expects a reset, which may come before there was time to
// look at the connection.
func resetAtOnce(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		err = untilError(c)
	}
	if !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestAResetIsPassedOn(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		log := newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, streams(primary.address(), shadow.address(), ""))
		for _, who := range []string{"client", "primary"} {
			c := dial(t, addr)
			p, q := primary.next(t).(*net.TCPConn), shadow.next(t)
			send(t, c, "one")
			expect(t, p, "one")
			expect(t, q, "one")
			send(t, p, "two")
			expect(t, c, "two")
			from, to := c, p
			if who == "primary" {
				from, to = p, c
			}
			from.SetLinger(0)
			from.Close()
			if err := untilError(to); !isReset(err) {
				t.Errorf("the %s resets: got %v, want a reset", who, err)
			}
			if err := untilError(q); (who == "client") != isReset(err) {
				t.Errorf("the %s resets: the shadow got %v", who, err)
			}
			q.Close()
			x := log.next(t)
			if x.Source.String() != who || x.Protocol != "TCP" || x.BytesIn != 3 || x.BytesOut != 3 || x.Status != 0 || x.Route != "db" {
				t.Errorf("the %s resets: logged %+v", who, x)
			}
		}
		m := books(t, s)
		if m.Dropped[traffic.DropClientGone] != 1 || m.Completed != 1 {
			t.Errorf("got %+v, want one dropped and one completed", m)
		}
		if l := live(s); l.Errors[traffic.Client] != 1 || l.Errors[traffic.Primary] != 1 || l.Codes[0] != 2 {
			t.Errorf("the books say %+v", l)
		}
	})
}

func TestAStreamWithoutAPrimaryIsReset(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		log := newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, streams(refusing(t), "", ""))
		resetAtOnce(t, addr)
		if x := log.next(t); x.Source != traffic.Primary || !strings.Contains(x.Error, "refused") || x.Primary.Backend != "v1" {
			t.Errorf("logged %+v", x)
		}
		if l := live(s); l.Errors[traffic.Primary] != 1 || l.Codes[0] != 1 {
			t.Errorf("the books say %+v", l)
		}
	})
}

func TestAnotherEndpointIsTriedBeforeAStreamIsGivenUp(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		yaml := strings.Replace(streams("x", "", ""), `"x"`, `"`+refusing(t)+`", "`+tcpServer(t, echo)+`"`, 1)
		_, addr := serve(t, d, yaml)
		random := rand.New(rand.NewPCG(1, 1))
		for range 4 {
			converse(t, addr, random)
		}
	})
}

func TestSourcesChooseTheRuleOfAStream(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		yaml := strings.Replace(streams(tcpServer(t, echo), "", ""), "      - backends", `      - matches: [{sources: ["192.0.2.0/24"]}]
        backends`, 1)
		log := newLog()
		_, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
		resetAtOnce(t, addr)
		if x := log.next(t); x.Source != traffic.Client || x.Error != "no route matches" || x.Route != "" {
			t.Errorf("logged %+v", x)
		}
	})
}

func TestASilentStreamEnds(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		yaml := strings.Replace(streams(primary.address(), shadow.address(), ""), "backends: [{name: v1}]", "backends: [{name: v1}]\n        timeouts: {idle: 50ms}", 1)
		s, addr := serve(t, d, yaml)
		c := dial(t, addr)
		p, q := primary.next(t), shadow.next(t)
		for _, to := range []net.Conn{c, p} {
			if err := untilError(to); !isReset(err) {
				t.Errorf("got %v, want a reset", err)
			}
		}
		atEOF(t, q)
		q.Close()
		if m := books(t, s); m.Completed != 1 {
			t.Errorf("got %+v, want 1 completed", m)
		}
		if l := live(s); l.Codes[0] != 1 || l.Errors[traffic.Client]+l.Errors[traffic.Primary] != 0 {
			t.Errorf("the books say %+v", l)
		}
	})
}

// stubborn is a shadow of streams that does anything; the seed and the
// connection's number decide.
func stubborn(t *testing.T, seed uint64) string {
	over := make(chan struct{})
	var number sync.Mutex
	n := uint64(0)
	address := tcpServer(t, func(c *net.TCPConn) {
		number.Lock()
		random := rand.New(rand.NewPCG(seed, n))
		n++
		number.Unlock()
		switch random.IntN(8) {
		case 0: // never reads
			<-over
		case 1: // closes at once
		case 2:
			c.SetLinger(0)
		case 3: // resets in the middle
			io.CopyN(io.Discard, c, int64(random.IntN(10000)))
			c.SetLinger(0)
		case 4: // talks without end and never reads
			for block := bytes.Repeat([]byte("endless "), 4096); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		case 5: // ends its direction, and reads
			c.CloseWrite()
			io.Copy(io.Discard, c)
		case 6: // reads, and never ends
			io.Copy(io.Discard, c)
			<-over
		default:
			echo(c)
		}
	})
	t.Cleanup(func() { close(over) })
	return address
}

// abandon begins n streams and goes away at some point of each.
func abandon(t *testing.T, addr string, random *rand.Rand, n int) {
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		pieces(c, make([]byte, random.IntN(1<<random.IntN(18))), random) // the proxy may be quicker
		if random.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
}

// Whatever shadows, leaving clients and operators do, clients of streams get every
// byte, and the books balance at every moment. Seeds decide what everybody does.
// That of 200 copies and more none fails or none completes, each of which has a
// chance of 1 in 8 and more, is less likely than 10⁻¹¹.
func TestStreamsNoticeNothingOfTrouble(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := tcpServer(t, echo), stubborn(t, 3)
		configs := []*config.Config{
			parse(t, streams(primary, shadow, ", timeout: 100ms, limits: {inFlight: 50, memory: 1MiB}, backoff: {failures: 1000}")),
			parse(t, streams(primary, shadow, ", percent: 60, timeout: 50ms, limits: {inFlight: 4, memory: 256KiB}, backoff: {failures: 20, base: 10ms, max: 20ms}")),
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
		ctx, stop := context.WithCancel(t.Context())
		w := &watcher{T: t, before: map[string]telemetry.Mirror{}, most: 3 << 20}
		var clients, operators sync.WaitGroup
		operators.Go(func() {
			for ctx.Err() == nil {
				w.look(s.Snapshot())
			}
		})
		operators.Go(func() { reload(ctx, t, s, configs) })
		for i := range uint64(8) {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(9, i))
				for range 25 {
					converse(t, addr, random)
				}
			})
			clients.Go(func() { abandon(t, addr, rand.New(rand.NewPCG(10, i)), 20) })
		}
		clients.Wait()
		for s.Snapshot().Accepted < 8*45 { // those that left may still be in the queue
		}
		stop()
		operators.Wait()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		snap := s.Snapshot()
		balanced(t, snap)
		m, l := &snap.Mirrors[0], &snap.Live[len(snap.Live)-1]
		if diff := cmp.Diff(written(m), sink.copies[m.Name]); diff != "" || sink.twice != 0 {
			t.Errorf("%d exchanges came twice; the books (-) and the exchanges (+) differ:\n%s", sink.twice, diff)
		}
		if n := uint64(len(sink.exchanges)); l.Codes[0] != n || n != 8*45 || l.Errors[traffic.Primary]+l.Errors[traffic.Internal] != 0 {
			t.Errorf("%d exchanges, and the books say %+v", n, l)
		}
		if m.Completed == 0 || sumOf(m.Failed) == 0 || sumOf(m.Dropped) == 0 {
			t.Errorf("no trouble: %v", written(m))
		}
		t.Logf("%d snapshots, %d reloads: %v", w.seen, snap.Reloads, written(m))
	})
}

// A shadow that stops reading loses its copy for memory, and never gets a stream
// with a gap.
func TestAStreamThatFindsNoRoomEndsItsCopy(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		shadow := scripted(t)
		s, addr := serve(t, d, streams(tcpServer(t, echo), shadow.address(), ", limits: {memory: 1MiB}, timeout: 1m"))
		c := dial(t, addr)
		q := shadow.next(t)
		in := make([]byte, 16<<20)
		for i := 0; i+8 <= len(in); i += 8 {
			binary.BigEndian.PutUint64(in[i:], uint64(i))
		}
		go func() {
			c.Write(in)
			c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, echoed(in)) {
			t.Fatalf("got %d bytes and %v", len(got), err)
		}
		if m := books(t, s); m.Dropped[traffic.DropMemory] != 1 {
			t.Errorf("got %+v, want one dropped for memory", m)
		}
		copied, err := io.ReadAll(q)
		if !bytes.HasPrefix(in, copied) || len(copied) == len(in) || err == nil {
			t.Errorf("the shadow got %d bytes and %v, want the beginning and an error", len(copied), err)
		}
	})
}

func TestDrainWaitsForStreams(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, strings.Replace(streams(primary.address(), "", ""), "drain: 1s", "drain: 10s", 1))
		c := dial(t, addr)
		p := primary.next(t)
		send(t, c, "one")
		expect(t, p, "one")
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(t.Context()) }()
		for s.Ready() {
		}
		send(t, p, "two")
		expect(t, c, "two")
		c.CloseWrite()
		atEOF(t, p)
		p.Close()
		atEOF(t, c)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if l := live(s); l.Codes[0] != 1 || l.Errors[traffic.Internal] != 0 {
			t.Errorf("the books say %+v", l)
		}
	})
}

func TestAKeyIsWhollyInOrOut(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s, addr := serve(t, d, streams(tcpServer(t, echo), tcpServer(t, echo), ", percent: 50, key: {source: true}"))
		random := rand.New(rand.NewPCG(1, 1))
		for range 20 {
			converse(t, addr, random)
		}
		// 127.0.0.1 falls into one half.
		if m := books(t, s); m.Selected+m.Skipped[traffic.SkipPercent] != 20 || m.Selected != 0 && m.Selected != 20 {
			t.Errorf("got %+v, want all or none", m)
		}
	})
}
