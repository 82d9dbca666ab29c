package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

// small is about the least that is accepted.
const small = `
listeners: [{name: web, address: "127.0.0.1:8080"}]
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v1, percent: 10}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}]
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigurationInForceParsesToItself(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			first, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, first)
		})
	}
}

// roundTrip checks that c's YAML and JSON mean c again.
func roundTrip(t *testing.T, c *Config) {
	t.Helper()
	for name, encode := range map[string]func() ([]byte, error){"YAML": c.YAML, "JSON": func() ([]byte, error) { return c.JSON(), nil }} {
		data, err := encode()
		if err != nil {
			t.Fatal(err)
		}
		data = []byte(strings.ReplaceAll(string(data), Redacted, "secret-for-this-test"))
		again, err := Parse(name, data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if c.Admin.Token != "" {
			again.Admin.Token = c.Admin.Token
		}
		if c.Redact.Key != "" {
			again.Redact.Key = c.Redact.Key
		}
		if diff := cmp.Diff(c, again, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(FieldError{}, "File", "Line")); diff != "" {
			t.Errorf("after a round trip through %s (-want +got):\n%s\n%s", name, diff, data)
		}
	}
}

func TestShareIsExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share                  string
		numerator, denominator uint64
	}{
		{"", 1_000_000, 1_000_000},
		{"percent: 100", 1_000_000, 1_000_000},
		{"percent: 0", 0, 1_000_000},
		{"percent: 0.0", 0, 1_000_000},
		{"percent: 12.5", 125_000, 1_000_000},
		{"percent: 0.0001", 1, 1_000_000},
		{"percent: 33.3333", 333_333, 1_000_000},
		{"percent: 99.9999", 999_999, 1_000_000},
		{"percent: 0.29", 2_900, 1_000_000}, // a product of floats would be 2899.9999…
		{"percent: 1e1", 100_000, 1_000_000},
		{"fraction: {numerator: 1, denominator: 3}", 1, 3},
		{"fraction: {numerator: 25}", 25, 100},
		{"fraction: {numerator: 0}", 0, 100},
		{"fraction: {numerator: 7, denominator: 9223372036854775807}", 7, 9223372036854775807},
	} {
		text := strings.Replace(small, "percent: 10", c.share, 1)
		m := parse(t, text).Routes[0].Rules[0].Mirrors[0]
		if m.Numerator != c.numerator || m.Denominator != c.denominator {
			t.Errorf("%q is %d of %d, want %d of %d", c.share, m.Numerator, m.Denominator, c.numerator, c.denominator)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, small)
	r := c.Routes[0].Rules[0]
	m := r.Mirrors[0]
	for what, got := range map[string]struct{ got, want any }{
		"protocol":          {c.Listeners[0].Protocol, "HTTP"},
		"request timeout":   {r.Timeouts.Request.String(), "off"},
		"backend timeout":   {r.Timeouts.Backend.String(), "1m"},
		"idle timeout":      {r.Timeouts.Idle.String(), "1m"},
		"weight":            {*r.Backends[0].Weight, 1},
		"mirror name":       {m.Name, "v1"},
		"writes":            {m.Writes, WritesSkip},
		"host":              {m.Host, HostPolicy{Kind: HostPreserve}},
		"marker":            {*m.Marker, true},
		"body":              {m.Body, BodyPolicy{Limit: 10 << 20, OverLimit: OverLimitSkip}},
		"copy timeout":      {m.Timeout.String(), "15s"},
		"pipeline":          {m.Pipeline, 1},
		"retry":             {m.Retry, false},
		"breaker":           {m.Backoff.Failures, 5},
		"first pause":       {m.Backoff.Base.String(), "1s"},
		"longest pause":     {m.Backoff.Max.String(), "1m"},
		"adaptive":          {*m.Backoff.Adaptive, true},
		"limits":            {m.Limits, Limits{InFlight: 256, Queue: 1024, Memory: 32 << 20, Connections: 256}},
		"balance":           {c.Backends[0].Balance, RoundRobin},
		"connect timeout":   {c.Backends[0].ConnectTimeout.String(), "5s"},
		"pool idle timeout": {c.Backends[0].IdleTimeout.String(), "50s"},
		"health failures":   {c.Backends[0].Health.Failures, 3},
		"eject":             {c.Backends[0].Health.Eject.String(), "5s"},
		"admin":             {c.Admin, Admin{}},
		"access log":        {c.AccessLog.Path, ""},
		"access log share":  {*c.AccessLog.Percent, 100.0},
		"head limit":        {c.Client.HeadLimit, Size(64 << 10)},
		"target limit":      {c.Client.TargetLimit, Size(16 << 10)},
		"header count":      {c.Client.HeaderCount, 128},
		"head timeout":      {c.Client.HeadTimeout.String(), "30s"},
		"client idle":       {c.Client.IdleTimeout.String(), "1m15s"},
		"drain":             {c.Shutdown.Drain.String(), "30s"},
		"copies":            {c.Shutdown.Copies.String(), "5s"},
		"workers":           {c.Workers, 0},
	} {
		if diff := cmp.Diff(got.want, got.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	c := parse(t, small)
	if len(c.Version) != 12 || strings.Trim(c.Version, "0123456789abcdef") != "" {
		t.Errorf("version %q is not 12 hex digits", c.Version)
	}
	same := map[string]string{
		"comments and layout": "# hello\n" + strings.Replace(small, "percent: 10", "percent: 10.0", 1),
		"defaults":            strings.Replace(small, "{name: v1}", "{name: v1, weight: 1}", 1),
	}
	for what, text := range same {
		if got := parse(t, text).Version; got != c.Version {
			t.Errorf("%s changed the version", what)
		}
	}
	different := map[string]string{
		"percent": strings.Replace(small, "percent: 10", "percent: 0", 1),
		"address": strings.Replace(small, "9000", "9001", 1),
		"order":   strings.Replace(small, "endpoints: [", `endpoints: ["127.0.0.1:9001", `, 1),
	}
	seen := map[string]string{c.Version: "nothing"}
	for what, text := range different {
		got := parse(t, text).Version
		if other, ok := seen[got]; ok {
			t.Errorf("changing %s gives the same version as changing %s", what, other)
		}
		seen[got] = what
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const secret = "do-not-tell-anybody"
	admin := "admin: {address: \":9900\", token: " + secret + "}\n"
	key := "redact: {headers: [x], key: " + secret + "}\n"
	neverShown(t, parse(t, small+admin), secret)
	neverShown(t, parse(t, small+key), secret)
	for _, section := range []string{admin, key} {
		other := strings.Replace(section, secret, "another-one-than-that", 1)
		if parse(t, small+section).Version != parse(t, small+other).Version {
			t.Errorf("the version depends on the secret in %s", section)
		}
	}
	if got := parse(t, small+"admin: {address: \"127.0.0.1:9900\"}\n").Admin.String(); got != "{Address:127.0.0.1:9900 Token: Pprof:false}" {
		t.Errorf("without a token: %s", got)
	}
	if got := parse(t, small+key).Redact.String(); got != "{Headers:[x] Query:[] Fields:[] Protobuf:[] Keep:[] Key:[redacted]}" {
		t.Errorf("with a key: %s", got)
	}
}

// neverShown checks that c, which has one secret, is printed without it.
func neverShown(t *testing.T, c *Config, secret string) {
	t.Helper()
	if c.Admin.Token+c.Redact.Key != secret {
		t.Fatalf("the secrets are %q and %q", c.Admin.Token, c.Redact.Key)
	}
	inForce, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	jsonText, err := json.Marshal(*c)
	if err != nil {
		t.Fatal(err)
	}
	otherYAML, err := yaml.Marshal(*c)
	if err != nil {
		t.Fatal(err)
	}
	for what, shown := range map[string]string{
		"YAML": string(inForce), "json.Marshal": string(jsonText), "yaml.Marshal": string(otherYAML), "%v": fmt.Sprintf("%v", *c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c),
	} {
		if strings.Contains(shown, secret) || !strings.Contains(shown, Redacted) {
			t.Errorf("%s shows %s", what, shown)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "understudy.yaml")
	write(t, file, []byte(small))
	c, err := Load(file)
	if err != nil || c.Routes[0].Name != "shop" {
		t.Errorf("Load = %v, %v", c, err)
	}
	if _, err := Load(filepath.Join(dir, "missing.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	write(t, file, []byte("workers: x"))
	var problems Errors
	if _, err := Load(file); !errors.As(err, &problems) || problems[0].File != file || problems[0].Line != 1 || problems[0].Path != "workers" {
		t.Errorf("broken file: %#v", err)
	}
}

// Standard input belongs to the whole process, so this test runs alone.
func TestLoadFromStandardInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stdin")
	write(t, file, []byte(small))
	stdin, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	saved := os.Stdin
	os.Stdin = stdin
	defer func() { os.Stdin = saved }()
	if c, err := Load("-"); err != nil || c.Routes[0].Name != "shop" {
		t.Errorf("Load = %v, %v", c, err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("-"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed standard input: %v", err)
	}
}

func TestProblemsAreInTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	_, err := Parse("c.yaml", []byte("workers: -1\nlisteners: []\nroutes: []\nbackends: []\nclient: {headerCount: x}\n"))
	want := `c.yaml:1: workers: must be between 0 and 1024, is -1
c.yaml:2: listeners: is empty, so nobody could connect (add one like {name: web, address: "127.0.0.1:8080"})
c.yaml:3: routes: is empty, so every request would be answered 404 (add one like {name: default, rules: [{backends: [{name: primary}]}]})
c.yaml:5: client.headerCount: must be a whole number, is "x" (write it in digits, without a unit or quotes)`
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

func TestFieldErrorLeavesOutWhatIsEmpty(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    FieldError
		want string
	}{
		{FieldError{Message: "is odd"}, "is odd"},
		{FieldError{Path: "--listen", Message: "is odd", Hint: "make it even"}, "--listen: is odd (make it even)"},
		{FieldError{File: "c.yaml", Message: "is odd"}, "c.yaml: is odd"},
		{FieldError{File: "c.yaml", Line: 3, Path: "a.b", Message: "is odd"}, "c.yaml:3: a.b: is odd"},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Texts that YAML or JSON write in a special way survive.
func TestOddTextsSurviveARoundTrip(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`"`, `\`, "\t", "é", "日本", "😀", "\u2028", "\ufeff", "\ue000", "true", "null", "~", "1e3", "0x1f", "2026-01-01", "off", ": ", "#", "- a", "{a: b}", "a: b", "'", "<<", "=", "!!str x", "*a", "&a", "%d", "@x", "`"} {
		c := parse(t, small)
		c.Routes[0].Rules[0].Matches = []Match{{Query: []ValueMatch{{Type: ValueExact, Name: "x" + text, Value: text + "x" + text + "y"}, {Type: ValueExact, Name: text, Value: text}}}}
		c.Version = version(c)
		if strings.TrimSpace(text) != text {
			c.Routes[0].Rules[0].Matches[0].Query[1].Value = "x" // spaces at the ends are refused
			c.Routes[0].Rules[0].Matches[0].Query[0].Value = "x"
			c.Version = version(c)
		}
		roundTrip(t, c)
	}
}

func TestAdminOnLoopbackNeedsNoToken(t *testing.T) {
	t.Parallel()
	for address, needed := range map[string]bool{
		"127.0.0.1:9900": false, "127.8.8.8:1": false, "[::1]:9900": false, "localhost:9900": false,
		":9900": true, "0.0.0.0:9900": true, "[::]:9900": true, "192.0.2.1:9900": true, "admin.example.com:9900": true, "localhost.example.com:9900": true,
	} {
		_, err := Parse("c.yaml", []byte(small+"admin: {address: \""+address+"\"}\n"))
		if refused := err != nil && strings.Contains(err.Error(), "admin.token: is missing"); refused != needed || err != nil && !refused {
			t.Errorf("%s: %v, token needed: %t", address, err, needed)
		}
	}
}

func TestLongTextsAreAbridgedInErrors(t *testing.T) {
	t.Parallel()
	_, err := Parse("c.yaml", []byte("workers: "+strings.Repeat("ü", 100)))
	want := "c.yaml:1: workers: must be a whole number, is \"" + strings.Repeat("ü", 60) + "…\" (write it in digits, without a unit or quotes)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}
