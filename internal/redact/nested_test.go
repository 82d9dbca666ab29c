package redact

import (
	"encoding/base64"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// What is secret is found whatever the head says that a body is, and in whatever
// it is wrapped.
func TestBodiesThatAreSomethingElse(t *testing.T) {
	t.Parallel()
	const form, json, events = "application/x-www-form-urlencoded", "application/json", "text/event-stream"
	tests := map[string]struct{ declared, body, want string }{
		"json as a form":                {form, `{"password":"x=y","a":"b&c"}`, `{"password":"<s>","a":"b&c"}`},
		"a list as a form":              {form, ` [{"pin":12}]`, ` [{"pin":"<n>"}]`},
		"xml as a form":                 {form, `<a><password>x</password></a>`, `<a><password><s></password></a>`},
		"a form as text":                {"text/plain", `password=x,y;z&a=b`, `password=<s>&a=b`},
		"a url in a form":               {form, `next=/a?token=x,y&b=c`, `next=/a?token=<s>&b=c`},
		"pairs parted by semicolons":    {form, `a=b;password=x&c=d`, `a=b;password=<s>&c=d`},
		"a form as json":                {json, `password=x&a=b`, `password=<s>&a=b`},
		"text as json":                  {json, `[info] token=x said "y"`, `[info] token=<s> said "y"`},
		"html as json":                  {json, `<p><password>x</password>`, `<p><password><s></password>`},
		"json behind a guard":           {json, ")]}',\n{\"password\":\"x\"}", ")]}',\n{\"password\":\"<s>\"}"},
		"names without quotes":          {json, `{password: "x", pin: 'y'}`, `{password: "<s>", pin: '<s>'}`},
		"text between lines of json":    {"application/x-ndjson", "{\"pin\":\"x\"}\ntoken=x said \"y\"\n", "{\"pin\":\"<s>\"}\ntoken=<s> said \"y\"\n"},
		"text with quotes in events":    {events, "data: token=x said \"y\"\n\n", "data: token=<s> said \"y\"\n\n"},
		"an event without data":         {events, "password=x\n\ndata: {\"pin\":\"x\"}\n\n", "password=<s>\n\ndata: {\"pin\":\"<s>\"}\n\n"},
		"json in a log":                 {json, `{"m":"got {\"password\":\"x\"} from u"}`, `{"m":"got {\"password\":\"<s>\"} from u"}`},
		"json behind a blank":           {json, `{"m":" {\"password\":\"x\"}"}`, `{"m":" {\"password\":\"<s>\"}"}`},
		"json as a string":              {json, `"{\"password\":\"x\"}"`, `"{\"password\":\"<s>\"}"`},
		"json as a string of a string":  {json, `{"m":"\"{\\\"password\\\":\\\"x\\\"}\""}`, `{"m":"\"{\\\"password\\\":\\\"<s>\\\"}\""}`},
		"json with an escaped bracket":  {json, `{"m":"\u007b\"password\":\"x\"}"}`, `{"m":"{\"password\":\"<s>\"}"}`},
		"json too deep to be read":      {json, `{"a":"{\"b\":\"{\\\"c\\\":\\\"{\\\\\\\"d\\\\\\\":\\\\\\\"{\\\\\\\\\\\\\\\"pin\\\\\\\\\\\\\\\":1}\\\\\\\"}\\\"}\"}"}`, `{"a":"{\"b\":\"{\\\"c\\\":\\\"{\\\\\\\"d\\\\\\\":\\\\\\\"<s>\\\\\\\"}\\\"}\"}"}`},
		"a url with escaped slashes":    {json, `{"u":"https:\/\/u:p@h\/"}`, `{"u":"https://u:<s>@h/"}`},
		"an escaped equals sign":        {json, `{"u":"\/?token\u003dx\u0026b"}`, `{"u":"/?token=<s>&b"}`},
		"a credential with slashes":     {json, `{"a":"Bearer abc\/defghijk12345678"}`, `{"a":"Bearer <s>"}`},
		"graphql":                       {"application/graphql", `mutation { login(user: "u", password: "x\"y") { id } }`, `mutation { login(user: "u", password: "<s>") { id } }`},
		"graphql in json":               {json, `{"query":"{ login(password: \"x\", a: \"b\") { id } }"}`, `{"query":"{ login(password: \"<s>\", a: \"b\") { id } }"}`},
		"python":                        {"text/plain", `got {'user': 'u', 'password': 'x'}`, `got {'user': 'u', 'password': '<s>'}`},
		"python in json":                {json, `{"m":"{'password': 'x'}"}`, `{"m":"{'password': '<s>'}"}`},
		"ruby":                          {"text/plain", `{"token"=>"x", :pin => 'y'}`, `{"token"=>"<s>", :pin => '<s>'}`},
		"yaml":                          {"application/yaml", "user: u\n- password: x y\n  pin : 12\ntoken: \"z\"\n", "user: u\n- password: <s>\n  pin : <s>\ntoken: \"<s>\"\n"},
		"settings":                      {"text/plain", "user = u\npassword = x;y\r\n", "user = u\npassword = <s>\r\n"},
		"a head that is sent back":      {"message/http", "TRACE / HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nX-Amz-Security-Token: x\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: h\r\nCookie: <s>\r\nX-Amz-Security-Token: <s>\r\n\r\n"},
		"names as text":                 {"application/xml", `<a><name>token</name> <value><string>x</string></value><name>b</name><value>y</value></a>`, `<a><name>token</name> <value><string><s></string></value><name>b</name><value>y</value></a>`},
		"javascript":                    {"text/javascript", `var password = "x"; o = {token: 'y'}`, `var password = "<s>"; o = {token: '<s>'}`},
		"a literal that does not end":   {"text/plain", "token: 'x\nnext line", "token: '<s>\nnext line"},
		"escaped quotes":                {"text/plain", `token="x\"y" b="c"`, `token="<s>" b="c"`},
		"quoted pairs":                  {"text/javascript", `f("say \"token=x\" y")`, `f("say \"token=<s>\" y")`},
		"a url in a url":                {form, `next=https%3A%2F%2Fu%3Ap%40h%2F%3Ftoken%3Dx%26a%3D1`, `next=https%3A%2F%2Fu%3A<s>%40h%2F%3Ftoken%3D<s>%26a%3D1`},
		"a url in a url in a url":       {"text/plain", `/a?b=%2Fc%3Fd%3D%252Fe%253Ftoken%253Dx`, `/a?b=%2Fc%3Fd%3D%252Fe%253Ftoken%253D<s>`},
		"json in a url in text":         {"text/plain", `to /a?b=x%7B%22pin%22%3A%22y%22%7D`, `to /a?b=x%7B%22pin%22%3A%22<s>%22%7D`},
		"an attribute with a namespace": {"application/xml", `<a x:password="x" b="c"/>`, `<a x:password="<s>" b="c"/>`},
		"json in an attribute":          {"text/html", `<html><a b="{&quot;password&quot;:&quot;x&quot;,&#34;c&#34;:1}">&quot;d&quot;`, `<html><a b="{&#34;password&#34;:&#34;<s>&#34;,&#34;c&#34;:1}">&quot;d&quot;`},
		"attributes of html":            {"text/html", `<html><input type='Password' name=p value="x"><a data-token="y" data-b="z">`, `<html><input type='Password' name=p value="<s>"><a data-token="<s>" data-b="z">`},
		"multipart without a boundary":  {"multipart/form-data", "--b\r\nContent-Disposition: form-data; name=pin\r\n\r\nx\r\n--b--\r\n", "--b\r\nContent-Disposition: form-data; name=pin\r\n\r\n<s>\r\n--b--\r\n"},
		"another boundary":              {"multipart/form-data; boundary=c", "--b\r\nContent-Disposition: form-data; name=pin\r\n\r\ntoken=x\r\n--b--\r\n", "--b\r\nContent-Disposition: form-data; name=pin\r\n\r\ntoken=<s>\r\n--b--\r\n"},
		"an escaped boundary":           {`multipart/form-data; boundary="b\+"`, "--b+\r\nContent-Disposition: form-data; name=pin\r\n\r\nx\r\n--b+--\r\n", "--b+\r\nContent-Disposition: form-data; name=pin\r\n\r\n<s>\r\n--b+--\r\n"},
		"around the parts":              {"multipart/mixed; boundary=b", "token=x\r\n--b\r\n\r\ny\r\n--b--\r\npin=z", "token=<s>\r\n--b\r\n\r\ny\r\n--b--\r\npin=<s>"},
		"an encoding above one we lack": {"application/json\r\nContent-Encoding: compress, gzip", zipped(t, "\x1f\x9d\x90{\"token\":\"abc\"}"), "<w>"},
	}
	r := redactor(t, config.Redact{})
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
		})
	}
}

// JSON in base64 that holds a secret is replaced whole, in either alphabet, padded
// or not.
func TestJSONInBase64(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{})
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
		for _, doc := range []string{`{"message":{"password":"hunter2??>>"}}`, `[{"password":"hunter2??>>","a":"b"}]`} {
			m := message("POST / HTTP/1.1\r\nContent-Type: application/json\r\n", `{"data":"`+encoding.EncodeToString([]byte(doc))+`","b":1}`)
			r.Exchange(&traffic.Exchange{Request: m})
			if got := short(string(m.Body)); got != `{"data":"<s>","b":1}` {
				t.Errorf("%s: %s", doc, got)
			}
		}
	}
	for _, other := range []string{`{"data":"eyJhIjoiYiIsImMiOiJkIn0="}`, `{"data":"eyJhIjoiYiIsImMiO"}`, `{"data":"eyJ"}`} { // nothing is secret in it
		m := message("POST / HTTP/1.1\r\nContent-Type: application/json\r\n", other)
		if r.Exchange(&traffic.Exchange{Request: m}); string(m.Body) != other {
			t.Errorf("%s became %s", other, m.Body)
		}
	}
}

// UTF-16 is read as such if nothing says so, or the order of its bytes is not the
// one that the head should mean.
func TestUTF16WithoutAMark(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{})
	for _, charset := range []string{"", "; charset=utf-8", "; charset=utf-16"} {
		for order := range 2 {
			var body []byte
			for _, c := range utf16.Encode([]rune(`{"password":"hunter2","a":"ü"}`)) {
				pair := [2]byte{byte(c >> 8), byte(c)}
				body = append(body, pair[order], pair[1-order])
			}
			m := message("POST / HTTP/1.1\r\nContent-Type: application/json"+charset+"\r\n", string(body))
			r.Exchange(&traffic.Exchange{Request: m})
			if got := short(string(content.Read(m, 1000).Data)); got != `{"password":"<s>","a":"ü"}` {
				t.Errorf("%q, order %d: %q", charset, order, got)
			}
		}
	}
}

// Messages of gRPC-Web that travel as text are redacted as those that do not.
func TestMessagesOfGRPCWebAsText(t *testing.T) {
	t.Parallel()
	data := content.AppendFrame(nil, content.Frame{Data: []byte("\x0a\x06hunter\x10\x01"), Whole: true})
	trailer := content.AppendFrame(nil, content.Frame{Data: []byte("grpc-status: 0\r\nset-cookie: a=b\r\n"), Trailer: true, Whole: true})
	body := base64.StdEncoding.EncodeToString(data) + base64.StdEncoding.EncodeToString(trailer) // each is padded
	x := &traffic.Exchange{Path: "/a.B/C", Request: message("POST /a.B/C HTTP/1.1\r\nContent-Type: application/grpc-web-text+proto\r\n", body)}
	redactor(t, config.Redact{Protobuf: []config.RedactProtobuf{{Method: "a.B/C", Fields: []string{"1"}}}}).Exchange(x)
	plain, err := base64.StdEncoding.DecodeString(string(x.Request.Body))
	if err != nil {
		t.Fatalf("%v: %q", err, x.Request.Body)
	}
	var got []string
	for f := range content.Frames(plain) {
		got = append(got, short(string(f.Data)))
	}
	if diff := cmp.Diff([]string{"\x0a\x15<s>\x10\x01", "grpc-status: 0\r\nset-cookie: a=<s>\r\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nothing is left of a secret in whatever it is wrapped, wherever the body is cut.
func TestWrappedSecretsInCutBodiesAreGone(t *testing.T) {
	t.Parallel()
	const s = "Zq7Kp2Vx9Lm4Rt8W"
	r := redactor(t, config.Redact{})
	jwt := "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+s+`"}`)) + "." + s + s
	const form, json, events = "application/x-www-form-urlencoded", "application/json", "text/event-stream"
	for name, tt := range map[string][2]string{
		"json":     {json, `{"a":"b","password":"` + s + `","c":1}`},
		"esc":      {json, `{"a":"b","pass\u0077ord":"` + s + `","c":1}`},
		"instr":    {json, `{"a":"{\"password\":\"` + s + `\"}","c":1}`},
		"instr2":   {json, `{"a":"{\"x\":\"{\\\"password\\\":\\\"` + s + `\\\"}\"}","c":1}`},
		"log":      {json, `{"a":"got {\"password\":\"` + s + `\"}","c":1}`},
		"arr":      {json, `{"secrets":["` + s + `",{"a":"` + s + `"}],"c":1}`},
		"form":     {form, `a=b&password=` + s + `&c=d`},
		"formjson": {form, `a=b&p=%7B%22password%22%3A%22` + s + `%22%7D&c=d`},
		"nested":   {form, `a=b&next=%2Fa%3Fpassword%3D` + s + `%26x&c=d`},
		"jwt":      {json, `{"a":"` + jwt + `","c":1}`},
		"jwttext":  {"text/plain", `a ` + jwt + ` b`},
		"bearer":   {"text/plain", `a Bearer ` + s + s + ` b`},
		"bearerj":  {json, `{"a":"Bearer ` + s + s + ` b"}`},
		"url":      {"text/plain", `a https://u:` + s + `@h/x b`},
		"urlj":     {json, `{"a":"https://u:` + s + `@h/x b"}`},
		"urlphp":   {json, `{"a":"https:\/\/u:` + s + `@h/x b"}`},
		"xml":      {"application/xml", `<a><password>` + s + `</password><b token="` + s + `"/></a>`},
		"cdata":    {"application/xml", `<a><password><![CDATA[` + s + `]]></password></a>`},
		"html":     {"text/html", `<html><input name="password" value="` + s + `"><input value="` + s + `" name="password">`},
		"ent":      {"text/html", `<html><a b="{&quot;password&quot;:&quot;` + s + `&quot;}">`},
		"b64":      {json, `{"a":"` + base64.StdEncoding.EncodeToString([]byte(`{"x":1,"password":"`+s+`","b":"c"}`)) + `"}`},
		"mp":       {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + s + "\r\n--b--\r\n"},
		"mpb64":    {"multipart/form-data; boundary=b", "--b\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(`{"x":1,"password":"`+s+`","b":"c"}`)) + "\r\n--b--\r\n"},
		"graphql":  {json, `{"query":"{ login(password: \"` + s + `\", a: \"b\") { id } }"}`},
		"py":       {"text/plain", `{'password': '` + s + `'}`},
		"sse":      {events, "data: {\"password\":\ndata: \"" + s + "\"}\n\n"},
		"ssetext":  {events, "data: password=" + s + " x\n\n"},
		"lines":    {"application/x-ndjson", "{\"a\":1}\n{\"password\":\"" + s + "\"}\n"},
	} {
		for kept := 0; kept <= len(tt[1]); kept++ {
			m := message("POST / HTTP/1.1\r\nContent-Type: "+tt[0]+"\r\n", tt[1][:kept])
			m.Length = int64(len(tt[1]))
			x := &traffic.Exchange{Request: m}
			if kept == len(tt[1]) && len(leaks(x, []string{s})) != 1 {
				t.Errorf("%s: the search does not find it", name)
			}
			r.Exchange(x)
			for _, where := range leaks(x, []string{s}) {
				t.Errorf("%s cut at %d: %q", name, kept, where)
			}
		}
	}
}
