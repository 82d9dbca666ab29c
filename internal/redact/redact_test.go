package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

const testKey = "the key of these tests"

// redactor compiles c with a key that is always the same.
func redactor(t testing.TB, c config.Redact) *Redactor {
	t.Helper()
	if c.Key == "" {
		c.Key = testKey
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// message is a whole message.
func message(head, body string) *traffic.Message {
	return &traffic.Message{Head: []byte(head), Body: []byte(body), Length: int64(len(body)), Whole: true}
}

// short makes tokens readable: <s> of text, <n> of a number, <b> of a boolean,
// <w> of a body.
func short(s string) string {
	for {
		i := strings.Index(s, tokenPrefix)
		if i < 0 {
			return s
		}
		rest := s[i+len(tokenPrefix):]
		mark := "<s>"
		for k, m := range map[kind]string{number: "<n>", boolean: "<b>", whole: "<w>"} {
			if r, ok := strings.CutPrefix(rest, string(k)); ok {
				rest, mark = r, m
				break
			}
		}
		if len(rest) < tokenDigits {
			return s
		}
		s = s[:i] + mark + rest[tokenDigits:]
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	// The first six bytes of HMAC-SHA-256 of a byte for the kind and the value, as
	// Python's hmac has them.
	w := newWorker(redactor(t, config.Redact{}))
	for _, tt := range []struct {
		kind        kind
		value, want string
	}{
		{text, "hunter2", "redacted-3388ffc10d90"},
		{number, "42", "redacted-number-cd68041b68b2"},
		{text, "", ""},
		{text, "redacted-0123456789ab", "redacted-0123456789ab"},
		{text, "redacted-bool-0123456789ab", "redacted-bool-0123456789ab"},
	} {
		if got := string(w.token(nil, tt.kind, []byte(tt.value))); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.value, got, tt.want)
		}
	}
	for _, s := range []string{"redacted-", "redacted-0123456789a", "redacted-0123456789abc", "redacted-0123456789aG", "Redacted-0123456789ab"} {
		if isOurs([]byte(s)) {
			t.Errorf("%q passes for a token", s)
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	c := config.Redact{Fields: []string{"email", "bank.number", "user.id"}, Query: []string{"voucher"}, Keep: []string{"pin", "locale"}}
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
	tests := map[string]struct{ declared, body, want string }{
		"json":             {"application/json", `{"a":1,"password":"x","b":{"Access-Token" : "y"}}`, `{"a":1,"password":"<s>","b":{"Access-Token" : "<s>"}}`},
		"json: camel case": {"application/json", `{"accessToken":"y","accessTokens":"z"}`, `{"accessToken":"<s>","accessTokens":"z"}`},
		"json: types":      {"application/json", `{"pan":4111,"cvv":true,"ssn":null,"otp":"","iban":-1.5e3}`, `{"pan":"<n>","cvv":"<b>","ssn":null,"otp":"","iban":"<n>"}`},
		"json: all below":  {"application/json", `{"secrets":{"a":["x",1,{"b":"y"}],"c":null},"d":"z"}`, `{"secrets":{"a":["<s>","<n>",{"b":"<s>"}],"c":null},"d":"z"}`},
		"json: kept":       {"application/json", `{"pin":"1234","email":"a@b"}`, `{"pin":"1234","email":"<s>"}`},
		"json: a path": {"application/json", `{"bank":{"number":1,"name":"n"},"x":{"bank":{"number":1}},"user":[{"id":1},{"id":2,"no":3}],"id":4}`,
			`{"bank":{"number":"<n>","name":"n"},"x":{"bank":{"number":1}},"user":[{"id":"<n>"},{"id":"<n>","no":3}],"id":4}`},
		"json: an escaped name":    {"application/json", `{"pass\u0077ord":"x"}`, `{"pass\u0077ord":"<s>"}`},
		"json: escapes":            {"application/json", `{"password":"a\"b\\","c":"d"}`, `{"password":"<s>","c":"d"}`},
		"json: as a value":         {"application/json", `{"a":"password","b":"token"}`, `{"a":"password","b":"token"}`},
		"json: pretty":             {"application/json", "{\n  \"password\" :\n    \"x\"\n}", "{\n  \"password\" :\n    \"<s>\"\n}"},
		"json: cut in the value":   {"application/json", `{"a":1,"password":"hunt`, `{"a":1,"password":"<s>`},
		"json: cut in a number":    {"application/json", `{"pan":411`, `{"pan":"<n>"`},
		"json: cut below":          {"application/json", `{"secrets":[{"a":"b`, `{"secrets":[{"a":"<s>`},
		"json: cut after a name":   {"application/json", `{"password":`, `{"password":`},
		"json: quotes out of step": {"application/json", `{"a":"it"s","password":"x","b":1}`, `{"a":"it"s","password":"<s>","b":1}`},
		"json: in a string":        {"application/json", `{"body":"{\"password\":\"x\",\"b\":1}"}`, `{"body":"{\"password\":\"<s>\",\"b\":1}"}`},
		"json: in a string, twice": {"application/json", `{"b":"{\"c\":\"{\\\"token\\\":\\\"x\\\"}\"}"}`, `{"b":"{\"c\":\"{\\\"token\\\":\\\"<s>\\\"}\"}"}`},
		"json: in a string, cut":   {"application/json", `{"body":"{\"password\":\"hunt`, `{"body":"{\"password\":\"<s>`},
		"json: by its looks":       {"application/json", `{"a":"` + jwt + `","b":"Bearer abcdefgh12345678"}`, `{"a":"<s>","b":"Bearer <s>"}`},
		"json: a cut jwt":          {"application/json", `{"a":"` + jwt[:len(jwt)-14], `{"a":"<s>`},
		"json: a url":              {"application/json", `{"next":"https://u:p@h/?a=1\u0026token=x\u0026b=2","b":"?pin2=1"}`, `{"next":"https://u:<s>@h/?a=1&token=<s>&b=2","b":"?pin2=1"}`},
		"json: a form":             {"application/json", `{"body":"a=1&password=x","c":"say \"token=x\""}`, `{"body":"a=1&password=<s>","c":"say \"token=<s>\""}`},
		"json: a url in json":      {"application/json", `{"b":"{\"c\":\"/?sig=x\"}"}`, `{"b":"{\"c\":\"/?sig=<s>\"}"}`},
		"json: json in a url":      {"application/json", `{"b":"/?c=%7B%22sig%22%3A%22x%22%7D"}`, `{"b":"/?c=%7B%22sig%22%3A%22<s>%22%7D"}`},
		"events: text":             {"text/event-stream", "data: token=x to https://u:p@h/\n\ndata: {\"a\":\"https://u:p@h/\"}\n\n", "data: token=<s> to https://u:<s>@h/\n\ndata: {\"a\":\"https://u:<s>@h/\"}\n\n"},
		"json: words":              {"application/json", `{"a":"a bearer responsibilities","b":"eyJ.eyJ"}`, `{"a":"a bearer responsibilities","b":"eyJ.eyJ"}`},
		"lines":                    {"application/x-ndjson", "{\"password\":\"x\"}\n{\"a\":\"broken\n{\"bank\":{\"number\":2}}\n", "{\"password\":\"<s>\"}\n{\"a\":\"broken\n{\"bank\":{\"number\":\"<n>\"}}\n"},
		"events":                   {"text/event-stream", "event: a\ndata: {\"token\":\ndata: \"x\"}\n\ndata: {\"user\":{\"id\":7}}\n\n", "event: a\ndata: {\"token\":\ndata: \"<s>\"}\n\ndata: {\"user\":{\"id\":\"<n>\"}}\n\n"},
		"form":                     {"application/x-www-form-urlencoded", "a=1&password=x%21+y&b=2&token=", "a=1&password=<s>&b=2&token="},
		"form: names": {"application/x-www-form-urlencoded", "user%5Bpassword%5D=x&bank[number]=1&cards[0].cvv=2&bank[name]=n&password",
			"user%5Bpassword%5D=<s>&bank[number]=<s>&cards[0].cvv=<s>&bank[name]=n&password"},
		"form: json":                {"application/x-www-form-urlencoded", "payload=%7B%22token%22%3A%22x%22%2C%22a%22%3A1%7D", "payload=%7B%22token%22%3A%22<s>%22%2C%22a%22%3A1%7D"},
		"form: cut":                 {"application/x-www-form-urlencoded", "a=1&password=hu", "a=1&password=<s>"},
		"text":                      {"text/plain", "token=abc; a=b\nGET https://me:pw@host/?voucher=x,y&b=1 ok", "token=<s>; a=b\nGET https://me:<s>@host/?voucher=<s>&b=1 ok"},
		"text: json in it":          {"text/javascript", `cb({"password": "x"});`, `cb({"password": "<s>"});`},
		"xml":                       {"application/xml", `<a><b:password>x &amp; y</b:password><token c="1"><d>z</d></token><e>f</e></a>`, `<a><b:password><s></b:password><token c="1"><d><s></d></token><e>f</e></a>`},
		"xml: cdata and attributes": {"application/xml", `<a secret="x"><pwd><![CDATA[y]]></pwd><param name="token">z</param></a>`, `<a secret="<s>"><pwd><![CDATA[<s>]]></pwd><param name="token"><s></param></a>`},
		"xml: cut":                  {"application/xml", `<a><password>hunt`, `<a><password><s>`},
		"html":                      {"text/html", `<meta name="csrf-token" content="x"><input value="y" name='password'><a href="/r?token=z&amp;b=1">pin</a>`, `<meta name="csrf-token" content="<s>"><input value="<s>" name='password'><a href="/r?token=<s>&amp;b=1">pin</a>`},
		"octets":                    {"image/png", "\x89token=abc", "\x89token=abc"},
		"an encoding we lack":       {"text/plain\r\nContent-Encoding: compress", "\x1f\x9d\x90 token=abc", "<w>"},
	}
	r := redactor(t, c)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message("POST / HTTP/1.1\r\nContent-Type: "+tt.declared+"\r\n", tt.body)
			r.Exchange(&traffic.Exchange{Request: m})
			if diff := cmp.Diff(tt.want, short(string(m.Body))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again := string(m.Body)
			r.Exchange(&traffic.Exchange{Request: m})
			if diff := cmp.Diff(again, string(m.Body)); diff != "" {
				t.Errorf("redacted twice (-once +twice):\n%s", diff)
			}
			if m.Cut() {
				t.Error("now it is cut")
			}
		})
	}
}
