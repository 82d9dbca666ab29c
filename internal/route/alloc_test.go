package route

import (
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

// header is what the allocation test and the benchmarks use as Headers: it
// returns views, as a parser does.
type header []struct {
	name  string // in lower case
	value []byte
}

func (h header) Value(name string, i int) ([]byte, bool) {
	for j := range h {
		if h[j].name == name {
			if i == 0 {
				return h[j].value, true
			}
			i--
		}
	}
	return nil, false
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table, problems := Compile(oneListener(
		config.Route{Name: "exact", Hostnames: []string{"shop.example.com"}, Rules: []config.Rule{
			ruleFor(config.Match{Path: exact("/cart"), Headers: value("x-list", "a, b")}),
			ruleFor(config.Match{Path: prefix("/api/v1"), Methods: []string{"GET"}, Cookies: value("beta", "1")}),
			ruleFor(config.Match{Path: like("/img/[a-z]+\\.png"), Query: value("size", "10 px")}),
			ruleFor(config.Match{GRPC: &config.GRPCMatch{Method: "Get"}}),
		}},
		config.Route{Name: "wildcard", Hostnames: []string{"*.example.com"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/w"), Sources: prefixes("192.0.2.0/24")})}},
	))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	headers := header{{"x-list", []byte("a")}, {"cookie", []byte("a=b; beta=1")}, {"x-list", []byte("b")}}
	mirror, err := CompileMatch(&config.Match{Path: prefix("/api"), Headers: value("x-list", "a, b")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, host, target string
		want               bool
	}{
		{"exact", "shop.example.com", "/cart", true},
		{"prefix", "shop.example.com", "/api/v1/users", true},
		{"spelled otherwise", "Shop.Example.COM:8080", "/x/../%61pi/v1/users", true},
		{"pattern", "shop.example.com", "/img/abc.png?a=%20&size=10+px", true},
		{"wildcard", "a.b.example.com", "/w/x", true},
		{"call", "shop.example.com", "/shop.Cart/Get", true},
		{"miss", "shop.example.com", "/a/b/c/d/e/f", false},
		{"other host", "example.org", "/cart", false},
	} {
		r := get(c.host, c.target)
		r.Headers, r.GRPC = headers, true
		if got := table.Match(r) != nil; got != c.want {
			t.Errorf("%s: matched: %t", c.name, got)
		}
		if n := testing.AllocsPerRun(200, func() { table.Match(r); mirror.Match(r) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
	if path := []byte("/api/x"); testing.AllocsPerRun(100, func() { mirror.Match(&Request{Path: path}) }) > 0 {
		t.Error("a fresh Request allocates although it needs no scratch space")
	}
	buffer, replacement := make([]byte, 0, 256), "/new"
	modifier := &config.PathModifier{ReplacePrefixMatch: &replacement}
	path := []byte("/api/%41/../users")
	if n := testing.AllocsPerRun(200, func() { buffer = Rewritten(buffer[:0], modifier, "/api", path) }); n != 0 {
		t.Errorf("Rewritten: %v allocations", n)
	}
}
