package recording

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// record writes n exchanges into a folder.
func record(tb testing.TB, dir string, n int) {
	tb.Helper()
	w, err := Create(dir, Options{Memory: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		if !w.Offer(numbered(i)) {
			tb.Fatalf("exchange %d was refused: %+v", i, w.Counts())
		}
	}
	if err := w.Close(context.Background()); err != nil {
		tb.Fatal(err)
	}
}

// readAll reads a folder, in which nothing may be damaged.
func readAll(tb testing.TB, dir string) []*traffic.Exchange {
	tb.Helper()
	exchanges, problems := readWithProblems(tb, dir)
	if len(problems) > 0 {
		tb.Fatalf("problems: %v", problems)
	}
	return exchanges
}

func readWithProblems(tb testing.TB, dir string) ([]*traffic.Exchange, []Problem) {
	tb.Helper()
	r, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var all []*traffic.Exchange
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, r.Problems()
		}
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, x)
	}
}

// same compares exchanges. Empty and nil bytes are the same: protobuf does not
// tell them apart.
func same(tb testing.TB, got, want any) {
	tb.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(traffic.Exchange{}.Client)); diff != "" {
		tb.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatIsRecordedIsReadInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record(t, dir, 1000)
	got := readAll(t, dir)
	if len(got) != 1000 {
		t.Fatalf("got %d exchanges, want 1000", len(got))
	}
	for i, x := range got {
		same(t, x, numbered(i))
	}
}
