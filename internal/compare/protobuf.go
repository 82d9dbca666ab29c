package compare

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-proxy/understudy/internal/content"
)

// Descriptors finds the types of protobuf by their full names, as
// protoregistry.Files does. It is asked from several goroutines.
type Descriptors interface {
	FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error)
}

// answerOf returns the type of the messages that a method of gRPC answers with,
// by the path of its calls, /package.Service/Method; nil if it is not known.
func answerOf(d Descriptors, path string) protoreflect.MessageDescriptor {
	if d == nil || len(path) < 2 || path[0] != '/' {
		return nil
	}
	name := []byte(path[1:])
	for i, c := range name {
		if c == '/' {
			name[i] = '.'
		}
	}
	found, err := d.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	if method, ok := found.(protoreflect.MethodDescriptor); ok {
		return method.Output()
	}
	return nil
}

// maxGuesses is how deep messages without a type may nest: what is guessed wrong
// is read once more at every level.
const maxGuesses = 64

// prefixSize is how many bytes gRPC puts before each message.
const prefixSize = 5

// What the first byte of that says of a message; trailers are of gRPC-Web only.
const (
	packedFlag  = 0x01
	trailerFlag = 0x80
)

// addTrailer adds the fields of a trailer that gRPC-Web sends as a message, as
// those of a header: in any order, and in lower case.
func (t *tree) addTrailer(s span) {
	begun := t.begin()
	for name, value := range content.Lines(t.in(s)) {
		f := t.keepField(name, value)
		at := t.begin()
		t.scalar(text, f.value)
		t.named(f.name, at)
	}
	t.group(begun, fields)
}

// addGRPC adds the messages of a call. It returns false, and has added nothing,
// if they are none.
func (t *tree) addGRPC(s span, of protoreflect.MessageDescriptor, prefix bool) bool {
	begun := t.begin()
	for s.size > 0 {
		b := t.in(s)
		if len(b) < prefixSize {
			break
		}
		size := binary.BigEndian.Uint32(b[1:])
		if b[0]&^(packedFlag|trailerFlag) != 0 || uint64(size) > uint64(len(b)-prefixSize) {
			break
		}
		message := span{s.at + prefixSize, size}
		switch {
		case b[0] == trailerFlag:
			t.addTrailer(message)
		case b[0] != 0 || !t.addProtobuf(message, of):
			t.scalar(opaque, message) // compressed, or of another type than it should be
		}
		s.at, s.size = s.at+prefixSize+size, s.size-prefixSize-size
	}
	if s.size > 0 && !prefix {
		t.open = t.open[:begun]
		return false
	}
	t.end(begun, array, cutIf(prefix))
	return true
}

// addProtobuf adds a message. Without a type, its members are named by the
// numbers of their fields, and what they are is guessed. It returns false, and
// has added nothing, if it is no message of the type.
func (t *tree) addProtobuf(s span, of protoreflect.MessageDescriptor) bool {
	p := protobuf{tree: t}
	return p.message(s, of, 0)
}

// protobuf reads the wire format.
type protobuf struct{ tree *tree }

// message reads one message.
func (p *protobuf) message(s span, of protoreflect.MessageDescriptor, depth int) bool {
	t := p.tree
	begun := t.begin()
	ok := depth < maxDepth && (of != nil || depth < maxGuesses)
	for s.size > 0 && ok {
		var used int
		used, ok = p.field(s, of, depth)
		s.at, s.size = s.at+uint32(used), s.size-uint32(used)
	}
	if !ok {
		t.open = t.open[:begun]
		return false
	}
	is := fields
	if of == nil {
		is |= guessed
	}
	t.group(begun, is)
	if of != nil {
		t.single(of)
	}
	return true
}

// single takes fields that are there once at most out of their groups.
func (t *tree) single(of protoreflect.MessageDescriptor) {
	n := &t.open[len(t.open)-1]
	byName := of.Fields()
	h := uint64(object)
	for i := range t.children(n) {
		m := &t.nodes[int(n.first)+i]
		f := byName.ByName(protoreflect.Name(t.in(m.name)))
		switch {
		case f == nil || m.is&grouped == 0:
		case f.IsMap():
			t.entries(m)
		case f.IsList():
			m.is &^= grouped
		default: // the last one holds
			name := m.name
			*m = t.nodes[m.first+m.count-1]
			m.name = name
		}
		h += mix(sum64(t.in(m.name)), m.hash)
	}
	n.hash = mix(h, uint64(n.count))
}

// entries makes an object of the entries of a map.
func (t *tree) entries(m *node) {
	h := uint64(object)
	name, seen := m.name, map[string]int{}
	kept := 0
	for i := range t.children(m) {
		entry := &t.nodes[int(m.first)+i]
		key, value := t.memberOf(entry, "key"), t.memberOf(entry, "value")
		var v node
		if value != nil {
			v = *value
		} else {
			v = node{form: absent}
		}
		v.name = span{}
		if key != nil {
			v.name = key.text
		}
		at, again := seen[string(t.in(v.name))]
		if !again {
			at = kept
			seen[string(t.in(v.name))] = at
			kept++
		}
		t.nodes[int(m.first)+at] = v
	}
	for i := range kept {
		v := &t.nodes[int(m.first)+i]
		h += mix(sum64(t.in(v.name)), v.hash)
	}
	*m = node{name: name, form: object, is: mapped, first: m.first, count: uint32(kept), hash: mix(h, uint64(kept))}
}

// field reads one field with its tag, and returns how many bytes it took.
func (p *protobuf) field(s span, of protoreflect.MessageDescriptor, depth int) (used int, ok bool) {
	t := p.tree
	b := t.in(s)
	number, wire, size := protowire.ConsumeTag(b)
	if size < 0 {
		return 0, false
	}
	length := protowire.ConsumeFieldValue(number, wire, b[size:])
	if length < 0 {
		return 0, false
	}
	value := span{s.at + uint32(size), uint32(length)}
	var f protoreflect.FieldDescriptor
	if of != nil {
		f = of.Fields().ByNumber(number)
	}
	var name span
	if f != nil {
		name = t.keepString(string(f.Name()))
	} else {
		name = t.keep(strconv.AppendInt(nil, int64(number), 10))
	}
	at := t.begin()
	ok = p.value(value, wire, f, depth)
	for i := range t.open[at:] {
		t.open[at+i].name = name
	}
	return size + length, ok
}

// value reads what follows a tag: one value, or several if they are packed.
func (p *protobuf) value(s span, wire protowire.Type, f protoreflect.FieldDescriptor, depth int) bool {
	t := p.tree
	b := t.in(s)
	switch wire {
	case protowire.VarintType:
		v, _ := protowire.ConsumeVarint(b)
		return p.scalar(v, f)
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(b)
		return p.scalar(uint64(v), f)
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(b)
		return p.scalar(v, f)
	case protowire.BytesType:
		inner, _ := protowire.ConsumeBytes(b)
		return p.bytes(span{s.at + s.size - uint32(len(inner)), uint32(len(inner))}, f, depth)
	case protowire.StartGroupType: // long out of use
		t.scalar(opaque, s)
		return true
	}
	return false
}

// bytes reads what has a length.
func (p *protobuf) bytes(s span, f protoreflect.FieldDescriptor, depth int) bool {
	t := p.tree
	switch {
	case f == nil:
		p.guess(s, depth)
		return true
	case f.Kind() == protoreflect.MessageKind:
		return p.message(s, f.Message(), depth+1)
	case f.Kind() == protoreflect.StringKind:
		t.scalar(text, s)
		return true
	case f.Kind() == protoreflect.BytesKind:
		t.scalar(opaque, s)
		return true
	}
	return f.IsList() && p.packed(s, f)
}

// packed reads the values of a repeated field that share one tag.
func (p *protobuf) packed(s span, f protoreflect.FieldDescriptor) bool {
	for b := slices.Clone(p.tree.in(s)); len(b) > 0; {
		var v uint64
		var size int
		switch f.Kind() {
		case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
			var v32 uint32
			v32, size = protowire.ConsumeFixed32(b)
			v = uint64(v32)
		case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
			v, size = protowire.ConsumeFixed64(b)
		default:
			v, size = protowire.ConsumeVarint(b)
		}
		if size < 0 || !p.scalar(v, f) {
			return false
		}
		b = b[size:]
	}
	return true
}

// scalar adds a number as its field writes it. A nil field's are without a sign.
func (p *protobuf) scalar(v uint64, f protoreflect.FieldDescriptor) bool {
	var buffer [32]byte
	b, form := buffer[:0], number
	kind := protoreflect.Uint64Kind
	if f != nil {
		kind = f.Kind()
	}
	switch kind {
	case protoreflect.BoolKind:
		b, form = strconv.AppendBool(b, v != 0), boolean
	case protoreflect.EnumKind:
		if named := f.Enum().Values().ByNumber(protoreflect.EnumNumber(int32(v))); named != nil {
			b, form = append(b, named.Name()...), text
		} else {
			b = strconv.AppendInt(b, int64(int32(v)), 10)
		}
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		b = strconv.AppendInt(b, int64(int32(v)), 10)
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		b = strconv.AppendInt(b, int64(v), 10)
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		b = strconv.AppendInt(b, protowire.DecodeZigZag(v), 10)
	case protoreflect.FloatKind:
		b = strconv.AppendFloat(b, float64(math.Float32frombits(uint32(v))), 'g', -1, 32)
	case protoreflect.DoubleKind:
		b = strconv.AppendFloat(b, math.Float64frombits(v), 'g', -1, 64)
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return false // the field has another type on the wire
	default:
		b = strconv.AppendUint(b, v, 10)
	}
	p.tree.scalar(form, p.tree.keep(b))
	return true
}

// guess adds what has a length and no type: text if it is printable, else a
// message if it can be read as one, else bytes.
func (p *protobuf) guess(s span, depth int) {
	t := p.tree
	b := t.in(s)
	switch {
	case len(b) == 0 || printable(b):
		t.scalar(text, s)
	case p.message(s, nil, depth+1):
	case utf8.Valid(b):
		t.scalar(text, s)
	default:
		t.scalar(opaque, s)
	}
	if len(t.open) > 0 {
		t.open[len(t.open)-1].is |= guessed
	}
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
