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
	for i := range c.Routes {
		compiled, bad := comp.route(c, i)
		if len(bad) > 0 {
			problems = append(problems, bad...)
			continue
		}
		for _, e := range compiled.entries {
			e.rule = compiled.rules[e.ruleIndex]
		}
		for _, rule := range compiled.rules {
			rule.ID = len(t.rules)
			t.rules = append(t.rules, rule)
		}
		for _, l := range compiled.listeners {
			builders[l].add(compiled)
		}
	}
	for i := range builders {
		t.listeners = append(t.listeners, builders[i].build())
	}
	return t, problems
}

// compiler compiles the parts of rules. Regular expressions are shared by
// pattern.
type compiler struct {
	regexps map[string]*regexp.Regexp
}

// definition is one match of one rule on its way to the table.
type definition struct {
	ruleIndex int // in its route
	index     int // of the match in the rule
	rule      *Rule
	matcher   *Matcher
}

// compiledRoute is a route without mistakes.
type compiledRoute struct {
	listeners []int
	hostnames []hostname
	rules     []*Rule
	entries   []*definition
}

type hostname struct {
	name     string // for a wildcard, what follows "*."
	wildcard bool
}

func (c *compiler) route(cfg *config.Config, index int) (*compiledRoute, []Problem) {
	def := &cfg.Routes[index]
	out := new(compiledRoute)
	var problems []Problem
	report := func(rule int, message, format string, args ...any) {
		problems = append(problems, Problem{
			Route: def.Name, Rule: rule, Message: message,
			Path: fmt.Sprintf("routes[%d]", index) + fmt.Sprintf(format, args...),
		})
	}
	for i, name := range def.Listeners {
		l := slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == name })
		if l < 0 {
			report(-1, fmt.Sprintf("there is no listener %q", name), ".listeners[%d]", i)
			continue
		}
		out.listeners = append(out.listeners, l)
	}
	if len(def.Listeners) == 0 {
		for i := range cfg.Listeners {
			out.listeners = append(out.listeners, i)
		}
	}
	for i, text := range def.Hostnames {
		name, wildcard, err := config.ParseHostname(text)
		if err != nil {
			report(-1, err.Error(), ".hostnames[%d]", i)
			continue
		}
		out.hostnames = append(out.hostnames, hostname{name, wildcard})
	}
	for i := range def.Rules {
		rule := &def.Rules[i]
		out.rules = append(out.rules, &Rule{Route: def.Name, RouteIndex: index, Index: i, Def: rule})
		if len(rule.Matches) == 0 {
			out.entries = append(out.entries, &definition{ruleIndex: i, matcher: everything})
		}
		for j := range rule.Matches {
			m, err := c.matcher(&rule.Matches[j])
			if err != nil {
				p := err.(Problem)
				report(i, p.Message, ".rules[%d].matches[%d].%s", i, j, p.Path)
				continue
			}
			out.entries = append(out.entries, &definition{ruleIndex: i, index: j, matcher: m})
		}
	}
	return out, problems
}

// everything is the match of a rule without matches.
var everything = &Matcher{path: pathTest{kind: config.PathPrefix, value: "/"}}

// matcher compiles m. The error is a Problem whose Path is relative to m.
func (c *compiler) matcher(m *config.Match) (*Matcher, error) {
	out := &Matcher{path: everything.path, methods: m.Methods, sources: m.Sources}
	if m.Path != nil {
		if err := c.path(&out.path, m.Path); err != nil {
			return nil, Problem{Path: "path.value", Message: err.Error()}
		}
	}
	for _, group := range []struct {
		origin  origin
		field   string
		matches []config.ValueMatch
	}{{fromHeader, "headers", m.Headers}, {fromQuery, "query", m.Query}, {fromCookie, "cookies", m.Cookies}} {
		for i, v := range group.matches {
			t := valueTest{valueName: valueName{group.origin, v.Name}, kind: v.Type, value: v.Value}
			if t.origin == fromHeader {
				t.name = strings.ToLower(t.name)
			}
			var err error
			switch v.Type {
			case "":
				t.kind = config.ValueExact
			case config.ValueExact, config.ValuePresent, config.ValueAbsent:
			case config.ValueRegexp:
				t.regexp, err = c.regexp(v.Value)
			default:
				err = fmt.Errorf("%q is not a way to compare a value", v.Type)
			}
			if err != nil {
				return nil, Problem{Path: fmt.Sprintf("%s[%d]", group.field, i), Message: err.Error()}
			}
			out.values = append(out.values, t)
		}
	}
	return out, nil
}

func (c *compiler) path(t *pathTest, m *config.PathMatch) error {
	if m.Type != config.PathRegexp && !strings.HasPrefix(m.Value, "/") {
		return fmt.Errorf("path %q does not begin with /", m.Value)
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
	return literal[:strings.LastIndexByte(literal, '/')+1]
}

// byPrecedence orders matches of one hostname; see the package's tests for the
// order in full.
func byPrecedence(a, b *definition) int {
	return cmp.Or(
		cmp.Compare(pathClass(b.matcher), pathClass(a.matcher)),
		cmp.Compare(len(b.matcher.path.value), len(a.matcher.path.value)),
		-compareBool(len(a.matcher.methods) > 0, len(b.matcher.methods) > 0),
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

// headerLike counts headers, cookies, and sources as one.
func (m *Matcher) headerLike() int {
	n := len(m.values) - m.parameters()
	if len(m.sources) > 0 {
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
