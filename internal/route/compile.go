package route

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Compile builds the table of c's routes. A route with a mistake is left out
// and reported; the others are in force. A Config from the config package has
// no such mistakes. C must not be changed afterwards.
func Compile(c *config.Config) (*Table, []Problem) {
	t := &Table{config: c}
	var comp compiler
	var problems []Problem
	builders := make([]hostsBuilder, len(c.Listeners))
	bound := make([][]int, len(c.Listeners)) // indexes of the routes
	for i := range c.Routes {
		r := &routeCompiler{compiler: &comp, config: c, index: i}
		r.compile()
		if len(r.problems) > 0 {
			problems = append(problems, r.problems...)
			continue
		}
		for _, rule := range r.rules {
			rule.ID = len(t.rules)
			t.rules = append(t.rules, rule)
		}
		for _, l := range r.listeners {
			bound[l] = append(bound[l], i)
			builders[l].add(r.hostnames, r.definitions)
		}
	}
	for i := range builders {
		// Listeners mostly serve the same routes; then they share one table.
		same := slices.IndexFunc(bound[:i], func(other []int) bool { return slices.Equal(other, bound[i]) })
		if same >= 0 {
			t.listeners = append(t.listeners, t.listeners[same])
			continue
		}
		t.listeners = append(t.listeners, builders[i].build())
	}
	return t, problems
}

// definition is one match of one rule on its way to the table.
type definition struct {
	rule    *Rule
	index   int // of the match in the rule
	matcher *Matcher
}

// hostname is a name, or for a wildcard what follows "*.". The zero value
// stands for every host.
type hostname struct {
	name     string
	wildcard bool
}

// routeCompiler compiles one route, and finds all of its problems.
type routeCompiler struct {
	*compiler
	config *config.Config
	index  int // of the route

	listeners   []int
	hostnames   []hostname
	rules       []*Rule
	definitions []*definition
	problems    []Problem
}

func (r *routeCompiler) compile() {
	def := &r.config.Routes[r.index]
	for i, name := range def.Listeners {
		l := slices.IndexFunc(r.config.Listeners, func(l config.Listener) bool { return l.Name == name })
		if l < 0 {
			r.report(-1, fmt.Sprintf("listeners[%d]", i), fmt.Sprintf("there is no listener called %q", name))
			continue
		}
		r.listeners = append(r.listeners, l)
	}
	if len(def.Listeners) == 0 {
		for i := range r.config.Listeners {
			if !r.config.Listeners[i].Layer4() { // those are served only by routes that name them
				r.listeners = append(r.listeners, i)
			}
		}
	}
	for i, text := range def.Hostnames {
		name, wildcard, err := config.ParseHostname(text)
		if err != nil {
			r.report(-1, fmt.Sprintf("hostnames[%d]", i), err.Error())
			continue
		}
		r.hostnames = append(r.hostnames, hostname{name, wildcard})
	}
	if len(def.Hostnames) == 0 {
		r.hostnames = []hostname{{}}
	}
	for i := range def.Rules {
		r.compileRule(i, &def.Rules[i])
	}
}

func (r *routeCompiler) compileRule(index int, def *config.Rule) {
	rule := &Rule{Route: r.config.Routes[r.index].Name, RouteIndex: r.index, Index: index, Def: def}
	r.rules = append(r.rules, rule)
	if len(def.Matches) == 0 {
		r.definitions = append(r.definitions, &definition{rule: rule, matcher: everything})
	}
	for i := range def.Matches {
		m, problem := r.matcher(&def.Matches[i])
		if problem != nil {
			r.report(index, fmt.Sprintf("rules[%d].matches[%d].%s", index, i, problem.Path), problem.Message)
			continue
		}
		r.definitions = append(r.definitions, &definition{rule, i, m})
	}
}

func (r *routeCompiler) report(rule int, path, message string) {
	r.problems = append(r.problems, Problem{
		Route: r.config.Routes[r.index].Name, Rule: rule,
		Path: fmt.Sprintf("routes[%d].%s", r.index, path), Message: message,
	})
}

// everything is the match of a rule without matches.
var everything = &Matcher{path: pathTest{kind: config.PathPrefix, value: "/", length: [2]int{1}}}

// compiler compiles matches. Regular expressions are shared by pattern.
type compiler struct {
	regexps map[string]*regexp.Regexp
}

// matcher compiles m. A problem's Path is relative to m.
func (c *compiler) matcher(m *config.Match) (*Matcher, *Problem) {
	out := &Matcher{path: everything.path, methods: m.Methods, sources: m.Sources, identities: m.Identities}
	if m.Path != nil {
		if err := c.path(&out.path, m.Path); err != nil {
			return nil, &Problem{Rule: -1, Path: "path", Message: err.Error()}
		}
		out.path.length[0] = len(out.path.value)
	}
	if m.GRPC != nil {
		out.grpc = true
		if err := c.call(&out.path, m.GRPC); err != nil {
			return nil, &Problem{Rule: -1, Path: "grpc", Message: err.Error()}
		}
	}
	for _, group := range []struct {
		origin  origin
		field   string
		matches []config.ValueMatch
	}{{fromHeader, "headers", m.Headers}, {fromQuery, "query", m.Query}, {fromCookie, "cookies", m.Cookies}} {
		for i, v := range group.matches {
			t, err := c.value(group.origin, v)
			if err != nil {
				return nil, &Problem{Rule: -1, Path: fmt.Sprintf("%s[%d]", group.field, i), Message: err.Error()}
			}
			out.values = append(out.values, t)
		}
	}
	return out, nil
}

func (c *compiler) value(from origin, m config.ValueMatch) (valueTest, error) {
	t := valueTest{valueName: valueName{from, m.Name}, kind: m.Type, value: m.Value}
	if from == fromHeader {
		t.name = strings.ToLower(t.name)
	}
	var err error
	switch m.Type {
	case "":
		t.kind = config.ValueExact
	case config.ValueExact, config.ValuePresent, config.ValueAbsent:
	case config.ValueRegexp:
		t.regexp, err = c.regexp(m.Value)
	default:
		err = fmt.Errorf("%q is not a way to compare a value", m.Type)
	}
	return t, err
}

func (c *compiler) path(t *pathTest, m *config.PathMatch) error {
	if m.Type != config.PathRegexp && !strings.HasPrefix(m.Value, "/") {
		return fmt.Errorf("%q does not begin with /", m.Value)
	}
	var err error
	switch m.Type {
	case config.PathExact:
		*t = pathTest{kind: m.Type, value: string(appendCanonical(nil, []byte(m.Value)))}
	case config.PathPrefix, "":
		*t = pathTest{kind: config.PathPrefix, value: prefixOf(m.Value)}
	case config.PathRegexp:
		*t = pathTest{kind: m.Type, value: m.Value}
		t.regexp, err = c.regexp(m.Value)
	default:
		err = fmt.Errorf("%q is not a way to compare a path", m.Type)
	}
	return err
}

func (c *compiler) regexp(pattern string) (*regexp.Regexp, error) {
	if re := c.regexps[pattern]; re != nil {
		return re, nil
	}
	re, err := config.CompileRegexp(pattern)
	if err != nil {
		return nil, err
	}
	if c.regexps == nil {
		c.regexps = make(map[string]*regexp.Regexp)
	}
	c.regexps[pattern] = re
	return re, nil
}

// fixedFolder is the part of a path, up to its last slash, that everything a
// pattern matches begins with.
func fixedFolder(pattern string) string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	parts := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	for len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		parts = parts[1:]
	}
	if len(parts) == 0 || parts[0].Op != syntax.OpLiteral || parts[0].Flags&syntax.FoldCase != 0 {
		return ""
	}
	literal := string(parts[0].Rune)
	if literal[0] != '/' {
		return ""
	}
	return literal[:strings.LastIndexByte(literal, '/')+1]
}

// byPrecedence orders matches of one hostname; see the package's tests for the
// order in full.
func byPrecedence(a, b *definition) int {
	return cmp.Or(
		cmp.Compare(pathClass(b.matcher), pathClass(a.matcher)),
		slices.Compare(b.matcher.path.length[:], a.matcher.path.length[:]),
		-compareBool(a.matcher.byMethod(), b.matcher.byMethod()),
		cmp.Compare(b.matcher.headerLike(), a.matcher.headerLike()),
		cmp.Compare(b.matcher.parameters(), a.matcher.parameters()),
		cmp.Compare(a.rule.RouteIndex, b.rule.RouteIndex),
		cmp.Compare(a.rule.Index, b.rule.Index),
		cmp.Compare(a.index, b.index),
	)
}

// pathClass ranks kinds of path matches. A match for every path comes last:
// otherwise a catch-all rule would hide all regular expressions.
func pathClass(m *Matcher) int {
	switch {
	case m.path.kind == config.PathExact:
		return 3
	case m.path.kind == config.PathPrefix && m.path.value != "/":
		return 2
	case m.path.kind == config.PathRegexp:
		return 1
	}
	return 0
}

// byMethod says whether the HTTP method decides, as it does for gRPC calls.
func (m *Matcher) byMethod() bool { return m.grpc || len(m.methods) > 0 }

// headerLike counts headers and cookies, and sources and identities as one each.
func (m *Matcher) headerLike() int {
	n := len(m.values) - m.parameters()
	if len(m.sources) > 0 {
		n++
	}
	if len(m.identities) > 0 {
		n++
	}
	return n
}

func (m *Matcher) parameters() int {
	n := 0
	for i := range m.values {
		if m.values[i].origin == fromQuery {
			n++
		}
	}
	return n
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
