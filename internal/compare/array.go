package compare

import (
	"bytes"
	"slices"
)

// What bounds the cost of aligning arrays.
const (
	maxWork   = 4_000_000 // steps of a pair, some ten milliseconds
	maxTable  = 250_000   // cells of a table for one array
	maxEdits  = 64        // insertions and deletions that are looked for in longer arrays
	maxLoose  = 512       // elements with nothing to hold on to that are compared one by one
	maxFitted = 1 << 10   // pairs of elements that are looked at for what they have in common
	maxKeys   = 8         // members of elements that are tried as a key
)

// stretch is a part of two arrays that differs, without what is the same before
// and after it.
type stretch struct {
	a, b         []node
	from         int // index of the first ones
	indices      indexed
	held         bool // what follows is the same
	openA, openB bool // the array was cut
}

// elements compares two arrays, which differ: by what identifies their elements
// if there is such a thing, else by what they have in common in the same order.
func (c *Comparer) elements(a, b *node) {
	s := stretch{a: c.a.children(a), b: c.b.children(b), indices: a.indexed(b.count)}
	s.openA, s.openB = a.is&cut != 0, b.is&cut != 0
	for len(s.a) > 0 && len(s.b) > 0 && s.a[0].hash == s.b[0].hash {
		s.a, s.b, s.from = s.a[1:], s.b[1:], s.from+1
	}
	for !s.openA && !s.openB && len(s.a) > 0 && len(s.b) > 0 && s.a[len(s.a)-1].hash == s.b[len(s.b)-1].hash {
		s.a, s.b, s.held = s.a[:len(s.a)-1], s.b[:len(s.b)-1], true
	}
	if len(s.a) <= 1 && len(s.b) <= 1 || len(s.a) == 0 || len(s.b) == 0 {
		c.gap(&s, 0, len(s.a), 0, len(s.b))
		return
	}
	c.mask(&s)
	rule, _ := c.at.rule()
	mark := len(c.ints)
	matches := c.take(len(s.a))
	switch {
	case rule != nil && rule.verb == key && c.shared(&s, rule.key, matches) > 0:
		c.matched(a, b, &s, matches)
	case c.sameElements(&s, matches, rule != nil && rule.verb == set):
		c.matched(a, b, &s, matches)
	case c.identified(&s, matches):
		c.matched(a, b, &s, matches)
	case c.aligned(&s, matches):
		c.anchored(&s, matches)
	case len(s.a) == len(s.b) || max(len(s.a), len(s.b)) <= maxLoose:
		c.gap(&s, 0, len(s.a), 0, len(s.b))
	default:
		c.report(Length, a, b)
	}
	c.ints = c.ints[:mark]
}

// take returns n zeros. They are a part of ints, which is used as a stack.
func (c *Comparer) take(n int) []int32 {
	mark := len(c.ints)
	c.ints = slices.Grow(c.ints, n)[:mark+n]
	taken := c.ints[mark : mark+n : mark+n]
	clear(taken)
	return taken
}

// pair compares two elements that stand for each other.
func (c *Comparer) pair(s *stretch, i, j int) {
	a, b := &s.a[i], &s.b[j]
	if a.hash == b.hash && a.form == b.form {
		return
	}
	c.at.element(s.from+i, s.indices)
	c.walk(a, b)
	c.at.leave()
}

// alone reports an element that only one side has.
func (c *Comparer) alone(s *stretch, k Kind, i int, a, b *node) {
	c.at.element(s.from+i, s.indices)
	c.report(k, a, b)
	c.at.leave()
}

// gap compares elements between two places that were aligned. If there are more
// of them on one side, those that have the most in common stand for each other.
func (c *Comparer) gap(s *stretch, i, endA, j, endB int) {
	if n, m := endA-i, endB-j; n != m && n > 0 && m > 0 && n*m <= maxFitted {
		mark := len(c.ints)
		defer func() { c.ints = c.ints[:mark] }()
		for at, match := range c.fitted(s.a[i:endA], s.b[j:endB]) {
			if match != 0 {
				to := endB - m + int(match) - 1
				c.inTurn(s, i, endA-n+at, j, to)
				c.pair(s, endA-n+at, to)
				i, j = endA-n+at+1, to+1
			}
		}
	}
	c.inTurn(s, i, endA, j, endB)
}

// inTurn compares elements one by one, as far as there are two; what is left over
// is missing, or extra.
func (c *Comparer) inTurn(s *stretch, i, endA, j, endB int) {
	last := endA == len(s.a) && endB == len(s.b) && !s.held
	for ; i < endA && j < endB; i, j = i+1, j+1 {
		c.pair(s, i, j)
	}
	for ; i < endA && !(last && s.openB); i++ {
		c.alone(s, Missing, i, &s.a[i], nil)
	}
	for ; j < endB && !(last && s.openA); j++ {
		c.alone(s, Extra, j, nil, &s.b[j])
	}
}

// anchored compares two stretches of which some elements, in order, are matched.
func (c *Comparer) anchored(s *stretch, matches []int32) {
	i, j := 0, 0
	for at, match := range matches {
		if match != 0 {
			c.gap(s, i, at, j, int(match)-1)
			c.pair(s, at, int(match)-1)
			i, j = at+1, int(match)
		}
	}
	c.gap(s, i, len(s.a), j, len(s.b))
}

// matched compares two stretches of which elements are matched in any order:
// what has no match is missing, or extra.
func (c *Comparer) matched(a, b *node, s *stretch, matches []int32) {
	used := c.take(len(s.b))
	last, ordered := int32(0), true
	for i, match := range matches {
		if match == 0 {
			if !s.openB {
				c.alone(s, Missing, i, &s.a[i], nil)
			}
			continue
		}
		used[match-1] = 1
		ordered = ordered && match > last
		last = match
		c.pair(s, i, int(match)-1)
	}
	for j := range s.b {
		if used[j] == 0 && !s.openA {
			c.alone(s, Extra, j, nil, &s.b[j])
		}
	}
	if !ordered {
		c.report(Order, a, b)
	}
}

// sameElements matches elements that are the same but for what does not count.
// It returns false if some have no match, unless the order does not matter.
func (c *Comparer) sameElements(s *stretch, matches []int32, unordered bool) bool {
	if s.openA || s.openB || !unordered && (len(s.a) != len(s.b) || sum(s.a) != sum(s.b)) {
		return false
	}
	for j := len(s.b) - 1; j >= 0; j-- {
		c.places.put(s.b[j].mask, j, len(s.b))
	}
	left := 0
	for i := range s.a {
		j, found := c.places.pop(s.a[i].mask)
		if !found {
			left++
			continue
		}
		matches[i] = int32(j) + 1
	}
	c.places.clear()
	if left > 0 && !unordered {
		clear(matches)
		return false
	}
	c.leftovers(s, matches, left)
	return true
}

// leftovers matches what a set has left on both sides, if it is no scalar: it is
// the same element changed more often than another one.
func (c *Comparer) leftovers(s *stretch, matches []int32, left int) {
	if left == 0 || len(s.b)-(len(s.a)-left) != left {
		return
	}
	used := c.take(len(s.b))
	for _, match := range matches {
		if match != 0 {
			used[match-1] = 1
		}
	}
	j := 0
	for i := range matches {
		if matches[i] != 0 {
			continue
		}
		for used[j] != 0 {
			j++
		}
		if s.a[i].count > 0 && s.b[j].form == s.a[i].form {
			matches[i] = int32(j) + 1
		}
		j++
	}
}

func sum(nodes []node) (total uint64) {
	for i := range nodes {
		total += nodes[i].mask
	}
	return total
}

// identified matches elements by the member that seems to identify them: a scalar
// of which no value occurs twice, and of which both sides share the most.
func (c *Comparer) identified(s *stretch, matches []int32) bool {
	if s.a[0].form != object || s.a[0].is&mapped != 0 {
		return false
	}
	var best []string
	bestShared, tried := 0, 0
	for _, likely := range [...]bool{true, false} {
		for i := range c.a.children(&s.a[0]) {
			if tried == maxKeys {
				break
			}
			m := &c.a.nodes[int(s.a[0].first)+i]
			name := c.a.in(m.name)
			if likelyKey(name) != likely || !c.a.inside(m).identifies() {
				continue
			}
			names := []string{string(name)}
			tried++
			if shared := c.shared(s, names, nil); shared > bestShared {
				best, bestShared = names, shared
			}
		}
		if bestShared == min(len(s.a), len(s.b)) {
			break
		}
	}
	if 2*bestShared < min(len(s.a), len(s.b)) || bestShared == 0 {
		return false
	}
	return c.shared(s, best, matches) > 0
}

// likelyKey says that a name is one that often identifies: those are tried first.
func likelyKey(name []byte) bool {
	switch string(name) {
	case "id", "key", "code", "sku", "name", "slug", "uuid":
		return true
	}
	return bytes.HasSuffix(name, []byte("id")) || bytes.HasSuffix(name, []byte("Id")) || bytes.HasSuffix(name, []byte("ID"))
}

// shared counts the elements that a member's value identifies on both sides, and
// notes them in matches unless that is nil. It is 0 if the member is missing
// somewhere, or one value occurs twice.
func (c *Comparer) shared(s *stretch, names []string, matches []int32) int {
	c.work -= len(s.a) + len(s.b)
	defer c.places.clear()
	defer c.own.clear()
	for j := range s.b {
		m := c.b.scalarAt(&s.b[j], names)
		if m == nil || c.places.has(m.hash) {
			return 0
		}
		c.places.put(m.hash, j, len(s.b))
	}
	count := 0
	for i := range s.a {
		m := c.a.scalarAt(&s.a[i], names)
		if m == nil || c.own.has(m.hash) {
			clear(matches)
			return 0
		}
		c.own.put(m.hash, i, len(s.a))
		if j, found := c.places.pop(m.hash); found {
			count++
			if matches != nil {
				matches[i] = int32(j) + 1
			}
		}
	}
	return count
}

// scalarAt returns the scalar that names lead to, nil if there is none.
func (t *tree) scalarAt(n *node, names []string) *node {
	for _, name := range names {
		if n = t.memberOf(n, name); n == nil {
			return nil
		}
	}
	if !n.identifies() {
		return nil
	}
	return n
}

// identifies says that a node may identify what it is a member of.
func (n *node) identifies() bool { return n.form == text || n.form == number }

// inside returns what is in a group of one; of anything else, itself.
func (t *tree) inside(n *node) *node {
	if n.is&grouped != 0 && n.count == 1 {
		return &t.nodes[n.first]
	}
	return n
}

// memberOf returns the member of an object with a name, nil if there is none. A
// group of one is what is in it.
func (t *tree) memberOf(n *node, name string) *node {
	if n.form != object {
		return nil
	}
	for i := range t.children(n) {
		m := &t.nodes[int(n.first)+i]
		if string(t.in(m.name)) != name {
			continue
		}
		return t.inside(m)
	}
	return nil
}
