package route

import (
	"fmt"
	"slices"
)

// Step is one rule that was considered for a request.
type Step struct {
	Rule    *Rule
	Match   int    // index of the match in the rule; 0 if it has none
	Matched bool   // then this is the last step
	Reason  string // the first condition that did not hold, in words; empty if Matched
}

// Explain goes through the rules in order of precedence and stops at the one
// that [Table.Match] finds. If there is none, all rules are listed, those of
// other hostnames and listeners last. It is for people: it allocates.
func (t *Table) Explain(r *Request) []Step {
	var steps []Step
	seen := make(map[*Rule]bool)
	if r.Listener >= 0 && r.Listener < len(t.listeners) {
		for _, p := range t.listeners[r.Listener].candidates(r) {
			for i := range p.entries {
				e := &p.entries[i]
				seen[e.rule] = true
				reason := e.matcher.Explain(r)
				steps = append(steps, Step{Rule: e.rule, Match: e.matched.Index, Matched: reason == "", Reason: reason})
				if reason == "" {
					return steps
				}
			}
		}
	}
	for _, rule := range t.rules {
		if !seen[rule] {
			steps = append(steps, Step{Rule: rule, Reason: t.elsewhere(r, rule)})
		}
	}
	return steps
}

// candidates are the rules for r's hostname, most specific hostname first.
func (h *hosts) candidates(r *Request) []*paths {
	var found []*paths
	add := func(p *paths) {
		if p != nil {
			found = append(found, p)
		}
	}
	if host := r.hostname(); len(host) <= maxHost {
		add(h.exact[string(host)])
		for i := 1; i < len(host); i++ {
			if host[i] == '.' {
				add(h.wildcard[string(host[i+1:])])
			}
		}
	}
	add(h.any)
	return found
}

// elsewhere says why rule is no candidate for r.
func (t *Table) elsewhere(r *Request, rule *Rule) string {
	def := &t.config.Routes[rule.RouteIndex]
	if r.Listener < 0 || r.Listener >= len(t.config.Listeners) {
		return "there is no such listener"
	}
	listener := t.config.Listeners[r.Listener].Name
	if len(def.Listeners) == 0 && t.config.Listeners[r.Listener].Layer4() {
		return fmt.Sprintf("it names no listener, and so serves HTTP only, which listener %s does not speak", listener)
	}
	if len(def.Listeners) > 0 && !slices.Contains(def.Listeners, listener) {
		return fmt.Sprintf("listener %s is not %s", listener, either(def.Listeners))
	}
	return fmt.Sprintf("host %s is not %s", r.hostname(), either(def.Hostnames))
}
