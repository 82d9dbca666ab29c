package judge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func templates(t *testing.T, given ...string) *Templates {
	t.Helper()
	made, err := NewTemplates(given)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestGivenTemplates(t *testing.T) {
	made := templates(t, "/users/{id}", "/users/me", "/files/{path...}", "/a/{x}/c", "/a/b/{y}", "/")
	for path, want := range map[string]string{
		"/users/17":      "GET /users/{id}",
		"/users/me":      "GET /users/me",
		"/users/":        "GET /{unmatched}",
		"/users/17/cart": "GET /{unmatched}",
		"/files/a/b/c":   "GET /files/{path...}",
		"/files/":        "GET /files/{path...}",
		"/files":         "GET /{unmatched}",
		"/a/b/c":         "GET /a/b/{y}", // words first, from the left
		"/a/q/c":         "GET /a/{x}/c",
		"/":              "GET /",
	} {
		if got := made.Endpoint("GET", path, 404); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestGivenTemplatesThatAreWrong(t *testing.T) {
	for _, test := range []struct {
		given []string
		want  string
	}{
		{[]string{"users/{id}"}, `endpoints[0]: "users/{id}": a template begins with /, as /users/{id}`},
		{[]string{"/a", "/users/x{id}"}, `endpoints[1]: "/users/x{id}": "x{id}": a parameter is a whole segment, as {id}`},
		{[]string{"/{}"}, `endpoints[0]: "/{}": "{}": a parameter has a name, as {id}`},
		{[]string{"/{rest...}/x"}, `endpoints[0]: "/{rest...}/x": "{rest...}": what takes the rest of a path is its last segment`},
		{[]string{"/a/{x}", "/a/{y}"}, `endpoints[1]: "/a/{y}": the same as /a/{x}`},
		{[]string{"/a/{x...}", "/a/{y...}"}, `endpoints[1]: "/a/{y...}": the same as /a/{x...}`},
	} {
		if _, err := NewTemplates(test.given); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, want %s", test.given, err, test.want)
		}
	}
}

func TestClassesOfSegments(t *testing.T) {
	for segment, want := range map[string]string{
		"":                                     "",
		"orders":                               "",
		"v2":                                   "",
		"de-DE":                                "",
		"42":                                   "{int}",
		"-7":                                   "{int}",
		"20260131":                             "{int}",
		"6f1e8a52-0f3b-4c1d-9f51-7f0f3f0f8e11": "{uuid}",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":           "{ulid}",
		"2026-01-31":                           "{date}",
		"2026-01-31T10:00:00Z":                 "{date}",
		"ann@example.com":                      "{email}",
		"ann%40example.com":                    "{email}",
		"9f86d081":                             "{hex}",
		"facade":                               "",
		"decade00":                             "{hex}",
		"dGhpcyBpcyA0MiE9":                     "{token}",
		"GetUserV2":                            "",
		"GetUserProfileV2":                     "",
		"my-long-title-of-2024-about-things":   "",
		"order-10293":                          "order-{int}",
		"cus_9sJk2LmQx81zPq":                   "{token}",
		"a{b}":                                 "{text}",
		"caf\xc3\xa9":                          "{text}",
		strings.Repeat("long", 17):             "{text}",
	} {
		if got := classOf(segment); got != want {
			t.Errorf("%q is %q, want %q", segment, got, want)
		}
	}
}

func TestLearnedTemplates(t *testing.T) {
	made := templates(t)
	for _, test := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/users/1", 404, "GET /{unmatched}"},
		{"GET", "/.env", 404, "GET /{unmatched}"},
		{"GET", "/users/1", 0, "GET /{unmatched}"},
		{"GET", "/users/1", 200, "GET /users/{int}"},
		{"GET", "/users/2", 404, "GET /users/{int}"}, // nothing to learn, but known
		{"POST", "/users/2", 404, "POST /{unmatched}"},
		{"GET", "/users/1/orders", 500, "GET /users/{int}/orders"},
		{"GET", "/users/", 200, "GET /users/"},
		{"GET", "/users", 200, "GET /users"},
		{"PURGE", "/users", 200, "OTHER /users"},
		{"POST", "/shop.v1.Cart/Add", 200, "POST /shop.v1.Cart/Add"},
		{"OPTIONS", "*", 200, "OPTIONS /{unmatched}"},
		{"GET", "/" + strings.Repeat("a/", 40), 200, "GET /a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/{rest}"},
		{"GET", "/" + strings.Repeat("a/", 50), 404, "GET /a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/{rest}"},
	} {
		if got := made.Endpoint(test.method, test.path, test.status); got != test.want {
			t.Errorf("%s %s, %d, is %s, want %s", test.method, test.path, test.status, got, test.want)
		}
	}
}

// visit sends n requests to each path and returns the endpoint of the last one.
func visit(made *Templates, n int, paths ...string) (endpoint string) {
	for range n {
		for _, path := range paths {
			endpoint = made.Endpoint("GET", path, 200)
		}
	}
	return endpoint
}

func names(n int, format string) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprintf(format, strings.Repeat(string(rune('a'+i%26)), 1+i/26)))
	}
	return paths
}

func TestWordsCollapse(t *testing.T) {
	for _, test := range []struct {
		name  string
		visit func(*Templates)
		ask   map[string]string // path to endpoint
	}{
		{"many values, each seldom", func(made *Templates) {
			visit(made, 600, "/users/me/settings")
			visit(made, 1, names(30, "/users/%s/cart")...)
		}, map[string]string{
			"/users/zoe/cart":    "GET /users/{word}/cart",
			"/users/me/settings": "GET /users/me/settings", // followed by something of its own
		}},
		{"thirty names, each often", func(made *Templates) {
			visit(made, 40, names(30, "/%s")...)
		}, map[string]string{
			"/a": "GET /a", "/dd": "GET /dd", "/unheard": "GET /{unmatched}",
		}},
		{"two hundred values, each often", func(made *Templates) {
			visit(made, 5, names(200, "/shops/%s")...)
		}, map[string]string{
			"/shops/a": "GET /shops/{word}", "/shops/unheard": "GET /shops/{word}",
		}},
	} {
		made := templates(t)
		test.visit(made)
		for path, want := range test.ask {
			if got := made.Endpoint("GET", path, 404); got != want {
				t.Errorf("%s: %s is %s, want %s", test.name, path, got, want)
			}
		}
	}
}

func TestRenamed(t *testing.T) {
	made := templates(t)
	visit(made, 600, "/users/me/settings")
	paths := names(30, "/users/%s/cart")
	seen := map[string]bool{}
	for _, path := range paths {
		seen[made.Endpoint("GET", path, 200)] = true
	}
	renamed := made.Renamed()
	for name := range seen {
		if to := renamed[name]; name != "GET /users/{word}/cart" && to != "GET /users/{word}/cart" {
			t.Errorf("%s became %q", name, to)
		}
	}
	if len(renamed) == 0 || renamed["GET /users/me/settings"] != "" {
		t.Errorf("renamed: %v", renamed)
	}
	if again := made.Renamed(); again != nil {
		t.Errorf("told twice: %v", again)
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	made := templates(t)
	seen := map[string]bool{}
	for i := range 100 { // a hundred sections, each with a hundred pages that all differ in what follows
		for j := range 100 {
			seen[made.Endpoint("GET", fmt.Sprintf("/s%c%c/p%c%c/x%c", 'a'+i/10, 'a'+i%10, 'a'+j/10, 'a'+j%10, 'a'+(i+j)%26), 200)] = true
		}
	}
	if len(seen) > mostEndpoints+1 || !seen["GET /{other}"] {
		t.Errorf("%d endpoints", len(seen))
	}
	if made.parts > mostSegments {
		t.Errorf("%d segments", made.parts)
	}
}

func TestTemplatesSurviveJSON(t *testing.T) {
	made := templates(t, "/given/{id}")
	visit(made, 600, "/users/me/settings", "/users/7", "/v1/things/ann@example.com")
	visit(made, 1, names(30, "/users/%s/cart")...)
	made.Endpoint("POST", "/shop.v1.Cart/Add", 200)
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	again := templates(t, "/given/{id}")
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/given/1", "/users/8", "/users/zoe/cart", "/users/me/settings", "/v1/things/bo@example.com", "/no"} {
		if got, want := again.Endpoint("GET", path, 404), made.Endpoint("GET", path, 404); got != want {
			t.Errorf("%s is %s, was %s", path, got, want)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made.names)), slices.Sorted(maps.Keys(again.names))); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`{`, `{"root":null}`, `{"root":{"words":{"a":null}}}`} {
		if err := json.Unmarshal([]byte(bad), again); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestTemplatesMerge(t *testing.T) {
	one, two := templates(t), templates(t)
	visit(one, 300, "/users/1")
	visit(one, 1, names(15, "/shops/%s")...)
	visit(two, 1, "/users/1/orders")
	visit(two, 600, "/shops/a")
	visit(two, 1, names(60, "/shops/%s")[30:]...)
	one.Merge(two)
	for path, want := range map[string]string{
		"/users/9":        "GET /users/{int}",
		"/users/9/orders": "GET /users/{int}/orders",
		"/shops/new":      "GET /shops/{word}",
	} {
		if got := one.Endpoint("GET", path, 404); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("GET", "/users/1/orders/order-17", 200, `{"root":{"seen":3,"words":{"a":{"seen":1}}},"calls":{}}`)
	f.Add("POST", "/shop.v1.Cart/Add", 404, `{}`)
	f.Add("", "//", 200, `{"root":{"class":{"{word}":{"ends":{"GET":"GET /{word}"}}}}}`)
	f.Fuzz(func(t *testing.T, method, path string, status int, state string) {
		made := templates(t, "/given/{id}", "/files/{path...}")
		_ = json.Unmarshal([]byte(state), made) // whatever it left must still work
		first := made.Endpoint(method, path, status)
		if again := made.Endpoint(method, path, status); again != first {
			t.Errorf("%q is %q, then %q", path, first, again)
		}
		if verb, template, found := strings.Cut(first, " /"); !found || verb == "" || len(template) > 20_000 {
			t.Errorf("%q is %q", path, first)
		}
	})
}
