package session

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
)

// heads is a user of a machine that makes text of the requests that it hears.
type heads struct{ texts [][]byte }

func (h *heads) Head(_ *http2.Stream, head *http2.Head, end bool) {
	if head.Trailer || head.Cut {
		return
	}
	h.texts = append(h.texts, appendRequest(nil, head, !end && head.Length < 0))
}

func (*heads) Data(*http2.Stream, []byte, bool) {}
func (*heads) Reset(*http2.Stream, http2.Code)  {}
func (*heads) Window(*http2.Stream)             {}
func (*heads) Room(n int) []byte                { return make([]byte, 0, n) }
func (*heads) Commit([]byte)                    {}

// FuzzRequestText makes text of any fields that a client may send. If the
// machine takes them, then the text is one head to its last byte, whatever the
// parser thinks of it, and says what the fields said.
func FuzzRequestText(f *testing.F) {
	f.Add("GET", "/", "a", "name", "value", true)
	f.Add("CONNECT", "", "a:1", "cookie", "a=b", false)
	f.Add("CONNECT", "/chat", "a", "sec-websocket-key", "x", false)
	f.Add("CONNECT", "/chat", "a", "sec-websocket-version", "13", false)
	f.Add("POST", "/a b", "a", "content-length", "5", false)
	f.Add("OPTIONS", "*", "", "host", "b", true)
	f.Add("GET", "/ HTTP/1.1\r\nx: y", "a", "x", "y\r\n\r\nGET / HTTP/1.1", true)
	f.Add("GET", "//evil/..", "a, b", "te", "trailers", true)
	f.Fuzz(func(t *testing.T, method, path, authority, name, value string, end bool) {
		var section bytes.Buffer
		e := hpack.NewEncoder(&section)
		fields := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path}, {Name: ":authority", Value: authority}}
		switch {
		case method == "CONNECT" && path != "":
			fields = append(fields, hpack.HeaderField{Name: ":protocol", Value: webSocket})
		case method == "CONNECT":
			fields = []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":authority", Value: authority}}
		}
		for _, f := range append(fields, hpack.HeaderField{Name: name, Value: value}) {
			e.WriteField(f)
		}
		if section.Len() > 16<<10 {
			return
		}
		flags := byte(4)
		if end {
			flags = 5
		}
		h := &heads{}
		m := http2.New(true, http2.Limits{Streams: 1, Window: 1 << 16, Conn: 1 << 16, Head: 1 << 16}, h, h)
		if err := m.Receive(bytes.Join([][]byte{[]byte(http2.Preface), frame(4, 0, 0), frame(1, flags, 1, section.Bytes()...)}, nil)); err != nil {
			t.Fatal(err)
		}
		for _, text := range h.texts {
			check(t, text, method, path, authority, name, value)
		}
	})
}

// check reads a text like whoever gets it.
func check(t *testing.T, text []byte, method, path, authority, name, value string) {
	t.Helper()
	if i := bytes.Index(text, []byte("\r\n\r\n")); i != len(text)-4 {
		t.Fatalf("a head ends at %d in %q", i, text)
	}
	var r http1.Request
	n, err := r.Parse(text, nil)
	if err != nil {
		return // answered 400
	}
	if n != len(text) {
		t.Fatalf("%d bytes of %q are a head", n, text)
	}
	target := path
	switch {
	case method == "CONNECT" && path != "":
		method = "GET"
		if key, _ := r.Value("sec-websocket-key", 0); string(r.Upgrade()) != webSocket || len(key) != 24 {
			t.Errorf("%q is no handshake", text)
		}
		if name == "sec-websocket-key" {
			return
		}
	case method == "CONNECT":
		target = authority
	}
	if string(r.Method()) != method || string(r.Target()) != target {
		t.Errorf("%q asks %s %s, want %s %s", text, r.Method(), r.Target(), method, target)
	}
	if authority != "" && string(r.Host()) != authority {
		t.Errorf("%q is for %q, want %q", text, r.Host(), authority)
	}
	if got, ok := r.Value(name, 0); name != "host" && !strings.HasPrefix(name, ":") && (!ok || string(got) != value) && name != "content-length" {
		t.Errorf("%q has %s %q, want %q", text, name, got, value)
	}
}
