package compare

import (
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// seeds are bodies of every kind.
var seeds = []struct{ contentType, body string }{
	{"application/json", `{"a":[1,2.5,"x\u00e9",null,true],"b":{}}`},
	{"application/json", `[[{"a":1},{"a":2}],-0,1e5]`},
	{"application/x-ndjson", "{\"a\":1}\n\n[2]\n"},
	{"text/event-stream", ": x\n\nevent: a\ndata: {\"b\":1}\ndata: 2\n\nid: 7\n"},
	{"application/x-www-form-urlencoded", "a=1&b=%20+&&c&a=%zz"},
	{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n"},
	{"application/xml", `<a x="1"><b>t</b><c/><b>&lt;</b></a>`},
	{"text/html", `<!doctype html><ul><li>a<li>b</ul><br><p>x`},
	{"application/grpc", "\x00\x00\x00\x00\x05\x0a\x03abc"},
	{"application/x-protobuf", "\x0a\x05\x08\x01\x12\x01x\x15\x00\x00\x80\x3f"},
	{"text/plain", "a\nb\r\nc"},
	{"image/png", "\x89PNG"},
}

// Whatever the bodies, and wherever they were cut: comparing ends without a panic,
// a body is no difference to itself, and from the other side there is a
// difference, too.
func FuzzBodies(f *testing.F) {
	for i, s := range seeds {
		f.Add(s.contentType, []byte(s.body), []byte(seeds[(i+1)%len(seeds)].body), uint(i*3))
	}
	f.Fuzz(func(t *testing.T, contentType string, first, second []byte, kept uint) {
		head := "HTTP/1.1 200 OK\nContent-Type: " + strings.NewReplacer("\n", "", "\r", "").Replace(contentType)
		other := head + "\nX-Other: 1"
		c := New(nil)
		whole, cut := cutAt(len(first), head, string(first)), cutAt(int(kept%64), head, string(first))
		for _, o := range []*traffic.Outcome{whole, cut} {
			c.begin(Options{})
			c.same(t, o)
		}
		against := cutAt(len(second), other, string(second))
		got := c.Compare(&traffic.Exchange{}, whole, against, Options{})
		back := c.Compare(&traffic.Exchange{}, against, whole, Options{})
		if got.Class != Diff || back.Class != Diff || len(got.Differences) > maxFound {
			t.Errorf("%s%s", written(got), written(back))
		}
		c.Compare(&traffic.Exchange{}, cut, against, Options{Demoted: func(string) bool { return true }})
	})
}

// same checks that a body, read twice, is the same.
func (c *Comparer) same(t *testing.T, o *traffic.Outcome) {
	t.Helper()
	for _, side := range []*tree{&c.a, &c.b} {
		side.reset()
		begun := side.begin()
		at := side.begin()
		c.body(side, &traffic.Exchange{}, o.Answer)
		side.named(side.keepString("body"), at)
		side.end(begun, object, fields)
		side.close()
	}
	c.walk(c.a.root(), c.b.root())
	if c.a.root().hash != c.b.root().hash || len(c.found.differs.kept)+len(c.found.noise.kept) > 0 {
		t.Errorf("%q is not the same as itself: %v", o.Answer.Body, c.found.differs.kept)
	}
}

// What is JSON here is what is JSON to encoding/json, and every prefix of it is a
// prefix of JSON.
func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s.body))
	}
	for _, s := range []string{`"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `01`, `-`, `1.`, `[1,]`, `{"a"}`, `nul`, "\"\x01\"", ` 1 `, `1 2`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var tr tree
		got := tr.addJSON(tr.keep(data), false)
		want := stdjson.Valid(data)
		if got != want && strings.Count(string(data), "[")+strings.Count(string(data), "{") < maxDepth {
			t.Fatalf("JSON: %v, encoding/json says %v: %q", got, want, data)
		}
		if !got {
			if len(tr.open) != 0 {
				t.Fatal("something was added")
			}
			return
		}
		if len(data) > 4096 {
			return
		}
		start := len(data) - len(strings.TrimLeft(string(data), " \t\r\n"))
		for end := start + 1; end < len(data); end++ {
			tr.reset()
			if !tr.addJSON(tr.keep(data[:end]), true) && (data[start] == '{' || data[start] == '[') {
				t.Fatalf("%q is no prefix of %q", data[:end], data)
			}
		}
	})
}

// A text means what encoding/json says it means.
func TestStringsOfJSON(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`""`, `"plain"`, `"\"\\\/\b\f\n\r\t"`, `"\u00e9\u20ac"`, `"\ud83d\ude00 after"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`, `"123456789\n123456789"`, `"é"`,
	} {
		var want string
		if err := stdjson.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		var tr tree
		if !tr.addJSON(tr.keepString(s), false) {
			t.Fatalf("%s is no JSON", s)
		}
		tr.close()
		if got := string(tr.in(tr.root().text)); got != want {
			t.Errorf("%s means %q, want %q", s, got, want)
		}
	}
}

func FuzzProtobuf(f *testing.F) {
	f.Add([]byte("\x0a\x05\x08\x01\x12\x01x\x15\x00\x00\x80\x3f"))
	f.Add([]byte("\x0b\x0c"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var tr tree
		added := tr.addProtobuf(tr.keep(data), nil)
		if added != (len(tr.open) == 1) {
			t.Fatalf("added: %v, %d values", added, len(tr.open))
		}
	})
}

// Bodies that are made to be expensive cost no more than their size, and are
// compared nevertheless.
func TestBombs(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	numbers := func(step int) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			b.WriteString(",")
			b.WriteString(strings.Repeat("7", 1+i*step%5))
			b.WriteByte(byte('0' + i*step%10))
		}
		return "[" + b.String()[1:] + "]"
	}
	matrices := func(from, to string) string {
		row := "[" + strings.Repeat("["+from+"],", 400) + "[" + to + "]]"
		return "[" + strings.Repeat(row+",", 100) + "1]"
	}
	for name, test := range map[string]struct {
		contentType, primary, shadow string
	}{
		"deep":             {"application/json", strings.Repeat("[", size), strings.Repeat("[", size-1) + "1"},
		"deep and whole":   {"application/json", strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001)},
		"deep tags":        {"application/xml", strings.Repeat("<a>", size/3), strings.Repeat("<b>", size/3)},
		"deep HTML":        {"text/html", strings.Repeat("<a>", size/3), strings.Repeat("<b>", size/3)},
		"many numbers":     {"application/json", numbers(1), numbers(3)},
		"more than fit":    {"application/json", "[" + strings.Repeat("1,", size) + "1]", "[" + strings.Repeat("2,", size) + "1]"},
		"many tables":      {"application/json", matrices("1,2", "3"), matrices("1,2", "4")},
		"one long name":    {"application/json", `{"` + strings.Repeat("n", size) + `":1}`, `{"` + strings.Repeat("m", size) + `":1}`},
		"one long text":    {"application/json", `"` + strings.Repeat("n", size) + `"`, `"` + strings.Repeat("m", size) + `"`},
		"many lines":       {"text/plain", strings.Repeat("\n", size), strings.Repeat("\n", size-1)},
		"many fields":      {"application/x-www-form-urlencoded", strings.Repeat("a=1&", size/4), strings.Repeat("a=2&", size/4)},
		"many names":       {"application/json", "{" + strings.Repeat(`"a":1,`, size/6) + `"b":1}`, "{" + strings.Repeat(`"a":2,`, size/6) + `"b":1}`},
		"messages in ones": {"application/x-protobuf", strings.Repeat("\x0a\x02", size/2), strings.Repeat("\x12\x02", size/2)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := "HTTP/1.1 200 OK\nContent-Type: " + test.contentType
			c := New(nil)
			got := c.Compare(&traffic.Exchange{}, cutAt(len(test.primary), head, test.primary), cutAt(len(test.shadow), head, test.shadow), Options{})
			if got.Class != Diff || len(got.Differences) == 0 || len(got.Differences) > maxFound {
				t.Errorf("%s", got.Class)
			}
			for _, d := range got.Differences {
				if len(d.Primary.Text) > maxText || len(d.Shadow.Text) > maxText {
					t.Errorf("%s shows %d and %d bytes", d.Path, len(d.Primary.Text), len(d.Shadow.Text))
				}
			}
			if c.work < -maxWork {
				t.Errorf("%d steps of aligning", maxWork-c.work)
			}
			if n := max(cap(c.a.nodes), cap(c.b.nodes)); n > 2*maxNodes {
				t.Errorf("%d nodes", n)
			}
		})
	}
}
