package config

import "testing"

func TestLocateFindsLinesInADocument(t *testing.T) {
	t.Parallel()
	const document = "routes:\n  - name: a\n    rules:\n      - backends: []\n"
	for path, want := range map[string]int{
		"routes":                     2,
		"routes[0].name":             2,
		"routes[0].rules[0].mirrors": 4, // which is not there: where it would be
		"routes[1].name":             2, // of another document
		"redact.key":                 1,
	} {
		problems := Errors{{Path: path}}
		problems.Locate([]byte(document))
		if problems[0].Line != want {
			t.Errorf("%s: line %d, want %d", path, problems[0].Line, want)
		}
	}
	problems := Errors{{Path: "routes"}}
	if problems.Locate([]byte("\t")); problems[0].Line != 0 {
		t.Errorf("no YAML: line %d", problems[0].Line)
	}
}
