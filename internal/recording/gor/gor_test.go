package gor

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func exchange() *traffic.Exchange {
	return &traffic.Exchange{
		ID: "4f2a", Start: time.Unix(1777640645, 123456789).UTC(), Duration: 3 * time.Millisecond,
		Method: "POST", Host: "shop.example.com", Path: "/cart", Query: "a=1", Protocol: "HTTP/1.1", Status: 200, BytesIn: 5, BytesOut: 2, UserAgent: "curl/8.5",
		Request: &traffic.Message{
			Head: []byte("POST /cart?a=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5\r\nX-Request-Id: 4f2a\r\nTransfer-Encoding: chunked\r\n"),
			Body: []byte("hello"), Length: 5, Whole: true,
		},
		Primary: traffic.Outcome{Backend: "v1", Status: 200, Bytes: 2, Start: time.Millisecond, First: 2 * time.Millisecond, End: 3 * time.Millisecond,
			Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), Body: []byte("ok"), Length: 2, Whole: true}},
		Copies: []traffic.Outcome{
			{Mirror: "m", Backend: "v2", Fate: traffic.Completed, Status: 200, Bytes: 3, Start: time.Millisecond, End: 4 * time.Millisecond,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\n"), Body: []byte("ok!"), Length: 3, Whole: true, Trailer: []byte("X: 1\r\n")}},
			{Mirror: "n", Fate: traffic.Skipped, Reason: traffic.SkipPercent},
		},
	}
}

const written = "1 9eaaced713db3fc200000001 1777640645123456789 0\n" +
	"POST /cart?a=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5\r\nX-Request-Id: 4f2a\r\nContent-Length: 5\r\n\r\nhello\n🐵🙈🙉\n" +
	"2 9eaaced713db3fc200000001 1777640645124456789 2000000\n" +
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\n🐵🙈🙉\n" +
	"3 9eaaced713db3fc200000001 1777640645124456789 3000000\n" +
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok!\r\n0\r\nX: 1\r\n\r\n\n🐵🙈🙉\n"

func write(t *testing.T, all ...*traffic.Exchange) (string, LeftOut) {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, x := range all {
		if err := w.Write(x); err != nil {
			t.Fatal(err)
		}
	}
	return b.String(), w.LeftOut()
}

func read(r *Reader) (all []*traffic.Exchange, err error) {
	for {
		x, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, x)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMessagesAreWrittenAsOnTheWire(t *testing.T) {
	t.Parallel()
	got, leftOut := write(t, exchange())
	same(t, got, written)
	same(t, leftOut, LeftOut{})
}

// TestFilesComeBack has what such a file can hold come back: names of backends and
// the time of the first byte it cannot, and framing is that of the file.
func TestFilesComeBack(t *testing.T) {
	t.Parallel()
	got, err := read(NewReader(strings.NewReader(written)))
	if err != nil {
		t.Fatal(err)
	}
	want := exchange()
	want.Request.Head = bytes.Replace(want.Request.Head, []byte("Transfer-Encoding: chunked"), []byte("Content-Length: 5"), 1)
	want.Primary.Backend, want.Primary.First = "primary", 3*time.Millisecond
	want.Copies = want.Copies[:1]
	c := &want.Copies[0]
	c.Mirror, c.Backend, c.First = "replayed", "replayed", 4*time.Millisecond
	c.Answer.Head = []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
	same(t, got, []*traffic.Exchange{want})
}

func TestWhatAFileCannotHoldIsCounted(t *testing.T) {
	t.Parallel()
	cut := exchange()
	cut.Request.Length = 6
	failed := exchange()
	failed.Primary.Answer = nil
	failed.Copies[0].Answer.Whole = false
	separated := exchange()
	separated.Copies[0].Answer.Body = []byte("a" + separator + "b")
	separated.Copies[0].Answer.Length = int64(len(separated.Copies[0].Answer.Body))
	poisoned := exchange()
	poisoned.Request.Body = []byte(separator)
	poisoned.Request.Length = int64(len(separator))
	text, leftOut := write(t, cut, failed, separated, poisoned, &traffic.Exchange{})
	same(t, leftOut, LeftOut{Requests: 3, Answers: 2, Failures: 1})
	got, err := read(NewReader(strings.NewReader(text)))
	if err != nil || len(got) != 2 || got[0].Primary.Answer != nil || len(got[0].Copies) != 0 || got[1].Primary.Answer == nil || len(got[1].Copies) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestFilesOfGoReplay has what that program writes: answers far behind, no latency,
// bodies that were cut.
func TestFilesOfGoReplay(t *testing.T) {
	t.Parallel()
	const file = "1 a1 1000\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n\n🐵🙈🙉\n" +
		"1 b2 2000 -1\nHEAD /b HTTP/1.1\r\n\r\n\n🐵🙈🙉\n" +
		"2 zz 2500 10\nHTTP/1.1 200 OK\r\n\r\nnobody asked\n🐵🙈🙉\n" +
		"2 b2 3000 500\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\n🐵🙈🙉\n" +
		"3 a1 4000 700\nHTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nshort\n🐵🙈🙉\n" +
		"2 a1 5000 800\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\n🐵🙈🙉\n"
	r := NewReader(strings.NewReader(file))
	got, err := read(r)
	if err != nil {
		t.Fatal(err)
	}
	same(t, r.Orphans(), 1)
	at := func(n int64) time.Time { return time.Unix(0, n).UTC() }
	same(t, got, []*traffic.Exchange{
		{
			ID: "a1", Start: at(1000), Duration: 4800, Method: "GET", Host: "h", Path: "/a", Protocol: "HTTP/1.1", Status: 200, BytesOut: 2,
			Request: &traffic.Message{Head: []byte("GET /a HTTP/1.1\r\nHost: h\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "primary", Status: 200, Bytes: 2, Start: 4000, First: 4800, End: 4800,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"), Body: []byte("ok"), Length: 2, Whole: true}},
			Copies: []traffic.Outcome{{Mirror: "replayed", Backend: "replayed", Fate: traffic.Completed, Status: 500, Bytes: 5, Start: 3000, First: 3700, End: 3700,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n"), Body: []byte("short"), Length: 5}}},
		},
		{
			ID: "b2", Start: at(2000), Duration: 1500, Method: "HEAD", Path: "/b", Protocol: "HTTP/1.1", Status: 200,
			Request: &traffic.Message{Head: []byte("HEAD /b HTTP/1.1\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "primary", Status: 200, Start: 1000, First: 1500, End: 1500,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"), Whole: true}},
		},
	})
}

func TestAReaderHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for _, id := range []string{"a", "b", "c"} {
		file.WriteString("1 " + id + " 1000 0\nGET /" + id + " HTTP/1.1\r\n\r\n" + separator)
	}
	file.WriteString("2 a 2000 0\nHTTP/1.1 200 OK\r\n\r\n" + separator + "2 c 2000 0\nHTTP/1.1 200 OK\r\n\r\n" + separator)
	for _, limit := range []func(*Reader){func(r *Reader) { r.Waiting = 2 }, func(r *Reader) { r.Memory = 40 }} {
		r := NewReader(strings.NewReader(file.String()))
		limit(r)
		got, err := read(r)
		if err != nil || len(got) != 3 || got[0].Status != 0 || got[2].Status != 200 || r.Orphans() != 1 {
			t.Errorf("got %+v, %v, %d orphans", got, err, r.Orphans())
		}
	}
}

func TestBadFilesSayWhere(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"hello":                           `message 1: it begins with "hello", and not with a type (1, 2 or 3), an id and a time`,
		"4 a 1\nx":                        `message 1: it begins with "4 a 1", and not with a type (1, 2 or 3), an id and a time`,
		"1 a b\nGET / HTTP/1.1\r\n\r\n":   `message 1: its time is "b"`,
		"1 a 1\nGET /\r\n\r\n":            `message 1: not a message of HTTP/1.1: it begins with "GET /\r\n"`,
		written + "1 a 1\nGET / HTTP/1.1": `message 4: not a message of HTTP/1.1: its head does not end`,
		strings.Repeat("x", maxMessage+1): `message 1: more than 64 MiB without a separator; is it a file of GoReplay?`,
	} {
		if _, err := read(NewReader(strings.NewReader(file))); err == nil || err.Error() != want {
			t.Errorf("%.80q: got %v, want %s", file, err, want)
		}
	}
	if _, err := read(NewReader(io.MultiReader(strings.NewReader(written), broken{}))); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if err := NewWriter(broken{}).Write(exchange()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// broken is a file on a disk that is.
type broken struct{}

var errBroken = errors.New("input/output error")

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

// FuzzReader reads any file; what it understands is written, and read again.
func FuzzReader(f *testing.F) {
	f.Add([]byte(written))
	f.Add([]byte(strings.TrimSuffix(written, "\n")))
	f.Add([]byte("1 a 1\nGET / HTTP/1.1\n\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := read(NewReader(bytes.NewReader(file)))
		if err != nil {
			return
		}
		text, leftOut := write(t, all...)
		again, err := read(NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		if len(again)+leftOut.Requests != len(all) {
			t.Fatalf("%d exchanges became %d, and %+v was left out", len(all), len(again), leftOut)
		}
	})
}
