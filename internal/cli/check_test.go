package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const mirrorsFile = `
listeners:
  - {name: web, address: "127.0.0.1:8080"}
  - {name: ops, address: "127.0.0.1:8081"}
routes:
  - name: ops
    listeners: [ops]
    rules: [{redirect: {hostname: ops.example.com, port: 8443, scheme: https}}]
  - name: shop
    listeners: [web]
    rules:
      - matches: [{path: {value: /api}, sources: ["10.0.0.0/8"]}]
        rewrite: {path: {replacePrefixMatch: /v1}, hostname: inner.example.com}
        requestHeaders: {set: [{name: x-rule, value: "1"}]}
        backends: [{name: v1, weight: 3}, {name: v1b}]
        mirrors:
          - {name: all, backend: v2}
          - {name: none, backend: v2, percent: 0}
          - {name: third, backend: v2, fraction: {numerator: 1, denominator: 3}, writes: copy}
          - {name: keyed, backend: v2, percent: 50, writes: copy, key: {header: x-user}}
          - {name: posts, backend: v2, writes: copy, match: {methods: [POST]}, host: backend, headers: {remove: [authorization], set: [{name: x-env, value: trial}]}}
          - {name: small, backend: v2, writes: copy, body: {limit: 1KiB}, host: suffix, marker: false}
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v1b, endpoints: ["127.0.0.1:9001"]}
  - {name: v2, endpoints: ["127.0.0.1:9002"]}
`

// explain checks mirrorsFile with a request, and returns the report.
func explain(t *testing.T, wantCode int, args ...string) *requestReport {
	t.Helper()
	s, out, errOut := testStreams()
	args = append([]string{"check", "-o", "json", "-c", writeFile(t, mirrorsFile)}, args...)
	if code := Main(t.Context(), args, s); code != wantCode {
		t.Fatalf("exit code %d, want %d: %s%s", code, wantCode, out, errOut)
	}
	var report checkReport
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return report.Request
}

// decisions are the mirrors' "name: copied, why".
func decisions(r *requestReport) []string {
	var list []string
	for _, m := range r.Mirrors {
		list = append(list, m.Mirror+": "+m.Copied+", "+m.Why)
	}
	return list
}

func TestCheckExplainsWhetherAndWhyARequestIsCopied(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want []string
	}{
		"a request that reads": {
			[]string{"--request", "GET /api/x", "--from", "10.1.2.3", "--header", "x-user: 7"},
			[]string{
				"all: yes, all such requests are",
				"none: no, the share is 0",
				"third: by chance, 1 of 3 of requests are",
				"keyed: no, its header x-user falls at 79.8300 %, outside of 50 %",
				"posts: no, the mirror's own match does not hold: method GET is not POST",
				"small: yes, all such requests are",
			}},
		"a request that writes, with a body": {
			[]string{"--request", "POST /api/x", "--from", "10.1.2.3", "--header", "content-length: 1025"},
			[]string{
				"all: no, the method writes, and the mirror says writes: skip (writes: copy would copy it)",
				"none: no, the share is 0",
				"third: by chance, 1 of 3 of requests are",
				"keyed: by chance, 50 % of requests are; this one has no header x-user to decide it",
				"posts: yes, all such requests are",
				"small: no, the body is over 1KiB, and the mirror says overLimit: skip",
			}},
		"another user, a body that fits": {
			[]string{"--request", "POST /api/x", "--from", "10.1.2.3", "--header", "content-length: 1024", "--header", "x-user: bob"},
			[]string{
				"all: no, the method writes, and the mirror says writes: skip (writes: copy would copy it)",
				"none: no, the share is 0",
				"third: by chance, 1 of 3 of requests are",
				"keyed: yes, its header x-user falls at 33.1313 %, inside of 50 %",
				"posts: yes, all such requests are",
				"small: yes, all such requests are",
			}},
		"a copy that comes back": {
			[]string{"--request", "GET /api/x", "--from", "10.1.2.3", "--header", "x-understudy-copy: all"},
			[]string{
				"all: no, it is itself a copy: it carries x-understudy-copy",
				"none: no, the share is 0",
				"third: no, it is itself a copy: it carries x-understudy-copy",
				"keyed: no, it is itself a copy: it carries x-understudy-copy",
				"posts: no, it is itself a copy: it carries x-understudy-copy",
				"small: no, it is itself a copy: it carries x-understudy-copy",
			}},
		"an upgrade": {
			[]string{"--request", "GET /api/x", "--from", "10.1.2.3", "--header", "connection: upgrade", "--header", "upgrade: irc"},
			[]string{
				"all: no, an upgraded connection that is no WebSocket cannot be copied",
				"none: no, the share is 0",
				"third: no, an upgraded connection that is no WebSocket cannot be copied",
				"keyed: no, an upgraded connection that is no WebSocket cannot be copied",
				"posts: no, an upgraded connection that is no WebSocket cannot be copied",
				"small: no, an upgraded connection that is no WebSocket cannot be copied",
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, decisions(explain(t, 0, tt.args...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckShowsWhatPrimaryAndShadowGet(t *testing.T) {
	t.Parallel()
	r := explain(t, 0, "--request", "POST /api/x?y=1", "--from", "10.1.2.3", "--header", "Host: shop.example.com:8080", "--header", "Authorization: Basic x")
	const id = "x-request-id: 00000000-0000-4000-8000-000000000000"
	forwarded := "X-Forwarded-For: 10.1.2.3\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop.example.com:8080\n" + id
	primary := "POST /v1/x?y=1 HTTP/1.1\nHost: inner.example.com\nAuthorization: Basic x\n" + forwarded + "\nx-rule: 1"
	if diff := cmp.Diff(primary, r.Primary); diff != "" {
		t.Errorf("primary (-want +got):\n%s", diff)
	}
	heads := map[string]string{}
	for _, m := range r.Mirrors {
		heads[m.Mirror] = m.Head
	}
	want := map[string]string{
		"all": "", "none": "",
		"third": "POST /v1/x?y=1 HTTP/1.1\nHost: inner.example.com\nAuthorization: Basic x\n" + forwarded + "\nx-understudy-copy: third\nx-rule: 1",
		"keyed": "POST /v1/x?y=1 HTTP/1.1\nHost: inner.example.com\nAuthorization: Basic x\n" + forwarded + "\nx-understudy-copy: keyed\nx-rule: 1",
		"posts": "POST /v1/x?y=1 HTTP/1.1\nHost: 127.0.0.1:9002\n" + forwarded + "\nx-understudy-copy: posts\nx-rule: 1\nx-env: trial",
		"small": "POST /v1/x?y=1 HTTP/1.1\nHost: inner.example.com-shadow\nAuthorization: Basic x\n" + forwarded + "\nx-rule: 1",
	}
	if diff := cmp.Diff(want, heads); diff != "" {
		t.Errorf("copies (-want +got):\n%s", diff)
	}
	backends := []shareReport{{"v1", "75 %", []string{"127.0.0.1:9000"}}, {"v1b", "25 %", []string{"127.0.0.1:9001"}}}
	if diff := cmp.Diff(backends, r.Backends); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
}

func TestCheckExplainsRequestsThatGoNowhere(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args   []string
		code   int
		status int
		answer string
	}{
		"no rule":            {[]string{"--request", "/elsewhere"}, 1, 404, "no route matches"},
		"a redirect":         {[]string{"--request", "GET /a?b=c", "--listener", "ops"}, 0, 302, "https://ops.example.com:8443/a?b=c"},
		"not a valid target": {[]string{"--request", "GET nowhere"}, 1, 400, "request target does not fit the method"},
		"smuggling":          {[]string{"--request", "POST /api", "--header", "content-length: 1", "--header", "transfer-encoding: chunked"}, 1, 400, "Content-Length with Transfer-Encoding"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := explain(t, tt.code, tt.args...)
			if r.Status != tt.status || r.Answer != tt.answer {
				t.Errorf("answers %d %q, want %d %q", r.Status, r.Answer, tt.status, tt.answer)
			}
			if r.Primary != "" || len(r.Mirrors) > 0 {
				t.Errorf("goes somewhere: %q, %v", r.Primary, r.Mirrors)
			}
		})
	}
}

func TestCheckSaysWhyRulesDoNotMatch(t *testing.T) {
	t.Parallel()
	r := explain(t, 1, "--request", "/api/x", "--from", "192.168.0.1")
	want := []stepReport{
		{"shop", 0, 0, "source 192.168.0.1 is not in 10.0.0.0/8"},
		{"ops", 0, 0, "listener web is not ops"},
	}
	if diff := cmp.Diff(want, r.Steps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckBelievesTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	path := writeFile(t, mirrorsFile+"trustedProxies: {sources: [\"127.0.0.0/8\"]}\n")
	for from, want := range map[string]string{"127.0.0.1": "10.7.7.7", "127.9.9.9": "10.7.7.7", "10.0.0.1": "10.0.0.1"} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), []string{"check", "-c", path, "--request", "/api", "--from", from, "--header", "x-forwarded-for: 10.7.7.7"}, s); code != 0 {
			t.Fatalf("exit code %d: %s%s", code, out, errOut)
		}
		if !strings.Contains(out.String(), "/api, from "+want+", on listener web\n") {
			t.Errorf("from %s: client is not %s:\n%s", from, want, out)
		}
	}
}

func TestCheckRefusesRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	path := writeFile(t, mirrorsFile)
	for want, args := range map[string][]string{
		"say which file":             {"check"},
		"--header belongs to":        {"check", "-c", path, "--header", "a: b"},
		"--from belongs to":          {"check", "-c", path, "--from", "::1"},
		"--listener belongs to":      {"check", "-c", path, "--listener", "web"},
		`--from "me" is not`:         {"check", "-c", path, "--request", "/", "--from", "me"},
		`none of web, ops`:           {"check", "-c", path, "--request", "/", "--listener", "nope"},
		`--header "nope" is not`:     {"check", "-c", path, "--request", "/", "--header", "nope"},
		`--header ": x" is not`:      {"check", "-c", path, "--request", "/", "--header", ": x"},
		`--header "a: b\r\nc: d" is`: {"check", "-c", path, "--request", "/", "--header", "a: b\r\nc: d"},
		`--request "GET /a b" is`:    {"check", "-c", path, "--request", "GET /a b"},
		`--request "GET " is not`:    {"check", "-c", path, "--request", "GET "},
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), args, s); code != ExitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: exit code %d: %s%s, want %s", args[1:], code, out, errOut, want)
		}
	}
}

func TestCheckListsEveryProblem(t *testing.T) {
	t.Parallel()
	path := writeFile(t, strings.ReplaceAll(mirrorsFile, "percent: 50", "percent: 500")+"workers: -1\n")
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"check", "-c", path}, s); code != ExitNo {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(out.String(), path+":"); n != 2 || !strings.Contains(errOut.String(), "2 problems") {
		t.Errorf("%d problems with a place, want 2:\n%s%s", n, out, errOut)
	}
	s, out, _ = testStreams()
	Main(t.Context(), []string{"check", "-o", "json", "-c", path}, s)
	var report checkReport
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil || report.Valid || len(report.Problems) != 2 || report.Problems[0].Line == 0 {
		t.Errorf("%v, %+v", err, report)
	}
}

func TestCheckOfAValidFileSaysSo(t *testing.T) {
	t.Parallel()
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"check", "-c", writeFile(t, mirrorsFile)}, s); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	if want := "is valid: version "; !strings.Contains(errOut.String(), want) || !strings.Contains(errOut.String(), "2 listeners, 2 rules, 3 backends") {
		t.Errorf("%s, want %s", errOut, want)
	}
}

const layer4File = `
listeners:
  - {name: web, address: "127.0.0.1:8080"}
  - {name: db, address: "127.0.0.1:5432", protocol: TCP}
  - {name: edge, address: "127.0.0.1:8443", protocol: TLS, tls: {mode: Passthrough}}
routes:
  - {name: shop, rules: [{backends: [{name: v1}]}]}
  - name: db
    listeners: [db]
    rules:
      - matches: [{sources: ["10.0.0.0/8"]}]
        backends: [{name: v1, weight: 3}, {name: v2}]
        mirrors: [{backend: v2}, {name: half, backend: v2, percent: 50}, {name: near, backend: v2, match: {sources: ["10.1.0.0/16"]}}]
  - {name: edge, listeners: [edge], hostnames: ["*.example.com"], rules: [{backends: [{name: v2}], mirrors: [{backend: v1, percent: 50, key: {source: true}}]}]}
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9001"]}
`

func TestCheckExplainsConnections(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args string
		code int
		want string
	}{
		"TCP": {"--from 10.2.0.1", ExitSuccess, `Connection
  from 10.2.0.1, on listener db

Rules, as they are tried
  db, rule 0, match 0: matches

Live connection
  goes to v1 (127.0.0.1:9000), 75 %
  goes to v2 (127.0.0.1:9001), 25 %

Copy by v2
  yes: all such connections are

Copy by half to v2
  by chance: 50 % of connections are

Copy by near to v2
  no: the mirror's own match does not hold: source 10.2.0.1 is not in 10.1.0.0/16
`},
		"TCP without a rule": {"--listener db", ExitNo, `Connection
  from 127.0.0.1, on listener db

Rules, as they are tried
  db, rule 0, match 0: no: source 127.0.0.1 is not in 10.0.0.0/8
  shop, rule 0, match 0: no: it names no listener, and so serves HTTP only, which listener db does not speak
  edge, rule 0, match 0: no: listener db is not edge

Live connection
  the proxy resets it: no route matches
`},
		"TLS": {"--sni A.Example.com --from 192.0.2.7", ExitSuccess, `Connection
  to A.Example.com, from 192.0.2.7, on listener edge

Rules, as they are tried
  edge, rule 0, match 0: matches

Live connection
  goes to v2 (127.0.0.1:9001), 100 %

Copy by v1
  no: its client address falls at 89.9115 %, outside of 50 %
`},
	}
	for name, test := range tests {
		s, out, errOut := testStreams()
		args := append([]string{"check", "-c", writeFile(t, layer4File)}, strings.Fields(test.args)...)
		if code := Main(t.Context(), args, s); code != test.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, test.code, errOut)
		}
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for args, want := range map[string]string{
		"--request /x --sni a":         "--sni belongs to a connection",
		"--listener web":               "--listener belongs to a --request",
		"--listener web --sni a":       "--listener belongs to a --request",
		"--request /x --listener db":   "has no requests",
		"--listener nobody --from ::1": "is none of web, db, edge",
	} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"check", "-c", writeFile(t, layer4File)}, strings.Fields(args)...), s); code != ExitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit code %d and %s, want %q", args, code, errOut, want)
		}
	}
}
