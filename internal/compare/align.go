package compare

import "bytes"

// aligned matches elements of two stretches that are the same but for what does
// not count, in order and as many as possible: by E. W. Myers, "An O(ND)
// Difference Algorithm and Its Variations" (1986), if there are few edits, else
// by the table of common subsequences, if it is small. It returns false if it
// found nothing to hold on to.
func (c *Comparer) aligned(s *stretch, matches []int32) bool {
	n, m := len(s.a), len(s.b)
	head := 0
	for head < n && head < m && s.a[head].mask == s.b[head].mask {
		matches[head] = int32(head) + 1
		head++
	}
	tail := 0
	for tail < n-head && tail < m-head && s.a[n-1-tail].mask == s.b[m-1-tail].mask {
		matches[n-1-tail] = int32(m - tail)
		tail++
	}
	found := head > 0 || tail > 0
	a, b := s.a[head:n-tail], s.b[head:m-tail]
	inner := matches[head : n-tail]
	switch {
	case len(a) == 0 || len(b) == 0 || c.common(a, b) == 0:
	case c.edited(a, b, inner), c.tabled(a, b, inner):
		found = true
	}
	for i := range inner {
		if inner[i] != 0 {
			inner[i] += int32(head)
		}
	}
	return found
}

// common counts the elements of a that are in b, too.
func (c *Comparer) common(a, b []node) (count int) {
	c.work -= len(a) + len(b)
	for j := range b {
		c.own.put(b[j].mask, j, len(b))
	}
	for i := range a {
		if c.own.has(a[i].mask) {
			count++
		}
	}
	c.own.clear()
	return count
}

// edited is aligned for stretches that few edits turn into each other.
func (c *Comparer) edited(a, b []node, matches []int32) bool {
	n, m := len(a), len(b)
	if n-m > maxEdits || m-n > maxEdits {
		return false
	}
	const width = 2*maxEdits + 3 // diagonals, with one more at each side
	mark := len(c.ints)
	defer func() { c.ints = c.ints[:mark] }()
	// furthest[d] says how far each diagonal has come after d edits.
	furthest := c.take(width * (maxEdits + 1))
	for d := 0; d <= maxEdits && c.work > 0; d++ {
		row := furthest[d*width : (d+1)*width]
		for k := -d; k <= d; k += 2 {
			x := 0
			if d > 0 {
				x = furthestBy(furthest[(d-1)*width:d*width], d, k)
			}
			y := x - k
			from := x
			for x < n && y < m && y >= 0 && a[x].mask == b[y].mask {
				x, y = x+1, y+1
			}
			c.work -= 1 + x - from
			row[k+maxEdits+1] = int32(x)
			if x >= n && y >= m {
				c.retrace(furthest, d, n, m, matches)
				return true
			}
		}
	}
	return false
}

// furthestBy returns how far diagonal k has come with one more edit than row.
func furthestBy(row []int32, d, k int) int {
	const middle = maxEdits + 1
	if k == -d || k != d && row[middle+k-1] < row[middle+k+1] {
		return int(row[middle+k+1]) // an insertion
	}
	return int(row[middle+k-1]) + 1 // a deletion
}

// retrace goes back from the end of both stretches, and notes what matched.
func (c *Comparer) retrace(furthest []int32, d, x, y int, matches []int32) {
	const width = 2*maxEdits + 3
	for ; d > 0; d-- {
		k := x - y
		from := furthestBy(furthest[(d-1)*width:d*width], d, k)
		for x > from && y > from-k {
			x, y = x-1, y-1
			matches[x] = int32(y) + 1
		}
		row := furthest[(d-1)*width : d*width]
		if k == -d || k != d && row[maxEdits+1+k-1] < row[maxEdits+1+k+1] {
			y--
		} else {
			x--
		}
	}
	for x > 0 && y > 0 {
		x, y = x-1, y-1
		matches[x] = int32(y) + 1
	}
}

// tabled is aligned for short stretches, whatever their edits.
func (c *Comparer) tabled(a, b []node, matches []int32) bool {
	n, m := len(a), len(b)
	if n > maxTable || m > maxTable || n*m > maxTable || c.work < n*m {
		return false
	}
	c.work -= n * m
	mark := len(c.ints)
	defer func() { c.ints = c.ints[:mark] }()
	// longest[i*(m+1)+j] is the length of the longest common subsequence of what
	// follows i and j.
	longest := c.take((n + 1) * (m + 1))
	for i := n - 1; i >= 0; i-- {
		row, below := longest[i*(m+1):(i+1)*(m+1)], longest[(i+1)*(m+1):(i+2)*(m+1)]
		for j := m - 1; j >= 0; j-- {
			if a[i].mask == b[j].mask {
				row[j] = below[j+1] + 1
			} else {
				row[j] = max(row[j+1], below[j])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case a[i].mask == b[j].mask:
			matches[i] = int32(j) + 1
			i, j = i+1, j+1
		case longest[i*(m+1)+j+1] >= longest[(i+1)*(m+1)+j]:
			j++
		default:
			i++
		}
	}
	return true
}

// fitted matches elements in order, so that they have as many members in common
// as possible. What it returns is a part of ints.
func (c *Comparer) fitted(a, b []node) []int32 {
	n, m := len(a), len(b)
	matches := c.take(n)
	shared := c.take(n * m)
	most := c.take((n + 1) * (m + 1)) // of what follows i and j
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			alike := c.alike(&a[i], &b[j])
			shared[i*m+j] = alike
			best := max(most[(i+1)*(m+1)+j], most[i*(m+1)+j+1])
			if alike > 0 {
				best = max(best, most[(i+1)*(m+1)+j+1]+alike)
			}
			most[i*(m+1)+j] = best
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		here := most[i*(m+1)+j]
		switch alike := shared[i*m+j]; {
		case alike > 0 && here == most[(i+1)*(m+1)+j+1]+alike:
			matches[i] = int32(j) + 1
			i, j = i+1, j+1
		case here == most[i*(m+1)+j+1]:
			j++
		default:
			i++
		}
	}
	return matches
}

// alike counts the members or elements that two containers have in common, as far
// as they are in the same place.
func (c *Comparer) alike(a, b *node) (count int32) {
	if a.form != b.form || c.work <= 0 {
		return 0
	}
	as, bs := c.a.children(a), c.b.children(b)
	size := min(len(as), len(bs), maxEdits)
	c.work -= size
	for i := range size {
		if as[i].hash == bs[i].hash && bytes.Equal(c.a.in(as[i].name), c.b.in(bs[i].name)) {
			count++
		}
	}
	return count
}

// places finds indices by hashes.
type places struct {
	first map[uint64]int32 // of a hash, the index that was put last, + 1
	next  []int32          // by index, the one that was put before it, + 1
}

// maxPlaces is how large a map is kept: to empty one costs as much as it once held.
const maxPlaces = 1 << 10

// put adds an index, which is smaller than n.
func (p *places) put(hash uint64, i, n int) {
	if p.first == nil {
		p.first = map[uint64]int32{}
	}
	if len(p.next) < n {
		p.next = append(p.next, make([]int32, n-len(p.next))...)
	}
	p.next[i] = p.first[hash]
	p.first[hash] = int32(i) + 1
}

func (p *places) has(hash uint64) bool { return p.first[hash] != 0 }

// pop takes the index of a hash that was put last.
func (p *places) pop(hash uint64) (i int, found bool) {
	at := p.first[hash]
	if at == 0 {
		return 0, false
	}
	p.first[hash] = p.next[at-1]
	return int(at) - 1, true
}

func (p *places) clear() {
	if len(p.first) > maxPlaces {
		*p = places{}
		return
	}
	clear(p.first)
}
