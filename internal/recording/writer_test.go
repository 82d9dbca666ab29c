package recording

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	record(t, dir, 400)
	got := readAll(t, dir)
	if len(got) != 400 {
		t.Fatalf("got %d exchanges, want 400", len(got))
	}
	for i, x := range got {
		if want := numbered(i); !reflect.DeepEqual(x, want) {
			same(t, x, want) // says where
		}
	}
}

func TestAFolderHasOneWriter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	first, err := Create(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want %v", err, ErrLocked)
	}
	// One that waits takes exchanges meanwhile, and writes them when it may.
	next, err := Create(dir, Options{Wait: true, Sync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	first.Offer(numbered(0))
	next.Offer(numbered(1))
	if err := next.Sync(ctx); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want %v", err, ErrLocked)
	}
	if err := first.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := next.Sync(ctx); err != nil {
		t.Error(err)
	}
	if err := next.Close(ctx); err != nil {
		t.Error(err)
	}
	got := readAll(t, dir)
	same(t, got, []*traffic.Exchange{numbered(0), numbered(1)})
}

func TestClosingTwiceAndSyncAfterwards(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, err := Create(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := w.Sync(ctx); err != nil {
		t.Error(err)
	}
}

func TestFoldersThatCannotBeWrittenTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(path, "in"), Options{}); err == nil {
		t.Error("a folder in a file was made")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || err.Error() != dir+": there is no recording in it" {
		t.Errorf("got %v", err)
	}
}

// TestOfferNeverWaits has nobody write: what is over the memory is refused.
func TestOfferNeverWaits(t *testing.T) {
	t.Parallel()
	disk := &faultyDisk{}
	disk.write.Store(true)
	w, err := create(t.TempDir(), Options{Memory: 20000, Sync: time.Hour}, disk.open)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for n := range 100 {
		if w.Offer(numbered(n)) {
			accepted++
		}
	}
	huge := &traffic.Exchange{Request: &traffic.Message{Body: make([]byte, 20001)}}
	copied := &traffic.Exchange{Copies: make([]traffic.Outcome, maxCopies+1)}
	if w.Offer(huge) || w.Offer(copied) {
		t.Error("an exchange that is too large was accepted")
	}
	// A record is of about 2,000 bytes, and its limit some hundred more.
	if accepted < 5 || accepted > 10 {
		t.Errorf("%d exchanges were accepted", accepted)
	}
	if got, want := w.Counts(), (Counts{Accepted: uint64(accepted), Behind: uint64(100 - accepted), TooLarge: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	disk.write.Store(false)
	if err := w.Close(context.Background()); err != nil || w.Acknowledged() != uint64(accepted) {
		t.Errorf("%d are acknowledged, %v", w.Acknowledged(), err)
	}
}

// TestExchangesAreWrittenSoon has no block full and nobody ask.
func TestExchangesAreWrittenSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, err := Create(t.TempDir(), Options{Sync: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for round := range uint64(3) {
			w.Offer(numbered(0))
			time.Sleep(time.Second - 1)
			synctest.Wait()
			if got := w.Acknowledged(); got != round {
				t.Errorf("round %d: %d are acknowledged too soon", round, got)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := w.Acknowledged(); got != round+1 {
				t.Errorf("round %d: %d are acknowledged after a second, want %d", round, got, round+1)
			}
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAFullDiskIsTriedAgainByItself has nobody ask.
func TestAFullDiskIsTriedAgainByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &faultyDisk{}
		disk.write.Store(true)
		dir := t.TempDir()
		w, err := create(dir, Options{Sync: time.Second}, disk.open)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10 { // one while it fails each time
			w.Offer(numbered(n))
			time.Sleep(time.Second)
		}
		if got := w.Acknowledged(); got != 0 {
			t.Errorf("%d are acknowledged", got)
		}
		disk.write.Store(false)
		time.Sleep(retry + 2*time.Second)
		synctest.Wait()
		if got := w.Acknowledged(); got != 10 {
			t.Errorf("%d are acknowledged, want 10", got)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := readAll(t, dir); len(got) != 10 || got[9].ID != numbered(9).ID {
			t.Errorf("%d are there, want 10", len(got))
		}
	})
}

func TestSegmentsEndAndTheOldestAreDeleted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	const size = 400 << 10
	w, err := Create(dir, Options{Size: size}) // segments of 100 KiB
	if err != nil {
		t.Fatal(err)
	}
	const n = 8000 // about 1.6 MiB on the disk
	for i := range n {
		for !w.Offer(numbered(i)) {
			if err := w.Sync(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if i%500 == 0 {
			if err := w.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			if got := onDisk(t, dir); got > size+blockSize { // a segment ends with the block that fills it
				t.Fatalf("%d bytes are on the disk, want at most %d", got, size)
			}
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, dir)
	names, _ := listSegments(dir)
	if len(names) < 3 || len(got) == 0 || len(got) == n {
		t.Fatalf("%d segments with %d exchanges", len(names), len(got))
	}
	for i, x := range got { // the latest, without a gap
		if want := numbered(n - len(got) + i); x.ID != want.ID {
			t.Fatalf("exchange %d is %s, want %s", i, x.ID, want.ID)
		}
	}
	s, err := Look(dir, nil)
	if err != nil || s.Exchanges != int64(len(got)) || len(s.Segments) != len(names) {
		t.Fatalf("surveyed %+v, %v", s, err)
	}
	for _, one := range s.Segments {
		if !one.Finished || one.Bytes > size/2 { // a segment ends with the block in which it is full
			t.Errorf("got %+v", one)
		}
	}
	same(t, s.Endpoints, []EndpointSurvey{{"GET /api/v1/users/{}/orders", int64(len(got))}})
}

func TestOldSegmentsAreDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record(t, dir, 1)
	record(t, dir, 2)
	names, err := listSegments(dir)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	ago := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, names[0]), ago, ago); err != nil {
		t.Fatal(err)
	}
	w, err := Create(dir, Options{Age: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w.Offer(numbered(3))
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	same(t, readAll(t, dir), []*traffic.Exchange{numbered(0), numbered(1), numbered(3)})
}

// TestASegmentDoesNotStayOpenForever has exchanges come seldom.
func TestASegmentDoesNotStayOpenForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, err := Create(dir, Options{Age: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		w.Offer(numbered(0))
		time.Sleep(17 * time.Minute)
		w.Offer(numbered(1))
		time.Sleep(time.Minute)
		synctest.Wait()
		if names, _ := listSegments(dir); len(names) != 2 {
			t.Errorf("segments %v, want two", names)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAReaderReadsWhileAWriterWrites(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	w, err := Create(dir, Options{Segment: 64 << 10, Sync: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	offered := make(chan error, 1)
	go func() {
		for i := range n {
			for !w.Offer(numbered(i)) {
				if err := w.Sync(ctx); err != nil {
					offered <- err
					return
				}
			}
		}
		offered <- w.Close(ctx)
	}()
	for done := false; !done; {
		select {
		case err := <-offered:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		acknowledged := w.Acknowledged()
		got, problems := readWithProblems(t, dir)
		if uint64(len(got)) < acknowledged {
			t.Fatalf("%d exchanges are read, and %d were acknowledged before", len(got), acknowledged)
		}
		for i, x := range got {
			if x.ID != numbered(i).ID {
				t.Fatalf("exchange %d is %s", i, x.ID)
			}
		}
		for _, p := range problems {
			if !p.Tail || done {
				t.Fatal(p)
			}
		}
	}
}

func TestSeekSkipsWhatBeganBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, part := range [][2]int{{0, 300}, {300, 600}} {
		w, err := Create(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n := part[0]; n < part[1]; n++ {
			w.Offer(numbered(n))
		}
		if err := w.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ since, want int }{{-5, 600}, {0, 600}, {1, 599}, {299, 301}, {300, 300}, {555, 45}, {600, 0}} {
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.Seek(numbered(0).Start.Add(time.Duration(test.since) * time.Millisecond))
		got := 0
		for {
			x, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := numbered(600 - test.want + got); x.ID != want.ID {
				t.Fatalf("since %d: got %s, want %s", test.since, x.ID, want.ID)
			}
			got++
		}
		if got != test.want {
			t.Errorf("since %d: %d exchanges, want %d", test.since, got, test.want)
		}
		r.Close()
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	x := full()
	for text, want := range map[string]bool{
		"":                                     true,
		"id=4f2a":                              true,
		"id=4f2":                               false,
		"method=post":                          true,
		"method=GET":                           false,
		"host=SHOP.example.com":                true,
		"host=example.com":                     false,
		"path=/api":                            true,
		"path=/cart":                           false,
		"path=*/cart/*":                        true,
		"path=/api/*/17":                       true,
		"path=/api/*/18":                       false,
		"path=/api*api*":                       false,
		"path=/*":                              true,
		"status=200":                           true,
		"status=2xx":                           true,
		"status=5xx":                           false,
		"since=2026-05-01T13:04:05Z":           true,
		"since=2026-05-01T13:04:06Z":           false,
		"until=2026-05-01T13:04:06Z":           true,
		"until=2026-05-01T13:04:05.123456789Z": false,
		"since=2026-04-01, until=2026-06-01":   true,
		"method=POST,path=/api,status=404":     false,
		"method=POST,path=/api,status=2xx,id=4f2a": true,
	} {
		f, err := ParseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got := f.Match(x); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	for host, want := range map[string]string{"a:80": "true true false", "b:80": "false false false", "[::1]:80": "false false true", "": "false false false"} {
		var got []string
		for _, text := range []string{"host=a", "host=A:80", "host=[::1]"} {
			f, err := ParseFilter(text)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strconv.FormatBool(f.Match(&traffic.Exchange{Host: host})))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("host %q: %v, want %s", host, got, want)
		}
	}
	for text, want := range map[string]string{
		"GET":          `"GET" is not NAME=VALUE, such as method=GET`,
		"method=":      `"method=" is not NAME=VALUE, such as method=GET`,
		"port=a":       "port: it is none of id, method, host, path, status, since, until",
		"status=good":  `status: "good" is neither a status such as 404 nor a class such as 5xx`,
		"status=6xx":   `status: "6xx" is neither a status such as 404 nor a class such as 5xx`,
		"since=monday": `since: "monday" is not a time such as 2026-05-01T13:04:05Z, nor how long ago it was, such as 10m`,
	} {
		if _, err := ParseFilter(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
