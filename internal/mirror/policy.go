package mirror

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Policy is one mirror of one rule, compiled. It is immutable and shared by
// all loops.
type Policy struct {
	Def     *config.Mirror
	Backend *upstream.Backend
	State   *State

	edit    *http1.Edit // the route's changes followed by the mirror's own
	matcher *route.Matcher
	marker  []byte
	calls   []call // that are copied although they may write

	compared uint64 // share of the requests whose answers are compared, as a part of 2^64
}

// adaptive says whether the governor may lower the mirror's share.
func (p *Policy) adaptive() bool {
	return !p.Def.Layer4 && (p.Def.Backoff.Adaptive == nil || *p.Def.Backoff.Adaptive)
}

// Compile makes the policy for mirror def of a rule whose own request header
// changes are edit. state must be the one for the route and the mirror's name;
// rules of one route that mirror under one name share it, and the bounds of the
// last one count. When all policies of a configuration are compiled,
// Registry.Retire puts their shares in force. One goroutine compiles.
func Compile(def *config.Mirror, edit *http1.Edit, backend *upstream.Backend, state *State) (*Policy, error) {
	p := &Policy{Def: def, Backend: backend, State: state}
	if def.Match != nil {
		matcher, err := route.CompileMatch(def.Match)
		if err != nil {
			return nil, fmt.Errorf("compile match of mirror %s: %w", def.Name, err)
		}
		p.matcher = matcher
	}
	p.edit = edit.Then(Edit(def.Headers))
	if def.Marker == nil || *def.Marker {
		p.marker = []byte(def.Name)
	}
	p.calls = calls(def.GRPCMethods)
	p.compared = PartOf64(def.Compare.Percent)
	state.configure(def)
	return p, nil
}

// PartOf64 turns a percentage, nil for all, into a part of 2^64.
func PartOf64(percent *float64) uint64 {
	if percent == nil || *percent >= 100 {
		return 1<<64 - 1
	}
	return uint64(*percent / 100 * (1 << 63) * 2)
}

// Edit compiles header changes; nil if there are none.
func Edit(e config.HeaderEdit) *http1.Edit {
	if len(e.Set)+len(e.Add)+len(e.Remove) == 0 {
		return nil
	}
	return http1.NewEdit(e.Remove, headers(e.Set), headers(e.Add))
}

func headers(in []config.Header) []http1.Header {
	out := make([]http1.Header, len(in))
	for i, h := range in {
		out[i] = http1.Header(h)
	}
	return out
}

// State is what all loops share about a mirror: its bounds and its breaker.
// It outlives configurations, so that a reload neither forgets a sick shadow
// nor lends it a second set of bounds. It is safe for many goroutines.
type State struct {
	Route   string // labels of its books
	Name    string
	Breaker Breaker

	id       int // dense
	backend  string
	share    atomic.Uint64 // configured, 0 to 1, as the bits of a float64
	compiled float64       // largest share of any policy compiled since Retire
	memory   spool.Budget
	rate     rate
	inFlight spool.Budget // copies sent and not yet answered
	queued   atomic.Int64
	limits   atomic.Pointer[config.Limits]
	lastCopy atomic.Int64 // Unix ns
	writes   sync.Once    // the first skipped write is logged
	upgrades sync.Once    // and the first skipped WebSocket
	calls    sync.Once    // and the first skipped gRPC call

	datagrams atomic.Pointer[datagrams] // nil until used
}

// off says that the configuration in force copies nothing to this mirror.
func (s *State) off() bool { return s.share.Load() == 0 }

func (s *State) configure(def *config.Mirror) {
	limits := def.Limits
	if limits.Connections > 0 {
		limits.InFlight = min(limits.InFlight, limits.Connections*max(def.Pipeline, 1))
	}
	s.limits.Store(&limits)
	s.memory.SetLimit(int64(limits.Memory))
	s.inFlight.SetLimit(int64(limits.InFlight))
	s.rate.set(limits.Rate)
	s.compiled = max(s.compiled, float64(def.Numerator)/float64(max(def.Denominator, 1)))
	s.Breaker.Configure(def.Backoff.Failures, time.Duration(def.Backoff.Base), time.Duration(def.Backoff.Max))
}

// Registry holds the states of all mirrors, and the bound on the memory of all
// copies together. It is safe for many goroutines.
type Registry struct {
	// Changed, if not nil, is told when a breaker changes. It must not block.
	Changed func(s *State, b BreakerState, pause time.Duration)

	memory   spool.Budget
	inFlight spool.Budget
	mu       sync.Mutex
	states   map[stateKey]*State
	list     []*State
	senders  sync.WaitGroup // of datagrams
}

type stateKey struct{ route, name, backend string }

// NewRegistry returns an empty registry, which allows nothing before SetLimits.
func NewRegistry() *Registry {
	return &Registry{states: map[stateKey]*State{}}
}

// SetLimits sets the bounds on the copies of all mirrors together.
func (r *Registry) SetLimits(c config.Copies) {
	r.memory.SetLimit(int64(c.Memory))
	r.inFlight.SetLimit(int64(c.InFlight))
}

// State returns the state of a mirror, a new one if it has not been seen.
func (r *Registry) State(routeName, mirror, backend string) *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := stateKey{routeName, mirror, backend}
	s := r.states[key]
	if s == nil {
		s = &State{Route: routeName, Name: mirror, id: len(r.list), backend: backend}
		s.memory.Parent, s.inFlight.Parent = &r.memory, &r.inFlight
		s.Breaker.Changed = func(b BreakerState, pause time.Duration) {
			if r.Changed != nil {
				r.Changed(s, b, pause)
			}
		}
		r.states[key] = s
		r.list = append(r.list, s)
	}
	return s
}

// Retire puts the shares in force with which the mirrors in keep were compiled,
// and turns off every mirror that is not in keep: copies that still wait to be
// sent to it are dropped.
func (r *Registry) Retire(keep map[*State]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.list {
		share := s.compiled
		s.compiled = 0
		if !keep[s] {
			share = 0
		}
		s.share.Store(math.Float64bits(share))
	}
}

func (r *Registry) all() []*State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}
