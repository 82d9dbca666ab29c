package proxy

import (
	"bufio"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// fine answers everything with 200.
func fine(*message) (string, bool) { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false }

// one waits for the request with that id and returns it.
func (s *recorder) one(t *testing.T, id string) *message {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		s.mu.Lock()
		got := s.got[id]
		s.mu.Unlock()
		if len(got) > 0 {
			return got[0]
		}
	}
	t.Fatalf("no request %s arrived", id)
	return nil
}

// ids returns the ids of the requests that have arrived.
func (s *recorder) ids() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.got {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// ask sends requests one after the other and returns the answers.
func ask(t *testing.T, addr string, requests ...string) (answers []*message) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	go io.WriteString(c, strings.Join(requests, ""))
	r := bufio.NewReader(c)
	for _, request := range requests {
		method, _, _ := strings.Cut(request, " ")
		m, err := readAnswer(r, method)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, m)
	}
	return answers
}

// lines are all that a request says, in an order that does not depend on the
// order of its fields.
func lines(m *message) []string {
	sorted := slices.Clone(m.lines)
	slices.Sort(sorted)
	return slices.Concat([]string{m.start}, sorted, []string{m.body}, m.trailer)
}

func TestACopySaysWhatThePrimaryIsTold(t *testing.T) {
	const request = "POST /api/a%2Fb?y=1&z HTTP/1.1\r\nHost: shop.example:8080\r\nX-Request-Id: r1\r\nAuthorization: secret\r\nX-Env: prod\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: p\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"
	live := []string{"POST /v2/a%2Fb?y=1&z HTTP/1.1",
		"Authorization: secret", "Content-Length: 4", "Forwarded: for=10.0.0.1", "Host: shop.example:8080", "X-Env: prod",
		"X-Forwarded-For: 10.0.0.1, 127.0.0.1", "X-Forwarded-Host: shop.example:8080", "X-Forwarded-Proto: http", "X-Real-IP: 10.0.0.1", "X-Request-Id: r1", "x-route: r", "body"}
	// change returns live with lines taken out and put in.
	change := func(out []string, in ...string) []string {
		list := slices.DeleteFunc(slices.Clone(live[1:len(live)-1]), func(line string) bool { return slices.Contains(out, line) })
		list = append(list, in...)
		slices.Sort(list)
		return slices.Concat(live[:1], list, live[len(live)-1:])
	}
	const marker, host = "x-understudy-copy: v2", "Host: shop.example:8080"
	tests := []struct {
		name, mirror string
		want         []string
	}{
		{"default", "", change(nil, marker)},
		{"without marker", "marker: false", change(nil)},
		{"named", "name: trial", change(nil, "x-understudy-copy: trial")},
		{"host of the backend", "host: backend", change([]string{host}, marker, "Host: SHADOW")},
		{"host with suffix", "host: suffix", change([]string{host}, marker, "Host: shop.example-shadow:8080")},
		{"another host", "host: {literal: v2.example}", change([]string{host}, marker, "Host: v2.example")},
		{"headers", "headers: {set: [{name: x-env, value: trial}], add: [{name: x-route, value: m}], remove: [authorization, forwarded]}",
			change([]string{"X-Env: prod", "Authorization: secret", "Forwarded: for=10.0.0.1"}, marker, "x-env: trial", "x-route: m")},
		{"the route's own header set again", "headers: {set: [{name: x-route, value: m}]}", change([]string{"x-route: r"}, marker, "x-route: m")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow := record(t, fine), record(t, fine)
				yaml := mirrored(primary.address(), shadow.address(), "            writes: copy\n            "+test.mirror)
				yaml = strings.Replace(yaml, "      - backends: [{name: v1}]", `      - matches: [{path: {value: /api}}]
        rewrite: {path: {replacePrefixMatch: /v2}}
        requestHeaders: {set: [{name: x-route, value: r}]}
        backends: [{name: v1}]`, 1)
				_, addr := serve(t, d, yaml)
				ask(t, addr, request)
				got := primary.one(t, "r1")
				got.lines = got.without("Expect")
				if diff := cmp.Diff(live, lines(got)); diff != "" {
					t.Errorf("at the primary (- want, + got)\n%s", diff)
				}
				want := slices.Clone(test.want)
				for i := range want {
					want[i] = strings.Replace(want[i], "SHADOW", shadow.address(), 1)
				}
				if diff := cmp.Diff(want, lines(shadow.one(t, "r1"))); diff != "" {
					t.Errorf("at the shadow (- want, + got)\n%s", diff)
				}
			})
		})
	}
}

func TestHostSuffixesKnowAddressesFromPorts(t *testing.T) {
	primary, shadow := record(t, fine), record(t, fine)
	_, addr := serve(t, loop.DefaultDriver(), mirrored(primary.address(), shadow.address(), "            host: suffix"))
	for host, want := range map[string]string{"a": "a-shadow", "a:80": "a-shadow:80", "[::1]": "[::1]-shadow", "[::1]:8080": "[::1]-shadow:8080", "127.0.0.1:9": "127.0.0.1-shadow:9"} {
		ask(t, addr, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Request-Id: "+host+"\r\n\r\n")
		if got := shadow.one(t, host).value("Host"); got != want {
			t.Errorf("%s became %s, want %s", host, got, want)
		}
	}
}

func TestTrailersReachPrimaryAndShadow(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, fine), record(t, fine)
		_, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            writes: copy"))
		ask(t, addr, "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum:  6\r\nContent-Length: 9\r\n\r\n")
		for name, backend := range map[string]*recorder{"primary": primary, "shadow": shadow} {
			m := backend.one(t, "r1")
			if m.body != "abc" || !slices.Equal(m.trailer, []string{"X-Sum: 6"}) || m.value("Trailer") != "X-Sum" || m.value("TE") != "trailers" {
				t.Errorf("the %s got %q with trailers %q", name, m.body, m.trailer)
			}
		}
	})
}

func TestRequestIDsAreTheSameAndTracesAreLinked(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := record(t, fine), record(t, fine)
		_, addr := serve(t, d, mirrored(primary.address(), shadow.address(), ""))
		const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		ask(t, addr, "GET / HTTP/1.1\r\nHost: h\r\ntraceparent: 00-"+trace+"-"+span+"-01\r\ntracestate: a=b\r\n\r\n")
		for len(primary.ids()) == 0 || len(shadow.ids()) == 0 {
			runtime.Gosched()
		}
		id := primary.ids()[0]
		if !slices.Equal(shadow.ids(), []string{id}) || len(id) != 36 || id[14] != '4' || !strings.Contains("89ab", id[19:20]) {
			t.Errorf("got ids %s and %s, want one random UUID", id, shadow.ids())
		}
		live, copied := primary.one(t, id), shadow.one(t, id)
		if live.value("traceparent") != "00-"+trace+"-"+span+"-01" || live.value("tracestate") != "a=b" {
			t.Errorf("the primary got %q", live.lines)
		}
		fresh := strings.Split(copied.value("traceparent"), "-")
		if len(fresh) != 4 || len(fresh[1]) != 32 || fresh[1] == trace || len(fresh[2]) != 16 || fresh[3] != "01" {
			t.Errorf("the copy's traceparent is %q, want a trace of its own, sampled as the live one", copied.value("traceparent"))
		}
		if state := copied.value("tracestate"); !strings.Contains(state, trace) || !strings.Contains(state, span) {
			t.Errorf("the copy's tracestate is %q, want a link to %s-%s", state, trace, span)
		}
	})
}
