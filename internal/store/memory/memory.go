// Package memory is a store that ends with the process.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/internal/store"
)

// Store keeps entries in memory. Use New.
type Store struct {
	mu      sync.RWMutex
	entries map[key]store.Entry // nil once it is closed
}

// key tells an entry from all others.
type key struct {
	table                  store.Table
	mirror, endpoint, name string
	time                   int64 // of rollups, in microseconds
}

func keyOf(e store.Entry) key {
	k := key{table: e.Table, mirror: e.Mirror, endpoint: e.Endpoint, name: e.Name}
	if e.Table == store.Rollups {
		k.time = e.Time.UnixMicro()
	}
	return k
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{entries: map[key]store.Entry{}} }

// Save keeps a batch.
func (s *Store) Save(ctx context.Context, b store.Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return err
	}
	for _, e := range b.Delete {
		delete(s.entries, keyOf(e))
	}
	for _, e := range b.Put {
		s.entries[keyOf(e)] = e.Kept()
	}
	return nil
}

// Load returns the entries that f chooses.
func (s *Store) Load(ctx context.Context, f store.Filter) ([]store.Entry, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var found []store.Entry
	for _, e := range s.entries {
		if chosen(f, e) {
			found = append(found, e.Kept())
		}
	}
	slices.SortFunc(found, store.Compare)
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[len(found)-f.Limit:]
	}
	return found, nil
}

// Prune deletes what is older.
func (s *Store) Prune(ctx context.Context, t store.Table, before time.Time) (int64, error) {
	if err := (store.Filter{Table: t}).Check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	count := len(s.entries)
	for k, e := range s.entries {
		if k.table == t && e.Time.UnixMicro() < before.UnixMicro() {
			delete(s.entries, k)
		}
	}
	return int64(count - len(s.entries)), nil
}

// Close forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = nil
	return nil
}

func (s *Store) ready(ctx context.Context) error {
	if s.entries == nil {
		return store.ErrClosed
	}
	return ctx.Err()
}

func chosen(f store.Filter, e store.Entry) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return e.Table == f.Table && is(f.Mirror, e.Mirror) && is(f.Endpoint, e.Endpoint) && is(f.Name, e.Name) && is(f.Parent, e.Parent) &&
		e.Time.UnixMicro() >= f.Since.UnixMicro()
}
