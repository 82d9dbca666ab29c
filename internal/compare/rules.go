package compare

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Rules are what a user said about differences, compiled. They are read-only
// and may be shared. The zero value has none.
type Rules struct {
	all         []*rule
	named       map[string]bool // fields of headers and trailers that a rule names
	descriptors Descriptors
}

// verb is what a rule does.
type verb uint8

const (
	ignore verb = iota
	shape
	set
	key
	within // a number
	during // a time
	pattern
)

// rule is one rule, compiled.
type rule struct {
	said     string // the path, as written
	path     path
	endpoint endpoint
	verb     verb
	key      []string // for key: the names that lead to the scalar
	most     float64  // for within
	relative bool     // most is a share of the primary's value
	time     time.Duration
	pattern  *regexp.Regexp
}

// Descriptors sets where the types of messages of protobuf are looked up; nil,
// the default, means that messages are read by the numbers of their fields. It
// is called before the rules are used.
func (r *Rules) Descriptors(d Descriptors) { r.descriptors = d }

// Compile compiles the rules of a mirror. Its error is a [config.Errors] whose
// paths begin at the rules, as rules[2].path. Nil has no rules.
func Compile(c *config.Compare) (*Rules, error) {
	if c == nil {
		return &Rules{}, nil
	}
	var errs config.Errors
	r := &Rules{named: map[string]bool{}}
	index := make([]int, 0, len(c.Rules)) // in c.Rules of those in r.all
	for i := range c.Rules {
		compiled, err := compileRule(&c.Rules[i])
		if err != nil {
			err.Path = fmt.Sprintf("rules[%d].%s", i, err.Path)
			errs = append(errs, *err)
			continue
		}
		for j, other := range r.all {
			if compiled.contradicts(other) {
				errs = append(errs, config.FieldError{
					Path:    fmt.Sprintf("rules[%d].path", i),
					Message: fmt.Sprintf("%s and %s of rules[%d] say different things of the same place, and neither is more specific", compiled.said, other.said, index[j]),
					Hint:    "remove one, or name more of the path in one of them",
				})
				break
			}
		}
		r.all, index = append(r.all, compiled), append(index, i)
		if p := compiled.path; len(p) > 1 && p[0].name != "body" && p[1].sort == member {
			r.named[p[1].name] = true
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return r, nil
}

func compileRule(c *config.CompareRule) (*rule, *config.FieldError) {
	r := &rule{said: c.Path}
	var err error
	if r.path, err = parsePath(c.Path); err != nil {
		return nil, &config.FieldError{Path: "path", Message: err.Error()}
	}
	if r.endpoint, err = parseEndpoint(c.Endpoint); err != nil {
		return nil, &config.FieldError{Path: "endpoint", Message: err.Error()}
	}
	field, err := r.compileVerb(c)
	if err != nil {
		return nil, &config.FieldError{Path: field, Message: err.Error()}
	}
	if r.path[0].name == "status" && (r.verb == set || r.verb == key || r.verb == during) {
		return nil, &config.FieldError{Path: field, Message: "a status is a number", Hint: "use ignore, number or pattern"}
	}
	return r, nil
}

// compileVerb reads the one field that says what the rule does, and names the
// one that is wrong.
func (r *rule) compileVerb(c *config.CompareRule) (field string, err error) {
	var said []string
	say := func(is bool, name string, v verb) {
		if is {
			said = append(said, name)
			r.verb = v
		}
	}
	say(c.Ignore, "ignore", ignore)
	say(c.Shape, "shape", shape)
	say(c.Set, "set", set)
	say(c.Key != "", "key", key)
	say(c.Number != "", "number", within)
	say(c.Time != nil, "time", during)
	say(c.Pattern != "", "pattern", pattern)
	const one = "a rule has one of ignore, shape, set, key, number, time and pattern"
	switch {
	case len(said) == 0:
		return "path", fmt.Errorf("%s says nothing of how it is compared: %s", c.Path, one)
	case len(said) > 1:
		return said[1], fmt.Errorf("there is %s already: %s", said[0], one)
	}
	switch r.verb {
	case key:
		r.key, err = parseKey(c.Key)
	case within:
		r.most, r.relative, err = parseTolerance(c.Number)
	case during:
		if r.time = *c.Time; r.time <= 0 {
			err = fmt.Errorf("%v is no time by which values may differ: write one above zero, as 5s", r.time)
		}
	case pattern:
		if r.pattern, err = regexp.Compile(c.Pattern); err != nil {
			err = fmt.Errorf("%q is no regular expression of Go: %w", c.Pattern, err)
		}
	}
	return said[0], err
}

// parseKey reads the field that identifies elements: id, or meta.id.
func parseKey(s string) ([]string, error) {
	p, err := steps("." + s)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, step := range p {
		if step.sort != member {
			return nil, fmt.Errorf("%q is no field of an element: write its name, as id or meta.id", s)
		}
		names = append(names, step.name)
	}
	return names, nil
}

// parseTolerance reads 0.01 or 1%.
func parseTolerance(s string) (most float64, relative bool, err error) {
	digits, relative := strings.CutSuffix(s, "%")
	most, err = strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || !(most >= 0) || most > 1e300 {
		return 0, false, fmt.Errorf("%q is no amount by which numbers may differ: write one as 0.01 or 1%%", s)
	}
	if relative {
		most /= 100
	}
	return most, relative, nil
}

// exactness orders rules: the larger one is the more specific. A rule for an
// endpoint is more specific than one for all.
func (r *rule) exactness() int { return r.endpoint.exactness()<<32 + r.path.exactness() }

// contradicts says that there is a place for which nobody can know which of two
// rules is meant.
func (r *rule) contradicts(other *rule) bool {
	return r.exactness() == other.exactness() && !r.agrees(other) && r.endpoint.meets(other.endpoint) && r.path.meets(other.path)
}

// agrees says that two rules do the same.
func (r *rule) agrees(other *rule) bool {
	if r.verb != other.verb || r.most != other.most || r.relative != other.relative || r.time != other.time {
		return false
	}
	return strings.Join(r.key, "\x00") == strings.Join(other.key, "\x00") && (r.pattern == nil || r.pattern.String() == other.pattern.String())
}

// endpoint is what a rule is for. Empty parts stand for any.
type endpoint struct {
	method   string
	template []string // segments of the path; those in braces are alike
}

// parseEndpoint reads METHOD /template.
func parseEndpoint(s string) (endpoint, error) {
	if s == "" {
		return endpoint{}, nil
	}
	method, template, found := strings.Cut(s, " ")
	wrong := fmt.Errorf("%q is no endpoint: write a method and a template, as GET /users/{id}; either may be *", s)
	if !found || method == "" || template != "*" && !strings.HasPrefix(template, "/") || strings.ContainsAny(template, " ?") {
		return endpoint{}, wrong
	}
	var e endpoint
	if method != "*" {
		if strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
			return endpoint{}, wrong
		}
		e.method = method
	}
	if template != "*" {
		e.template = strings.Split(template, "/")
		for i, segment := range e.template {
			e.template[i] = anonymous(segment)
		}
	}
	return e, nil
}

// anonymous takes the name of a parameter away: /users/{id} and /users/{user}
// are one template.
func anonymous(segment string) string {
	if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") {
		return "{}"
	}
	return segment
}

func (e endpoint) exactness() int {
	n := 0
	if e.method != "" {
		n++
	}
	if e.template != nil {
		n += 2
	}
	return n
}

// meets says that there is an endpoint that both are for.
func (e endpoint) meets(other endpoint) bool {
	if e.method != "" && other.method != "" && e.method != other.method {
		return false
	}
	if e.template == nil || other.template == nil {
		return true
	}
	if len(e.template) != len(other.template) {
		return false
	}
	for i, segment := range e.template {
		if segment != other.template[i] {
			return false
		}
	}
	return true
}

// of returns the rules for an endpoint, as METHOD /template.
func (r *Rules) of(s string) []*rule {
	var rules []*rule
	is, err := parseEndpoint(s)
	for _, rule := range r.all {
		if rule.endpoint.exactness() == 0 || s != "" && err == nil && rule.endpoint.meets(is) {
			rules = append(rules, rule)
		}
	}
	return rules
}
