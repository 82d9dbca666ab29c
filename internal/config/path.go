package config

import (
	"iter"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// place is where a value is in the configuration, as a linked list towards the
// root, so that naming a place costs nothing until there is an error. A nil
// place is the root.
type place struct {
	parent *place
	name   string // of a field; empty for an element of a list
	index  int
}

func (p *place) field(name string) *place { return &place{parent: p, name: name} }
func (p *place) at(i int) *place          { return &place{parent: p, index: i} }

// String is routes[0].rules[1].percent.
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.name == "":
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.parent == nil:
		return p.name
	}
	return p.parent.String() + "." + p.name
}

// failures are the places where decoding failed.
type failures struct {
	at     map[string]bool // the places themselves
	around map[string]bool // everything that they are in
}

// newFailures takes the problems of decoding. A misspelt field also counts as
// a failure of the one that was meant.
func newFailures(errs Errors, meant []string) *failures {
	f := &failures{at: make(map[string]bool), around: make(map[string]bool)}
	add := func(path string) {
		f.at[path] = true
		for outer := range outwards(path) {
			f.around[outer] = true
		}
	}
	for _, e := range errs {
		add(e.Path)
	}
	for _, path := range meant {
		add(path)
	}
	return f
}

// explain reports whether a problem at path may only be the consequence of a
// failure there, inside or around: it would say the same again, or worse,
// something else.
func (f *failures) explain(path string) bool {
	if f.around[path] {
		return true
	}
	for outer := range outwards(path) {
		if f.at[outer] {
			return true
		}
	}
	return false
}

// outwards goes from path to the root, which is "".
func outwards(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(path) && path != "" {
			path = path[:max(strings.LastIndexAny(path, ".["), 0)]
		}
	}
}

// located sets the line of every problem in errs by walking the document, and
// leaves out what failures of decoding explain.
func located(errs Errors, root *yaml.Node, f *failures) Errors {
	kept := errs[:0]
	for _, e := range errs {
		if !f.explain(e.Path) {
			e.Line = lineOf(root, e.Path)
			kept = append(kept, e)
		}
	}
	return kept
}

// Locate sets the lines of problems in a document that was parsed without one, but
// whose fields say what nobody can obey.
func (e Errors) Locate(document []byte) {
	root, err := parseDocument(document)
	if err != nil {
		return
	}
	for i := range e {
		e[i].Line = lineOf(root, e[i].Path)
	}
}

// lineOf is the line of the value at path, or of the nearest thing around it
// that is written in the document.
func lineOf(n *yaml.Node, path string) int {
	line := n.Line
	for path != "" {
		n = resolved(n)
		var step string
		if path[0] == '[' {
			step, path, _ = strings.Cut(path[1:], "]")
			// Only elements that were decoded have a path, so that i is one.
			i, _ := strconv.Atoi(step)
			if i >= len(n.Content) {
				return line // it is another document by now
			}
			n = n.Content[i]
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			step, path = path[:end], path[end:]
			value := child(n, step)
			if value == nil {
				return line
			}
			n = value
		}
		line = n.Line
	}
	return line
}

// child is the value of a mapping's key, nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// resolved is the node that an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
