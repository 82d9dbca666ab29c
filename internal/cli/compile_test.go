package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
)

// contradicting is valid but for rules that nobody can obey.
const contradicting = `listeners: [{name: web, address: "127.0.0.1:0"}, {name: db, address: "127.0.0.1:0", protocol: TCP}]
routes:
  - {name: db, listeners: [db], rules: [{backends: [{name: v1}], mirrors: [{backend: v2}]}]}
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:
          - backend: v2
            compare:
              rules:
                - {path: body.price, ignore: true}
                - {path: body.price, number: "0.01"}
                - {path: "body.items[x]", ignore: true}
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9001"]}
`

func TestRulesOfComparingAreChecked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	if err := os.WriteFile(file, []byte(contradicting), 0o644); err != nil {
		t.Fatal(err)
	}
	const place = "routes[1].rules[0].mirrors[0].compare."
	want := file + ":12: " + place + `rules[1].path: body.price and body.price of rules[0] say different things of the same place, and neither is more specific (remove one, or name more of the path in one of them)
` + file + ":13: " + place + `rules[2].path: "[x]" is no index: write [*] or a number as [3]
`
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"check", "-c", file}, s); code != ExitNo || errOut.String() != "2 problems\n" {
		t.Errorf("check: exit code %d, %s", code, errOut)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	s, out, errOut = testStreams()
	if code := Main(t.Context(), []string{"run", "-c", file}, s); code != ExitNo || !strings.Contains(errOut.String(), place+"rules[2].path: ") || out.String() != "" {
		t.Errorf("run: exit code %d, %s", code, errOut)
	}
}

// A reload that cannot be obeyed changes nothing and names the field.
func TestReloadRefusesRulesOfComparing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	good := strings.Replace(contradicting, `                - {path: body.price, number: "0.01"}
                - {path: "body.items[x]", ignore: true}
`, "", 1)
	if err := os.WriteFile(file, []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
	from := &source{path: file}
	before, err := from.load()
	if err != nil {
		t.Fatal(err)
	}
	if got := *before.Routes[1].Rules[0].Mirrors[0].Compare.Percent; got != 100 {
		t.Errorf("percent %v", got)
	}
	if err := os.WriteFile(file, []byte(contradicting), 0o644); err != nil {
		t.Fatal(err)
	}
	if cfg, err := from.load(); cfg != nil || err == nil || !strings.Contains(err.Error(), "mirrors[0].compare.rules[1].path: ") {
		t.Errorf("load = %v, %v", cfg, err)
	}
}

// What only whoever redacts can tell is checked, too.
func TestNamesToRedactAreChecked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := `listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}]
redact: {fields: ["items[*].price"]}
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, out, _ := testStreams()
	want := file + `:4: redact.fields[0]: "items[*].price": write items.price for the price of every item; arrays need no mark` + "\n"
	if code := Main(t.Context(), []string{"check", "-c", file}, s); code != ExitNo || out.String() != want {
		t.Errorf("exit code %d, %s, want %s", code, out, want)
	}
}

func TestPlacesOfErrors(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"a: f: redact: is odd":                             errors.New("is odd"),
		"a: f: redact.key: is short":                       errors.New("redact.key: is short"),
		"a: f: redact: no: it is not":                      errors.New("no: it is not"),
		"a: f: redact.rules[1].path: is missing (add one)": config.Errors{{Path: "rules[1].path", Message: "is missing", Hint: "add one"}},
		"a: f: redact: is odd as a whole":                  config.Errors{{Message: "is odd as a whole"}},
	} {
		if got := within("a: f", "redact", err).Error(); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
