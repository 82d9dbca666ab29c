package sqlite

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/store"
)

// blocks are the statements that docs/formats/store.md shows.
func blocks(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/formats/store.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?);\n```").FindAllStringSubmatch(string(page), -1) {
		found = append(found, m[1])
	}
	if len(found) != 4 {
		t.Fatalf("%d blocks, want the schema and three queries", len(found))
	}
	return found
}

func TestTheDocumentShowsTheSchema(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	want := map[string]string{}
	for _, table := range []string{"clusters", "pairs", "noise", "rollups", "tallies", "meta"} {
		want[table] = strings.Replace(blocks(t)[0], "CREATE TABLE clusters", "CREATE TABLE "+table, 1)
	}
	want["rollups"] = strings.Replace(want["rollups"], "endpoint, name)", "endpoint, name, time)", 1)
	rows, err := s.db.QueryContext(t.Context(), "SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			t.Fatal(err)
		}
		got[name] = statement
	}
	if diff := cmp.Diff(want, got); diff != "" || rows.Err() != nil {
		t.Errorf("%v (-document +schema):\n%s", rows.Err(), diff)
	}
}

func TestTheQueriesOfTheDocument(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	hour := time.Now().UTC().Truncate(time.Hour)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	put := []store.Entry{
		{Table: store.Clusters, Mirror: "m", Endpoint: "GET /a", Name: "c1", Class: "diff", Title: "body.a: missing", Count: 3, Time: at},
		{Table: store.Clusters, Mirror: "m", Endpoint: "GET /a", Name: "c2", Class: "status_diff", Title: "status: 200 became 500", Count: 7, Time: at},
		{Table: store.Clusters, Mirror: "m", Endpoint: "GET /a", Name: "c3", Class: "order_only", Title: "body.b: order", Count: 9, Time: at},
		{Table: store.Pairs, Mirror: "m", Name: "r1", Parent: "c2", Time: at, Value: []byte(`{"request":{"head":"GET /a"},"shadow":{"body":"oops"}}`)},
		{Table: store.Rollups, Mirror: "m", Endpoint: "GET /a", Name: "1m", Count: 2, Time: hour.Add(-time.Hour)},
		{Table: store.Rollups, Mirror: "m", Endpoint: "GET /a", Name: "1m", Count: 5, Time: hour.Add(-time.Hour + time.Minute)},
		{Table: store.Rollups, Mirror: "m", Endpoint: "GET /a", Name: "1m", Count: 4, Time: hour.Add(-48 * time.Hour)},
	}
	if err := s.Save(t.Context(), store.Batch{Put: put}); err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"GET /a|status: 200 became 500|7|2026-05-01 12:00:00", "GET /a|body.a: missing|3|2026-05-01 12:00:00"},
		{"status: 200 became 500|GET /a|oops"},
		{"GET /a|" + hour.Add(-time.Hour).Format("2006-01-02 15:00") + "|7"},
	}
	for i, query := range blocks(t)[1:] {
		if diff := cmp.Diff(want[i], answers(t, s, query)); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", query, diff)
		}
	}
}

// answers are the rows that a query returns, their values joined by bars.
func answers(t *testing.T, s *Store, query string) []string {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, to := make([]string, len(names)), make([]any, len(names))
	for i := range values {
		to[i] = &values[i]
	}
	var got []string
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(values, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}
