package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestExchangesAreShownAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	x := &traffic.Exchange{
		ID: "4f2a\x1b[2J", Start: time.Date(2026, 5, 1, 13, 4, 5, 0, time.UTC), Route: "shop",
		Request: &traffic.Message{Head: []byte("POST / HTTP/1.1\r\nA:\tb\x07\r\n"), Body: []byte("one\r\ntwo"), Length: 9, Whole: true},
		Primary: traffic.Outcome{Backend: "v1", Status: 200, Start: time.Millisecond, First: 3 * time.Millisecond, End: 4 * time.Millisecond, Answer: &traffic.Message{
			// "hi" in gzip
			Head: []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"), Body: []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcb\xc8\x04\x00\xac*\x93\xd8\x02\x00\x00\x00"), Length: 22, Whole: true,
		}},
		Copies: []traffic.Outcome{
			{Mirror: "m2", Backend: "v2", Fate: traffic.Completed, Status: 200, Answer: &traffic.Message{
				Head: []byte("HTTP/1.1 200 OK\r\n"), Body: []byte("\x00\xff\x00"), Length: 3, Trailer: []byte("X: 1\r\n")}},
			{Mirror: "m3", Backend: "v3", Fate: traffic.Failed, Reason: traffic.FailConnect, Error: "refused"},
			{Mirror: "m4", Fate: traffic.Skipped},
		},
	}
	want := strings.Join([]string{
		"--- 4f2a\\x1b[2J at 2026-05-01T13:04:05Z by route shop",
		"POST / HTTP/1.1", "A:    b\\x07", "", "one", "two", "(the first 8 of 9 bytes)",
		"", "--- primary: backend v1, first byte after 2.0ms, took 3.0ms", "HTTP/1.1 200 OK", "Content-Encoding: gzip", "", "hi",
		"", "--- mirror m2: backend v2, completed", "HTTP/1.1 200 OK", "", "(opaque, 3 bytes)", "(it broke off here)", "X: 1",
		"", "--- mirror m3: backend v3, failed (connect): refused",
		"", "--- mirror m4: backend -, skipped", "",
	}, "\n")
	if diff := cmp.Diff(want, exchangeText(x)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, want := copiesText(x), "m2 200, m3 failed (connect), m4 skipped"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSizesForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 KiB", 64 << 20: "64.0 MiB", 500 << 20: "500 MiB", 3 << 40: "3.0 TiB", 5000 << 40: "5000 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	s, _, errOut := testStreams()
	p := newCounting(s, "exchanges")
	p.begun = p.begun.Add(-2 * time.Second)
	p.last = p.begun
	p.show(10, 40)
	p.end()
	if errOut.String() != "" {
		t.Errorf("without a terminal there is %q", errOut)
	}
	s.ErrIsTerminal = true
	p.show(10, 40)
	p.last = p.last.Add(time.Hour) // so that it is too soon
	p.show(11, 40)
	p.end()
	if got := errOut.String(); !strings.HasPrefix(got, "\r 25 %  10 of 40 exchanges, ") || !strings.HasSuffix(got, "/s\x1b[K\r\x1b[K") || strings.Contains(got, "11") {
		t.Errorf("got %q", got)
	}
	if got, want := p.line(10, 0, 2*time.Second), "10 exchanges, 5/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRecordingsForPeople has a terminal.
func TestRecordingsForPeople(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 5, 1, 13, 4, 5, 0, time.UTC)
	last := first.Add(90 * time.Second)
	o := &listOptions{segments: true}
	var got []string
	for _, t := range o.tables([]*recordingReport{
		{Directory: "a", Exchanges: 3, Bytes: 2048, First: &first, Last: &last,
			Segments:  []segmentReport{{"1.rec", 2, 1024, &first, &last, true}, {"2.rec", 1, 1024, &last, &last, false}},
			Endpoints: []endpointReport{{"GET /", 2}, {"", 1}}},
		{Directory: "b"},
	}) {
		got = append(got, t.lines(false)...)
	}
	want := []string{
		"Recordings", "  DIRECTORY   SEGMENTS   EXCHANGES      SIZE   FROM                   LASTS",
		"  a                  2           3   2.0 KiB   2026-05-01 13:04:05Z   1m30s", "  b                  0           0       0 B   -                          -",
		"Segments", "  DIRECTORY   SEGMENT   EXCHANGES      SIZE   FROM                   LASTS   STATE",
		"  a           1.rec             2   1.0 KiB   2026-05-01 13:04:05Z   1m30s   finished", "  a           2.rec             1   1.0 KiB   2026-05-01 13:05:35Z      0s   open",
		"Endpoints", "  DIRECTORY   ENDPOINT   EXCHANGES   SHARE", "  a           GET /              2    67 %", "  a           others             1    33 %",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
