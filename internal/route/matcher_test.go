package route

import (
	"net/netip"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

// matcherCases says of each match and request why it does not hold, empty if it
// does.
var matcherCases = []struct {
	name   string
	match  config.Match
	r      *Request
	reason string
}{
	{"no condition", config.Match{}, get("h", "/x"), ""},
	{"exact path", config.Match{Path: exact("/api")}, get("h", "/api?q"), ""},
	{"exact path with more", config.Match{Path: exact("/api")}, get("h", "/api/"), "path /api/ is not /api"},
	{"exact path ignores spelling", config.Match{Path: exact("/a%7Eb")}, get("h", "/x/../%61~b"), ""},
	{"exact path minds case", config.Match{Path: exact("/API")}, get("h", "/api"), "path /api is not /API"},
	{"exact path outside of ASCII", config.Match{Path: exact("/café")}, get("h", "/caf%c3%a9"), ""},

	{"prefix is the path", config.Match{Path: prefix("/api")}, get("h", "/api"), ""},
	{"prefix with a slash", config.Match{Path: prefix("/api")}, get("h", "/api/"), ""},
	{"prefix with an element", config.Match{Path: prefix("/api")}, get("h", "/api/x"), ""},
	{"prefix is no part of an element", config.Match{Path: prefix("/api")}, get("h", "/apix"), "path /apix is not under /api"},
	{"prefix written with a slash", config.Match{Path: prefix("/api/")}, get("h", "/api"), ""},
	{"prefix longer than the path", config.Match{Path: prefix("/api/v1")}, get("h", "/api"), "path /api is not under /api/v1"},
	{"prefix of an encoded slash", config.Match{Path: prefix("/api")}, get("h", "/api%2Fx"), "path /api%2Fx is not under /api"},
	{"prefix after dot segments", config.Match{Path: prefix("/api")}, get("h", "/api/../admin"), "path /admin is not under /api"},
	{"root prefix", config.Match{Path: prefix("/")}, get("h", "/x"), ""},
	{"root prefix and no path", config.Match{Path: prefix("/")}, get("h", "*"), ""},
	{"prefix without a type", config.Match{Path: &config.PathMatch{Value: "/api"}}, get("h", "/api/x"), ""},

	{"pattern", config.Match{Path: like("/v[0-9]+/.*")}, get("h", "/v12/x"), ""},
	{"pattern must match the whole path", config.Match{Path: like("/v[0-9]+")}, get("h", "/v12/x"), "path /v12/x does not match /v[0-9]+"},
	{"pattern with alternatives must match the whole path", config.Match{Path: like("/a|/b")}, get("h", "/b/c"), "path /b/c does not match /a|/b"},
	{"pattern sees the canonical path", config.Match{Path: like("/api/.")}, get("h", "/y/../%61pi/x"), ""},

	{"method", config.Match{Methods: []string{"POST", "GET"}}, get("h", "/"), ""},
	{"other method", config.Match{Methods: []string{"POST", "PUT", "PATCH"}}, get("h", "/"), "method GET is not POST, PUT or PATCH"},
	{"GET is not HEAD", config.Match{Methods: []string{"GET"}}, get("h", "/").by("HEAD"), "method HEAD is not GET"},
	{"method minds case", config.Match{Methods: []string{"GET"}}, get("h", "/").by("get"), "method get is not GET"},

	{"header", config.Match{Headers: value("X-Tenant", "acme")}, get("h", "/", "x-tenant", "acme"), ""},
	{"header without a type", config.Match{Headers: values("", "x", "1")}, get("h", "/", "X", "1"), ""},
	{"header value minds case", config.Match{Headers: value("x", "acme")}, get("h", "/", "X", "Acme"), `header x is "Acme", not "acme"`},
	{"header missing", config.Match{Headers: value("X-Tenant", "acme")}, get("h", "/", "y", "acme"), "header x-tenant is missing"},
	{"header without any header", config.Match{Headers: value("x", "1")}, &Request{Path: []byte("/")}, "header x is missing"},
	{"header given twice is joined", config.Match{Headers: value("accept", "a, b")}, get("h", "/", "Accept", "a", "z", "1", "accept", "b"), ""},
	{"header given three times is joined", config.Match{Headers: value("accept", "a, b, c")}, get("h", "/", "accept", "a", "accept", "b", "accept", "c"), ""},
	{"first of two values is not the value", config.Match{Headers: value("accept", "a")}, get("h", "/", "accept", "a", "accept", "b"), `header accept is "a, b", not "a"`},
	{"header present", config.Match{Headers: values(config.ValuePresent, "x", "")}, get("h", "/", "x", ""), ""},
	{"header not present", config.Match{Headers: values(config.ValuePresent, "x", "")}, get("h", "/"), "header x is missing"},
	{"header absent", config.Match{Headers: values(config.ValueAbsent, "x", "")}, get("h", "/", "y", "1"), ""},
	{"header not absent", config.Match{Headers: values(config.ValueAbsent, "x", "")}, get("h", "/", "x", "1"), "header x is present"},
	{"header pattern", config.Match{Headers: values(config.ValueRegexp, "x", "v[0-9]")}, get("h", "/", "x", "v1"), ""},
	{"header pattern must match the whole value", config.Match{Headers: values(config.ValueRegexp, "x", "v[0-9]")}, get("h", "/", "x", "v12"), `header x is "v12", which does not match v[0-9]`},
	{"all headers must match", config.Match{Headers: append(value("a", "1"), value("b", "2")...)}, get("h", "/", "a", "1", "b", "3"), `header b is "3", not "2"`},

	{"parameter", config.Match{Query: value("v", "2")}, get("h", "/?a=1&v=2"), ""},
	{"first of two parameters", config.Match{Query: value("v", "2")}, get("h", "/?v=1&v=2"), `query parameter v is "1", not "2"`},
	{"parameter is decoded", config.Match{Query: value("näme", "a b&c")}, get("h", "/?n%c3%a4me=a+b%26c"), ""},
	{"parameter in a query with a broken encoding", config.Match{Query: value("v", "%zz")}, get("h", "/?v=%zz"), ""},
	{"parameter name minds case", config.Match{Query: value("v", "2")}, get("h", "/?V=2"), "query parameter v is missing"},
	{"parameter without a value", config.Match{Query: values(config.ValuePresent, "debug", "")}, get("h", "/?a&debug"), ""},
	{"parameter name is not a part of one", config.Match{Query: values(config.ValuePresent, "v", "")}, get("h", "/?vv=1&x=v"), "query parameter v is missing"},
	{"parameter after empty ones", config.Match{Query: value("v", "=2")}, get("h", "/?&&v==2"), ""},
	{"parameter absent", config.Match{Query: values(config.ValueAbsent, "v", "")}, get("h", "/"), ""},
	{"parameter pattern", config.Match{Query: values(config.ValueRegexp, "v", "[0-9]+")}, get("h", "/?v=12"), ""},

	{"cookie", config.Match{Cookies: value("beta", "1")}, get("h", "/", "cookie", "a=2; beta=1; c=3"), ""},
	{"cookie without spaces", config.Match{Cookies: value("beta", "1")}, get("h", "/", "cookie", "a=2;beta=1"), ""},
	{"cookie in a second header", config.Match{Cookies: value("beta", "1")}, get("h", "/", "Cookie", "a=2", "Cookie", "beta=1"), ""},
	{"first of two cookies", config.Match{Cookies: value("beta", "1")}, get("h", "/", "cookie", "beta=2; beta=1"), `cookie beta is "2", not "1"`},
	{"cookie name minds case", config.Match{Cookies: value("beta", "1")}, get("h", "/", "cookie", "Beta=1"), "cookie beta is missing"},
	{"cookie value is not decoded", config.Match{Cookies: value("b", `"a%20b"`)}, get("h", "/", "cookie", `b="a%20b"`), ""},
	{"cookie without a value is none", config.Match{Cookies: values(config.ValueAbsent, "beta", "")}, get("h", "/", "cookie", "beta"), ""},
	{"cookie without any header", config.Match{Cookies: value("x", "1")}, &Request{Path: []byte("/")}, "cookie x is missing"},

	{"source", config.Match{Sources: prefixes("10.0.0.0/8", "192.0.2.0/24")}, get("h", "/"), ""},
	{"other source", config.Match{Sources: prefixes("10.0.0.0/8", "::1/128")}, get("h", "/"), "source 192.0.2.7 is not in 10.0.0.0/8 or ::1/128"},
	{"source in IPv6 clothes", config.Match{Sources: prefixes("10.0.0.0/8")}, get("h", "/").from("::ffff:10.1.2.3"), ""},
	{"source with a zone", config.Match{Sources: prefixes("fe80::/10")}, get("h", "/").from("fe80::1%eth0"), ""},
	{"unknown source", config.Match{Sources: prefixes("0.0.0.0/0")}, &Request{Path: []byte("/")}, "the source is unknown, not in 0.0.0.0/0"},

	{"the first of several failures is named", config.Match{Path: prefix("/api"), Methods: []string{"POST"}, Headers: value("x", "1")}, get("h", "/api"), "method GET is not POST"},
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestMatcher(t *testing.T) {
	t.Parallel()
	for _, c := range matcherCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := CompileMatch(&c.match)
			if err != nil {
				t.Fatal(err)
			}
			r := *c.r
			if got := m.Match(&r); got != (c.reason == "") {
				t.Errorf("Match = %t", got)
			}
			if got := m.Explain(&r); got != c.reason {
				t.Errorf("Explain = %q, want %q", got, c.reason)
			}
		})
	}
}

// The same conditions as rules of a table must hold exactly when they hold for
// a mirror.
func TestTableAgreesWithMatcher(t *testing.T) {
	t.Parallel()
	for _, c := range matcherCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			table, problems := Compile(oneListener(config.Route{Name: "r", Rules: []config.Rule{ruleFor(c.match)}}))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			r := *c.r
			if got := table.Match(&r) != nil; got != (c.reason == "") {
				t.Errorf("matched: %t", got)
			}
		})
	}
}

func TestNilMatcherMatchesEverything(t *testing.T) {
	t.Parallel()
	m, err := CompileMatch(nil)
	if err != nil || m != nil {
		t.Fatalf("CompileMatch(nil) = %v, %v", m, err)
	}
	if !m.Match(get("h", "/")) || m.Explain(get("h", "/")) != "" {
		t.Error("a nil Matcher refused a request")
	}
}

func TestCompileMatchNamesTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		match config.Match
		want  string
	}{
		{"path pattern", config.Match{Path: like("/(")}, "path: error parsing regexp: missing closing ): `/(`"},
		{"path without a slash", config.Match{Path: prefix("api")}, `path: "api" does not begin with /`},
		{"path type", config.Match{Path: &config.PathMatch{Type: "Suffix", Value: "/a"}}, `path: "Suffix" is not a way to compare a path`},
		{"header pattern", config.Match{Headers: values(config.ValueRegexp, "x", "*")}, "headers[0]: error parsing regexp: missing argument to repetition operator: `*`"},
		{"parameter type", config.Match{Query: append(value("a", "1"), values("Like", "v", "1")...)}, `query[1]: "Like" is not a way to compare a value`},
		{"cookie pattern", config.Match{Cookies: values(config.ValueRegexp, "x", "a)(b")}, "cookies[0]: error parsing regexp: unexpected ): `a)(b`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := CompileMatch(&c.match); err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}
