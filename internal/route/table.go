package route

import "bytes"

// hosts holds the rules of one listener by hostname.
type hosts struct {
	exact    map[string]*paths
	wildcard map[string]*paths // by what follows "*."
	any      *paths            // routes without hostnames; may be nil
}

// paths holds the rules of one hostname by path.
type paths struct {
	entries  []entry          // all, in order of precedence
	exact    map[string]*list // nil if empty, which saves a look-up
	root     node
	patterns bool // there are regular expressions below root
}

// node is one path in a tree of path elements. Its cost is paid by depth of
// the configuration, not by the length of a request's path. In a large table
// every step to other memory is a cache miss, which is what matching costs; so
// nodes, lists and entries hold by value what they can.
type node struct {
	name     string // the last element
	parent   *node
	only     *node            // the child, if there is just one
	children map[string]*node // by name, if there are several
	prefix   list             // rules for this prefix
	patterns []*pattern       // rules whose regular expression begins with this path, best rank first
}

// pattern holds the rules that share one regular expression.
type pattern struct {
	test pathTest
	list list
}

// entry is one match of one rule.
type entry struct {
	rank    int // place in paths.entries: of several that match, the lowest wins
	rule    *Rule
	matched Matched
	free    bool // there are no conditions but the path
	matcher *Matcher
}

// list holds entries for one path, so that those which need a certain value
// are found by it.
type list struct {
	plain []entry // tried one after the other, in order
	keyed []keyed
	rank  int // lowest of all
}

// keyed holds entries that need a named value to be exactly something.
type keyed struct {
	name  valueName
	rank  int // lowest of all
	lists map[string]*list
}

// Match finds the rule for r and sets r.Matched, or returns nil if none
// matches. No lock, and no allocation once r's scratch space has grown; any
// number of goroutines, each with a Request of its own. The time depends on
// the depth of the path and on how many rules share it, not on the number of
// rules, except for regular expressions: those whose fixed beginning fits are
// tried one by one.
func (t *Table) Match(r *Request) *Rule {
	if r.Listener < 0 || r.Listener >= len(t.listeners) {
		return nil
	}
	e := t.listeners[r.Listener].find(r)
	if e == nil {
		return nil
	}
	r.Matched = e.matched
	return e.rule
}

// find asks the hostnames that match from the most specific to the least.
func (h *hosts) find(r *Request) *entry {
	path := canonical(&r.path, r.Path)
	host := r.hostname()
	if len(host) <= maxHost {
		if e := h.exact[string(host)].find(r, path); e != nil {
			return e
		}
		if len(h.wildcard) > 0 {
			if e := h.findWildcard(r, host, path); e != nil {
				return e
			}
		}
	}
	return h.any.find(r, path)
}

func (h *hosts) findWildcard(r *Request, host, path []byte) *entry {
	for i := 1; i < len(host); i++ {
		if host[i] != '.' {
			continue
		}
		if e := h.wildcard[string(host[i+1:])].find(r, path); e != nil {
			return e
		}
	}
	return nil
}

// find goes from the best kind of path match to the last: exact, prefixes from
// the longest, regular expressions, and what holds for every path.
func (p *paths) find(r *Request, path []byte) *entry {
	if p == nil {
		return nil
	}
	if e := p.exact[string(path)].find(r, nil); e != nil {
		return e
	}
	deepest := p.root.walk(path)
	for n := deepest; n != &p.root; n = n.parent {
		if e := n.prefix.find(r, nil); e != nil {
			return e
		}
	}
	if p.patterns {
		var best *entry
		for n := deepest; n != nil; n = n.parent {
			best = n.findPattern(r, path, best)
		}
		if best != nil {
			return best
		}
	}
	return p.root.prefix.find(r, nil)
}

// walk is the last node on the way along path's elements.
func (n *node) walk(path []byte) *node {
	for len(path) > 0 && path[0] == '/' {
		element := path[1:]
		if end := bytes.IndexByte(element, '/'); end >= 0 {
			element = element[:end]
		}
		child := n.child(element)
		if child == nil {
			return n
		}
		n, path = child, path[1+len(element):]
	}
	return n
}

func (n *node) child(element []byte) *node {
	if n.only != nil && string(element) == n.only.name {
		return n.only
	}
	return n.children[string(element)]
}

// findPattern is best, or a better entry among n's patterns.
func (n *node) findPattern(r *Request, path []byte, best *entry) *entry {
	for _, p := range n.patterns {
		if best != nil && p.list.rank > best.rank {
			return best
		}
		if p.test.regexp.Match(path) {
			best = p.list.find(r, best)
		}
	}
	return best
}

// find is the first entry that matches and comes before best, or best.
func (l *list) find(r *Request, best *entry) *entry {
	if l == nil {
		return best
	}
	for i := range l.keyed {
		k := &l.keyed[i]
		if best != nil && k.rank > best.rank {
			continue
		}
		if value, ok := r.lookup(k.name); ok {
			best = k.lists[string(value)].find(r, best)
		}
	}
	for i := range l.plain {
		e := &l.plain[i]
		if best != nil && e.rank > best.rank {
			return best
		}
		if e.free || e.matcher.rest(r) {
			return e
		}
	}
	return best
}
