package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/peers"
	"github.com/understudy-proxy/understudy/test/load"
)

// roleVariable makes this test program a small mirroring proxy instead.
const roleVariable = "ISOLATION_TEST_PROXY"

func TestMain(m *testing.M) {
	if load.Child() {
		return
	}
	if role := os.Getenv(roleVariable); role != "" {
		if role == holds {
			err := holdConnections(os.Args[1:])
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		err := serveProxy(role, os.Args[1:])
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Programs built with the race detector linger for a second before they
	// exit, and this one starts dozens of itself.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// What is wrong with the small proxy.
const (
	nothing   = "nothing"   // copies on its own goroutines, and counts
	waits     = "waits"     // its client waits for the shadow, up to 700 ms
	swaps     = "swaps"     // its client gets the shadow's answer
	forgets   = "forgets"   // does not count copies that failed
	idles     = "idles"     // enters no copies, and makes none
	crashes   = "crashes"   // at the first copy
	truncates = "truncates" // the primary gets other bytes than the client sent
)

// smallProxy mirrors to show what the suite sees, and not how to do it.
type smallProxy struct {
	wrong, primary, shadow string
	live, copies           http.Client

	mu                                    sync.Mutex
	selected, completed, failed, inFlight int
}

// serveProxy takes the addresses to listen on, of primary, shadow (may be
// empty) and for the books.
func serveProxy(wrong string, addresses []string) error {
	p := &smallProxy{wrong: wrong, primary: addresses[1], shadow: addresses[2]}
	p.live.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	p.copies.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	p.copies.Timeout = 700 * time.Millisecond
	admin := http.Server{Addr: addresses[3], Handler: http.HandlerFunc(p.books)}
	go func() { _ = admin.ListenAndServe() }()
	front := http.Server{Addr: addresses[0], Handler: p}
	return front.ListenAndServe()
}

func (p *smallProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	primary := p.primary
	if p.shadow != "" && p.wrong != idles {
		switch p.wrong {
		case crashes:
			os.Exit(1)
		case waits:
			p.copy(r, body)
		default:
			p.begin()
			go p.copyBegun(r, body)
		}
		if p.wrong == swaps {
			primary = p.shadow
		}
	}
	if p.wrong == truncates && len(body) > 0 {
		body = bytes.Repeat([]byte("?"), len(body))
	}
	answer, err := p.send(&p.live, primary, r, body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func (p *smallProxy) send(c *http.Client, to string, r *http.Request, body []byte) (*http.Response, error) {
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, "http://"+to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return c.Do(out)
}

func (p *smallProxy) copy(r *http.Request, body []byte) {
	p.begin()
	p.copyBegun(r, body)
}

func (p *smallProxy) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.selected++
	p.inFlight++
}

func (p *smallProxy) copyBegun(r *http.Request, body []byte) {
	answer, err := p.send(&p.copies, p.shadow, r, body)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	switch {
	case err == nil:
		p.completed++
	case p.wrong != forgets:
		p.failed++
	}
}

func (p *smallProxy) books(w http.ResponseWriter, _ *http.Request) {
	if p.shadow == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(w, `understudy_mirror_selected_total{route="r",mirror="m"} %d
understudy_mirror_completed_total{route="r",mirror="m"} %d
understudy_mirror_failed_total{route="r",mirror="m",reason="reset"} %d
understudy_mirror_in_flight{route="r",mirror="m"} %d
`, p.selected, p.completed, p.failed, p.inFlight)
}

// TestSuiteSeesWhatIsWrong runs the suite against a small proxy that is wrong
// in one way, in the cell that shows it.
func TestSuiteSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plain := kindOfLoad{name: "get", plan: load.Plan{RequestTimeout: patience}}
	bodies := kindOfLoad{name: "post", plan: load.Plan{BodyBytes: 4 << 10, RequestTimeout: patience}}
	single := kindOfLoad{name: "post-alone", plan: load.Plan{BodyBytes: 4 << 10, RequestTimeout: patience}, alone: true}
	tests := []struct {
		wrong, shadow string
		load          kindOfLoad
		want          string // part of a hard failure; empty for none
	}{
		{nothing, "refusing", plain, ""},
		{nothing, "healthy", bodies, ""},
		{waits, "never-reading", single, "one upload took"},
		{swaps, "healthy", plain, "bad_answer"},
		{forgets, "resetting", plain, "bad: books of r/m: selected"},
		{idles, "refusing", plain, "healthy: no copy arrived at the shadow"},
		{crashes, "refusing", plain, "bad: the proxy ended"},
		{truncates, "refusing", bodies, "damaged bodies at the primary"},
	}
	for _, test := range tests {
		// One after the other: they measure time.
		t.Run(test.wrong+" "+test.shadow, func(t *testing.T) {
			targets := defaultTargets()
			targets.Memory = 1 << 30                                            // the small proxy holds whole bodies
			targets.UploadFactor, targets.UploadSlack = 1, 500*time.Millisecond // the wait alone takes 700 ms
			s := suite{
				recipe: recipe{
					name:    test.wrong,
					command: fmt.Sprintf("env %s=%s %s {listen} {primary} '{shadow}' {admin}", roleVariable, test.wrong, executable),
					books:   true,
				},
				rounds: 1, duration: 150 * time.Millisecond, targets: targets, progress: io.Discard,
			}
			r, err := s.run(t.Context(), []string{test.shadow}, []kindOfLoad{test.load})
			if err != nil {
				t.Fatal(err)
			}
			hard := strings.Join(r.Cells[0].Verdict.Hard, "; ")
			if test.want == "" && hard != "" || !strings.Contains(hard, test.want) {
				t.Errorf("hard failures %q, want %q among them", hard, test.want)
			}
		})
	}
}

// holds names a proxy of connections whose client waits for the shadow.
const holds = "holds"

// holdConnections takes the addresses to listen on, of primary and of shadow
// (may be empty).
func holdConnections(addresses []string) error {
	l, err := net.Listen("tcp", addresses[0])
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = client.Close() }()
			primary, err := net.Dial("tcp", addresses[1])
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(client, primary); _ = client.Close() }()
			all := io.Writer(primary)
			if addresses[2] != "" {
				shadow, err := net.Dial("tcp", addresses[2])
				if err != nil {
					return
				}
				defer func() { _ = shadow.Close() }()
				go func() { _, _ = io.Copy(io.Discard, shadow) }()
				all = io.MultiWriter(shadow, primary)
			}
			_, _ = io.Copy(all, client)
			_ = primary.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, client)
		}()
	}
}

func TestSuiteSeesConnectionsHeldUp(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	protocols := peers.Protocols()
	tcp := protocols[slices.IndexFunc(protocols, func(p *peers.Protocol) bool { return p.Name == "tcp" })]
	s := suite{
		recipe:   recipe{name: holds, command: fmt.Sprintf("env %s=%s %s {listen} {primary} '{shadow}'", roleVariable, holds, executable)},
		protocol: tcp, rounds: 1, duration: 150 * time.Millisecond, targets: defaultTargets(), progress: io.Discard,
	}
	r, err := s.run(t.Context(), []string{healthyShadow, "never-reading"}, []kindOfLoad{{name: tcp.Name, drive: tcp.Drive}})
	if err != nil {
		t.Fatal(err)
	}
	if healthy := r.Cells[0].Verdict.Hard; len(healthy) > 0 {
		t.Errorf("with a healthy shadow: %q", healthy)
	}
	if hard := strings.Join(r.Cells[1].Verdict.Hard, "; "); !strings.Contains(hard, "bad: 16 live errors (16 timeout)") {
		t.Errorf("hard failures %q, want timeouts among them", hard)
	}
}

func TestSuiteNamesAProxyThatDoesNotStart(t *testing.T) {
	t.Parallel()
	s := suite{recipe: recipe{name: "broken", command: "echo no such option >&2; exit 3"}, rounds: 1, duration: time.Millisecond, progress: io.Discard}
	_, err := s.run(t.Context(), []string{"refusing"}, loads[:1])
	if err == nil || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("error %v, want one with what the proxy said", err)
	}
}
