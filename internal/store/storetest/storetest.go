// Package storetest is what every engine of the store must do.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/store"
)

// Engine is an engine under test.
type Engine struct {
	Open   func(t *testing.T) store.Store                  // an empty store, closed at the end of the test
	Reopen func(t *testing.T, old store.Store) store.Store // what old, which it closes, has kept; nil if nothing outlives it
}

// Run runs the suite.
func Run(t *testing.T, e Engine) {
	for name, test := range map[string]func(*testing.T, Engine){
		"what was saved is loaded": saved, "entries take each other's place": replaced, "entries are deleted": deleted, "tables, mirrors and endpoints are apart": apart,
		"filters choose": filters, "the order is by time": ordered, "a batch is kept whole or not at all": atomic, "what is older is pruned": pruned,
		"memory is nobody's": owned, "many use it at once": concurrent, "who has no time gets an error": cancelled, "after the end there is nothing": closed, "it outlives its process": reopened,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// noon is a time that all engines can keep.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// entry is an entry with these columns.
func entry(table store.Table, mirror, endpoint, name string, minutes int) store.Entry {
	return store.Entry{Table: table, Mirror: mirror, Endpoint: endpoint, Name: name, Time: noon.Add(time.Duration(minutes) * time.Minute), Value: []byte("null")}
}

func save(t *testing.T, s store.Store, put ...store.Entry) {
	t.Helper()
	if err := s.Save(t.Context(), store.Batch{Put: put}); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, s store.Store, f store.Filter) []store.Entry {
	t.Helper()
	found, err := s.Load(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// namesOf are the names of what a filter chooses.
func namesOf(t *testing.T, s store.Store, f store.Filter) []string {
	t.Helper()
	var names []string
	for _, e := range load(t, s, f) {
		names = append(names, e.Name)
	}
	return names
}

// same compares entries and lists of names.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func saved(t *testing.T, e Engine) {
	s := e.Open(t)
	for i, table := range store.Tables {
		full := store.Entry{
			Table: table, Mirror: "a/b", Endpoint: "GET /users/{id}", Name: `it's "odd" 日` + "\x00\xff", Parent: "p", Class: "diff", Title: "body.total: number became string",
			Count: 1 << 60, First: noon.Add(-time.Hour), Time: noon.Add(123456 * time.Microsecond), Value: []byte(`{"a":[1,"ü\u0000"]}`), Blob: []byte{0, 1, 0xff},
		}
		bare := entry(table, "", "", fmt.Sprint(i), 1)
		save(t, s, full, bare)
		same(t, string(table), []store.Entry{full, bare}, load(t, s, store.Filter{Table: table}))
	}
	sharp := entry(store.Meta, "", "", "sharp", 0)
	sharp.Time, sharp.Value = noon.Add(1234567*time.Nanosecond).In(time.FixedZone("", 3600)), nil
	save(t, s, sharp)
	sharp.Time, sharp.Value = noon.Add(1234*time.Microsecond), []byte("null")
	same(t, "as it is kept", []store.Entry{sharp}, load(t, s, store.Filter{Table: store.Meta, Name: "sharp"}))
}

func replaced(t *testing.T, e Engine) {
	s := e.Open(t)
	old := entry(store.Clusters, "m", "e", "n", 0)
	old.Count, old.Parent, old.Blob = 1, "p", []byte("x")
	save(t, s, old)
	young := entry(store.Clusters, "m", "e", "n", 5)
	young.Count = 2
	save(t, s, young)
	same(t, "the later one", []store.Entry{young}, load(t, s, store.Filter{Table: store.Clusters}))

	first, second := entry(store.Rollups, "m", "e", "1m", 0), entry(store.Rollups, "m", "e", "1m", 1)
	save(t, s, first, second)
	second.Count = 7
	save(t, s, second, second)
	same(t, "windows are apart", []store.Entry{first, second}, load(t, s, store.Filter{Table: store.Rollups}))
}

func deleted(t *testing.T, e Engine) {
	s := e.Open(t)
	save(t, s, entry(store.Pairs, "m", "e", "a", 0), entry(store.Pairs, "m", "e", "b", 0), entry(store.Rollups, "m", "e", "1m", 0), entry(store.Rollups, "m", "e", "1m", 1))
	batch := store.Batch{
		Delete: []store.Entry{{Table: store.Pairs, Mirror: "m", Endpoint: "e", Name: "a"}, {Table: store.Pairs, Mirror: "m", Endpoint: "e", Name: "b"}, {Table: store.Pairs, Name: "none"},
			{Table: store.Rollups, Mirror: "m", Endpoint: "e", Name: "1m", Time: noon}},
		Put: []store.Entry{entry(store.Pairs, "m", "e", "b", 9)},
	}
	if err := s.Save(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	same(t, "pairs", []store.Entry{entry(store.Pairs, "m", "e", "b", 9)}, load(t, s, store.Filter{Table: store.Pairs}))
	same(t, "rollups", []store.Entry{entry(store.Rollups, "m", "e", "1m", 1)}, load(t, s, store.Filter{Table: store.Rollups}))
}

func apart(t *testing.T, e Engine) {
	s := e.Open(t)
	var want []store.Entry
	for _, mirror := range []string{"a", "a/b", "b"} {
		for _, endpoint := range []string{"", "GET /"} {
			want = append(want, entry(store.Tallies, mirror, endpoint, "n", 0))
		}
	}
	save(t, s, want...)
	save(t, s, entry(store.Noise, "a", "GET /", "n", 0))
	same(t, "all", want, load(t, s, store.Filter{Table: store.Tallies}))
	same(t, "of a mirror", want[:2], load(t, s, store.Filter{Table: store.Tallies, Mirror: "a"}))
	same(t, "of an endpoint", []store.Entry{want[3]}, load(t, s, store.Filter{Table: store.Tallies, Mirror: "a/b", Endpoint: "GET /"}))
	if _, err := s.Load(t.Context(), store.Filter{Table: "clusters; DROP TABLE pairs"}); err == nil {
		t.Error("a table that is none is no error")
	}
}

func filters(t *testing.T, e Engine) {
	s := e.Open(t)
	for i := range 10 {
		p := entry(store.Pairs, "m", "e", fmt.Sprint(i), i)
		p.Parent = fmt.Sprint("cluster ", i%2)
		save(t, s, p)
	}
	since := noon.Add(6 * time.Minute)
	for name, tt := range map[string]struct {
		f    store.Filter
		want []string
	}{
		"a name":              {store.Filter{Table: store.Pairs, Name: "3"}, []string{"3"}},
		"a parent":            {store.Filter{Table: store.Pairs, Parent: "cluster 1"}, []string{"1", "3", "5", "7", "9"}},
		"a time":              {store.Filter{Table: store.Pairs, Since: since}, []string{"6", "7", "8", "9"}},
		"the latest":          {store.Filter{Table: store.Pairs, Limit: 2}, []string{"8", "9"}},
		"the latest of these": {store.Filter{Table: store.Pairs, Parent: "cluster 0", Since: since, Limit: 1}, []string{"8"}},
		"nothing":             {store.Filter{Table: store.Pairs, Mirror: "M"}, nil},
	} {
		same(t, name, tt.want, namesOf(t, s, tt.f))
	}
}

func ordered(t *testing.T, e Engine) {
	s := e.Open(t)
	want := []store.Entry{entry(store.Noise, "z", "z", "z", 0), entry(store.Noise, "a", "b", "b", 1), entry(store.Noise, "a", "c", "a", 1), entry(store.Noise, "a", "c", "b", 1), entry(store.Noise, "b", "a", "a", 1)}
	for _, i := range []int{3, 0, 4, 1, 2} {
		save(t, s, want[i])
	}
	same(t, "all", want, load(t, s, store.Filter{Table: store.Noise}))
	same(t, "the latest", want[3:], load(t, s, store.Filter{Table: store.Noise, Limit: 2}))
}

func atomic(t *testing.T, e Engine) {
	s := e.Open(t)
	good := entry(store.Clusters, "m", "e", "good", 0)
	save(t, s, good)
	bad := entry(store.Clusters, "m", "e", "bad", 0)
	for name, spoil := range map[string]func(*store.Entry){
		`store: the value of clusters "bad" is no JSON`: func(e *store.Entry) { e.Value = []byte("{") },
		`store: there is no table "other"`:              func(e *store.Entry) { e.Table = "other" },
		`store: clusters "bad" has no time`:             func(e *store.Entry) { e.Time = time.Time{} },
	} {
		spoilt := bad
		spoil(&spoilt)
		err := s.Save(t.Context(), store.Batch{Put: []store.Entry{entry(store.Clusters, "m", "e", "other", 0), spoilt}, Delete: []store.Entry{good}})
		if err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	same(t, "nothing has changed", []store.Entry{good}, load(t, s, store.Filter{Table: store.Clusters}))
}

func pruned(t *testing.T, e Engine) {
	s := e.Open(t)
	for i := range 10 {
		save(t, s, entry(store.Rollups, "m", "e", "1m", i), entry(store.Clusters, "m", "e", fmt.Sprint(i), i))
	}
	n, err := s.Prune(t.Context(), store.Rollups, noon.Add(7*time.Minute))
	if err != nil || n != 7 {
		t.Errorf("%d, %v", n, err)
	}
	if got := load(t, s, store.Filter{Table: store.Rollups}); len(got) != 3 || !got[0].Time.Equal(noon.Add(7*time.Minute)) {
		t.Errorf("left are %v", got)
	}
	if got := load(t, s, store.Filter{Table: store.Clusters}); len(got) != 10 {
		t.Errorf("%d of another table are left", len(got))
	}
	if n, err := s.Prune(t.Context(), store.Rollups, noon); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
}

func owned(t *testing.T, e Engine) {
	s := e.Open(t)
	in := entry(store.Meta, "", "", "n", 0)
	in.Value, in.Blob = []byte(`"a"`), []byte("b")
	save(t, s, in)
	in.Value[1], in.Blob[0] = 'x', 'x'
	out := load(t, s, store.Filter{Table: store.Meta})
	if string(out[0].Value) != `"a"` || string(out[0].Blob) != "b" {
		t.Errorf("kept the caller's memory: %s %s", out[0].Value, out[0].Blob)
	}
	out[0].Value[1] = 'y'
	if again := load(t, s, store.Filter{Table: store.Meta}); string(again[0].Value) != `"a"` {
		t.Errorf("gave away its own memory: %s", again[0].Value)
	}
}

// Writers each save batches of two entries with one count; whoever reads sees
// both or none of a batch.
func concurrent(t *testing.T, e Engine) {
	const writers, batches = 4, 25
	s := e.Open(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range batches {
				a, b := entry(store.Tallies, "m", fmt.Sprint(w), "a", i), entry(store.Tallies, "m", fmt.Sprint(w), "b", i)
				a.Count, b.Count = int64(i), int64(i)
				if err := s.Save(t.Context(), store.Batch{Put: []store.Entry{a, b}}); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
		wg.Go(func() {
			for range batches {
				found, err := s.Load(t.Context(), store.Filter{Table: store.Tallies, Endpoint: fmt.Sprint(w)})
				if err != nil {
					t.Errorf("reader %d: %v", w, err)
					return
				}
				if len(found) != 0 && (len(found) != 2 || found[0].Count != found[1].Count) {
					t.Errorf("reader %d: half a batch: %v", w, found)
				}
			}
		})
	}
	wg.Wait()
	if got := load(t, s, store.Filter{Table: store.Tallies}); len(got) != 2*writers || got[0].Count != batches-1 {
		t.Errorf("in the end: %v", got)
	}
}

func cancelled(t *testing.T, e Engine) {
	s := e.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, store.Batch{Put: []store.Entry{entry(store.Meta, "", "", "n", 0)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Save: %v", err)
	}
	if _, err := s.Load(ctx, store.Filter{Table: store.Meta}); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
	if _, err := s.Prune(ctx, store.Meta, noon); !errors.Is(err, context.Canceled) {
		t.Errorf("Prune: %v", err)
	}
	if got := load(t, s, store.Filter{Table: store.Meta}); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}

func closed(t *testing.T, e Engine) {
	s := e.Open(t)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Save(t.Context(), store.Batch{Put: []store.Entry{entry(store.Meta, "", "", "n", 0)}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Save: %v", err)
	}
	if _, err := s.Load(t.Context(), store.Filter{Table: store.Meta}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Load: %v", err)
	}
	if _, err := s.Prune(t.Context(), store.Meta, noon); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Prune: %v", err)
	}
}

func reopened(t *testing.T, e Engine) {
	s := e.Open(t)
	want := []store.Entry{entry(store.Clusters, "m", "e", "a", 0), entry(store.Clusters, "m", "e", "b", 1)}
	save(t, s, want...)
	if e.Reopen == nil {
		want = nil // and so it says in its documentation
		s.Close()
		s = e.Open(t)
	} else {
		s = e.Reopen(t, s)
	}
	same(t, "opened again", want, load(t, s, store.Filter{Table: store.Clusters}))
}
