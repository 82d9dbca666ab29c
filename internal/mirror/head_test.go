package mirror

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
)

// copied offers one request to a mirror with these settings and returns what its
// shadow gets. before is what the route does to the request.
func copied(t *testing.T, lines, head string, before func(o *http1.Outgoing, edit *config.HeaderEdit)) (got string) {
	t.Helper()
	s := newStage(t, "")
	address, requests := s.polite()
	p := s.mirror("v2", lines, address)
	subject, out := subject(t, head)
	var edit config.HeaderEdit
	if before != nil {
		before(out, &edit)
	}
	p = s.compile(p.Def, Edit(edit))
	s.on(func() { s.give(p, subject, out) })
	s.one(p, "completed")
	return strings.ReplaceAll(<-requests, address, "ADDRESS")
}

func TestHostOfTheCopy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ policy, host, want string }{
		{"preserve", "shop.example.com", "shop.example.com"},
		{"preserve", "shop.example.com:8080", "shop.example.com:8080"},
		{"preserve", "[::1]:8080", "[::1]:8080"},
		{"preserve", "", ""},
		{"suffix", "shop.example.com", "shop.example.com-shadow"},
		{"suffix", "shop.example.com:8080", "shop.example.com-shadow:8080"},
		{"suffix", "shop.example.com:", "shop.example.com-shadow:"},
		{"suffix", "10.0.0.1:80", "10.0.0.1-shadow:80"},
		{"suffix", "[::1]:8080", "[::1]-shadow:8080"},
		{"suffix", "[::1]", "[::1]-shadow"},
		{"suffix", "[2001:db8::80]", "[2001:db8::80]-shadow"},
		{"suffix", "", ""},
		{"backend", "shop.example.com", "ADDRESS"},
		{"{literal: v2.example.com}", "shop.example.com:8080", "v2.example.com"},
		{"{literal: \"v2.example.com:99\"}", "shop.example.com", "v2.example.com:99"},
	} {
		t.Run(c.policy+" "+c.host, func(t *testing.T) {
			t.Parallel()
			got := copied(t, "host: "+c.policy, "GET / HTTP/1.1\nHost: "+c.host, nil)
			want := "GET / HTTP/1.1\nHost: " + c.want + "\nx-understudy-copy: v2\n\n"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeadOfTheCopy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mirror, head string
		before             func(o *http1.Outgoing, edit *config.HeaderEdit)
		want               string
	}{
		{
			"as received", "", "GET /a%20b?q=1&q=%zz HTTP/1.1\nHost: a\nAccept:  */* \nX-Empty:", nil,
			"GET /a%20b?q=1&q=%zz HTTP/1.1\nHost: a\nAccept:  */* \nX-Empty:\nx-understudy-copy: v2\n\n",
		},
		{
			"hop by hop", "", "GET / HTTP/1.1\nHost: a\nConnection: keep-alive, x-hop\nKeep-Alive: timeout=5\nX-Hop: 1\nProxy-Authorization: secret\nTE: gzip\nX-End: 1", nil,
			"GET / HTTP/1.1\nHost: a\nX-End: 1\nx-understudy-copy: v2\n\n",
		},
		{
			"from an old client", "", "GET / HTTP/1.0\nUser-Agent: old", nil,
			"GET / HTTP/1.1\nHost: \nUser-Agent: old\nx-understudy-copy: v2\n\n",
		},
		{
			"absolute form", "", "GET http://b.example/x?y HTTP/1.1\nHost: a", nil,
			"GET /x?y HTTP/1.1\nHost: b.example\nx-understudy-copy: v2\n\n",
		},
		{
			"with no marker", "marker: false", "GET / HTTP/1.1\nHost: a", nil,
			"GET / HTTP/1.1\nHost: a\n\n",
		},
		{
			"after the route's rewrite", "host: suffix", "GET /old?q HTTP/1.1\nHost: a:80",
			func(o *http1.Outgoing, _ *config.HeaderEdit) {
				o.Target, o.Host = []byte("/new?q"), []byte("b:80")
			},
			"GET /new?q HTTP/1.1\nHost: b-shadow:80\nx-understudy-copy: v2\n\n",
		},
		{
			"forwarding headers follow the primary's", "", "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 10.1.1.1\nForwarded: for=10.1.1.1",
			func(o *http1.Outgoing, _ *config.HeaderEdit) {
				o.ForwardedFor, o.Proto, o.ForwardedHost, o.RequestID = []byte("192.0.2.7"), []byte("http"), []byte("a"), []byte("id-1")
			},
			"GET / HTTP/1.1\nHost: a\nForwarded: for=10.1.1.1\nX-Forwarded-For: 10.1.1.1, 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\nx-request-id: id-1\nx-understudy-copy: v2\n\n",
		},
		{
			"its own edits after the route's",
			"headers: {remove: [authorization], set: [{name: x-env, value: trial}], add: [{name: X-More, value: '2'}]}",
			"GET / HTTP/1.1\nHost: a\nAuthorization: secret\nX-Env: client\nX-Keep: 1\nX-Route: client",
			func(_ *http1.Outgoing, edit *config.HeaderEdit) {
				edit.Set = []config.Header{{Name: "X-Route", Value: "route"}, {Name: "X-Env", Value: "live"}}
				edit.Add = []config.Header{{Name: "X-More", Value: "1"}, {Name: "Authorization", Value: "of the route"}}
			},
			"GET / HTTP/1.1\nHost: a\nX-Keep: 1\nx-understudy-copy: v2\nX-Route: route\nX-More: 1\nx-env: trial\nX-More: 2\n\n",
		},
		{
			"no expectation, which would make it wait", "writes: copy", "POST / HTTP/1.1\nHost: a\nContent-Length: 0\nExpect: 100-continue", nil,
			"POST / HTTP/1.1\nHost: a\nx-understudy-copy: v2\nContent-Length: 0\n\n",
		},
		{
			"HEAD", "", "HEAD /x HTTP/1.1\nHost: a", nil,
			"HEAD /x HTTP/1.1\nHost: a\nx-understudy-copy: v2\n\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := copied(t, c.mirror, c.head, c.before)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The copy of a request with a trace is in a trace of its own, sampled as the
// live one, that names the live span; it is no child.
func TestTraceOfTheCopyIsLinked(t *testing.T) {
	t.Parallel()
	const live = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
	shape := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-(..)$`)
	seen := map[string]bool{}
	for _, c := range []struct {
		name, fields string
		primary      string // traceparent that the primary gets instead
		flags        string
	}{
		{"sampled", "traceparent: 00-" + live + "-01\ntracestate: vendor=1,other=2", "", "01"},
		{"not sampled", "Traceparent: 00-" + live + "-00", "", "00"},
		{"of a later version", "traceparent: 01-" + live + "-03-more", "", "03"},
		{"made by the proxy", "X: y", "00-" + live + "-01", "01"},
		{"changed by the proxy", "traceparent: 00-11111111111111111111111111111111-2222222222222222-01", "00-" + live + "-00", "00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := copied(t, "", "GET / HTTP/1.1\nHost: a\n"+c.fields, func(o *http1.Outgoing, _ *config.HeaderEdit) {
				if c.primary != "" {
					o.Traceparent = []byte(c.primary)
				}
			})
			fields := map[string][]string{}
			for line := range strings.Lines(got) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				fields[strings.ToLower(name)] = append(fields[strings.ToLower(name)], value)
			}
			if diff := cmp.Diff([]string{"understudy=" + live}, fields["tracestate"]); diff != "" {
				t.Error(diff)
			}
			if len(fields["traceparent"]) != 1 {
				t.Fatalf("traceparent %q, want one", fields["traceparent"])
			}
			m := shape.FindStringSubmatch(fields["traceparent"][0])
			if m == nil || m[3] != c.flags || strings.Contains(live, m[1]) || strings.Contains(live, m[2]) {
				t.Fatalf("traceparent %q, want a new trace and span with flags %s", fields["traceparent"], c.flags)
			}
			if seen[m[1]] || seen[m[2]] {
				t.Errorf("%q was there before", m[0])
			}
			seen[m[1]], seen[m[2]] = true, true
		})
	}
}

func TestRequestWithoutATraceGetsNone(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{"X: y", "traceparent: nonsense", "traceparent: 00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01"} {
		got := copied(t, "", "GET / HTTP/1.1\nHost: a\n"+fields, nil)
		if want := "GET / HTTP/1.1\nHost: a\n" + fields + "\nx-understudy-copy: v2\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// With host: backend the copy goes to the endpoint that it names, and endpoints
// take turns.
func TestCopyGoesToTheEndpointThatItNames(t *testing.T) {
	drivers(t, func(s *stage) {
		one, first := s.polite()
		two, second := s.polite()
		p := s.mirror("v2", "host: backend", one, two)
		for range 6 {
			s.offer(p, "GET / HTTP/1.1\nHost: a")
		}
		s.settle()
		s.counts(p, map[string]uint64{"completed": 6})
		for _, c := range []struct {
			address string
			got     <-chan string
		}{{one, first}, {two, second}} {
			if len(c.got) != 3 {
				t := s.T
				t.Errorf("%d copies went to %s, want 3", len(c.got), c.address)
			}
			for len(c.got) > 0 {
				if text := <-c.got; !strings.Contains(text, "\nHost: "+c.address+"\n") {
					s.Errorf("%s got %q", c.address, text)
				}
			}
		}
	})
}
