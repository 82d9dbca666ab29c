package main

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-proxy/understudy/internal/judge"
)

// fault is one thing that is wrong with a shadow.
type fault struct {
	name     string
	endpoint string // where it is; METHOD /template
	metrics  []judge.Metric
	// attribute and value are the cause, if it depends on the request: what a
	// cluster's first predictor should say. For path segments only the value counts.
	attribute, value string

	when      func(r *http.Request) bool // nil = always
	spoil     func(v *version, r *http.Request, a *answer)
	spoilLate func(v *version, r *http.Request, a *answer) // after the noise has come in
	slow      func(d *rand.Rand, work time.Duration) time.Duration
	call      func(v *version, in *grpc_testing.SimpleRequest, out *grpc_testing.SimpleResponse, t metadata.MD) codes.Code
	seen      map[string][]byte // what a cache has kept
}

// hits says whether r meets the fault. The version's lock is held.
func (f *fault) hits(r *http.Request) bool {
	method, template, _ := strings.Cut(f.endpoint, " ")
	path := r.URL.Path
	if before, ok := strings.CutSuffix(template, "{id}"); ok {
		if !strings.HasPrefix(path, before) {
			return false
		}
	} else if path != template {
		return false
	}
	return r.Method == method && (f.when == nil || f.when(r))
}

var (
	mismatch = []judge.Metric{judge.Mismatch}
	broken   = []judge.Metric{judge.Errors, judge.Mismatch}
	slowness = []judge.Metric{judge.Latency, judge.Tail}
)

const (
	product  = "GET /shop/api/products/{id}"
	catalog  = "GET /shop/api/products"
	searched = "GET /shop/api/search"
	order    = "GET /shop/api/orders/{id}"
	unary    = "POST /grpc.testing.TestService/UnaryCall"
)

// field changes a member of the JSON in the body.
func field(name string, change func(any) any) func(*version, *http.Request, *answer) {
	return func(_ *version, _ *http.Request, a *answer) {
		var m map[string]any
		if json.Unmarshal(a.body, &m) != nil {
			return
		}
		if m[name] = change(m[name]); m[name] == gone {
			delete(m, name)
		}
		a.body, _ = json.Marshal(m)
	}
}

// gone is the value of a member that is left out.
var gone any = struct{ gone bool }{true}

// elements changes the JSON array in the body.
func elements(change func(v *version, list []any) []any) func(*version, *http.Request, *answer) {
	return func(v *version, _ *http.Request, a *answer) {
		var list []any
		if json.Unmarshal(a.body, &list) != nil || len(list) == 0 {
			return
		}
		a.body, _ = json.Marshal(change(v, list))
	}
}

func replaced(old, text string) func(*version, *http.Request, *answer) {
	return func(_ *version, _ *http.Request, a *answer) {
		a.body = bytes.ReplaceAll(a.body, []byte(old), []byte(text))
	}
}

func header(change func(h http.Header)) func(*version, *http.Request, *answer) {
	return func(_ *version, _ *http.Request, a *answer) { change(a.header) }
}

func is(status int, text string) func(*version, *http.Request, *answer) {
	return func(_ *version, _ *http.Request, a *answer) {
		a.status, a.body = status, []byte(text)
		a.header.Set("Content-Type", "application/json")
	}
}

// sometimes is spoil for a share of requests.
func sometimes(share float64, spoil func(*version, *http.Request, *answer)) func(*version, *http.Request, *answer) {
	return func(v *version, r *http.Request, a *answer) {
		if v.dice.Float64() < share {
			spoil(v, r, a)
		}
	}
}

func from(name, value string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get(name) == value }
}

func asked(name, value string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Query().Get(name) == value }
}

func ends(text string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, text) }
}

func longer(by float64) func(*rand.Rand, time.Duration) time.Duration {
	return func(_ *rand.Rand, work time.Duration) time.Duration { return time.Duration(by * float64(work)) }
}

func plus(n float64) func(any) any {
	return func(v any) any { f, _ := v.(float64); return f + n }
}

func to(value any) func(any) any { return func(any) any { return value } }

func text(v any) any { f, _ := v.(float64); return strconv.FormatFloat(f, 'f', -1, 64) }

func upper(v any) any { s, _ := v.(string); return strings.ToUpper(s) }

// stale answers with what was answered first, whatever was asked.
func stale(v *version, _ *http.Request, a *answer) {
	if v.fault.seen == nil {
		v.fault.seen = map[string][]byte{}
	}
	if kept, ok := v.fault.seen[""]; ok {
		a.body = kept
		return
	}
	v.fault.seen[""] = slices.Clone(a.body)
}

// meta changes the envelope, which comes with the noise.
func meta(name string, change func(v *version, old any) any) func(*version, *http.Request, *answer) {
	return func(v *version, _ *http.Request, a *answer) {
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(a.body))
		d.UseNumber()
		if d.Decode(&m) != nil {
			return
		}
		envelope, ok := m["meta"].(map[string]any)
		if !ok {
			return
		}
		if envelope[name] = change(v, envelope[name]); envelope[name] == gone {
			delete(envelope, name)
		}
		a.body = v.shuffled(m)
	}
}

// faults makes the corpus; each run gets fresh ones.
func faults() []*fault {
	return slices.Concat(valueFaults(), structureFaults(), messageFaults(), statusFaults(), timeFaults(), callFaults())
}

func valueFaults() []*fault {
	return []*fault{
		{name: "wrong price for one tenant", endpoint: product, metrics: mismatch, attribute: "header.x-tenant", value: "acme", when: from("X-Tenant", "acme"), spoil: field("price", plus(1))},
		{name: "wrong name in one locale", endpoint: searched, metrics: mismatch, attribute: "query.locale", value: "tr", when: asked("locale", "tr"),
			spoil: elements(func(_ *version, l []any) []any {
				for _, e := range l {
					m := e.(map[string]any)
					m["name"] = upper(m["name"])
				}
				return l
			})},
		{name: "wrong stock of one product", endpoint: product, metrics: mismatch, attribute: "path", value: "6", when: ends("/6"), spoil: field("stock", plus(-1))},
		{name: "price rounded", endpoint: product, metrics: mismatch, spoil: field("price", func(v any) any { f, _ := v.(float64); return math.Round(f/500) * 500 })},
		{name: "price in another unit, now and then", endpoint: product, metrics: mismatch, spoil: sometimes(0.02, field("price", func(v any) any { f, _ := v.(float64); return f / 100 }))},
		{name: "text escaped for HTML", endpoint: catalog, metrics: mismatch, spoil: replaced("'", "&#39;")},
		{name: "text in upper case for one client", endpoint: product, metrics: mismatch, attribute: "header.user-agent", value: "shop-ios/4.1", when: from("User-Agent", "shop-ios/4.1"), spoil: field("name", upper)},
		{name: "state of orders", endpoint: order, metrics: mismatch, spoil: field("state", to("received"))},
		{name: "stale cache", endpoint: product, metrics: mismatch, spoil: stale},
		{name: "flag turned off", endpoint: order, metrics: mismatch, spoilLate: meta("enabled", func(*version, any) any { return false })},
		{name: "unit renamed", endpoint: catalog, metrics: mismatch, spoilLate: meta("unit", func(*version, any) any { return "euros" })},
		{name: "large integer loses precision", endpoint: order, metrics: mismatch, spoilLate: meta("big", func(*version, any) any { return json.Number("9007199254740992") })},
		{name: "id differs every time", endpoint: order, metrics: mismatch, spoilLate: meta("ref", func(v *version, _ any) any { return "ref_" + v.hex(8) })},
		{name: "one id for all", endpoint: order, metrics: mismatch, spoilLate: meta("ref", func(*version, any) any { return "ref_0123456789abcdef" })},
	}
}

func structureFaults() []*fault {
	return []*fault{
		{name: "field missing", endpoint: product, metrics: mismatch, spoil: field("stock", to(gone))},
		{name: "field missing for one tenant", endpoint: product, metrics: mismatch, attribute: "header.x-tenant", value: "hooli", when: from("X-Tenant", "hooli"), spoil: field("stock", to(gone))},
		{name: "field added", endpoint: product, metrics: mismatch, spoil: field("margin", to(0.4))},
		{name: "number became text", endpoint: product, metrics: mismatch, spoil: field("price", text)},
		{name: "null for a name", endpoint: product, metrics: mismatch, spoil: field("name", to(nil))},
		{name: "time became a number", endpoint: order, metrics: mismatch, spoilLate: meta("generated_at", func(*version, any) any { return time.Now().Unix() })},
		{name: "request id empty", endpoint: order, metrics: mismatch, spoilLate: meta("request_id", func(*version, any) any { return "" })},
		{name: "token missing", endpoint: order, metrics: mismatch, spoilLate: meta("token", func(*version, any) any { return gone })},
		{name: "list reordered", endpoint: catalog, metrics: mismatch, spoil: elements(func(_ *version, l []any) []any { slices.Reverse(l); return l })},
		{name: "element twice", endpoint: catalog, metrics: mismatch, spoil: elements(func(_ *version, l []any) []any { return append(l, l[0]) })},
		{name: "last element missing", endpoint: catalog, metrics: mismatch, spoil: elements(func(_ *version, l []any) []any { return l[:len(l)-1] })},
		{name: "foreign element", endpoint: catalog, metrics: mismatch, spoil: elements(func(_ *version, l []any) []any {
			return slices.Insert(l, 2, any(map[string]any{"id": 9, "name": "Prompter", "price": 1, "stock": 0}))
		})},
		{name: "nothing found, now and then", endpoint: searched, metrics: mismatch, spoil: sometimes(0.05, elements(func(*version, []any) []any { return []any{} }))},
		{name: "feature missing from a set", endpoint: order, metrics: mismatch, spoilLate: meta("features", func(v *version, _ any) any { return v.mixed("alpha", "beta", "delta") })},
		{name: "line of a stream missing", endpoint: "GET /bin/lines", metrics: mismatch, spoil: replaced("{\"line\":1,", "\n")},
		{name: "form value missing", endpoint: "POST /bin/post", metrics: mismatch, spoil: replaced(`"colour"`, `"color"`)},
		{name: "XML attribute changed", endpoint: "GET /bin/xml", metrics: mismatch, spoil: replaced(`type="all"`, `type="none"`)},
		{name: "HTML text changed", endpoint: "GET /bin/html", metrics: mismatch, spoil: replaced("Moby-Dick", "Moby Dick")},
	}
}

func messageFaults() []*fault {
	return []*fault{
		{name: "body cut", endpoint: "GET /bin/json", metrics: mismatch, spoil: func(_ *version, _ *http.Request, a *answer) { a.body = a.body[:len(a.body)/2] }},
		{name: "one byte of many", endpoint: "GET /bin/bytes/{id}", metrics: mismatch, spoil: func(_ *version, _ *http.Request, a *answer) { a.body[300] ^= 1 }},
		{name: "wrong charset", endpoint: "GET /bin/encoding/utf8", metrics: mismatch, spoil: func(_ *version, _ *http.Request, a *answer) {
			latin := make([]byte, 0, len(a.body))
			for _, r := range string(a.body) {
				latin = append(latin, byte(r))
			}
			a.body = latin
		}},
		{name: "content type", endpoint: "GET /bin/json", metrics: mismatch, spoil: header(func(h http.Header) { h.Set("Content-Type", "text/plain") })},
		{name: "header lost", endpoint: catalog, metrics: mismatch, spoilLate: header(func(h http.Header) { h.Del("Cache-Control") })},
		{name: "header changed", endpoint: product, metrics: mismatch, spoilLate: header(func(h http.Header) { h.Set("Cache-Control", "no-store") })},
		{name: "header of one value", endpoint: "GET /bin/response-headers", metrics: mismatch, spoil: header(func(h http.Header) { h.Set("X-Scale", "3") })},
		{name: "cookie without HttpOnly", endpoint: order, metrics: mismatch, spoilLate: header(func(h http.Header) {
			h.Set("Set-Cookie", strings.Replace(h.Get("Set-Cookie"), "; HttpOnly", "", 1))
		})},
		{name: "redirected elsewhere", endpoint: "GET /bin/redirect-to", metrics: mismatch, spoil: header(func(h http.Header) { h.Set("Location", "/json") })},
		{name: "gzipped content", endpoint: "GET /bin/zipped", metrics: mismatch, spoil: func(_ *version, _ *http.Request, a *answer) {
			a.header.Del("Content-Encoding")
			a.body = []byte(`{"page":"0","rows":[]}`)
		}},
	}
}

func statusFaults() []*fault {
	return []*fault{
		{name: "errors, 0.5 %", endpoint: product, metrics: broken, spoil: sometimes(0.005, is(500, `{"error":"deadlock"}`))},
		{name: "errors for one client", endpoint: product, metrics: broken, attribute: "header.user-agent", value: "shop-android/4.0", when: from("User-Agent", "shop-android/4.0"), spoil: sometimes(0.3, is(503, `{"error":"busy"}`))},
		{name: "200 where it was 201", endpoint: "POST /shop/api/orders", metrics: mismatch, spoil: func(_ *version, _ *http.Request, a *answer) { a.status = 200 }},
		{name: "not found", endpoint: product, metrics: mismatch, attribute: "path", value: "7", when: ends("/7"), spoil: is(404, `{"error":"there is no product 7"}`)},
		{name: "hung up within the answer", endpoint: catalog, metrics: broken, spoilLate: sometimes(0.1, func(_ *version, _ *http.Request, a *answer) { a.abort = true })},
		{name: "no answer in time", endpoint: order, metrics: broken, slow: func(d *rand.Rand, _ time.Duration) time.Duration {
			if d.Float64() < 0.05 {
				return 2 * copyTimeout
			}
			return 0
		}},
	}
}

func timeFaults() []*fault {
	return []*fault{
		{name: "slower by 5 %", endpoint: product, metrics: slowness, slow: longer(0.05)},
		{name: "slower by 10 %", endpoint: product, metrics: slowness, slow: longer(0.10)},
		{name: "slower by 20 %", endpoint: product, metrics: slowness, slow: longer(0.20)},
		{name: "slow tail", endpoint: product, metrics: slowness, slow: func(d *rand.Rand, work time.Duration) time.Duration {
			if d.Float64() < 0.05 {
				return 4 * work
			}
			return 0
		}},
	}
}

func callFaults() []*fault {
	call := func(f func(v *version, in *grpc_testing.SimpleRequest, out *grpc_testing.SimpleResponse, t metadata.MD) codes.Code) func(*version, *grpc_testing.SimpleRequest, *grpc_testing.SimpleResponse, metadata.MD) codes.Code {
		return f
	}
	return []*fault{
		{name: "gRPC: status", endpoint: unary, metrics: broken, call: call(func(v *version, _ *grpc_testing.SimpleRequest, _ *grpc_testing.SimpleResponse, _ metadata.MD) codes.Code {
			if v.dice.Float64() < 0.05 {
				return codes.NotFound
			}
			return codes.OK
		})},
		{name: "gRPC: field missing", endpoint: unary, metrics: mismatch, call: call(func(_ *version, _ *grpc_testing.SimpleRequest, out *grpc_testing.SimpleResponse, _ metadata.MD) codes.Code {
			out.OauthScope = ""
			return codes.OK
		})},
		{name: "gRPC: value", endpoint: unary, metrics: mismatch, call: call(func(_ *version, _ *grpc_testing.SimpleRequest, out *grpc_testing.SimpleResponse, _ metadata.MD) codes.Code {
			out.Username += "x"
			return codes.OK
		})},
		{name: "gRPC: trailer", endpoint: unary, metrics: mismatch, call: call(func(_ *version, _ *grpc_testing.SimpleRequest, _ *grpc_testing.SimpleResponse, t metadata.MD) codes.Code {
			t.Set("x-cost", "0")
			return codes.OK
		})},
		{name: "gRPC: payload shorter", endpoint: unary, metrics: mismatch, call: call(func(_ *version, _ *grpc_testing.SimpleRequest, out *grpc_testing.SimpleResponse, _ metadata.MD) codes.Code {
			if n := len(out.Payload.Body); n > 0 {
				out.Payload.Body = out.Payload.Body[:n-1]
			}
			return codes.OK
		})},
	}
}
