package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the code says into testdata; read the difference before committing it")

// A configuration that is accepted: its golden file is the configuration in
// force, every default written out.
func TestGood(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			c, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				write(t, golden, got)
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("configuration in force (-want +got):\n%s", diff)
			}
		})
	}
}

// A configuration that is refused, and the whole error.
func TestBad(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "testdata/bad/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 || archive.Files[0].Name != "config.yaml" || archive.Files[1].Name != "error" {
				t.Fatal("must have two parts, config.yaml and error")
			}
			c, err := Parse("config.yaml", archive.Files[0].Data)
			if err == nil || c != nil {
				t.Fatalf("accepted: %v, %v", c, err)
			}
			got := err.Error() + "\n"
			if *update {
				archive.Files[1].Data = []byte(got)
				write(t, file, txtar.Format(archive))
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func testFiles(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
