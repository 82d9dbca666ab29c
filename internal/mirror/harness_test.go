package mirror

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

func TestMain(m *testing.M) {
	if os.Getenv(otherProcess) != "" {
		fmt.Println(selectedKeys())
		return
	}
	goleak.VerifyTestMain(m)
}

// patience only turns a hang into a failure that says where.
const patience = 30 * time.Second

// drivers runs a test on every driver of this system.
func drivers(t *testing.T, test func(s *stage)) {
	t.Helper()
	t.Parallel()
	for _, d := range []loop.Driver{loop.Epoll, loop.Go} {
		if _, err := loop.ParseDriver(string(d)); err != nil {
			continue
		}
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(newStage(t, d))
		})
	}
}

// stage is a dispatcher on a running loop. When the test ends, it checks that
// the books balance and that nothing is held any more.
type stage struct {
	*testing.T
	loop     *loop.Loop
	pool     spool.Pool
	copies   *Dispatcher
	backends *upstream.Registry
	mirrors  *Registry
	all      []config.Backend
	states   map[*State]bool
	random   uint64 // the draw of every request
	sinks    []traffic.Sink
}

func newStage(t *testing.T, d loop.Driver) *stage {
	t.Helper()
	l, err := loop.New(d)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := &stage{T: t, loop: l, backends: upstream.NewRegistry(log), mirrors: NewRegistry(), states: map[*State]bool{}}
	s.mirrors.SetLimits(config.Copies{InFlight: 1 << 20, Memory: 1 << 30})
	client := &upstream.Client{Loop: l, Pool: &s.pool, Intake: spool.NewIntake(&s.pool)}
	s.copies = NewDispatcher(client, log)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run()
	}()
	t.Cleanup(func() {
		s.settle()
		l.Stop()
		await(t, ended, "the loop to end")
		s.backends.Close()
	})
	return s
}

// on runs f on the loop and waits for it.
func (s *stage) on(f func()) {
	s.Helper()
	if !s.loop.Call(f) {
		s.Fatal("the loop has ended")
	}
}

// until waits until f, which is called on the loop, says yes.
func (s *stage) until(what string, f func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		ok := false
		s.on(func() { ok = f() })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain until %s", what)
		}
	}
}

// await receives from c, or fails naming what never came.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// parsed is a mirror as a file would have it: lines are its settings in flow
// style, such as "writes: copy, host: suffix".
func parsed(t testing.TB, lines string) *config.Mirror {
	t.Helper()
	if lines != "" {
		lines = ", " + lines
	}
	cfg, err := config.Parse("test.yaml", []byte(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v2`+lines+`}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:1"]}, {name: v2, endpoints: ["127.0.0.1:2"]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return &cfg.Routes[0].Rules[0].Mirrors[0]
}

// mirror puts a mirror of that name in force, whose shadow has the addresses.
func (s *stage) mirror(name, lines string, addresses ...string) *Policy {
	s.Helper()
	def := parsed(s, lines)
	def.Name, def.Backend = name, name
	s.all = append(s.all, config.Backend{
		Name: name, Endpoints: addresses, Balance: config.RoundRobin,
		ConnectTimeout: config.Timeout(patience), IdleTimeout: config.TimeoutOff, Health: config.Health{Failures: -1},
	})
	s.backends.Update(s.all)
	return s.compile(def, nil)
}

// compile puts def in force beside what is.
func (s *stage) compile(def *config.Mirror, edit *http1.Edit) *Policy {
	s.Helper()
	for state := range s.states {
		state.compiled = 1
	}
	state := s.mirrors.State("shop", def.Name, def.Backend)
	state.compiled = 0
	p, err := Compile(def, edit, s.backends.Get(def.Backend), state)
	if err != nil {
		s.Fatal(err)
	}
	s.states[state] = true
	s.mirrors.Retire(s.states)
	return p
}

// subject is a request that is being offered.
func subject(t testing.TB, head string) (*Subject, *http1.Outgoing) {
	t.Helper()
	r := &http1.Request{}
	head = strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n"
	if n, err := r.Parse([]byte(head), nil); err != nil || n != len(head) {
		t.Fatalf("parse %q: %d, %v", head, n, err)
	}
	return &Subject{
		Head: r,
		Match: &route.Request{
			Host: r.Host(), Method: r.Method(), Path: r.Path(), Query: r.Query(),
			Source: netip.MustParseAddr("192.0.2.7"), Headers: r,
		},
	}, &http1.Outgoing{Length: r.Framing(), Expect: r.ExpectContinue()}
}

// offer offers a request to a mirror; head is without its last line ends.
func (s *stage) offer(p *Policy, head string) (t Ticket) {
	s.Helper()
	subject, out := subject(s, head)
	s.on(func() { t = s.give(p, subject, out) })
	return t
}

// give offers a request, on the loop.
func (s *stage) give(p *Policy, subject *Subject, out *http1.Outgoing) Ticket {
	subject.Draw = s.random
	var join *Join
	if len(s.sinks) > 0 {
		join = NewJoin(s.loop.Now(), s.sinks)
		join.X.Route = "shop"
		defer join.Release()
	}
	subject.Decision = p.Decide(subject)
	return s.copies.Offer(p, subject, out, join).Ticket()
}

// body gives the copy parts of its body; nothing if it has ended.
func (s *stage) body(t Ticket, parts ...string) {
	s.Helper()
	for _, part := range parts {
		s.on(func() {
			if c := t.Copy(); c != nil {
				c.Body([]byte(part), nil)
			}
		})
	}
}

// finish says that the copy's request is whole.
func (s *stage) finish(t Ticket, trailer string) {
	s.Helper()
	s.on(func() {
		if c := t.Copy(); c != nil {
			c.Finish([]byte(trailer))
		}
	})
}

// books returns what the dispatcher has written down about p.
func (s *stage) books(p *Policy) (books telemetry.Mirror) {
	s.Helper()
	s.on(func() {
		s.copies.Books(func(b *telemetry.Mirror) {
			if b.Name == p.Def.Name {
				books.Merge(b)
			}
		})
	})
	return books
}

// settle waits until no copy is on its way and checks that all books balance.
func (s *stage) settle() {
	s.Helper()
	s.until("all copies have ended", func() bool { return s.copies.InFlight() == 0 })
	s.on(func() {
		s.Helper()
		s.copies.Books(func(b *telemetry.Mirror) {
			if sum := b.Completed + total(b.Dropped) + total(b.Failed) + b.InFlight; b.Selected != sum || b.InFlight != 0 || b.Queued != 0 {
				s.Errorf("%s: the books do not balance: %+v", b.Name, b)
			}
		})
		for _, l := range s.copies.lanes {
			if l != nil && (len(l.all) != 0 || l.active != 0) {
				s.Errorf("%s: %d copies are left, %d active", l.state.Name, len(l.all), l.active)
			}
		}
	})
	for state := range s.states {
		if m, n, q := state.memory.Used(), state.inFlight.Used(), state.queued.Load(); m != 0 || n != 0 || q != 0 {
			s.Errorf("%s: %d bytes are charged, %d places in flight and %d in the queue taken, want none", state.Name, m, n, q)
		}
	}
	if m, n := s.mirrors.memory.Used(), s.mirrors.inFlight.Used(); m != 0 || n != 0 {
		s.Errorf("of all mirrors %d bytes are charged and %d places taken, want none", m, n)
	}
}

func total(counts map[traffic.Reason]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// one waits until all copies have ended and checks that the only one of p ended
// so: fate is "completed", or why it was dropped or failed.
func (s *stage) one(p *Policy, fate string) {
	s.Helper()
	s.settle()
	s.counts(p, map[string]uint64{fate: 1})
}

// counts checks how the copies of p have ended.
func (s *stage) counts(p *Policy, want map[string]uint64) {
	s.Helper()
	b := s.books(p)
	got := map[string]uint64{}
	if b.Completed > 0 {
		got["completed"] = b.Completed
	}
	for _, counts := range []map[traffic.Reason]uint64{b.Skipped, b.Dropped, b.Failed} {
		for reason, n := range counts {
			got[string(reason)] = n
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("%s: the copies ended as %v, want %v", p.Def.Name, got, want)
	}
}

// visit is one connection to a shadow.
type visit struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

// shadow listens and plays a script to every connection, with its number.
func (s *stage) shadow(script func(i int, v *visit)) (address string) {
	s.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		for i := 0; ; i++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(patience))
			v := &visit{TCPConn: nc.(*net.TCPConn), t: s.T, r: bufio.NewReader(nc)}
			playing.Go(func() {
				defer v.Close()
				script(i, v)
			})
		}
	})
	s.Cleanup(func() {
		s.on(func() { s.copies.CloseIdle(true) })
		ln.Close()
		playing.Wait()
	})
	return ln.Addr().String()
}

// polite is a shadow that answers everything, and a list of what it got.
func (s *stage) polite() (address string, got <-chan string) {
	s.Helper()
	requests := make(chan string, 10000)
	return s.shadow(func(_ int, v *visit) {
		for {
			text := v.request()
			if text == "" {
				return
			}
			requests <- text
			v.answer("ok")
		}
	}), requests
}

// request reads one whole request as it is on the wire; "" if there is none.
func (v *visit) request() string {
	var text strings.Builder
	length, chunked := int64(0), false
	for {
		line, err := v.r.ReadString('\n')
		text.WriteString(line)
		if err != nil {
			return ""
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch strings.ToLower(name) {
		case "":
			if _, err := io.CopyN(&text, v.r, length); err != nil || chunked && !v.chunks(&text) {
				return ""
			}
			return strings.ReplaceAll(text.String(), "\r\n", "\n")
		case "content-length":
			length, _ = strconv.ParseInt(value, 10, 64)
		case "transfer-encoding":
			chunked = true
		}
	}
}

// chunks reads a chunked body with its framing; false if it does not end.
func (v *visit) chunks(text *strings.Builder) bool {
	for last := false; ; {
		line, err := v.r.ReadString('\n')
		text.WriteString(line)
		if err != nil || last && line == "\r\n" {
			return err == nil
		}
		if n, _ := strconv.ParseInt(strings.TrimSpace(line), 16, 64); n > 0 && !last {
			io.CopyN(text, v.r, n+2)
		} else {
			last = true
		}
	}
}

func (v *visit) answer(body string) {
	v.write("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// write sends text as it is. The other side may be gone.
func (v *visit) write(text string) { io.WriteString(v.TCPConn, text) }

// gone waits until the other side has gone, whatever came before.
func (v *visit) gone() { io.Copy(io.Discard, v.r) }

// reset closes the connection with a reset.
func (v *visit) reset() {
	v.SetLinger(0)
	v.Close()
}
