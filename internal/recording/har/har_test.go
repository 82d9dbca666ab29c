package har

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

var update = flag.Bool("update", false, "rewrite the golden archive")

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

// exchanges are what an archive has to carry: bodies that are text and that are
// not, cut and coded ones, cookies, trailers, failures.
func exchanges() []*traffic.Exchange {
	start := time.Date(2026, 5, 1, 13, 4, 5, 123456789, time.UTC)
	return []*traffic.Exchange{
		{
			ID: "4f2a", Start: start, Duration: 3214 * time.Microsecond, Listener: "web", Route: "shop", Rule: 2, Client: netip.MustParseAddr("10.1.2.3"),
			Method: "POST", Host: "shop.example.com", Path: "/api/cart/17", Query: "full=1&q=a%20b&flag", Protocol: "HTTP/1.1", Status: 200,
			GRPC: traffic.GRPCCall{Status: "NOT_FOUND", Message: "no cart"}, BytesIn: 14, BytesOut: 15, UserAgent: "curl/8.5", Source: traffic.Primary, Error: "reset",
			Request: &traffic.Message{
				Head: []byte("POST /api/cart/17?full=1&q=a%20b&flag HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5\r\nCookie: sid=1; lang=tr\r\n" +
					"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"),
				Body: []byte(`{"add":"p\u00e9ar"}`[:14]), Length: 14, Whole: true,
			},
			Primary: traffic.Outcome{
				Backend: "v1", Endpoint: "10.0.0.1:9000", Status: 200, Bytes: 15, Queued: 10 * time.Microsecond, Connect: 200 * time.Microsecond,
				Start: 300 * time.Microsecond, First: 2900 * time.Microsecond, End: 3100 * time.Microsecond,
				Answer: &traffic.Message{
					Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: sid=2; Path=/; HttpOnly; Expires=Fri, 01 May 2026 14:00:00 GMT\r\nContent-Length: 15\r\n"),
					Body: []byte(`{"total":12.50}`), Length: 15, Whole: true, Trailer: []byte("X-Sum: 1\r\n"),
				},
			},
			Copies: []traffic.Outcome{
				{
					Mirror: "m2", Backend: "v2", Endpoint: "10.0.0.2:9000", Fate: traffic.Completed, Status: 302, Bytes: 3, Start: 400 * time.Microsecond,
					First: 3300 * time.Microsecond, End: 4100 * time.Microsecond,
					Answer: &traffic.Message{Head: []byte("HTTP/1.1 302 Found\r\nLocation: /login\r\n"), Body: []byte("\x00\xff\xfe"), Length: 9, Hash: 0xfedcba9876543210, Whole: true},
				},
				{Mirror: "m3", Backend: "v3", Fate: traffic.Failed, Reason: traffic.FailConnect, Source: traffic.Shadow, Error: "refused", End: time.Millisecond},
			},
		},
		{
			ID: "next", Start: start.Add(time.Second), Method: "HEAD", Host: "h", Path: "/", Protocol: "HTTP/2.0", Status: 204,
			Request: &traffic.Message{Head: []byte("HEAD / HTTP/1.1\r\nHost: h\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "v1", Status: 204, Answer: &traffic.Message{Head: []byte("HTTP/1.1 204 No Content\r\nContent-Length: 17\r\n"), Whole: true}},
		},
		{
			ID: "star", Start: start.Add(2 * time.Second), Method: "OPTIONS", Host: "h", Path: "*", Protocol: "HTTP/1.0",
			Request: &traffic.Message{Head: []byte("OPTIONS * HTTP/1.0\r\nHost: h\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "v1", Source: traffic.Primary, Error: "timeout", End: time.Second},
		},
		{
			ID: "coded", Start: start.Add(3 * time.Second), Method: "GET", Host: "h", Path: "/z", Protocol: "HTTP/1.1", Status: 200,
			Request: &traffic.Message{Head: []byte("GET /z HTTP/1.1\r\nHost: h\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "v1", Status: 200, Answer: &traffic.Message{
				Head: []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n"), Body: zipped("hello, hello, hello"), Length: int64(len(zipped("hello, hello, hello"))), Whole: true,
			}},
		},
	}
}

func write(t *testing.T, o Options, all []*traffic.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, o)
	for _, x := range all {
		if err := w.Write(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(in io.Reader) (all []*traffic.Exchange, err error) {
	r := NewReader(in)
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

func TestArchivesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	got, err := read(bytes.NewReader(write(t, Options{}, exchanges())))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, exchanges())
}

func TestHostsThatAreNone(t *testing.T) {
	t.Parallel()
	x := exchanges()[1]
	for _, host := range []string{"", "a b", "a/b", "[::1"} {
		x.Host = host
		x.Request.Head = []byte("HEAD / HTTP/1.1\r\nHost: " + host + "\r\n")
		if host == "" {
			x.Request.Head = []byte("HEAD / HTTP/1.1\r\n")
		}
		got, err := read(bytes.NewReader(write(t, Options{}, []*traffic.Exchange{x})))
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		same(t, got, []*traffic.Exchange{x})
	}
}

func TestAnEmptyArchive(t *testing.T) {
	t.Parallel()
	text := write(t, Options{Version: "1.0"}, nil)
	if want := `{"log":{"version":"1.2","creator":{"name":"understudy","version":"1.0"},"entries":[` + "\n]}}\n"; string(text) != want {
		t.Errorf("got %q, want %q", text, want)
	}
	r := NewReader(bytes.NewReader(text))
	for range 3 {
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	}
}

// TestGoldenArchive holds what is written to a file that was checked against the
// JSON schema of HAR 1.2 (the npm package har-schema 2.0.0).
func TestGoldenArchive(t *testing.T) {
	t.Parallel()
	got := write(t, Options{Version: "1.0"}, exchanges()[:3])
	if *update {
		if err := os.WriteFile("testdata/golden.har", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/golden.har")
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(got), string(want))
}

func TestContentCodingsAreUndoneWhenTheyCanBe(t *testing.T) {
	t.Parallel()
	decode := func(m *traffic.Message) ([]byte, bool) {
		z, err := gzip.NewReader(bytes.NewReader(m.Body))
		if err != nil {
			return nil, false
		}
		b, err := io.ReadAll(z)
		return b, err == nil
	}
	text := write(t, Options{Decode: decode}, exchanges()[3:])
	if !strings.Contains(string(text), `"text":"hello, hello, hello"`) {
		t.Errorf("got %s", text)
	}
	got, err := read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := exchanges()[3]
	want.Primary.Answer = &traffic.Message{
		Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n"), Body: []byte("hello, hello, hello"), Length: 19, Whole: true,
	}
	same(t, got, []*traffic.Exchange{want})
}

// foreign is an archive as a browser writes it.
const foreign = `{"log":{"pages":[{"id":"p1","pageTimings":{"onLoad":1}}],"version":"1.2","entries":[
{"startedDateTime":"2026-05-01T15:04:05.123+0200","time":30,"request":{"method":"POST","url":"https://shop.example.com/a?x=1#top","httpVersion":"h2",
"headers":[{"name":":method","value":"POST"},{"name":":authority","value":"shop.example.com"},{"name":"user-agent","value":"Mozilla/5.0\r\nEvil: 1"},{"name":"Accept-Encoding","value":"br"},{"name":"content-length","value":"999"},{"name":"bad name","value":"x"}],
"queryString":[],"cookies":[],"headersSize":-1,"bodySize":3,"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"a","value":"1 2"},{"name":"b","value":"&"}]}},
"response":{"status":200,"statusText":"","httpVersion":"h2","headers":[{"name":"content-encoding","value":"br"},{"name":"content-length","value":"3"},{"name":"transfer-encoding","value":"chunked"}],"cookies":[],
"content":{"size":5,"mimeType":"text/plain","text":"hello"},"redirectURL":"","headersSize":-1,"bodySize":-1,"_transferSize":100},
"cache":{},"timings":{"blocked":1,"dns":2,"connect":4,"ssl":3,"send":0.5,"wait":20,"receive":2.5},"serverIPAddress":"[2001:db8::1]"},
{"startedDateTime":"2026-05-01T13:04:06Z","request":{"method":"GET","url":"http://h","httpVersion":"HTTP/1.1","headers":[{"name":"X-Request-Id","value":"mine"},{"name":"Accept-Encoding","value":"br"}]},
"response":{"status":0,"headers":[],"_error":"net::ERR_ABORTED"},"timings":{"blocked":-1,"wait":1}}
],"comment":"last"}}`

func TestArchivesOfBrowsersAreRead(t *testing.T) {
	t.Parallel()
	got, err := read(strings.NewReader(foreign))
	if err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	same(t, got, []*traffic.Exchange{
		{
			ID: "har-000001", Start: time.Date(2026, 5, 1, 13, 4, 5, 123e6, time.UTC), Duration: 30 * ms, Method: "POST", Host: "shop.example.com", Path: "/a", Query: "x=1",
			Protocol: "HTTP/2.0", Status: 200, BytesIn: 11, BytesOut: 5, UserAgent: "Mozilla/5.0  Evil: 1",
			Request: &traffic.Message{
				Head: []byte("POST /a?x=1 HTTP/1.1\r\nHost: shop.example.com\r\nuser-agent: Mozilla/5.0  Evil: 1\r\nContent-Length: 11\r\n"),
				Body: []byte("a=1+2&b=%26"), Length: 11, Whole: true,
			},
			Primary: traffic.Outcome{
				Backend: "primary", Endpoint: "[2001:db8::1]", Status: 200, Bytes: 5, Connect: 4 * ms, Start: 7 * ms, First: 27500 * time.Microsecond, End: 30 * ms,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 200\r\nContent-Length: 5\r\n"), Body: []byte("hello"), Length: 5, Whole: true},
			},
		},
		{
			ID: "mine", Start: time.Date(2026, 5, 1, 13, 4, 6, 0, time.UTC), Duration: ms, Method: "GET", Host: "h", Path: "/", Protocol: "HTTP/1.1",
			Request: &traffic.Message{Head: []byte("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nAccept-Encoding: br\r\n"), Whole: true},
			Primary: traffic.Outcome{Backend: "primary", End: ms, Error: "net::ERR_ABORTED"},
		},
	})
}

// Browsers tell of what they did without HTTP, too.
func TestEntriesOfOtherSchemesAreLeftOut(t *testing.T) {
	t.Parallel()
	var entries []string
	for _, u := range []string{"data:image/png;base64,AA%", "http://h/1", "blob:https://h/7", "WSS://h/ws", "HTTPS://h/2", "data:,x"} {
		entries = append(entries, `{"startedDateTime":"2026-05-01T13:04:06Z","request":{"method":"GET","url":"`+u+`"},"response":{"status":200}}`)
	}
	r := NewReader(strings.NewReader(`{"log":{"entries":[` + strings.Join(entries, ",") + `]}}`))
	var paths []string
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, x.Path)
	}
	if diff := cmp.Diff([]string{"/1", "/2"}, paths); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"data": 2, "blob": 1, "wss": 1}, r.LeftOut()); diff != "" {
		t.Error(diff)
	}
}

func TestBadArchivesSayWhere(t *testing.T) {
	t.Parallel()
	entry := func(request, response string) string {
		return `{"log":{"entries":[{"startedDateTime":"2026-05-01T13:04:06Z","request":{` + request + `},"response":{` + response + `}}]}}`
	}
	good := `"method":"GET","url":"http://h/"`
	for text, want := range map[string]string{
		"":                          "not an HTTP Archive: unexpected EOF",
		"[]":                        `not an HTTP Archive: "{" is missing`,
		"{}":                        `not an HTTP Archive: there is no "log"`,
		`{"log":{"version":"1.2"}}`: `not an HTTP Archive: there is no "entries"`,
		`{"log":{"entries":{}}}`:    `not an HTTP Archive: "[" is missing`,
		`{"log":{"entries":[{"startedDateTime":"2026-05-01T13:04:06Z","request":{"method":"GET","url":"http://h/"}}`: "after entry 1: unexpected EOF",
		`{"log":{"entries":[{}]}}`: `entry 1: startedDateTime: "" is not a time`,
		`{"log":{"entries":[{"startedDateTime":"0001-01-01T00:00:00Z"}]}}`: `entry 1: startedDateTime: "0001-01-01T00:00:00Z" is not a time`,
		`{"log":{"entries":[7]}}`:                                              "entry 1: json: cannot unmarshal number into Go value of type har.entry",
		entry(`"method":"GET","url":"/a"`, ""):                                 `entry 1: request.url: "/a" is not an absolute URL`,
		entry(`"method":"GET","url":"127.0.0.1:80/a"`, ""):                     `entry 1: request.url: "127.0.0.1:80/a" is not an absolute URL`,
		entry(`"url":"http://h/"`, ""):                                         `entry 1: request.method: "" is none`,
		entry(good+`,"postData":{"text":"x","_encoding":"rot13"}`, ""):         `entry 1: request.postData.text: the encoding "rot13" is not known`,
		entry(good, `"status":200,"content":{"text":"%","encoding":"base64"}`): "entry 1: response.content.text: not base64: illegal base64 data at input byte 0",
	} {
		_, err := read(strings.NewReader(text))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// endless is an archive with a value that does not end.
type endless struct{ before io.Reader }

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.before.Read(p); n > 0 || err != io.EOF {
		return n, err
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAnEntryIsBounded(t *testing.T) {
	t.Parallel()
	r := NewReader(&endless{strings.NewReader(`{"log":{"entries":[{"comment":"`)})
	r.limit = 1 << 20
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "a value of more than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestExchangesThatWereNotCapturedAreRefused(t *testing.T) {
	t.Parallel()
	if err := NewWriter(io.Discard, Options{}).Write(&traffic.Exchange{ID: "7"}); err == nil || err.Error() != "exchange 7 has no request" {
		t.Errorf("got %v", err)
	}
}

// broken fails to write.
type broken struct{}

var errBroken = errors.New("no space left on device")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestErrorsOfTheOutputAreTold(t *testing.T) {
	t.Parallel()
	w := NewWriter(broken{}, Options{})
	if err := w.Write(exchanges()[0]); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if err := w.Close(); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// TestTimeIsTheSumOfItsPhases holds what every reader of archives relies on.
func TestTimeIsTheSumOfItsPhases(t *testing.T) {
	t.Parallel()
	var archive struct {
		Log struct{ Entries []entry }
	}
	if err := json.Unmarshal(write(t, Options{}, exchanges()), &archive); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range archive.Log.Entries {
		got = append(got, fmt.Sprintf("%.3f: %v", e.Time, e.Timings))
	}
	same(t, got, []string{
		"3.100: {0.1 -1 0.2 0 2.6 0.2 -1}", "4.100: {0.4 -1 -1 0 2.9 0.8 -1}", "1.000: {0 -1 -1 0 1 0 -1}",
		"0.000: {0 -1 -1 0 0 0 -1}", "1000.000: {0 -1 -1 0 1000 0 -1}", "0.000: {0 -1 -1 0 0 0 -1}",
	})
}

// FuzzReader reads any text as an archive; what it understands is written and
// read again the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte(`{"log":{"entries":[{"startedDateTime":"2026-05-01T13:04:06Z","request":{"method":"GET","url":"http://h/%20%c3","headers":[{"name":"host","value":"a b"}]}}]}}`))
	golden, err := os.ReadFile("testdata/golden.har")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := read(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := read(bytes.NewReader(write(t, Options{}, all)))
		if err != nil {
			t.Fatal(err)
		}
		if len(again) < len(all) {
			t.Fatalf("%d exchanges became %d", len(all), len(again))
		}
	})
}
