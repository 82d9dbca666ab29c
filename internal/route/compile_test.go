package route

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

func TestBadRouteIsLeftOutAndTheOthersAreInForce(t *testing.T) {
	t.Parallel()
	c := oneListener(
		config.Route{Name: "good", Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/good")})}},
		config.Route{Name: "bad", Rules: []config.Rule{
			ruleFor(config.Match{Path: prefix("/bad")}),
			{Matches: []config.Match{{Path: prefix("/x")}, {Path: like("/(")}}},
			ruleFor(config.Match{Headers: append(value("a", "1"), values(config.ValueRegexp, "b", "[")...)}),
		}},
		config.Route{Name: "lost", Listeners: []string{"web", "wbe"}, Hostnames: []string{"ok.example.com", "not ok"}, Rules: []config.Rule{ruleFor(config.Match{})}},
		config.Route{Name: "last", Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/last")})}},
	)
	table, problems := Compile(c)
	want := []Problem{
		{"bad", 1, "routes[1].rules[1].matches[1].path", "error parsing regexp: missing closing ): `/(`"},
		{"bad", 2, "routes[1].rules[2].matches[0].headers[1]", "error parsing regexp: missing closing ]: `[`"},
		{"lost", -1, "routes[2].listeners[1]", `there is no listener called "wbe"`},
		{"lost", -1, "routes[2].hostnames[1]", `must be a hostname such as shop.example.com or *.example.com, is "not ok"`},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for target, want := range map[string]string{"/good": "good", "/last": "last", "/bad": "", "/": ""} {
		var route string
		if rule := table.Match(get("h", target)); rule != nil {
			route = rule.Route
		}
		if route != want {
			t.Errorf("%s: route %q, want %q", target, route, want)
		}
	}
	if table.Config() != c {
		t.Error("Config is another one")
	}
}

func TestRulesAreDense(t *testing.T) {
	t.Parallel()
	table, _ := Compile(oneListener(
		config.Route{Name: "a", Rules: make([]config.Rule, 2)},
		config.Route{Name: "bad", Hostnames: []string{"*"}, Rules: make([]config.Rule, 3)},
		config.Route{Name: "c", Rules: make([]config.Rule, 2)},
	))
	var got []string
	for i, r := range table.Rules() {
		if r.ID != i || r.Def != &table.Config().Routes[r.RouteIndex].Rules[r.Index] {
			t.Errorf("rule %d is %+v", i, r)
		}
		got = append(got, fmt.Sprint(r.Route, r.Index))
	}
	if diff := cmp.Diff([]string{"a0", "a1", "c0", "c1"}, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestEmptyConfigMatchesNothing(t *testing.T) {
	t.Parallel()
	table, problems := Compile(oneListener())
	if len(problems) > 0 || table.Match(get("h", "/")) != nil || len(table.Rules()) > 0 {
		t.Errorf("problems %v, rules %v", problems, table.Rules())
	}
}

func TestProblemReadsAsAnError(t *testing.T) {
	t.Parallel()
	p := Problem{Route: "shop", Rule: 1, Path: "routes[0].rules[1].matches[0].path", Message: "is odd"}
	if got, want := p.Error(), "routes[0].rules[1].matches[0].path: is odd"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Rules that share a path and differ by a value are found by the value; those
// that cannot be are still considered, in their order.
func TestManyRulesOnOnePath(t *testing.T) {
	t.Parallel()
	route := config.Route{Name: "r"}
	add := func(m config.Match) {
		m.Path = prefix("/api")
		route.Rules = append(route.Rules, ruleFor(m))
	}
	for i := range 50 { // rules 0 to 49
		add(config.Match{Headers: value("X-Tenant", fmt.Sprint("t", i))})
	}
	for i := range 50 { // rules 50 to 99
		add(config.Match{Headers: append(value("x-tenant", "t7"), value("x-user", fmt.Sprint("u", i))...)})
	}
	for i := range 50 { // rules 100 to 149
		add(config.Match{Cookies: value("beta", fmt.Sprint(i))})
	}
	for i := range 50 { // rules 150 to 199
		add(config.Match{Query: value("v", fmt.Sprint(i))})
	}
	add(config.Match{Headers: values(config.ValueRegexp, "x-tenant", "t[0-9]+")})                  // rule 200
	add(config.Match{Headers: values(config.ValuePresent, "x-vip", ""), Methods: []string{"GET"}}) // rule 201
	add(config.Match{})                                                                            // rule 202
	table, problems := Compile(oneListener(route))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		name string
		r    *Request
		want int
	}{
		{"value", get("h", "/api/x", "x-tenant", "t33"), 33},
		{"two values", get("h", "/api/x", "x-tenant", "t7", "x-user", "u3"), 53},
		{"first of two values only", get("h", "/api/x", "x-tenant", "t7", "x-user", "u99"), 7},
		{"earlier of two kinds", get("h", "/api/x", "x-tenant", "t8", "cookie", "beta=4"), 8},
		{"cookie", get("h", "/api/x", "cookie", "beta=4"), 104},
		{"cookie before parameter", get("h", "/api/x?v=9", "cookie", "beta=4"), 104},
		{"parameter", get("h", "/api/x?v=9"), 159},
		{"pattern", get("h", "/api/x?v=9", "x-tenant", "t1000"), 200},
		{"method first", get("h", "/api/x?v=9", "x-tenant", "t7", "x-user", "u3", "x-vip", "1"), 201},
		{"nothing", get("h", "/api/x", "x-tenant", "other"), 202},
	} {
		if rule := table.Match(c.r); rule == nil || rule.Index != c.want {
			t.Errorf("%s: matched %+v, want rule %d", c.name, rule, c.want)
		}
	}
}
