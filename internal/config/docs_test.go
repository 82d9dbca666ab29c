package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/test/certs"
)

// reference is the document that describes every field.
const reference = "../../docs/configuration.md"

// documented says which heading of the reference describes a value, and shows
// one in which every default is set.
func documented(t *testing.T) map[string]any {
	leaf := certs.New(t).Leaf(t, "a")
	c := parse(t, `
listeners: [{name: web, address: "127.0.0.1:8080"}, {name: edge, address: "127.0.0.1:8443", protocol: TLS, tls: {mode: Passthrough}, proxyProtocol: {sources: ["10.0.0.0/8"]}}, {name: safe, address: "127.0.0.1:8444", protocol: HTTPS, tls: {certificates: [{cert: `+leaf.Cert+`, key: `+leaf.Key+`}]}}]
routes:
  - name: shop
    rules:
      - matches: [{path: {value: /}, headers: [{name: x, value: a}]}, {grpc: {}}]
        requestHeaders: {set: [{name: x}]}
        rewrite: {hostname: a}
        backends: [{name: v1}]
        mirrors:
          - {backend: v1, key: {source: true}, compare: {rules: [{path: body, ignore: true}]}}
          - {backend: v1, name: third, fraction: {numerator: 1}}
      - redirect: {hostname: a, path: {replaceFullPath: /}}
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}, {name: v2, endpoints: ["127.0.0.1:9001"], tls: {}}]
redact: {protobuf: [{method: "*", fields: ["1"]}]}
record: {directory: recordings}
`)
	r := c.Routes[0].Rules[0]
	m, redirect := r.Mirrors[0], c.Routes[0].Rules[1].Redirect
	return map[string]any{
		"Configuration": *c, "Listener": c.Listeners[0], "Route": c.Routes[0], "Rule": r, "Match": r.Matches[0], "gRPC match": *r.Matches[1].GRPC,
		"Path match": *r.Matches[0].Path, "Value match": r.Matches[0].Headers[0], "Header changes": r.RequestHeaders,
		"Header": r.RequestHeaders.Set[0], "Rewrite": *r.Rewrite, "Path change": *redirect.Path, "Redirect": *redirect,
		"Timeouts": r.Timeouts, "Backend reference": r.Backends[0], "Mirror": m, "Fraction": *r.Mirrors[1].Fraction, "Key": *m.Key,
		"Body": m.Body, "Back-off": m.Backoff, "Limits": m.Limits, "Backend": c.Backends[0], "Health": c.Backends[0].Health,
		"Admin": c.Admin, "Access log": c.AccessLog, "Client": c.Client, "Trusted proxies": c.TrustedProxies, "Copies": c.Copies,
		"Compare": m.Compare, "Compare rule": m.Compare.Rules[0], "Judge": m.Compare.Judge, "Capture": c.Capture, "Redact": c.Redact,
		"Redacted protobuf": c.Redact.Protobuf[0], "Record": *c.Record,
		"Shutdown": c.Shutdown, "Listener TLS": *c.Listeners[2].TLS, "Certificate": c.Listeners[2].TLS.Certificates[0], "Backend TLS": *c.Backends[1].TLS, "PROXY protocol": *c.Listeners[1].ProxyProtocol,
	}
}

// row is a line of a table of fields: the field, its default, its meaning.
var row = regexp.MustCompile("^\\| `([a-zA-Z0-9]+)` \\| (?:`([^`]+)`)? ?\\| (.+) \\|$")

// tables reads the rows of fields by the heading they stand under.
func tables(t *testing.T) map[string][][]string {
	t.Helper()
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][][]string)
	heading := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "### "); ok {
			heading = text
			out[heading] = nil
		} else if m := row.FindStringSubmatch(line); m != nil && heading != "" {
			out[heading] = append(out[heading], m[1:])
		}
	}
	return out
}

func TestReferenceHasEveryFieldAndItsDefault(t *testing.T) {
	t.Parallel()
	rows := tables(t)
	sections := documented(t)
	for heading := range rows {
		if _, ok := sections[heading]; !ok {
			t.Errorf("the heading %q is about nothing that this test knows", heading)
		}
	}
	for heading, section := range sections {
		v := reflect.ValueOf(section)
		var fields []string
		for _, r := range rows[heading] {
			fields = append(fields, r[0])
		}
		want := slices.DeleteFunc(slices.Clone(fieldNames(v.Type())), func(name string) bool { return name == "" })
		if !slices.Equal(fields, want) {
			t.Errorf("under %q the fields are\n%q, want\n%q", heading, fields, want)
			continue
		}
		for _, r := range rows[heading] {
			checkDefault(t, heading, r[0], r[1], v.Field(slices.Index(fieldNames(v.Type()), r[0])))
		}
	}
}

// checkDefault compares a documented default with the value of a field that
// was left out. Those that the example above had to set have none.
func checkDefault(t *testing.T, heading, field, documented string, v reflect.Value) {
	t.Helper()
	set := []string{
		"name", "Mirror backend", "endpoints", "address", "value", "hostname", "source", "numerator", "path", "set",
		"sources", "certificates", "Certificate cert", "Certificate key", "tls", "replaceFullPath", "headers", "key", "fraction", "matches", "rules", "Compare rule ignore", "protobuf", "Redacted protobuf method", "Redacted protobuf fields", "record", "directory", "backends", "listeners", "routes", "mirrors", "redirect", "rewrite",
	}
	section := v.Kind() == reflect.Struct && v.Type() != hostPolicyType
	if slices.Contains(set, field) || slices.Contains(set, heading+" "+field) || section {
		if documented != "" {
			t.Errorf("%s %s: has no default, but %s is documented", heading, field, documented)
		}
		return
	}
	actual := ""
	if !unset(v) {
		actual = strings.Trim(string(appendValue(nil, v)), `"`)
	}
	if actual != documented {
		t.Errorf("%s %s: the default is %q, but %q is documented", heading, field, actual, documented)
	}
}
