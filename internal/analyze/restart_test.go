package analyze

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/memory"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Tallies of a program with other defaults are of no use to this one.
func TestTalliesOfOtherDefaultsAreNotResumed(t *testing.T) {
	t.Parallel()
	kept := memory.New()
	s := open(t, "", Options{Offline: true, Store: kept})
	learned(s)
	s.wait()
	s.close()
	saved, err := kept.Load(t.Context(), store.Filter{Table: store.Tallies})
	if err != nil || len(saved) != 2 {
		t.Fatalf("%d tallies are saved, want that of an endpoint and that of all: %v", len(saved), err)
	}
	for i := range saved {
		text := string(saved[i].Value)
		if !strings.Contains(text, `"slack":200000`) {
			t.Fatalf("no slack in %s", text)
		}
		saved[i].Value = []byte(strings.Replace(text, `"slack":200000`, `"slack":100000`, 1))
	}
	if err := kept.Save(context.Background(), store.Batch{Put: saved}); err != nil {
		t.Fatal(err)
	}
	again := open(t, "", Options{Offline: true, Store: kept})
	if m := again.mirror(); m.Pairs != 0 || len(m.Clusters) != 0 {
		t.Errorf("%d pairs and %d clusters are resumed, want none", m.Pairs, len(m.Clusters))
	}
}

// Pairs that wait when the pipeline is closed wait on when it is opened again, and are
// counted by what is learned then, once.
func TestPairsThatWaitOutliveARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const before, after = 6, 40
		kept := memory.New()
		stock := 0
		odd := func() answer { stock++; return answer{body: fmt.Sprintf(`{"stock":%d}`, stock)} }
		asker := shadow(func(*Question) *traffic.Outcome { o := odd().outcome(0); return &o })
		s := open(t, "", Options{Store: kept, Asker: shadow(func(*Question) *traffic.Outcome { return nil })})
		for range before {
			s.offer("GET /a\nx-tenant: t", answer{body: `{"stock":0}`}, odd())
		}
		<-time.After(3 * saveEvery) // all else is saved, and the shadow does not answer
		s.close()
		waiting := *s.pipeline.mirrors[label{"r", 0, "b"}].endpoints["GET /a"].held[0]
		if m := s.mirror(); m.Held != before || m.Pairs != 0 {
			t.Errorf("closed: %d pairs are held and %d counted, want %d and none", m.Held, m.Pairs, before)
		}
		s = open(t, "", Options{Store: kept, Asker: asker})
		if m := s.mirror(); m.Held != before || m.Pairs != 0 {
			t.Errorf("opened again: %d pairs are held and %d counted, want %d and none", m.Held, m.Pairs, before)
		}
		s.close() // and what was saved once can be saved again
		resumed := *s.pipeline.mirrors[label{"r", 0, "b"}].endpoints["GET /a"].held[0]
		waiting.endpoint, resumed.endpoint = nil, nil
		for _, h := range []*held{&waiting, &resumed} {
			h.pair.Time, h.sight.at, h.sight.example.Time = h.pair.Time.Round(0).UTC(), h.sight.at.Round(0).UTC(), h.sight.example.Time.Round(0).UTC()
			h.findings[0].Primary.Hash, h.findings[0].Shadow.Hash = 0, 0
		}
		if diff := cmp.Diff(waiting, resumed, cmp.AllowUnexported(held{}, finding{}, sight{}, spot{})); diff != "" {
			t.Error("after a restart:\n" + diff)
		}
		s = open(t, "", Options{Store: kept, Asker: asker})
		for range after {
			s.offer("GET /a\nx-tenant: t", answer{body: `{"stock":0}`}, odd())
		}
		s.wait()
		s.close()
		s = open(t, "", Options{Store: kept, Asker: asker})
		if m := s.mirror(); m.Held != 0 || m.Pairs != before+after || m.Classes[compare.NoiseOnly] != before+after {
			t.Errorf("%d pairs are held, %d counted as %v, want none and %d as noise", m.Held, m.Pairs, m.Classes, before+after)
		}
	})
}

func TestSpotsAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	for _, want := range []spot{{"body.items[*].price", compare.Changed}, {`body."a b"`, shape}, {"", compare.Missing}} {
		text, err := want.MarshalText()
		var got spot
		if err == nil {
			err = got.UnmarshalText(text)
		}
		if err != nil || got != want {
			t.Errorf("%v became %s and %v: %v", want, text, got, err)
		}
	}
	if err := new(spot).UnmarshalText([]byte("value")); err == nil {
		t.Error("a kind alone is no spot")
	}
}
