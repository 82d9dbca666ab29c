package http1

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reading is one message as both we and net/http can tell it.
type reading struct {
	Method, Target, Host, Path, Query, Reason string

	Minor, Status int
	Close         bool
	Fields        []string // canonical names, sorted, without what net/http keeps elsewhere
	Body          string
	Trailer       []string
	Left          string
}

// sortedLines turns fields to sorted "Canonical-Name: value" lines.
func sortedLines(h http.Header) []string {
	var out []string
	for name, values := range h {
		for _, v := range values {
			out = append(out, name+": "+v)
		}
	}
	slices.Sort(out)
	return out
}

// ourHeader turns parsed fields to net/http's form.
func ourHeader(h *head) http.Header {
	out := http.Header{}
	for i := range h.NumFields() {
		name, value, id := h.Field(i)
		switch {
		case id == TransferEncoding, id == Host && h.request, id == Trailer && h.Chunked():
			continue
		case id == Connection && !h.request && h.minor > 0 && h.close:
			continue
		}
		out.Add(string(name), string(value))
	}
	// net/http adds this one itself.
	if p := out["Pragma"]; len(p) > 0 && p[0] == "no-cache" && len(out["Cache-Control"]) == 0 {
		out.Set("Cache-Control", "no-cache")
	}
	return out
}

// trailerLines turns lines as from Body.Trailer to sorted canonical ones.
func trailerLines(t string) []string {
	h := http.Header{}
	for l := range strings.SplitSeq(strings.TrimSuffix(t, "\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(l, ": "); ok {
			h.Add(name, value)
		}
	}
	return sortedLines(h)
}

// allowedTrailers drops what we never let through.
func allowedTrailers(h http.Header, discard bool) []string {
	out := http.Header{}
	for name, values := range h {
		if !discard && identify([]byte(name)) == Other && len(values) > 0 {
			out[name] = values
		}
	}
	return sortedLines(out)
}

// ourRequest reads in, which must be accepted and whole; nil otherwise.
func ourRequest(in string) (*Request, *message, *reading) {
	r := &Request{}
	m := requests(in)
	if m.Status != 0 || !m.Done {
		return r, m, nil
	}
	if _, err := r.Parse([]byte(in), nil); err != nil {
		panic("whole and accepted, and then not")
	}
	path, err := url.PathUnescape(string(r.Path()))
	if err != nil {
		path = string(r.Path())
	}
	return r, m, &reading{
		Method: string(r.Method()), Target: string(r.Target()), Host: string(r.Host()), Path: path, Query: string(r.Query()),
		Minor: r.Minor(), Close: !r.KeepAlive(), Fields: sortedLines(ourHeader(&r.head)),
		Body: m.Body, Trailer: trailerLines(m.Trailer), Left: m.Left,
	}
}

// theirRequest reads in with net/http.
func theirRequest(in string, discard bool) (*reading, error) {
	b := bufio.NewReaderSize(strings.NewReader(in), 256<<10)
	r, err := http.ReadRequest(b)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	left, _ := io.ReadAll(b)
	out := &reading{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
		Minor: r.ProtoMinor, Close: r.Close, Fields: sortedLines(r.Header), Body: string(body), Trailer: allowedTrailers(r.Trailer, discard), Left: string(left),
	}
	// The absolute form without a path means "/", or "*" for OPTIONS; net/http leaves it empty.
	if out.Path == "" && r.URL.Host != "" && r.Method != "CONNECT" {
		out.Path = "/"
		if r.Method == "OPTIONS" && r.URL.RawQuery == "" && !r.URL.ForceQuery {
			out.Path = "*"
		}
	}
	return out, nil
}

// disagreement is a kind of request that we accept and net/http refuses, on purpose.
type disagreement struct {
	name, why string
	example   string
	applies   func(r *Request) bool
}

var disagreements = []disagreement{
	{
		"percent sign without two digits", "a proxy that refuses what its primary answers breaks it; paths are compared undecoded",
		"GET /100% HTTP/1.1\r\nHost: a\r\n\r\n",
		func(r *Request) bool { _, err := url.PathUnescape(string(r.Path())); return err != nil },
	},
	{
		"Trailer announces framing fields", "announcing is harmless: such trailers are dropped when they come",
		"POST / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		func(r *Request) bool {
			for i := range r.NumFields() {
				if _, v, id := r.Field(i); id == Trailer && r.Chunked() {
					for e := range strings.SplitSeq(string(v), ",") {
						switch textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(e)) {
						case "Content-Length", "Transfer-Encoding", "Trailer":
							return true
						}
					}
				}
			}
			return false
		},
	},
}

// agrees checks that net/http reads what we accept, and in the same way,
// unless a disagreement applies.
func agrees(t testing.TB, in string) {
	t.Helper()
	r, _, ours := ourRequest(in)
	if ours == nil || slices.ContainsFunc(disagreements, func(d disagreement) bool { return d.applies(r) }) {
		return
	}
	// RFC 9112 §2.2 wants one empty line before a request to be skipped;
	// http.ReadRequest does not do that.
	theirs, err := theirRequest(strings.TrimPrefix(in, "\r\n"), r.options)
	if err != nil {
		t.Fatalf("%q: net/http refuses: %v", in, err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Fatalf("%q (-net/http +ours):\n%s", in, diff)
	}
}

// agreesOnResponse is agrees for a response to a request with the method.
func agreesOnResponse(t testing.TB, method, in string) {
	t.Helper()
	m := readResponse(method == "HEAD", in)
	if m.Status != 0 || !m.Done {
		return
	}
	var r Response
	if _, err := r.Parse([]byte(in), nil); err != nil {
		t.Fatal("whole and accepted, and then not")
	}
	ours := &reading{
		Status: r.Status(), Reason: string(r.Reason()), Minor: r.Minor(), Close: !r.head.KeepAlive(),
		Fields: sortedLines(ourHeader(&r.head)), Body: m.Body, Trailer: trailerLines(m.Trailer), Left: m.Left,
	}
	b := bufio.NewReaderSize(strings.NewReader(in), 256<<10)
	res, err := http.ReadResponse(b, &http.Request{Method: method})
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") {
			return // as for requests, see disagreements
		}
		t.Fatalf("%q: net/http refuses: %v", in, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%q: net/http refuses the body: %v", in, err)
	}
	left, _ := io.ReadAll(b)
	reason := strings.TrimPrefix(res.Status, strconv.Itoa(res.StatusCode))
	theirs := &reading{
		Status: res.StatusCode, Reason: strings.TrimPrefix(reason, " "), Minor: res.ProtoMinor, Close: res.Close,
		Fields: sortedLines(res.Header), Body: string(body), Trailer: allowedTrailers(res.Trailer, r.options), Left: string(left),
	}
	if res.ContentLength == -1 && !r.Chunked() {
		theirs.Close = ours.Close // net/http also counts a body until close
	}
	// net/http takes a status line apart after trimming it.
	ours.Reason, theirs.Reason = strings.Trim(ours.Reason, " \t"), strings.Trim(theirs.Reason, " \t")
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Fatalf("%q (-net/http +ours):\n%s", in, diff)
	}
}

func TestDisagreesWithNetHTTPOnlyOnPurpose(t *testing.T) {
	t.Parallel()
	for _, d := range disagreements {
		r, m, ours := ourRequest(d.example)
		if ours == nil || !d.applies(r) {
			t.Errorf("%s: we answer %d %q", d.name, m.Status, m.Reason)
		}
		if _, err := theirRequest(d.example, false); err == nil {
			t.Errorf("%s: net/http has come to accept it", d.name)
		}
	}
}

// stricter lists what net/http accepts and we do not, on purpose.
var stricter = []struct{ name, in, reason string }{
	{"LF ends lines", "GET / HTTP/1.1\nHost: a\n\n", "line ends with LF without CR"},
	{"folded value", get("A: b", " c"), "line starts with whitespace"},
	{"equal lengths", post("a", "Content-Length: 1", "Content-Length: 1"), "repeated Content-Length"},
	{"length with chunked", post("0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), "Content-Length with Transfer-Encoding"},
	{"HTTP/1.0 with chunked", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", "missing Host"}, // its server refuses that
	{"odd Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "invalid Host"},
	{"fragment", line("GET /a#b HTTP/1.1"), "fragment in request target"},
	{"non-ASCII target", line("GET /\xc3\xa4 HTTP/1.1"), "invalid character in request target"},
	{"asterisk with GET", line("GET * HTTP/1.1"), "request target does not fit the method"},
	{"another scheme", line("GET ftp://a/ HTTP/1.1"), "request target does not fit the method"},
	{"user information", line("GET http://b@a/ HTTP/1.1"), "invalid authority in request target"},
	{"path for CONNECT", line("CONNECT /a HTTP/1.1"), "invalid authority in request target"},
	{"expectation", post("a", "Expect: b", "Content-Length: 1"), "unsupported expectation"}, // its server refuses that
	{"space after chunk size", chunks("1 \r\na\r\n0\r\n\r\n"), "invalid chunk size"},
	{"control character in a chunk extension", chunks("1;\x01\r\na\r\n0\r\n\r\n"), "invalid character in chunk extension"},
	{"long chunk extension", chunks("1;" + strings.Repeat("a", 300) + "\r\na\r\n0\r\n\r\n"), "chunk extensions too long"},
}

func TestIsStricterThanNetHTTPOnlyOnPurpose(t *testing.T) {
	t.Parallel()
	for _, c := range stricter {
		if _, err := theirRequest(c.in, false); err != nil {
			t.Errorf("%s: net/http refuses too: %v", c.name, err)
		}
		if m := requests(c.in); m.Reason != c.reason {
			t.Errorf("%s: got %q, want %q", c.name, m.Reason, c.reason)
		}
	}
}

// requestSeeds are requests that are accepted, one feature each.
var requestSeeds = []string{
	getHead,
	post("abcGET / HTTP/1.1", "Content-Length: 3"),
	post("", "Content-Length: 0"),
	chunks("3\r\nabc\r\nA;b=c\r\n0123456789\r\n0\r\n\r\nGET"),
	chunks("1\r\na\r\n0\r\nX-Sum: 1\r\nHost: b\r\nx-sum:2 \r\n\r\n"),
	post("0\r\nX-A: 1\r\nX-B: 1\r\n\r\n", "Connection: x-a, close", "Transfer-Encoding: chunked", "Trailer: X-A, X-B"),
	"\r\n" + get("A: b", "a: c"),
	get("Connection: upgrade, X-A", "Upgrade: websocket", "X-A: b", "TE: trailers"),
	get("Pragma: no-cache", "X-Forwarded-For: 1.2.3.4", "X-Request-Id: b", "Traceparent: c", "X-Understudy-Copy: d"),
	post("ab", "Expect: 100-continue", "Content-Length: 2"),
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET HTTPS://[::1]? HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS http://b HTTP/1.1\r\nHost:\r\n\r\n",
	"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
	"GET //a%20b/%zz?c=%zz&d=\"<>{}|\\^`'[] HTTP/1.1\r\nHost: a\r\n\r\n",
}

// responseSeeds are responses that are accepted, one feature each.
var responseSeeds = []string{
	okHead + strings.Repeat("x", 200) + "HTTP/1.1 200 OK",
	"HTTP/1.1 200\r\n\r\nuntil close",
	"HTTP/1.1 404 Not \t\xe4Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\nSet-Cookie: a\r\n\r\nHTTP",
	"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
	"HTTP/1.0 200 OK\r\n\r\na",
	"HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\nPragma: no-cache\r\nContent-Length: 0\r\n\r\n",
}

func TestSeedsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, in := range requestSeeds {
		if m := everySplit(t, in, requests); m.Status != 0 || !m.Done {
			t.Errorf("%q: %d %s, done %v", in, m.Status, m.Reason, m.Done)
		}
	}
	for _, in := range responseSeeds {
		if m := everySplit(t, in, responses); m.Status != 0 || !m.Done {
			t.Errorf("%q: %d %s, done %v", in, m.Status, m.Reason, m.Done)
		}
	}
}

// mutate changes a few bytes of in, mostly to ones that mean something.
func mutate(rng *rand.Rand, in string) string {
	const telling = "\r\n\r\n\t  :,;=/?#%*@[]0123456789abcfxX\x00\x01\x7f\x80\xff\"+-_\\"
	b := []byte(in)
	for range 1 + rng.IntN(3) {
		at, c := rng.IntN(len(b)), telling[rng.IntN(len(telling))]
		switch rng.IntN(5) {
		case 0:
			b[at] = c
		case 1:
			b = slices.Insert(b, at, c)
		case 2:
			if len(b) > 1 {
				b = slices.Delete(b, at, at+1)
			}
		case 3: // repeat a part: fields come twice
			end := min(at+1+rng.IntN(40), len(b))
			b = slices.Insert(b, at, slices.Clone(b[at:end])...)
		case 4:
			b[at] = byte(rng.IntN(256))
		}
	}
	return string(b)
}

// The generator is seeded: every run tries the same messages, so there is no
// chance of a false failure.
func TestAgreesWithNetHTTP(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for _, c := range malformedRequests {
		agrees(t, c.in)
	}
	for i := range 10_000 {
		in := requestSeeds[i%len(requestSeeds)]
		if i >= len(requestSeeds) {
			in = mutate(rng, in)
		}
		if m := requests(in); m.Status == 0 && m.Done {
			accepted++
		}
		agrees(t, in)
	}
	if accepted < 2_000 {
		t.Errorf("only %d mutated requests were accepted: the test says nothing", accepted)
	}
	accepted = 0
	for i := range 10_000 {
		in, method := responseSeeds[i%len(responseSeeds)], "GET"
		if i%7 == 0 {
			method = "HEAD"
		}
		if i >= len(responseSeeds) {
			in = mutate(rng, in)
		}
		if m := readResponse(method == "HEAD", in); m.Status == 0 && m.Done {
			accepted++
		}
		agreesOnResponse(t, method, in)
	}
	if accepted < 2_000 {
		t.Errorf("only %d mutated responses were accepted: the test says nothing", accepted)
	}
}
