package proxy

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// withMirrors is a configuration with one mirror per shadow, called m0, m1 and
// so on, and these lines for each.
func withMirrors(primary string, shadows []string, mirrorLines ...string) string {
	var mirrors, backends strings.Builder
	for i, address := range shadows {
		fmt.Fprintf(&mirrors, "          - {backend: s%d, name: m%d, limits: {queue: 100000, memory: 1GiB}, backoff: {adaptive: false}, %s}\n", i, i, mirrorLines[i])
		fmt.Fprintf(&backends, "  - {name: s%d, endpoints: [%q]}\n", i, address)
	}
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
workers: 2
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors:
%s
backends:
  - {name: v1, endpoints: [%q]}
%s`, mirrors.String(), primary, backends.String())
}

// settled waits until no copy is in flight and returns the books by the
// mirrors' names.
func settled(s *Server) map[string]telemetry.Mirror {
	for {
		all, busy := map[string]telemetry.Mirror{}, false
		for _, m := range s.Snapshot().Mirrors {
			all[m.Name] = m
			busy = busy || m.InFlight > 0
		}
		if !busy {
			return all
		}
	}
}

// numbered makes n requests with ids.
func numbered(n int, format string) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(format, i))
	}
	return list
}

func TestSharesNest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		small, middle, third, all, off := record(t, fine), record(t, fine), record(t, fine), record(t, fine), record(t, fine)
		shadows := []string{small.address(), middle.address(), third.address(), all.address(), off.address()}
		s, addr := serve(t, d, withMirrors(primary.address(), shadows, "percent: 5", "percent: 20", "fraction: {numerator: 1, denominator: 3}", "percent: 100", "percent: 0"))
		const n = 3000
		ask(t, addr, numbered(n, "GET /%[1]d HTTP/1.1\r\nHost: h\r\nX-Request-Id: %[1]d\r\n\r\n")...)
		books := settled(s)
		sets := []*recorder{small, middle, third, all}
		for i, share := range []float64{0.05, 0.2, 1. / 3, 1} {
			// Six standard deviations: false failure once in 5·10^8 runs and mirror.
			got, want, off := float64(len(sets[i].ids())), n*share, 6*math.Sqrt(n*share*(1-share))
			if math.Abs(got-want) > off {
				t.Errorf("m%d got %v requests, want %v ± %v", i, got, want, off)
			}
			m := books[fmt.Sprintf("m%d", i)]
			if float64(m.Completed) != got || m.Selected+m.Skipped[traffic.SkipPercent] != n {
				t.Errorf("m%d: %d selected, %d completed, %v skipped, want %v", i, m.Selected, m.Completed, m.Skipped, got)
			}
			if i == 0 {
				continue
			}
			for _, id := range sets[i-1].ids() {
				if !slices.Contains(sets[i].ids(), id) {
					t.Fatalf("m%d got request %s and m%d, whose share is larger, did not", i-1, id, i)
				}
			}
		}
		if m := books["m4"]; m.Skipped[traffic.SkipOff] != n || m.Selected != 0 || len(off.ids()) != 0 {
			t.Errorf("a mirror that is off got %d requests: %v", m.Selected, m.Skipped)
		}
	})
}

func TestTheSameKeyGetsTheSameAnswerEverywhere(t *testing.T) {
	const users, visits = 400, 3
	for _, test := range []struct{ key, field string }{
		{"header: x-user", "X-User: user-%[2]d"},
		{"cookie: sid", "Cookie: a=b; sid=user-%[2]d; c=d"},
		{"trace: true", "traceparent: 00-%032[2]x-b7ad6b7169203331-01"},
	} {
		t.Run(test.key, func(t *testing.T) {
			var sets [][]string
			for _, d := range []loop.Driver{loop.DefaultDriver(), loop.Go} { // two proxies that know nothing of each other
				primary, shadow := record(t, fine), record(t, fine)
				s, addr := serve(t, d, withMirrors(primary.address(), []string{shadow.address()}, "percent: 30, key: {"+test.key+", salt: s}"))
				for visit := range visits {
					var requests []string
					for user := range users {
						requests = append(requests, fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: %03[2]d-%[1]d\r\n"+test.field+"\r\n\r\n", visit, 100+user))
					}
					ask(t, addr, requests...)
				}
				ask(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: nobody\r\n\r\n")
				if m := settled(s)["m0"]; m.Unkeyed != 1 || m.Selected != m.Completed {
					t.Errorf("%d requests without a key, %d of %d completed", m.Unkeyed, m.Completed, m.Selected)
				}
				sets = append(sets, slices.DeleteFunc(shadow.ids(), func(id string) bool { return id == "nobody" }))
			}
			if diff := cmp.Diff(sets[0], sets[1]); diff != "" {
				t.Errorf("two proxies choose differently:\n%s", diff)
			}
			chosen := map[string]int{}
			for _, id := range sets[0] {
				chosen[id[:3]]++
			}
			for user, n := range chosen {
				if n != visits {
					t.Errorf("%d of %d visits of user %s were copied", n, visits, user)
				}
			}
			// The keys are fixed and so is the choice: this cannot fail by chance.
			if got := len(chosen); got < users*20/100 || got > users*40/100 {
				t.Errorf("%d of %d users were chosen, want about 30 %%", got, users)
			}
		})
	}
}

func TestWhatIsNotCopiedIsCountedByReason(t *testing.T) {
	tests := []struct {
		name, mirror, request string
		status                string
		skipped               traffic.Reason // empty: copied
	}{
		{"GET", "", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200", ""},
		{"HEAD", "", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "200", ""},
		{"OPTIONS", "", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "200", ""},
		{"TRACE", "", "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "200", ""},
		{"POST", "", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", "200", traffic.SkipWrite},
		{"DELETE", "", "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", "200", traffic.SkipWrite},
		{"a method that nobody knows", "", "get / HTTP/1.1\r\nHost: h\r\n\r\n", "200", traffic.SkipWrite},
		{"POST, writes copied", "writes: copy", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", "200", ""},
		{"another method than the mirror wants", "match: {methods: [HEAD]}", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200", traffic.SkipMatch},
		{"another path than the mirror wants", "match: {path: {value: /api}}", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200", traffic.SkipMatch},
		{"a copy", "", "GET / HTTP/1.1\r\nHost: h\r\nX-Understudy-Copy: other\r\n\r\n", "200", traffic.SkipLoop},
		{"off", "percent: 0", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200", traffic.SkipOff},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow := record(t, fine), record(t, fine)
				s, addr := serve(t, d, withMirrors(primary.address(), []string{shadow.address()}, test.mirror))
				if got := ask(t, addr, test.request)[0]; !strings.HasPrefix(got.start, "HTTP/1.1 "+test.status) {
					t.Errorf("got %s, want %s", got.start, test.status)
				}
				m := settled(s)["m0"]
				if test.skipped == "" && (m.Completed != 1 || len(m.Skipped) != 0) || test.skipped != "" && (m.Selected != 0 || m.Skipped[test.skipped] != 1) {
					t.Errorf("%d completed, skipped %v, want %q", m.Completed, m.Skipped, test.skipped)
				}
				if len(primary.ids()) != 1 || len(shadow.ids()) != int(m.Completed) {
					t.Errorf("the primary got %d requests, the shadow %d", len(primary.ids()), len(shadow.ids()))
				}
			})
		})
	}
}

func TestConnectIsNeitherServedNorCopied(t *testing.T) {
	primary, shadow := record(t, fine), record(t, fine)
	s, addr := serve(t, loop.DefaultDriver(), withMirrors(primary.address(), []string{shadow.address()}, "writes: copy"))
	if got := ask(t, addr, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")[0]; !strings.HasPrefix(got.start, "HTTP/1.1 501 ") {
		t.Errorf("got %s, want 501", got.start)
	}
	if len(settled(s)["m0"].Skipped) != 0 || len(primary.ids())+len(shadow.ids()) != 0 {
		t.Error("a backend heard of it")
	}
}

// Two proxies that mirror to each other would copy for ever.
func TestACopyThatComesBackIsNotCopiedAgain(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := record(t, fine)
		here, addr := serve(t, d, withMirrors(primary.address(), []string{refusing(t)}, ""))
		there, other := serve(t, d, withMirrors(primary.address(), []string{addr}, ""))
		if _, err := here.Apply(parse(t, withMirrors(primary.address(), []string{other}, ""))); err != nil {
			t.Fatal(err)
		}
		ask(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\n\r\n")
		if m := settled(here)["m0"]; m.Completed != 1 {
			t.Errorf("got %+v, want the copy answered", m)
		}
		if m := settled(there)["m0"]; m.Skipped[traffic.SkipLoop] != 1 || m.Selected != 0 {
			t.Errorf("got %+v, want no copy of the copy", m)
		}
		here.Drain(context.Background()) // first: it is a client of the other
	})
}
