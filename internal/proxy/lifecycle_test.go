package proxy

import (
	"bufio"
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

func TestAServerThatNeverStartsCanBeLookedAtChangedAndEnded(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		cfg := parse(t, plain(primary.address(), ""))
		s, err := New(cfg, Options{Driver: d})
		if err != nil {
			t.Fatal(err)
		}
		if snap := s.Snapshot(); snap.Config != cfg.Version || snap.Clients != 0 || s.Ready() {
			t.Errorf("got %+v, ready %v", snap, s.Ready())
		}
		next := parse(t, plain(primary.address(), "        timeouts: {backend: 1s}"))
		if _, err := s.Apply(next); err != nil {
			t.Fatal(err)
		}
		addr := s.Addrs()["web"].String()
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if snap := s.Snapshot(); snap.Config != next.Version || !snap.Draining {
			t.Errorf("got %+v", snap)
		}
		if err := s.Start(); err == nil {
			t.Error("a server that has ended was started")
		}
		if _, err := s.Apply(cfg); err == nil {
			t.Error("a server that has ended took a configuration")
		}
		ln, err := net.Listen("tcp", addr) // the address is free
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	})
}

func TestAConfigurationAppliedBeforeTheStartIsServed(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		s, err := New(parse(t, plain(refusing(t), "")), Options{Driver: d})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Drain(context.Background())
		two := strings.Replace(plain(primary.address(), ""), "protocol: HTTP}]", `protocol: HTTP}, {name: two, address: "127.0.0.1:0"}]`, 1)
		if _, err := s.Apply(parse(t, two)); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		client := newClient(t)
		for _, name := range []string{"web", "two"} {
			if status, _, err := get(client, "http://"+s.Addrs()[name].String()+"/"); status != 200 || err != nil {
				t.Errorf("%s: got %d, %v, want 200", name, status, err)
			}
		}
		client.CloseIdleConnections()
	})
}

func TestANewThatFailsLeavesNothingOpen(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		text := strings.Replace(plain("127.0.0.1:1", ""), "protocol: HTTP}]", `protocol: HTTP}, {name: two, address: "`+taken.Addr().String()+`"}]`, 1)
		cfg := parse(t, text)
		const times = 200
		before := openFiles(t)
		for range times {
			if s, err := New(cfg, Options{Driver: d}); err == nil {
				s.Drain(context.Background())
				t.Fatal("listening on an address that is taken")
			}
		}
		// Other tests open files at the same time, but not by the hundred.
		if after := openFiles(t); after > before+times/2 {
			t.Errorf("%d files are open, %d were before %d failures", after, before, times)
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestDrainMayBeCalledByAnyNumber(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s, _ := serve(t, d, plain("127.0.0.1:1", ""))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := s.Drain(context.Background()); err != nil {
					t.Error(err)
				}
				select {
				case <-s.Done():
				default:
					t.Error("Drain returned before the end")
				}
				for range 10 { // many may look at what is left
					s.Snapshot()
				}
			})
		}
		wg.Wait()
	})
}

// TestDrain has clients in every state when it begins.
func TestDrainTakesEveryClientAsItIs(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, "shutdown: {drain: 1s}\n"+plain(primary.address(), ""))
		idle, half, tunnel := dial(t, addr), dial(t, addr), (*net.TCPConn)(nil)
		send(t, idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		expect(t, idle, "HTTP/1.1 204 No Content\r\n\r\n")
		tunnel, tr, tp, _ := tunnelWith(t, p, pr, addr)
		busy := dial(t, addr)
		send(t, busy, "GET /busy HTTP/1.1\r\nHost: h\r\n\r\n")
		p = primary.next(t)
		head(t, bufio.NewReader(p))
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha") // it was told that the connection stays open
		expect(t, busy, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
		send(t, half, "GET /half HTTP/1.1\r\n")
		ended := make(chan error, 1)
		go func() { ended <- s.Drain(context.Background()) }()
		w := s.workers[0]
		for retired := false; !retired; {
			w.loop.Call(func() { retired = w.draining })
		}
		send(t, p, "lf") // the request that was being answered …
		expect(t, busy, "lf")
		for i, c := range []*net.TCPConn{busy, half, idle} { // … one more on each connection, …
			send(t, c, [...]string{"GET /again HTTP/1.1\r\n", "", "GET /last HTTP/1.1\r\n"}[i]+"Host: h\r\n\r\n")
			if i > 0 {
				p = primary.next(t)
			}
			head(t, bufio.NewReader(p))
			send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
			expect(t, c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			atEOF(t, c)
			p.Close()
		}
		send(t, tunnel, "ping") // … and the tunnel goes on until the time is over.
		expect(t, tp, "ping")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		atEOF(t, tr)
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Error("the address still takes connections")
		}
		if l := live(s); l.Codes[204] != 4 || l.Codes[200] != 1 || l.Codes[101] != 1 || l.InFlight != 0 {
			t.Errorf("got %v, %d in flight", l.Codes, l.InFlight)
		}
	})
}

// tunnelWith opens a tunnel over the connection p, which the proxy has pooled.
func tunnelWith(t *testing.T, p net.Conn, pr *bufio.Reader, addr string) (c *net.TCPConn, cr *bufio.Reader, _ net.Conn, _ *bufio.Reader) {
	t.Helper()
	c = dial(t, addr)
	cr = bufio.NewReader(c)
	send(t, c, upgradeRequest)
	head(t, pr)
	send(t, p, upgradeAnswer)
	head(t, cr)
	return c, cr, p, pr
}

// A configuration from elsewhere than a file may have mistakes that no file
// gets away with. They do not hold up the rest of it.
func TestWhatIsWrongInAConfigurationIsLeftOutAndReported(t *testing.T) {
	primary, shadow := backend(t, nil), backend(t, nil)
	good := func() *config.Config { return parse(t, mirrored(primary.address(), shadow.address(), "")) }
	badPattern := &config.Match{Path: &config.PathMatch{Type: config.PathRegexp, Value: "/(a"}}
	tests := []struct {
		name       string
		spoil      func(*config.Rule)
		status     int
		copies     uint64
		path, text string
	}{
		{"pattern", func(r *config.Rule) { r.Matches = []config.Match{*badPattern} }, 404, 0, "routes[0].rules[0].matches[0].path", "missing closing )"},
		{"backend", func(r *config.Rule) { r.Backends[0].Name = "v9" }, 503, 0, "routes[0].rules[0].backends[0].name", `there is no backend called "v9"`},
		{"shadow", func(r *config.Rule) { r.Mirrors[0].Backend = "v9" }, 200, 0, "routes[0].rules[0].mirrors[0].backend", `there is no backend called "v9"`},
		{"pattern of a mirror", func(r *config.Rule) { r.Mirrors[0].Match = badPattern }, 200, 0, "routes[0].rules[0].mirrors[0]", "missing closing )"},
		{"nothing", func(*config.Rule) {}, 200, 1, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, addr := serve(t, loop.DefaultDriver(), mirrored(primary.address(), shadow.address(), "            percent: 0"))
			cfg := good()
			cfg.Listeners[0].Address = "127.0.0.1:0"
			test.spoil(&cfg.Routes[0].Rules[0])
			problems, err := s.Apply(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if test.path != "" && (len(problems) != 1 || problems[0].Path != test.path || problems[0].Route != "shop" || !strings.Contains(problems[0].Message, test.text)) {
				t.Errorf("got %+v, want %s: %s", problems, test.path, test.text)
			}
			if status, _, err := get(newClient(t), "http://"+addr+"/"); status != test.status || err != nil {
				t.Errorf("got %d, %v, want %d", status, err, test.status)
			}
			if m := books(t, s); m.Selected != test.copies {
				t.Errorf("got %d copies, want %d", m.Selected, test.copies)
			}
		})
	}
}
