package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// full is an exchange with every field set.
func full() *traffic.Exchange {
	return &traffic.Exchange{
		ID: "4f2a", Start: time.Date(2026, 5, 1, 15, 4, 5, 123456789, time.FixedZone("", 7200)), Duration: 3214567 * time.Nanosecond,
		Listener: "web", Route: "shop", Rule: 2, Client: netip.MustParseAddr("10.1.2.3"), Method: "POST", Host: "shop.example",
		Path: "/api/cart", Query: "token=secret", Protocol: "HTTP/1.1", Status: 502, BytesIn: 10, BytesOut: 512,
		Source: traffic.Primary, Error: "connection reset", GRPC: traffic.GRPCCall{Status: "UNAVAILABLE", Message: "connection reset"}, UserAgent: `curl "8"`,
		Primary: traffic.Outcome{Backend: "v1", Endpoint: "10.0.0.1:9000", Status: 200, GRPC: traffic.GRPCCall{Status: "OK"}, Bytes: 512, Start: time.Millisecond,
			First: 2900 * time.Microsecond, End: 3100 * time.Microsecond, Source: traffic.Primary, Error: "reset"},
		Copies: []traffic.Outcome{
			{Mirror: "trial", Backend: "v2", Endpoint: "10.0.0.2:9000", Fate: traffic.Failed, Reason: traffic.FailTimeout, Status: 200, GRPC: traffic.GRPCCall{Status: "NOT_FOUND", Message: "no \"cart\""},
				First: 5 * time.Millisecond, End: 15 * time.Second, Bytes: 3, Source: traffic.Shadow, Error: "too late"},
			{Mirror: "other", Backend: "v3", Fate: traffic.Skipped, Reason: traffic.SkipPercent},
		},
	}
}

func TestLineOfAFullExchange(t *testing.T) {
	t.Parallel()
	want := `{"time":"2026-05-01T13:04:05.123456789Z","request_id":"4f2a","client":"10.1.2.3","listener":"web","method":"POST",` +
		`"host":"shop.example","path":"/api/cart","query":true,"protocol":"HTTP/1.1","user_agent":"curl \"8\"","route":"shop","rule":2,` +
		`"status":502,"grpc_status":"UNAVAILABLE","grpc_message":"connection reset","duration_ms":3.214,"bytes_in":10,"bytes_out":512,"source":"primary","error":"connection reset",` +
		`"primary":{"backend":"v1","endpoint":"10.0.0.1:9000","status":200,"grpc_status":"OK","first_ms":2.900,"ms":3.100,"bytes":512,"source":"primary","error":"reset"},` +
		`"copies":[{"mirror":"trial","backend":"v2","endpoint":"10.0.0.2:9000","fate":"failed","reason":"timeout","status":200,` +
		`"grpc_status":"NOT_FOUND","grpc_message":"no \"cart\"","first_ms":5.000,"ms":15000.000,"bytes":3,"source":"shadow","error":"too late"},` +
		`{"mirror":"other","backend":"v3","fate":"skipped","reason":"percent"}]}` + "\n"
	if diff := cmp.Diff(want, string(appendLine(nil, full()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLineOfARequestThatMatchedNothing(t *testing.T) {
	t.Parallel()
	e := &traffic.Exchange{Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Method: "GET", Path: "/", Status: 404}
	want := `{"time":"2026-01-02T03:04:05Z","request_id":"","client":"","listener":"","method":"GET","host":"","path":"/","query":false,` +
		`"protocol":"","user_agent":"","route":"","rule":0,"status":404,"duration_ms":0.000,"bytes_in":0,"bytes_out":0,"copies":[]}` + "\n"
	if diff := cmp.Diff(want, string(appendLine(nil, e))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTextIsEscaped(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"plain":                    {"a/b<c>&'", "a/b<c>&'"},
		"quote and backslash":      {`"\`, `\"\\`},
		"named controls":           {"\n\r\t", `\n\r\t`},
		"other controls":           {"\x00\x1b[31m", `\u0000\u001b[31m`},
		"DEL and C1":               {"\x7f\u009b", `\u007f\u009b`},
		"line separators":          {"\u2028\u2029", `\u2028\u2029`},
		"beyond ASCII":             {"für 東京 🎭", "für 東京 🎭"},
		"bad UTF-8, byte by byte":  {"a\xff\xc3(", `a\ufffd\ufffd(`},
		"a real replacement rune":  {"\ufffd", "\ufffd"},
		"surrogate half in UTF-8":  {"\xed\xa0\x80", `\ufffd\ufffd\ufffd`},
		"escape at start and end":  {"\"x\"", `\"x\"`},
		"a log line of its own":    {"\"}\n{\"a\":\"", `\"}\n{\"a\":\"`},
		"cut in the middle of one": {"東"[:2], `\ufffd\ufffd`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(appendEscaped(nil, tt.in)); got != tt.want {
				t.Errorf("%q is escaped as %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestMillis(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.000", 999: "0.000", time.Microsecond: "0.001", 1500 * time.Microsecond: "1.500", time.Hour: "3600000.000", -time.Second: "0.000",
	} {
		if got := string(appendMillis([]byte("{"), "ms", d)); got != `{"ms":`+want {
			t.Errorf("%v is written as %s, want %s", d, got, want)
		}
	}
}

func TestZoneOfAnAddressIsEscaped(t *testing.T) {
	t.Parallel()
	e := &traffic.Exchange{Client: netip.MustParseAddr("fe80::1").WithZone("e\"0")}
	if got, want := string(appendClient([]byte("{"), e)), `{"client":"fe80::1%e\"0"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	e := full()
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = appendLine(buf[:0], e) }); n != 0 {
		t.Errorf("a line allocates %v times", n)
	}
}

// logged is what a reader of the log decodes.
type logged struct {
	RequestID string `json:"request_id"`
	Host      string `json:"host"`
	Path      string `json:"path"`
	Query     bool   `json:"query"`
	UserAgent string `json:"user_agent"`
	Error     string `json:"error"`
	Primary   struct {
		Error string `json:"error"`
	} `json:"primary"`
	Copies []struct {
		Mirror string `json:"mirror"`
	} `json:"copies"`
}

// FuzzEveryLineDecodesToWhatWentIn holds the encoder against encoding/json,
// which replaces bad UTF-8 in the same way.
func FuzzEveryLineDecodesToWhatWentIn(f *testing.F) {
	f.Add("id", "host", "/path", "q", "agent")
	f.Add("\x00\x1f\x7f", `"\`, "\n{}", "", "\xff\xfe")
	f.Add("\u2028", "\u009b", "/%ff\xc3", "a=b", "🎭\xed\xa0\x80")
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, id, host, path, query, agent string) {
		line := appendLine(nil, &traffic.Exchange{
			ID: id, Host: host, Path: path, Query: query, UserAgent: agent, Error: id + agent,
			Primary: traffic.Outcome{Backend: "b", Error: host}, Copies: []traffic.Outcome{{Mirror: path}, {Mirror: agent}},
		})
		if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%d newlines in %q", n, line)
		}
		var got logged
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		valid := func(s string) string { return string([]rune(s)) }
		var want logged
		want.RequestID, want.Host, want.Path, want.Query, want.UserAgent = valid(id), valid(host), valid(path), query != "", valid(agent)
		want.Error, want.Primary.Error = valid(id+agent), valid(host)
		want.Copies = []struct {
			Mirror string `json:"mirror"`
		}{{valid(path)}, {valid(agent)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	e := full()
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		buf = appendLine(buf[:0], e)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/formats/access-log.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`"([a-z_]+)":`).FindAllSubmatch(appendLine(nil, full()), -1)
	if len(keys) < 30 {
		t.Errorf("only %d keys in a line with every field set", len(keys))
	}
	for _, key := range keys {
		if !bytes.Contains(page, []byte("`"+string(key[1])+"`")) {
			t.Errorf("docs/formats/access-log.md does not mention %q", key[1])
		}
	}
}
