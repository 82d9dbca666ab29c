package route

import (
	"fmt"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

var benchSizes = []int{10, 1_000, 100_000}

// benchHeaders is what a browser behind a proxy sends.
func benchHeaders(tenant string) header {
	h := header{
		{"host", []byte("shop.example.com")}, {"user-agent", []byte("Mozilla/5.0")}, {"accept", []byte("*/*")},
		{"accept-encoding", []byte("gzip")}, {"accept-language", []byte("en")}, {"cookie", []byte("sid=0123456789abcdef; theme=dark; beta=1")},
		{"x-request-id", []byte("01890a5d-ac96-774b-bcce-b302099a8057")}, {"x-forwarded-for", []byte("192.0.2.7")}, {"x-forwarded-proto", []byte("https")},
		{"x-tenant", []byte(tenant)},
	}
	return h
}

// The shapes of configuration that the benchmark knows. Each makes one rule out
// of its number, and a request for the rule of that number.
var benchShapes = []struct {
	name    string
	route   func(i int) config.Route
	request func(i int) *Request
}{
	{"hosts", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Hostnames: []string{fmt.Sprintf("s%d.example.com", i)}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/api")})}}
	}, func(i int) *Request { return get(fmt.Sprintf("s%d.example.com:8080", i), "/api/v1/users/42") }},
	{"prefixes", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: prefix(fmt.Sprintf("/team%d/service%d/api", i%97, i))})}}
	}, func(i int) *Request {
		return get("shop.example.com", fmt.Sprintf("/team%d/service%d/api/v1/users/42/orders", i%97, i))
	}},
	{"exact", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: exact(fmt.Sprintf("/item/%d", i)), Methods: []string{"GET"}})}}
	}, func(i int) *Request { return get("shop.example.com", fmt.Sprintf("/item/%d", i)) }},
	{"nested", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: prefix(fmt.Sprintf("/a%d/b%d/c%d/d%d/e%d", i%10, i/10%10, i/100%10, i/1000%10, i/10_000))})}}
	}, func(i int) *Request {
		return get("shop.example.com", fmt.Sprintf("/a%d/b%d/c%d/d%d/e%d/f", i%10, i/10%10, i/100%10, i/1000%10, i/10_000))
	}},
	{"same-path-many-headers", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/api"), Headers: value("x-tenant", fmt.Sprint("t", i))})}}
	}, func(i int) *Request {
		r := get("shop.example.com", "/api/v1/users")
		r.Headers = benchHeaders(fmt.Sprint("t", i))
		return r
	}},
	{"patterns-in-folders", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: like(fmt.Sprintf("/service%d/v[0-9]+/.*", i))})}}
	}, func(i int) *Request { return get("shop.example.com", fmt.Sprintf("/service%d/v2/users", i)) }},
	{"miss-path", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Rules: []config.Rule{ruleFor(config.Match{Path: prefix(fmt.Sprintf("/team%d/service%d/api", i%97, i))})}}
	}, func(i int) *Request {
		return get("shop.example.com", fmt.Sprintf("/team%d/service%d/web/v1/users", i%97, i))
	}},
	{"miss-host", func(i int) config.Route {
		return config.Route{Name: fmt.Sprint(i), Hostnames: []string{fmt.Sprintf("*.s%d.example.com", i)}, Rules: make([]config.Rule, 1)}
	}, func(i int) *Request { return get(fmt.Sprintf("a.b.c.s%d.example.org", i), "/") }},
}

func benchConfig(n int, route func(i int) config.Route) *config.Config {
	c := oneListener()
	for i := range n {
		c.Routes = append(c.Routes, route(i))
	}
	return c
}

func BenchmarkMatch(b *testing.B) {
	for _, shape := range benchShapes {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/rules=%d", shape.name, n), func(b *testing.B) {
				table, problems := Compile(benchConfig(n, shape.route))
				if len(problems) > 0 {
					b.Fatal(problems[0])
				}
				// Requests for rules all over the table, so that caches do not
				// flatter it.
				requests := make([]*Request, 1024)
				for i := range requests {
					requests[i] = shape.request(i * 7919 % n)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					table.Match(requests[i%len(requests)])
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range benchShapes {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/rules=%d", shape.name, n), func(b *testing.B) {
				c := benchConfig(n, shape.route)
				for b.Loop() {
					if _, problems := Compile(c); len(problems) > 0 {
						b.Fatal(problems[0])
					}
				}
			})
		}
	}
}

func BenchmarkRewritten(b *testing.B) {
	replacement := "/new/place"
	m := &config.PathModifier{ReplacePrefixMatch: &replacement}
	path := []byte("/api/v1/users/42/orders")
	buffer := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buffer = Rewritten(buffer[:0], m, "/api/v1", path)
	}
}
