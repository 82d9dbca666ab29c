package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

// naive finds the rule for r the slow way, written from the documentation and
// sharing no code with the table: look at every match of every rule, and keep
// the best. Routes with problems are not in the tests' configurations.
func naive(c *config.Config, r *Request) (route, rule, match int) {
	var best []int
	route = -1
	for i := range c.Routes {
		if !naiveListener(c, &c.Routes[i], r.Listener) {
			continue
		}
		host, ok := naiveHost(&c.Routes[i], string(r.Host))
		if !ok {
			continue
		}
		for j, def := range c.Routes[i].Rules {
			matches := def.Matches
			if len(matches) == 0 {
				matches = []config.Match{{}}
			}
			for k := range matches {
				if !naiveMatch(&matches[k], r) {
					continue
				}
				score := append(slices.Clone(host), naiveScore(&matches[k])...)
				if best == nil || slices.Compare(score, best) > 0 {
					best, route, rule, match = score, i, j, k
				}
			}
		}
	}
	return route, rule, match
}

func naiveListener(c *config.Config, route *config.Route, listener int) bool {
	if listener < 0 || listener >= len(c.Listeners) {
		return false
	}
	return len(route.Listeners) == 0 || slices.Contains(route.Listeners, c.Listeners[listener].Name)
}

// naiveHost is how well a route's hostnames fit: whether exactly, and how long
// the best one is.
func naiveHost(route *config.Route, host string) (score []int, ok bool) {
	if len(route.Hostnames) == 0 {
		return []int{0, 0}, true
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	host = strings.TrimSuffix(host, ".")
	for _, name := range route.Hostnames {
		name = strings.ToLower(name)
		suffix, wildcard := strings.CutPrefix(name, "*")
		var s []int
		switch {
		case !wildcard && name == host:
			s = []int{1, len(name)}
		case wildcard && strings.HasSuffix(host, suffix) && host != suffix:
			s = []int{0, len(name)}
		default:
			continue
		}
		if score == nil || slices.Compare(s, score) > 0 {
			score = s
		}
	}
	return score, score != nil
}

// naiveScore orders matches of one hostname: kind of path, its length, method,
// headers and the like, parameters.
func naiveScore(m *config.Match) []int {
	kind, length := 0, 0
	if m.Path != nil {
		length = len(strings.TrimRight(m.Path.Value, "/"))
		switch {
		case m.Path.Type == config.PathExact:
			kind, length = 3, len(m.Path.Value)
		case m.Path.Type == config.PathRegexp:
			kind, length = 1, len(m.Path.Value)
		case length > 0:
			kind = 2
		}
	}
	headers := len(m.Headers) + len(m.Cookies) + min(len(m.Sources), 1)
	if g := m.GRPC; g != nil {
		return append(naiveCallScore(g), 1, headers, len(m.Query))
	}
	return []int{kind, length, 0, min(len(m.Methods), 1), headers, len(m.Query)}
}

// naiveCallScore is the kind of a match by service and method, and its lengths.
func naiveCallScore(g *config.GRPCMatch) []int {
	switch {
	case g.Service == "" && g.Method == "":
		return []int{0, 0, 0}
	case g.Type == config.ValueRegexp || g.Service == "":
		return []int{1, len(g.Service), len(g.Method)}
	case g.Method == "":
		return []int{2, len("/" + g.Service), 0}
	}
	return []int{3, len("/" + g.Service + "/" + g.Method), 0}
}

func naiveCall(g *config.GRPCMatch, path string) bool {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2)
	for i, want := range []string{g.Service, g.Method} {
		switch {
		case want == "":
			if (g.Service != "" && g.Type != config.ValueRegexp) || g.Service+g.Method == "" {
				continue // a service alone takes all that is below it
			}
			if i >= len(parts) || parts[i] == "" || strings.Contains(parts[i], "/") {
				return false
			}
		case i >= len(parts):
			return false
		case g.Type == config.ValueRegexp:
			if !regexp.MustCompile("^(?:" + want + ")$").MatchString(parts[i]) {
				return false
			}
		case parts[i] != want:
			return false
		}
	}
	return true
}

func naiveMatch(m *config.Match, r *Request) bool {
	if m.GRPC != nil && !(r.GRPC && naiveCall(m.GRPC, naivePath(string(r.Path)))) {
		return false
	}
	if m.Path != nil && !naivePathMatch(m.Path, naivePath(string(r.Path))) {
		return false
	}
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, string(r.Method)) {
		return false
	}
	headers, cookies := naiveHeaders(r)
	for _, v := range m.Headers {
		got, ok := headers[strings.ToLower(v.Name)]
		if !naiveValue(v, strings.Join(got, ", "), ok) {
			return false
		}
	}
	for _, v := range m.Cookies {
		got, ok := cookies[v.Name]
		if !naiveValue(v, got, ok) {
			return false
		}
	}
	for _, v := range m.Query {
		got, ok := naiveParameter(string(r.Query), v.Name)
		if !naiveValue(v, got, ok) {
			return false
		}
	}
	return len(m.Sources) == 0 || slices.ContainsFunc(m.Sources, func(p netip.Prefix) bool { return p.Contains(r.Source) })
}

func naivePathMatch(m *config.PathMatch, path string) bool {
	switch m.Type {
	case config.PathExact:
		return path == m.Value
	case config.PathRegexp:
		return regexp.MustCompile("^(?:" + m.Value + ")$").MatchString(path)
	}
	elements, want := strings.Split(path, "/"), strings.Split(strings.TrimRight(m.Value, "/"), "/")
	return m.Value == "/" || len(elements) >= len(want) && slices.Equal(elements[:len(want)], want)
}

// naivePath is the canonical form of a path made of the test's elements.
func naivePath(path string) string {
	path = strings.NewReplacer("%61", "a", "%2e", ".", "%2E", ".", "%2f", "%2F", "é", "%C3%A9", "%c3%a9", "%C3%A9").Replace(path)
	if !strings.HasPrefix(path, "/") {
		return path
	}
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".", "..":
			if s == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func naiveHeaders(r *Request) (headers map[string][]string, cookies map[string]string) {
	headers, cookies = make(map[string][]string), make(map[string]string)
	list, _ := r.Headers.(fields)
	for i := 0; i+1 < len(list); i += 2 {
		name := strings.ToLower(list[i])
		headers[name] = append(headers[name], list[i+1])
		if name != "cookie" {
			continue
		}
		for _, pair := range strings.Split(list[i+1], ";") {
			key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if _, again := cookies[key]; ok && !again {
				cookies[key] = value
			}
		}
	}
	return headers, cookies
}

func naiveParameter(query, name string) (string, bool) {
	for _, pair := range strings.Split(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, keyErr := url.QueryUnescape(key)
		value, valueErr := url.QueryUnescape(value)
		if pair != "" && keyErr == nil && valueErr == nil && key == name {
			return value, true
		}
	}
	return "", false
}

func naiveValue(m config.ValueMatch, got string, ok bool) bool {
	switch m.Type {
	case config.ValuePresent:
		return ok
	case config.ValueAbsent:
		return !ok
	case config.ValueRegexp:
		return ok && regexp.MustCompile("^(?:"+m.Value+")$").MatchString(got)
	}
	return ok && got == m.Value
}

// chooser makes up configurations and requests from a source of choices, from
// few words, so that they often meet.
type chooser struct{ below func(n int) int }

func pick[T any](c chooser, from ...T) T { return from[c.below(len(from))] }

// some is a list of up to most things.
func some[T any](c chooser, most int, one func() T) []T {
	var out []T
	for range c.below(most + 1) {
		out = append(out, one())
	}
	return out
}

func (c chooser) config() *config.Config {
	cfg := &config.Config{Listeners: []config.Listener{{Name: "web"}, {Name: "ops"}}}
	for i := range 1 + c.below(6) {
		route := config.Route{Name: fmt.Sprint("r", i)}
		if c.below(4) == 0 {
			route.Listeners = []string{pick(c, "web", "ops")}
		}
		route.Hostnames = some(c, 2, func() string {
			return pick(c, "a.example.com", "*.example.com", "*.a.example.com", "Example.com", "*.com", "b.a.example.com")
		})
		route.Rules = some(c, 12, func() config.Rule { return config.Rule{Matches: some(c, 2, c.match)} })
		cfg.Routes = append(cfg.Routes, route)
	}
	return cfg
}

func (c chooser) match() config.Match {
	var m config.Match
	switch c.below(6) {
	case 0:
		m.Path = exact(c.path("a", "b", "%2F", "%C3%A9"))
	case 1, 2:
		m.Path = prefix(c.path("a", "b", "%2F", "%C3%A9"))
	case 3:
		m.Path = like(pick(c, "/a/.*", "/[ab]", ".*a", "/a/(a|b)", "/b/a/?.*", "/(a|b)/.*", "^/a$", "/a//b.*", "//a.*"))
	}
	if m.Path == nil && c.below(2) == 0 {
		m.GRPC = &config.GRPCMatch{Service: pick(c, "", "a", "b"), Method: pick(c, "", "a", "b")}
		if m.GRPC.Service+m.GRPC.Method != "" && c.below(3) == 0 {
			m.GRPC = &config.GRPCMatch{Type: config.ValueRegexp, Service: pick(c, "", "[ab]", "a|b"), Method: pick(c, "a+", "b")}
		}
	}
	if c.below(4) == 0 {
		m.Methods = []string{pick(c, "GET", "POST")}
	}
	if c.below(4) == 0 {
		m.Sources = prefixes(pick(c, "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"))
	}
	m.Headers = some(c, c.below(3), func() config.ValueMatch { return c.value(pick(c, "x", "Y")) })
	m.Cookies = some(c, c.below(2), func() config.ValueMatch { return c.value(pick(c, "x", "y")) })
	m.Query = some(c, c.below(3), func() config.ValueMatch { return c.value(pick(c, "x", "y")) })
	return m
}

func (c chooser) value(name string) config.ValueMatch {
	m := config.ValueMatch{Name: name, Type: pick(c, config.ValueExact, config.ValueExact, config.ValueExact, config.ValuePresent, config.ValueAbsent, config.ValueRegexp)}
	switch m.Type {
	case config.ValueExact:
		m.Value = pick(c, "1", "2", "3", "1, 2")
	case config.ValueRegexp:
		m.Value = pick(c, "[12]", "1.*")
	}
	return m
}

// path is /, or a path of up to four elements.
func (c chooser) path(elements ...string) string {
	return "/" + strings.Join(some(c, 4, func() string { return pick(c, elements...) }), "/")
}

func (c chooser) request() *Request {
	r := &Request{
		Listener: c.below(3),
		Host:     []byte(pick(c, "a.example.com", "A.Example.Com:80", "b.a.example.com.", "c.b.a.example.com", "example.com", "b.example.com", "other", "")),
		Method:   []byte(pick(c, "GET", "POST", "HEAD")),
		Path:     []byte(c.path("a", "b", "a", "b", "", ".", "..", "%61", "%2f", "%2F", "%2e%2E", "é")),
		Source:   netip.MustParseAddr(pick(c, "10.1.2.3", "10.2.0.1", "2001:db8::1", "192.0.2.1")),
	}
	if c.below(20) == 0 {
		r.Path = []byte("*")
	}
	r.GRPC = c.below(3) == 0
	r.Query = []byte(strings.Join(some(c, 3, func() string {
		return pick(c, "x=1", "y=2", "x=3", "%78=1", "x=%31", "y=1,+2", "y", "", "z=1")
	}), "&"))
	r.Headers = fields(slices.Concat(some(c, 4, func() []string {
		if c.below(3) == 0 {
			return []string{"Cookie", pick(c, "x=1", "x=2; y=1", "y=3", "x=3;x=1")}
		}
		return []string{pick(c, "x", "X", "y"), pick(c, "1", "2", "3")}
	})...))
	return r
}

// agree compares the table, Explain and the naive search.
func agree(t *testing.T, cfg *config.Config, table *Table, r *Request) {
	t.Helper()
	route, rule, match := naive(cfg, r)
	got := table.Match(r)
	switch {
	case got == nil && route >= 0:
		t.Errorf("%s: no match, want route %d, rule %d, match %d", describeRequest(r), route, rule, match)
	case got != nil && (got.RouteIndex != route || got.Index != rule || r.Matched.Index != match):
		t.Errorf("%s: route %d, rule %d, match %d; want route %d, rule %d, match %d", describeRequest(r), got.RouteIndex, got.Index, r.Matched.Index, route, rule, match)
	}
	var explained *Rule
	for _, step := range table.Explain(r) {
		if step.Matched {
			explained = step.Rule
		}
	}
	if explained != got {
		t.Errorf("%s: matched %+v, but Explain says %+v", describeRequest(r), got, explained)
	}
}

func describeRequest(r *Request) string {
	return fmt.Sprintf("%s %s%s?%s from %s on %d with %q", r.Method, r.Host, r.Path, r.Query, r.Source, r.Listener, r.Headers)
}

// The seed is fixed, so that the outcome is the same in every run: there are
// no false failures.
func TestTableAgreesWithNaiveSearch(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	c := chooser{random.IntN}
	matched, total := 0, 0
	for range 500 {
		cfg := c.config()
		table, problems := Compile(cfg)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for range 60 {
			r := c.request()
			agree(t, cfg, table, r)
			total++
			if table.Match(r) != nil {
				matched++
			}
		}
		if t.Failed() {
			t.Fatalf("configuration: %+v", cfg.Routes)
		}
	}
	// Words that hardly ever meet would make this test worth nothing.
	if matched < total/4 || matched > total*3/4 {
		t.Errorf("%d of %d requests matched a rule, want about half", matched, total)
	}
}

func FuzzMatch(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 16 {
		seed := make([]byte, 400)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := chooser{func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b) % n
		}}
		cfg := c.config()
		table, problems := Compile(cfg)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for range 1 + len(data)/20 {
			agree(t, cfg, table, c.request())
		}
	})
}

// FuzzPath feeds arbitrary paths: the canonical form is stable and has no dot
// segments, and a rewrite of the root by the root is the canonical form.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/%2E", "/a//..//b/.", "*", "", "/%", "/é%", "/..%2f../x"} {
		f.Add([]byte(seed))
	}
	root := "/"
	f.Fuzz(func(t *testing.T, path []byte) {
		once := appendCanonical(nil, path)
		if twice := appendCanonical(nil, once); string(twice) != string(once) {
			t.Errorf("%q becomes %q and then %q", path, once, twice)
		}
		if len(path) == 0 || path[0] != '/' {
			return
		}
		for _, segment := range strings.Split(string(once), "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q becomes %q, which has a dot segment", path, once)
			}
		}
		if got := Rewritten(nil, &config.PathModifier{ReplacePrefixMatch: &root}, "/", path); string(got) != string(once) {
			t.Errorf("%q is rewritten to %q, want %q", path, got, once)
		}
	})
}
