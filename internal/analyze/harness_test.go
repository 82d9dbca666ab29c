package analyze

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a pipeline under test with a shadow that answers questions.
type stage struct {
	testing.TB
	cfg      *config.Config
	pipeline *Pipeline
	sent     int
	released int
	start    time.Time
}

// shadow answers questions, as an Asker.
type shadow func(q *Question) *traffic.Outcome

// Ask implements Asker.
func (s shadow) Ask(_ context.Context, q *Question) *traffic.Outcome { return s(q) }

// open starts a pipeline for a mirror with these settings. It is closed when the
// test ends.
func open(t testing.TB, mirror string, o Options) *stage {
	t.Helper()
	s := &stage{TB: t, cfg: parse(t, "", mirror), start: time.Now()}
	p, err := New(s.cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	s.pipeline = p
	t.Cleanup(func() { s.close() })
	return s
}

func (s *stage) close() {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.pipeline.Close(ctx); err != nil {
		s.Error(err)
	}
}

func (s *stage) wait() {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.pipeline.Wait(ctx); err != nil {
		s.Fatal(err)
	}
}

// mirror is the report on the only mirror.
func (s *stage) mirror() *MirrorReport {
	s.Helper()
	r := s.pipeline.Report()
	if len(r.Mirrors) != 1 {
		s.Fatalf("%d mirrors in the report", len(r.Mirrors))
	}
	return &r.Mirrors[0]
}

// answer is what a backend gives.
type answer struct {
	status int // 0 is 200
	head   string
	body   string
	first  time.Duration // to the first byte; 0 is a millisecond
	gone   traffic.Reason
}

func (a answer) outcome(at time.Duration) traffic.Outcome {
	if a.status == 0 {
		a.status = 200
	}
	if a.first == 0 {
		a.first = time.Millisecond
	}
	if a.gone != "" {
		return traffic.Outcome{Fate: traffic.Failed, Reason: a.gone, Source: traffic.Shadow, Error: string(a.gone), Start: at, End: at + a.first}
	}
	head := fmt.Sprintf("HTTP/1.1 %d OK\r\ncontent-type: application/json\r\n", a.status)
	for line := range strings.Lines(a.head) {
		head += strings.TrimSpace(line) + "\r\n"
	}
	return traffic.Outcome{
		Status: a.status, Bytes: int64(len(a.body)), Start: at, First: at + a.first, End: at + a.first, Fate: traffic.Completed,
		Answer: &traffic.Message{Head: []byte(head), Body: []byte(a.body), Length: int64(len(a.body)), Whole: true},
	}
}

// captured counts exchanges that were given back.
type captured struct{ count *int }

// Release implements traffic.Memory.
func (m captured) Release() { *m.count++ }

// exchange is a captured request, as "GET /a?b=c" and header lines, and what came of
// it.
func (s *stage) exchange(request string, primary, shadow answer) *traffic.Exchange {
	s.sent++
	start, rest, _ := strings.Cut(request, "\n")
	method, target, _ := strings.Cut(start, " ")
	path, query, _ := strings.Cut(target, "?")
	lines, body, _ := strings.Cut(rest, "\n\n")
	head := start + " HTTP/1.1\r\nhost: shop\r\n"
	for line := range strings.Lines(lines) {
		head += strings.TrimSpace(line) + "\r\n"
	}
	x := &traffic.Exchange{
		ID: fmt.Sprintf("id-%d", s.sent), Start: time.Now(), Route: "r", Client: netip.MustParseAddr("192.0.2.7"), Host: "shop",
		Method: method, Path: path, Query: query, Protocol: "HTTP/1.1",
		Request: &traffic.Message{Head: []byte(head), Body: []byte(body), Length: int64(len(body)), Whole: true},
		Memory:  captured{&s.released},
	}
	x.Primary = primary.outcome(0)
	x.Primary.Backend, x.Primary.Fate = "a", ""
	x.Status = x.Primary.Status
	c := shadow.outcome(100 * time.Microsecond)
	c.Backend, c.Mirror, c.Compare = "b", "b", true
	x.Copies = []traffic.Outcome{c}
	return x
}

// offer offers an exchange that must be taken.
func (s *stage) offer(request string, primary, shadow answer) {
	s.Helper()
	if !s.pipeline.Offer(s.exchange(request, primary, shadow)) {
		s.Fatal("the pipeline refused an exchange")
	}
}

// text is JSON.
func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}
