package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/storetest"
)

// childDir, if set, makes a process of this test one that saves until it is
// killed.
const childDir = "UNDERSTUDY_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		saveForever(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Engine{
		Open: func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "it's a dir?#%41", "deep")) },
		Reopen: func(t *testing.T, old store.Store) store.Store {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, filepath.Dir(old.(*Store).path))
		},
	})
}

// batch is the nth batch that a child saves.
func batch(n int) store.Batch {
	var b store.Batch
	for i := range 10 {
		b.Put = append(b.Put, store.Entry{Table: store.Pairs, Mirror: "m", Name: fmt.Sprintf("%d.%d", n, i), Parent: strconv.Itoa(n), Time: time.Unix(int64(n), 0),
			Value: []byte(`"` + strings.Repeat("x", 500) + `"`)})
	}
	return b
}

// saveForever saves batch after batch, and says so after each.
func saveForever(dir string) {
	s, err := Open(context.Background(), dir)
	for n := 0; err == nil; n++ {
		if err = s.Save(context.Background(), batch(n)); err == nil {
			_, err = fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process is killed while it saves, again and again: what it had said was saved
// is there, and no half of a batch is.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		acknowledged := killAfter(t, dir, 20+7*round)
		s := open(t, dir)
		found, err := s.Load(t.Context(), store.Filter{Table: store.Pairs})
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, e := range found {
			counts[e.Parent]++
		}
		for n := range acknowledged + 1 {
			if counts[strconv.Itoa(n)] != 10 {
				t.Errorf("round %d: batch %d of %d has %d entries", round, n, acknowledged, counts[strconv.Itoa(n)])
			}
		}
		for n, count := range counts {
			if count != 10 {
				t.Errorf("round %d: half of batch %s: %d entries", round, n, count)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter has a child save so many batches, kills it, and returns the last
// batch that it said was saved.
func killAfter(t *testing.T, dir string, batches int) int {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	var trouble strings.Builder
	child.Stderr = &trouble
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil || n != last+1 {
			t.Errorf("the child says %q after %d", lines.Text(), last)
		}
		if last = n; n == batches {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		} // and what it said before it died is read to the end
	}
	if err := child.Wait(); err == nil || last < batches {
		t.Fatalf("the child said %d and ended with %v: %s", last, err, trouble.String())
	}
	return last
}

func TestTwoInstances(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	_, err := Open(t.Context(), dir)
	want := filepath.Join(dir, File) + ": another process uses the store: stop it, or give --data another directory (its lock is taken)"
	if !errors.Is(err, store.ErrLocked) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// raw opens the file as another program would.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exercise(t *testing.T, db *sql.DB, statements string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

func TestOthersReadWhileItIsOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save(t.Context(), batch(3)); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := raw(t, dir).QueryRowContext(t.Context(), "SELECT count(*) FROM pairs WHERE parent = '3'").Scan(&n); err != nil || n != 10 {
		t.Errorf("%d, %v", n, err)
	}
	if err := s.Save(t.Context(), batch(4)); err != nil {
		t.Errorf("while another has it open: %v", err)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, dir)
	exercise(t, db, "PRAGMA user_version = 99")
	db.Close()
	_, err := Open(t.Context(), dir)
	if want := fmt.Sprintf("the store was written by a newer version: its format is 99, and this one knows %d at most; use the newer version, or give --data another directory", len(migrations)); !errors.Is(err, store.ErrNewer) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMigrationsGoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	db := raw(t, t.TempDir())
	steps := []string{"CREATE TABLE a (x); INSERT INTO a VALUES (1);", "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1;", "UPDATE a SET x = 7;"}
	for n := 1; n <= len(steps); n++ {
		for range 2 { // the second time there is nothing to do
			if err := migrate(t.Context(), db, steps[:n]); err != nil {
				t.Fatal(err)
			}
		}
	}
	var x, y, version int
	if err := db.QueryRowContext(t.Context(), "SELECT x, y, user_version FROM a, pragma_user_version").Scan(&x, &y, &version); err != nil || x != 7 || y != 2 || version != 3 {
		t.Errorf("%d %d %d, %v", x, y, version, err)
	}
	if err := migrate(t.Context(), db, append(steps, "UPDATE a SET x = 8; UPDATE none SET x = 1;")); err == nil {
		t.Error("a step that fails is no error")
	}
	if err := db.QueryRowContext(t.Context(), "SELECT x, user_version FROM a, pragma_user_version").Scan(&x, &version); err != nil || x != 7 || version != 3 {
		t.Errorf("half a step was made: %d %d, %v", x, version, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("this is no page of a database. ", 200)
	for name, spoil := range map[string]func(path string) error{
		"not a database": func(path string) error { return os.WriteFile(path, []byte(page), 0o600) },
		"pages lost": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte(strings.Repeat(page, 10)), 4096) // all but the first
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			if err := s.Save(t.Context(), batch(0)); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(dir, File)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), dir)
			if err == nil {
				_, err = s.Load(t.Context(), store.Filter{Table: store.Clusters})
				s.Close()
			}
			if want := "the store is damaged: move the file away, and a new one is made; what had been learned is lost with it"; !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	exercise(t, s.db, "PRAGMA max_page_count = 60")
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = s.Save(t.Context(), batch(n))
	}
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "the disk is full: make room, or give --data a directory on another disk") {
		t.Fatalf("got %v", err)
	}
	found, err := s.Load(t.Context(), store.Filter{Table: store.Pairs})
	if err != nil || len(found) != 10*(n-1) {
		t.Errorf("%d entries of %d batches, %v", len(found), n-1, err)
	}
	exercise(t, s.db, "PRAGMA max_page_count = 1000")
	if err := s.Save(t.Context(), batch(n)); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func TestWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	exercise(t, s.db, "PRAGMA query_only = ON")
	if err := s.Save(t.Context(), batch(0)); !errors.Is(err, store.ErrReadOnly) || !strings.Contains(err.Error(), "the store cannot be written to: give --data a directory that can be written to") {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), filepath.Join(file, "data")); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("below a file: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, File), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a directory in its place: %v", err)
	}
}

func TestSomebodyHoldsTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	exercise(t, s.db, "PRAGMA busy_timeout = 1") // not to wait here
	other := raw(t, dir)
	exercise(t, other, "BEGIN IMMEDIATE")
	if err := s.Save(t.Context(), batch(0)); !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "end what holds it, such as a sqlite3 with a transaction") {
		t.Errorf("got %v", err)
	}
	exercise(t, other, "COMMIT")
	if err := s.Save(t.Context(), batch(0)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestFilesAreForNobodyElse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	if err := s.Save(t.Context(), batch(0)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, s.path, s.path + "-wal", s.path + "-shm", s.path + ".lock"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	n := 0
	for b.Loop() {
		if err := s.Save(b.Context(), batch(n)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(10*n)/b.Elapsed().Seconds(), "entries/s")
}
