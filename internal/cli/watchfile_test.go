package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// must stops the test on an error of a preparation.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestEveryWayToChangeAFileIsSeen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(t *testing.T, dir string) (path string)
		change  func(t *testing.T, dir string)
	}{
		"written in place": {
			func(t *testing.T, dir string) string { write(t, dir+"/c.yaml", "old"); return dir + "/c.yaml" },
			func(t *testing.T, dir string) { write(t, dir+"/c.yaml", "new") },
		},
		"replaced by another file": {
			func(t *testing.T, dir string) string { write(t, dir+"/c.yaml", "old"); return dir + "/c.yaml" },
			func(t *testing.T, dir string) {
				write(t, dir+"/.c.yaml.swp", "new")
				must(t, os.Rename(dir+"/.c.yaml.swp", dir+"/c.yaml"))
			},
		},
		"moved away and written anew": {
			func(t *testing.T, dir string) string { write(t, dir+"/c.yaml", "old"); return dir + "/c.yaml" },
			func(t *testing.T, dir string) {
				must(t, os.Rename(dir+"/c.yaml", dir+"/c.yaml~"))
				write(t, dir+"/c.yaml", "new")
			},
		},
		"a ConfigMap, whose link to a folder is swapped": {
			func(t *testing.T, dir string) string {
				write(t, dir+"/..2026_1/c.yaml", "old")
				must(t, os.Symlink("..2026_1", dir+"/..data"))
				must(t, os.Symlink("..data/c.yaml", dir+"/c.yaml"))
				return dir + "/c.yaml"
			},
			func(t *testing.T, dir string) {
				write(t, dir+"/..2026_2/c.yaml", "new")
				must(t, os.Symlink("..2026_2", dir+"/..data_tmp"))
				must(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
				must(t, os.RemoveAll(dir+"/..2026_1"))
			},
		},
		"a link to a file elsewhere, which changes": {
			func(t *testing.T, dir string) string {
				write(t, dir+"/far/away/c.yaml", "old")
				must(t, os.MkdirAll(dir+"/near", 0o700))
				must(t, os.Symlink(dir+"/far/away/c.yaml", dir+"/near/c.yaml"))
				return dir + "/near/c.yaml"
			},
			func(t *testing.T, dir string) { write(t, dir+"/far/away/c.yaml", "new") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := &source{path: tt.prepare(t, dir)}
			_, _ = f.load() // it is no configuration; what counts is that it was read
			changes, err := watchFiles(t.Context(), f.path)
			must(t, err)
			if f.changed() {
				t.Fatal("a file that nobody touched has changed")
			}
			tt.change(t, dir)
			for !f.changed() {
				awaitChange(t, changes.C)
			}
			awaitChange(t, changes.C)
			if string(f.last) != "old" {
				t.Errorf("looking for a change took %q for read", f.last)
			}
			_, _ = f.load()
			if f.changed() || string(f.last) != "new" {
				t.Errorf("after reading it again: changed %v, content %q", f.changed(), f.last)
			}
		})
	}
}

func awaitChange(t *testing.T, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(patience):
		t.Fatal("the change was not seen")
	}
}

func TestALinkThatIsTurnedIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/one/c.yaml", "1")
	write(t, dir+"/two/c.yaml", "2")
	must(t, os.MkdirAll(dir+"/etc", 0o700))
	must(t, os.Symlink(dir+"/one/c.yaml", dir+"/etc/c.yaml"))
	changes, err := watchFiles(t.Context(), dir+"/etc/c.yaml")
	must(t, err)
	must(t, os.Symlink(dir+"/two/c.yaml", dir+"/etc/c.new"))
	must(t, os.Rename(dir+"/etc/c.new", dir+"/etc/c.yaml"))
	awaitChange(t, changes.C)
	write(t, dir+"/two/c.yaml", "22")
	awaitChange(t, changes.C)
}

func TestAFileThatIsGoneHasNotChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, "old")
	f := &source{path: path}
	_, _ = f.load()
	must(t, os.Remove(path))
	if f.changed() {
		t.Error("a missing file counts as a change")
	}
}

func TestWatchingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	changes, err := watchFiles(ctx, filepath.Join(t.TempDir(), "c.yaml"))
	must(t, err)
	cancel()
	for range changes.C {
		t.Error("a change of nothing")
	}
}

func TestAFolderThatIsNotThereCannotBeWatched(t *testing.T) {
	t.Parallel()
	if _, err := watchFiles(t.Context(), filepath.Join(t.TempDir(), "no", "c.yaml")); err == nil {
		t.Error("a missing folder is watched")
	}
}
