package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// hostsBuilder collects the matches of one listener by hostname.
type hostsBuilder struct {
	byHost map[hostname][]*definition
}

func (b *hostsBuilder) add(names []hostname, definitions []*definition) {
	if b.byHost == nil {
		b.byHost = make(map[hostname][]*definition)
	}
	// A hostname may be written twice, in two cases for instance.
	for _, name := range slices.Compact(slices.SortedFunc(slices.Values(names), compareHostnames)) {
		b.byHost[name] = append(b.byHost[name], definitions...)
	}
}

func compareHostnames(a, b hostname) int {
	return cmp.Or(strings.Compare(a.name, b.name), compareBool(a.wildcard, b.wildcard))
}

func (b *hostsBuilder) build() *hosts {
	h := &hosts{exact: make(map[string]*paths), wildcard: make(map[string]*paths)}
	names := make(interned)
	for name, definitions := range b.byHost {
		p := newPaths(definitions, names)
		switch {
		case name == hostname{}:
			h.any = p
		case name.wildcard:
			h.wildcard[name.name] = p
		default:
			h.exact[name.name] = p
		}
	}
	return h
}

// interned holds one copy of each path element, so that those of many rules
// are in the cache.
type interned map[string]string

func (in interned) of(s string) string {
	if same, ok := in[s]; ok {
		return same
	}
	in[s] = s
	return s
}

// newPaths sorts matches by precedence and files each under its path.
func newPaths(definitions []*definition, names interned) *paths {
	slices.SortFunc(definitions, byPrecedence)
	p := &paths{entries: make([]entry, len(definitions))}
	exact := make(map[string][]*entry)
	prefix := make(map[*node][]*entry)
	regexps := make(map[string][]*entry)
	var patterns []string // in order of their best rank
	for rank, d := range definitions {
		e := &p.entries[rank]
		*e = newEntry(rank, d)
		value := d.matcher.path.value
		switch d.matcher.path.kind {
		case config.PathExact:
			exact[value] = append(exact[value], e)
		case config.PathRegexp:
			if regexps[value] == nil {
				patterns = append(patterns, value)
			}
			regexps[value] = append(regexps[value], e)
		default:
			n := p.root.descend(value, names)
			prefix[n] = append(prefix[n], e)
		}
	}
	if len(exact) > 0 {
		p.exact = make(map[string]*list, len(exact))
	}
	for value, entries := range exact {
		l := newList(entries, nil)
		p.exact[value] = &l
	}
	for n, entries := range prefix {
		n.prefix = newList(entries, nil)
	}
	for _, value := range patterns {
		n := p.root.descend(fixedFolder(value), names)
		entries := regexps[value]
		n.patterns = append(n.patterns, &pattern{test: entries[0].matcher.path, list: newList(entries, nil)})
	}
	p.patterns = len(patterns) > 0
	return p
}

func newEntry(rank int, d *definition) entry {
	m := d.matcher
	e := entry{
		rank: rank, rule: d.rule, matched: Matched{Index: d.index}, matcher: m,
		free: !m.grpc && len(m.methods) == 0 && len(m.values) == 0 && len(m.sources) == 0 && len(m.identities) == 0,
	}
	if m.path.kind == config.PathPrefix {
		e.matched.Prefix = m.path.value
	}
	return e
}

// descend is the node for a path, made if need be. A slash at the end does not
// matter.
func (n *node) descend(path string, names interned) *node {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return n
	}
	for element := range strings.SplitSeq(path, "/") {
		child := n.child([]byte(element))
		if child == nil {
			child = &node{name: names.of(element), parent: n}
			n.adopt(child)
		}
		n = child
	}
	return n
}

func (n *node) adopt(child *node) {
	switch {
	case n.children != nil:
		n.children[child.name] = child
	case n.only != nil:
		n.children = map[string]*node{n.only.name: n.only, child.name: child}
		n.only = nil
	default:
		n.only = child
	}
}

// fewEntries are tried one after the other: looking up a value costs more.
const fewEntries = 8

// newList makes a list of entries, which are in order of precedence and not
// empty. Used are the values that led to it.
func newList(entries []*entry, used []valueName) list {
	l := list{rank: entries[0].rank}
	if len(entries) <= fewEntries {
		for _, e := range entries {
			l.plain = append(l.plain, *e)
		}
		return l
	}
	// An entry is filed under the value that most of the others need too, so
	// that few look-ups find all.
	needs := make(map[valueName]int)
	for _, e := range entries {
		for i := range e.matcher.values {
			if t := &e.matcher.values[i]; t.kind == config.ValueExact {
				needs[t.valueName]++
			}
		}
	}
	byValue := make(map[valueName]map[string][]*entry)
	for _, e := range entries {
		t := commonest(e.matcher, needs, used)
		if t == nil || needs[t.valueName] <= fewEntries/2 {
			l.plain = append(l.plain, *e)
			continue
		}
		if byValue[t.valueName] == nil {
			byValue[t.valueName] = make(map[string][]*entry)
		}
		byValue[t.valueName][t.value] = append(byValue[t.valueName][t.value], e)
	}
	for name, values := range byValue {
		l.keyed = append(l.keyed, newKeyed(name, values, used))
	}
	slices.SortFunc(l.keyed, func(a, b keyed) int { return cmp.Compare(a.rank, b.rank) })
	return l
}

func newKeyed(name valueName, values map[string][]*entry, used []valueName) keyed {
	k := keyed{name: name, rank: -1, lists: make(map[string]*list, len(values))}
	used = append(slices.Clone(used), name)
	for value, entries := range values {
		l := newList(entries, used)
		k.lists[value] = &l
		if k.rank < 0 || l.rank < k.rank {
			k.rank = l.rank
		}
	}
	return k
}

// commonest is m's exact value test with the name that is needed most, nil if
// there is none outside used.
func commonest(m *Matcher, needs map[valueName]int, used []valueName) *valueTest {
	var best *valueTest
	for i := range m.values {
		t := &m.values[i]
		if t.kind != config.ValueExact || slices.Contains(used, t.valueName) {
			continue
		}
		if best == nil || needs[t.valueName] > needs[best.valueName] {
			best = t
		}
	}
	return best
}
