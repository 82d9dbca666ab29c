package route

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Matcher is one compiled [config.Match]. It never changes and may be used by
// any number of goroutines. A nil Matcher matches everything.
type Matcher struct {
	path    pathTest
	methods []string
	values  []valueTest // headers, then query, then cookies
	sources []netip.Prefix
	grpc    bool // for gRPC calls only

	identities []string
}

// pathTest is a condition on the path in canonical form.
type pathTest struct {
	kind   config.PathMatchType // PathPrefix with value "/" if there is no condition
	value  string               // exact path, prefix as in Matched.Prefix, or pattern
	regexp *regexp.Regexp
	length [2]int // what decides between paths of one kind, the longer first
}

// valueTest is a condition on a named value.
type valueTest struct {
	valueName
	kind   config.ValueMatchType
	value  string // exact value or pattern
	regexp *regexp.Regexp
}

// CompileMatch compiles a match outside of a table, such as a mirror's own. A
// nil match gives a nil Matcher. The error is a [Problem] without a route,
// whose Path begins at the match.
func CompileMatch(m *config.Match) (*Matcher, error) {
	if m == nil {
		return nil, nil
	}
	out, problem := new(compiler).matcher(m)
	if problem != nil {
		return nil, *problem
	}
	return out, nil
}

// Match reports whether every condition holds for r. No allocation in steady
// state.
func (m *Matcher) Match(r *Request) bool {
	if m == nil {
		return true
	}
	if m.path.value != "/" || m.path.kind != config.PathPrefix {
		if !m.path.holds(canonical(&r.path, r.Path)) {
			return false
		}
	}
	return m.rest(r)
}

// rest is Match without the path, for entries that were found by it.
func (m *Matcher) rest(r *Request) bool {
	if m.grpc && !r.GRPC || len(m.methods) > 0 && !m.hasMethod(r.Method) {
		return false
	}
	for i := range m.values {
		if !m.values[i].holds(r) {
			return false
		}
	}
	if len(m.sources) > 0 && !m.hasSource(r.Source) {
		return false
	}
	return len(m.identities) == 0 || m.hasIdentity(r.Identities)
}

// hasIdentity says whether one of a client's names is one that is wanted.
func (m *Matcher) hasIdentity(names []string) bool {
	for _, want := range m.identities {
		prefix, open := strings.CutSuffix(want, "*")
		for _, name := range names {
			if name == want || open && strings.HasPrefix(name, prefix) {
				return true
			}
		}
	}
	return false
}

func (m *Matcher) hasMethod(method []byte) bool {
	for _, want := range m.methods {
		if string(method) == want {
			return true
		}
	}
	return false
}

func (m *Matcher) hasSource(source netip.Addr) bool {
	source = source.Unmap().WithZone("")
	for _, prefix := range m.sources {
		if prefix.Contains(source) {
			return true
		}
	}
	return false
}

func (t *pathTest) holds(path []byte) bool {
	switch t.kind {
	case config.PathExact:
		return string(path) == t.value
	case config.PathRegexp:
		return t.regexp.Match(path)
	}
	return t.value == "/" || hasPrefix(path, t.value)
}

func (t *valueTest) holds(r *Request) bool {
	value, ok := r.lookup(t.valueName)
	switch t.kind {
	case config.ValuePresent:
		return ok
	case config.ValueAbsent:
		return !ok
	case config.ValueRegexp:
		return ok && t.regexp.Match(value)
	}
	return ok && string(value) == t.value
}

// Explain is the first condition that does not hold for r, in words; empty if
// all of them do. It allocates and is not for the request path.
func (m *Matcher) Explain(r *Request) string {
	if m == nil {
		return ""
	}
	if m.grpc && !r.GRPC {
		return "it is no gRPC call, which is a POST with content-type application/grpc"
	}
	if path := canonical(&r.path, r.Path); !m.path.holds(path) {
		return m.path.explain(path)
	}
	if len(m.methods) > 0 && !m.hasMethod(r.Method) {
		return fmt.Sprintf("method %s is not %s", r.Method, either(m.methods))
	}
	for i := range m.values {
		if t := &m.values[i]; !t.holds(r) {
			return t.explain(r)
		}
	}
	if len(m.sources) > 0 && !m.hasSource(r.Source) {
		var ranges []string
		for _, prefix := range m.sources {
			ranges = append(ranges, prefix.String())
		}
		if !r.Source.IsValid() {
			return "the source is unknown, not in " + either(ranges)
		}
		return fmt.Sprintf("source %s is not in %s", r.Source, either(ranges))
	}
	if len(m.identities) > 0 && !m.hasIdentity(r.Identities) {
		if len(r.Identities) == 0 {
			return "the client shows no certificate, and must be " + either(m.identities)
		}
		return fmt.Sprintf("the client is %s, not %s", strings.Join(r.Identities, ", "), either(m.identities))
	}
	return ""
}

func (t *pathTest) explain(path []byte) string {
	switch t.kind {
	case config.PathExact:
		return fmt.Sprintf("path %s is not %s", path, t.value)
	case config.PathRegexp:
		return fmt.Sprintf("path %s does not match %s", path, t.value)
	}
	return fmt.Sprintf("path %s is not under %s", path, t.value)
}

func (t *valueTest) explain(r *Request) string {
	value, ok := r.lookup(t.valueName)
	switch {
	case t.kind == config.ValueAbsent:
		return fmt.Sprintf("%s %s is present", t.origin, t.name)
	case !ok:
		return fmt.Sprintf("%s %s is missing", t.origin, t.name)
	case t.kind == config.ValueRegexp:
		return fmt.Sprintf("%s %s is %q, which does not match %s", t.origin, t.name, value, t.value)
	}
	return fmt.Sprintf("%s %s is %q, not %q", t.origin, t.name, value, t.value)
}

// either is "a", "a or b", "a, b or c".
func either(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(slices.Clone(words[:last]), ", ") + " or " + words[last]
}
