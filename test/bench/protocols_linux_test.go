package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/test/load"
)

func protocol(t *testing.T, name string) workload {
	t.Helper()
	i := slices.IndexFunc(protocolSuite.workloads, func(w workload) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("no workload %s", name)
	}
	return protocolSuite.workloads[i]
}

// placed is a contestant of a workload's wire at addresses that are not used.
func placed(name string, w workload) *place {
	c := contestantOf(name)
	c.Wire = w.Wire
	return &place{contestant: c, Dir: "/d", Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", Primary: "127.0.0.1:3", Shadow: "127.0.0.1:4", Cores: 3}
}

func TestEverySuiteMeasuresWhatItsTargetsSpeakOf(t *testing.T) {
	t.Parallel()
	for _, s := range []*suite{&speedSuite, &protocolSuite, &compareSuite} {
		if len(s.contestants()) != len(s.who) {
			t.Errorf("%s: %q are not all contestants", s.name, s.who)
		}
		for _, p := range s.targets {
			if !slices.Contains(s.who, p.of) || !slices.Contains(s.who, p.against) {
				t.Errorf("%s: %s is about somebody who does not take part", s.name, p.title)
			}
		}
	}
}

func TestProtocolsOfNginx(t *testing.T) {
	t.Parallel()
	for workload, want := range map[string]string{
		"tls-get-200": "listen 127.0.0.1:1 ssl reuseport",
		"h2-get-200":  "listen 127.0.0.1:1 ssl http2 reuseport",
		"h2c-get-200": "listen 127.0.0.1:1 http2 reuseport",
	} {
		w := protocol(t, workload)
		got, err := placed(nginxMirror, w).render()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got, want) || strings.Contains(got, "ssl_protocols TLSv1.3;") != w.Wire.TLS {
			t.Errorf("%s: no %q, or TLS is not what the workload says, in\n%s", workload, want, got)
		}
	}
	w := protocol(t, "grpc-unary")
	for name, want := range map[string]bool{nginxPlain: false, envoyMirror: true, ours100: true, oursBare: false} {
		if got := w.with(contestantOf(name)); got != want {
			t.Errorf("%s takes part in gRPC: %v", name, got)
		}
	}
}

func TestProtocolsOfEnvoy(t *testing.T) {
	t.Parallel()
	for _, w := range protocolSuite.workloads {
		for _, name := range []string{envoyPlain, envoyMirror} {
			got, err := placed(name, w).render()
			if err != nil {
				t.Fatal(err)
			}
			var parsed any
			if err := yaml.Unmarshal([]byte(got), &parsed); err != nil {
				t.Fatalf("%v in\n%s", err, got)
			}
			mirrors, upstreams := 0, 1
			if name == envoyMirror {
				mirrors, upstreams = 1, 2
			}
			count := map[string]int{}
			for _, s := range []string{"request_mirror_policies:", "connect_timeout:", "codec_type: HTTP2", "http2_protocol_options", "tls_minimum_protocol_version: TLSv1_3", "port_value: 4"} {
				count[s] = strings.Count(got, s)
			}
			want := map[string]int{
				"request_mirror_policies:": mirrors, "connect_timeout:": upstreams, "codec_type: HTTP2": oneIf(w.Wire.HTTP2),
				"http2_protocol_options": upstreams * oneIf(w.Wire.GRPC), "tls_minimum_protocol_version: TLSv1_3": oneIf(w.Wire.TLS), "port_value: 4": mirrors,
			}
			if diff := cmp.Diff(want, count); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s%s", w.Name, name, diff, got)
			}
		}
	}
}

func TestProtocolsOfUnderstudy(t *testing.T) {
	t.Parallel()
	for _, w := range protocolSuite.workloads {
		p := placed(ours100, w)
		if p.Dir = t.TempDir(); w.Wire.TLS {
			if err := p.certify(); err != nil {
				t.Fatal(err)
			}
		}
		text, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v\n%s", w.Name, err, text)
		}
		listener, backend := "HTTP", "AUTO"
		if w.Wire.TLS {
			listener = "HTTPS"
		}
		if w.Wire.GRPC {
			backend = "HTTP2"
		}
		for _, b := range c.Backends {
			if c.Listeners[0].Protocol != listener || string(b.Protocol) != backend {
				t.Errorf("%s: %s to %s, want %s to %s", w.Name, c.Listeners[0].Protocol, b.Protocol, listener, backend)
			}
		}
	}
}

func TestWhatH2loadIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		has   []string
		first string // of the addresses
		body  string
	}{
		"tls-get-200": {[]string{"--h1", "--tls13-ciphers=TLS_AES_128_GCM_SHA256"}, "https://shop.example.com/shop/items?page=2&id=0000000000000000", ""},
		"tls-post-4k": {[]string{"--h1"}, "https://shop.example.com/shop/items?page=2&id=0000000000000000", string(load.Body(4096))},
		"h2c-get-200": {[]string{"-m", "8"}, "http://shop.example.com/shop/items?page=2&id=0000000000000000", ""},
		"grpc-unary":  {[]string{"--header=content-type: application/grpc"}, "http://shop.example.com/load.Calls/0000000000000000", "\x00\x00\x00\x00d" + string(load.Body(100))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := protocol(t, name)
			args, err := w.h2loadArgs(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, arg := range want.has {
				if !slices.Contains(args, arg) {
					t.Errorf("no %s in %q", arg, args)
				}
			}
			uris, err := os.ReadFile(dir + "/h2load.uris")
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(uris), "\n")
			if first != want.first || strings.Count(string(uris), "\n") != 1000 {
				t.Errorf("%d addresses from %s on, want 1000 from %s on", strings.Count(string(uris), "\n"), first, want.first)
			}
			body, err := os.ReadFile(dir + "/h2load.body")
			if (err == nil) != (want.body != "") || string(body) != want.body {
				t.Errorf("body of %d bytes, %v, want %d", len(body), err, len(want.body))
			}
		})
	}
}

func TestWhatH2loadSays(t *testing.T) {
	t.Parallel()
	const head = "starting benchmark...\nprogress: 10% done\n\nfinished in 1.50s, 8123.45 req/s, 2.10MB/s\n"
	got, err := parseH2load(head + `requests: 10000 total, 9990 started, 9990 done, 9975 succeeded, 25 failed, 10 errored, 0 timeout
status codes: 9975 2xx, 0 3xx, 0 4xx, 10 5xx
traffic: 1.83MB (1920000) total, 39.06KB (40000) headers (space savings 95.00%), 1.53MB (1600000) data
`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Requests != 10000 || got.OK != 9975 || got.Throughput != 8123.45 {
		t.Errorf("%d of %d at %g/s", got.OK, got.Requests, got.Throughput)
	}
	if diff := cmp.Diff(map[string]uint64{"failed": 5, "errored": 10, "5xx": 10}, got.Errors); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{
		"nothing":   "",
		"half":      head,
		"no rate":   "finished in a moment\n",
		"no start":  head + "requests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout\nstatus codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx\n",
		"something": "requests: many\nstatus codes: 200\n",
	} {
		if r, err := parseH2load(text); err == nil {
			t.Errorf("%s is taken for %+v", name, r)
		}
	}
}

func TestSameSetOfWhatWasSent(t *testing.T) {
	t.Parallel()
	var sent, other load.IDSet
	sent.Add(1)
	other.Add(2)
	ours := load.Result{Requests: 1, Sent: sent}
	for _, tt := range []struct {
		w    workload
		r    load.Result
		seen load.IDSet
		want bool
	}{
		{workload{}, ours, sent, true},
		{workload{}, ours, other, false},
		{workload{Wire: wire{GRPC: true}, Messages: 100}, ours, other, false},
		{workload{Wire: wire{TLS: true}}, load.Result{Requests: 1}, other, true},
		{workload{Wire: wire{TLS: true}}, load.Result{Requests: 2}, other, false},
	} {
		if got := tt.w.sameSet(&tt.r, tt.seen); got != tt.want {
			t.Errorf("%+v: %+v of %+v are the same set: %v", tt.w, tt.seen, tt.r, got)
		}
	}
}

func TestVersionsOfPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct{ says, want string }{
		"envoy":  {"\n/opt/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n\n", "Envoy 1.40.0"},
		"nginx":  {"nginx version: nginx/1.22.1\n", "nginx/1.22.1"},
		"h2load": {"h2load nghttp2/1.52.0\n", "h2load nghttp2/1.52.0"},
	} {
		path := dir + "/" + name
		if err := os.WriteFile(path, []byte("#!/bin/sh\ncat <<'E'\n"+tt.says+"E\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := version(name, path); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
