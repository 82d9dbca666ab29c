package http1

import (
	"slices"
	"strings"
)

// Header is a field to send: a name in the case it is sent in, and a value.
type Header struct{ Name, Value string }

// Edit is a compiled set of header changes: which received fields to leave out
// and which lines to append. It is immutable and may be shared; nil changes
// nothing.
type Edit struct {
	known  fieldSet // left out, by known name
	others []string // left out, other names in lower case
	sizes  uint64   // lengths of others, capped at 63: most fields are ruled out by it
	lines  []Header // appended
	tail   []byte   // lines as sent
	host   string   // value for Host, empty to keep it
}

// NewEdit compiles changes: remove leaves fields out, set leaves out and
// appends, add appends. Names of framing and connection (Content-Length,
// Transfer-Encoding, Connection, Upgrade, TE, Trailer, Expect and so on) are
// ours to write and are passed over, as is removing Host; setting Host replaces
// its value. A name or value that could not be sent as one field is passed
// over too: validation refuses it earlier, and a line break that slipped
// through must not become a second field.
func NewEdit(remove []string, set, add []Header) *Edit {
	e := &Edit{}
	for _, name := range remove {
		if editable(Header{Name: name}) && identify([]byte(name)) != Host {
			e.leaveOut(name)
		}
	}
	for _, h := range set {
		switch {
		case !editable(h):
		case identify([]byte(h.Name)) == Host:
			if validAuthority([]byte(h.Value), false) {
				e.host = h.Value
			}
		default:
			e.leaveOut(h.Name)
			e.lines = append(e.lines, h)
		}
	}
	for _, h := range add {
		if editable(h) && identify([]byte(h.Name)) != Host {
			e.lines = append(e.lines, h)
		}
	}
	return e.seal()
}

// Then returns e followed by next: next also leaves out what e appends. Either
// may be nil.
func (e *Edit) Then(next *Edit) *Edit {
	if e == nil {
		return next
	}
	if next == nil {
		return e
	}
	out := &Edit{known: e.known | next.known, sizes: e.sizes | next.sizes, host: e.host}
	out.others = append(append(out.others, e.others...), next.others...)
	for _, h := range e.lines {
		if name := []byte(h.Name); !next.leavesOut(identify(name), name) {
			out.lines = append(out.lines, h)
		}
	}
	out.lines = append(out.lines, next.lines...)
	if next.host != "" {
		out.host = next.host
	}
	return out.seal()
}

// editable reports whether h can be sent, and its name is not ours to write.
func editable(h Header) bool {
	name := []byte(h.Name)
	if len(name) == 0 || checkValue([]byte(h.Value)) != nil {
		return false
	}
	for _, c := range name {
		if class[c]&isToken == 0 {
			return false
		}
	}
	return !unchangeable.has(identify(name))
}

var unchangeable = framing | setOf(Trailer)

func (e *Edit) leaveOut(name string) {
	if id := identify([]byte(name)); id != Other {
		e.known |= 1 << id
		return
	}
	e.others = append(e.others, strings.ToLower(name))
	e.sizes |= 1 << min(len(name), 63)
}

func (e *Edit) seal() *Edit {
	for _, h := range e.lines {
		e.tail = appendLine(e.tail, h.Name, []byte(h.Value))
	}
	return e
}

// Names reports whether e changes fields called name, which is in lower case.
func (e *Edit) Names(name string) bool {
	return e != nil && (e.leavesOut(identify([]byte(name)), []byte(name)) ||
		slices.ContainsFunc(e.lines, func(h Header) bool { return strings.EqualFold(h.Name, name) }))
}

// leavesOut reports whether received fields of that name are left out.
func (e *Edit) leavesOut(id FieldID, name []byte) bool {
	if e == nil {
		return false
	}
	if id != Other {
		return e.known.has(id)
	}
	if e.sizes>>min(len(name), 63)&1 == 0 {
		return false
	}
	for _, o := range e.others {
		if equalFold(name, o) {
			return true
		}
	}
	return false
}
