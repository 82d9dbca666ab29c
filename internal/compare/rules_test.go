package compare

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

func TestRulesThatAreRefused(t *testing.T) {
	t.Parallel()
	second := time.Second
	zero := time.Duration(0)
	for name, test := range map[string]struct {
		rules []config.CompareRule
		want  string
	}{
		"no path": {
			[]config.CompareRule{{Ignore: true}},
			"rules[0].path: is missing: it is status, header.NAME, trailer.NAME or body and what follows",
		},
		"another root": {
			[]config.CompareRule{{Path: "items[*]", Ignore: true}},
			`rules[0].path: begins with "items": a path begins with status, header, trailer, body`,
		},
		"below status": {
			[]config.CompareRule{{Path: "status.code", Ignore: true}},
			"rules[0].path: there is nothing below status",
		},
		"no field": {
			[]config.CompareRule{{Path: "header", Ignore: true}},
			"rules[0].path: name a field, as header.etag, or all of them with header{*}",
		},
		"a star for a name": {
			[]config.CompareRule{{Path: "body.*.id", Ignore: true}},
			`rules[0].path: "*" must be quoted to be a name, as ."*"; for all of them write [*], {*} or .**`,
		},
		"no index": {
			[]config.CompareRule{{Path: "body[x]", Ignore: true}},
			`rules[0].path: "[x]" is no index: write [*] or a number as [3]`,
		},
		"no dot": {
			[]config.CompareRule{{Path: "body[*]id", Ignore: true}},
			`rules[0].path: "id" follows without a dot: write .name, [*], [3] or {*}, and quote names as ."a.b"`,
		},
		"a dot at the end": {
			[]config.CompareRule{{Path: "body.", Ignore: true}},
			"rules[0].path: a dot without a name after it",
		},
		"open quotes": {
			[]config.CompareRule{{Path: `body."a`, Ignore: true}},
			`rules[0].path: "a: the quotes do not end`,
		},
		"too many stars": {
			[]config.CompareRule{{Path: "body.**.a.**.b.**", Ignore: true}},
			"rules[0].path: there are more than 2 **",
		},
		"nothing said": {
			[]config.CompareRule{{Path: "body.a"}},
			"rules[0].path: body.a says nothing of how it is compared: a rule has one of ignore, shape, set, key, number, time and pattern",
		},
		"two things said": {
			[]config.CompareRule{{Path: "body.a", Ignore: true, Number: "1"}},
			"rules[0].number: there is ignore already: a rule has one of ignore, shape, set, key, number, time and pattern",
		},
		"a number that is none": {
			[]config.CompareRule{{Path: "body.a", Number: "few"}},
			`rules[0].number: "few" is no amount by which numbers may differ: write one as 0.01 or 1%`,
		},
		"a negative number": {
			[]config.CompareRule{{Path: "body.a", Number: "-1%"}},
			`rules[0].number: "-1%" is no amount by which numbers may differ: write one as 0.01 or 1%`,
		},
		"not a number": {
			[]config.CompareRule{{Path: "body.a", Number: "NaN"}},
			`rules[0].number: "NaN" is no amount by which numbers may differ: write one as 0.01 or 1%`,
		},
		"no time": {
			[]config.CompareRule{{Path: "body.a", Time: &zero}},
			"rules[0].time: 0s is no time by which values may differ: write one above zero, as 5s",
		},
		"a broken pattern": {
			[]config.CompareRule{{Path: "body.a", Pattern: "("}},
			"rules[0].pattern: \"(\" is no regular expression of Go: error parsing regexp: missing closing ): `(`",
		},
		"a key of elements": {
			[]config.CompareRule{{Path: "body.a", Key: "id[*]"}},
			`rules[0].key: "id[*]" is no field of an element: write its name, as id or meta.id`,
		},
		"a set of statuses": {
			[]config.CompareRule{{Path: "status", Set: true}},
			"rules[0].set: a status is a number (use ignore, number or pattern)",
		},
		"an endpoint without a method": {
			[]config.CompareRule{{Path: "body", Ignore: true, Endpoint: "/users"}},
			`rules[0].endpoint: "/users" is no endpoint: write a method and a template, as GET /users/{id}; either may be *`,
		},
		"an endpoint with a query": {
			[]config.CompareRule{{Path: "body", Ignore: true, Endpoint: "GET /users?a=1"}},
			`rules[0].endpoint: "GET /users?a=1" is no endpoint: write a method and a template, as GET /users/{id}; either may be *`,
		},
		"one path, two things": {
			[]config.CompareRule{{Path: "body.a", Ignore: true}, {Path: "body.b", Set: true}, {Path: "body.a", Time: &second}},
			"rules[2].path: body.a and body.a of rules[0] say different things of the same place, and neither is more specific (remove one, or name more of the path in one of them)",
		},
		"paths that meet": {
			[]config.CompareRule{{Path: "body.**.id", Ignore: true}, {Path: "body.items.**", Shape: true}},
			"rules[1].path: body.items.** and body.**.id of rules[0] say different things of the same place, and neither is more specific (remove one, or name more of the path in one of them)",
		},
		"endpoints that meet": {
			[]config.CompareRule{{Path: "body.a", Ignore: true, Endpoint: "GET /u/{id}"}, {Path: "body.a", Shape: true, Endpoint: "GET /u/{user}"}},
			"rules[1].path: body.a and body.a of rules[0] say different things of the same place, and neither is more specific (remove one, or name more of the path in one of them)",
		},
		"all that is wrong": {
			[]config.CompareRule{{Path: "x", Ignore: true}, {Path: "body", Ignore: true}, {Path: "body.y"}},
			"rules[0].path: begins with \"x\": a path begins with status, header, trailer, body\n" +
				"rules[2].path: body.y says nothing of how it is compared: a rule has one of ignore, shape, set, key, number, time and pattern",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, err := Compile(&config.Compare{Rules: test.rules})
			if err == nil || rules != nil {
				t.Fatalf("Compile = %v, %v", rules, err)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesThatAreNotAmbiguous(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]config.CompareRule{
		"none":                   nil,
		"the same twice":         {{Path: "body.a", Number: "1%"}, {Path: "body.a", Number: "1%"}},
		"one more specific":      {{Path: "body.**.id", Ignore: true}, {Path: "body.items[*].id", Shape: true}},
		"other methods":          {{Path: "body.a", Ignore: true, Endpoint: "GET *"}, {Path: "body.a", Shape: true, Endpoint: "POST *"}},
		"other templates":        {{Path: "body.a", Ignore: true, Endpoint: "* /a"}, {Path: "body.a", Shape: true, Endpoint: "* /b"}},
		"an endpoint and all":    {{Path: "body.a", Ignore: true, Endpoint: "GET /a"}, {Path: "body.a", Shape: true}},
		"one index and all":      {{Path: "body[3]", Ignore: true}, {Path: "body[*]", Shape: true}},
		"paths that do not meet": {{Path: "body.**.id", Ignore: true}, {Path: "body.**.name", Shape: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Compile(&config.Compare{Rules: rules}); err != nil {
				t.Error(err)
			}
		})
	}
	if rules, err := Compile(nil); rules == nil || err != nil {
		t.Errorf("Compile(nil) = %v, %v", rules, err)
	}
}

func TestPathsThatAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"status", "header.etag", "header{*}", "trailer.grpc-status", "body", "body.items[*].price", "body.items[3].price",
		"body.rates{*}", "body.**.updated_at", "body.**", "body[*][0]", `body."a.b"."".c`, `body."\n\""`, "body.@id.#text", "body.größe",
	} {
		p, err := parsePath(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got := p.String(); got != s {
			t.Errorf("%s is written as %s", s, got)
		}
	}
	if p, err := parsePath("header.ETag"); err != nil || p.String() != "header.etag" {
		t.Errorf("header.ETag is read as %s, %v", p, err)
	}
}

// Whatever is read as a path is written as one that means the same.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"status", "body.items[*].price", `body."a.b"[3]{*}.**`, "header.a", "body.**.a.**", `body."`, "body[99999999999]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if err != nil {
			return
		}
		again, err := parsePath(p.String())
		if err != nil {
			t.Fatalf("%q is written as %q: %v", s, p.String(), err)
		}
		if diff := cmp.Diff(p.String(), again.String()); diff != "" {
			t.Fatal(diff)
		}
		if !p.meets(again) {
			t.Fatalf("%q does not meet itself", s)
		}
	})
}
