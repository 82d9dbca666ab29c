package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// message is everything that can be seen of one message, in a form to compare.
type message struct {
	Start     string   // method, target and minor version; or version, status, reason
	Host      string   // of a request
	Path      string   // of a request, with the query
	Fields    []string // "Name: value"; dropped ones marked with "-"
	Framing   int64
	KeepAlive bool
	Upgrade   string
	Body      string
	Trailer   string
	Done      bool   // the whole message was there
	Left      string // bytes behind it
	Status    int    // of an error
	Reason    string
}

func (m *message) fail(err *Error) *message {
	// What was seen before an error is not part of the result: a reader may
	// have got further with more bytes at hand.
	return &message{Status: err.Status, Reason: err.Reason}
}

// wire plays a connection: bytes arrive in pieces, the buffer moves each time.
type wire struct {
	all    string
	pieces []string
	buf    []byte
}

func (w *wire) more() bool {
	if len(w.pieces) == 0 {
		return false
	}
	// A fresh array, and nothing left in the old one: views into it would show.
	old := w.buf
	w.buf = append(append(make([]byte, 0, len(old)+len(w.pieces[0])), old...), w.pieces[0]...)
	clear(old)
	w.pieces = w.pieces[1:]
	return true
}

// head feeds parse until the head is complete.
func (w *wire) head(parse func([]byte) (int, *Error)) (int, *Error) {
	for w.more() {
		if n, err := parse(w.buf); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// body feeds b, after the n bytes of the head.
func (w *wire) body(m *message, b Body, n int) *Error {
	var data strings.Builder
	p := w.buf[n:]
	used := n
	for {
		for len(p) > 0 && !b.Done() {
			d, n, err := b.Decode(p)
			if err != nil {
				return err
			}
			if n == 0 {
				panic("Decode consumed nothing")
			}
			data.Write(d)
			used += n
			p = p[n:]
		}
		if b.Done() || len(w.pieces) == 0 {
			break
		}
		p, w.pieces = []byte(w.pieces[0]), w.pieces[1:]
	}
	m.Left = w.all[used:]
	m.Body, m.Trailer = data.String(), string(b.Trailer())
	m.Done = b.Done() || b.UntilClose()
	return nil
}

func (m *message) fields(h *head) {
	for i := range h.NumFields() {
		name, value, _ := h.Field(i)
		line := fmt.Sprintf("%s: %s", name, value)
		if h.Dropped(i) {
			line = "-" + line
		}
		m.Fields = append(m.Fields, line)
	}
	m.KeepAlive, m.Upgrade = h.KeepAlive(), string(h.Upgrade())
}

// readRequest reads one request that arrives in pieces.
func readRequest(lim *Limits, pieces ...string) *message {
	m, r, w := &message{}, &Request{}, &wire{all: strings.Join(pieces, ""), pieces: pieces}
	n, err := w.head(func(b []byte) (int, *Error) { return r.Parse(b, lim) })
	if err != nil {
		return m.fail(err)
	}
	if n == 0 {
		return m
	}
	m.Start = fmt.Sprintf("%s %s %d", r.Method(), r.Target(), r.Minor())
	m.Host, m.Path, m.Framing = string(r.Host()), string(r.Path()), r.Framing()
	if r.HasQuery() {
		m.Path += "?" + string(r.Query())
	}
	m.fields(&r.head)
	if err := w.body(m, r.Body(), n); err != nil {
		return m.fail(err)
	}
	return m
}

// readResponse reads one response that arrives in pieces, to HEAD if head.
func readResponse(head bool, pieces ...string) *message {
	m, r, w := &message{}, &Response{}, &wire{all: strings.Join(pieces, ""), pieces: pieces}
	n, err := w.head(func(b []byte) (int, *Error) { return r.Parse(b, nil) })
	if err != nil {
		return m.fail(err)
	}
	if n == 0 {
		return m
	}
	m.Start = fmt.Sprintf("%d %d %s", r.Minor(), r.Status(), r.Reason())
	m.Framing = r.Framing()
	m.fields(&r.head)
	m.KeepAlive = r.KeepAlive()
	if err := w.body(m, r.Body(head), n); err != nil {
		return m.fail(err)
	}
	return m
}

// everySplit reads in whole, at every two-way split and byte by byte, checks
// that all agree, and returns what they agree on.
func everySplit(t testing.TB, in string, read func(...string) *message) *message {
	t.Helper()
	whole := read(in)
	for i := 1; i < len(in); i++ {
		if diff := cmp.Diff(whole, read(in[:i], in[i:])); diff != "" {
			t.Fatalf("split at %d of %q differs (-whole +split):\n%s", i, in, diff)
		}
	}
	if diff := cmp.Diff(whole, read(strings.Split(in, "")...)); diff != "" {
		t.Fatalf("%q byte by byte differs (-whole +bytes):\n%s", in, diff)
	}
	return whole
}

func requests(pieces ...string) *message  { return readRequest(nil, pieces...) }
func responses(pieces ...string) *message { return readResponse(false, pieces...) }
