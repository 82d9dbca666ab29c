package config

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestQuick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options QuickOptions
		file    string
	}{
		{"primary only", QuickOptions{Listen: "127.0.0.1:8080", Primary: "http://127.0.0.1:9000"}, `
listeners: [{name: web, address: "127.0.0.1:8080"}]
routes: [{name: default, rules: [{backends: [{name: primary}]}]}]
backends: [{name: primary, endpoints: ["127.0.0.1:9000"]}]
`},
		{"shadow", QuickOptions{Listen: ":8080", Primary: "primary.example.com:9000", Shadow: "http://shadow.example.com/", Percent: ptr(0.0), ShadowWrites: true}, `
listeners: [{name: web, address: ":8080"}]
routes: [{name: default, rules: [{backends: [{name: primary}], mirrors: [{backend: shadow, percent: 0, writes: copy}]}]}]
backends: [{name: primary, endpoints: ["primary.example.com:9000"]}, {name: shadow, endpoints: ["shadow.example.com:80"]}]
`},
		{"everything", QuickOptions{
			Listen: "[::1]:0", Primary: "http://[::1]:9000", Shadow: "127.0.0.1:9001", Shadows: []string{"http://127.0.0.1:9002", "127.0.0.1:9003"},
			Percent: ptr(12.5), Admin: "0.0.0.0:9900", AdminToken: "token-for-this-test", AccessLog: "-", Workers: 2,
		}, `
listeners: [{name: web, address: "[::1]:0"}]
routes:
  - name: default
    rules:
      - backends: [{name: primary}]
        mirrors: [{backend: shadow, percent: 12.5}, {backend: shadow-2, percent: 12.5}, {backend: shadow-3, percent: 12.5}]
backends:
  - {name: primary, endpoints: ["[::1]:9000"]}
  - {name: shadow, endpoints: ["127.0.0.1:9001"]}
  - {name: shadow-2, endpoints: ["127.0.0.1:9002"]}
  - {name: shadow-3, endpoints: ["127.0.0.1:9003"]}
admin: {address: "0.0.0.0:9900", token: token-for-this-test}
accessLog: {path: "-"}
workers: 2
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Quick(c.options)
			if err != nil {
				t.Fatal(err)
			}
			if want := parse(t, c.file); got.Version != want.Version {
				gotText, _ := got.YAML()
				wantText, _ := want.YAML()
				t.Errorf("(-want +got):\n%s", cmp.Diff(string(wantText), string(gotText)))
			}
		})
	}
}

func TestQuickNamesFlags(t *testing.T) {
	t.Parallel()
	good := func(change func(*QuickOptions)) QuickOptions {
		o := QuickOptions{Listen: "127.0.0.1:8080", Primary: "127.0.0.1:9000", Shadow: "127.0.0.1:9001"}
		change(&o)
		return o
	}
	for _, c := range []struct {
		name    string
		options QuickOptions
		want    string
	}{
		{"nothing", QuickOptions{}, "--primary: is missing (give it an address like http://127.0.0.1:9000)\n--listen: is missing (write it like 127.0.0.1:8080, or :8080 for all interfaces)"},
		{"listen without a port", good(func(o *QuickOptions) { o.Listen = "8080" }), `--listen: must be host:port, is "8080" (write it like 127.0.0.1:8080, or :8080 for all interfaces)`},
		{"certificate missing", good(func(o *QuickOptions) { o.TLSCert, o.TLSKey = "no.crt", "no.key" }), "--tls-cert: no.crt: no such file or directory (relative names begin where understudy was started)\n--tls-key: no.key: no such file or directory (relative names begin where understudy was started)"},
		{"key missing", good(func(o *QuickOptions) { o.TLSCert = "/dev/null" }), "--tls-cert: /dev/null: is not a PEM file (relative names begin where understudy was started)\n--tls-key: is missing (name a PEM file)"},
		{"authority missing", good(func(o *QuickOptions) { o.Primary, o.CA = "https://a", "no.pem" }), "--backend-ca: no.pem: no such file or directory (relative names begin where understudy was started)"},
		{"other protocol", good(func(o *QuickOptions) { o.Primary = "ftp://a:1" }), "--primary: ftp is not a protocol of a backend (write it like http://127.0.0.1:9000)"},
		{"path", good(func(o *QuickOptions) { o.Shadow = "http://a:1/api" }), `--shadow: "http://a:1/api" is more than a host and a port (leave the rest out; a file can rewrite paths)`},
		{"user", good(func(o *QuickOptions) { o.Shadow = "http://me@a:1" }), `--shadow: "http://me@a:1" is more than a host and a port (leave the rest out; a file can rewrite paths)`},
		{"not a URL", good(func(o *QuickOptions) { o.Shadow = "http://a:b:c" }), `--shadow: "http://a:b:c" is not a URL (write it like http://127.0.0.1:9000)`},
		{"no port", good(func(o *QuickOptions) { o.Shadow = "localhost" }), `--shadow: "localhost" has no port (did you mean localhost:80?)`},
		{"bad host in a URL", good(func(o *QuickOptions) { o.Shadow = "http://a b:1" }), `--shadow: "http://a b:1" is not a URL (write it like http://127.0.0.1:9000)`},
		{"percent of two shadows", good(func(o *QuickOptions) { o.Shadows, o.Percent = []string{"127.0.0.1:9002"}, ptr(101.0) }), "--percent: must be between 0 and 100, is 101"},
		{"copies for nobody", good(func(o *QuickOptions) { o.Shadow, o.Percent, o.ShadowWrites = "", ptr(5.0), true }),
			"--percent: is about copies, and nobody gets any (name who does by --shadow, or leave it out)\n--shadow-writes: is about copies, and nobody gets any (name who does by --shadow, or leave it out)"},
		{"percent that is no number", good(func(o *QuickOptions) { o.Percent = ptr(math.NaN()) }), "--percent: must be between 0 and 100, is NaN"},
		{"admin without a token", good(func(o *QuickOptions) { o.Admin = ":9900" }), "--admin-token: is missing, but :9900 can be reached from other machines (set one, or use a loopback address such as 127.0.0.1:9900)"},
		{"admin", good(func(o *QuickOptions) { o.Admin = "9900" }), `--admin: must be host:port, is "9900" (write it like 127.0.0.1:8080, or :8080 for all interfaces)`},
		{"workers", good(func(o *QuickOptions) { o.Workers = -1 }), "--workers: must be between 0 and 1024, is -1"},
		{"several", good(func(o *QuickOptions) { o.Listen, o.Shadow = "", "x" }), "--shadow: \"x\" has no port (did you mean x:80?)\n--listen: is missing (write it like 127.0.0.1:8080, or :8080 for all interfaces)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Quick(c.options)
			if err == nil || err.Error() != c.want || got != nil {
				t.Errorf("error:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestQuickDoesNotKeepThePercent(t *testing.T) {
	t.Parallel()
	percent := 10.0
	c, err := Quick(QuickOptions{Listen: ":8080", Primary: "a:1", Shadow: "b:1", Percent: &percent})
	if err != nil {
		t.Fatal(err)
	}
	percent = 20
	if got := *c.Routes[0].Rules[0].Mirrors[0].Percent; got != 10 {
		t.Errorf("percent became %v", got)
	}
}
