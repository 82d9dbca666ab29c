package redact

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestHeads(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{Headers: []string{"X-Internal-Id"}, Query: []string{"q"}, Keep: []string{"locale", "x-api-key"}})
	tests := map[string]struct{ line, want string }{
		"bearer":            {"Authorization: Bearer abc", "Authorization: Bearer <s>"},
		"basic":             {"proxy-authorization:Basic  dTpw", "proxy-authorization:Basic  <s>"},
		"digest":            {`Authorization: Digest username="u", response="r"`, "Authorization: Digest <s>"},
		"no scheme":         {"Authorization: abc", "Authorization: <s>"},
		"cookies":           {`Cookie: a=1; sid="x y"; locale=tr;b=; odd`, `Cookie: a=<s>; sid="<s>"; locale=tr;b=; <s>`},
		"set-cookie":        {"Set-Cookie: sid=abc; Path=/; HttpOnly", "Set-Cookie: sid=<s>; Path=/; HttpOnly"},
		"cookies in a list": {"Set-Cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT, b=2; Path=/, c=3, d=4", "Set-Cookie: a=<s>; Expires=Wed, 21 Oct 2026 07:28:00 GMT, b=<s>; Path=/, c=<s>"},
		"odd attributes":    {"Set-Cookie: a=1; Secure; Token=x", "Set-Cookie: a=<s>; Secure; Token=<s>"},
		"names of fields":   {"access-token: abc", "access-token: <s>"},
		"with an x":         {"X-Refresh_Token: abc", "X-Refresh_Token: <s>"},
		"json":              {`X-Thing: {"password":"x","a":"b"}`, `X-Thing: {"password":"<s>","a":"b"}`},
		"carried names":     {"Grpc-Metadata-Authorization: Bearer abc", "Grpc-Metadata-Authorization: <s>"},
		"a url in a url":    {"Location: /login?next=%2Fa%3Ftoken%3Dx%26b%3D1", "Location: /login?next=%2Fa%3Ftoken%3D<s>%26b%3D1"},
		"a quoted quote":    {`X-Thing: secret="c\"d", e=f`, `X-Thing: secret="<s>", e=f`},
		"configured":        {"x-internal_id: 7", "x-internal_id: <s>"},
		"built in":          {"X-Auth-Token:\tabc ", "X-Auth-Token:\t<s> "},
		"kept":              {"X-Api-Key: abc", "X-Api-Key: abc"},
		"continued":         {"X-Auth-Token: abc\r\n def", "X-Auth-Token: <s>"},
		"referer":           {"Referer: https://u:p@host/a?token=x,y&b=1#access_token=z", "Referer: https://u:<s>@host/a?token=<s>&b=1#access_token=<s>"},
		"user alone":        {"Location: https://abc@host/", "Location: https://<s>@host/"},
		"an at in the path": {"Location: https://host/a@b:c", "Location: https://host/a@b:c"},
		"link":              {`Link: </r?token=x>; rel="next"`, `Link: </r?token=<s>>; rel="next"`},
		"refresh":           {"Refresh: 0; url=/r?q=x&p=1", "Refresh: 0; url=/r?q=<s>&p=1"},
		"a parameter":       {`X-Thing: a="b", secret="c d;e", f=g`, `X-Thing: a="b", secret="<s>", f=g`},
		"a jwt":             {"X-Thing: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.", "X-Thing: <s>"},
		"a path":            {"X-Path: /a;token=x/b", "X-Path: /a;token=<s>"},
		"nothing":           {"Content-Type: text/plain; charset=utf-8", "Content-Type: text/plain; charset=utf-8"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message("GET /a;jsessionid=abc?token=x&q=y&b=1 HTTP/1.1\r\nA: b\r\n"+tt.line+"\r\nC: d\r\n", "")
			m.Trailer = []byte(tt.line + "\r\n")
			r.Exchange(&traffic.Exchange{Request: m})
			want := "GET /a;jsessionid=<s>?token=<s>&q=<s>&b=1 HTTP/1.1\r\nA: b\r\n" + tt.want + "\r\nC: d\r\n"
			if diff := cmp.Diff(want, short(string(m.Head))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want+"\r\n", short(string(m.Trailer))); diff != "" {
				t.Errorf("as a trailer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFieldsOfExchanges(t *testing.T) {
	t.Parallel()
	x := &traffic.Exchange{
		Path: "/a;jsessionid=x", Query: "password=a;b,c&d=e;pwd=x/y?z", UserAgent: "bot (+https://u:p@host/)", Error: "dial https://u:p@host/?token=x: refused",
		GRPC:    traffic.GRPCCall{Message: "token=x is not valid"},
		Primary: traffic.Outcome{Error: "Bearer abcdefgh12345678", GRPC: traffic.GRPCCall{Message: "a"}},
		Copies:  []traffic.Outcome{{Error: "to ?api_key=x", GRPC: traffic.GRPCCall{Message: "pwd=x"}}, {}},
	}
	redactor(t, config.Redact{}).Exchange(x)
	got := []string{x.Path, x.Query, x.UserAgent, x.Error, x.GRPC.Message, x.Primary.Error, x.Primary.GRPC.Message, x.Copies[0].Error, x.Copies[0].GRPC.Message}
	for i, s := range got {
		got[i] = short(s)
	}
	want := []string{"/a;jsessionid=<s>", "password=<s>&d=e;pwd=<s>", "bot (+https://u:<s>@host/)", "dial https://u:<s>@host/?token=<s> refused",
		"token=<s> is not valid", "Bearer <s>", "a", "to ?api_key=<s>", "pwd=<s>"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func zipped(t testing.TB, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEncodedBodies(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{})
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
	m := message(head, zipped(t, `{"token":"x"}`))
	r.Exchange(&traffic.Exchange{Request: m})
	if got := short(string(m.Body)); got != `{"token":"<s>"}` || m.Length != int64(len(m.Body)) {
		t.Errorf("body %q of %d", got, m.Length)
	}
	if want := strings.Replace(head, "Content-Encoding", "content-unpacked", 1); string(m.Head) != want {
		t.Errorf("head %q", m.Head)
	}
	if b := content.Read(m, 1000); b.Encoded || b.Err != nil || b.Cut {
		t.Errorf("read again: %+v", b)
	}

	body := zipped(t, `{"a":"x"}`)
	m = message(head, body)
	r.Exchange(&traffic.Exchange{Request: m})
	if string(m.Body) != body || string(m.Head) != head {
		t.Errorf("without a secret: %q %q", m.Head, m.Body)
	}

	// What was cut stays cut, by as much.
	body = zipped(t, `{"token":"x"}`)
	m = message(head, body[:len(body)-10])
	m.Length = int64(len(body))
	r.Exchange(&traffic.Exchange{Request: m})
	if !m.Cut() || m.Length-int64(len(m.Body)) != 10 || !strings.HasPrefix(string(m.Body), `{"token":"redacted-`) {
		t.Errorf("cut: %q of %d", m.Body, m.Length)
	}

	// Nobody looks into what lies beyond the limit, so it must not stay.
	m = message(head, zipped(t, strings.Repeat(" ", unpackLimit)+`{"token":"x"}`))
	r.Exchange(&traffic.Exchange{Request: m})
	if len(m.Body) != unpackLimit || !m.Cut() {
		t.Errorf("over the limit: %d of %d", len(m.Body), m.Length)
	}
}

func TestCharsetsAreKept(t *testing.T) {
	t.Parallel()
	m := message("x\r\nContent-Type: application/json; charset=iso-8859-1\r\n", "{\"a\":\"gr\xfcn\",\"token\":\"\xfc\"}")
	other := message("x\r\nContent-Type: application/json\r\n", `{"token":"ü"}`)
	r := redactor(t, config.Redact{})
	r.Exchange(&traffic.Exchange{Request: m, Primary: traffic.Outcome{Answer: other}})
	if got := short(string(m.Body)); got != "{\"a\":\"gr\xfcn\",\"token\":\"<s>\"}" {
		t.Errorf("%q", got)
	}
	token := string(other.Body[len(`{"token":`):])
	if !strings.HasSuffix(string(m.Body), token) {
		t.Errorf("the same text in two charsets: %q, %q", m.Body, other.Body)
	}
}

func TestLengthsAndHashes(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{})
	cut := func(body string, hash uint64) *traffic.Message {
		m := message("x\r\nContent-Type: application/json\r\n", body)
		m.Length += 100
		m.Hash = hash
		return m
	}
	a, b, c := cut(`{"token":"x","a":"`, 7), cut(`{"token":"a much longer secret than the other","a":"`, 7), cut(`{"a":"`, 8)
	r.Exchange(&traffic.Exchange{Request: a, Primary: traffic.Outcome{Answer: b}, Copies: []traffic.Outcome{{Answer: c}}})
	for _, m := range []*traffic.Message{a, b, c} {
		if !m.Cut() || m.Length-int64(len(m.Body)) != 100 {
			t.Errorf("%q: %d bytes", m.Body, m.Length)
		}
	}
	once := a.Hash
	r.Exchange(&traffic.Exchange{Request: a})
	if a.Hash != once {
		t.Errorf("redacted twice: %d, once: %d", a.Hash, once)
	}
	if a.Hash == 7 || a.Hash != b.Hash || a.Hash == c.Hash || a.Hash == 0 {
		t.Errorf("hashes %d %d %d", a.Hash, b.Hash, c.Hash)
	}
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	body := strings.ReplaceAll(`preamble
--b
Content-Disposition: form-data; name="user[password]"

hunter2
--b
Content-Disposition: form-data; name="note"; filename="token=x"

as is
--b
Content-Disposition: form-data; name="data"
Content-Type: application/json

{"token":"x"}
--b
Content-Disposition: form-data; name="more"
Content-Type: multipart/mixed; boundary=c

--c

{"token":"x"}
--c--
--b
Content-Disposition: form-data; name="packed"
Content-Type: application/json
Content-Transfer-Encoding: base64

eyJ0b2tlbiI6IngifQ==
--b
Content-Disposition: form-data; name="file"
Content-Type: image/png

token=x
--b--
`, "\n", "\r\n")
	want := strings.NewReplacer("hunter2", "<s>", `{"token":"x"}`, `{"token":"<s>"}`, "filename=\"token=x\"", "filename=\"token=<s>\"").Replace(body)
	m := message("POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n", body)
	redactor(t, config.Redact{}).Exchange(&traffic.Exchange{Request: m})
	got := short(string(m.Body))
	from, to := strings.Index(got, "base64\r\n\r\n")+len("base64\r\n\r\n"), strings.Index(got, "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"")
	if from > to || !strings.HasPrefix(got[from:to], "eyJ0b2tlbiI6InJlZGFjdGVkL") { // {"token":"redacted-
		t.Fatalf("%q", got)
	}
	if diff := cmp.Diff(want, got[:from]+"eyJ0b2tlbiI6IngifQ=="+got[to:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	m = message("POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n", "--b\r\nContent-Disposition: form-data; name=token\r\n\r\nhunt")
	m.Length += 10
	redactor(t, config.Redact{}).Exchange(&traffic.Exchange{Request: m})
	if got := short(string(m.Body)); got != "--b\r\nContent-Disposition: form-data; name=token\r\n\r\n<s>" {
		t.Errorf("cut: %q", got)
	}
}

// call is a request of gRPC with these messages.
func call(messages ...[]byte) *traffic.Exchange {
	var body []byte
	for _, m := range messages {
		body = content.AppendFrame(body, content.Frame{Data: m, Whole: true})
	}
	return &traffic.Exchange{Path: "/shop.v1.Cart/Pay", Request: message("POST /shop.v1.Cart/Pay HTTP/1.1\r\nContent-Type: application/grpc\r\n", string(body))}
}

func TestProtobuf(t *testing.T) {
	t.Parallel()
	build := func(name, card string, pin, fixed uint64) []byte {
		b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
		inner := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), card)
		inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), "visible")
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), inner)
		b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.VarintType), pin)
		return protowire.AppendFixed64(protowire.AppendTag(b, 6, protowire.Fixed64Type), fixed)
	}
	r := redactor(t, config.Redact{Protobuf: []config.RedactProtobuf{{Method: "shop.v1.Cart/*", Fields: []string{"4.1", "5"}}, {Method: "shop.v1.Cart/Pay", Fields: []string{"6"}}}})
	x := call(build("anna", "4111", 1234, 99), build("anna", "4111", 1234, 99), build("anna", "4112", 1235, 100))
	r.Exchange(x)
	var got []string
	for f := range content.Frames(x.Request.Body) {
		got = append(got, string(f.Data))
	}
	if len(got) != 3 || got[0] != got[1] || got[0] == got[2] {
		t.Fatalf("%q", got)
	}
	w := newWorker(r)
	token := string(w.token(nil, text, []byte("4111")))
	want := build("anna", token, w.markedNumber(protowire.AppendVarint(nil, 1234)), w.markedNumber(protowire.AppendFixed64(nil, 99)))
	if got[0] != string(want) {
		t.Errorf("got %q, want %q", got[0], want)
	}
	again := string(x.Request.Body)
	if r.Exchange(x); string(x.Request.Body) != again {
		t.Errorf("twice: %q, once: %q", x.Request.Body, again)
	}
}

func TestProtobufThatIsOdd(t *testing.T) {
	t.Parallel()
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
	rules := []config.RedactProtobuf{{Method: "*", Fields: []string{"4.1"}}}
	tests := map[string]struct {
		rules    []config.RedactProtobuf
		in, want string
	}{
		"another method":    {[]config.RedactProtobuf{{Method: "shop.v1.Cart/Get", Fields: []string{"1"}}}, "\x0a\x01x", "\x0a\x01x"},
		"no such field":     {rules, "\x0a\x01x", "\x0a\x01x"},
		"no message":        {rules, "\x07\xff\xff", "<w>"},
		"the field is none": {rules, "\x22\x02\x07\xff", "\x22\x15<s>"},
		"in a group":        {[]config.RedactProtobuf{{Method: "*", Fields: []string{"1"}}}, "\x13\x0a\x01x\x14", "\x13\x0a\x15<s>\x14"},
		"a cut number":      {[]config.RedactProtobuf{{Method: "*", Fields: []string{"1", "2"}}}, "\x08\x01\x11\x01\x02", "\x08" + "\xe7\xcd\xf2\x87\xd9\xfd\xb1\xed\x5e" + "\x11"},
		"a token within":    {nil, "\x0a\x36" + jwt, "\x0a\x36<s>" + strings.Repeat("-", len(jwt)-21)},
		"32 bits":           {[]config.RedactProtobuf{{Method: "*", Fields: []string{"1"}}}, "\x0d\x01\x00\x00\x00", "\x0a\x1c<n>"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := call([]byte(tt.in))
			redactor(t, config.Redact{Protobuf: tt.rules}).Exchange(x)
			for f := range content.Frames(x.Request.Body) {
				if got := short(string(f.Data)); got != tt.want || !f.Whole {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}

	// A message that was cut off is redacted to its end, and stays cut off.
	x := call([]byte("\x22\x08\x0a\x06hunt"))
	x.Request.Body[4] += 2
	x.Request.Length += 2
	redactor(t, config.Redact{Protobuf: rules}).Exchange(x)
	if got := short(string(x.Request.Body[5:])); got != "\x22\x19\x0a\x17<s>" || !x.Request.Cut() {
		t.Errorf("cut: %q", x.Request.Body)
	}
}

func TestMessagesOfGRPCThatAreNoProtobuf(t *testing.T) {
	t.Parallel()
	x := call([]byte(`{"token":"x"}`))
	x.Request.Head = []byte("POST / HTTP/1.1\r\nContent-Type: application/grpc+json\r\n")
	x.Request.Body = content.AppendFrame(x.Request.Body, content.Frame{Data: []byte("packed"), Packed: true, Whole: true})
	x.Request.Body = content.AppendFrame(x.Request.Body, content.Frame{Data: []byte("set-cookie: a=b\r\n"), Trailer: true, Whole: true})
	x.Request.Length = int64(len(x.Request.Body))
	redactor(t, config.Redact{}).Exchange(x)
	var got []string
	for f := range content.Frames(x.Request.Body) {
		got = append(got, short(string(f.Data)))
	}
	if diff := cmp.Diff([]string{`{"token":"<s>"}`, "<w>", "set-cookie: a=<s>\r\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheSameSecretHasTheSameTokenEverywhere(t *testing.T) {
	t.Parallel()
	x := &traffic.Exchange{
		Query:   "token=s%20x",
		Request: message("GET /?token=s+x HTTP/1.1\r\nCookie: a=s x\r\nContent-Type: application/x-www-form-urlencoded\r\n", "token=s+x"),
		Primary: traffic.Outcome{Answer: message("HTTP/1.1 200 OK\r\nX-Auth-Token: s x\r\nContent-Type: application/json\r\n", `{"token":"s\u0020x"}`)},
		Copies:  []traffic.Outcome{{Answer: message("HTTP/1.1 200 OK\r\nX-Auth-Token: other\r\nContent-Type: text/xml\r\n", "<token>s x</token>")}},
	}
	redactor(t, config.Redact{}).Exchange(x)
	all := x.Query + string(x.Request.Head) + string(x.Request.Body) + string(x.Primary.Answer.Head) + string(x.Primary.Answer.Body) + string(x.Copies[0].Answer.Body)
	token := strings.TrimPrefix(x.Query, "token=")
	if n := strings.Count(all, token); n != 7 {
		t.Errorf("%d times %q in %s", n, token, all)
	}
	if strings.Contains(string(x.Copies[0].Answer.Head), token) {
		t.Errorf("another secret: %s", x.Copies[0].Answer.Head)
	}
	y := &traffic.Exchange{Query: "token=s%20x"}
	other := redactor(t, config.Redact{Key: "another key, which is long"})
	if other.Exchange(y); y.Query == x.Query || !strings.HasPrefix(y.Query, "token=redacted-") {
		t.Errorf("by another key %q", y.Query)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		c    config.Redact
		want string
	}{
		"a short key":   {config.Redact{Key: "secret"}, "redact.key: has 6 bytes and can be guessed; give at least 16, such as what `openssl rand -hex 16` prints"},
		"a header":      {config.Redact{Headers: []string{"a", "b c"}}, `redact.headers[1]: "b c" is no name of a header`},
		"no parameter":  {config.Redact{Query: []string{""}}, "redact.query[0]: is empty; name what is to be redacted"},
		"brackets":      {config.Redact{Fields: []string{"a", "b[*].c"}}, `redact.fields[1]: "b[*].c": write items.price for the price of every item; arrays need no mark`},
		"an empty part": {config.Redact{Fields: []string{"a..b"}}, `redact.fields[0]: "a..b": a part of the path is empty; name what is to be redacted`},
		"a long name":   {config.Redact{Fields: []string{strings.Repeat("x", 64)}}, "redact.fields[0]: is longer than 63 bytes"},
		"nothing kept":  {config.Redact{Keep: []string{"-"}}, "redact.keep[0]: is empty; name what is to be redacted"},
		"a method":      {config.Redact{Protobuf: []config.RedactProtobuf{{Method: "Pay", Fields: []string{"1"}}}}, `redact.protobuf[0].method: "Pay" is not package.Service/Method, package.Service/* or *`},
		"no fields":     {config.Redact{Protobuf: []config.RedactProtobuf{{Method: "*"}}}, "redact.protobuf[0].fields: is empty; name at least one, as 3 or 4.1"},
		"a name":        {config.Redact{Protobuf: []config.RedactProtobuf{{Method: "*", Fields: []string{"1", "2.x"}}}}, `redact.protobuf[0].fields[1]: "2.x" is no path of field numbers, as 3 or 4.1`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(tt.c); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestWithoutAKeyTokensAreNotTheSame(t *testing.T) {
	t.Parallel()
	var got [2]string
	for i := range got {
		r, err := New(config.Redact{})
		if err != nil {
			t.Fatal(err)
		}
		x := &traffic.Exchange{Query: "token=x"}
		r.Exchange(x)
		got[i] = x.Query
	}
	if got[0] == got[1] { // by chance with a probability of 2^-48
		t.Errorf("%q", got)
	}
}
