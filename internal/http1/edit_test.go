package http1

import "testing"

// edited is a request with fields A, B, C and Cookie, as sent with e.
func edited(t *testing.T, e *Edit) string {
	t.Helper()
	return string(AppendRequest(nil, parsed(t, get("A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5")), e, nil))
}

func TestEdits(t *testing.T) {
	t.Parallel()
	remove := func(names ...string) *Edit { return NewEdit(names, nil, nil) }
	set := func(h ...Header) *Edit { return NewEdit(nil, h, nil) }
	add := func(h ...Header) *Edit { return NewEdit(nil, nil, h) }
	for _, c := range []struct {
		name string
		edit *Edit
		want []string
	}{
		{"none", nil, []string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5"}},
		{"empty", NewEdit(nil, nil, nil), []string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5"}},
		{"remove the first and all of its name", remove("a"), []string{"B: 2", "C: 4", "Cookie: 5"}},
		{"remove in the middle, known and last", remove("b", "COOKIE"), []string{"A: 1", "a: 3", "C: 4"}},
		{"remove all", remove("A", "B", "C", "cookie", "absent"), nil},
		{"set what was there", set(Header{"a", "6"}), []string{"B: 2", "C: 4", "Cookie: 5", "a: 6"}},
		{"set what was not there", set(Header{"D", ""}), []string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5", "D: "}},
		{"add", add(Header{"A", "6"}, Header{"A", "7"}), []string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5", "A: 6", "A: 7"}},
		{"framing is ours", NewEdit([]string{"Host", "Content-Length", "connection"},
			[]Header{{"Content-Length", "9"}, {"transfer-encoding", "chunked"}, {"Upgrade", "x"}, {"Trailer", "x"}, {"Host", "a b"}},
			[]Header{{"Connection", "a"}, {"Expect", "100-continue"}, {"TE", "x"}, {"Host", "b"}}),
			[]string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5"}},
		{"what is no field is not sent", NewEdit([]string{"", "a:"}, []Header{{"A", "x\r\nEvil: 1"}, {"", "x"}, {"A B", "x"}}, []Header{{"D", "x\n"}, {"E\r\nF", "x"}, {"G", "\x00"}}),
			[]string{"A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5"}},
		{"then removes what came before", set(Header{"A", "6"}, Header{"User-Agent", "7"}, Header{"D", "8"}).Then(remove("a", "user-agent")),
			[]string{"B: 2", "C: 4", "Cookie: 5", "D: 8"}},
		{"then sets what came before", remove("b").Then(set(Header{"A", "6"})).Then(add(Header{"b", "7"})).Then(set(Header{"a", "8"})),
			[]string{"C: 4", "Cookie: 5", "b: 7", "a: 8"}},
		{"then, before nothing", remove("a").Then(nil), []string{"B: 2", "C: 4", "Cookie: 5"}},
		{"then, after nothing", (*Edit)(nil).Then(remove("a")), []string{"B: 2", "C: 4", "Cookie: 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := lines(append([]string{"GET / HTTP/1.1", "Host: a"}, c.want...)...)
			if got := edited(t, c.edit); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestThenKeepsTheLastHostAndBothOperands(t *testing.T) {
	t.Parallel()
	first := NewEdit([]string{"a"}, []Header{{"Host", "first"}, {"D", "1"}}, nil)
	second := NewEdit([]string{"d"}, []Header{{"Host", "second"}}, nil)
	for _, c := range []struct {
		name string
		edit *Edit
		want string
	}{
		{"first then second", first.Then(second), lines("GET / HTTP/1.1", "Host: second", "B: 2", "C: 4", "Cookie: 5")},
		{"first then nothing about Host", first.Then(NewEdit(nil, nil, nil)), lines("GET / HTTP/1.1", "Host: first", "B: 2", "C: 4", "Cookie: 5", "D: 1")},
		{"first alone, after having been composed", first, lines("GET / HTTP/1.1", "Host: first", "B: 2", "C: 4", "Cookie: 5", "D: 1")},
		{"second alone", second, lines("GET / HTTP/1.1", "Host: second", "A: 1", "B: 2", "a: 3", "C: 4", "Cookie: 5")},
	} {
		if got := edited(t, c.edit); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEditsManyAndLongNames(t *testing.T) {
	t.Parallel()
	long := "x-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
	r := parsed(t, get(long+": 1", long+"a: 2", "X: 3"))
	e := NewEdit([]string{"y", "z", long + "A"}, nil, nil)
	want := lines("GET / HTTP/1.1", "Host: a", long+": 1", "X: 3")
	if got := string(AppendRequest(nil, r, e, nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesOfAnEdit(t *testing.T) {
	t.Parallel()
	e := NewEdit([]string{"Alt-Svc"}, []Header{{"X-Set", "1"}}, []Header{{"X-Add", "2"}})
	for name, want := range map[string]bool{"alt-svc": true, "x-set": true, "x-add": true, "x-other": false, "cookie": false} {
		if got := e.Names(name); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
	if (*Edit)(nil).Names("alt-svc") {
		t.Error("nothing names something")
	}
}
