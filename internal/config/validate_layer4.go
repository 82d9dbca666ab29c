package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// validateTransport checks what a listener says below its protocol.
func (v *validator) validateTransport(p *place, l *Listener) {
	tls := p.field("tls")
	switch {
	case l.Protocol == "HTTPS" && l.TLS == nil:
		v.fail(tls, "write tls: {certificates: [{cert: shop.crt, key: shop.key}]}", "is missing")
	case l.Protocol == "HTTPS":
		v.terminating(tls, l)
	case l.Protocol != "TLS" && l.TLS != nil:
		v.fail(tls, "use protocol: HTTPS or TLS, or remove it", "has no effect with %s", l.Protocol)
	case l.Protocol != "TLS":
	case l.TLS == nil:
		v.fail(tls, "write tls: {mode: Passthrough}", "is missing")
	case l.TLS.Mode == "":
		v.fail(tls.field("mode"), "write Passthrough, or Terminate", "is missing")
	case l.TLS.Mode == TLSTerminate:
		v.terminating(tls, l)
	default:
		oneOf(v, tls.field("mode"), l.TLS.Mode, TLSPassthrough, TLSTerminate)
		v.meaningless(tls, "Passthrough", map[string]bool{
			"certificates": len(l.TLS.Certificates) > 0, "clientAuth": l.TLS.ClientAuth != "", "clientCA": l.TLS.ClientCA != "",
			"minVersion": l.TLS.MinVersion != "", "cipherSuites": len(l.TLS.CipherSuites) > 0, "alpn": len(l.TLS.ALPN) > 0,
		}, "it is the backend that speaks TLS")
	}
	proxy := p.field("proxyProtocol")
	switch {
	case l.ProxyProtocol == nil:
	case l.Protocol == "UDP":
		v.fail(proxy, "remove it", "has no effect with UDP, which has no connections to announce")
	case len(l.ProxyProtocol.Sources) == 0:
		v.fail(proxy.field("sources"), "list the load balancers' addresses", "is empty, so nobody would be believed")
	}
	http3 := p.field("http3")
	switch {
	case l.HTTP3 == nil:
	case l.Protocol != "HTTPS":
		v.fail(http3, "use protocol: HTTPS, or remove it", "has no effect with %s", l.Protocol)
	case l.ProxyProtocol != nil:
		v.fail(http3, "give HTTP/3 a listener of its own, without proxyProtocol", "cannot be used with proxyProtocol: clients over QUIC come without a header")
	}
	sessions := p.field("sessions")
	if l.Protocol == "UDP" {
		v.between(sessions, l.Sessions, 1, 1_000_000)
	} else if l.Sessions != 0 {
		v.fail(sessions, "remove it; client.connections bounds connections", "has no effect with %s", l.Protocol)
	}
}

// validateBinding checks that a route fits the listeners it serves.
func (v *validator) validateBinding(p *place, r *Route, protocol string) {
	list := p.field("listeners")
	if len(r.Listeners) == 0 && !v.failed.at["listeners"] && len(v.config.Listeners) > 0 &&
		!slices.ContainsFunc(v.config.Listeners, func(l Listener) bool { return !l.Layer4() }) {
		v.fail(list, "name them", "is missing: a route that names no listener serves those that speak HTTP, and there are none")
	}
	for i, name := range r.Listeners {
		j := slices.IndexFunc(v.config.Listeners, func(l Listener) bool { return l.Name == name })
		if j < 0 || i == 0 {
			continue
		}
		other := v.config.Listeners[j].Protocol
		if layer4(other) != layer4(protocol) || (other == "UDP") != (protocol == "UDP") {
			v.fail(list.at(i), "write a route for each", "listener %s speaks %s, and %s speaks %s", name, other, r.Listeners[0], protocol)
		}
	}
	if len(r.Hostnames) > 0 && (protocol == "TCP" || protocol == "UDP") {
		v.fail(p.field("hostnames"), "remove them, or use a TLS listener", "have no effect with %s, which names no host", protocol)
	}
}

// meaningless refuses fields that are set and say nothing about traffic
// without messages.
func (v *validator) meaningless(p *place, protocol string, fields map[string]bool, why string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name] {
			v.fail(p.field(name), "remove it", "has no effect with %s: %s", protocol, why)
		}
	}
}

// validateLayer4 checks a rule for traffic without messages.
func (v *validator) validateLayer4(p *place, r *Rule, protocol string) {
	const messages = "there are no messages that the proxy reads"
	for i := range r.Matches {
		v.validateSources(p.field("matches").at(i), &r.Matches[i], protocol)
	}
	v.meaningless(p, protocol, map[string]bool{
		"requestHeaders":  editSet(&r.RequestHeaders),
		"responseHeaders": editSet(&r.ResponseHeaders),
		"rewrite":         r.Rewrite != nil,
		"redirect":        r.Redirect != nil,
	}, messages)
	v.meaningless(p.field("timeouts"), protocol, map[string]bool{
		"request": r.Timeouts.Request != 0,
		"backend": r.Timeouts.Backend != 0,
	}, "nobody knows where a request ends; use idle")
	if r.Redirect == nil {
		v.validateTargets(p, r)
	}
	if protocol == "UDP" {
		v.on(p.field("timeouts").field("idle"), r.Timeouts.Idle, "nothing else ends a session of UDP")
		for i, ref := range r.Backends {
			v.plainBackend(p.field("backends").at(i).field("name"), ref.Name)
		}
	}
	v.uniqueMirrors(p, r)
	for i := range r.Mirrors {
		v.validateLayer4Mirror(p.field("mirrors").at(i), &r.Mirrors[i], protocol)
	}
}

// validateSources checks a match that can look at the client's address only.
func (v *validator) validateSources(p *place, m *Match, protocol string) {
	v.meaningless(p, protocol, map[string]bool{
		"path": m.Path != nil, "methods": len(m.Methods) > 0, "headers": len(m.Headers) > 0,
		"query": len(m.Query) > 0, "cookies": len(m.Cookies) > 0, "identities": len(m.Identities) > 0 && protocol != "TLS",
	}, "only sources can be matched")
	v.validateIdentities(p.field("identities"), m.Identities)
}

// plainBackend refuses a backend that must be told of clients, for datagrams.
func (v *validator) plainBackend(p *place, name string) {
	for i := range v.config.Backends {
		if b := &v.config.Backends[i]; b.Name == name && b.ProxyProtocol != "" {
			v.fail(p, "use a backend without proxyProtocol", "backend %s has proxyProtocol, which UDP has no place for", name)
		}
	}
}

func (v *validator) validateLayer4Mirror(p *place, m *Mirror, protocol string) {
	v.reference(p.field("backend"), "backend", m.Backend, v.backends)
	if m.Name != m.Backend {
		v.name(p.field("name"), m.Name)
	}
	v.validateShare(p, m)
	if k := m.Key; k != nil {
		v.meaningless(p.field("key"), protocol, map[string]bool{"header": k.Header != "", "cookie": k.Cookie != "", "trace": k.Trace},
			"the client's address is the only key, source: true")
		if k.Header == "" && k.Cookie == "" && !k.Trace {
			v.validateKey(p.field("key"), k)
		}
	}
	if m.Match != nil {
		v.validateSources(p.field("match"), m.Match, protocol)
	}
	v.meaningless(p, protocol, map[string]bool{
		"headers": editSet(&m.Headers), "host": m.Host.Kind != "", "marker": m.Marker != nil, "body": m.Body != BodyPolicy{}, "pipeline": m.Pipeline != 0,
		"compare": !unset(reflect.ValueOf(m.Compare)),
	}, "there are no messages that the proxy reads")
	v.meaningless(p, protocol, map[string]bool{"writes": m.Writes != ""},
		fmt.Sprintf("nobody can tell what writes; to write a mirror under a %s route is to ask for copies of everything", protocol))
	v.meaningless(p.field("backoff"), protocol, map[string]bool{"adaptive": m.Backoff.Adaptive != nil},
		"it goes by the time to the answer of a request")
	v.validateBackoff(p.field("backoff"), &m.Backoff)
	v.validateLayer4Limits(p, m, protocol)
}

func (v *validator) validateLayer4Limits(p *place, m *Mirror, protocol string) {
	limits := m.Limits
	if protocol == "UDP" {
		v.plainBackend(p.field("backend"), m.Backend)
		v.meaningless(p, protocol, map[string]bool{"timeout": m.Timeout != 0, "retry": m.Retry}, "a datagram is sent, and that is all")
		v.meaningless(p.field("limits"), protocol, map[string]bool{"connections": limits.Connections != 0}, "inFlight bounds the clients whose datagrams are copied")
		limits.Connections = limits.InFlight
	} else {
		v.on(p.field("timeout"), m.Timeout, "a shadow that takes nothing would keep its copies for ever")
		v.meaningless(p.field("limits"), protocol, map[string]bool{"queue": limits.Queue != 0}, "the bytes of a connection cannot wait in line")
		limits.Queue = 1
	}
	v.validateLimits(p.field("limits"), &limits)
}

func editSet(e *HeaderEdit) bool { return len(e.Set)+len(e.Add)+len(e.Remove) > 0 }
