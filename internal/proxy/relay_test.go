package proxy

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// datagramServer answers every datagram, and keeps those that it got.
type datagramServer struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  map[string]int
	more chan struct{}
}

// answering starts a server; answer may return nil for no answer.
func answeringDatagrams(t *testing.T, network, address string, answer func(p []byte) []byte) *datagramServer {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &datagramServer{conn: conn.(*net.UDPConn), got: map[string]int{}, more: make(chan struct{}, 100000)}
	s.conn.SetReadBuffer(8 << 20)
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := s.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got[string(buf[:n])]++
			s.mu.Unlock()
			if p := answer(buf[:n]); p != nil {
				s.conn.WriteToUDPAddrPort(p, from)
			}
			s.more <- struct{}{}
		}
	})
	t.Cleanup(func() { s.conn.Close(); running.Wait() })
	return s
}

func (s *datagramServer) address() string { return s.conn.LocalAddr().String() }

// wait returns once n datagrams have come.
func (s *datagramServer) wait(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-s.more:
		case <-time.After(10 * time.Second):
			t.Fatalf("got %d datagrams, want %d", i, n)
		}
	}
}

func upper(p []byte) []byte  { return bytes.ToUpper(p) }
func silent(_ []byte) []byte { return nil }

// datagramsAt is a configuration of a UDP listener with one mirror.
func datagramsAt(listen, primary, shadow, listenerMore, mirrorMore string) string {
	return fmt.Sprintf(`
listeners: [{name: web, address: "%s", protocol: UDP%s}]
workers: 1
accessLog: {path: "-"}
routes:
  - name: dns
    listeners: [web]
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2%s}]
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: v2, endpoints: ["%s"]}
`, listen, listenerMore, mirrorMore, primary, shadow)
}

// query sends a datagram and returns the answer.
func query(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("no answer to %.20q: %v", text, err)
	}
	return string(buf[:n])
}

func dialUDP(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDatagramsGoBothWaysAndAreCopied(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		for _, network := range []struct{ name, host string }{{"udp4", "127.0.0.1"}, {"udp6", "[::1]"}} {
			primary := answeringDatagrams(t, network.name, network.host+":0", upper)
			shadow := answeringDatagrams(t, network.name, network.host+":0", func([]byte) []byte { return []byte("of the shadow") })
			log := newLog()
			s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, datagramsAt(network.host+":0", primary.address(), shadow.address(), "", ""))
			sizes := []int{0, 1, 1400, 9000, 60000}
			for client := range 3 {
				c := dialUDP(t, addr)
				for _, size := range sizes {
					text := strings.Repeat("a", size)
					if size > 0 {
						text = fmt.Sprint(client) + text[1:]
					}
					if got := query(t, c, text); got != strings.ToUpper(text) {
						t.Fatalf("%d bytes: got %.20q and %d bytes", size, got, len(got))
					}
				}
			}
			shadow.wait(t, 3*len(sizes))
			m := books(t, s)
			if m.Selected != 15 || m.Completed != 15 || m.Bytes != 3*70401 {
				t.Errorf("got %+v, want 15 completed", m)
			}
			if l := live(s); l.InFlight != 3 || l.Codes[0] != 0 {
				t.Errorf("the books say %+v, want 3 sessions", l)
			}
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			for range 3 {
				x := log.next(t)
				if x.Protocol != "UDP" || x.BytesIn != 70401 || x.BytesOut != 70401 || len(x.Copies) != 1 || x.Copies[0].Fate != traffic.Completed || x.Client.String() != strings.Trim(network.host, "[]") {
					t.Errorf("logged %+v", x)
				}
			}
			if l := live(s); l.InFlight != 0 || l.Codes[0] != 3 || l.BytesIn != 3*70401 {
				t.Errorf("the books say %+v, want 3 sessions", l)
			}
		}
	})
}

// Every datagram is either at the shadow or in the books as dropped: there is
// nothing between on loopback, where the shadow's buffer is large enough.
func TestLossesOfCopiedDatagramsAreCounted(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		shadow := answeringDatagrams(t, "udp", "127.0.0.1:0", silent)
		s, addr := serve(t, d, datagramsAt("127.0.0.1:0", primary.address(), shadow.address(), "", ", limits: {queue: 2, memory: 64KiB, rate: 2000}"))
		const clients, each = 8, 200
		var running sync.WaitGroup
		for i := range clients {
			c := dialUDP(t, addr)
			running.Go(func() {
				for j := range each {
					query(t, c, fmt.Sprintf("%d-%d-%s", i, j, strings.Repeat("x", 1000)))
				}
			})
		}
		running.Wait()
		m := books(t, s)
		if m.Selected != clients*each || m.Completed+sumOf(m.Dropped) != m.Selected || sumOf(m.Failed) != 0 {
			t.Errorf("got %+v", m)
		}
		shadow.wait(t, int(m.Completed))
		if n := s.Snapshot().Datagrams; n != (telemetry.Datagrams{}) {
			t.Errorf("live datagrams were lost: %+v", n)
		}
	})
}

func TestAClientIsWhollyCopiedOrNotAtAll(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		shadow := answeringDatagrams(t, "udp", "127.0.0.1:0", silent)
		s, addr := serve(t, d, datagramsAt("127.0.0.1:0", primary.address(), shadow.address(), "", ", percent: 50"))
		const clients, each = 40, 5
		for i := range clients {
			c := dialUDP(t, addr)
			for range each {
				query(t, c, fmt.Sprint(i))
			}
		}
		m := books(t, s)
		shadow.wait(t, int(m.Completed))
		// That all or none of 40 are selected has a chance of 2⁻³⁹.
		if m.Selected+m.Skipped[traffic.SkipPercent] != clients*each || m.Selected == 0 || m.Selected == clients*each {
			t.Errorf("got %+v", m)
		}
		shadow.mu.Lock()
		defer shadow.mu.Unlock()
		for text, n := range shadow.got {
			if n != each {
				t.Errorf("of client %s %d datagrams were copied, want %d", text, n, each)
			}
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		shadow := answeringDatagrams(t, "udp", "127.0.0.1:0", silent)
		s, addr := serve(t, d, datagramsAt("127.0.0.1:0", primary.address(), shadow.address(), ", sessions: 10", ", limits: {inFlight: 4}"))
		const clients = 100
		first := dialUDP(t, addr)
		for i := range clients - 1 {
			c := dialUDP(t, addr)
			query(t, c, fmt.Sprint(i))
			query(t, first, "first") // is never silent for long
			if l := live(s); l.InFlight > 10 {
				t.Fatalf("%d sessions, want 10 at most", l.InFlight)
			}
		}
		snap := s.Snapshot()
		if l := snap.Live[len(snap.Live)-1]; l.InFlight != 10 || l.Codes[0] != clients-10 || snap.Datagrams.Evicted != clients-10 || snap.Datagrams.Lost != 0 {
			t.Errorf("the books say %+v, %+v", l, snap.Datagrams)
		}
		m := books(t, s)
		if m.Dropped[traffic.DropInFlight] == 0 || m.Completed == 0 || m.Completed+sumOf(m.Dropped) != m.Selected {
			t.Errorf("got %+v, want some dropped for in_flight", m)
		}
	})
}

func TestASilentSessionEnds(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		log := newLog()
		yaml := strings.Replace(datagramsAt("127.0.0.1:0", primary.address(), "127.0.0.1:9", "", ", percent: 0"), "backends: [{name: v1}]", "backends: [{name: v1}]\n        timeouts: {idle: 50ms}", 1)
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, yaml)
		c := dialUDP(t, addr)
		query(t, c, "one")
		if x := log.next(t); x.BytesIn != 3 || x.Copies[0].Reason != traffic.SkipOff || x.Source != traffic.None {
			t.Errorf("logged %+v", x)
		}
		if got := query(t, c, "two"); got != "TWO" { // begins another
			t.Errorf("got %q", got)
		}
		log.next(t)
		for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() { // the line may come before the books
			l := live(s)
			if l.Codes[0] == 2 && l.InFlight == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the books say %d ended and %d in flight, want 2 sessions that have ended", l.Codes[0], l.InFlight)
			}
		}
	})
}

func TestAPrimaryThatRefusesDatagramsIsToBlame(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		gone := answeringDatagrams(t, "udp", "127.0.0.1:0", silent)
		address := gone.address()
		gone.conn.Close()
		log := newLog()
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}}, datagramsAt("127.0.0.1:0", address, address, "", ""))
		c := dialUDP(t, addr)
		for failed := false; !failed; {
			c.Write([]byte("anybody"))
			for _, e := range s.Snapshot().Endpoints {
				failed = failed || e.Backend == "v1" && e.Failures > 0
			}
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if x := log.next(t); x.Source != traffic.Primary || x.Error != "the primary refused datagrams" {
			t.Errorf("logged %+v", x)
		}
	})
}

// Answers come from the address that the client has talked to, also when the
// listener is bound to all addresses.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		for _, listen := range []string{"0.0.0.0:0", ":0"} {
			s, _ := serve(t, d, datagramsAt(listen, primary.address(), primary.address(), "", ", percent: 0"))
			port := s.Addrs()["web"].Port()
			hosts := []string{"127.0.0.1", "127.0.0.2", "127.9.8.7"}
			if listen == ":0" {
				hosts = append(hosts, "[::1]")
			}
			for _, host := range hosts {
				// A connected socket takes answers from where it sends to only.
				if got := query(t, dialUDP(t, fmt.Sprintf("%s:%d", host, port)), "who"); got != "WHO" {
					t.Errorf("%s: got %q", host, got)
				}
			}
		}
	})
}

func TestAListenerOfDatagramsCanBeAddedAndRemoved(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := answeringDatagrams(t, "udp", "127.0.0.1:0", upper)
		both := func(more, routes string) string {
			return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}%s]
routes:
  - {name: shop, rules: [{backends: [{name: v1}]}]}%s
backends: [{name: v1, endpoints: ["%s"]}]
`, more, routes, primary.address())
		}
		s, _ := serve(t, d, both("", ""))
		with := parse(t, both(`, {name: dns, address: "127.0.0.1:0", protocol: UDP}`, "\n  - {name: dns, listeners: [dns], rules: [{backends: [{name: v1}]}]}"))
		if _, err := s.Apply(with); err != nil {
			t.Fatal(err)
		}
		c := dialUDP(t, s.Addrs()["dns"].String())
		if got := query(t, c, "a"); got != "A" {
			t.Errorf("got %q", got)
		}
		if _, err := s.Apply(parse(t, both("", ""))); err != nil {
			t.Fatal(err)
		}
		for refused := false; !refused; { // once it has closed
			c.SetDeadline(time.Now().Add(10 * time.Millisecond))
			c.Write([]byte("b"))
			_, err := c.Read(make([]byte, 10))
			refused = err != nil && strings.Contains(err.Error(), "refused")
		}
	})
}
