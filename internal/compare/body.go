package compare

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// maxDecoded bounds what the encodings of a body are undone to.
const maxDecoded = 8 << 20

// answers makes the trees of two answers. Of answers whose statuses are far apart
// nothing else is compared: all of it differs, and none of that says why.
func (c *Comparer) answers(x *traffic.Exchange, primary, shadow *traffic.Outcome) {
	c.a.reset()
	c.b.reset()
	statusOnly := primary.Status/100 != shadow.Status/100 || grpcStatus(primary) != grpcStatus(shadow)
	same := statusOnly || sameBody(primary.Answer, shadow.Answer)
	for _, side := range [...]struct {
		t *tree
		o *traffic.Outcome
	}{{&c.a, primary}, {&c.b, shadow}} {
		t, o := side.t, side.o
		begun := t.begin()
		c.answer(t, x, o, statusOnly)
		if !same && !bodyless(x.Method, o.Status) && len(o.Answer.Body) > 0 {
			at := t.begin()
			c.body(t, x, o.Answer)
			t.named(t.keepString("body"), at)
		}
		t.end(begun, object, fields)
		t.close()
	}
}

// body adds a body as what it is, or, if it is not what it says, as text.
func (c *Comparer) body(t *tree, x *traffic.Exchange, m *traffic.Message) {
	b := content.Read(m, maxDecoded)
	s := t.keep(b.Data)
	ok := false
	switch {
	case b.Err != nil:
		// What could be decoded is not all of it, or none.
		t.scalar(opaque, t.keep(m.Body))
		return
	case b.Kind == content.JSON:
		ok = t.addJSONLike(s, b.Cut, &c.a, c.twin(t))
	case b.Kind == content.NDJSON:
		ok = t.addNDJSON(s, b.Cut)
	case b.Kind == content.SSE:
		t.addEvents(s, b.Cut)
		ok = true
	case b.Kind == content.Form:
		t.addForm(s, b.Cut)
		ok = true
	case b.Kind == content.Multipart:
		ok = t.addMultipart(s, b.Boundary, b.Cut)
	case b.Kind == content.XML:
		ok = t.addXML(s, b.Cut)
	case b.Kind == content.HTML:
		ok = t.addHTML(s, b.Cut)
	case b.Kind == content.GRPC:
		if ok = t.addGRPC(s, answerOf(c.rules.descriptors, x.Path), b.Cut); !ok {
			t.scalar(opaque, s)
			return
		}
	case b.Kind == content.Protobuf:
		ok = !b.Cut && t.addProtobuf(s, nil)
	}
	switch {
	case ok:
	case b.Kind == content.Opaque || b.Kind == content.Protobuf:
		t.scalar(opaque, s)
	default:
		t.addText(s, b.Cut)
	}
}

// twin returns the primary's body, which the shadow's is probably like.
func (c *Comparer) twin(t *tree) *node {
	if t == &c.a {
		return nil
	}
	return c.a.memberOf(c.a.root(), "body")
}

// encoded says that a body has content encodings, or had them when it was cut.
func encoded(m *traffic.Message) bool {
	if _, found := content.Lookup(m.Head, content.Unpacked); found {
		return true
	}
	value, found := content.Lookup(m.Head, "content-encoding")
	return found && !content.EqualFold(value, "identity")
}

// slack is the part of a body's length by which noise may change it: more is a
// difference.
const slack = 64

// beyond compares what was not kept of two bodies: by their lengths, and if all
// that was kept is the same, by their hashes. Otherwise the hashes cannot but
// differ.
func (c *Comparer) beyond(a, b *traffic.Message) {
	if encoded(a) || encoded(b) {
		return // what lies beyond is a compressor's, or was counted when it was
	}
	kept := min(len(a.Body), len(b.Body))
	same := bytes.Equal(a.Body[:kept], b.Body[:kept])
	apart := max(a.Length-b.Length, b.Length-a.Length)
	d := Difference{Path: "body", Where: "body", Kind: Length, Delta: float64(b.Length - a.Length)}
	switch {
	case same && apart > 0 || c.found.structural == 0 && apart > max(a.Length, b.Length)/slack:
	case same && a.Hash != b.Hash && a.Hash != 0 && b.Hash != 0: // of one that was kept whole there is none
		d.Kind, d.Delta = Changed, 0
	default:
		return
	}
	d.Primary = Value{Type: names[opaque], Hash: a.Hash, Size: int(a.Length)}
	d.Shadow = Value{Type: names[opaque], Hash: b.Hash, Size: int(b.Length)}
	c.at.member([]byte("body"), false)
	defer c.at.leave()
	if rule, _ := c.at.rule(); rule != nil && (rule.verb == ignore || rule.verb == shape) {
		d.Rule = rule.said
		c.found.noise.kept = append(c.found.noise.kept, d)
		return
	}
	c.found.other = true
	c.found.differs.kept = append(c.found.differs.kept, d)
}
