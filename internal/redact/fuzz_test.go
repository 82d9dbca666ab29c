package redact

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

var fuzzed = []string{
	"application/json", "application/x-ndjson", "text/event-stream", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
	"application/xml", "text/html", "application/x-protobuf", "application/grpc", "application/grpc+json", "text/plain", "",
}

// Whatever the bytes of a message: no panic; what was cut stays cut by as much and
// nothing else is; redacting twice is redacting once; and JSON stays JSON, in
// which nothing with a secret name is left.
func FuzzMessage(f *testing.F) {
	for i, body := range []string{
		`{"password":"a\u0062","b":[{"token":1}],"c":{"d":{"e":"x"}},"f":"{\"pin\":[true,null]}"}`, "{\"token\":\"x\"}\n{\"pan\":1", "data: {\"token\":\ndata: 1}\n\n",
		"password=x&a[token]=y&b=%7B%22pin%22%3A1%7D", "--b\r\nContent-Disposition: form-data; name=pin\r\n\r\n1\r\n--b--", "<a pin='1'><token>x</token></a>",
		`<input value=x name=token><a href="//u:p@h/?pin=1">`, "\x22\x03\x0a\x01x\x28\x05", "\x00\x00\x00\x00\x05\x22\x03\x0a\x01x", "\x00\x00\x00\x00\x0b{\"token\":1}",
		`{"a":" {\"pin\":\"x\"}","b":"{\"c\":\"{\\\"d\\\":\\\"token='x'\\\"}\"}"}`, `{token: "x", 'pin' => 'y\'z'}`, "a=%2Fb%3Ftoken%3Dx%2522&{\"pin\":1}", `<a b="{&quot;pin&quot;:&quot;x&quot;}">`,
		`{"a":"eyJwaW4iOiJ4eXoifQ=="}`, "Bearer abcdefgh12345678 eyJhbGciOiJI.eyJzdWIiOiIx.c", `it"s {"token":"x`,
	} {
		f.Add("Cookie: a=b\r\nX-A: https://u:p@h/?token=x;y\r\n", []byte(body), uint8(i), uint8(i%3))
	}
	r := redactor(f, config.Redact{Fields: []string{"c.d.e"}, Protobuf: []config.RedactProtobuf{{Method: "*", Fields: []string{"4.1", "5"}}}})
	f.Fuzz(func(t *testing.T, fields string, body []byte, kind, missing uint8) {
		declared := fuzzed[int(kind)%len(fuzzed)]
		kept := bytes.Clone(body)
		m := &traffic.Message{Head: []byte("POST /?pin=1 HTTP/1.1\r\nContent-Type: " + declared + "\r\n" + fields), Body: body,
			Length: int64(len(body)) + int64(missing), Whole: true, Trailer: []byte(fields)}
		encoded := content.Read(m, 1<<20).Encoded
		x := &traffic.Exchange{Path: fields, Query: fields, Error: fields, Request: m}
		r.Exchange(x)
		if !bytes.Equal(body, kept) {
			t.Fatal("the body was written to")
		}
		if beyond := m.Length - int64(len(m.Body)); !encoded && beyond != int64(missing) {
			t.Fatalf("%d bytes were missing, now %d", missing, beyond)
		}
		once := []string{string(m.Head), string(m.Body), string(m.Trailer), x.Path, x.Query, x.Error}
		r.Exchange(x)
		for i, again := range []string{string(m.Head), string(m.Body), string(m.Trailer), x.Path, x.Query, x.Error} {
			if again != once[i] {
				t.Fatalf("twice: %q\nonce:  %q\nof     %q %q", again, once[i], fields, kept)
			}
		}
		if declared == "application/json" && !encoded && json.Valid(kept) && bytes.Equal(content.Read(&traffic.Message{Head: m.Head, Body: kept, Whole: true}, 1<<20).Data, kept) {
			var doc any
			if err := json.Unmarshal(m.Body, &doc); err != nil {
				t.Fatalf("%v: %q\nof %q", err, m.Body, kept)
			}
			noSecret(t, r, doc, false)
		}
	})
}

// noSecret fails if a value is left that goes by a secret name.
func noSecret(t *testing.T, r *Redactor, v any, secret bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			noSecret(t, r, member, secret || r.fields.has([]byte(name)))
		}
	case []any:
		for _, element := range v {
			noSecret(t, r, element, secret)
		}
	case string:
		if secret && v != "" && !isOurs([]byte(v)) {
			t.Fatalf("%q is left", v)
		}
	case nil:
	default:
		if secret {
			t.Fatalf("%v is left", v)
		}
	}
}
