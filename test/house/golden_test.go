package house

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// What a live request runs through is a short list, and it grows only when
// somebody says so: in a decision record, and here by make golden.
func TestProxyImportsAreThoseOfTheGoldenList(t *testing.T) {
	t.Parallel()
	const golden = "testdata/proxy-imports.golden"
	got := foreignImports(t, "./internal/proxy")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what internal/proxy imports from outside the standard library has changed (-golden +now):\n%s", diff)
	}
}

// foreignImports lists what a package imports, directly or not, apart from the
// standard library and the sources of golang.org/x vendored in it, one to a
// line. The platform is fixed, so that the list is the same on every machine.
func foreignImports(t *testing.T, pattern string) string {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pattern)
	command.Dir = top
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// linterRules is the part of .golangci.yml that repeats the floors.
type linterRules struct {
	Linters struct {
		Settings struct {
			Depguard struct {
				Rules map[string]struct {
					Files []string
					Allow []string
				}
			}
		}
	}
}

func TestLinterKnowsTheSameFloors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(top + "/.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var parsed linterRules
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	var below []string
	for _, floor := range Floors {
		for _, name := range floor.Rooms {
			rule := parsed.Linters.Settings.Depguard.Rules[name]
			want := append(slices.Clone(below), Module+"/internal/"+name)
			slices.Sort(want)
			if diff := cmp.Diff(want, rule.Allow); diff != "" {
				t.Errorf(".golangci.yml allows %s something else (-floors +linter):\n%s", name, diff)
			}
			if want := []string{fmt.Sprintf("**/internal/%s/**", name), "!$test"}; !slices.Equal(want, rule.Files) {
				t.Errorf(".golangci.yml applies rule %s to %q, not to %q", name, rule.Files, want)
			}
		}
		for _, name := range floor.Rooms {
			below = append(below, Module+"/internal/"+name)
		}
	}
}
