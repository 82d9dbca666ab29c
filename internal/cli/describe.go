package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// routeLine says in one line where the requests of a route go.
func routeLine(cfg *config.Config, r *config.Route) string {
	var primaries, mirrors []string
	add := func(list *[]string, text string) {
		if !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	for i := range r.Rules {
		rule := &r.Rules[i]
		if rule.Redirect != nil {
			add(&primaries, "a redirect")
		}
		for _, b := range rule.Backends {
			add(&primaries, backendText(cfg, b.Name))
		}
		for j := range rule.Mirrors {
			m := &rule.Mirrors[j]
			add(&mirrors, fmt.Sprintf("%s %s", backendText(cfg, m.Backend), mirrorText(m)))
		}
	}
	line := r.Name + ": " + strings.Join(primaries, ", ")
	if len(mirrors) > 0 {
		line += "; copies to " + strings.Join(mirrors, ", ")
	}
	return line
}

// backendText is a backend and where it is: "v1 (127.0.0.1:9000)".
func backendText(cfg *config.Config, name string) string {
	for i := range cfg.Backends {
		if b := &cfg.Backends[i]; b.Name == name {
			return fmt.Sprintf("%s (%s)", name, strings.Join(b.Endpoints, ", "))
		}
	}
	return name
}

// mirrorText is how much a mirror copies: "12.5 % by header x-user, writes too".
func mirrorText(m *config.Mirror) string {
	text := shareText(m)
	if key := keyText(m.Key); key != "" {
		text += " by " + key
	}
	if m.Writes == config.WritesCopy {
		text += ", writes too"
	}
	if len(m.GRPCMethods) > 0 {
		text += ", gRPC " + strings.Join(m.GRPCMethods, " ")
	}
	if m.Upgrades == config.UpgradesCopy {
		text += ", WebSockets too"
	}
	return text
}

func shareText(m *config.Mirror) string {
	if f := m.Fraction; f != nil {
		return fmt.Sprintf("%d of %d", f.Numerator, f.Denominator)
	}
	return strconv.FormatFloat(float64(m.Numerator)*100/float64(max(m.Denominator, 1)), 'f', -1, 64) + " %"
}

func keyText(k *config.Key) string {
	switch {
	case k == nil:
		return ""
	case k.Header != "":
		return "header " + k.Header
	case k.Cookie != "":
		return "cookie " + k.Cookie
	case k.Source:
		return "client address"
	case k.Trace:
		return "trace id"
	}
	return ""
}

// matchText is what a rule asks of a request: "GET /api*, header x-tenant=acme".
func matchText(m *config.Match) string {
	var parts []string
	path := "any path"
	if m.Path != nil {
		path = pathText(m.Path)
	}
	if m.GRPC != nil {
		path = callText(m.GRPC)
	}
	parts = append(parts, strings.TrimSpace(strings.Join(m.Methods, "|")+" "+path))
	for kind, list := range map[string][]config.ValueMatch{"header": m.Headers, "query": m.Query, "cookie": m.Cookies} {
		for _, v := range list {
			parts = append(parts, kind+" "+valueText(&v))
		}
	}
	slices.Sort(parts[1:])
	if len(m.Sources) > 0 {
		var sources []string
		for _, s := range m.Sources {
			sources = append(sources, s.String())
		}
		parts = append(parts, "from "+strings.Join(sources, "|"))
	}
	if len(m.Identities) > 0 {
		parts = append(parts, "client "+strings.Join(m.Identities, "|"))
	}
	return strings.Join(parts, ", ")
}

// callText is which gRPC calls match: "gRPC shop.Cart/*".
func callText(m *config.GRPCMatch) string {
	text := cmp.Or(m.Service, "*") + "/" + cmp.Or(m.Method, "*")
	if m.Type == config.ValueRegexp {
		text = "~" + text
	}
	return "gRPC " + text
}

func pathText(p *config.PathMatch) string {
	switch p.Type {
	case config.PathExact:
		return p.Value
	case config.PathRegexp:
		return "~" + p.Value
	}
	return strings.TrimSuffix(p.Value, "/") + "/*"
}

func valueText(v *config.ValueMatch) string {
	switch v.Type {
	case config.ValueRegexp:
		return v.Name + "~" + v.Value
	case config.ValuePresent:
		return v.Name
	case config.ValueAbsent:
		return "no " + v.Name
	}
	return v.Name + "=" + v.Value
}

// ruleMatches says what a rule asks of a request, any of several.
func ruleMatches(r *config.Rule, protocol string) string {
	if len(r.Matches) == 0 {
		return "everything"
	}
	var list []string
	for i := range r.Matches {
		text := matchText(&r.Matches[i])
		if protocol != "HTTP" {
			text = strings.TrimPrefix(text, "any path, ")
		}
		list = append(list, text)
	}
	return strings.Join(list, " or ")
}

// ruleTarget says where a rule's live requests go.
func ruleTarget(r *config.Rule) string {
	if r.Redirect != nil {
		return fmt.Sprintf("redirect %d", r.Redirect.StatusCode)
	}
	total := 0
	for _, b := range r.Backends {
		total += weight(b)
	}
	var list []string
	for _, b := range r.Backends {
		text := b.Name
		if len(r.Backends) > 1 {
			text += " " + percentText(float64(weight(b)), float64(total))
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func weight(b config.BackendRef) int {
	if b.Weight == nil {
		return 1
	}
	return *b.Weight
}

// ruleMirrors says who gets copies.
func ruleMirrors(r *config.Rule) string {
	var list []string
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		name := m.Name
		if m.Backend != m.Name {
			name += " to " + m.Backend
		}
		list = append(list, name+" "+mirrorText(m))
	}
	return strings.Join(list, "; ")
}

func percentText(part, whole float64) string {
	if whole == 0 {
		return "0 %"
	}
	return strconv.FormatFloat(100*part/whole, 'f', -1, 64) + " %"
}
