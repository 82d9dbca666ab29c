// Package store keeps what was learned of pairs, so that a restart resumes where
// it was, and so that people can ask it with their own tools. It knows nothing
// of what it keeps but the columns that are asked for most; the rest is JSON.
// Engines are packages within: sqlite for a file, memory for none; storetest is
// the suite that each of them passes.
package store

import (
	"context"
	"errors"
	"time"
)

// Table is a kind of entries. The names are those of the tables of an engine,
// and part of the contract.
type Table string

// The tables. What tells an entry from others of its table is its mirror, its
// endpoint and its name; of rollups also its time.
const (
	Clusters Table = "clusters" // differences with one signature. Name: the cluster's id
	Pairs    Table = "pairs"    // examples. Name: the request id. Parent: the cluster's id
	Noise    Table = "noise"    // what was learned to differ by itself. Name: the path
	Rollups  Table = "rollups"  // counts of a window of time. Name: how long it is, as 1m. Time: its start. Blob: a sketch
	Tallies  Table = "tallies"  // the judge's state. Name: empty, or what part of it
	Meta     Table = "meta"     // anything else. Name: a key
)

// Tables lists them all. It must not be changed.
var Tables = []Table{Clusters, Pairs, Noise, Rollups, Tallies, Meta}

// Entry is one thing that is kept. A table has no use for some of the fields:
// they are kept all the same.
type Entry struct {
	Table    Table
	Mirror   string // empty if it is about no mirror
	Endpoint string // METHOD /template; empty if it is about no endpoint
	Name     string
	Parent   string    // the entry of another table that it belongs to
	Class    string    // of a cluster or a pair
	Title    string    // for people
	Count    int64     // pairs that it stands for
	First    time.Time // when it was first seen; zero if that says nothing. Kept to the microsecond
	Time     time.Time // when it was last seen or changed: what Prune looks at. Kept to the microsecond
	Value    []byte    // JSON; nil is kept as null
	Blob     []byte    // what JSON would blow up
}

// Filter chooses entries of one table. Empty fields choose all.
type Filter struct {
	Table    Table
	Mirror   string
	Endpoint string
	Name     string
	Parent   string
	Since    time.Time // Time is not before
	Limit    int       // at most so many, the latest; 0 = all
}

// Batch is what is saved at once: entries that are new or take the place of those
// with the same mirror, endpoint and name, and entries that are deleted first, of
// which only these count. To delete what is not there is no error.
type Batch struct {
	Put    []Entry
	Delete []Entry
}

// Store keeps entries. It is for any number of goroutines. What Load sees are
// whole batches.
type Store interface {
	// Save keeps all of a batch or nothing. When it has returned nil the batch
	// outlives the process. The batch's memory is the caller's again.
	Save(ctx context.Context, b Batch) error

	// Load returns the entries that a filter chooses, by Time, then by mirror,
	// endpoint and name. They belong to the caller.
	Load(ctx context.Context, f Filter) ([]Entry, error)

	// Prune deletes the entries of a table that are older than a time, and returns
	// how many there were.
	Prune(ctx context.Context, t Table, before time.Time) (int64, error)

	// Close ends it. Whatever is called afterwards returns ErrClosed.
	Close() error
}

// What is wrong with a store, to be asked with errors.Is. The text of the error
// says what to do about it.
var (
	ErrClosed   = errors.New("the store is closed")
	ErrLocked   = errors.New("another process uses the store")
	ErrNewer    = errors.New("the store was written by a newer version")
	ErrCorrupt  = errors.New("the store is damaged")
	ErrFull     = errors.New("the disk is full")
	ErrReadOnly = errors.New("the store cannot be written to")
)

// Check returns an error that names the first entry of b that cannot be kept:
// one of an unknown table, without a time, or whose value is no JSON.
func (b Batch) Check() error {
	for _, e := range b.Put {
		if err := e.check(); err != nil {
			return err
		}
	}
	for _, e := range b.Delete {
		if err := e.Table.check(); err != nil {
			return err
		}
	}
	return nil
}
