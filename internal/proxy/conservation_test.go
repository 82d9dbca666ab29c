package proxy

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// fates is a sink that counts how copies ended, by mirror and "fate reason".
type fates struct {
	mu        sync.Mutex
	exchanges map[*traffic.Exchange]bool
	copies    map[string]map[string]uint64
	twice     int
}

// Offer implements traffic.Sink.
func (f *fates) Offer(x *traffic.Exchange) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.exchanges[x] {
		f.twice++
	}
	f.exchanges[x] = true
	for i := range x.Copies {
		o := &x.Copies[i]
		if f.copies[o.Mirror] == nil {
			f.copies[o.Mirror] = map[string]uint64{}
		}
		f.copies[o.Mirror][strings.TrimSpace(string(o.Fate)+" "+string(o.Reason))]++
	}
	return true
}

// looker is a sink that looks at captured exchanges on a goroutine of its own, and
// refuses them while it is behind.
type looker struct {
	queue chan *traffic.Exchange
	wg    sync.WaitGroup
	n     uint64 // looked at
}

func look(t *testing.T) *looker {
	l := &looker{queue: make(chan *traffic.Exchange, 8)}
	l.wg.Go(func() {
		for x := range l.queue {
			sound(t, x)
			x.Release()
			l.n++
		}
	})
	return l
}

// finish looks at what is left, and returns how many there were in all.
func (l *looker) finish() uint64 {
	close(l.queue)
	l.wg.Wait()
	return l.n
}

// Offer implements traffic.Sink.
func (l *looker) Offer(x *traffic.Exchange) bool {
	select {
	case l.queue <- x:
		return true
	default:
		return false
	}
}

// written is what the books say, as fates counts it. Skipped copies were never
// selected and are told too.
func written(m *telemetry.Mirror) map[string]uint64 {
	out := map[string]uint64{}
	if m.Completed > 0 {
		out["completed"] = m.Completed
	}
	for fate, counts := range map[traffic.Fate]map[traffic.Reason]uint64{traffic.Skipped: m.Skipped, traffic.Dropped: m.Dropped, traffic.Failed: m.Failed} {
		for reason, n := range counts {
			out[string(fate)+" "+string(reason)] = n
		}
	}
	return out
}

func sumOf(counts map[traffic.Reason]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// watcher compares snapshots with what must hold at every moment.
type watcher struct {
	*testing.T
	before map[string]telemetry.Mirror
	most   int64 // bytes that copies of one mirror may hold
	seen   int
}

// look checks a snapshot.
func (w *watcher) look(snap *telemetry.Snapshot) {
	w.seen++
	if c := snap.Capture; c.Drawn != c.Taken+sumOf(c.Lost)+uint64(c.InFlight) || c.Memory > 1<<20 {
		w.Errorf("snapshot %d: captures %+v", w.seen, c)
	}
	for i := range snap.Mirrors {
		m := snap.Mirrors[i]
		if sum := m.Completed + sumOf(m.Dropped) + sumOf(m.Failed) + m.InFlight; m.Selected != sum {
			w.Errorf("snapshot %d, mirror %s: %d selected, but %d completed, %v dropped, %v failed and %d in flight are %d",
				w.seen, m.Name, m.Selected, m.Completed, m.Dropped, m.Failed, m.InFlight, sum)
		}
		b := w.before[m.Name]
		if m.Selected < b.Selected || m.Completed < b.Completed || m.Bytes < b.Bytes || sumOf(m.Dropped) < sumOf(b.Dropped) || sumOf(m.Failed) < sumOf(b.Failed) || sumOf(m.Skipped) < sumOf(b.Skipped) {
			w.Errorf("snapshot %d, mirror %s: a counter went back: %+v after %+v", w.seen, m.Name, m, b)
		}
		if m.Queued > m.InFlight || m.Memory < 0 || m.Memory > w.most {
			w.Errorf("snapshot %d, mirror %s: %d of %d in flight wait, and %d bytes are held", w.seen, m.Name, m.Queued, m.InFlight, m.Memory)
		}
		w.before[m.Name] = m
	}
	for name := range w.before {
		if !slices.ContainsFunc(snap.Mirrors, func(m telemetry.Mirror) bool { return m.Name == name }) {
			w.Errorf("snapshot %d: the books of mirror %s are gone", w.seen, name)
		}
	}
}

// troubled are configurations of the same live route with mirrors that change:
// limits, shares, endpoints and whether they are there at all.
func troubled(t *testing.T, primary string, odd [2]string, refused, well string) (list []*config.Config) {
	t.Helper()
	const small = "backoff: {failures: 6, base: 10ms, max: 40ms}, timeout: 120ms"
	for _, mirrors := range []string{`
          - {name: odd, backend: odd, writes: copy, retry: true, limits: {inFlight: 6, queue: 8, memory: 256KiB}, body: {limit: 100KiB}, ` + small + `}
          - {name: piped, backend: piped, writes: copy, pipeline: 4, limits: {inFlight: 8, queue: 4}, body: {limit: 64KiB, overLimit: headers}, ` + small + `}
          - {name: well, backend: well, writes: copy, percent: 50, body: {limit: 64KiB, overLimit: truncate}, limits: {rate: 400}}
          - {name: sick, backend: sick, limits: {inFlight: 2}, backoff: {failures: 2, base: 10ms, max: 20ms}}`, `
          - {name: odd, backend: odd, writes: copy, percent: 70, limits: {inFlight: 3, queue: 2, memory: 128KiB}, key: {header: x-user}, ` + small + `}
          - {name: piped, backend: piped, writes: copy, pipeline: 8, percent: 90, limits: {inFlight: 20}, ` + small + `}
          - {name: well, backend: well, host: backend, limits: {inFlight: 1, queue: 1}}`, `
          - {name: piped, backend: piped, percent: 0}
          - {name: well, backend: well, writes: copy, pipeline: 2, headers: {set: [{name: x-a, value: b}]}}
          - {name: sick, backend: sick, retry: true}`} {
		i := len(list)
		list = append(list, parse(t, fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
workers: 2
capture: {body: 8KiB, memory: 512KiB}
shutdown: {drain: 10s, copies: 200ms}
accessLog: {path: "-"}
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:%s
backends:
  - {name: v1, endpoints: ["%s"]}
  - {name: odd, endpoints: ["%s", "%s"], balance: LeastRequest, health: {failures: 2, eject: 20ms}}
  - {name: piped, endpoints: ["%s"], connectTimeout: 100ms}
  - {name: well, endpoints: ["%s"]}
  - {name: sick, endpoints: ["%s"]}
`, mirrors, primary, odd[0], refused, odd[i%2], well, refused)))
	}
	return list
}

// The promise of the product: whatever shadows do, and whatever clients and
// operators do meanwhile, copies are neither lost nor counted twice, not for a
// moment, and no live request notices. Seeds decide what everybody does, the
// system decides when; a failure is a bug and never chance. Only that something
// of every kind happened is left to chance: that of more than 500 copies to each
// of two shadows, with small bounds, none completed, none failed or none was
// dropped, with chances of more than 0.05 each, is less likely than 10⁻¹⁰.
func TestCopiesAreConservedInAnyTrouble(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		const seed = 2
		refused, well := refusing(t), honest(t)
		primary := honest(t)
		configs := troubled(t, primary, [2]string{misbehaving(t, seed), misbehaving(t, seed+1)}, refused, well)
		sink := &fates{exchanges: map[*traffic.Exchange]bool{}, copies: map[string]map[string]uint64{}}
		looked := look(t)
		s, err := New(configs[0], Options{Driver: d, Sinks: []traffic.Sink{sink}, Capture: looked})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		addr := s.Addrs()["web"].String()

		ctx, stop := context.WithCancel(context.Background())
		var operators, clients sync.WaitGroup
		w := &watcher{T: t, before: map[string]telemetry.Mirror{}, most: 32<<20 + 1<<20}
		operators.Go(func() {
			for ctx.Err() == nil {
				w.look(s.Snapshot())
			}
		})
		operators.Go(func() { reload(ctx, t, s, configs) })
		for i := range uint64(6) {
			clients.Go(func() { behave(t, addr, rand.New(rand.NewPCG(seed, i)), 150) })
			clients.Go(func() { leave(t, addr, rand.New(rand.NewPCG(seed, 100+i)), 40) })
		}
		clients.Wait()
		stop()
		operators.Wait()

		drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(drain); err != nil {
			t.Error(err)
		}
		seen := looked.finish()
		snap := s.Snapshot()
		w.look(snap)
		balanced(t, snap)
		t.Logf("%d snapshots, %d reloads, %d exchanges, captures %+v", w.seen, snap.Reloads, len(sink.exchanges), snap.Capture)
		if seen != snap.Capture.Taken || seen == 0 {
			t.Errorf("%d captures were looked at: %+v", seen, snap.Capture)
		}
		settledBooks(t, snap, sink, "odd", "piped", "sick", "well")
	})
}

// settledBooks checks the books of a proxy that has drained against what the
// sink was told.
func settledBooks(t *testing.T, snap *telemetry.Snapshot, sink *fates, mirrors ...string) {
	t.Helper()
	var requests uint64
	for _, l := range snap.Live {
		if l.Errors[traffic.Primary]+l.Errors[traffic.Internal]+l.Errors[traffic.Shadow] != 0 {
			t.Errorf("live requests failed: %v", l.Errors)
		}
		for _, n := range l.Codes {
			requests += n
		}
	}
	if sink.twice != 0 || requests != uint64(len(sink.exchanges)) {
		t.Errorf("%d requests, but %d exchanges were handed over, %d of them twice", requests, len(sink.exchanges), sink.twice)
	}
	names := map[string]bool{}
	var completed, dropped, failed uint64
	for i := range snap.Mirrors {
		m := &snap.Mirrors[i]
		names[m.Name] = true
		if m.InFlight != 0 || m.Queued != 0 || m.Memory != 0 {
			t.Errorf("mirror %s: after the end %d in flight, %d in the queue, %d bytes held", m.Name, m.InFlight, m.Queued, m.Memory)
		}
		if diff := cmp.Diff(written(m), sink.copies[m.Name]); diff != "" {
			t.Errorf("mirror %s: the books (-) and the exchanges (+) differ:\n%s", m.Name, diff)
		}
		t.Logf("%s: %d selected: %v", m.Name, m.Selected, written(m))
		completed += m.Completed
		dropped += sumOf(m.Dropped)
		failed += sumOf(m.Failed)
	}
	// One mirror alone may have none of a kind on a busy machine.
	if completed == 0 || dropped == 0 || failed == 0 {
		t.Errorf("no trouble: %d completed, %d dropped, %d failed", completed, dropped, failed)
	}
	if diff := cmp.Diff(mirrors, slices.Sorted(maps.Keys(names))); diff != "" {
		t.Error(diff)
	}
}

// reload puts one configuration after another in force.
func reload(ctx context.Context, t *testing.T, s *Server, configs []*config.Config) {
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(7 * time.Millisecond): // long enough for copies to be made
		}
		if _, err := s.Apply(configs[i%len(configs)]); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
	}
}
