package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Precision is how exactly times are kept.
const Precision = time.Microsecond

func (t Table) check() error {
	if !slices.Contains(Tables, t) {
		return fmt.Errorf("store: there is no table %q", string(t))
	}
	return nil
}

func (e Entry) check() error {
	if err := e.Table.check(); err != nil {
		return err
	}
	if e.Time.IsZero() {
		return fmt.Errorf("store: %s %q has no time", e.Table, e.Name)
	}
	if len(e.Value) > 0 && !json.Valid(e.Value) {
		return fmt.Errorf("store: the value of %s %q is no JSON", e.Table, e.Name)
	}
	return nil
}

// Check returns an error if the filter names no table.
func (f Filter) Check() error { return f.Table.check() }

// Compare orders entries as Load returns them.
func Compare(a, b Entry) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Mirror, b.Mirror), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Name, b.Name))
}

// Kept returns e as it is loaded: its own memory, times in UTC to the precision
// of the store, null for no value.
func (e Entry) Kept() Entry {
	e.First, e.Time = kept(e.First), kept(e.Time)
	e.Value, e.Blob = slices.Clone(e.Value), slices.Clone(e.Blob)
	if len(e.Value) == 0 {
		e.Value = []byte("null")
	}
	if len(e.Blob) == 0 {
		e.Blob = nil
	}
	return e
}

func kept(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(Precision)
}
