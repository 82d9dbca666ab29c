package http1

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sameAt checks that a message read in two pieces, and byte by byte, is the
// message read whole.
func sameAt(t *testing.T, in string, at uint, read func(...string) *message) {
	t.Helper()
	whole := read(in)
	if i := int(at % uint(len(in)+1)); i > 0 && i < len(in) {
		if diff := cmp.Diff(whole, read(in[:i], in[i:])); diff != "" {
			t.Fatalf("split at %d of %q (-whole +split):\n%s", i, in, diff)
		}
	}
	if len(in) > 4096 { // byte by byte copies the head once per byte
		return
	}
	if diff := cmp.Diff(whole, read(strings.Split(in, "")...)); diff != "" {
		t.Fatalf("%q (-whole +bytes):\n%s", in, diff)
	}
}

// Whatever the bytes: no panic, the same at every split, and what is accepted
// is read by net/http in the same way.
func FuzzRequestHead(f *testing.F) {
	for i, in := range requestSeeds {
		f.Add(in, uint(i*7))
	}
	for i, c := range malformedRequests {
		if len(c.in) < 1024 {
			f.Add(c.in, uint(i))
		}
	}
	f.Fuzz(func(t *testing.T, in string, at uint) {
		sameAt(t, in, at, requests)
		agrees(t, in)
	})
}

func FuzzResponseHead(f *testing.F) {
	for i, in := range responseSeeds {
		f.Add(in, uint(i*7), i%3 == 0)
	}
	for i, c := range malformedResponses {
		f.Add(c.in, uint(i), false)
	}
	f.Fuzz(func(t *testing.T, in string, at uint, head bool) {
		sameAt(t, in, at, func(p ...string) *message { return readResponse(head, p...) })
		method := "GET"
		if head {
			method = "HEAD"
		}
		agreesOnResponse(t, method, in)
	})
}

// A chunked body reads the same at every split and as net/http reads it, and
// what we write of it reads back the same.
func FuzzChunkedBody(f *testing.F) {
	for i, c := range malformedRequests {
		if _, body, ok := strings.Cut(c.in, "Transfer-Encoding: chunked\r\n\r\n"); ok && len(body) < 1024 {
			f.Add(body, uint(i))
		}
	}
	for i, in := range []string{
		"0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\nGET", "00a;b=\"c\"\r\n0123456789\r\n0;x\r\nA: 1\r\nTE: x\r\nB:2\r\n\r\n", "7fffffffffffffff\r\nabc",
	} {
		f.Add(in, uint(i))
	}
	f.Fuzz(func(t *testing.T, body string, at uint) {
		in := chunks(body)
		sameAt(t, in, at, requests)
		agrees(t, in)
		m := requests(in)
		if m.Status != 0 || !m.Done {
			return
		}
		half := len(m.Body) / 2
		out := AppendChunk([]byte(chunks("")), []byte(m.Body[:half]))
		out = AppendChunk(out, []byte(m.Body[half:]))
		out = AppendLastChunk(out, []byte(m.Trailer))
		again := requests(string(out) + m.Left)
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("%q, written as %q (-read +written):\n%s", in, out, diff)
		}
	})
}

// outgoings are ways of forwarding, to be chosen from by number.
func outgoings(r *Request) []*Outgoing {
	b := func(s string) []byte { return []byte(s) }
	return []*Outgoing{
		nil,
		{Length: LengthNone},
		{Length: LengthChunked, Upgrade: true, Expect: true},
		{Length: 5, Target: b("/x?y"), Host: b("c:82"), ReplaceForwarded: true, ForwardedFor: b("10.0.0.1"), Proto: b("https"), ForwardedHost: b("h")},
		{Length: r.Framing(), ForwardedFor: b("10.0.0.1"), Proto: b("http"), RequestID: b("1"), Traceparent: b("2"), Tracestate: b("3"), Marker: b("4"), Extra: b("X-Extra: 5\r\n"), Upgrade: true},
	}
}

// fuzzEdits are edits, to be chosen from by number.
var fuzzEdits = []*Edit{
	nil,
	NewEdit([]string{"A", "cookie", "x-forwarded-for", "connection", "content-length"}, []Header{{"B", "set"}}, []Header{{"C", "added"}}),
	NewEdit(nil, []Header{{"Host", "edited"}, {"Content-Length", "7"}, {"X-Evil", "a\r\nb: c"}}, nil),
}

// ours are the names that forwarding may bring in by itself.
var ours = []string{"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "expect", "x-forwarded-for", "x-forwarded-proto",
	"x-forwarded-host", "x-request-id", "traceparent", "tracestate", "x-understudy-copy", "x-extra", "b", "c"}

// What is forwarded of any accepted request is itself accepted, by us and by
// net/http, with the framing that was asked for and no field that was not there.
func FuzzForward(f *testing.F) {
	for i, in := range requestSeeds {
		f.Add(in, uint8(i), uint8(i/2))
	}
	f.Fuzz(func(t *testing.T, in string, how, edit uint8) {
		var r Request
		if n, err := r.Parse([]byte(in), nil); err != nil || n == 0 {
			return
		}
		all := outgoings(&r)
		o, e := all[int(how)%len(all)], fuzzEdits[int(edit)%len(fuzzEdits)]
		out := string(AppendRequest(nil, &r, e, o))
		if len(out) > DefaultHead || r.NumFields() > DefaultFields-20 || len(r.Target()) > DefaultTarget-1 {
			return // what we add may cross the limits of the next reader
		}
		length := r.Framing()
		if o != nil {
			length = o.Length
		}
		body := ""
		switch {
		case length == LengthChunked:
			body = "3\r\nabc\r\n0\r\n\r\n"
		case length > 1<<10:
			return
		case length > 0:
			body = strings.Repeat("x", int(length))
		}
		m := requests(out + body + "GET")
		if m.Status != 0 || !m.Done || m.Left != "GET" || m.Framing != length {
			t.Fatalf("%q forwarded as %q: %+v", in, out, m)
		}
		if want := string(r.Method()); !strings.HasPrefix(m.Start, want+" ") || !strings.HasSuffix(m.Start, " 1") {
			t.Fatalf("%q forwarded as %q: %s", in, out, m.Start)
		}
		agrees(t, out+body+"GET")
		noStranger(t, &r, out)
		again := parsed(t, out)
		if o == nil && e == nil && string(AppendRequest(nil, again, nil, nil)) != out {
			t.Fatalf("%q forwarded as %q, and then otherwise", in, out)
		}
	})
}

// noStranger checks that every line of out was a field of r that is not
// dropped, as it was received, or has a name that we write.
func noStranger(t *testing.T, r *Request, out string) {
	t.Helper()
	var kept []string
	for i := range r.NumFields() {
		name, value, _ := r.Field(i)
		if !r.Dropped(i) {
			kept = append(kept, string(name)+":"+string(value))
		}
	}
	head, _, _ := strings.Cut(out, "\r\n\r\n")
	once := map[string]bool{}
	for _, l := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(l, ":")
		low := strings.ToLower(name)
		if slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection"}, low) {
			if once[low] {
				t.Fatalf("%s twice in %q", name, out)
			}
			once[low] = true
		}
		if !slices.Contains(ours, low) && !slices.Contains(kept, name+":"+strings.Trim(value, " \t")) {
			t.Fatalf("%q appeared in %q", l, out)
		}
	}
}

// outgoing ways for responses, to be chosen from by number.
var responseOutgoings = []*ResponseOutgoing{
	nil,
	{Length: LengthChunked, Minor: 1},
	{Length: LengthChunked, Minor: 0, Upgrade: true},
	{Length: 3, Minor: 0},
	{Length: LengthClose, Minor: 1, Extra: []byte("X-Extra: 1\r\n")},
}

// What is forwarded of any accepted response is itself accepted, and says what
// was asked for.
func FuzzForwardResponse(f *testing.F) {
	for i, in := range responseSeeds {
		f.Add(in, uint8(i))
	}
	f.Fuzz(func(t *testing.T, in string, how uint8) {
		var r, again Response
		if n, err := r.Parse([]byte(in), nil); err != nil || n == 0 || r.NumFields() > DefaultFields-20 {
			return
		}
		o := responseOutgoings[int(how)%len(responseOutgoings)]
		out := AppendResponse(nil, &r, nil, o)
		if len(out) > DefaultHead {
			return
		}
		if n, err := again.Parse(out, nil); err != nil || n != len(out) {
			t.Fatalf("%q forwarded as %q: n %d, error %v", in, out, n, err)
		}
		length := r.Framing()
		if o != nil {
			length = o.Length
		}
		if o != nil && length == LengthChunked && o.Minor == 0 {
			length = LengthClose
		}
		switch {
		case r.Status() < 200 || r.Status() == 204, r.Status() == 304 && length == LengthClose:
			length = LengthNone
		}
		if again.Framing() != length || again.Status() != r.Status() || !bytes.Equal(again.Reason(), r.Reason()) {
			t.Fatalf("%q forwarded as %q: framing %d, want %d", in, out, again.Framing(), length)
		}
		if length == LengthClose && again.KeepAlive() {
			t.Fatalf("%q forwarded as %q: keeps alive without an end", in, out)
		}
	})
}
