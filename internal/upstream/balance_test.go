package upstream

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

// still is a client whose loop does not run: enough to choose endpoints.
func still(t *testing.T, def config.Backend) (*Client, *Backend, []*Endpoint) {
	t.Helper()
	l, err := loop.New(loop.Go)
	if err != nil {
		t.Fatal(err)
	}
	registry := NewRegistry(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		registry.Close()
		l.Stop()
		l.Run()
	})
	registry.Update([]config.Backend{def})
	b := registry.Get(def.Name)
	var pool spool.Pool
	return &Client{Loop: l, Pool: &pool, Intake: spool.NewIntake(&pool)}, b, b.Endpoints()
}

func three(balance config.Balance) config.Backend {
	return config.Backend{
		Name: "b", Balance: balance,
		Endpoints: []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"},
		Health:    config.Health{Failures: 1, Eject: config.Timeout(time.Hour)},
	}
}

// picked counts by endpoint what n picks choose.
func picked(cl *Client, b *Backend, avoid *Endpoint, n int) []int {
	counts := make([]int, len(b.Endpoints()))
	for range n {
		e := cl.Pick(b, avoid)
		for i, other := range b.Endpoints() {
			if e == other {
				counts[i]++
			}
		}
	}
	return counts
}

func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	cl, b, all := still(t, three(config.RoundRobin))
	if diff := cmp.Diff([]int{10, 10, 10}, picked(cl, b, nil, 30)); diff != "" {
		t.Error(diff)
	}
	all[1].live.failed(all[1], cl.Loop.Now())
	if diff := cmp.Diff([]int{15, 0, 15}, picked(cl, b, nil, 30)); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointIsPickedThoughAllAreEjected(t *testing.T) {
	t.Parallel()
	cl, b, all := still(t, three(config.RoundRobin))
	for _, e := range all {
		e.live.failed(e, cl.Loop.Now())
	}
	if diff := cmp.Diff([]int{10, 10, 10}, picked(cl, b, nil, 30)); diff != "" {
		t.Error(diff)
	}
}

func TestAvoidedEndpointIsPickedOnlyAlone(t *testing.T) {
	t.Parallel()
	for _, balance := range []config.Balance{config.RoundRobin, config.LeastRequest} {
		cl, b, all := still(t, three(balance))
		counts := picked(cl, b, all[0], 30)
		if counts[0] != 0 || counts[1] == 0 || counts[2] == 0 {
			t.Errorf("%s: %v, want none of the first", balance, counts)
		}
		// Better one that is ejected than the one that has just failed.
		all[1].live.failed(all[1], cl.Loop.Now())
		all[2].live.failed(all[2], cl.Loop.Now())
		if counts := picked(cl, b, all[0], 30); counts[0] != 0 {
			t.Errorf("%s: %v, want none of the first", balance, counts)
		}

		def := three(balance)
		def.Endpoints = def.Endpoints[:1]
		cl, b, all = still(t, def)
		if got := cl.Pick(b, all[0]); got != all[0] {
			t.Errorf("%s: %v, want the only one", balance, got)
		}
	}
}

func TestBackendWithoutEndpointsHasNoneToPick(t *testing.T) {
	t.Parallel()
	def := three(config.RoundRobin)
	def.Endpoints = nil
	cl, b, _ := still(t, def)
	if e := cl.Pick(b, nil); e != nil {
		t.Errorf("picked %v", e)
	}
}

func TestLeastRequestPicksTheEndpointWithTheFewest(t *testing.T) {
	t.Parallel()
	cl, b, all := still(t, three(config.LeastRequest))
	for i, n := range []int{2, 1, 3} {
		cl.pool(all[i]).inFlight = n
	}
	if diff := cmp.Diff([]int{0, 5, 0}, picked(cl, b, nil, 5)); diff != "" {
		t.Error(diff)
	}
	all[1].live.failed(all[1], cl.Loop.Now())
	if diff := cmp.Diff([]int{5, 0, 0}, picked(cl, b, nil, 5)); diff != "" {
		t.Error(diff)
	}
	all[1].live.succeeded()
	for i := range all {
		cl.pool(all[i]).inFlight = 1
	}
	// Equals take turns.
	if diff := cmp.Diff([]int{10, 10, 10}, picked(cl, b, nil, 30)); diff != "" {
		t.Error(diff)
	}
}

// Ejections grow from the configured time to eight times as long, and an answer
// ends them.
func TestEjectionsDoubleAndAnAnswerEndsThem(t *testing.T) {
	t.Parallel()
	def := three(config.RoundRobin)
	def.Health = config.Health{Failures: 3, Eject: config.Timeout(5 * time.Second)}
	_, _, all := still(t, def)
	e := all[0]
	now := time.Hour
	ejectedFor := func() time.Duration {
		until, ejected := e.Ejected(now)
		if !ejected {
			return 0
		}
		return until - now
	}
	var got []time.Duration
	for range 2 {
		e.live.failed(e, now)
		got = append(got, ejectedFor())
	}
	for range 6 {
		e.live.failed(e, now)
		got = append(got, ejectedFor())
		e.live.failed(e, now+time.Second) // while ejected: was sent before
		got = append(got, ejectedFor())
		now += 50 * time.Second
		if _, ejected := e.Ejected(now); ejected {
			t.Fatal("an ejection does not end")
		}
	}
	want := []time.Duration{0, 0, 5, 5, 10, 10, 20, 20, 40, 40, 40, 40, 40, 40}
	for i := range want {
		want[i] *= time.Second
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	e.live.failed(e, now)
	e.live.succeeded()
	if ejectedFor() != 0 {
		t.Error("an endpoint that answers is ejected")
	}
	for range 2 {
		e.live.failed(e, now)
		if ejectedFor() != 0 {
			t.Error("ejected after fewer failures than configured")
		}
	}
	e.live.failed(e, now)
	if got := ejectedFor(); got != 5*time.Second {
		t.Errorf("ejected for %s after it was well, want 5s", got)
	}
	if got := e.Failures(); got != 2+12+1+3 {
		t.Errorf("%d failures, want 18", got)
	}
}

func TestEndpointIsNeverEjectedIfConfiguredSo(t *testing.T) {
	t.Parallel()
	def := three(config.RoundRobin)
	def.Health.Failures = -1
	_, _, all := still(t, def)
	for range 100 {
		all[0].live.failed(all[0], time.Hour)
	}
	if _, ejected := all[0].Ejected(time.Hour); ejected {
		t.Error("ejected")
	}
}

// A backend that gets both live requests and copies keeps its endpoints for the
// former whatever becomes of the latter.
func TestCopiesDoNotEjectForLiveRequests(t *testing.T) {
	t.Parallel()
	cl, b, all := still(t, three(config.RoundRobin))
	copies := &Client{Loop: cl.Loop, Pool: cl.Pool, Intake: cl.Intake, Late: true}
	now := cl.Loop.Now()
	copies.health(all[0]).failed(all[0], now)
	if counts := picked(copies, b, nil, 30); counts[0] != 0 {
		t.Errorf("copies: %v, want none to the first", counts)
	}
	if diff := cmp.Diff([]int{10, 10, 10}, picked(cl, b, nil, 30)); diff != "" {
		t.Errorf("live: %s", diff)
	}
	if _, ejected := all[0].Ejected(now); !ejected || all[0].Failures() != 1 {
		t.Error("people are not told of the failure")
	}
}
