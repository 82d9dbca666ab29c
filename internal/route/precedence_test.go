package route

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Each case has two routes, each of which matches the request. The better one
// must win wherever it stands.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	match := func(m config.Match) config.Route { return config.Route{Rules: []config.Rule{ruleFor(m)}} }
	host := func(name string, m config.Match) config.Route {
		return config.Route{Hostnames: []string{name}, Rules: []config.Rule{ruleFor(m)}}
	}
	for _, c := range []struct {
		name          string
		better, worse config.Route
	}{
		{"exact hostname over wildcard", host("a.b.example.com", config.Match{}), host("*.b.example.com", config.Match{Path: exact("/api/v1/x")})},
		{"longer wildcard over shorter", host("*.b.example.com", config.Match{}), host("*.example.com", config.Match{Path: exact("/api/v1/x")})},
		{"wildcard over no hostname", host("*.example.com", config.Match{}), match(config.Match{Path: exact("/api/v1/x"), Headers: value("x", "1")})},
		{"exact path over prefix", match(config.Match{Path: exact("/api/v1/x")}), match(config.Match{Path: prefix("/api/v1/x"), Methods: []string{"GET"}})},
		{"exact path over longer pattern", match(config.Match{Path: exact("/api/v1/x")}), match(config.Match{Path: like("/api/v[0-9]+/[a-z]+")})},
		{"longer prefix over shorter", match(config.Match{Path: prefix("/api/v1")}), match(config.Match{Path: prefix("/api"), Methods: []string{"GET"}, Headers: value("x", "1")})},
		{"prefix over pattern", match(config.Match{Path: prefix("/api")}), match(config.Match{Path: like("/api/v1/[a-z]+")})},
		{"pattern over the root", match(config.Match{Path: like("/a.*")}), match(config.Match{Path: prefix("/"), Methods: []string{"GET"}})},
		{"pattern over no path", match(config.Match{Path: like("/a.*")}), match(config.Match{Headers: value("x", "1")})},
		{"longer pattern over shorter", match(config.Match{Path: like("/[a-z]+/v1/.*")}), match(config.Match{Path: like("/api/v.*"), Methods: []string{"GET"}})},
		{"longer pattern without a fixed beginning", match(config.Match{Path: like(".*/v1/[a-z]")}), match(config.Match{Path: like("/api/v1/.")})},
		{"method over headers", match(config.Match{Methods: []string{"GET"}}), match(config.Match{Headers: append(value("x", "1"), value("y", "2")...)})},
		{"two headers over one", match(config.Match{Headers: append(value("x", "1"), value("y", "2")...)}), match(config.Match{Headers: value("x", "1"), Query: value("q", "1")})},
		{"header over parameters", match(config.Match{Headers: value("x", "1")}), match(config.Match{Query: append(value("q", "1"), value("r", "2")...)})},
		{"cookie counts as a header", match(config.Match{Cookies: value("c", "1"), Headers: value("x", "1")}), match(config.Match{Headers: value("x", "1")})},
		{"sources count as one header", match(config.Match{Sources: prefixes("192.0.2.0/24"), Headers: value("x", "1")}), match(config.Match{Headers: value("x", "1")})},
		{"two headers over two ranges of sources", match(config.Match{Headers: append(value("x", "1"), value("y", "2")...)}), match(config.Match{Sources: prefixes("192.0.2.0/24", "10.0.0.0/8")})},
		{"two parameters over one", match(config.Match{Query: append(value("q", "1"), value("r", "2")...)}), match(config.Match{Query: value("q", "1")})},
		{"parameter over nothing", match(config.Match{Path: prefix("/api"), Query: value("q", "1")}), match(config.Match{Path: prefix("/api/")})},
		{"absence counts like presence", match(config.Match{Headers: values(config.ValueAbsent, "nope", "")}), match(config.Match{})},
	} {
		c.better.Name, c.worse.Name = "better", "worse"
		for _, order := range [][]config.Route{{c.better, c.worse}, {c.worse, c.better}} {
			t.Run(c.name+", first is "+order[0].Name, func(t *testing.T) {
				t.Parallel()
				table, problems := Compile(oneListener(order...))
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				r := get("a.b.example.com", "/api/v1/x?q=1&r=2", "x", "1", "y", "2", "cookie", "c=1")
				if got := table.Match(r); got == nil || got.Route != "better" {
					t.Errorf("matched %+v", got)
				}
			})
		}
	}
}

// The order of GRPCRoute in the Gateway API: the longer service, then the longer
// method, then more headers.
func TestPrecedenceOfCalls(t *testing.T) {
	t.Parallel()
	call := func(service, method string, headers ...config.ValueMatch) config.Match {
		return config.Match{GRPC: &config.GRPCMatch{Service: service, Method: method}, Headers: headers}
	}
	pattern := func(service, method string) config.Match {
		return config.Match{GRPC: &config.GRPCMatch{Type: config.ValueRegexp, Service: service, Method: method}}
	}
	for _, c := range []struct {
		name          string
		better, worse config.Match
	}{
		{"method over service alone", call("shop.Cart", "Get"), call("shop.Cart", "", value("x", "1")...)},
		{"service over method", call("shop.Cart", ""), call("", "Get", value("x", "1")...)},
		{"method over nothing", call("", "Get"), call("", "", value("x", "1")...)},
		{"two headers over one", call("shop.Cart", "Get", append(value("x", "1"), value("y", "2")...)...), call("shop.Cart", "Get", value("x", "1")...)},
		{"call over what is for everybody", call("", ""), config.Match{Headers: value("x", "1")}},
		{"call over the same path", call("shop.Cart", ""), config.Match{Path: prefix("/shop.Cart"), Headers: value("x", "1")}},
		{"names over patterns", call("shop.Cart", ""), pattern("shop[.].*", "Get")},
		{"longer pattern of a service", pattern("shop[.]Cart", "G.*"), pattern("shop.*", "[A-Z][a-z]+")},
		{"then of a method", pattern("shop.*", "[A-Z]et"), pattern("shop.*", "G.*")},
		{"service first", pattern("sh.*", ""), call("", "Get", value("x", "1")...)},
	} {
		for _, order := range [][]config.Match{{c.better, c.worse}, {c.worse, c.better}} {
			table, problems := Compile(oneListener(config.Route{Rules: []config.Rule{ruleFor(order[0]), ruleFor(order[1])}}))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			r := get("h", "/shop.Cart/Get", "x", "1", "y", "2").by("POST")
			r.GRPC = true
			if got := table.Match(r); got == nil || !cmp.Equal(got.Def.Matches[0], c.better) {
				t.Errorf("%s: matched %+v", c.name, got)
			}
		}
	}
}

func TestOrderOfTheFileDecidesLast(t *testing.T) {
	t.Parallel()
	same := config.Match{Path: prefix("/api"), Headers: value("x", "1")}
	alike := config.Match{Path: prefix("/api"), Headers: values(config.ValuePresent, "x", "")}
	table, problems := Compile(oneListener(
		config.Route{Name: "other", Rules: []config.Rule{ruleFor(config.Match{Path: exact("/")})}},
		config.Route{Name: "first", Rules: []config.Rule{ruleFor(config.Match{Path: exact("/no")}), ruleFor(alike), ruleFor(same)}},
		config.Route{Name: "second", Rules: []config.Rule{ruleFor(same)}},
	))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := table.Match(get("h", "/api", "x", "1"))
	if got == nil || got.Route != "first" || got.Index != 1 || got.RouteIndex != 1 || got.ID != 2 {
		t.Errorf("matched %+v, want route first, rule 1, id 2", got)
	}
}

func TestLessSpecificRuleMatchesWhenMoreSpecificDoesNot(t *testing.T) {
	t.Parallel()
	table, problems := Compile(oneListener(
		config.Route{Name: "exact", Hostnames: []string{"shop.example.com"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/api/v1")})}},
		config.Route{Name: "wildcard", Hostnames: []string{"*.example.com"}, Rules: []config.Rule{
			ruleFor(config.Match{Path: prefix("/api")}),
			ruleFor(config.Match{Path: prefix("/api/v1/users"), Methods: []string{"POST"}}),
		}},
		config.Route{Name: "any", Rules: []config.Rule{ruleFor(config.Match{Path: like("/(api|img)/.*")})}},
	))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct{ target, want, prefix string }{
		{"/api/v1/users", "exact", "/api/v1"},
		{"/api/v2/users", "wildcard", "/api"},
		{"/img/x.png", "any", ""},
		{"/css", "", ""},
	} {
		r := get("shop.example.com", c.target)
		var route string
		if rule := table.Match(r); rule != nil {
			route = rule.Route
		}
		if route != c.want || r.Matched.Prefix != c.prefix {
			t.Errorf("%s: route %q with prefix %q, want %q with %q", c.target, route, r.Matched.Prefix, c.want, c.prefix)
		}
	}
}

func TestMatchedSaysHow(t *testing.T) {
	t.Parallel()
	table, problems := Compile(oneListener(config.Route{Name: "r", Rules: []config.Rule{{Matches: []config.Match{
		{Path: exact("/exact")}, {Path: prefix("/pre/fix/")}, {Path: like("/v[0-9]")}, {Path: prefix("/"), Methods: []string{"POST"}},
	}}, {}}}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		r    *Request
		rule int
		want Matched
	}{
		{get("h", "/exact"), 0, Matched{Prefix: "", Index: 0}},
		{get("h", "/pre/%66ix/x"), 0, Matched{Prefix: "/pre/fix", Index: 1}},
		{get("h", "/v1"), 0, Matched{Prefix: "", Index: 2}},
		{get("h", "/v1/x").by("POST"), 0, Matched{Prefix: "/", Index: 3}},
		{get("h", "/other"), 1, Matched{Prefix: "/", Index: 0}},
	} {
		if rule := table.Match(c.r); rule == nil || rule.Index != c.rule || c.r.Matched != c.want {
			t.Errorf("%s: rule %+v by %+v, want rule %d by %+v", c.r.Path, rule, c.r.Matched, c.rule, c.want)
		}
	}
}

func TestHostnames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hostname, host string
		want           bool
	}{
		{"shop.example.com", "shop.example.com", true},
		{"shop.example.com", "SHOP.Example.COM", true},
		{"Shop.Example.Com", "shop.example.com", true},
		{"shop.example.com", "shop.example.com:8080", true},
		{"shop.example.com", "shop.example.com.", true},
		{"shop.example.com", "Shop.example.com.:80", true},
		{"shop.example.com.", "shop.example.com", true},
		{"shop.example.com", "a.shop.example.com", false},
		{"shop.example.com", "shop.example.com..", false},
		{"shop.example.com", "", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "A.Example.com:80", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "badexample.com", false},
		{"*.example.com", "a.example.com.evil.org", false},
		{"localhost", "localhost:8080", true},
		{"192.0.2.1", "192.0.2.1:80", true},
		{"[::1]", "[::1]:8080", true},
		{"[::1]", "[::1]", true},
		{"[2001:DB8::1]", "[2001:db8::1]", true},
	} {
		t.Run(c.hostname+" and "+c.host, func(t *testing.T) {
			t.Parallel()
			table, problems := Compile(oneListener(config.Route{Name: "r", Hostnames: []string{c.hostname}, Rules: make([]config.Rule, 1)}))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if got := table.Match(get(c.host, "/")) != nil; got != c.want {
				t.Errorf("matched: %t", got)
			}
		})
	}
}

func TestHostnameLongerThanAnyMatchesOnlyRoutesWithoutHostnames(t *testing.T) {
	t.Parallel()
	wildcard := config.Route{Name: "wildcard", Hostnames: []string{"*.com"}, Rules: make([]config.Rule, 1)}
	any := config.Route{Name: "any", Rules: make([]config.Rule, 1)}
	table, problems := Compile(oneListener(wildcard, any))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	long := make([]byte, 400)
	for i := range long {
		long[i] = "a."[i%2]
	}
	if got := table.Match(get(string(long)+"com", "/")); got == nil || got.Route != "any" {
		t.Errorf("matched %+v", got)
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	c := &config.Config{
		Listeners: []config.Listener{{Name: "public"}, {Name: "internal"}},
		Routes: []config.Route{
			{Name: "inside", Listeners: []string{"internal"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/admin")})}},
			{Name: "both", Listeners: []string{"internal", "public"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/api")})}},
			{Name: "all", Rules: []config.Rule{ruleFor(config.Match{Path: exact("/")})}},
		},
	}
	table, problems := Compile(c)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, want := range []struct {
		listener      int
		target, route string
	}{
		{0, "/admin", ""}, {1, "/admin", "inside"}, {0, "/api", "both"}, {1, "/api", "both"},
		{0, "/", "all"}, {1, "/", "all"}, {2, "/", ""}, {-1, "/", ""},
	} {
		var route string
		if rule := table.Match(get("h", want.target).on(want.listener)); rule != nil {
			route = rule.Route
		}
		if route != want.route {
			t.Errorf("listener %d, %s: route %q, want %q", want.listener, want.target, route, want.route)
		}
	}
}

func TestListenersWithTheSameRoutesShareThem(t *testing.T) {
	t.Parallel()
	table, problems := Compile(&config.Config{
		Listeners: []config.Listener{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		Routes: []config.Route{
			{Name: "all", Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/x")})}},
			{Name: "two", Listeners: []string{"c", "a"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/y")})}},
		},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if table.listeners[0] != table.listeners[2] || table.listeners[0] == table.listeners[1] {
		t.Error("listeners a and c, and only they, have the same routes")
	}
}
