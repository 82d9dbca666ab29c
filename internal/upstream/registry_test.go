package upstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

// logged collects what is logged from any goroutine.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func defs(t *testing.T, backends ...string) (out []config.Backend) {
	t.Helper()
	for _, b := range backends {
		name, addresses, _ := strings.Cut(b, "=")
		out = append(out, config.Backend{Name: name, Endpoints: strings.Fields(addresses)})
	}
	return out
}

// inForce writes down the backends of r, with a letter for each endpoint object.
func inForce(r *Registry, letters map[*Endpoint]string) (out []string) {
	for _, b := range r.All() {
		line := b.Name + "="
		for _, e := range b.Endpoints() {
			if letters[e] == "" {
				letters[e] = string(rune('A' + len(letters)))
			}
			line += " " + letters[e] + ":" + e.Address
			if e.Backend != b {
				line += " of another"
			}
		}
		out = append(out, line)
	}
	return out
}

func TestUpdateKeepsWhatStays(t *testing.T) {
	t.Parallel()
	r := NewRegistry(slog.New(slog.DiscardHandler))
	defer r.Close()
	letters := map[*Endpoint]string{}
	gone := func() (list string) {
		for e, letter := range letters {
			if e.gone.Load() {
				list += letter
			}
		}
		return list
	}
	for i, step := range []struct {
		update []config.Backend
		want   []string
		gone   int
	}{
		{defs(t, "b=10.0.0.1:1 10.0.0.2:1", "a=10.0.0.1:1"), []string{"a= A:10.0.0.1:1", "b= B:10.0.0.1:1 C:10.0.0.2:1"}, 0},
		{defs(t, "b=10.0.0.2:1 10.0.0.1:1", "a=10.0.0.1:1"), []string{"a= A:10.0.0.1:1", "b= C:10.0.0.2:1 B:10.0.0.1:1"}, 0},
		{defs(t, "b=10.0.0.2:1 10.0.0.3:1", "a=10.0.0.1:1"), []string{"a= A:10.0.0.1:1", "b= C:10.0.0.2:1 D:10.0.0.3:1"}, 1},
		{defs(t, "b=10.0.0.2:1"), []string{"b= C:10.0.0.2:1"}, 3},
		// One that comes back has no memory.
		{defs(t, "b=10.0.0.2:1 10.0.0.3:1", "a=10.0.0.1:1"), []string{"a= E:10.0.0.1:1", "b= C:10.0.0.2:1 F:10.0.0.3:1"}, 3},
		{nil, nil, 6},
	} {
		r.Update(step.update)
		if diff := cmp.Diff(step.want, inForce(r, letters)); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
		if got := gone(); len(got) != step.gone {
			t.Errorf("step %d: %s are gone, want %d", i, got, step.gone)
		}
	}
	if r.Get("b") != nil {
		t.Error("a backend that is gone can be had")
	}
}

func TestEndpointsHaveDistinctNumbers(t *testing.T) {
	t.Parallel()
	r := NewRegistry(slog.New(slog.DiscardHandler))
	defer r.Close()
	seen := map[int]bool{}
	for _, update := range [][]config.Backend{defs(t, "a=1.1.1.1:1 1.1.1.2:1", "b=1.1.1.1:1"), defs(t, "a=1.1.1.3:1"), defs(t, "c=1.1.1.1:1")} {
		r.Update(update)
		for _, b := range r.All() {
			for _, e := range b.Endpoints() {
				seen[e.id] = true
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d numbers for 5 endpoints", len(seen))
	}
}

// A name that cannot be looked up is told, and found without asking anybody
// outside: it is not a name.
func TestNameWithoutAddressIsLogged(t *testing.T) {
	t.Parallel()
	var log logged
	r := NewRegistry(slog.New(slog.NewTextHandler(&log, nil)))
	defer r.Close()
	r.Update(defs(t, "shop=no..name:80 127.0.0.1:81"))
	if got := log.text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="no address for endpoint" backend=shop endpoint=no..name:80 error=`) {
		t.Errorf("logged %q", got)
	}
	if n := len(*r.Get("shop").Endpoints()[0].addrs.Load()); n != 0 {
		t.Errorf("%d addresses, want none", n)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, first string }{
		{"localhost:80", "127.0.0.1:80"},
		{"127.0.0.1:80", "127.0.0.1:80"},
		{"[::1]:80", "[::1]:80"},
		{"localhost", ""},
		{"localhost:http", ""},
		{"localhost:65536", ""},
		{"no..name:80", ""},
	} {
		addrs, err := lookup(t.Context(), c.address)
		got := ""
		if err == nil {
			got = addrs[0].String()
		}
		if got != c.first {
			t.Errorf("%s: %q, %v, want %q", c.address, got, err, c.first)
		}
	}
}

// What is in force stays so, whole, until all of the next is ready: a request
// never sees an endpoint whose address is not known yet.
func TestEndpointsAreReadyBeforeTheyAreInForce(t *testing.T) {
	t.Parallel()
	r := NewRegistry(slog.New(slog.DiscardHandler))
	defer r.Close()
	r.Update(defs(t, "a=127.0.0.1:1"))
	b := r.Get("a")
	asked, answer := make(chan struct{}), make(chan struct{})
	r.lookup = func(context.Context, string) ([]netip.AddrPort, error) {
		close(asked)
		<-answer
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:2")}, nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Update(defs(t, "a=shop.example.com:2"))
	}()
	await(t, asked, "the lookup")
	if e := b.Endpoints()[0]; e.Address != "127.0.0.1:1" || e.gone.Load() {
		t.Errorf("during the lookup %s is in force, gone %v", e.Address, e.gone.Load())
	}
	close(answer)
	await(t, done, "the update")
	if e := b.Endpoints()[0]; e.Address != "shop.example.com:2" || (*e.addrs.Load())[0].String() != "127.0.0.2:2" {
		t.Errorf("after the lookup %s is in force, at %v", e.Address, *e.addrs.Load())
	}
}

// A lookup that fails leaves the addresses of the one before.
func TestAddressesOutliveAFailedLookup(t *testing.T) {
	t.Parallel()
	r := NewRegistry(slog.New(slog.DiscardHandler))
	defer r.Close()
	r.Update(defs(t, "a=localhost:80"))
	e := r.Get("a").Endpoints()[0]
	r.lookup = func(context.Context, string) ([]netip.AddrPort, error) { return nil, errors.New("no server") }
	r.resolve(t.Context(), []*Endpoint{e})
	if addrs := *e.addrs.Load(); len(addrs) == 0 || addrs[0].String() != "127.0.0.1:80" {
		t.Errorf("addresses %v, want those of before", addrs)
	}
}

func TestConnectionsOfAGoneEndpointEnd(t *testing.T) {
	drivers(t, func(r *rig) {
		serving, answer := make(chan struct{}), make(chan struct{})
		address := r.serve(func(p *peer) {
			p.expect("/idle ")
			p.answer("idle")
			p.end()
		}, func(p *peer) {
			p.expect("/busy ")
			close(serving)
			<-answer
			p.answer("busy")
			p.end()
		})
		e := r.endpoint(address)
		busy, idle := r.get("busy"), r.get("idle")
		r.send(e, idle)
		idle.succeeds(200, "idle")
		r.on(func() { // the pooled connection is not to be had for a moment
			c := r.client.pool(e).idle[0]
			c.place = nowhere
			r.client.pool(e).idle = nil
			r.client.Send(&busy.Call, e)
			c.setPlace()
		})
		await(t, serving, "the busy call")

		r.endpoint("127.0.0.1:1") // another configuration
		r.on(func() { r.client.CloseIdle(false) })
		if load := r.load(e); load.Idle != 0 || load.InFlight != 1 {
			t.Errorf("%+v, want the busy connection only", load)
		}
		close(answer)
		busy.succeeds(200, "busy")
		r.on(func() { r.client.CloseIdle(false) })
		if load := r.load(e); load != (Load{}) {
			t.Errorf("%+v is still known of an endpoint that is gone", load)
		}
	})
}

func TestCloseIdleLeavesEndpointsInForceAlone(t *testing.T) {
	drivers(t, func(r *rig) {
		e := r.endpoint(r.serve(func(p *peer) {
			first(p)
			next(p)
		}))
		r.idle(e)
		r.on(func() { r.client.CloseIdle(false) })
		r.goesOn(e)
		r.on(func() { r.client.CloseIdle(true) })
		if load := r.load(e); load.Idle != 0 || load.Requests != 2 {
			t.Errorf("%+v, want no connection and 2 requests", load)
		}
	})
}
