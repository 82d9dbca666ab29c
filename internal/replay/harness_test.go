package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// epoch is when recordings of tests begin.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tape is a recording in memory.
type tape []*traffic.Exchange

// Next implements Source.
func (t *tape) Next() (*traffic.Exchange, error) {
	if len(*t) == 0 {
		return nil, io.EOF
	}
	x := (*t)[0]
	*t = (*t)[1:]
	return x, nil
}

// get is a recorded request that began so long after the epoch.
func get(id string, after time.Duration, client string) *traffic.Exchange {
	return recorded(id, after, client, "GET /"+id+" HTTP/1.1\r\nHost: shop.example.com\r\n", "")
}

// recorded is a recorded exchange with an answer that took 10 ms.
func recorded(id string, after time.Duration, client, head, body string) *traffic.Exchange {
	var method, path string
	fmt.Sscanf(head, "%s %s", &method, &path)
	return &traffic.Exchange{
		ID: id, Start: epoch.Add(after), Client: netip.MustParseAddr(client), Method: method, Path: path, Status: 200,
		Request: &traffic.Message{Head: []byte(head), Body: []byte(body), Length: int64(len(body)), Whole: true},
		Primary: traffic.Outcome{
			Backend: "shop-v1", Status: 200, Start: time.Millisecond, First: 11 * time.Millisecond, End: 11 * time.Millisecond,
			Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\n"), Whole: true},
		},
	}
}

// arrivalAt is a request that arrived at the house, and when.
type arrivalAt struct {
	path string
	at   time.Duration // since the house opened
}

// house is a server behind connections that are pipes, so that it works in the
// bubbles of synctest, where time passes only when everybody waits.
type house struct {
	opened  time.Time
	conns   chan net.Conn
	closed  chan struct{}
	server  *http.Server
	handler http.HandlerFunc

	mu    sync.Mutex
	heard []arrivalAt
}

func openHouse(t *testing.T, handler http.HandlerFunc) *house {
	h := &house{opened: time.Now(), conns: make(chan net.Conn), closed: make(chan struct{}), handler: handler}
	h.server = &http.Server{Handler: h}
	go h.server.Serve(h)
	t.Cleanup(func() { h.server.Close() })
	return h
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.heard = append(h.heard, arrivalAt{r.URL.Path, time.Since(h.opened)})
	h.mu.Unlock()
	if h.handler != nil {
		h.handler(w, r)
	}
}

// arrivals are those of all requests so far.
func (h *house) arrivals() []arrivalAt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]arrivalAt(nil), h.heard...)
}

// Accept implements net.Listener.
func (h *house) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *house) Close() error {
	select {
	case <-h.closed:
	default:
		close(h.closed)
	}
	return nil
}

// Addr implements net.Listener.
func (h *house) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (h *house) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case h.conns <- theirs:
		return ours, nil
	case <-h.closed:
		return nil, &net.OpError{Op: "dial", Err: errors.New("nobody is in")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// shelf is a sink that keeps what it gets.
type shelf struct {
	mu        sync.Mutex
	exchanges []*traffic.Exchange
}

// Offer implements traffic.Sink.
func (s *shelf) Offer(x *traffic.Exchange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges = append(s.exchanges, x)
	return true
}

// byID returns the exchange of that id.
func (s *shelf) byID(t *testing.T, id string) *traffic.Exchange {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.exchanges {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("the sink did not get %s", id)
	return nil
}

// play replays exchanges against h.
func play(ctx context.Context, t *testing.T, h *house, o Options, exchanges ...*traffic.Exchange) *Summary {
	t.Helper()
	source := tape(exchanges)
	return playSource(ctx, t, h, o, &source)
}

func playSource(ctx context.Context, t *testing.T, h *house, o Options, source Source) *Summary {
	t.Helper()
	if o.Target == nil {
		o.Target = target(t, TargetOptions{Dial: h.dial})
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Run(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	balance(t, s)
	o.Target.Close()
	return s
}

func target(t *testing.T, o TargetOptions) *Target {
	t.Helper()
	if o.URL == "" {
		o.URL = "http://127.0.0.1"
	}
	to, err := NewTarget(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// balance complains if the books do not.
func balance(t *testing.T, s *Summary) {
	t.Helper()
	var skipped, failed int64
	for _, n := range s.Skipped {
		skipped += n
	}
	for _, n := range s.Failed {
		failed += n
	}
	if s.Read != s.Sent+skipped || s.Sent != s.Completed+failed+s.Dropped {
		t.Errorf("the books do not balance: %+v", s)
	}
}
