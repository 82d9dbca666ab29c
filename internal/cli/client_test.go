package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/admin"
)

// adminServer answers /api/v1/status as a proxy does.
func adminServer(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func sendStatus(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(status()) }

func TestClientTakesAddressesAndURLs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:9900": "http://127.0.0.1:9900", "http://a:1": "http://a:1", "http://a:1/": "http://a:1", "https://a": "https://a", "[::1]:2": "http://[::1]:2",
		"": "", "ftp://a": "", "http://": "", "http://a/x": "", "http://a?x": "", "a b": "",
	} {
		c, err := newClient(in, "")
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken for %s", in, c.base)
			}
			continue
		}
		if err != nil || c.base != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestStatusOfARunningProxy(t *testing.T) {
	t.Parallel()
	url := adminServer(t, sendStatus)
	tests := map[string]struct {
		args     []string
		terminal bool
		want     string
	}{
		"for programs": {nil, false, "ROUTE\tPRIMARY\tREQUESTS\t"},
		"for people":   {nil, true, "understudy v1, ready for 1m1s"},
		"as JSON":      {[]string{"-o", "json"}, false, "\n  \"version\": \"v1\",\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, out, errOut := testStreams()
			s.OutIsTerminal = tt.terminal
			if code := Main(t.Context(), append([]string{"status", "--admin", url}, tt.args...), s); code != 0 {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("no %q in\n%s", tt.want, out)
			}
		})
	}
}

func TestStatusAsJSONIsWhatTheProxySaid(t *testing.T) {
	t.Parallel()
	s, out, _ := testStreams()
	Main(t.Context(), []string{"status", "-o", "json", "--admin", adminServer(t, sendStatus)}, s)
	var got admin.Status
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status(), &got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusSendsItsToken(t *testing.T) {
	t.Setenv(tokenVariable, "from-env")
	var got string
	url := adminServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		sendStatus(w, r)
	})
	for want, args := range map[string][]string{"Bearer from-env": nil, "Bearer from-flag": {"--token", "from-flag"}} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"status", "--admin", url}, args...), s); code != 0 || got != want {
			t.Errorf("sent %q, want %q (%d, %s)", got, want, code, errOut)
		}
	}
}

func TestWhatCannotBeAskedSaysWhy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a token is wanted": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "wants a token: set $UNDERSTUDY_ADMIN_TOKEN"},
		"a failure with a hint": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(421)
			json.NewEncoder(w).Encode(admin.Failure{Error: "no", Hint: "do this"})
		}, "/api/v1/status answers 421 Misdirected Request: no (do this)"},
		"another server":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "/api/v1/status answers 404 Not Found"},
		"another server that agrees": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "does not answer as understudy does: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, errOut := testStreams()
			if code := Main(t.Context(), []string{"status", "--admin", adminServer(t, tt.answer)}, s); code != 1 || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("exit code %d: %s, want %s", code, errOut, tt.want)
			}
		})
	}
	s, _, errOut := testStreams()
	Main(t.Context(), []string{"status", "--admin", "127.0.0.1:1"}, s)
	if want := "nobody listens at http://127.0.0.1:1: is understudy running"; !strings.Contains(errOut.String(), want) {
		t.Errorf("%s, want %s", errOut, want)
	}
}

func TestStatusFlags(t *testing.T) {
	t.Parallel()
	s, _, _ := testStreams()
	for _, args := range [][]string{{"--every", "10ms"}, {"-o", "yaml"}, {"--admin", "ftp://x"}} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"status"}, args...), s); code != ExitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	var got *statusOptions
	if err := parse(newCmdStatus(s, func(o *statusOptions) error { got = o; return nil }), "-w"); err != nil {
		t.Fatal(err)
	}
	if got.admin != "127.0.0.1:9900" || !got.watch || got.output != outputTable || got.every.Seconds() != 1 {
		t.Errorf("%+v", got)
	}
}
