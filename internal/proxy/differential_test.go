package proxy

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// batch is what one connection of a client sends, and how it is cut.
type batch struct {
	exchanges []*exchange
	cuts      []int // sizes of the writes, over and over
}

// batches makes n exchanges on connections of up to eight.
func batches(seed uint64, n int) (list []batch, all map[string]*exchange) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	all = map[string]*exchange{}
	for len(all) < n {
		var b batch
		for left := 1 + g.IntN(8); left > 0; left-- {
			x := g.next(left == 1)
			b.exchanges = append(b.exchanges, x)
			all[x.id] = x
		}
		for range 1 + g.IntN(10) {
			b.cuts = append(b.cuts, 1+g.IntN(1<<(1+g.IntN(16))))
		}
		list = append(list, b)
	}
	return list, all
}

// run sends all batches to addr, several at a time, and returns the answers by
// request id.
func run(t *testing.T, addr string, list []batch) map[string]*message {
	t.Helper()
	var mu sync.Mutex
	answers := map[string]*message{}
	todo := make(chan batch)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for b := range todo {
				err := b.run(addr, func(id string, m *message) {
					mu.Lock()
					defer mu.Unlock()
					answers[id] = m
				})
				if err != nil {
					t.Errorf("batch of %s: %v", b.exchanges[0].id, err)
				}
			}
		})
	}
	for _, b := range list {
		todo <- b
	}
	close(todo)
	wg.Wait()
	return answers
}

// run sends the batch through one connection while it reads the answers.
func (b batch) run(addr string, got func(id string, m *message)) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	var requests strings.Builder
	for _, x := range b.exchanges {
		requests.WriteString(x.request)
	}
	written := make(chan error, 1)
	go func() {
		rest := requests.String()
		for i := 0; rest != ""; i++ {
			n := min(b.cuts[i%len(b.cuts)], len(rest))
			if _, err := c.Write([]byte(rest[:n])); err != nil {
				written <- err
				return
			}
			rest = rest[n:]
		}
		written <- nil
	}()
	r := bufio.NewReader(c)
	for _, x := range b.exchanges {
		m, err := readAnswer(r, x.method)
		if err != nil {
			return fmt.Errorf("answer to %s: %w", x.id, err)
		}
		got(x.id, m)
	}
	return <-written
}

// seenByClient is what of an answer must be the same with and without a proxy:
// all but the version, and the framing and the fate of the connection.
func seenByClient(m *message) []string {
	seen := append(m.without("Connection", "Transfer-Encoding", "Content-Length"), m.start[len("HTTP/1.1"):], m.body)
	return append(append(seen, m.trailer...), m.interim...)
}

// seenByBackend is what of a request must be the same with and without a proxy:
// all but the version, the place of the host and the framing among the
// fields, what is about the connection, and what is said about the client.
func seenByBackend(m *message) []string {
	seen := m.without("Connection", "Host", "Content-Length", "Transfer-Encoding", "Expect", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "x-understudy-copy")
	seen = append(seen, m.start[:strings.LastIndexByte(m.start, ' ')], m.value("Host"), m.value("Content-Length"), strings.ToLower(m.value("Transfer-Encoding")), m.body)
	return append(seen, m.trailer...)
}

// answering answers with what the exchanges say.
func answering(all map[string]*exchange) func(*message) (string, bool) {
	return func(m *message) (string, bool) {
		x := all[m.value("x-request-id")]
		return x.answer, x.closes
	}
}

const exchanges = 2000

func TestAProxyInBetweenChangesOnlyWhatItSays(t *testing.T) {
	list, all := batches(20260501, exchanges)
	direct := record(t, answering(all))
	want := run(t, direct.address(), list)
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, answering(all)), record(t, answering(all))
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), `            writes: copy
            backoff: {adaptive: false}
            limits: {queue: 100000, memory: 1GiB}`))
		got := run(t, addr, list)
		for id := range all {
			if diff := cmp.Diff(seenByClient(want[id]), seenByClient(got[id])); diff != "" {
				t.Fatalf("the client sees another answer (- direct, + proxy) to\n%q\n%s", all[id].request, diff)
			}
			if n := len(primary.of(id)); n != 1 {
				t.Fatalf("the primary got %s %d times", id, n)
			}
			if diff := cmp.Diff(seenByBackend(direct.of(id)[0]), seenByBackend(primary.of(id)[0])); diff != "" {
				t.Fatalf("the primary sees another request (- direct, + proxy) than\n%q\n%s", all[id].request, diff)
			}
		}
		m := books(t, s)
		if m.Completed != uint64(len(all)) || m.Selected != m.Completed {
			t.Errorf("got %d of %d copies: dropped %v, failed %v", m.Completed, len(all), m.Dropped, m.Failed)
		}
		for id := range all {
			if n := len(shadow.of(id)); n != 1 {
				t.Fatalf("the shadow got %s %d times", id, n)
			}
			if diff := cmp.Diff(seenByBackend(primary.of(id)[0]), seenByBackend(shadow.of(id)[0])); diff != "" {
				t.Fatalf("the shadow sees another request (- primary, + shadow) than\n%q\n%s", all[id].request, diff)
			}
		}
	})
}

// wire is a request as it was on the wire but for the cuts between chunks,
// which are where reads happened to end.
func wire(m *message) string {
	return strings.Join(slices.Concat([]string{m.start}, m.lines, []string{"", m.body}, m.trailer), "\r\n")
}

func TestThePrimaryGetsTheSameBytesWithMirrorsAndWithout(t *testing.T) {
	list, all := batches(20260502, exchanges/2)
	drivers(t, func(t *testing.T, d loop.Driver) {
		shadow := record(t, answering(all))
		got := map[bool]map[string][]*message{}
		for _, on := range []bool{false, true} {
			primary := record(t, answering(all))
			yaml := plain(primary.address(), "")
			if on {
				yaml = mirrored(primary.address(), shadow.address(), `            writes: copy
            host: suffix
            headers: {set: [{name: x-a, value: copy}, {name: x-c, value: copy}], remove: [x-b]}`)
			}
			_, addr := serve(t, d, yaml)
			run(t, addr, list)
			primary.mu.Lock() // it has written all by now, but without it that is a race
			got[on] = primary.got
			primary.mu.Unlock()
		}
		for id := range all {
			if diff := cmp.Diff(wire(got[false][id][0]), wire(got[true][id][0])); diff != "" {
				t.Fatalf("the primary gets other bytes (- without, + with mirror)\n%s", diff)
			}
		}
	})
}
