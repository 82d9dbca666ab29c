package peers

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/test/isolation/shadow"
	"github.com/understudy-proxy/understudy/test/load"
)

const moment = 500 * time.Millisecond

// TestMain lets sessions take longer: masking what a WebSocket carries is slow where
// every access to memory is watched.
func TestMain(m *testing.M) {
	patience = time.Minute
	m.Run()
}

// within bounds what a healthy peer does at once.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

func protocol(t *testing.T, name string) *Protocol {
	t.Helper()
	for _, p := range Protocols() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no protocol %s", name)
	return nil
}

func started(t *testing.T, b *Backend, err error) *Backend {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(time.Second); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestClientsAndBackendsAgree(t *testing.T) {
	t.Parallel()
	for _, p := range Protocols() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			b, err := p.Answer(primaryFill)
			b = started(t, b, err)
			r, err := p.Drive(within(t), b.Addr(), moment)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK == 0 || r.OK != r.Requests || len(r.Errors) > 0 || r.Latency.Count() != r.Requests || r.Throughput <= 0 {
				t.Errorf("%d of %d, %v, %d latencies, %g/s", r.OK, r.Requests, r.Errors, r.Latency.Count(), r.Throughput)
			}
			s, err := b.Stats()
			if err != nil || s.Requests != r.OK || s.BadBodies != 0 {
				t.Errorf("%d of %d arrived, %d damaged, %v", s.Requests, r.OK, s.BadBodies, err)
			}
		})
	}
}

func TestClientsNoticeTheAnswersOfAShadow(t *testing.T) {
	t.Parallel()
	for _, p := range Protocols() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			b, err := p.Answer('s')
			b = started(t, b, err)
			r, err := p.Drive(within(t), b.Addr(), moment)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK != 0 || r.Requests == 0 || r.Errors[load.ErrBadAnswer] != r.Requests {
				t.Errorf("%d of %d are right, %v", r.OK, r.Requests, r.Errors)
			}
		})
	}
}

func TestClientsNameWhatWentWrong(t *testing.T) {
	t.Parallel()
	addr, err := load.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Protocols() {
		want := "connection refused"
		if p.Name == "grpc-bidi" {
			want = "grpc_Unavailable"
		}
		r, err := p.Drive(within(t), addr, time.Millisecond)
		for d := 10 * time.Millisecond; err == nil && r.Requests == 0 && d < 5*time.Second; d *= 2 {
			r, err = p.Drive(within(t), addr, d) // a busy machine had no time to fail
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]uint64{want: r.Requests}, r.Errors); diff != "" || r.Requests == 0 {
			t.Errorf("%s: errors (-want +got):\n%s", p.Name, diff)
		}
	}
}

func TestDamagedMessagesAreCounted(t *testing.T) {
	t.Parallel()
	b, err := protocol(t, "tcp").Answer(primaryFill)
	b = started(t, b, err)
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(bytes.Repeat([]byte("?"), largeBytes)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, AnswerBytes)); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.Stats(); s.BadBodies != 1 {
		t.Errorf("%d damaged messages, want 1", s.BadBodies)
	}
}

// TestOneStreamInAHundred makes a hundred exchanges on one connection: the last
// of them alone is held up, and the next goes on.
func TestOneStreamInAHundred(t *testing.T) {
	t.Parallel()
	for kind, wantHead := range map[string]bool{SlowStream: true, StuckStream: false} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b, err := protocol(t, "http2").Misbehave(kind)
			b = started(t, b, err)
			transport := &http.Transport{Protocols: onlyHTTP2()}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			whole := func() error {
				_, err := exchange(within(t), client, b.Addr(), AnswerBytes)
				return err
			}
			for range oneIn - 1 {
				if err := whole(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			head, err := exchange(ctx, client, b.Addr(), AnswerBytes)
			if err == nil || ctx.Err() == nil || head != wantHead {
				t.Errorf("answer begun: %v, want %v; error %v", head, wantHead, err)
			}
			if err := whole(); err != nil {
				t.Errorf("the stream after it: %v", err)
			}
		})
	}
}

// exchange posts a message and wants n bytes; head tells whether an answer began.
func exchange(ctx context.Context, client *http.Client, addr string, n int) (head bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", bytes.NewReader(message))
	if err != nil {
		return false, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.ReadFull(answer.Body, make([]byte, n))
	return true, err
}

func TestWebSocketsStopReading(t *testing.T) {
	t.Parallel()
	b, err := protocol(t, "websocket").Misbehave(StopsReading)
	b = started(t, b, err)
	c, _, err := websocket.Dial(within(t), "ws://"+b.Addr()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	for range takes {
		if err := c.Write(within(t), websocket.MessageBinary, large); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(within(t)); err != nil || !filled(got, 's') {
			t.Fatalf("%q, %v", got, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	const plenty = 64 << 20 // more than buffers hold
	for sent := 0; sent < plenty; sent += largeBytes {
		if err := c.Write(ctx, websocket.MessageBinary, large); err != nil {
			return
		}
	}
	t.Error("the backend goes on reading")
}

func TestWebSocketsStayUnanswered(t *testing.T) {
	t.Parallel()
	b, err := protocol(t, "websocket").Misbehave(Unanswered)
	b = started(t, b, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := websocket.Dial(ctx, "ws://"+b.Addr()+"/", nil); err == nil || ctx.Err() == nil {
		t.Errorf("error %v, want the time to run out", err)
	}
	if s, _ := b.Stats(); s.Requests != 1 {
		t.Errorf("%d handshakes arrived, want 1", s.Requests)
	}
}

func TestEveryShadowStarts(t *testing.T) {
	t.Parallel()
	for _, p := range Protocols() {
		for _, kind := range append([]string{string(shadow.Refusing)}, p.Shadows...) {
			b, err := p.Misbehave(kind)
			b = started(t, b, err)
			if _, _, err := net.SplitHostPort(b.Addr()); err != nil {
				t.Errorf("%s of %s: %v", kind, p.Name, err)
			}
		}
		if _, err := p.Misbehave("friendly"); err == nil {
			t.Errorf("%s: a shadow of no known kind started", p.Name)
		}
	}
}
