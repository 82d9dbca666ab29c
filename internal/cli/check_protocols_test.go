package cli

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const protocolsFile = `
listeners: [{name: web, address: "127.0.0.1:8080"}]
routes:
  - name: calls
    rules:
      - matches: [{grpc: {service: shop.Cart}}, {grpc: {type: RegularExpression, method: "Get.*"}}]
        backends: [{name: v1}]
        mirrors:
          - {name: none, backend: v2}
          - {name: get, backend: v2, grpcMethods: [shop.Cart/Get]}
          - {name: all, backend: v2, grpcMethods: ["shop.Cart/*", other.Cart/Get]}
  - name: chat
    rules:
      - backends: [{name: v1}]
        mirrors:
          - {name: skip, backend: v2}
          - {name: copy, backend: v2, upgrades: copy}
backends:
  - {name: v1, endpoints: ["127.0.0.1:9000"]}
  - {name: v2, endpoints: ["127.0.0.1:9002"]}
`

// check runs the command on protocolsFile.
func check(t *testing.T, args ...string) checkReport {
	t.Helper()
	s, out, errOut := testStreams()
	if code := Main(t.Context(), append([]string{"check", "-o", "json", "-c", writeFile(t, protocolsFile)}, args...), s); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	var report checkReport
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckExplainsCallsAndWebSockets(t *testing.T) {
	t.Parallel()
	call := []string{"--header", "content-type: application/grpc+proto"}
	socket := []string{"--header", "connection: upgrade", "--header", "upgrade: websocket"}
	key := []string{"--header", "sec-websocket-version: 13", "--header", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="}
	const unnamed = ": no, a gRPC call may write, and the mirror does not name it "
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"a call": {append(call, "--request", "POST /shop.Cart/Get"), []string{
			"none" + unnamed + "(grpcMethods: [shop.Cart/Get] would copy it)", "get: yes, all such requests are", "all: yes, all such requests are"}},
		"another call": {append(call, "--request", "POST /shop.Cart/Put"), []string{
			"none" + unnamed + "(grpcMethods: [shop.Cart/Put] would copy it)", "get" + unnamed + "(grpcMethods: [shop.Cart/Put] would copy it)", "all: yes, all such requests are"}},
		"a call of another service": {append(call, "--request", "POST /other.Cart/Get"), []string{
			"none" + unnamed + "(grpcMethods: [other.Cart/Get] would copy it)", "get" + unnamed + "(grpcMethods: [other.Cart/Get] would copy it)", "all: yes, all such requests are"}},
		"a WebSocket": {append(append(socket, key...), "--request", "GET /chat"), []string{
			"skip: no, it is a WebSocket, and the mirror says upgrades: skip (upgrades: copy would copy it)", "copy: yes, all such requests are"}},
		"half of a WebSocket": {append(socket, "--request", "GET /chat"), []string{
			"skip: no, it is not how a WebSocket is asked for: GET, sec-websocket-version: 13 and a sec-websocket-key of 16 bytes",
			"copy: no, it is not how a WebSocket is asked for: GET, sec-websocket-version: 13 and a sec-websocket-key of 16 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, decisions(check(t, test.args...).Request)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckSaysWhyARequestIsNoCall(t *testing.T) {
	t.Parallel()
	const none = "it is no gRPC call, which is a POST with content-type application/grpc"
	r := check(t, "--request", "POST /shop.Cart/Get").Request
	want := []stepReport{{"calls", 0, 0, none}, {"calls", 0, 1, none}, {"chat", 0, 0, ""}}
	if diff := cmp.Diff(want, r.Steps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckSaysHowACallIsRefused(t *testing.T) {
	t.Parallel()
	r := explain(t, 1, "--request", "POST /shop.Cart/Get", "--header", "content-type: application/grpc")
	if r.Status != 200 || r.Answer != "UNIMPLEMENTED, in gRPC's words: no route matches" {
		t.Errorf("got %d, %q", r.Status, r.Answer)
	}
}

func TestCheckListsCallsAndWebSockets(t *testing.T) {
	t.Parallel()
	rules := check(t).Rules
	got := [][2]string{{rules[0].Matches, rules[0].Mirrors}, {rules[1].Matches, rules[1].Mirrors}}
	want := [][2]string{
		{"gRPC shop.Cart/* or gRPC ~*/Get.*", "none to v2 100 %; get to v2 100 %, gRPC shop.Cart/Get; all to v2 100 %, gRPC shop.Cart/* other.Cart/Get"},
		{"everything", "skip to v2 100 %; copy to v2 100 %, WebSockets too"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
