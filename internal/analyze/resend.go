package analyze

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// resend is a request in the form in which its copy was sent.
type resend struct {
	method string
	target string
	host   string
	fields []config.Header
	body   []byte
}

// field sets a header that is there.
func (r *resend) field(name, value string) {
	for i := range r.fields {
		if strings.EqualFold(r.fields[i].Name, name) {
			r.fields[i].Value = value
			return
		}
	}
}

// way is how requests get from a rule to a backend.
type way struct {
	rule    *config.Rule
	mirror  *config.Mirror
	backend *config.Backend
}

// find returns the way of copies of a mirror to a backend, false if the
// configuration has it no more.
func find(cfg *config.Config, l label, backend string) (way, bool) {
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if r.Name != l.Route || l.Rule >= len(r.Rules) {
			continue
		}
		w := way{rule: &r.Rules[l.Rule]}
		for j := range w.rule.Mirrors {
			if w.rule.Mirrors[j].Name == l.Mirror {
				w.mirror = &w.rule.Mirrors[j]
			}
		}
		w.backend = backendOf(cfg, backend)
		return w, w.mirror != nil && w.backend != nil && len(w.backend.Endpoints) > 0
	}
	return way{}, false
}

func backendOf(cfg *config.Config, name string) *config.Backend {
	for i := range cfg.Backends {
		if cfg.Backends[i].Name == name {
			return &cfg.Backends[i]
		}
	}
	return nil
}

// again makes of a request as it came what the backend gets at one of its
// endpoints. id is a new x-request-id; empty leaves what there is.
func (w way) again(m *traffic.Message, x *traffic.Exchange, endpoint, id string) (*resend, bool) {
	lines := strings.Split(strings.ReplaceAll(string(m.Head), "\r\n", "\n"), "\n")
	first := strings.Fields(lines[0])
	if len(first) < 2 {
		return nil, false
	}
	r := &resend{method: first[0], target: originForm(first[1]), host: x.Host, body: m.Body}
	hop := hopByHop(lines[1:])
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		lower := strings.ToLower(name)
		if !ok || slices.Contains(hop, lower) {
			continue
		}
		value = strings.TrimSpace(value)
		if lower == "host" {
			if r.host == "" {
				r.host = value
			}
			continue
		}
		r.fields = append(r.fields, config.Header{Name: name, Value: value})
	}
	r.forward(x, id)
	w.rewrite(r)
	r.edit(w.rule.RequestHeaders)
	if w.mirror.Marker == nil || *w.mirror.Marker {
		r.fields = append(r.fields, config.Header{Name: config.CopyMarker, Value: w.mirror.Name})
	}
	r.edit(w.mirror.Headers)
	r.host = hostOf(w.mirror.Host, r.host, endpoint)
	return r, true
}

// originForm takes scheme and host away.
func originForm(target string) string {
	if i := strings.Index(target, "://"); i > 0 && target[0] != '/' {
		rest := target[i+3:]
		if slash := strings.IndexAny(rest, "/?"); slash >= 0 {
			if rest[slash] == '?' {
				return "/" + rest[slash:]
			}
			return rest[slash:]
		}
		return "/"
	}
	return target
}

// hopByHop are the headers that end at the proxy, those that one of them names too.
func hopByHop(lines []string) []string {
	hop := []string{"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-length"}
	for _, line := range lines {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "connection") {
			for one := range strings.SplitSeq(value, ",") {
				hop = append(hop, strings.ToLower(strings.TrimSpace(one)))
			}
		}
	}
	return hop
}

// forward adds what the proxy tells of the client.
func (r *resend) forward(x *traffic.Exchange, id string) {
	if x.Client.IsValid() && x.Client != (netip.Addr{}) {
		client := x.Client.String()
		if i := slices.IndexFunc(r.fields, func(h config.Header) bool { return strings.EqualFold(h.Name, "x-forwarded-for") }); i >= 0 {
			r.fields[i].Value += ", " + client
		} else {
			r.fields = append(r.fields, config.Header{Name: "X-Forwarded-For", Value: client})
		}
	}
	if id == "" {
		return
	}
	r.edit(config.HeaderEdit{Set: []config.Header{{Name: "x-request-id", Value: id}}})
	r.field("traceparent", "00-"+id+"-"+id[:16]+"-00")
}

// edit removes, then sets, then adds.
func (r *resend) edit(e config.HeaderEdit) {
	gone := func(name string) bool {
		return slices.ContainsFunc(e.Remove, func(n string) bool { return strings.EqualFold(n, name) }) ||
			slices.ContainsFunc(e.Set, func(h config.Header) bool { return strings.EqualFold(h.Name, name) })
	}
	r.fields = slices.DeleteFunc(r.fields, func(h config.Header) bool { return gone(h.Name) })
	r.fields = append(append(r.fields, e.Set...), e.Add...)
}

// rewrite does what the rule says of host and path.
func (w way) rewrite(r *resend) {
	rw := w.rule.Rewrite
	if rw == nil {
		return
	}
	if rw.Hostname != "" {
		r.host = rw.Hostname
	}
	if rw.Path == nil {
		return
	}
	path, query, asked := strings.Cut(r.target, "?")
	switch {
	case rw.Path.ReplaceFullPath != nil:
		path = *rw.Path.ReplaceFullPath
	case rw.Path.ReplacePrefixMatch != nil:
		path = w.replacePrefix(path, *rw.Path.ReplacePrefixMatch)
	}
	r.target = path
	if asked {
		r.target += "?" + query
	}
}

// replacePrefix puts another prefix in the place of the longest that matches.
func (w way) replacePrefix(path, by string) string {
	longest := -1
	for i := range w.rule.Matches {
		p := w.rule.Matches[i].Path
		if p == nil || p.Type != config.PathPrefix {
			continue
		}
		prefix := strings.TrimSuffix(p.Value, "/")
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			longest = max(longest, len(prefix))
		}
	}
	if longest < 0 {
		return path
	}
	path = strings.TrimSuffix(by, "/") + path[longest:]
	if path == "" {
		return "/"
	}
	return path
}

// hostOf is the host of a copy, as the mirror's policy says.
func hostOf(policy config.HostPolicy, host, endpoint string) string {
	switch policy.Kind {
	case config.HostLiteral:
		return policy.Literal
	case config.HostBackend:
		return endpoint
	case config.HostSuffix:
		if host == "" {
			return ""
		}
		if name, port, err := net.SplitHostPort(host); err == nil {
			if strings.Contains(name, ":") {
				name = "[" + name + "]"
			}
			return name + "-shadow:" + port
		}
		return host + "-shadow"
	}
	return host
}
