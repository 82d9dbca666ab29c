package compare

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep documents nest. Those that are deeper are compared as
// text.
const maxDepth = 512

// ending says how a parser came to the end of a value.
type ending uint8

const (
	done  ending = iota // the value is whole
	ended               // the input was cut within the value; what there was of it has been added
	bad                 // it is not a value of the format
)

// json reads one document of JSON (RFC 8259) into a tree. Names may occur more
// than once.
type json struct {
	tree   *tree
	input  []byte // a part of tree.bytes
	base   uint32 // where input begins there
	at     int
	prefix bool // the input was cut: its end is no error
	other  *tree
}

// addJSON adds the document in s as one value. It returns false, and has added
// nothing, if it is none.
func (t *tree) addJSON(s span, prefix bool) bool { return t.addJSONLike(s, prefix, nil, nil) }

// addJSONLike is addJSON for a document that is much like the value like of
// another tree: what is the same there, byte by byte, is not read again. Nil is
// like nothing.
func (t *tree) addJSONLike(s span, prefix bool, other *tree, like *node) bool {
	begun := len(t.open)
	p := json{tree: t, input: t.in(s), base: s.at, prefix: prefix, other: other}
	var likes twins
	if like != nil {
		likes.nodes = []node{*like}
	}
	how := p.value(0, &likes, 0)
	if how == done {
		p.space()
		if p.at < len(p.input) {
			how = bad
		}
	}
	if how == bad || len(t.open) == begun && !t.full {
		t.open = t.open[:begun]
		return false
	}
	return true
}

// twins are the children of a container of another tree that may be the same as
// those of the one that is being read.
type twins struct {
	nodes []node
	shift int // how many more of them there were so far
}

// at returns the twin of child i; nil if there is none.
func (w *twins) at(i int) *node {
	if i += w.shift; i < 0 || i >= len(w.nodes) {
		return nil
	}
	return &w.nodes[i]
}

// again adds the container that begins here without reading it, if child i or one
// beside it is the same.
func (p *json) again(w *twins, i int) bool {
	for _, by := range [...]int{0, -1, 1} {
		w.shift += by
		if n := w.at(i); n != nil && p.repeats(n) {
			return true
		}
		w.shift -= by
	}
	return false
}

// repeats adds a copy of n of the other tree, if its bytes are the next ones.
func (p *json) repeats(n *node) bool {
	if n.text.size == 0 || n.is&(cut|ordered) != 0 || n.form != object && n.form != array {
		return false
	}
	if !bytes.HasPrefix(p.input[p.at:], p.other.in(n.text)) {
		return false
	}
	from := p.other.under(n)
	size := n.first + n.count - from
	t := p.tree
	if len(t.nodes)+len(t.open)+int(size) >= maxNodes {
		return false
	}
	to := uint32(len(t.nodes))
	t.nodes = append(t.nodes, p.other.nodes[from:from+size]...)
	m := moved{from: n.text, to: p.base + uint32(p.at), nodes: to - from}
	for i := range t.nodes[to:] {
		p.move(&t.nodes[int(to)+i], &m)
	}
	root := *n
	root.name = span{}
	p.move(&root, &m)
	t.open = append(t.open, root)
	p.at += int(n.text.size)
	return true
}

// moved says where the bytes and the nodes of a copy are. Offsets wrap around.
type moved struct {
	from  span
	to    uint32
	nodes uint32
}

func (p *json) move(n *node, m *moved) {
	n.text, n.name = p.moveSpan(n.text, m), p.moveSpan(n.name, m)
	if n.form == object || n.form == array {
		n.first += m.nodes
	}
}

func (p *json) moveSpan(s span, m *moved) span {
	switch {
	case s.size == 0:
		return span{}
	case s.at-m.from.at < m.from.size:
		s.at += m.to - m.from.at
		return s
	}
	return p.tree.keep(p.other.in(s)) // of a string with escapes
}

// under returns where the nodes below n begin: they come before its children.
func (t *tree) under(n *node) uint32 {
	for {
		inner := -1
		for i := range t.children(n) {
			if c := &t.nodes[int(n.first)+i]; c.count > 0 {
				inner = i
				break
			}
		}
		if inner < 0 {
			return n.first
		}
		n = &t.nodes[int(n.first)+inner]
	}
}

func (p *json) space() {
	for p.at < len(p.input) {
		switch p.input[p.at] {
		case ' ', '\n', '\t', '\r':
			p.at++
		default:
			return
		}
	}
}

// over is how a value ends where the input does.
func (p *json) over() ending {
	if p.prefix {
		return ended
	}
	return bad
}

func (p *json) span(from, to int) span { return span{p.base + uint32(from), uint32(to - from)} }

// value reads a value, child i of a container.
func (p *json) value(depth int, w *twins, i int) ending {
	p.space()
	if p.at == len(p.input) {
		return p.over()
	}
	switch c := p.input[p.at]; c {
	case '{', '[':
		if w.nodes != nil && p.again(w, i) {
			return done
		}
		return p.container(c, depth, w.at(i))
	case '"':
		s, how := p.string()
		if how == done {
			p.tree.scalar(text, s)
		}
		return how
	case 't':
		return p.word("true", boolean)
	case 'f':
		return p.word("false", boolean)
	case 'n':
		return p.word("null", null)
	}
	return p.number()
}

func (p *json) word(w string, f form) ending {
	rest := p.input[p.at:]
	if len(rest) < len(w) && string(rest) == w[:len(rest)] {
		return p.over()
	}
	if len(rest) < len(w) || string(rest[:len(w)]) != w {
		return bad
	}
	p.tree.scalar(f, p.span(p.at, p.at+len(w)))
	p.at += len(w)
	return done
}

func (p *json) number() ending {
	rest := p.input[p.at:]
	size := scanNumber(rest)
	if p.prefix && size == len(rest) || size == 0 && p.prefix && partOfNumber(rest) {
		return ended // more digits may have followed
	}
	if size == 0 {
		return bad
	}
	p.tree.scalar(number, p.span(p.at, p.at+size))
	p.at += size
	return done
}

// partOfNumber says that b is what a number may begin with, to its end.
func partOfNumber(b []byte) bool {
	return scanNumber(append(b[:len(b):len(b)], '0')) == len(b)+1
}

// container reads an object or an array. Its twin may be nil.
func (p *json) container(opening byte, depth int, twin *node) ending {
	if depth == maxDepth {
		return bad
	}
	from := p.at
	p.at++
	begun := p.tree.begin()
	f := array
	if opening == '{' {
		f = object
	}
	var w twins
	if twin != nil && twin.form == f {
		w.nodes = p.other.children(twin)
	}
	how := p.inside(f, depth, &w)
	if how == bad {
		return bad
	}
	is := trait(0)
	if how == ended {
		is = cut
	}
	p.tree.end(begun, f, is)
	p.tree.open[len(p.tree.open)-1].text = p.span(from, p.at)
	return how
}

// inside reads what is between the brackets, and the closing one.
func (p *json) inside(f form, depth int, w *twins) ending {
	closing := byte(']')
	if f == object {
		closing = '}'
	}
	for i := 0; ; i++ {
		p.space()
		if p.at == len(p.input) {
			return p.over()
		}
		c := p.input[p.at]
		if c == closing && i == 0 {
			p.at++
			return done
		}
		if i > 0 {
			p.at++
			if c == closing {
				return done
			}
			if c != ',' {
				return bad
			}
		}
		var how ending
		if f == object {
			how = p.member(depth, w, i)
		} else {
			how = p.value(depth+1, w, i)
		}
		if how != done {
			return how
		}
	}
}

func (p *json) member(depth int, w *twins, i int) ending {
	p.space()
	if p.at == len(p.input) {
		return p.over()
	}
	if p.input[p.at] != '"' {
		return bad
	}
	name, how := p.string()
	if how != done {
		return how
	}
	p.space()
	if p.at == len(p.input) {
		return p.over()
	}
	if p.input[p.at] != ':' {
		return bad
	}
	p.at++
	before := p.tree.begin()
	how = p.value(depth+1, w, i)
	p.tree.named(name, before)
	return how
}

// string reads a string, and returns where its text is.
func (p *json) string() (span, ending) {
	p.at++
	from := p.at
	p.at += plainText(p.input[from:])
	if p.at == len(p.input) {
		return span{}, p.over()
	}
	switch p.input[p.at] {
	case '"':
		p.at++
		return p.span(from, p.at-1), done
	case '\\':
		return p.escaped(from)
	}
	return span{}, bad // a control character
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainText counts the bytes before the first quote, backslash or control
// character, eight at a time.
func plainText(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		found := (w-0x20*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash
		if found &= highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c == '"' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// escaped reads the rest of a string from its first backslash on. What it means
// is kept behind everything else in the tree.
func (p *json) escaped(from int) (span, ending) {
	t := p.tree
	start := len(t.bytes)
	t.bytes = append(t.bytes, p.input[from:p.at]...)
	for {
		if p.at == len(p.input) {
			return span{}, p.over()
		}
		switch c := p.input[p.at]; {
		case c == '"':
			p.at++
			return span{uint32(start), uint32(len(t.bytes) - start)}, done
		case c == '\\':
			if how := p.escape(); how != done {
				return span{}, how
			}
		case c < 0x20:
			return span{}, bad
		default:
			size := plainText(p.input[p.at:])
			t.bytes = append(t.bytes, p.input[p.at:p.at+size]...)
			p.at += size
		}
	}
}

// escape reads one escape.
func (p *json) escape() ending {
	if p.at+1 == len(p.input) {
		return p.over()
	}
	c := p.input[p.at+1]
	if c == 'u' {
		return p.unicode()
	}
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	default:
		return bad
	}
	p.tree.bytes = append(p.tree.bytes, c)
	p.at += 2
	return done
}

func (p *json) unicode() ending {
	r, how := hex4(p.input[p.at:], p.prefix)
	if how != done {
		return how
	}
	p.at += 6
	if utf16.IsSurrogate(r) {
		second, how := hex4(p.input[p.at:], p.prefix)
		if how == ended {
			return ended
		}
		pair := utf16.DecodeRune(r, second)
		if how == done && pair != utf8.RuneError {
			p.at += 6
		}
		r = pair
	}
	p.tree.bytes = utf8.AppendRune(p.tree.bytes, r)
	return done
}

// hex4 reads \u and four digits.
func hex4(b []byte, prefix bool) (rune, ending) {
	var r rune
	for i := range 6 {
		if i == len(b) {
			if prefix {
				return 0, ended
			}
			return 0, bad
		}
		c := b[i]
		switch {
		case i == 0 && c == '\\' || i == 1 && c == 'u':
		case i < 2:
			return 0, bad
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, bad
		}
	}
	return r, done
}
