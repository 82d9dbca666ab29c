package route

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

func explainTable(t *testing.T) *Table {
	t.Helper()
	table, problems := Compile(&config.Config{
		Listeners: []config.Listener{{Name: "web"}, {Name: "ops"}},
		Routes: []config.Route{
			{Name: "ops", Listeners: []string{"ops"}, Rules: make([]config.Rule, 1)},
			{Name: "blog", Hostnames: []string{"blog.example.com", "*.blog.example.com"}, Rules: make([]config.Rule, 1)},
			{Name: "shop", Hostnames: []string{"shop.example.com"}, Rules: []config.Rule{
				ruleFor(config.Match{Path: prefix("/api")}),
				{Matches: []config.Match{
					{Path: prefix("/api"), Methods: []string{"POST"}},
					{Path: exact("/api/cart"), Headers: value("x-tenant", "acme")},
				}},
			}},
			{Name: "rest", Listeners: []string{"web"}, Rules: []config.Rule{ruleFor(config.Match{Path: prefix("/img")})}},
		},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return table
}

func stepTexts(steps []Step) []string {
	var out []string
	for _, s := range steps {
		text := fmt.Sprintf("%s %d.%d: %s", s.Rule.Route, s.Rule.Index, s.Match, s.Reason)
		if s.Matched {
			text += "matched"
		}
		out = append(out, text)
	}
	return out
}

func TestExplain(t *testing.T) {
	t.Parallel()
	table := explainTable(t)
	for _, c := range []struct {
		name string
		r    *Request
		want []string
	}{
		{"stops at the rule that matches", get("shop.example.com", "/api/cart"), []string{
			"shop 1.1: header x-tenant is missing",
			"shop 1.0: method GET is not POST",
			"shop 0.0: matched",
		}},
		{"goes on to less specific hostnames", get("shop.example.com", "/img/x"), []string{
			"shop 1.1: path /img/x is not /api/cart",
			"shop 1.0: path /img/x is not under /api",
			"shop 0.0: path /img/x is not under /api",
			"rest 0.0: matched",
		}},
		{"without a match says why of all", get("Shop.example.com:80", "/x"), []string{
			"shop 1.1: path /x is not /api/cart",
			"shop 1.0: path /x is not under /api",
			"shop 0.0: path /x is not under /api",
			"rest 0.0: path /x is not under /img",
			"ops 0.0: listener web is not ops",
			"blog 0.0: host shop.example.com is not blog.example.com or *.blog.example.com",
		}},
		{"wildcard", get("a.blog.example.com", "/x"), []string{"blog 0.0: matched"}},
		{"other listener", get("shop.example.com", "/x").on(1), []string{
			"shop 1.1: path /x is not /api/cart",
			"shop 1.0: path /x is not under /api",
			"shop 0.0: path /x is not under /api",
			"ops 0.0: matched",
		}},
		{"no such listener", get("shop.example.com", "/api").on(7), []string{
			"ops 0.0: there is no such listener",
			"blog 0.0: there is no such listener",
			"shop 0.0: there is no such listener",
			"shop 1.0: there is no such listener",
			"rest 0.0: there is no such listener",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, stepTexts(table.Explain(c.r))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}
