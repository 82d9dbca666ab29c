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
	record  uint64 // requests that are recorded, in the same way
}

// place is where a listener is in a configuration.
type place struct {
	index int  // in Config.Listeners, -1 if it is not there
	open  bool // it is there under the same address

	altSvc []byte // line that tells of HTTP/3; nil if it has none
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
	if l := p.listener(ln); l != nil {
		return l.Name
	}
	return ""
}

// listener returns what p says of ln, nil if it is not there.
func (p *plan) listener(ln *listener) *config.Listener {
	if i := p.place(ln).index; i >= 0 {
		return &p.config.Listeners[i]
	}
	return nil
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
// plan, and so are parts of rules that refer to nothing; both are reported.
func (s *Server) compile(cfg *config.Config) (*plan, []route.Problem) {
	table, problems := route.Compile(cfg)
	p := &plan{
		config: cfg,
		table:  table,
		limits: http1.Limits{Head: int(cfg.Client.HeadLimit), Target: int(cfg.Client.TargetLimit), Fields: cfg.Client.HeaderCount},
	}
	if cfg.AccessLog.Path != "" {
		p.sampled = mirror.PartOf64(cfg.AccessLog.Percent)
	}
	if cfg.Record != nil {
		p.record = mirror.PartOf64(cfg.Record.Percent)
	}
	s.captured.SetLimit(int64(cfg.Capture.Memory))
	s.registry.Update(cfg.Backends)
	s.mirrors.SetLimits(cfg.Copies)
	keep := map[*mirror.State]bool{}
	for _, r := range table.Rules() {
		c := ruleCompiler{server: s, rule: rule{Rule: r}, keep: keep}
		c.compile()
		p.rules = append(p.rules, c.rule)
		problems = append(problems, c.problems...)
	}
	s.mirrors.Retire(keep)
	return p, problems
}

// ruleCompiler makes a rule.
type ruleCompiler struct {
	server   *Server
	rule     rule
	keep     map[*mirror.State]bool // mirrors that are configured
	problems []route.Problem
}

func (c *ruleCompiler) compile() {
	r, def := &c.rule, c.rule.Def
	r.edit = mirror.Edit(def.RequestHeaders)
	r.answer = mirror.Edit(def.ResponseHeaders)
	r.own = c.server.liveID(r.Route, "")
	r.total = duration(def.Timeouts.Request)
	r.backend = duration(def.Timeouts.Backend)
	r.idle = duration(def.Timeouts.Idle)
	r.shortest = r.backend
	if r.idle > 0 && (r.shortest == 0 || r.idle < r.shortest) {
		r.shortest = r.idle
	}
	for i, ref := range def.Backends {
		c.addBackend(i, ref)
	}
	for i := range def.Mirrors {
		c.addMirror(i, &def.Mirrors[i])
	}
}

func (c *ruleCompiler) addBackend(i int, ref config.BackendRef) {
	weight := 1
	if ref.Weight != nil {
		weight = *ref.Weight
	}
	if weight == 0 {
		return
	}
	r := &c.rule
	backend := c.server.registry.Get(ref.Name)
	if backend == nil {
		c.report(fmt.Sprintf("backends[%d].name", i), fmt.Sprintf("there is no backend called %q", ref.Name))
		return
	}
	r.weights += uint64(weight)
	r.backends = append(r.backends, choice{backend, r.weights, c.server.liveID(r.Route, ref.Name)})
}

func (c *ruleCompiler) addMirror(i int, def *config.Mirror) {
	r := &c.rule
	backend := c.server.registry.Get(def.Backend)
	if backend == nil {
		c.report(fmt.Sprintf("mirrors[%d].backend", i), fmt.Sprintf("there is no backend called %q", def.Backend))
		return
	}
	state := c.server.mirrors.State(r.Route, def.Name, def.Backend)
	policy, err := mirror.Compile(def, r.edit, backend, state)
	if err != nil {
		c.report(fmt.Sprintf("mirrors[%d]", i), err.Error())
		return
	}
	c.keep[state] = true
	r.mirrors = append(r.mirrors, policy)
}

func (c *ruleCompiler) report(path, message string) {
	r := &c.rule
	c.problems = append(c.problems, route.Problem{
		Route: r.Route, Rule: r.Index, Message: message,
		Path: fmt.Sprintf("routes[%d].rules[%d].%s", r.RouteIndex, r.Index, path),
	})
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
