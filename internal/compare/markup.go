package compare

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
)

// element is one element of XML or HTML that has begun.
type element struct {
	name    string
	begun   int    // where its children are
	text    []byte // what it says, without spaces around
	order   []byte // the names of its children
	inside  int    // how many children there are
	ordered bool   // they have more than one name
	last    string // of its children's names
}

// markup builds the tree of a document of elements. An element that has text only
// is that text; any other is an object of its attributes (@name), its text
// (#text) and its children by their names.
type markup struct {
	tree  *tree
	stack []element
}

func (m *markup) start(name string) {
	if n := len(m.stack); n > 0 {
		around := &m.stack[n-1]
		around.ordered = around.ordered || around.inside > 0 && around.last != name
		around.last = name
		around.inside++
		around.order = append(append(around.order, name...), ' ')
	}
	m.stack = append(m.stack, element{name: name, begun: m.tree.begin()})
}

func (m *markup) attribute(name, value string) {
	n, v := m.tree.keepString("@"+name), m.tree.keepString(value)
	at := m.tree.begin()
	m.tree.scalar(text, v)
	m.tree.named(n, at)
}

func (m *markup) say(b []byte) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || len(m.stack) == 0 {
		return
	}
	e := &m.stack[len(m.stack)-1]
	if len(e.text) > 0 {
		e.text = append(e.text, ' ')
	}
	e.text = append(e.text, b...)
}

// end closes the innermost element.
func (m *markup) end(prefix bool) {
	t := m.tree
	e := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	name, said := t.keepString(e.name), t.keep(e.text)
	switch {
	case len(t.open) == e.begun && !prefix:
		t.scalar(text, said)
	default:
		if said.size > 0 {
			n := t.keepString("#text")
			at := t.begin()
			t.scalar(text, said)
			t.named(n, at)
		}
		t.group(e.begun, fields|cutIf(prefix))
		if e.ordered && !prefix && len(t.open) > e.begun {
			n := &t.open[len(t.open)-1]
			n.text = t.keep(e.order)
			n.is |= ordered
			n.hash = mix(n.hash, hashOf(text, e.order))
		}
	}
	t.named(name, e.begun)
}

// finish closes what is open and makes one object of all.
func (m *markup) finish(begun int, prefix bool) {
	for len(m.stack) > 0 {
		m.end(prefix)
	}
	m.tree.group(begun, fields|cutIf(prefix))
}

// addXML adds a document of XML. It returns false, and has added nothing, if it
// is none.
func (t *tree) addXML(s span, prefix bool) bool {
	begun := t.begin()
	m := markup{tree: t}
	d := xml.NewDecoder(bytes.NewReader(t.in(s)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // both sides are read alike
	depth, elements := 0, 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) || err != nil && prefix {
			break
		}
		if err == nil {
			switch token := token.(type) {
			case xml.StartElement:
				if depth++; depth > maxDepth {
					err = errDepth
					break
				}
				elements++
				m.start(nameOf(token.Name))
				for _, a := range token.Attr {
					m.attribute(nameOf(a.Name), a.Value)
				}
			case xml.EndElement:
				if depth--; depth < 0 || m.stack[depth].name != nameOf(token.Name) {
					err = errTags
					break
				}
				m.end(false)
			case xml.CharData:
				m.say(token)
			}
		}
		if err != nil {
			t.open = t.open[:begun]
			return false
		}
	}
	if elements == 0 || depth > 0 && !prefix {
		t.open = t.open[:begun]
		return false
	}
	m.finish(begun, prefix)
	return true
}

var (
	errDepth = errors.New("it nests too deep")
	errTags  = errors.New("its tags do not match")
)

func nameOf(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// void are the elements of HTML that have no end.
const void = " area base br col embed hr img input link meta source track wbr "

// siblings are those that end where the next one begins.
const siblings = " dd dt li option p td th tr "

// addHTML adds a document of HTML by its tags. Other elements whose end is
// missing end with what is around them: nothing is made up.
func (t *tree) addHTML(s span, prefix bool) bool {
	begun := t.begin()
	m := markup{tree: t}
	z := html.NewTokenizer(bytes.NewReader(t.in(s)))
	elements := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		switch kind {
		case html.TextToken:
			m.say(z.Text())
		case html.StartTagToken, html.SelfClosingTagToken:
			if len(m.stack) == maxDepth {
				t.open = t.open[:begun]
				return false
			}
			elements++
			raw, more := z.TagName()
			name := string(raw)
			if n := len(m.stack); n > 0 && m.stack[n-1].name == name && strings.Contains(siblings, " "+name+" ") {
				m.end(false)
			}
			m.start(name)
			for more {
				var k, v []byte
				k, v, more = z.TagAttr()
				m.attribute(string(k), string(v))
			}
			if kind == html.SelfClosingTagToken || strings.Contains(void, " "+name+" ") {
				m.end(false)
			}
		case html.EndTagToken:
			raw, _ := z.TagName()
			m.close(string(raw))
		}
	}
	if elements == 0 {
		t.open = t.open[:begun]
		return false
	}
	m.finish(begun, prefix)
	return true
}

// close ends elements up to the innermost one of a name, if there is one.
func (m *markup) close(name string) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if m.stack[i].name == name {
			for len(m.stack) > i {
				m.end(false)
			}
			return
		}
	}
}
