package compare

import (
	"bytes"
	"cmp"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
)

// group adds an object of groups: values of one name become one member, in the
// order in which they came. Values are what was added since begun, each with its
// name.
func (t *tree) group(begun int, is trait) {
	all := slices.Clone(t.open[begun:])
	t.open = t.open[:begun]
	byName := func(a, b node) int { return bytes.Compare(t.in(a.name), t.in(b.name)) }
	if !slices.IsSortedFunc(all, byName) {
		order := make([]uint32, len(all))
		for i := range order {
			order[i] = uint32(i)
		}
		slices.SortFunc(order, func(i, j uint32) int {
			return cmp.Or(byName(all[i], all[j]), cmp.Compare(i, j))
		})
		sorted := make([]node, len(all))
		for i, from := range order {
			sorted[i] = all[from]
		}
		all = sorted
	}
	for len(all) > 0 {
		name := all[0].name
		size := 1
		for size < len(all) && bytes.Equal(t.in(all[size].name), t.in(name)) {
			size++
		}
		at := t.begin()
		t.open = append(t.open, all[:size]...)
		t.end(at, array, grouped|is&cut)
		t.named(name, at)
		all = all[size:]
	}
	t.end(begun, object, is)
}

// addForm adds a form as browsers send it. What cannot be decoded stays as it is.
func (t *tree) addForm(s span, prefix bool) {
	begun := t.begin()
	for s.size > 0 {
		b := t.in(s)
		size := bytes.IndexByte(b, '&')
		next := size + 1
		if size < 0 {
			size, next = len(b), len(b)
		}
		s.at, s.size = s.at+uint32(next), s.size-uint32(next)
		if size == 0 || prefix && s.size == 0 {
			continue // nothing, or not whole
		}
		name, value, _ := bytes.Cut(b[:size], []byte{'='})
		at := t.begin()
		v := t.keepString(decoded(value))
		n := t.keepString(decoded(name))
		t.scalar(text, v)
		t.named(n, at)
	}
	t.group(begun, cutIf(prefix))
}

func cutIf(prefix bool) trait {
	if prefix {
		return cut
	}
	return 0
}

func decoded(b []byte) string {
	if s, err := url.QueryUnescape(string(b)); err == nil {
		return s
	}
	return string(b)
}

// addMultipart adds the parts of a message, by their names. It returns false, and
// has added nothing, if it is none.
func (t *tree) addMultipart(s span, boundary string, prefix bool) bool {
	begun := t.begin()
	input := t.in(s)
	r := multipart.NewReader(bytes.NewReader(input), boundary)
	for {
		part, err := r.NextRawPart()
		if err == io.EOF && !prefix {
			break
		}
		var body []byte
		if err == nil {
			body, err = io.ReadAll(part)
		}
		if err != nil {
			if prefix {
				break
			}
			t.open = t.open[:begun]
			return false
		}
		t.addPart(part, body)
	}
	t.group(begun, cutIf(prefix))
	return true
}

// addPart adds one part: what its header says, and its body.
func (t *tree) addPart(part *multipart.Part, body []byte) {
	begun := t.begin()
	field := func(name, value string) {
		if value == "" {
			return
		}
		n, v := t.keepString(name), t.keepString(value)
		at := t.begin()
		t.scalar(text, v)
		t.named(n, at)
	}
	field("filename", part.FileName())
	contentType := part.Header.Get("Content-Type")
	field("content-type", contentType)
	kind, _, _ := mime.ParseMediaType(contentType)
	n, b := t.keepString("body"), t.keep(body)
	at := t.begin()
	switch {
	case kind == "application/json" && t.addJSON(b, false):
	case kind == "" || len(kind) > 5 && kind[:5] == "text/":
		t.addText(b, false)
	default:
		t.scalar(opaque, b)
	}
	t.named(n, at)
	t.end(begun, object, fields)
	name := part.FormName()
	if name == "" {
		name = "part"
	}
	s := t.keepString(name)
	t.named(s, begun)
}
