// Package sqlite is a store in one file, which any tool for SQLite can read while
// it is in use. docs/formats/store.md describes it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/understudy-proxy/understudy/internal/store"
)

// File is the name of the database in its directory.
const File = "understudy.db"

// busy is how long another program may hold the database, to write to it, before
// that is an error.
const busy = 5 * time.Second

// Store is a store in a file. Use Open.
type Store struct {
	path   string
	db     *sql.DB
	lock   *os.File
	put    map[store.Table]*sql.Stmt
	remove map[store.Table]*sql.Stmt
	closed atomic.Bool
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory, and makes both if they are missing. One
// process at a time can have it open. Whatever was saved outlives the death of
// the process; a crash of the machine may cost the last batches, but nothing
// else.
func Open(ctx context.Context, dir string) (*Store, error) {
	s := &Store{path: filepath.Join(dir, File)}
	if err := s.files(dir); err != nil {
		s.unlock()
		return nil, s.explain(ctx, err)
	}
	if err := s.open(ctx); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		s.unlock()
		return nil, s.explain(ctx, err)
	}
	return s, nil
}

// files makes the directory and the file, which are for nobody else's eyes, and
// takes the lock.
func (s *Store) files(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	s.lock, err = lock(s.path + ".lock")
	return err
}

func (s *Store) open(ctx context.Context) error {
	path, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()), "journal_mode(WAL)", "synchronous(NORMAL)",
			"journal_size_limit(67108864)", // 64 MiB: what one large batch leaves behind is given back
		},
	}.Encode()}
	if s.db, err = sql.Open("sqlite", name.String()); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1) // SQLite has one writer; readers wait for it here and not within
	if err := migrate(ctx, s.db, migrations); err != nil {
		return err
	}
	return s.prepare(ctx)
}

// prepare compiles what is asked often.
func (s *Store) prepare(ctx context.Context) (err error) {
	s.put, s.remove = map[store.Table]*sql.Stmt{}, map[store.Table]*sql.Stmt{}
	for _, t := range store.Tables {
		same := "mirror = ? AND endpoint = ? AND name = ?"
		if t == store.Rollups {
			same += " AND time = ?"
		}
		if s.put[t], err = s.db.PrepareContext(ctx, "REPLACE INTO "+string(t)+" ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"); err != nil {
			return err
		}
		if s.remove[t], err = s.db.PrepareContext(ctx, "DELETE FROM "+string(t)+" WHERE "+same); err != nil {
			return err
		}
	}
	return nil
}

// Save keeps a batch in one transaction.
func (s *Store) Save(ctx context.Context, b store.Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	return s.explain(ctx, s.save(ctx, b))
}

func (s *Store) save(ctx context.Context, b store.Batch) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	for _, e := range b.Delete {
		key := []any{e.Mirror, e.Endpoint, e.Name}
		if e.Table == store.Rollups {
			key = append(key, e.Time.UnixMicro())
		}
		if _, err := tx.StmtContext(ctx, s.remove[e.Table]).ExecContext(ctx, key...); err != nil {
			return err
		}
	}
	for _, e := range b.Put {
		if _, err := tx.StmtContext(ctx, s.put[e.Table]).ExecContext(ctx, valuesOf(e)...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// columns are those of every table, in the order of valuesOf and scan.
const columns = "mirror, endpoint, name, parent, class, title, count, first, time, value, blob"

func valuesOf(e store.Entry) []any {
	var first any
	if !e.First.IsZero() {
		first = e.First.UnixMicro()
	}
	value := "null"
	if len(e.Value) > 0 {
		value = string(e.Value) // as text, for the functions of SQLite that read JSON
	}
	var blob any
	if len(e.Blob) > 0 {
		blob = e.Blob
	}
	return []any{e.Mirror, e.Endpoint, e.Name, e.Parent, e.Class, e.Title, e.Count, first, e.Time.UnixMicro(), value, blob}
}

func scan(rows *sql.Rows, t store.Table) (store.Entry, error) {
	e := store.Entry{Table: t}
	var first sql.NullInt64
	var at int64
	err := rows.Scan(&e.Mirror, &e.Endpoint, &e.Name, &e.Parent, &e.Class, &e.Title, &e.Count, &first, &at, &e.Value, &e.Blob)
	if first.Valid {
		e.First = time.UnixMicro(first.Int64)
	}
	e.Time = time.UnixMicro(at)
	return e.Kept(), err
}

// Load returns the entries that f chooses.
func (s *Store) Load(ctx context.Context, f store.Filter) ([]store.Entry, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	found, err := s.load(ctx, f)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	return found, nil
}

func (s *Store) load(ctx context.Context, f store.Filter) ([]store.Entry, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	where := []string{"1"}
	var args []any
	for column, value := range map[string]string{"mirror": f.Mirror, "endpoint": f.Endpoint, "name": f.Name, "parent": f.Parent} {
		if value != "" {
			where, args = append(where, column+" = ?"), append(args, value)
		}
	}
	if !f.Since.IsZero() {
		where, args = append(where, "time >= ?"), append(args, f.Since.UnixMicro())
	}
	query := "SELECT " + columns + " FROM " + string(f.Table) + " WHERE " + strings.Join(where, " AND ") +
		" ORDER BY time DESC, mirror DESC, endpoint DESC, name DESC"
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []store.Entry
	for rows.Next() {
		e, err := scan(rows, f.Table)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	slices.Reverse(found) // the latest were asked for, and are returned last
	return found, rows.Err()
}

// Prune deletes what is older. Its room in the file is used again.
func (s *Store) Prune(ctx context.Context, t store.Table, before time.Time) (int64, error) {
	if err := (store.Filter{Table: t}).Check(); err != nil {
		return 0, err
	}
	if err := s.ready(ctx); err != nil {
		return 0, s.explain(ctx, err)
	}
	result, err := s.db.ExecContext(ctx, "DELETE FROM "+string(t)+" WHERE time < ?", before.UnixMicro())
	if err != nil {
		return 0, s.explain(ctx, err)
	}
	return result.RowsAffected()
}

// Close closes the file. Closing it twice does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.db.Close()
	s.unlock()
	return s.explain(context.Background(), err)
}

func (s *Store) unlock() {
	if s.lock != nil {
		release(s.lock)
	}
}

func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	return ctx.Err()
}

// explain says what is wrong and what to do about it.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrNewer) {
		return err
	}
	if s.closed.Load() { // while something was under way
		return store.ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	advice, is := diagnose(err)
	if is == nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return fmt.Errorf("%s: %w: %s (%w)", s.path, is, advice, err)
}

// diagnose finds out which of the store's errors err is, and what helps.
func diagnose(err error) (advice string, is error) {
	const (
		room     = "make room, or give --data a directory on another disk"
		writable = "give --data a directory that can be written to"
		moved    = "move the file away, and a new one is made; what had been learned is lost with it"
		stop     = "stop it, or give --data another directory"
		wait     = "end what holds it, such as a sqlite3 with a transaction"
	)
	var e *driver.Error
	if errors.As(err, &e) {
		if e.Code() == codes.SQLITE_IOERR_SHMSIZE {
			return room, store.ErrFull // which it does not say of this file
		}
		switch e.Code() & 0xff {
		case codes.SQLITE_FULL:
			return room, store.ErrFull
		case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
			return writable, store.ErrReadOnly
		case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
			return moved, store.ErrCorrupt
		case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
			return wait, store.ErrLocked
		}
		return "", nil
	}
	switch {
	case errors.Is(err, errTaken):
		return stop, store.ErrLocked
	case errors.Is(err, syscall.ENOSPC):
		return room, store.ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return writable, store.ErrReadOnly
	}
	return "", nil
}
