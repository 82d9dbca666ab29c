package house

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files and the generated pages")

// top is the folder of go.mod.
const top = "../.."

func checkout(t *testing.T) *Tree {
	t.Helper()
	tree, err := ReadTree(os.DirFS(top))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestTheHouseKeepsItsRules(t *testing.T) {
	t.Parallel()
	tree := checkout(t)
	for _, rule := range Rules {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			for _, finding := range rule.Check(tree) {
				t.Errorf("%s\n\t(%s)", finding, rule.Why)
			}
		})
	}
}

// Each bad tree is an archive with the files that break one rule, good ones
// beside them, and last a file "want" with the findings, one on each line.
func TestEveryRuleFindsWhatBreaksIt(t *testing.T) {
	t.Parallel()
	for _, rule := range Rules {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			tree, want := badTree(t, filepath.Join("testdata", rule.Name+".txtar"))
			got := rule.Check(tree)
			if len(got) == 0 {
				t.Fatal("the rule found nothing in its bad tree")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

func badTree(t *testing.T, name string) (tree *Tree, want []string) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	last := len(archive.Files) - 1
	if last < 0 || archive.Files[last].Name != "want" {
		t.Fatalf("%s does not end with a file \"want\"", name)
	}
	want = strings.Split(strings.TrimSuffix(string(archive.Files[last].Data), "\n"), "\n")
	archive.Files = archive.Files[:last]
	fsys, err := txtar.FS(archive)
	if err != nil {
		t.Fatal(err)
	}
	tree, err = ReadTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree, want
}

func TestEveryBadTreeBelongsToARule(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(os.DirFS("testdata"), "*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(Rules) {
		t.Errorf("%d bad trees for %d rules: %v", len(names), len(Rules), names)
	}
}

func TestTreeLeavesOutWhatTheGoCommandLeavesOut(t *testing.T) {
	t.Parallel()
	fsys, err := txtar.FS(txtar.Parse([]byte(`
-- a/a.go --
package a
-- a/a_test.go --
package a_test
-- a/testdata/broken.go --
this is not Go
-- a/_old/old.go --
package old
-- .cache/x.go --
package x
-- README.md --
text
`)))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := ReadTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var packages, files []string
	for _, p := range tree.Packages {
		packages = append(packages, p.Dir)
	}
	for _, f := range tree.Files {
		files = append(files, f.Path)
	}
	if diff := cmp.Diff([]string{"a"}, packages); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"README.md", "a/_old/old.go", "a/a.go", "a/a_test.go", "a/testdata/broken.go"}, files); diff != "" {
		t.Error(diff)
	}
	if n := len(tree.Packages[0].Tests); n != 1 {
		t.Errorf("%d test files, want 1", n)
	}
}
