package config

import (
	"fmt"
	"net"
	"strings"
)

func (v *validator) validateMirror(p *place, r *Rule, m *Mirror) {
	v.reference(p.field("backend"), "backend", m.Backend, v.backends)
	if m.Name != m.Backend {
		v.name(p.field("name"), m.Name)
	}
	v.validateShare(p, m)
	v.validateKey(p.field("key"), m.Key)
	oneOf(v, p.field("writes"), m.Writes, WritesSkip, WritesCopy)
	oneOf(v, p.field("upgrades"), m.Upgrades, UpgradesSkip, UpgradesCopy)
	v.validateGRPCMethods(p.field("grpcMethods"), m)
	if m.Match != nil {
		v.validateMatch(p.field("match"), m.Match)
	}
	v.validateHostPolicy(p.field("host"), m.Host)
	v.validateEdit(p.field("headers"), &m.Headers, copyEdit)
	oneOf(v, p.field("body").field("overLimit"), m.Body.OverLimit, OverLimitSkip, OverLimitTruncate, OverLimitHeaders)
	v.on(p.field("timeout"), m.Timeout, "a shadow that never answers would keep its copies for ever")
	v.between(p.field("pipeline"), m.Pipeline, 1, 256)
	v.validateBackoff(p.field("backoff"), &m.Backoff)
	v.validateLimits(p.field("limits"), &m.Limits)
	v.validateCompare(p.field("compare"), r, m)
}

func (v *validator) validateShare(p *place, m *Mirror) {
	f, at := m.Fraction, p.field("fraction")
	if f == nil {
		v.percent(p.field("percent"), *m.Percent)
		return
	}
	switch {
	case m.Percent != nil:
		v.fail(at, "remove one of the two", "is given beside percent")
	case f.Denominator < 1:
		v.fail(at.field("denominator"), "", "must be 1 or more, is %d", f.Denominator)
	case f.Numerator < 0 || f.Numerator > f.Denominator:
		v.fail(at.field("numerator"), "", "must be between 0 and the denominator, %d, is %d", f.Denominator, f.Numerator)
	}
}

func (v *validator) validateKey(p *place, k *Key) {
	if k == nil {
		return
	}
	sources := 0
	for _, set := range []bool{k.Header != "", k.Cookie != "", k.Source, k.Trace} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		v.fail(p, "set header, cookie, source: true or trace: true", "must have exactly one source, has %d", sources)
	}
	if k.Header != "" && !isToken(k.Header) {
		v.fail(p.field("header"), "", "%q is not the name of a header", abridged(k.Header))
	}
	if k.Cookie != "" && !isToken(k.Cookie) {
		v.fail(p.field("cookie"), "", "%q is not the name of a cookie", abridged(k.Cookie))
	}
}

func (v *validator) validateHostPolicy(p *place, h HostPolicy) {
	switch h.Kind {
	case HostPreserve, HostBackend, HostSuffix:
		return
	case HostLiteral:
		host, port, err := net.SplitHostPort(h.Literal)
		_, wildcard, nameErr := ParseHostname(h.Literal)
		if (nameErr != nil || wildcard) && !(err == nil && isHost(host) && isPort(port, 1)) {
			v.fail(p.field("literal"), "write it like shop.example.com or shop.example.com:8080", "%q is not a host", abridged(h.Literal))
		}
	default:
		hint := suggest(string(h.Kind), []string{string(HostPreserve), string(HostBackend), string(HostSuffix)})
		if strings.Contains(string(h.Kind), ".") {
			hint = fmt.Sprintf("did you mean {literal: %s}?", h.Kind)
		}
		v.fail(p, hint, "%q is not possible here", abridged(string(h.Kind)))
	}
}

func (v *validator) validateBackoff(p *place, b *Backoff) {
	v.between(p.field("failures"), b.Failures, 1, 1_000_000)
	v.on(p.field("base"), b.Base, "a pause must end")
	v.on(p.field("max"), b.Max, "a pause must end")
	if b.Max > 0 && b.Base > b.Max {
		v.fail(p.field("base"), "make base the shorter one", "%s is longer than max, %s", b.Base, b.Max)
	}
}

func (v *validator) validateLimits(p *place, l *Limits) {
	const most = 1_000_000
	v.between(p.field("inFlight"), l.InFlight, 1, most)
	v.between(p.field("queue"), l.Queue, 1, most)
	v.bytes(p.field("memory"), l.Memory, 64<<10, 1<<40)
	v.between(p.field("rate"), l.Rate, 0, 1_000*most)
	v.between(p.field("connections"), l.Connections, 1, most)
}

// editKind says whose headers an edit changes.
type editKind int

const (
	requestEdit  editKind = iota // of what goes to the primary
	responseEdit                 // of what goes to the client
	copyEdit                     // of what goes to a shadow
)

// protectedHeaders must not be edited: the value says why.
var protectedHeaders = map[string]string{
	"content-length":    "it frames the message, which is the proxy's task",
	"transfer-encoding": "it frames the message, which is the proxy's task",
	"trailer":           "it frames the message, which is the proxy's task",
	"connection":        "it concerns one connection and is not passed on",
	"keep-alive":        "it concerns one connection and is not passed on",
	"proxy-connection":  "it concerns one connection and is not passed on",
	"te":                "it concerns one connection and is not passed on",
	"upgrade":           "it concerns one connection and is not passed on",
	"expect":            "it concerns one connection and is not passed on",
}

// protected says why a header must not be edited and what to do instead; an
// empty message means that it may be.
func protected(name string, kind editKind) (message, hint string) {
	name = strings.ToLower(name)
	if why := protectedHeaders[name]; why != "" {
		return why, "remove this line"
	}
	switch {
	case name == "host" && kind == requestEdit:
		return "the host has a field of its own", "use rewrite: {hostname: …}"
	case name == "host" && kind == copyEdit:
		return "the copy's host has a field of its own", "use the mirror's host: {literal: …}"
	case name == CopyMarker && kind == requestEdit:
		return "it marks copies, so that they are not copied again", "remove this line"
	case name == CopyMarker && kind == copyEdit:
		return "it marks copies, and has a field of its own", "use the mirror's marker: false to leave it out"
	}
	return "", ""
}

func (v *validator) validateEdit(p *place, e *HeaderEdit, kind editKind) {
	v.validateHeaders(p.field("set"), e.Set, kind)
	v.validateHeaders(p.field("add"), e.Add, kind)
	set := make(map[string]int)
	for i := range e.Set {
		name := strings.ToLower(e.Set[i].Name)
		if first, again := set[name]; again {
			v.fail(p.field("set").at(i).field("name"), "remove one of them, or use add", "%s sets %s too", p.field("set").at(first), e.Set[i].Name)
		}
		set[name] = i
	}
	for i, name := range e.Remove {
		v.headerName(p.field("remove").at(i), name, kind)
	}
}

func (v *validator) validateHeaders(list *place, headers []Header, kind editKind) {
	for i := range headers {
		v.headerName(list.at(i).field("name"), headers[i].Name, kind)
		v.plainText(list.at(i).field("value"), headers[i].Value)
	}
}

func (v *validator) headerName(p *place, name string, kind editKind) {
	if !isToken(name) {
		v.fail(p, "use letters, digits and hyphens", "%q is not the name of a header", abridged(name))
	} else if message, hint := protected(name, kind); message != "" {
		v.fail(p, hint, "%s cannot be changed: %s", name, message)
	}
}

// plainText checks a value that is sent, or compared with one that is. That it
// has no control characters is checked where texts are decoded.
func (v *validator) plainText(p *place, value string) {
	if strings.Trim(value, " \t") != value {
		v.fail(p, "remove it", "has a space at one end, which is not part of a value")
	}
}
