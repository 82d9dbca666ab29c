package compare

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// form is what a node is.
type form uint8

// The forms of nodes. The zero value is of no node.
const (
	absent form = iota
	null
	boolean
	number
	text
	array
	object
	opaque  // bytes without a meaning that is known
	present // it is there, and that is all that matters
)

// names of the forms, as in Value.Type.
var names = [...]string{"absent", "null", "bool", "number", "string", "array", "object", "bytes", "string"}

// trait is what else is known of a node.
type trait uint8

const (
	cut     trait = 1 << iota // the body was cut within: more may have followed
	grouped                   // an array of what shares one name: indices are no part of its generalised path
	fields                    // an object whose names are fixed, whatever they look like
	mapped                    // an object whose names are data
	guessed                   // a form that was guessed: bytes, text and objects may be confused
	ordered                   // an element of XML with children of several names: their order matters
	masked                    // mask has been worked out
)

// span is a part of a tree's bytes.
type span struct{ at, size uint32 }

// node is one value of a tree. It holds no pointers, so that the garbage
// collector passes by.
type node struct {
	hash  uint64 // of everything below; of objects whatever the order
	mask  uint64 // likewise, of what counts; see Comparer.masked
	name  span   // in the object that it is a member of
	text  span   // of a scalar; of a container of JSON its source; if ordered, the names of its children in order
	first uint32 // of its children, which follow one another
	count uint32
	form  form
	is    trait
}

// tree is a document as nodes. Its memory is used again for the next one.
type tree struct {
	bytes []byte // what nodes' spans are parts of
	nodes []node
	open  []node // children of containers that have no end yet
	full  bool   // nodes were left out
}

// maxNodes bounds the memory of a tree: 24 MiB. What is beyond was cut.
const maxNodes = 512 << 10

func (t *tree) reset() {
	t.bytes, t.nodes, t.open, t.full = t.bytes[:0], t.nodes[:0], t.open[:0], false
}

// in returns the bytes of a span.
func (t *tree) in(s span) []byte { return t.bytes[s.at : s.at+s.size : s.at+s.size] }

// children of a container, in order.
func (t *tree) children(n *node) []node { return t.nodes[n.first : n.first+n.count] }

// indexed says how the indices of an array are a part of paths, if the other side
// has so many elements.
func (n *node) indexed(other uint32) indexed {
	switch {
	case n.is&grouped == 0:
		return always
	case n.count > 1 || other > 1:
		return several
	}
	return never
}

// keep copies bytes into the tree.
func (t *tree) keep(b []byte) span {
	at := len(t.bytes)
	t.bytes = append(t.bytes, b...)
	return span{uint32(at), uint32(len(b))}
}

// keepString is keep.
func (t *tree) keepString(s string) span {
	at := len(t.bytes)
	t.bytes = append(t.bytes, s...)
	return span{uint32(at), uint32(len(s))}
}

// begin opens a container; end takes what it returns.
func (t *tree) begin() int { return len(t.open) }

// scalar adds a value.
func (t *tree) scalar(f form, s span) {
	t.add(node{form: f, text: s, hash: hashOf(f, t.in(s))})
}

func (t *tree) add(n node) {
	if len(t.nodes)+len(t.open) >= maxNodes {
		t.full = true
		return
	}
	t.open = append(t.open, n)
}

// named gives the value that was added last a name. At is what begin returned
// for the object around: with a full tree, there may be no such value.
func (t *tree) named(s span, at int) {
	if len(t.open) > at {
		t.open[len(t.open)-1].name = s
	}
}

// end closes a container: what was added since begin are its children.
func (t *tree) end(begun int, f form, is trait) {
	children := t.open[begun:]
	n := node{form: f, is: is, first: uint32(len(t.nodes)), count: uint32(len(children))}
	if t.full {
		n.is |= cut
	}
	h := uint64(f)
	for i := range children {
		child := &children[i]
		if f == object {
			h += mix(sum64(t.in(child.name)), child.hash)
		} else {
			h = mix(h, child.hash)
		}
	}
	n.hash = mix(h, uint64(n.count)<<8|uint64(f))
	t.nodes = append(t.nodes, children...)
	t.open = append(t.open[:begun], n)
}

// close ends the tree, which has one value.
func (t *tree) close() {
	t.nodes = append(t.nodes, t.open[0])
	t.open = t.open[:0]
}

// root returns the value of a tree that was closed.
func (t *tree) root() *node { return &t.nodes[len(t.nodes)-1] }

// mix hashes two hashes, in this order. The multipliers are those of xxHash.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^0x9e3779b185ebca87, b^0xc2b2ae3d27d4eb4f)
	return high ^ low ^ bits.RotateLeft64(a, 29)
}

// hashOf hashes a scalar. Numbers that are written differently and are the same
// have one hash.
func hashOf(f form, b []byte) uint64 {
	switch f {
	case present:
		return uint64(present)
	case number:
		var buffer [32]byte
		b = plain(buffer[:0], b)
	}
	return mix(sum64(b), uint64(f))
}

// sum64 hashes bytes. Most names and values are short, and XXH64 is made for
// longer ones.
func sum64(b []byte) uint64 {
	n := len(b)
	switch {
	case n > 16:
		return xxhash.Sum64(b)
	case n >= 8:
		// The length comes in by a step of its own: added to the first word, it would
		// be taken for a part of it, and 200000000 be 1000000000.
		return mix(mix(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])), uint64(n))
	case n >= 4:
		return mix(uint64(binary.LittleEndian.Uint32(b))+uint64(n)<<32, uint64(binary.LittleEndian.Uint32(b[n-4:])))
	case n > 0:
		return mix(uint64(b[0])<<16|uint64(b[n/2])<<8|uint64(b[n-1]), uint64(n))
	}
	return mix(0, 0)
}
