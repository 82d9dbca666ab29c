package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"github.com/understudy-proxy/understudy/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only turns a hang into a failure that says where.
const patience = 30 * time.Second

// drivers runs a test on every driver of this system.
func drivers(t *testing.T, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	for _, d := range []loop.Driver{loop.Epoll, loop.Go} {
		if _, err := loop.ParseDriver(string(d)); err != nil {
			continue
		}
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(newRig(t, d))
		})
	}
}

// rig is a client on a running loop. When the test ends it checks that every
// exchange ended exactly once and that nothing is left of any.
type rig struct {
	*testing.T
	driver    loop.Driver
	loop      *loop.Loop
	pool      spool.Pool
	client    *Client
	registry  *Registry
	exchanges []*exchange
}

func newRig(t *testing.T, d loop.Driver) *rig {
	t.Helper()
	l, err := loop.New(d)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, driver: d, loop: l, registry: NewRegistry(slog.New(slog.DiscardHandler))}
	r.client = &Client{Loop: l, Pool: &r.pool, Intake: spool.NewIntake(&r.pool)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run()
	}()
	t.Cleanup(func() {
		r.on(r.settled)
		l.Stop()
		await(t, ended, "the loop to end")
		r.registry.Close()
	})
	return r
}

// settled checks what must hold when nothing is on its way any more.
func (r *rig) settled() {
	for _, x := range r.exchanges {
		want := 1
		if x.cancelled {
			want = 0
		}
		if x.ends != want {
			r.Errorf("%s ended %d times, want %d", x.name, x.ends, want)
		}
		if x.Active() {
			r.Errorf("%s is still on a connection", x.name)
		}
		if x.Out.Reset(); x.Out.Held() != 0 {
			r.Errorf("%s holds %d bytes", x.name, x.Out.Held())
		}
	}
	r.client.Loads(func(l Load) {
		if l.InFlight != 0 {
			r.Errorf("%d calls to %s are in flight, want none", l.InFlight, l.Endpoint.Address)
		}
	})
}

// on runs f on the loop and waits for it.
func (r *rig) on(f func()) {
	r.Helper()
	if !r.loop.Call(f) {
		r.Fatal("the loop has ended")
	}
}

// until waits until f, which is called on the loop, says yes.
func (r *rig) until(what string, f func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		ok := false
		r.on(func() { ok = f() })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("waited in vain until %s", what)
		}
	}
}

// backend puts a backend in force.
func (r *rig) backend(change func(*config.Backend), addresses ...string) *Backend {
	r.Helper()
	def := config.Backend{
		Name:           "b",
		Endpoints:      addresses,
		Balance:        config.RoundRobin,
		ConnectTimeout: config.Timeout(patience),
		IdleTimeout:    config.TimeoutOff,
		Health:         config.Health{Failures: 3, Eject: config.Timeout(5 * time.Second)},
	}
	if change != nil {
		change(&def)
	}
	r.registry.Update([]config.Backend{def})
	return r.registry.Get("b")
}

// endpoint is the only endpoint of a new backend.
func (r *rig) endpoint(address string) *Endpoint {
	r.Helper()
	return r.backend(nil, address).Endpoints()[0]
}

// load returns what the client has to say about e.
func (r *rig) load(e *Endpoint) (load Load) {
	r.on(func() {
		r.client.Loads(func(l Load) {
			if l.Endpoint == e {
				load = l
			}
		})
	})
	return load
}

// exchange is a call that remembers what it was told. The loop owns it until
// wait has returned.
type exchange struct {
	Call
	rig       *rig
	name      string
	cancelled bool

	statuses  []int
	body      strings.Builder
	trailer   string
	failure   Failure
	ends      int
	otherEnds int // how often the other side of a raw call has ended
	sent      int
	ended     chan struct{}

	onSent, onAnswer, onData, onEnd func()
}

// exchange makes a call that sends text. It is whole unless the test says otherwise.
func (r *rig) exchange(name, text string) *exchange {
	x := &exchange{rig: r, name: name, ended: make(chan struct{}, 100)}
	x.User = x
	x.Whole = true
	x.Out.Pool = &r.pool
	x.Out.Copy([]byte(text))
	r.exchanges = append(r.exchanges, x)
	return x
}

// get makes a GET for /name.
func (r *rig) get(name string) *exchange {
	return r.exchange(name, "GET /"+name+" HTTP/1.1\r\nHost: h\r\n\r\n")
}

// send sends x to e and waits until the client has taken it.
func (r *rig) send(e *Endpoint, exchanges ...*exchange) {
	r.Helper()
	r.on(func() {
		for _, x := range exchanges {
			r.client.Send(&x.Call, e)
		}
	})
}

// wait waits for the end.
func (x *exchange) wait() {
	x.rig.Helper()
	await(x.rig.T, x.ended, "the end of "+x.name)
}

// succeeds waits for the end and checks the answer.
func (x *exchange) succeeds(status int, body string) {
	x.rig.Helper()
	x.wait()
	x.rig.on(func() {
		x.rig.Helper()
		if x.failure.Failed() {
			x.rig.Errorf("%s failed: %+v", x.name, x.failure)
		}
		if n := len(x.statuses); n == 0 || x.statuses[n-1] != status {
			x.rig.Errorf("%s was answered %v, want %d", x.name, x.statuses, status)
		}
		if x.body.String() != body {
			x.rig.Errorf("%s was answered %q, want %q", x.name, abridged(x.body.String()), abridged(body))
		}
	})
}

// fails waits for the end and checks why; the detail is for people.
func (x *exchange) fails(want Failure) {
	x.rig.Helper()
	x.wait()
	x.rig.on(func() {
		x.rig.Helper()
		got := x.failure
		if got.Detail == "" {
			x.rig.Errorf("%s: nothing is told to people about %+v", x.name, got)
		}
		if got.Detail = want.Detail; got != want {
			x.rig.Errorf("%s: %+v, want %+v", x.name, x.failure, want)
		}
	})
}

// cancel cancels x, on the loop.
func (x *exchange) cancel() {
	x.cancelled = true
	x.Cancel()
}

// Sent implements Caller.
func (x *exchange) Sent(c *Call, n int) {
	x.told(c)
	x.sent += n
	run(x.onSent)
}

// Answer implements Caller.
func (x *exchange) Answer(c *Call, r *http1.Response) {
	x.told(c)
	x.statuses = append(x.statuses, r.Status())
	run(x.onAnswer)
}

// Data implements Caller.
func (x *exchange) Data(c *Call, p []byte, b *spool.Buffer) {
	x.told(c)
	if len(p) == 0 && c.Raw {
		x.otherEnds++
	} else if len(p) == 0 {
		x.rig.Errorf("%s got an empty part of a body", x.name)
	}
	x.body.Write(p)
	run(x.onData)
}

// End implements Caller.
func (x *exchange) End(c *Call, trailer []byte, f Failure) {
	x.told(c)
	if c.Active() {
		x.rig.Errorf("%s is on a connection after its end", x.name)
	}
	x.ends++
	x.trailer, x.failure = string(trailer), f
	run(x.onEnd)
	x.ended <- struct{}{}
}

// told checks that the caller may be told anything at all.
func (x *exchange) told(c *Call) {
	if c != &x.Call || x.cancelled || x.ends > 0 {
		x.rig.Errorf("%s was told something after it was over", x.name)
	}
}

func run(f func()) {
	if f != nil {
		f()
	}
}

func abridged(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", s[:200], len(s))
	}
	return s
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

// peer is one connection of a server that plays a script.
type peer struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

// serve listens and plays one script per connection, in the order in which they
// come; a connection too many fails the test. It returns the address.
func (r *rig) serve(scripts ...func(p *peer)) string {
	r.Helper()
	return r.serveAll(func(i int, p *peer) {
		if i >= len(scripts) {
			r.Errorf("connection %d was not expected", i+1)
			return
		}
		scripts[i](p)
	})
}

// serveAll plays one script to every connection, with its number.
func (r *rig) serveAll(script func(i int, p *peer)) string {
	r.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		for i := 0; ; i++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(patience))
			p := &peer{TCPConn: nc.(*net.TCPConn), t: r.T, r: bufio.NewReader(nc)}
			playing.Go(func() {
				defer p.Close()
				script(i, p)
			})
		}
	})
	r.Cleanup(func() {
		r.on(func() { r.client.CloseIdle(true) }) // scripts may wait for that
		ln.Close()
		playing.Wait()
	})
	return ln.Addr().String()
}

// request reads one request and returns its target, a space and its body, whose
// framing it takes off; "" at the end of the connection.
func (p *peer) request() string {
	var length int64
	chunked := false
	line, err := p.line()
	if err != nil {
		return ""
	}
	_, target, _ := strings.Cut(line, " ")
	target, _, _ = strings.Cut(target, " ")
	for {
		field, err := p.line()
		if err != nil {
			return ""
		}
		name, value, _ := strings.Cut(field, ": ")
		switch strings.ToLower(name) {
		case "":
			return target + " " + p.body(length, chunked)
		case "content-length":
			length, _ = strconv.ParseInt(value, 10, 64)
		case "transfer-encoding":
			chunked = true
		}
	}
}

func (p *peer) line() (string, error) {
	line, err := p.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (p *peer) body(length int64, chunked bool) string {
	var body strings.Builder
	for chunked {
		line, err := p.line()
		n, _ := strconv.ParseInt(line, 16, 64)
		if _, copyErr := io.CopyN(&body, p.r, n); err != nil || copyErr != nil {
			return body.String()
		}
		if line, _ := p.line(); n == 0 {
			for line != "" {
				body.WriteString(" " + line)
				line, _ = p.line()
			}
			return body.String()
		}
	}
	io.CopyN(&body, p.r, length)
	return body.String()
}

// expect reads a request and checks what request returns for it.
func (p *peer) expect(want string) {
	if got := p.request(); got != want {
		p.t.Errorf("the server got %q, want %q", abridged(got), abridged(want))
	}
}

// write sends text as it is. The other side may be gone.
func (p *peer) write(text string) { io.WriteString(p.TCPConn, text) }

// answer sends a 200 with body.
func (p *peer) answer(body string) {
	p.write("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// end waits until the other side has ended its direction, and checks that
// nothing came before.
func (p *peer) end() {
	if rest, err := io.ReadAll(p.r); err != nil && !isReset(err) || len(rest) > 0 {
		p.t.Errorf("before the end came %q, %v", abridged(string(rest)), err)
	}
}

// gone waits until the other side has gone, whatever came before.
func (p *peer) gone() {
	if _, err := io.Copy(io.Discard, p.r); err != nil && !isReset(err) {
		p.t.Errorf("the connection does not end: %v", err)
	}
}

func isReset(err error) bool {
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// reset closes the connection with a reset.
func (p *peer) reset() {
	p.SetLinger(0)
	p.Close()
}
