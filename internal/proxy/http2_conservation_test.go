package proxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// trying is a shadow that speaks HTTP/2 and does with each request what chance
// says: answer, break off, hang, answer early, or answer at length.
func trying(t *testing.T, seed uint64) string {
	t.Helper()
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		choice := random.IntN(8)
		mu.Unlock()
		switch choice {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			<-r.Context().Done()
		case 2:
			io.WriteString(w, "early")
		case 3:
			io.WriteString(w, long)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 4:
			io.Copy(io.Discard, r.Body)
			for range 20 {
				io.WriteString(w, long)
			}
		default:
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "ok")
		}
	}))
	s.Config.Protocols = protocols(2)
	s.Start()
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

var long = strings.Repeat("0123456789abcdef", 4<<10)

// wander sends n requests as chance says and gives some up halfway.
func wander(t *testing.T, client *http.Client, addr string, random *rand.Rand, n int) {
	for range n {
		ctx, cancel := context.WithCancel(context.Background())
		method, body := "GET", io.Reader(nil)
		size := 0
		if random.IntN(2) == 0 {
			method, size = "POST", random.IntN(200_000)
			body = strings.NewReader(strings.Repeat("x", size))
			if random.IntN(2) == 0 {
				body = io.MultiReader(body)
			}
		}
		leaves := random.IntN(4) == 0
		if leaves {
			body = io.MultiReader(strings.NewReader("begun"), cancelling{cancel}, strings.NewReader("never sent"))
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/", body)
		if err != nil {
			t.Error(err)
			cancel()
			return
		}
		resp, err := client.Do(req)
		if err == nil {
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("hello %d", size); !leaves && (err != nil || string(got) != want) {
				t.Errorf("got %d %.100q, %v, want %q", resp.StatusCode, got, err, want)
			}
		} else if !leaves {
			t.Error(err)
		}
		cancel()
	}
}

// cancelling is a reader whose first read gives the request up.
type cancelling struct{ cancel func() }

func (c cancelling) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.ErrUnexpectedEOF
}

// What TestCopiesAreConservedInAnyTrouble promises, with HTTP/2 on all legs.
func TestCopiesAreConservedOverHTTP2(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		const seed = 5
		primary := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err == nil {
				fmt.Fprintf(w, "hello %d", n)
			}
		}))
		primary.Config.Protocols = protocols(2)
		primary.Start()
		defer primary.Close()
		yaml := mirrored(strings.TrimPrefix(primary.URL, "http://"), trying(t, seed),
			"            writes: copy\n            timeout: 200ms\n            backoff: {failures: 1000}\n            body: {limit: 150KiB}\n            limits: {inFlight: 8, queue: 8, memory: 1MiB}")
		yaml = strings.ReplaceAll(yaml, "  - {name: v", "  - {protocol: HTTP2, name: v")
		sink := &fates{exchanges: map[*traffic.Exchange]bool{}, copies: map[string]map[string]uint64{}}
		s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{sink}}, yaml+"accessLog: {path: \"-\"}\n")
		ctx, stop := context.WithCancel(context.Background())
		w := &watcher{T: t, before: map[string]telemetry.Mirror{}, most: 1<<20 + 1<<18}
		var looking, clients sync.WaitGroup
		looking.Go(func() {
			for ctx.Err() == nil {
				w.look(s.Snapshot())
			}
		})
		shared := speaking(t, 2)
		for i := range uint64(6) {
			client := shared
			if i == 0 {
				client = speaking(t, 1)
			}
			clients.Go(func() { wander(t, client, addr, rand.New(rand.NewPCG(seed, i)), 60) })
		}
		clients.Wait()
		stop()
		looking.Wait()
		drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(drain); err != nil {
			t.Error(err)
		}
		snap := s.Snapshot()
		w.look(snap)
		for _, l := range snap.Live {
			if l.Errors[traffic.Primary]+l.Errors[traffic.Internal] != 0 {
				t.Errorf("live requests failed: %v", l.Errors)
			}
		}
		m := &snap.Mirrors[0]
		t.Logf("%d snapshots, %d selected: %v", w.seen, m.Selected, written(m))
		// With 300 copies, that none of a kind was seen has a chance below 10⁻¹⁰.
		if m.Completed == 0 || sumOf(m.Failed) == 0 || m.Dropped["client_gone"]+m.Dropped["body_limit"] == 0 {
			t.Errorf("no trouble: %v", written(m))
		}
	})
}
