package config

import (
	"reflect"
	"slices"
	"strings"
)

func (v *validator) validateMatch(p *place, m *Match) {
	if m.Path != nil {
		v.validatePath(p.field("path"), m.Path)
	}
	if m.GRPC != nil {
		v.validateGRPC(p, m)
	}
	for i, method := range m.Methods {
		at, upper := p.field("methods").at(i), strings.ToUpper(method)
		switch {
		case !isToken(method):
			v.fail(at, "write it like GET", "%q is not a method", abridged(method))
		case method != upper:
			v.fail(at, "did you mean "+upper+"?", "methods are told apart by case; %q is not one that clients use", abridged(method))
		}
	}
	v.validateValues(p.field("headers"), m.Headers, isToken)
	v.validateValues(p.field("query"), m.Query, func(name string) bool { return name != "" })
	v.validateValues(p.field("cookies"), m.Cookies, isToken)
	v.validateIdentities(p.field("identities"), m.Identities)
}

func (v *validator) validateIdentities(list *place, identities []string) {
	asks := func(l Listener) bool {
		return l.TLS != nil && l.TLS.ClientAuth != "" && l.TLS.ClientAuth != ClientAuthNone
	}
	if len(identities) > 0 && !v.failed.at["listeners"] && !slices.ContainsFunc(v.config.Listeners, asks) {
		v.fail(list, "write clientAuth and clientCA under the tls of a listener", "can never hold: no listener asks clients for certificates")
	}
	for i, identity := range identities {
		switch star := strings.IndexByte(identity, '*'); {
		case identity == "" || identity == "*":
			v.fail(list.at(i), "write it like spiffe://example.org/*, or remove the match", "%q is not the name of a client", identity)
		case star >= 0 && star < len(identity)-1:
			v.fail(list.at(i), "write it like spiffe://example.org/*", "may have * at its end only, is %q", abridged(identity))
		}
	}
}

func (v *validator) validatePath(p *place, m *PathMatch) {
	at := p.field("value")
	oneOf(v, p.field("type"), m.Type, PathExact, PathPrefix, PathRegexp)
	switch {
	case m.Value == "":
		v.fail(at, "write a path such as /api", "is missing")
	case m.Type == PathRegexp:
		if strings.ContainsFunc(m.Value, func(r rune) bool { return r > '~' }) {
			v.fail(at, "write them percent-encoded, as in caf%C3%A9", "has characters that no path contains")
		}
		v.pattern(at, m.Value)
	case !strings.HasPrefix(m.Value, "/"):
		v.fail(at, "begin it with /", "must be a path, is %q", abridged(m.Value))
	case strings.ContainsAny(m.Value, "?#"):
		v.fail(at, "match parameters with query: [{name: …, value: …}]", "a path ends before ? and #")
	case strings.ContainsAny(m.Value, " \t"):
		v.fail(at, "write %20", "must not have spaces")
	case strings.Contains(m.Value, "//"):
		v.fail(at, "remove one of the slashes", "has an empty element")
	case hasDotSegment(m.Value):
		v.fail(at, "write the path that they lead to", "has dot segments")
	}
}

// hasDotSegment looks for "." and "..", in any spelling.
func hasDotSegment(path string) bool {
	path = strings.NewReplacer("%2e", ".", "%2E", ".").Replace(path)
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func (v *validator) validateValues(list *place, values []ValueMatch, validName func(string) bool) {
	for i := range values {
		m, p := &values[i], list.at(i)
		if !validName(m.Name) {
			v.fail(p.field("name"), "", "%q is not a name", abridged(m.Name))
		}
		oneOf(v, p.field("type"), m.Type, ValueExact, ValueRegexp, ValuePresent, ValueAbsent)
		at := p.field("value")
		switch m.Type {
		case ValueExact:
			if m.Value == "" {
				v.fail(at, "write type: Present if any value will do", "is missing")
			}
			v.plainText(at, m.Value)
		case ValueRegexp:
			v.pattern(at, m.Value)
		case ValuePresent, ValueAbsent:
			if m.Value != "" {
				v.fail(at, "remove it, or the type", "has no effect with type %s", m.Type)
			}
		}
	}
}

// maxPattern keeps what a pattern costs to compile and to run within reason.
const maxPattern = 4096

func (v *validator) pattern(p *place, pattern string) {
	if pattern == "" {
		v.fail(p, "write a regular expression such as v[0-9]+", "is missing")
		return
	}
	if len(pattern) > maxPattern {
		v.fail(p, "", "must have at most %d bytes, has %d", maxPattern, len(pattern))
		return
	}
	if _, err := CompileRegexp(pattern); err != nil {
		message := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		hint := "the syntax is RE2"
		if strings.Contains(message, "Perl syntax") {
			hint = "the syntax is RE2, which has no look-around"
		}
		v.fail(p, hint, "is not a regular expression: %s", message)
	}
}

// matchKey is the same for two matches exactly if they are written the same.
func matchKey(m *Match) string {
	return string(appendValue(nil, reflect.ValueOf(m).Elem()))
}

// isToken reports whether s can be the name of a header, a cookie or a method.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+.^_`|~-", c) < 0 {
			return false
		}
	}
	return s != ""
}
