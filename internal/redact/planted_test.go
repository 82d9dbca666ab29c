package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// garden plants secrets and remembers them.
type garden struct {
	draw    *rand.Rand
	secrets []string
}

// plant returns a new secret of letters, digits and what text must escape.
func (g *garden) plant() string {
	const chars = `abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789`
	b := make([]byte, 24)
	for i := range b {
		b[i] = chars[g.draw.IntN(len(chars))]
	}
	for range g.draw.IntN(3) {
		b[8+g.draw.IntN(16)] = `+/ ~!$*`[g.draw.IntN(7)]
	}
	g.secrets = append(g.secrets, string(b))
	return string(b)
}

// digits returns a secret number.
func (g *garden) digits() string {
	s := fmt.Sprint(1_000_000_000_000_000 + g.draw.Int64N(8_000_000_000_000_000))
	g.secrets = append(g.secrets, s)
	return s
}

func (g *garden) jwt() string {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"` + g.plant() + `"}`))
	signature := base64.RawURLEncoding.EncodeToString([]byte(g.plant()))
	g.secrets = append(g.secrets, claims, signature)
	return "eyJhbGciOiJIUzI1NiJ9." + claims + "." + signature
}

// json returns a document with secrets at some depth.
func (g *garden) json() string {
	inner, _ := json.Marshal(map[string]any{"token": g.plant(), "visible": "inner"})
	doc, _ := json.Marshal(map[string]any{
		"password": g.plant(), "visible": "outer", "list": []any{1, map[string]any{"clientSecret": g.plant(), "user": map[string]any{"email": g.plant()}}},
		"credentials": map[string]any{"a": []any{g.plant(), g.plant()}, "b": json.Number(g.digits())}, "pan": json.Number(g.digits()),
		"event": string(inner), "next": "https://me:" + url.QueryEscape(g.plant()) + "@h/?a=1&token=" + url.QueryEscape(g.plant()) + "&b=2", "note": "see " + g.jwt(), "deep": map[string]any{"card-number": g.plant()},
	})
	return strings.Replace(string(doc), "{", `{"bank":{"holder":{"name":"`+g.plant()+`"}},`, 1)
}

func (g *garden) form() string {
	return url.Values{
		"visible": {"form"}, "password": {g.plant()}, "user[access_token]": {g.plant()}, "bank.holder.name": {g.plant()},
		"payload": {`{"secret":"` + g.plant() + `"}`}, "email": {g.plant()}, "note": {"Bearer 1" + strings.Map(alphanumeric, g.plant())},
	}.Encode()
}

// alphanumeric drops what ends a bearer's token. The secret is found by what is
// left of it: see leaks.
func alphanumeric(r rune) rune {
	if strings.ContainsRune("+/ ~!$*", r) {
		return -1
	}
	return r
}

func (g *garden) multipart() string {
	part := func(head, body string) string {
		return "--bound\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + body + "\r\n"
	}
	return part(`name="password"`, g.plant()) + part("name=email; filename=a.txt\r\nContent-Type: text/plain", g.plant()) +
		part("name=doc\r\nContent-Type: application/json", g.json()) + part("name=form\r\nContent-Type: application/x-www-form-urlencoded", g.form()) +
		part("name=packed\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString([]byte(g.json()))) +
		"--bound--\r\n"
}

func (g *garden) xml() string {
	return `<?xml version="1.0"?><a><visible>xml</visible><Password>` + g.plant() + `</Password><x token="` + g.plant() + `"/><secret><![CDATA[` + g.plant() +
		`]]></secret><param name="email">` + g.plant() + `</param></a>`
}

func (g *garden) html() string {
	return `<!doctype html><visible><input type=hidden name="csrf_token" value="` + g.plant() + `"><meta content='` + g.plant() + `' name=csrf-token><a href="/x?token=` +
		url.QueryEscape(g.plant()) + `&b=1">x</a><script>var s = {"apiKey": "` + g.plant() + `"}</script>`
}

func (g *garden) events() string {
	return "event: visible\ndata: " + g.json() + "\n\nid: 2\ndata: {\"token\":\ndata: \"" + g.plant() + "\"}\n\n"
}

// grpc returns two messages with secrets at 2, 4.1 and in field 5 a number.
func (g *garden) grpc() string {
	var out []byte
	for range 2 {
		b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "visible")
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), g.plant())
		inner := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), g.plant())
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), inner)
		b = protowire.AppendString(protowire.AppendTag(b, 6, protowire.BytesType), g.jwt())
		out = content.AppendFrame(out, content.Frame{Data: b, Whole: true})
	}
	return string(out)
}

// fields are those of a head in which nothing may be seen.
func (g *garden) fields() string {
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + g.plant()))
	g.secrets = append(g.secrets, basic)
	return "Visible: head\r\nAuthorization: Bearer " + g.plant() + "\r\nProxy-Authorization: Basic " + basic + "\r\nCookie: a=" + strings.Map(alphanumeric, g.plant()) + "; b=" + g.plant() +
		"\r\nSet-Cookie: sid=" + g.plant() + "; Path=/\r\nX-Api-Key: " + g.plant() + "\r\nX-Tenant-Secret: " + g.plant() + "\r\nReferer: https://me:" + url.QueryEscape(g.plant()) + "@h/?token=" + url.QueryEscape(g.plant()) +
		"\r\nLocation: /x?voucher=" + url.QueryEscape(g.plant()) + "#access_token=" + url.QueryEscape(g.plant()) + "\r\nX-Forwarded-For: 10.0.0.1\r\nX-Odd: see " + g.jwt() + "\r\n"
}

// bodies are all kinds of bodies, by their content type.
func (g *garden) bodies() map[string]string {
	return map[string]string{
		"application/json": g.json(), "application/problem+json; charset=utf-8": g.json(), "text/plain": g.json(), "": g.json(),
		"application/x-ndjson": g.json() + "\n" + g.json() + "\n", "text/event-stream": g.events(), "application/x-www-form-urlencoded": g.form(),
		"multipart/form-data; boundary=bound": g.multipart(), "application/xml": g.xml(), "text/html": g.html(), "application/grpc+proto": g.grpc(),
		"text/javascript": "visible(" + g.json() + ");",
	}
}

// encode applies a content encoding.
func encode(t *testing.T, coding, body string) string {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch coding {
	case "gzip":
		return zipped(t, body)
	case "deflate":
		w := zlib.NewWriter(&b)
		_, err = w.Write([]byte(body))
		w.Close()
	case "br":
		w := brotli.NewWriter(&b)
		_, err = w.Write([]byte(body))
		w.Close()
	case "zstd":
		w, _ := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		_, err = w.Write([]byte(body))
		w.Close()
	default:
		return body
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// blobs are all strings and bytes of an exchange.
func blobs(v reflect.Value) []string {
	var found []string
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Pointer:
		if !v.IsNil() {
			return blobs(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return []string{string(v.Bytes())}
		}
		for i := range v.Len() {
			found = append(found, blobs(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				found = append(found, blobs(v.Field(i))...)
			}
		}
	}
	return found
}

// messages are all messages of an exchange.
func messages(x *traffic.Exchange) []*traffic.Message {
	all := []*traffic.Message{x.Request, x.Primary.Answer}
	for _, c := range x.Copies {
		all = append(all, c.Answer)
	}
	return slices.DeleteFunc(all, func(m *traffic.Message) bool { return m == nil })
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}={0,2}`)

// views are what an attacker would read in an exchange: everything as it is and
// decoded, again and again.
func views(x *traffic.Exchange) []string {
	all := blobs(reflect.ValueOf(x))
	for _, m := range messages(x) {
		all = append(all, string(content.Read(m, 1<<24).Data))
	}
	seen := map[string]bool{}
	for i := 0; i < len(all) && i < 10_000; i++ {
		v := all[i]
		more := []string{string(unpercent(nil, []byte(v))), string(unescape(nil, []byte(v)))}
		if unescaped, err := url.PathUnescape(v); err == nil {
			more = append(more, unescaped)
		}
		for _, run := range base64Run.FindAllString(v, -1) {
			run = strings.TrimRight(run, "=")
			for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				if b, err := e.DecodeString(run); err == nil {
					more = append(more, string(b))
				}
			}
		}
		for _, m := range more {
			if !seen[m] && m != v {
				seen[m] = true
				all = append(all, m)
			}
		}
	}
	return all
}

// leaks are the secrets that can be seen, or their first eight characters.
func leaks(x *traffic.Exchange, secrets []string) map[string]string {
	found := map[string]string{}
	for _, v := range views(x) {
		for _, s := range secrets {
			if i := strings.Index(v, s[:8]); i >= 0 {
				found[s] = v[max(0, i-60):min(len(v), i+40)]
			}
		}
	}
	return found
}

// planted makes an exchange with secrets in every place.
func (g *garden) planted(t *testing.T, declared, body, coding string) *traffic.Exchange {
	t.Helper()
	query := "visible=1&password=" + url.QueryEscape(g.plant()) + "&voucher=" + url.QueryEscape(g.plant()) + "&user%5Btoken%5D=" + url.QueryEscape(g.plant())
	head := func(start string) []byte {
		return []byte(start + "\r\n" + g.fields() + "Content-Type: " + declared + "\r\nContent-Encoding: " + coding + "\r\n")
	}
	message := func(start string) *traffic.Message {
		b := encode(t, coding, body)
		return &traffic.Message{Head: head(start), Body: []byte(b), Length: int64(len(b)), Whole: true, Trailer: []byte("X-Api-Key: " + g.plant() + "\r\nvisible: trailer\r\n")}
	}
	outcome := func() traffic.Outcome {
		return traffic.Outcome{Answer: message("HTTP/1.1 200 OK"), Error: "GET https://u:" + url.QueryEscape(g.plant()) + "@h/?sig=" + url.QueryEscape(g.plant()) + ": refused",
			GRPC: traffic.GRPCCall{Message: "Bearer 1" + strings.Map(alphanumeric, g.plant())}}
	}
	path := "/a/" + g.jwt() + ";jsessionid=" + strings.Map(alphanumeric, g.plant())
	return &traffic.Exchange{
		Path: path, Query: query, UserAgent: "visible token=" + strings.Map(alphanumeric, g.plant()), Error: "pwd=" + strings.Map(alphanumeric, g.plant()),
		GRPC: traffic.GRPCCall{Message: "api_key=" + strings.Map(alphanumeric, g.plant())}, Request: message("POST " + path + "?" + query + " HTTP/1.1"),
		Primary: outcome(), Copies: []traffic.Outcome{outcome(), {Fate: traffic.Dropped}, outcome()},
	}
}

var strict = config.Redact{
	Headers: []string{"x-tenant-secret"}, Query: []string{"voucher"}, Fields: []string{"email", "bank.holder.name"},
	Protobuf: []config.RedactProtobuf{{Method: "*", Fields: []string{"2", "4.1"}}}, Key: testKey,
}

// Whatever secret is planted wherever, in whatever encoding: afterwards nobody
// finds it, nor its first eight characters, in any byte of the exchange. Before,
// every one of them is found. The seed is fixed: what passes once passes always.
func TestPlantedSecretsAreGone(t *testing.T) {
	t.Parallel()
	r := redactor(t, strict)
	kinds := slices.Sorted(maps.Keys((&garden{draw: rand.New(rand.NewPCG(1, 1))}).bodies()))
	for i, declared := range kinds {
		for j, coding := range []string{"identity", "gzip", "deflate", "br", "zstd"} {
			t.Run(declared+", "+coding, func(t *testing.T) {
				t.Parallel()
				g := &garden{draw: rand.New(rand.NewPCG(uint64(i), uint64(j)))}
				body := g.bodies()[declared]
				inBody := leaks(&traffic.Exchange{Query: body}, g.secrets) // and not those of other kinds of bodies
				g.secrets = slices.DeleteFunc(g.secrets, func(s string) bool { return inBody[s] == "" })
				x := g.planted(t, declared, body, coding)
				if n := len(leaks(x, g.secrets)); n != len(g.secrets) || n < 30 {
					t.Fatalf("the search finds %d of %d planted secrets", n, len(g.secrets))
				}
				r.Exchange(x)
				for secret, where := range leaks(x, g.secrets) {
					t.Errorf("%q is still there: %q", secret, where)
				}
				for _, m := range messages(x) {
					if all := string(m.Head) + string(content.Read(m, 1<<24).Data) + string(m.Trailer); strings.Count(strings.ToLower(all), "visible") < 3 || m.Cut() {
						t.Errorf("what is no secret is gone as well: %q", all)
					}
				}
				if a, b := x.Primary.Answer.Body, x.Copies[0].Answer.Body; !bytes.Equal(a, b) {
					t.Errorf("the same body on both sides, redacted:\n%q\n%q", a, b)
				}
			})
		}
	}
}

// Wherever a body is cut, nothing is left of a secret that it ends within, but
// that may be too short to be found.
func TestSecretsInCutBodiesAreGone(t *testing.T) {
	t.Parallel()
	r := redactor(t, strict)
	for i, declared := range slices.Sorted(maps.Keys((&garden{draw: rand.New(rand.NewPCG(1, 1))}).bodies())) {
		t.Run(declared, func(t *testing.T) {
			t.Parallel()
			g := &garden{draw: rand.New(rand.NewPCG(uint64(i), 99))}
			body := g.bodies()[declared]
			for cut := 1; cut < len(body); cut += 1 + len(body)/150 {
				m := message("HTTP/1.1 200 OK\r\nContent-Type: "+declared+"\r\n", body[:cut])
				m.Length = int64(len(body))
				x := &traffic.Exchange{Request: m}
				r.Exchange(x)
				if found := leaks(x, g.secrets); len(found) > 0 {
					t.Fatalf("cut at %d: %v\nin %q", cut, found, m.Body)
				}
				if !m.Cut() {
					t.Fatalf("cut at %d: is whole now", cut)
				}
			}
		})
	}
}
