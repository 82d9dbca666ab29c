package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

const shopFile = `
listeners:
  - {name: web, address: "127.0.0.1:8080"}
  - {name: ops, address: "127.0.0.1:8081"}
routes:
  - name: shop
    listeners: [web]
    hostnames: [shop.example.com, "*.shop.example.com"]
    rules:
      - matches:
          - {path: {type: Exact, value: /api/cart}, methods: [GET, POST], headers: [{name: x-tenant, value: acme}]}
          - path: {type: RegularExpression, value: "/old/.*"}
            query: [{name: v, type: Present}, {name: w, type: RegularExpression, value: "[0-9]+"}]
            cookies: [{name: beta, type: Absent}]
            sources: ["10.0.0.0/8", "192.168.0.0/16"]
        backends: [{name: v1, weight: 3}, {name: v1b, weight: 1}]
        mirrors:
          - {backend: v2, percent: 12.5, key: {header: x-user}}
          - {name: third, backend: v3, fraction: {numerator: 1, denominator: 3}, writes: copy, key: {cookie: session}}
      - matches: [{path: {value: /}}]
        backends: [{name: v1}]
        mirrors: [{backend: v2, percent: 0.5, key: {source: true}}, {backend: v3, key: {trace: true}}]
  - name: gone
    rules:
      - matches: [{path: {value: /gone}}]
        redirect: {hostname: new.example.com}
      - backends: [{name: v1}]
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v1b, endpoints: ["127.0.0.1:9001"]}
  - {name: v2, endpoints: ["127.0.0.1:9002", "127.0.0.1:9003"]}
  - {name: v3, endpoints: ["127.0.0.1:9004"]}
`

func parseConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestRoutesInOneLine(t *testing.T) {
	t.Parallel()
	cfg := parseConfig(t, shopFile)
	want := []string{
		"shop: v1 (127.0.0.1:9000), v1b (127.0.0.1:9001); copies to v2 (127.0.0.1:9002, 127.0.0.1:9003) 12.5 % by header x-user, " +
			"v3 (127.0.0.1:9004) 1 of 3 by cookie session, writes too, v2 (127.0.0.1:9002, 127.0.0.1:9003) 0.5 % by client address, " +
			"v3 (127.0.0.1:9004) 100 % by trace id",
		"gone: a redirect, v1 (127.0.0.1:9000)",
	}
	var got []string
	for i := range cfg.Routes {
		got = append(got, routeLine(cfg, &cfg.Routes[i]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRulesInWords(t *testing.T) {
	t.Parallel()
	cfg := parseConfig(t, shopFile)
	rules := append(cfg.Routes[0].Rules, cfg.Routes[1].Rules...)
	want := []string{
		"GET|POST /api/cart, header x-tenant=acme or ~/old/.*, cookie no beta, query v, query w~[0-9]+, from 10.0.0.0/8|192.168.0.0/16" +
			" => v1 75 %, v1b 25 % => v2 12.5 % by header x-user; third to v3 1 of 3 by cookie session, writes too",
		"/* => v1 => v2 0.5 % by client address; v3 100 % by trace id",
		"/gone/* => redirect 302 => ",
		"everything => v1 => ",
	}
	var got []string
	for i := range rules {
		got = append(got, strings.Join([]string{ruleMatches(&rules[i], "HTTP"), ruleTarget(&rules[i]), ruleMirrors(&rules[i])}, " => "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSharesAreExact(t *testing.T) {
	t.Parallel()
	for percent, want := range map[float64]string{0: "0 %", 0.0001: "0.0001 %", 12.5: "12.5 %", 33.3333: "33.3333 %", 100: "100 %"} {
		m := &config.Mirror{Numerator: uint64(percent*1e4 + 0.5), Denominator: 1_000_000}
		if got := shareText(m); got != want {
			t.Errorf("%v is written as %s, want %s", percent, got, want)
		}
	}
}
