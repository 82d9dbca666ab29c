package analyze

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/store/memory"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// taker is a sink that holds up whoever offers to it until it is let go.
type taker struct {
	arrived chan *traffic.Exchange
	let     chan struct{}
}

// Offer implements traffic.Sink.
func (t *taker) Offer(x *traffic.Exchange) bool {
	t.arrived <- x
	<-t.let
	return true
}

func TestAFullQueueRefusesAndCounts(t *testing.T) {
	t.Parallel()
	slow := &taker{make(chan *traffic.Exchange, 16), make(chan struct{})}
	cfg := parse(t, "", "")
	cfg.Capture.Queue = 3
	p, err := New(cfg, Options{Takers: []traffic.Sink{slow}, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{TB: t, pipeline: p}
	s.offer("GET /a", answer{}, answer{})
	<-slow.arrived // the worker has it, and goes no further
	accepted := 0
	for range 10 {
		if p.Offer(s.exchange("GET /a", answer{}, answer{})) {
			accepted++
		}
	}
	if accepted != 3 {
		t.Errorf("%d were accepted, want 3", accepted)
	}
	if got := p.lostQueue.Load(); got != 7 {
		t.Errorf("%d were counted as lost, want 7", got)
	}
	close(slow.let)
	s.close()
	if s.released != 4 {
		t.Errorf("the memory of %d was given back, want that of 4", s.released)
	}
	if got := p.Report().Lost["queue"]; got != 7 {
		t.Errorf("the report says that %d were lost, want 7", got)
	}
	if p.Offer(s.exchange("GET /a", answer{}, answer{})) {
		t.Error("it takes exchanges after it was closed")
	}
}

func TestTakersSeeTheExchangeRedactedAndWhole(t *testing.T) {
	t.Parallel()
	slow := &taker{make(chan *traffic.Exchange, 1), make(chan struct{})}
	s := open(t, "", Options{Takers: []traffic.Sink{slow}, Offline: true})
	s.offer("GET /a\nauthorization: Bearer planted-secret", answer{body: `{"a":1}`}, answer{body: `{"a":1}`})
	x := <-slow.arrived
	if head := string(x.Request.Head); strings.Contains(head, "planted-secret") || !strings.Contains(head, "authorization:") {
		t.Errorf("the taker got the head %q", head)
	}
	if got := string(x.Copies[0].Answer.Body); got != `{"a":1}` {
		t.Errorf("the taker got the body %q", got)
	}
	close(slow.let)
}

func TestCloseThatHasNoTimeCountsWhatIsLeft(t *testing.T) {
	t.Parallel()
	slow := &taker{make(chan *traffic.Exchange, 16), make(chan struct{})}
	p, err := New(parse(t, "", ""), Options{Takers: []traffic.Sink{slow}, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{TB: t, pipeline: p}
	for range 5 {
		s.offer("GET /a", answer{}, answer{})
	}
	<-slow.arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error)
	go func() { closed <- p.Close(ctx) }()
	<-p.ending.Done()
	close(slow.let)
	if err := <-closed; !errors.Is(err, errStillBusy) {
		t.Errorf("close: %v", err)
	}
	// How many it still looks at is left to chance; none is forgotten.
	looked := s.mirror().Classes[compare.Match]
	if lost := p.Report().Lost["queue"]; s.released != 5 || looked+lost != 5 {
		t.Errorf("the memory of %d was given back, %d were looked at and %d lost; want 5 in all", s.released, looked, lost)
	}
}

// learned is what there is to be seen of a stage that has found a fault. Its pairs are
// as far from each other in time as it says, however busy the machine is: those that
// come close together count for less.
func learned(s *stage) {
	s.Helper()
	for i := range 400 {
		x := s.exchange(fmt.Sprintf("GET /things/%d\nx-tenant: t%d", i, i%4), answer{body: fmt.Sprintf(`{"id":%d,"price":5}`, i)}, answer{body: fmt.Sprintf(`{"id":%d,"price":%d}`, i, 5+boolInt(i%4 == 3))})
		x.Start = s.start.Add(time.Duration(s.sent) * 10 * time.Millisecond)
		if !s.pipeline.Offer(x) {
			s.Fatal("the pipeline refused an exchange")
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// without takes away what may differ between two reports of the same.
func without(m *MirrorReport) *MirrorReport {
	m.Since = m.Since.UTC().Truncate(time.Millisecond)
	for i := range m.Clusters {
		c := &m.Clusters[i]
		c.First, c.Last = c.First.UTC().Truncate(time.Millisecond), c.Last.UTC().Truncate(time.Millisecond)
		for j := range c.Differences {
			c.Differences[j].Primary.Hash, c.Differences[j].Shadow.Hash = 0, 0
		}
	}
	return m
}

func TestARestartResumesWhereItWas(t *testing.T) {
	t.Parallel()
	kept := memory.New()
	s := open(t, "", Options{Offline: true, Store: kept})
	learned(s)
	s.wait()
	s.close()
	before := without(s.mirror())
	if before.Verdict != judge.Fail || len(before.Clusters) != 1 || len(before.Clusters[0].Examples) == 0 {
		t.Fatalf("%s with %d clusters", before.Verdict, len(before.Clusters))
	}
	again := open(t, "", Options{Offline: true, Store: kept})
	if diff := cmp.Diff(before, without(again.mirror())); diff != "" {
		t.Error("after a restart:\n" + diff)
	}
	id := before.Clusters[0].Examples[0]
	first, _ := s.pipeline.Pair(id)
	second, ok := again.pipeline.Pair(id)
	if !ok || first.Request.Head != second.Request.Head || first.Shadow.Body != second.Shadow.Body {
		t.Errorf("example %s is %+v, was %+v", id, second, first)
	}
	learned(again)
	again.wait()
	if got := again.mirror().Pairs; got != 800 {
		t.Errorf("%d pairs after 400 more, want 800", got)
	}
	// Another way to compare is another question.
	other := open(t, "compare: {rules: [{path: body.price, ignore: true}]}", Options{Offline: true, Store: kept})
	if m := other.mirror(); m.Pairs != 0 || len(m.Clusters) != 0 {
		t.Errorf("with other rules: %d pairs, %d clusters", m.Pairs, len(m.Clusters))
	}
}

func TestApplyKeepsWhatStaysAndForgetsWhatChanges(t *testing.T) {
	t.Parallel()
	s := open(t, "", Options{Offline: true})
	learned(s)
	s.wait()
	for _, step := range []struct {
		mirror string
		want   int64
	}{{"timeout: 3s", 400}, {"compare: {rules: [{path: body.price, ignore: true}]}", 0}} {
		if err := s.pipeline.Apply(parse(t, "", step.mirror)); err != nil {
			t.Fatal(err)
		}
		if got := s.mirror().Pairs; got != step.want {
			t.Errorf("%s: %d pairs, want %d", step.mirror, got, step.want)
		}
	}
	learned(s)
	s.wait()
	if m := s.mirror(); m.Pairs != 400 || m.Classes[compare.Diff] != 0 {
		t.Errorf("%d pairs of classes %v", m.Pairs, m.Classes)
	}
	s.pipeline.mirrors[label{"r", 0, "b"}].passed = 3
	if r := s.pipeline.Report(); r.Lost["learning"] != 3 {
		t.Errorf("lost %v", r.Lost)
	}
	if err := s.pipeline.Reset("b"); err != nil || s.mirror().Pairs != 0 {
		t.Errorf("after a reset: %v, %d pairs", err, s.mirror().Pairs)
	}
	if r := s.pipeline.Report(); r.Lost["learning"] != 0 {
		t.Errorf("lost after a reset %v", r.Lost)
	}
	if err := s.pipeline.Apply(parse(t, "", "compare: {percent: 0}")); err != nil {
		t.Fatal(err)
	}
	if r := s.pipeline.Report(); len(r.Mirrors) != 0 || r.Verdict != judge.NotEnoughTraffic {
		t.Errorf("nothing is compared: %d mirrors, %s", len(r.Mirrors), r.Verdict)
	}
}

func TestWhatChangesMeanwhileIsDrift(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", Options{Asker: shadow(func(*Question) *traffic.Outcome {
			o := answer{body: `{"stock":4}`}.outcome(0)
			return &o
		})})
		for i := range 300 {
			theirs := `{"stock":4}`
			if i%100 == 50 {
				theirs = `{"stock":5}`
			}
			s.offer(fmt.Sprintf("GET /a?n=%d", i), answer{body: `{"stock":4}`}, answer{body: theirs})
			<-time.After(20 * time.Millisecond)
		}
		s.wait()
		s.close()
		want := map[compare.Class]int64{compare.Match: 297, compare.StateDrift: 3}
		if diff := cmp.Diff(want, s.mirror().Classes); diff != "" {
			t.Error(diff)
		}
	})
}

// However many different things come, what is kept of them is bounded.
func TestMemoryIsBoundedWhateverComes(t *testing.T) {
	s := open(t, "", Options{Offline: true})
	const all = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		x := s.exchange(fmt.Sprintf("GET /w%x/%d?q%d=%d\nx-h%d: v%d", i*7919, i, i, i, i, i),
			answer{body: fmt.Sprintf(`{"a%d":1,"b":%d}`, i, i)}, answer{body: fmt.Sprintf(`{"c%d":"x","b":%d}`, i, -i)})
		for !s.pipeline.Offer(x) {
			s.wait()
		}
	}
	s.wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	// 500 endpoints of 256 places, 256 clusters of ten examples.
	const most = 256 << 20
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
		t.Errorf("%d MiB are kept of %d pairs", grown>>20, all)
	}
	m := s.mirror()
	if len(m.Clusters) > mostReported || len(m.Endpoints) > 1000 {
		t.Errorf("%d clusters, %d endpoints", len(m.Clusters), len(m.Endpoints))
	}
	for _, state := range s.pipeline.mirrors {
		if len(state.clusters.all) > mostClusters+1 || len(state.clusters.exact) > 4*mostClusters+1 {
			t.Errorf("%d clusters with %d signatures", len(state.clusters.all), len(state.clusters.exact))
		}
		for _, e := range state.endpoints {
			if len(e.Places) > mostPlaces || len(e.held) > mostHeld {
				t.Errorf("%s: %d places, %d held", e.Name, len(e.Places), len(e.held))
			}
		}
	}
	runtime.KeepAlive(s)
}
