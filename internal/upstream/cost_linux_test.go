package upstream

import (
	"runtime"
	"testing"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

// lap is a caller that sends its call again as soon as it has ended.
type lap struct {
	Call
	client   *Client
	endpoint *Endpoint
	text     []byte
	left     int
	done     chan struct{}
}

func (l *lap) run() {
	l.left--
	l.Whole = true
	l.Out.Copy(l.text)
	l.client.Send(&l.Call, l.endpoint)
}

func (l *lap) Sent(*Call, int)                   {}
func (l *lap) Answer(*Call, *http1.Response)     {}
func (l *lap) Data(*Call, []byte, *spool.Buffer) {}

func (l *lap) End(_ *Call, _ []byte, f Failure) {
	if f.Failed() || l.left == 0 {
		close(l.done)
		return
	}
	l.run()
}

// On a pooled connection a call costs no allocation. The server has buffers of
// its own from the start; what the runtime may allocate beside is far less than
// one per 100 calls.
func TestCallAllocatesNothingInSteadyState(t *testing.T) {
	const calls = 10000
	r := newRig(t, loop.Epoll)
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	e := r.endpoint(r.serve(func(p *peer) {
		request := make([]byte, 4096)
		for {
			if _, err := p.Read(request); err != nil {
				return
			}
			p.Write(answer)
		}
	}))
	l := &lap{client: r.client, endpoint: e, text: []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")}
	l.User, l.Out.Pool = l, &r.pool
	laps := func(n int) {
		l.left, l.done = n, make(chan struct{})
		r.on(l.run)
		await(t, l.done, "the last lap")
	}
	laps(100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	laps(calls)
	runtime.ReadMemStats(&after)
	if l.left != 0 {
		t.Fatalf("a call failed with %d to go", l.left)
	}
	if n := after.Mallocs - before.Mallocs; n > calls/100 {
		t.Errorf("%d allocations for %d calls, want none per call", n, calls)
	}
}
