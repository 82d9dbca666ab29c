package compare

// mask works out the masks of the elements of a stretch: their hashes without
// what does not count, so that elements can be aligned that differ in nothing
// else.
func (c *Comparer) mask(s *stretch) {
	if rule, _ := c.at.rule(); rule == nil && c.demoted == nil && !c.at.ruledBelow() {
		for i := range s.a {
			s.a[i].mask = s.a[i].hash
		}
		for i := range s.b {
			s.b[i].mask = s.b[i].hash
		}
		return
	}
	for _, side := range [...]struct {
		t     *tree
		nodes []node
	}{{&c.a, s.a}, {&c.b, s.b}} {
		for i := range side.nodes {
			c.at.element(s.from+i, s.indices)
			c.masked(side.t, &side.nodes[i])
			c.at.leave()
		}
	}
}

// masked works out the mask of a node, once.
func (c *Comparer) masked(t *tree, n *node) uint64 {
	if n.is&masked == 0 {
		n.mask = c.countsOf(t, n)
		n.is |= masked
	}
	return n.mask
}

// countsOf hashes what counts of a node.
func (c *Comparer) countsOf(t *tree, n *node) uint64 {
	rule, above := c.at.rule()
	below := c.at.ruledBelow()
	if rule == nil && !below && c.demoted == nil {
		return n.hash
	}
	unordered := false
	if rule != nil {
		switch {
		case rule.verb == ignore && !below:
			return 1
		case rule.verb == shape && above:
			return 1
		case rule.verb == shape || rule.verb == within || rule.verb == during || rule.verb == pattern:
			return uint64(n.form)
		case rule.verb == set:
			unordered = true
		}
	}
	switch n.form {
	case array:
		return c.countsOfArray(t, n, unordered || c.isDemoted())
	case object:
		return c.countsOfObject(t, n)
	case text, number, boolean, opaque:
		if c.isDemoted() {
			return uint64(n.form) // the shape is looked at when elements have been aligned
		}
	}
	return n.hash
}

// isDemoted says that the place is.
func (c *Comparer) isDemoted() bool { return c.demoted != nil && c.demoted(c.intern()) }

func (c *Comparer) countsOfArray(t *tree, n *node, unordered bool) uint64 {
	h := uint64(array)
	children := t.children(n)
	for i := range children {
		c.at.element(i, n.indexed(0))
		m := c.masked(t, &children[i])
		c.at.leave()
		if unordered {
			h += mix(m, uint64(array))
		} else {
			h = mix(h, m)
		}
	}
	return mix(h, uint64(n.count))
}

func (c *Comparer) countsOfObject(t *tree, n *node) uint64 {
	h := uint64(object)
	data := t.maplike(n)
	children := t.children(n)
	for i := range children {
		name := t.in(children[i].name)
		c.at.member(name, data)
		h += mix(sum64(name), c.masked(t, &children[i]))
		c.at.leave()
	}
	return mix(h, uint64(n.count))
}
