//go:build !race

package redact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// orders is a document of JSON of about n bytes.
func orders(n int) string {
	var b strings.Builder
	b.WriteString(`{"orders":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"sku":"A-%05d","title":"A thing that somebody wants","price":{"amount":12.50,"currency":"EUR"},"tags":["a","b"],"shipped":true}`, i, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

// plain is an exchange in which nothing is secret.
func plain(declared, body string) *traffic.Exchange {
	answer := func() *traffic.Message {
		return message("HTTP/1.1 200 OK\r\nDate: Fri, 01 May 2026 13:04:05 GMT\r\nContent-Type: "+declared+"\r\nCache-Control: max-age=60\r\nVary: Accept\r\n", body)
	}
	return &traffic.Exchange{
		Path: "/api/orders", Query: "page=2&size=50", UserAgent: "curl/8.5", Error: "",
		Request: message("GET /api/orders?page=2&size=50 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\nUser-Agent: curl/8.5\r\n", ""),
		Primary: traffic.Outcome{Answer: answer()}, Copies: []traffic.Outcome{{Answer: answer()}},
	}
}

func TestNothingSecretCostsNoAllocation(t *testing.T) {
	for name, c := range map[string]config.Redact{"built in": {}, "paths": {Fields: []string{"user.name", "id2"}}} {
		r := redactor(t, c)
		for declared, body := range map[string]string{
			"application/json": orders(10_000), "application/x-ndjson": "{\"a\":1}\n{\"a\":2}\n", "application/x-www-form-urlencoded": "a=1&b=2", "text/plain": "a note: b = c",
			"text/event-stream": "data: {\"a\":1}\n\n", "application/xml": "<a b='c'>d</a>", "image/png": "\x89PNG",
		} {
			x := plain(declared, body)
			if n := testing.AllocsPerRun(100, func() { r.Exchange(x) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, declared, n)
			}
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, bench := range []struct {
		name string
		c    config.Redact
		size int
	}{{"1KB", config.Redact{}, 1000}, {"10KB", config.Redact{}, 10_000}, {"1MB", config.Redact{}, 1_000_000}, {"10KB with paths", config.Redact{Fields: []string{"user.name"}}, 10_000}} {
		b.Run(bench.name, func(b *testing.B) {
			r := redactor(b, bench.c)
			x := plain("application/json", orders(bench.size))
			b.SetBytes(2 * x.Primary.Answer.Length)
			b.ReportAllocs()
			for b.Loop() {
				r.Exchange(x)
			}
		})
	}
	b.Run("10KB with secrets", func(b *testing.B) {
		r := redactor(b, config.Redact{})
		body := []byte(strings.ReplaceAll(orders(10_000), `"tags":["a","b"]`, `"token":"abcdefgh"`))
		head := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			r.Exchange(&traffic.Exchange{Request: &traffic.Message{Head: head, Body: body, Length: int64(len(body)), Whole: true}})
		}
	})
}

func BenchmarkPlainBodies(b *testing.B) {
	for kind, body := range map[content.Kind]string{
		content.Form: strings.Repeat("name=a+value&", 800), content.HTML: strings.Repeat(`<p class="a">some text <a href="/b?c=d">link</a></p>`, 200),
		content.Text: strings.Repeat("a line of text, as it comes\n", 400),
	} {
		b.Run(kind.String(), func(b *testing.B) {
			w := newWorker(redactor(b, config.Redact{}))
			data := []byte(body)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				w.plain(kind, data)
			}
		})
	}
}

// Bodies that are made to be slow to read are read in time that grows with their
// length: this test would not end if it grew with the square.
func TestBodiesThatAreMadeToBeSlow(t *testing.T) {
	t.Parallel()
	r := redactor(t, config.Redact{Fields: []string{"a.b"}})
	for _, part := range []string{
		"=a", "a=", "=[", "&a=[\"", "=\"", "token=", `"`, `\"`, `\\`, `"a":`, `"token":`, `{"a":"{\"`, "[", "{", `"","`, "://", "://a:", "eyJ", ".eyJ", "eyJaaaaa.", "eyJaaaaaaaa.eyJ", "b", "basic ", "Bearer+",
		"<", "<a", "<a=", "<a b='", "<![CDATA[", "<token>", "</token>", "<!--", "\n--b", "\n--b\n\n", "%7B%22", "data:", "\n\n", " ", "\n",
		"%3D", "%25", "a%3D&", "%3D=", "eyJ=", "W3si", " eyJhIjoi", "&#34;", "&quot;\"", "token: '", "token:'\n", "'", `a='\\`, "token = \\", `"\\"`, `"{\\"a\\":`, "--", "x\x00",
	} {
		for _, declared := range fuzzed {
			body := strings.Repeat(part, 1<<18/len(part))
			m := message("GET / HTTP/1.1\r\nContent-Type: "+declared+"\r\n", body)
			x := &traffic.Exchange{Request: m}
			if len(declared) == 0 {
				x.Path, x.Query, x.Error = body, body, body
			}
			r.Exchange(x)
			if m.Cut() {
				t.Errorf("%q as %q is cut", part, declared)
			}
		}
	}
}
