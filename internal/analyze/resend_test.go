package analyze

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// parse reads a configuration in which route r copies from a to b.
func parse(t testing.TB, rule, mirror string) *config.Config {
	t.Helper()
	text := `
listeners: [{name: web, address: "127.0.0.1:0"}]
routes:
  - name: r
    rules:
      - backends: [{name: a}]
        ` + rule + `
        mirrors:
          - {backend: b, ` + mirror + `}
backends:
  - {name: a, endpoints: ["127.0.0.1:9000"]}
  - {name: b, endpoints: ["127.0.0.1:9001"]}
`
	cfg, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestARequestIsSentAgainAsItsCopyWas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule, mirror, head string
		want                     string
	}{
		{
			"as it came", "", "", "GET /a%20b?q=%zz HTTP/1.1\nHost: shop\nAccept:  */* \nX-Empty:",
			"GET /a%20b?q=%zz to shop\nAccept: */*\nX-Empty: \nX-Forwarded-For: 192.0.2.7\nx-request-id: 00112233445566778899aabbccddeeff\nx-understudy-copy: b",
		},
		{
			"without what ends at the proxy", "", "marker: false",
			"GET http://shop/x?y HTTP/1.1\nHost: shop\nConnection: keep-alive, x-hop\nX-Hop: 1\nTE: gzip\nExpect: 100-continue\nX-Forwarded-For: 10.0.0.1",
			"GET /x?y to shop\nX-Forwarded-For: 10.0.0.1, 192.0.2.7\nx-request-id: 00112233445566778899aabbccddeeff",
		},
		{
			"as the rule and the mirror change it",
			`matches: [{path: {type: PathPrefix, value: /api}}]
        requestHeaders: {set: [{name: x-tier, value: gold}], remove: [x-gone]}
        rewrite: {hostname: inner, path: {replacePrefixMatch: /v2}}`,
			"host: suffix, headers: {set: [{name: x-env, value: trial}], add: [{name: x-tier, value: copy}], remove: [authorization]}",
			"GET /api/cart?n=1 HTTP/1.1\nHost: shop:80\nAuthorization: secret\nX-Gone: 1\nX-Tier: lead",
			"GET /v2/cart?n=1 to inner-shadow\nX-Forwarded-For: 192.0.2.7\nx-request-id: 00112233445566778899aabbccddeeff\nx-tier: gold\nx-understudy-copy: b\nx-env: trial\nx-tier: copy",
		},
		{
			"in a trace of its own", "", "host: backend", "GET / HTTP/1.1\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			"GET / to 127.0.0.1:9001\nTraceparent: 00-00112233445566778899aabbccddeeff-0011223344556677-00\nX-Forwarded-For: 192.0.2.7\nx-request-id: 00112233445566778899aabbccddeeff\nx-understudy-copy: b",
		},
		{
			"of a literal host", "", "host: {literal: 'v2.example.com'}", "HEAD / HTTP/1.1\nHost: shop",
			"HEAD / to v2.example.com\nX-Forwarded-For: 192.0.2.7\nx-request-id: 00112233445566778899aabbccddeeff\nx-understudy-copy: b",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, ok := find(parse(t, c.rule, c.mirror), label{"r", 0, "b"}, "b")
			if !ok {
				t.Fatal("there is no way")
			}
			m := &traffic.Message{Head: []byte(strings.ReplaceAll(c.head, "\n", "\r\n") + "\r\n")}
			r, ok := w.again(m, &traffic.Exchange{Client: netip.MustParseAddr("192.0.2.7")}, "127.0.0.1:9001", "00112233445566778899aabbccddeeff")
			if !ok {
				t.Fatal("it cannot be sent again")
			}
			got := r.method + " " + r.target + " to " + r.host
			for _, h := range r.fields {
				got += "\n" + h.Name + ": " + h.Value
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCurlOfAnExample(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, head, body, want string }{
		{
			"plain", "GET /a?b=1&c=%27 HTTP/1.1\nHost: 127.0.0.1:9001\nAccept: text/html", "",
			`curl -sS -i -H 'accept: text/html' -H 'x-understudy-copy: b' 'http://127.0.0.1:9001/a?b=1&c=%27'`,
		},
		{
			"with quotes, and another host", "POST /a HTTP/1.1\nHost: shop\nX-Name: it's", `{"a": "it's"}`,
			`curl -sS -i -X POST -H content-type: -H 'host: shop' -H 'x-name: it'\''s' -H 'x-understudy-copy: b' --data-raw '{"a": "it'\''s"}' http://127.0.0.1:9001/a`,
		},
		{
			"only of the head", "HEAD /a HTTP/1.1\nHost: 127.0.0.1:9001", "",
			`curl -sS -I -H 'x-understudy-copy: b' http://127.0.0.1:9001/a`,
		},
		{
			"with bytes and a type", "POST / HTTP/1.1\nHost: 127.0.0.1:9001\nContent-Type: a/b", "\xff%\x00\\'\r\n.",
			`printf '\377%%\000\\'\''\015\012.' | curl -sS -i -X POST -H 'content-type: a/b' -H 'x-understudy-copy: b' --data-binary @- http://127.0.0.1:9001/`,
		},
		{
			"with a body that begins like a file's name", "PUT /a HTTP/1.1\nHost: 127.0.0.1:9001\nContent-Type: text/plain", "@home",
			`curl -sS -i -X PUT -H 'content-type: text/plain' -H 'x-understudy-copy: b' --data-raw @home http://127.0.0.1:9001/a`,
		},
		{
			"with a body that is too long", "PUT /a HTTP/1.1\nHost: 127.0.0.1:9001\nContent-Type: text/plain", strings.Repeat("x", longestCurl+1),
			`curl -sS -i -X PUT -H 'content-type: text/plain' -H 'x-understudy-copy: b' --data-binary @body http://127.0.0.1:9001/a # put its body of 4097 bytes into the file body`,
		},
		{
			"with a body that was unpacked to be redacted", "PUT /a HTTP/1.1\nHost: 127.0.0.1:9001\nContent-Type: text/plain\nContent-Unpacked: gzip", "x",
			`curl -sS -i -X PUT -H 'content-type: text/plain' -H 'x-understudy-copy: b' --data-raw x http://127.0.0.1:9001/a # its body was compressed`,
		},
		{
			"a GET that has a body", "GET /a HTTP/1.1\nHost: 127.0.0.1:9001\nContent-Type: text/plain", "x",
			`curl -sS -i -X GET -H 'content-type: text/plain' -H 'x-understudy-copy: b' --data-raw x http://127.0.0.1:9001/a`,
		},
		{
			"what would be a pattern, and dots", "GET /a/../b?f[x]={1,2} HTTP/1.1\nHost: 127.0.0.1:9001", "",
			`curl -sS -i -g --path-as-is -H 'x-understudy-copy: b' 'http://127.0.0.1:9001/a/../b?f[x]={1,2}'`,
		},
		{
			"an empty header, and an encoding", "GET / HTTP/1.1\nHost: 127.0.0.1:9001\nX-Empty:\nAccept-Encoding: gzip", "",
			`curl -sS -i --compressed -H 'x-empty;' -H 'accept-encoding: gzip' -H 'x-understudy-copy: b' http://127.0.0.1:9001/`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, _ := find(parse(t, "", ""), label{"r", 0, "b"}, "b")
			m := &mirror{way: w}
			x := &traffic.Exchange{Request: &traffic.Message{Head: []byte(strings.ReplaceAll(c.head, "\n", "\r\n") + "\r\n"), Body: []byte(c.body), Length: int64(len(c.body)), Whole: true}}
			if diff := cmp.Diff(c.want, curl(m, x)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
