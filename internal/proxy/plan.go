package proxy

import (
	"fmt"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// plan is a Config compiled for serving: immutable, shared by all workers, and
// replaced whole. A worker switches between two requests.
type plan struct {
	config  *config.Config
	table   *route.Table
	rules   []rule  // by route.Rule.ID
	places  []place // by listener.id
	limits  http1.Limits
	sampled uint64 // requests that are logged, as a part of 2^64; 0 = none
}

// place is where a listener is in a configuration.
type place struct {
	index int  // in Config.Listeners, -1 if it is not there
	open  bool // it is there under the same address
}

// place returns where ln is in p. Listeners that are newer than p are nowhere.
func (p *plan) place(ln *listener) place {
	if ln.id < len(p.places) {
		return p.places[ln.id]
	}
	return place{index: -1}
}

// nameOf returns the name of ln in p, empty if it is not there.
func (p *plan) nameOf(ln *listener) string {
	if i := p.place(ln).index; i >= 0 {
		return p.config.Listeners[i].Name
	}
	return ""
}

// rule is a route.Rule with everything it refers to.
type rule struct {
	*route.Rule
	edit     *http1.Edit // request headers
	answer   *http1.Edit // response headers
	backends []choice
	weights  uint64 // of all backends
	mirrors  []*mirror.Policy
	own      int           // live row of answers that no backend gave
	total    time.Duration // timeouts; 0 = off
	backend  time.Duration
	idle     time.Duration
	shortest time.Duration // of the two before
}

// choice is a weighted backend.
type choice struct {
	backend *upstream.Backend
	upTo    uint64 // sum of the weights up to and with this one
	live    int    // row of its books
}

// compile makes the plan for cfg. Routes with problems are left out of the
// plan and reported.
func (s *Server) compile(cfg *config.Config) (*plan, []route.Problem, error) {
	table, problems := route.Compile(cfg)
	p := &plan{
		config: cfg,
		table:  table,
		limits: http1.Limits{Head: int(cfg.Client.HeadLimit), Target: int(cfg.Client.TargetLimit), Fields: cfg.Client.HeaderCount},
	}
	if cfg.AccessLog.Path != "" {
		p.sampled = partOf64(cfg.AccessLog.Percent)
	}
	s.registry.Update(cfg.Backends)
	s.mirrors.SetLimits(cfg.Copies)
	keep := map[*mirror.State]bool{}
	for _, r := range table.Rules() {
		compiled, err := s.compileRule(r, keep)
		if err != nil {
			return nil, problems, fmt.Errorf("route %s, rule %d: %w", r.Route, r.Index, err)
		}
		p.rules = append(p.rules, compiled)
	}
	s.mirrors.Retire(keep)
	return p, problems, nil
}

// partOf64 turns a percentage, nil for all, into a part of 2^64.
func partOf64(percent *float64) uint64 {
	if percent == nil || *percent >= 100 {
		return 1<<64 - 1
	}
	return uint64(*percent / 100 * (1 << 63) * 2)
}

func (s *Server) compileRule(r *route.Rule, keep map[*mirror.State]bool) (rule, error) {
	def := r.Def
	out := rule{
		Rule:    r,
		edit:    mirror.Edit(def.RequestHeaders),
		answer:  mirror.Edit(def.ResponseHeaders),
		own:     s.liveID(r.Route, ""),
		total:   duration(def.Timeouts.Request),
		backend: duration(def.Timeouts.Backend),
		idle:    duration(def.Timeouts.Idle),
	}
	out.shortest = out.backend
	if out.idle > 0 && (out.shortest == 0 || out.idle < out.shortest) {
		out.shortest = out.idle
	}
	for _, ref := range def.Backends {
		weight := 1
		if ref.Weight != nil {
			weight = *ref.Weight
		}
		if weight == 0 {
			continue
		}
		out.weights += uint64(weight)
		out.backends = append(out.backends, choice{s.registry.Get(ref.Name), out.weights, s.liveID(r.Route, ref.Name)})
	}
	for i := range def.Mirrors {
		m := &def.Mirrors[i]
		state := s.mirrors.State(r.Route, m.Name, m.Backend)
		keep[state] = true
		policy, err := mirror.Compile(m, out.edit, s.registry.Get(m.Backend), state)
		if err != nil {
			return rule{}, err
		}
		out.mirrors = append(out.mirrors, policy)
	}
	return out, nil
}

// duration turns a timeout into a duration, 0 for off.
func duration(t config.Timeout) time.Duration { return max(time.Duration(t), 0) }

// choose picks a backend by weight; nil if the rule has none.
func (r *rule) choose(draw uint64) *choice {
	if len(r.backends) == 1 {
		return &r.backends[0]
	}
	if r.weights == 0 {
		return nil
	}
	n := draw % r.weights
	for i := range r.backends {
		if n < r.backends[i].upTo {
			return &r.backends[i]
		}
	}
	return nil
}
