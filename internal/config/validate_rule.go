package config

import (
	"net"
	"slices"
	"strings"
)

func (v *validator) validateRoutes() {
	list := root("routes")
	if len(v.config.Routes) == 0 {
		v.fail(list, "add one like {name: default, rules: [{backends: [{name: primary}]}]}", "is empty, so every request would be answered 404")
	}
	names := make([]string, len(v.config.Routes))
	for i := range v.config.Routes {
		names[i] = v.config.Routes[i].Name
	}
	v.unique(list, names, "route")
	for i := range v.config.Routes {
		v.validateRoute(list.at(i), &v.config.Routes[i])
	}
}

func (v *validator) validateRoute(p *place, r *Route) {
	for i, name := range r.Listeners {
		v.reference(p.field("listeners").at(i), "listener", name, v.listeners)
	}
	for i, name := range r.Hostnames {
		at := p.field("hostnames").at(i)
		host, port, splitErr := net.SplitHostPort(name)
		if _, _, err := ParseHostname(name); err == nil {
			continue
		} else if name == "*" {
			v.fail(at, "leave hostnames out", "* alone is not a hostname")
		} else if splitErr == nil && isHost(host) && isPort(port, 0) {
			v.fail(at, "did you mean "+host+"? requests match whatever their port", "has a port")
		} else {
			v.fail(at, "", "%s", err)
		}
	}
	protocol := v.config.ProtocolOf(r)
	v.validateBinding(p, r, protocol)
	if len(r.Rules) == 0 {
		v.fail(p.field("rules"), "add one like {backends: [{name: primary}]}", "is empty")
	}
	seen := make(map[string]*place)
	for i := range r.Rules {
		rule, at := &r.Rules[i], p.field("rules").at(i)
		if layer4(protocol) {
			v.validateLayer4(at, rule, protocol)
		} else {
			v.validateRule(at, rule)
		}
		v.reachable(at, rule, seen)
	}
}

// reachable refuses a match that is the same as an earlier one of the route:
// the first would always win, and the second only look as if it did something.
func (v *validator) reachable(p *place, r *Rule, seen map[string]*place) {
	check := func(at *place, m *Match) {
		key := matchKey(m)
		if first, ok := seen[key]; ok {
			v.fail(at, "remove one of them", "never decides, because %s is the same and comes first", first)
			return
		}
		seen[key] = at
	}
	if len(r.Matches) == 0 {
		check(p, &Match{})
	}
	for i := range r.Matches {
		check(p.field("matches").at(i), &r.Matches[i])
	}
}

func (v *validator) validateRule(p *place, r *Rule) {
	for i := range r.Matches {
		v.validateMatch(p.field("matches").at(i), &r.Matches[i])
	}
	v.validateEdit(p.field("requestHeaders"), &r.RequestHeaders, requestEdit)
	v.validateEdit(p.field("responseHeaders"), &r.ResponseHeaders, responseEdit)
	v.validateRewrite(p.field("rewrite"), r)
	v.validateRedirect(p.field("redirect"), r)
	v.validateTargets(p, r)
	v.uniqueMirrors(p, r)
	for i := range r.Mirrors {
		v.validateMirror(p.field("mirrors").at(i), r, &r.Mirrors[i])
	}
}

func (v *validator) uniqueMirrors(p *place, r *Rule) {
	names := make(map[string]int)
	for i := range r.Mirrors {
		m, at := &r.Mirrors[i], p.field("mirrors").at(i)
		if first, again := names[m.Name]; again && m.Name != "" {
			v.fail(at.field("name"), "give one of them a name of its own", "%s is called %q too", p.field("mirrors").at(first), m.Name)
		}
		names[m.Name] = i
	}
}

// validateTargets checks where the rule's requests go.
func (v *validator) validateTargets(p *place, r *Rule) {
	if r.Redirect != nil {
		if len(r.Backends) > 0 {
			v.fail(p.field("backends"), "remove one of the two", "has no effect beside redirect")
		}
		if len(r.Mirrors) > 0 {
			v.fail(p.field("mirrors"), "mirror the rule that the redirect leads to", "has no effect beside redirect, because there is no request to copy")
		}
		if r.Rewrite != nil {
			v.fail(p.field("rewrite"), "a redirect has a hostname and a path of its own", "has no effect beside redirect")
		}
		return
	}
	if len(r.Backends) == 0 {
		v.fail(p, "add backends: [{name: …}]", "has neither backends nor a redirect")
		return
	}
	sum := 0
	seen := make(map[string]bool)
	for i, ref := range r.Backends {
		at := p.field("backends").at(i)
		v.reference(at.field("name"), "backend", ref.Name, v.backends)
		if seen[ref.Name] {
			v.fail(at.field("name"), "add up the weights", "%q is listed twice", ref.Name)
		}
		seen[ref.Name] = true
		v.between(at.field("weight"), *ref.Weight, 0, 1_000_000)
		sum += max(*ref.Weight, 0)
	}
	if sum == 0 {
		v.fail(p.field("backends"), "give one a weight of 1", "all weights are 0, so requests could go nowhere")
	}
}

func (v *validator) validateRewrite(p *place, r *Rule) {
	if r.Rewrite == nil {
		return
	}
	if r.Rewrite.Hostname == "" && r.Rewrite.Path == nil {
		v.fail(p, "set hostname or path", "changes nothing")
	}
	v.hostname(p.field("hostname"), r.Rewrite.Hostname)
	v.validateModifier(p.field("path"), r.Rewrite.Path, r.Matches)
}

func (v *validator) validateRedirect(p *place, r *Rule) {
	d := r.Redirect
	if d == nil {
		return
	}
	if d.Scheme == "" && d.Hostname == "" && d.Port == 0 && d.Path == nil {
		v.fail(p, "set scheme, hostname, port or path", "would send clients back to where they came from")
	}
	if d.Scheme != "" {
		oneOf(v, p.field("scheme"), d.Scheme, "http", "https")
	}
	v.hostname(p.field("hostname"), d.Hostname)
	v.between(p.field("port"), d.Port, 0, 65535)
	if !slices.Contains([]int{301, 302, 303, 307, 308}, d.StatusCode) {
		v.fail(p.field("statusCode"), "one of: 301, 302, 303, 307, 308", "%d is not a redirection", d.StatusCode)
	}
	v.validateModifier(p.field("path"), d.Path, r.Matches)
}

// hostname checks the name that a request or a client is sent to; empty is
// unset.
func (v *validator) hostname(p *place, name string) {
	if name == "" {
		return
	}
	_, wildcard, err := ParseHostname(name)
	switch {
	case err != nil && strings.Contains(name, ":"):
		v.fail(p, "write the name without scheme and port", "%q is more than a hostname", abridged(name))
	case err != nil:
		v.fail(p, "", "%s", err)
	case wildcard:
		v.fail(p, "write one name", "must not be a wildcard")
	}
}

func (v *validator) validateModifier(p *place, m *PathModifier, matches []Match) {
	switch {
	case m == nil:
		return
	case (m.ReplaceFullPath == nil) == (m.ReplacePrefixMatch == nil):
		v.fail(p, "set replaceFullPath or replacePrefixMatch", "must have exactly one of the two")
		return
	case m.ReplaceFullPath != nil:
		v.pathText(p.field("replaceFullPath"), *m.ReplaceFullPath)
		return
	}
	at := p.field("replacePrefixMatch")
	if *m.ReplacePrefixMatch != "" {
		v.pathText(at, *m.ReplacePrefixMatch)
	}
	for i := range matches {
		if matches[i].GRPC != nil {
			v.fail(at, "use replaceFullPath", "needs a prefix to replace, but matches[%d] is by grpc", i)
		}
		if path := matches[i].Path; path != nil && path.Type != PathPrefix {
			v.fail(at, "use replaceFullPath, or match a PathPrefix", "needs a prefix to replace, but matches[%d].path is %s", i, path.Type)
		}
	}
}

// pathText checks a path that is written into requests or answers as it is.
func (v *validator) pathText(p *place, path string) {
	switch {
	case !strings.HasPrefix(path, "/"):
		v.fail(p, "begin it with /", "must be a path, is %q", abridged(path))
	case strings.ContainsAny(path, "?#"):
		v.fail(p, "write the path only; the query is kept", "must not have a query or a fragment")
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }):
		v.fail(p, "percent-encode them", "has characters that no path may have")
	}
}
