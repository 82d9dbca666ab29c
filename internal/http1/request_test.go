package http1

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadsRequests(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, in string
		want     message
	}{
		{"GET", "GET /a/b?c=d&e HTTP/1.1\r\nHost: shop.example.com:8080\r\nAccept: */*\r\n\r\n", message{
			Start: "GET /a/b?c=d&e 1", Host: "shop.example.com:8080", Path: "/a/b?c=d&e",
			Fields: []string{"Host: shop.example.com:8080", "Accept: */*"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"POST with length, and more behind it", post("abcGET /", "Content-Length: 3"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "Content-Length: 3"},
			Framing: 3, KeepAlive: true, Body: "abc", Done: true, Left: "GET /",
		}},
		{"body not yet whole", post("ab", "Content-Length: 3"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "Content-Length: 3"},
			Framing: 3, KeepAlive: true, Body: "ab",
		}},
		{"zero length", post("GET", "Content-Length: 0"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "Content-Length: 0"},
			KeepAlive: true, Done: true, Left: "GET",
		}},
		{"length with zeros in front", post("abc", "Content-Length: 0003"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "Content-Length: 0003"},
			Framing: 3, KeepAlive: true, Body: "abc", Done: true,
		}},
		{"chunked, in any case, with extensions and trailers", post("3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n00;x\r\nX-Sum: 1\r\nhost: evil\r\nY:\t2 \r\n\r\nGET", "Transfer-Encoding: Chunked"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Transfer-Encoding: Chunked"},
			Framing: LengthChunked, KeepAlive: true, Body: "abc0123456789", Trailer: "X-Sum: 1\r\nY: 2\r\n", Done: true, Left: "GET",
		}},
		{"chunked without end", post("3\r\nabc\r\n", "Transfer-Encoding: chunked"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Transfer-Encoding: chunked"},
			Framing: LengthChunked, KeepAlive: true, Body: "abc",
		}},
		{"one empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"values are trimmed", "GET / HTTP/1.1\r\nHost:a\r\nA: \t b c\t \r\nB:\r\nC: \xe4\t\xff\r\n\r\n", message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "A: b c", "B: ", "C: \xe4\t\xff"},
			Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"every token character", "!#$%&'*+-.^_`|~09AZaz / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09AZaz: b\r\n\r\n", message{
			Start: "!#$%&'*+-.^_`|~09AZaz / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "!#$%&'*+-.^_`|~09AZaz: b"},
			Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"what clients send in targets against the rules", "GET /a\"<>\\^`{|}%zz?[b]=\"'? HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET /a\"<>\\^`{|}%zz?[b]=\"'? 1", Host: "a", Path: "/a\"<>\\^`{|}%zz?[b]=\"'?", Fields: []string{"Host: a"},
			Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"two slashes in front", "GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET //b/c 1", Host: "a", Path: "//b/c", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"empty query", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET /? 1", Host: "a", Path: "/?", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"absolute form wins over Host", "GET HTTP://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET HTTP://b:81/c?d 1", Host: "b:81", Path: "/c?d", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"absolute form without path", "GET https://b?c/d HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "GET https://b?c/d 1", Host: "b", Path: "/?c/d", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"OPTIONS of a server", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "OPTIONS * 1", Host: "a", Path: "*", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"OPTIONS of a server in absolute form", "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "OPTIONS http://b 1", Host: "b", Path: "*", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"CONNECT", "CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", message{
			Start: "CONNECT [::1]:443 1", Host: "[::1]:443", Fields: []string{"Host: a"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"IPv6 Host with empty port", "GET / HTTP/1.1\r\nHost: [2001:db8::1.2.3.4]:\r\n\r\n", message{
			Start: "GET / 1", Host: "[2001:db8::1.2.3.4]:", Path: "/", Fields: []string{"Host: [2001:db8::1.2.3.4]:"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", message{
			Start: "GET / 1", Path: "/", Fields: []string{"Host: "}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", message{
			Start: "GET / 0", Path: "/", Framing: LengthNone, Done: true,
		}},
		{"HTTP/1.0 keeps alive when asked", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", message{
			Start: "GET / 0", Path: "/", Fields: []string{"-Connection: Keep-Alive"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"close wins over keep-alive", get("Connection: keep-alive, Close"), message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Connection: keep-alive, Close"}, Framing: LengthNone, Done: true,
		}},
		{"hop-by-hop by itself and by name", get("Connection: x-a ,, \"b\",content-type", "X-A: 1", "x-a: 2", "X-Ab: 3", "Content-Type: d", "Keep-Alive: 5", "Connection: X-B", "x-b: 4", "TE: gzip", "Upgrade: e"), message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Connection: x-a ,, \"b\",content-type", "-X-A: 1", "-x-a: 2", "X-Ab: 3", "Content-Type: d",
				"-Keep-Alive: 5", "-Connection: X-B", "-x-b: 4", "-TE: gzip", "-Upgrade: e"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"what Connection may not take away", get("Connection: host, authorization, x-forwarded-for, cookie, x-understudy-copy", "Authorization: b", "X-Forwarded-For: c", "Cookie: d", "X-Understudy-Copy: e"), message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Connection: host, authorization, x-forwarded-for, cookie, x-understudy-copy",
				"Authorization: b", "X-Forwarded-For: c", "Cookie: d", "X-Understudy-Copy: e"}, Framing: LengthNone, KeepAlive: true, Done: true,
		}},
		{"upgrade", get("Connection: keep-alive, Upgrade", "Upgrade: websocket"), message{
			Start: "GET / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Connection: keep-alive, Upgrade", "-Upgrade: websocket"},
			Framing: LengthNone, KeepAlive: true, Upgrade: "websocket", Done: true,
		}},
		{"fields that Connection names do not come as trailers either", post("0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", "Connection: x-a", "Transfer-Encoding: chunked"), message{
			Start: "POST / 1", Host: "a", Path: "/", Fields: []string{"Host: a", "-Connection: x-a", "-Transfer-Encoding: chunked"},
			Framing: LengthChunked, KeepAlive: true, Done: true,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(&c.want, everySplit(t, c.in, requests)); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.in, diff)
			}
		})
	}
}

// parsed returns the view of a request that must be valid.
func parsed(t testing.TB, in string) *Request {
	t.Helper()
	r := &Request{}
	if n, err := r.Parse([]byte(in), nil); err != nil || n == 0 {
		t.Fatalf("%q: n %d, error %v", in, n, err)
	}
	return r
}

func TestAsksForUpgradeOnlyWhenItIsOne(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		get("Upgrade: websocket"):                                     "",
		get("Connection: upgrade"):                                    "",
		get("Connection: upgrade", "Upgrade:"):                        "",
		get("Connection: upgrade", "Upgrade: websocket"):              "websocket",
		get("Upgrade: a, b/2", "Connection: close, UPGRADE"):          "a, b/2",
		get("Connection: upgrade", "Upgrade: a", "Upgrade: b"):        "",
		get("Connection: upgrade, http2-settings", "Upgrade: h2c"):    "",
		get("Connection: upgrade", "Upgrade: websocket , H2C"):        "",
		"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n": "",
	} {
		if got := parsed(t, in).Upgrade(); string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestExpectsContinueOnlyBeforeABody(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		post("", "Expect: 100-Continue", "Content-Length: 3"):                  true,
		post("", "Expect: 100-continue", "Transfer-Encoding: chunked"):         true,
		post("", "Expect: 100-continue", "Content-Length: 0"):                  false,
		get("Expect: 100-continue"):                                            false,
		post("", "Content-Length: 3"):                                          false,
		"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n": false,
		"POST / HTTP/1.0\r\nExpect: nonsense\r\nContent-Length: 3\r\n\r\n":     false,
	} {
		if got := parsed(t, in).ExpectContinue(); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func TestKnowsMethods(t *testing.T) {
	t.Parallel()
	type kind struct{ safe, idempotent, connect bool }
	for method, want := range map[string]kind{
		"GET": {true, true, false}, "HEAD": {true, true, false}, "OPTIONS": {true, true, false}, "TRACE": {true, true, false},
		"PUT": {false, true, false}, "DELETE": {false, true, false}, "POST": {false, false, false}, "PATCH": {false, false, false},
		"get": {false, false, false}, "GETS": {false, false, false}, "CONNECT": {false, false, true}, "connect": {false, false, false},
	} {
		target := "/"
		if method == "CONNECT" {
			target = "a:1"
		}
		r := parsed(t, method+" "+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := (kind{r.Safe(), r.Idempotent(), r.Connect()}); got != want {
			t.Errorf("%s: got %+v, want %+v", method, got, want)
		}
	}
}

func TestFindsFields(t *testing.T) {
	t.Parallel()
	r := parsed(t, get("Cookie: a=1", "X-Tenant: acme", "cookie: b=2", "x-tenant: other", "Accept:"))
	type found struct {
		Value string
		OK    bool
	}
	value := func(name string, i int) found { v, ok := r.Value(name, i); return found{string(v), ok} }
	lookup := func(id FieldID) found { v, ok := r.Lookup(id); return found{string(v), ok} }
	for _, c := range []struct {
		what      string
		got, want found
	}{
		{"first cookie", value("COOKIE", 0), found{"a=1", true}},
		{"second cookie", value("cookie", 1), found{"b=2", true}},
		{"third cookie", value("cookie", 2), found{"", false}},
		{"first other", value("x-tenant", 0), found{"acme", true}},
		{"second other", value("X-TENANT", 1), found{"other", true}},
		{"empty value", value("accept", 0), found{"", true}},
		{"absent", value("x-tenan", 0), found{"", false}},
		{"no name", value("", 0), found{"", false}},
		{"known", lookup(Cookie), found{"a=1", true}},
		{"known but absent", lookup(UserAgent), found{"", false}},
		{"Other", lookup(Other), found{"", false}},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.what, c.got, c.want)
		}
	}
	if _, _, id := r.Field(2); id != Other {
		t.Errorf("X-Tenant is known as %v", id)
	}
	if _, _, id := r.Field(3); id != Cookie {
		t.Errorf("cookie is known as %v", id)
	}
}

func TestIdentifiesEveryKnownNameInAnyCase(t *testing.T) {
	t.Parallel()
	for id := Other + 1; id < numFields; id++ {
		name := id.String()
		if name == "" {
			t.Errorf("field %d has no name", id)
			continue
		}
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := identify([]byte(spelled)); got != id {
				t.Errorf("%s is identified as %v", spelled, got)
			}
		}
		for _, other := range []string{name + "s", name[1:], "x" + name[1:] + "x"} {
			if got := identify([]byte(other)); got == id {
				t.Errorf("%q is identified as %s", other, name)
			}
		}
	}
	if identify(nil) != Other || identify([]byte("\x08ost")) != Other || identify([]byte("te\x00")) != Other {
		t.Error("what is no name is identified")
	}
	if Other.String() != "" || FieldID(255).String() != "" {
		t.Error("unknown names have a name")
	}
}

func TestLimitsHeads(t *testing.T) {
	t.Parallel()
	lim := &Limits{Head: 200, Target: 20, Fields: 4}
	long := func(n int) string { return "/" + strings.Repeat("a", n-1) }
	withHead := func(n int) string { // a head of n bytes
		h := "GET / HTTP/1.1\r\nHost: a\r\nA: "
		return h + strings.Repeat("b", n-len(h)-4) + "\r\n\r\n"
	}
	for _, c := range []struct {
		name, in string
		status   int
	}{
		{"longest target", line("GET " + long(20) + " HTTP/1.1"), 0},
		{"target too long", line("GET " + long(21) + " HTTP/1.1"), 414},
		{"target much too long", line("GET " + long(500) + " HTTP/1.1"), 414},
		{"target without end", "GET " + long(500), 414},
		{"longest head", withHead(200), 0},
		{"head too long", withHead(201), 431},
		{"field without end", "GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("b", 500), 431},
		{"most fields", get("A: 1", "A: 2", "A: 3"), 0},
		{"too many fields", get("A: 1", "A: 2", "A: 3", "A: 4"), 431},
	} {
		m := everySplit(t, c.in, func(pieces ...string) *message { return readRequest(lim, pieces...) })
		if m.Status != c.status || m.Done != (c.status == 0) {
			t.Errorf("%s: got %d %q, done %v, want %d", c.name, m.Status, m.Reason, m.Done, c.status)
		}
	}
}

func TestALineLongerThanTheHeadIs431(t *testing.T) {
	t.Parallel()
	lim := &Limits{Head: 100, Target: 1000}
	in := "GET /" + strings.Repeat("a", 500)
	m := everySplit(t, in, func(pieces ...string) *message { return readRequest(lim, pieces...) })
	if m.Status != 431 {
		t.Errorf("got %d %q, want 431", m.Status, m.Reason)
	}
	// A buffer of exactly the limit must not wait for a byte that has no room.
	if m := readRequest(lim, in[:100]); m.Status != 431 {
		t.Errorf("full buffer: got %d %q, want 431", m.Status, m.Reason)
	}
}

func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		status   int
	}{
		{"target of 16 KiB", line("GET /" + strings.Repeat("a", 16<<10-1) + " HTTP/1.1"), 0},
		{"target over 16 KiB", line("GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1"), 414},
		{"value of 60 KiB", get("A: " + strings.Repeat("a", 60<<10)), 0},
		{"value of 64 KiB", get("A: " + strings.Repeat("a", 64<<10)), 431},
		{"128 fields", get(strings.Repeat("A: b\r\n", 126) + "A: b"), 0},
		{"129 fields", get(strings.Repeat("A: b\r\n", 127) + "A: b"), 431},
	} {
		if m := requests(c.in); m.Status != c.status || m.Done != (c.status == 0) {
			t.Errorf("%s: got %d %q, done %v, want %d", c.name, m.Status, m.Reason, m.Done, c.status)
		}
	}
}

func TestResultsStayUntilReset(t *testing.T) {
	t.Parallel()
	var r Request
	good := []byte("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x\r\nUpgrade: b\r\nTE: trailers\r\n\r\n")
	for range 2 {
		if n, err := r.Parse(good, nil); n != len(good) || err != nil {
			t.Fatalf("n %d, error %v", n, err)
		}
	}
	moved := append([]byte(nil), good...)
	r.Rebase(moved)
	clear(good)
	if string(r.Path()) != "/a" || string(r.Upgrade()) != "b" {
		t.Errorf("after Rebase: path %q, upgrade %q", r.Path(), r.Upgrade())
	}
	r.Reset()
	bad := []byte("GET /b\r\n")
	for range 2 {
		if n, err := r.Parse(bad, nil); n != 0 || err != errRequestLine {
			t.Fatalf("n %d, error %v", n, err)
		}
	}
	r.Reset()
	if n, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: c\r\n\r\n"), nil); n != 27 || err != nil {
		t.Fatalf("after an error and Reset: n %d, error %v", n, err)
	}
	if r.Upgrade() != nil || r.NumFields() != 1 || !r.KeepAlive() || string(r.Host()) != "c" || r.trailersOK || r.options {
		t.Error("Reset left something of the request before")
	}
}

func TestErrorsSpeak(t *testing.T) {
	t.Parallel()
	if got := errHost.Error(); got != "http1: invalid Host" {
		t.Errorf("got %q", got)
	}
	if e := errHost.inResponse(); e.Status != 502 || e.Reason != "invalid Host" || e.inResponse() != e {
		t.Errorf("got %+v", e)
	}
}
