package http1

import (
	"strings"
	"testing"
)

func TestBodyWithoutAnythingIsDone(t *testing.T) {
	t.Parallel()
	var b Body
	data, n, err := b.Decode([]byte("abc"))
	if !b.Done() || b.Remaining() != 0 || b.UntilClose() || b.Chunked() || b.Trailer() != nil || data != nil || n != 0 || err != nil {
		t.Errorf("%+v, data %q, n %d, error %v", b, data, n, err)
	}
}

func TestBodyCountsDownItsLength(t *testing.T) {
	t.Parallel()
	r := parsed(t, post("", "Content-Length: 5"))
	b := r.Body()
	if b.Remaining() != 5 || b.Done() || b.Chunked() || b.UntilClose() {
		t.Errorf("at the start: %+v", b)
	}
	in := []byte("abcGET")
	data, n, _ := b.Decode(in[:3])
	if string(data) != "abc" || n != 3 || b.Remaining() != 2 || &data[0] != &in[0] {
		t.Errorf("data %q, n %d, remaining %d", data, n, b.Remaining())
	}
	data, n, _ = b.Decode([]byte("deGET"))
	if string(data) != "de" || n != 2 || cap(data) != 2 || !b.Done() || b.Remaining() != 0 {
		t.Errorf("data %q, n %d, remaining %d", data, n, b.Remaining())
	}
}

func TestBodyUntilCloseTakesEverything(t *testing.T) {
	t.Parallel()
	var r Response
	if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\n\r\n"), nil); err != nil {
		t.Fatal(err)
	}
	b := r.Body(false)
	data, n, err := b.Decode([]byte("0\r\n\r\n"))
	if string(data) != "0\r\n\r\n" || n != 5 || err != nil || b.Done() || !b.UntilClose() || b.Remaining() != -1 {
		t.Errorf("data %q, n %d, error %v, %+v", data, n, err, b)
	}
}

func TestBodyGivesChunkDataInPlace(t *testing.T) {
	t.Parallel()
	b := parsed(t, chunks("")).Body()
	if b.Remaining() != -1 || !b.Chunked() {
		t.Errorf("at the start: %+v", b)
	}
	in := []byte("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET")
	var got []string
	for used := 0; !b.Done(); {
		data, n, err := b.Decode(in[used:])
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 && &data[0] != &in[used+n-len(data)] {
			t.Errorf("%q is not a part of the input", data)
		}
		used += n
		got = append(got, string(data))
	}
	if s := strings.Join(got, "|"); s != "abc|de|" {
		t.Errorf("got %q", s)
	}
	if b.Chunked() || b.Remaining() != 0 {
		t.Errorf("at the end: %+v", b)
	}
}

func TestBodyErrorsAreFinal(t *testing.T) {
	t.Parallel()
	b := parsed(t, chunks("")).Body()
	for _, p := range []string{"x", "0\r\n\r\n"} {
		if data, n, err := b.Decode([]byte(p)); err != errChunkSize || n != 0 || data != nil || b.Done() {
			t.Errorf("%q: data %q, n %d, error %v", p, data, n, err)
		}
	}
}

func TestChunkSizes(t *testing.T) {
	t.Parallel()
	for size, want := range map[string]int64{
		"1": 1, "a": 10, "F": 15, "00000000000000ff": 255, "7fffffffffffffff": 1<<63 - 1, "0123456789abcDEF": 0x0123456789abcdef,
	} {
		b := parsed(t, chunks("")).Body()
		data, n, err := b.Decode([]byte(size + "\r\nx"))
		if err != nil || string(data) != "x" || n != len(size)+3 || b.left != want-1 {
			t.Errorf("%s: left %d, want %d; data %q, n %d, error %v", size, b.left, want-1, data, n, err)
		}
	}
}

func TestChunkExtensionsWithinReason(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"1;a\r\nx\r\n0;b=c\r\n\r\n",
		"1; a = \"b;c\"\t;d\r\nx\r\n0\r\n\r\n",
		"1;" + strings.Repeat("a", 256) + "\r\nx\r\n0\r\n\r\n",
		// As many extensions as data may go on for ever.
		strings.Repeat("64;"+strings.Repeat("a", 100)+"\r\n"+strings.Repeat("x", 100)+"\r\n", 1000) + "0\r\n\r\n",
	} {
		if m := requests(chunks(in)); m.Status != 0 || !m.Done {
			t.Errorf("%.60q: %d %s, done %v", in, m.Status, m.Reason, m.Done)
		}
	}
}

func TestDropsForbiddenTrailers(t *testing.T) {
	t.Parallel()
	for id := Other + 1; id < numFields; id++ {
		m := requests(chunks("0\r\nA: 1\r\n" + id.String() + ": x\r\nB:2\r\n\r\n"))
		if m.Trailer != "A: 1\r\nB: 2\r\n" || !m.Done {
			t.Errorf("%s: trailer %q, %s", id, m.Trailer, m.Reason)
		}
	}
}

func TestTrailersSurviveReuse(t *testing.T) {
	t.Parallel()
	var r Request
	for _, c := range []struct{ in, want string }{
		{"0\r\nA: 1\r\nB: 2\r\n\r\n", "A: 1\r\nB: 2\r\n"},
		{"0\r\n\r\n", ""},
		{"0\r\nC: 3\r\n\r\n", "C: 3\r\n"},
	} {
		r.Reset()
		in := []byte(chunks(c.in))
		n, _ := r.Parse(in, nil)
		for range 2 { // the second decoder starts afresh
			b := r.Body()
			if _, used, err := b.Decode(in[n:]); used != len(c.in) || err != nil {
				t.Fatalf("used %d, error %v", used, err)
			}
			if got := b.Trailer(); string(got) != c.want || (got == nil) != (c.want == "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		}
	}
}
