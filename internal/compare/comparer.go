package compare

import (
	"bytes"
	"slices"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Options are what is known of a pair besides its two answers.
type Options struct {
	// Endpoint is METHOD /template, for rules that name one. Empty: only those for
	// all endpoints hold.
	Endpoint string
	// Demoted says that a place, by its generalised path, differs by itself: only
	// the shape of its values is compared. Nil = none.
	Demoted func(path string) bool
}

// Comparer compares pairs. One goroutine uses it at a time: what it needs for a
// pair is kept and used again for the next.
type Comparer struct {
	rules     *Rules
	endpoints map[string][]*rule // those for each endpoint that was seen

	a, b    tree // of the primary's answer, and of the shadow's
	demoted func(path string) bool
	at      place
	found   findings
	work    int               // steps of aligning arrays that this pair may still take
	paths   map[string]string // so that a path is one string however often it is met
	head    []field           // of the answer that is being read
	trailer []field
	scratch []uint32 // a stack of indices of members
	ints    []int32  // a stack of what aligning needs
	places  places
	own     places
}

// What a comparer remembers is bounded; beyond that it begins anew.
const (
	maxEndpoints = 1 << 10
	maxPaths     = 1 << 12
)

// New makes a comparer. Nil rules are none.
func New(r *Rules) *Comparer {
	if r == nil {
		r = &Rules{}
	}
	return &Comparer{rules: r, endpoints: map[string][]*rule{}, paths: map[string]string{}}
}

// Compare finds what differs between the outcomes of one exchange. It changes
// neither, and the result holds nothing of them.
func (c *Comparer) Compare(x *traffic.Exchange, primary, shadow *traffic.Outcome, o Options) Result {
	if !paired(primary, shadow) {
		return Result{Class: Infra}
	}
	if shadow.Fate == traffic.Failed {
		return Result{Class: ShadowError, Differences: []Difference{noAnswer(primary, shadow)}}
	}
	if sameBytes(primary.Answer, shadow.Answer) && primary.Status == shadow.Status {
		return Result{Class: Match, Cut: primary.Answer.Cut()}
	}
	c.begin(o)
	c.answers(x, primary, shadow)
	c.walk(c.a.root(), c.b.root())
	if primary.Answer.Cut() || shadow.Answer.Cut() {
		c.beyond(primary.Answer, shadow.Answer)
	}
	result := c.found.result()
	result.Cut = primary.Answer.Cut() || shadow.Answer.Cut() || c.a.full || c.b.full
	result.Class = c.found.class(primary, shadow)
	return result
}

// begin makes ready for a pair.
func (c *Comparer) begin(o Options) {
	rules, known := c.endpoints[o.Endpoint]
	if !known {
		if len(c.endpoints) >= maxEndpoints {
			clear(c.endpoints)
		}
		rules = c.rules.of(o.Endpoint)
		c.endpoints[o.Endpoint] = rules
	}
	c.demoted = o.Demoted
	c.at.start(rules)
	c.found = findings{}
	c.work = maxWork
}

// intern returns the generalised path of the place as a string.
func (c *Comparer) intern() string {
	if s, known := c.paths[string(c.at.path)]; known {
		return s
	}
	if len(c.paths) >= maxPaths {
		clear(c.paths)
	}
	s := string(c.at.path)
	c.paths[s] = s
	return s
}

// walk compares two nodes that stand for each other.
func (c *Comparer) walk(a, b *node) {
	if a.hash == b.hash && a.form == b.form {
		return
	}
	if rule, _ := c.at.rule(); rule != nil && rule.verb == ignore && !c.at.ruledBelow() {
		c.report(Changed, a, b)
		return
	}
	switch {
	case a.form == b.form:
	case a.form == null || b.form == null:
		c.report(Null, a, b)
		return
	case a.is&b.is&guessed != 0:
		c.report(Changed, a, b)
		return
	default:
		c.report(Type, a, b)
		return
	}
	switch a.form {
	case object:
		c.members(a, b)
	case array:
		c.elements(a, b)
	case opaque:
		if a.text.size != b.text.size {
			c.report(Length, a, b)
			return
		}
		c.report(Changed, a, b)
	case number:
		if !sameNumber(c.a.in(a.text), c.b.in(b.text)) {
			c.report(Changed, a, b)
		}
	case boolean, text:
		c.report(Changed, a, b)
	}
}

// members compares two objects. Mostly their names come in the same order; where
// that ends, the rest is sorted.
func (c *Comparer) members(a, b *node) {
	data := c.a.maplike(a) || c.b.maplike(b)
	as, bs := c.a.children(a), c.b.children(b)
	i, before := 0, c.found.structural
	for i < len(as) && i < len(bs) && bytes.Equal(c.a.in(as[i].name), c.b.in(bs[i].name)) {
		c.member(&as[i], &bs[i], data)
		i++
	}
	if i < len(as) || i < len(bs) {
		c.sorted(a, b, i, data)
	}
	if (a.is|b.is)&ordered != 0 && c.found.structural == before && !bytes.Equal(c.a.in(a.text), c.b.in(b.text)) {
		c.report(Order, a, b) // of elements of XML
	}
}

// member compares two members of one name.
func (c *Comparer) member(a, b *node, data bool) {
	if a.hash == b.hash && a.form == b.form {
		return
	}
	c.at.member(c.a.in(a.name), data)
	c.walk(a, b)
	c.at.leave()
}

// sorted compares the members from index from on.
func (c *Comparer) sorted(a, b *node, from int, data bool) {
	as, bs := c.a.children(a), c.b.children(b)
	mark := len(c.scratch)
	left := c.byName(&c.a, as, from)
	right := c.byName(&c.b, bs, from)
	for len(left) > 0 || len(right) > 0 {
		var order int
		switch {
		case len(left) == 0:
			order = 1
		case len(right) == 0:
			order = -1
		default:
			order = bytes.Compare(c.a.in(as[left[0]].name), c.b.in(bs[right[0]].name))
		}
		switch {
		case order == 0:
			c.member(&as[left[0]], &bs[right[0]], data)
			left, right = left[1:], right[1:]
		case order < 0:
			if b.is&cut == 0 {
				c.lone(Missing, &as[left[0]], nil, data)
			}
			left = left[1:]
		default:
			if a.is&cut == 0 {
				c.lone(Extra, nil, &bs[right[0]], data)
			}
			right = right[1:]
		}
	}
	c.scratch = c.scratch[:mark]
}

// lone reports a member that only one side has; of a group, what is in it.
func (c *Comparer) lone(k Kind, a, b *node, data bool) {
	n, t := a, &c.a
	if a == nil {
		n, t = b, &c.b
	}
	c.at.member(t.in(n.name), data)
	defer c.at.leave()
	if n.is&grouped == 0 {
		c.report(k, a, b)
		return
	}
	s := stretch{indices: n.indexed(0)}
	for i := range t.children(n) {
		child := &t.nodes[int(n.first)+i]
		if a != nil {
			c.alone(&s, k, i, child, nil)
		} else {
			c.alone(&s, k, i, nil, child)
		}
	}
}

// byName returns the indices of members, the first of which is from, sorted by their names. They
// are a part of scratch, which is used as a stack.
func (c *Comparer) byName(t *tree, members []node, from int) []uint32 {
	mark := len(c.scratch)
	for i := from; i < len(members); i++ {
		c.scratch = append(c.scratch, uint32(i))
	}
	indices := c.scratch[mark:len(c.scratch):len(c.scratch)]
	slices.SortStableFunc(indices, func(i, j uint32) int {
		return bytes.Compare(t.in(members[i].name), t.in(members[j].name))
	})
	return indices
}

// maplike says that the names of an object are data: there are many of them, or
// most look as if a machine had made them.
func (t *tree) maplike(n *node) bool {
	const many, long = 50, 100
	switch {
	case n.is&mapped != 0:
		return true
	case n.is&fields != 0:
		return false
	case n.count > many:
		return true
	}
	made := 0
	for i := range t.children(n) {
		name := t.in(t.nodes[int(n.first)+i].name)
		if len(name) > long || len(name) > 0 && name[0]-'0' <= 9 || ClassOf(name).identifies() {
			made++
		}
	}
	return 2*made > int(n.count)
}
