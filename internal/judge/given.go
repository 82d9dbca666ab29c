package judge

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is a node of the templates that were given.
type pattern struct {
	words map[string]*pattern
	one   *pattern // {name}
	rest  string   // template that ends in {name...} here
	end   string   // template that ends here
}

// compile adds templates to a tree of patterns.
func compile(given []string) (*pattern, error) {
	root := &pattern{}
	for i, template := range given {
		if err := root.add(template); err != nil {
			return nil, fmt.Errorf("endpoints[%d]: %q: %w", i, template, err)
		}
	}
	return root, nil
}

func (p *pattern) add(template string) error {
	path, found := strings.CutPrefix(template, "/")
	if !found {
		return errors.New("a template begins with /, as /users/{id}")
	}
	for {
		segment, rest, more := strings.Cut(path, "/")
		name, isParameter := parameter(segment)
		switch {
		case !isParameter && strings.ContainsAny(segment, "{}"):
			return fmt.Errorf("%q: a parameter is a whole segment, as {id}", segment)
		case isParameter && name == "":
			return fmt.Errorf("%q: a parameter has a name, as {id}", segment)
		case strings.HasSuffix(name, "..."):
			switch {
			case more:
				return fmt.Errorf("%q: what takes the rest of a path is its last segment", segment)
			case p.rest != "":
				return fmt.Errorf("the same as %s", p.rest)
			}
			p.rest = template
			return nil
		}
		p = p.child(segment, isParameter)
		if !more {
			break
		}
		path = rest
	}
	if p.end != "" {
		return fmt.Errorf("the same as %s", p.end)
	}
	p.end = template
	return nil
}

func (p *pattern) child(segment string, isParameter bool) *pattern {
	if isParameter {
		if p.one == nil {
			p.one = &pattern{}
		}
		return p.one
	}
	if p.words == nil {
		p.words = map[string]*pattern{}
	}
	if p.words[segment] == nil {
		p.words[segment] = &pattern{}
	}
	return p.words[segment]
}

// parameter returns the name between braces.
func parameter(segment string) (name string, ok bool) {
	if len(segment) < 2 || segment[0] != '{' || segment[len(segment)-1] != '}' {
		return "", false
	}
	name = segment[1 : len(segment)-1]
	return name, !strings.ContainsAny(name, "{}")
}

// match returns the template that a path without its leading slash belongs to, or
// nothing: words before parameters before the rest, from left to right.
func (p *pattern) match(path string) string {
	segment, rest, more := strings.Cut(path, "/")
	for _, next := range [2]*pattern{p.words[segment], p.one} {
		switch {
		case next == nil, next == p.one && segment == "":
		case !more && next.end != "":
			return next.end
		case !more:
			if next.rest != "" { // /files is none of /files/{path...}
				continue
			}
		default:
			if template := next.match(rest); template != "" {
				return template
			}
		}
	}
	return p.rest
}
