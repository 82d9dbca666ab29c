package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/test/certs"
)

// tlsConfig is a configuration with these lines of TLS.
func tlsConfig(listener, backend string) string {
	return fmt.Sprintf(`listeners: [{name: web, address: "127.0.0.1:8443", protocol: HTTPS, tls: {%s}}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"], tls: {%s}}]
`, listener, backend)
}

func TestFilesOfTLSAreReadAndChecked(t *testing.T) {
	t.Parallel()
	a := certs.New(t)
	leaf, other := a.Leaf(t, "shop.example.com"), a.Leaf(t, "other.example.com")
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	show := func(cert, key string) string { return fmt.Sprintf("certificates: [{cert: %s, key: %s}]", cert, key) }
	good := show(leaf.Cert, leaf.Key)
	const where = " (relative names begin where understudy was started)"
	for _, c := range []struct{ name, listener, backend, want string }{
		{"no certificate", "", "", "listeners[0].tls.certificates: is empty, so there is nothing to show to clients (write them like [{cert: shop.crt, key: shop.key}])"},
		{"missing files", show(dir+"/no.crt", dir+"/no.key"), "",
			"listeners[0].tls.certificates[0].cert: " + dir + "/no.crt: no such file or directory" + where + "\n" +
				"listeners[0].tls.certificates[0].key: " + dir + "/no.key: no such file or directory" + where},
		{"a folder", show(dir, leaf.Key), "", "listeners[0].tls.certificates[0].cert: " + dir + ": is not a PEM file" + where},
		{"no PEM", show(text, leaf.Key), "", "listeners[0].tls.certificates[0].cert: " + text + ": has no PEM block (convert it with openssl x509 -inform der)"},
		{"swapped", show(leaf.Key, leaf.Cert), "", "listeners[0].tls.certificates[0].cert: " + leaf.Key + ": has no CERTIFICATE, but a PRIVATE KEY"},
		{"another's key", show(leaf.Cert, other.Key), "", "listeners[0].tls.certificates[0].key: " + other.Key + ": the key is not that of the certificate"},
		{"a key that is none", show(leaf.Cert, text), "", "listeners[0].tls.certificates[0].key: " + text + ": has no PEM block"},
		{"nobody to believe", good + ", clientAuth: require", "", "listeners[0].tls.clientCA: is missing, so no client could be believed (name the file of the authorities that sign clients' certificates)"},
		{"nobody is asked", good + ", clientCA: " + a.File, "", "listeners[0].tls.clientCA: has no effect, because clients are not asked for certificates (write clientAuth: require, or optional)"},
		{"an unknown mode", good + ", mode: Passthrough", "", `listeners[0].tls.mode: "Passthrough" is not possible here`},
		{"an old version", good + `, minVersion: "1.1"`, "", `listeners[0].tls.minVersion: "1.1" is not possible here (did you mean 1.2?)`},
		{"a broken suite", good + ", cipherSuites: [TLS_RSA_WITH_RC4_128_SHA]", "", "listeners[0].tls.cipherSuites[0]: TLS_RSA_WITH_RC4_128_SHA is broken (remove it)"},
		{"a suite of TLS 1.3", good + ", cipherSuites: [TLS_AES_128_GCM_SHA256]", "", `listeners[0].tls.cipherSuites[0]: "TLS_AES_128_GCM_SHA256" is not a cipher suite of TLS 1.2`},
		{"suites without effect", good + `, minVersion: "1.3", cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]`, "", "listeners[0].tls.cipherSuites: has no effect with TLS 1.3, whose suites are all secure (remove it)"},
		{"a protocol that is not spoken", good + ", alpn: [h3]", "", `listeners[0].tls.alpn[0]: "h3" is not possible here (did you mean h2?)`},
		{"authorities that are none", good, "ca: " + leaf.Key, "backends[0].tls.ca: " + leaf.Key + ": has no CERTIFICATE, but a PRIVATE KEY"},
		{"a certificate without a key", good, "cert: " + leaf.Cert, "backends[0].tls.key: is missing (name a PEM file)"},
		{"trust and none", good, "insecureSkipVerify: true, ca: " + a.File, "backends[0].tls.insecureSkipVerify: believes anybody, whatever ca says (remove one of them)"},
		{"a name that is none", good, `serverName: "a b"`, `backends[0].tls.serverName: "a b" is not a name (write it like shop.internal)`},
	} {
		_, err := Parse("c.yaml", []byte(tlsConfig(c.listener, c.backend)))
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		got := strings.NewReplacer("c.yaml:1: ", "", "c.yaml:3: ", "").Replace(err.Error())
		if !strings.HasPrefix(got, c.want) || strings.Count(got, "\n") != strings.Count(c.want, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestTLSWarnings(t *testing.T) {
	t.Parallel()
	a := certs.New(t)
	end := time.Date(2020, 2, 1, 12, 0, 0, 0, time.UTC)
	old := a.Until(t, end, "shop.example.com")
	c := parse(t, tlsConfig(fmt.Sprintf("certificates: [{cert: %s, key: %s}]", old.Cert, old.Key), "insecureSkipVerify: true"))
	want := "test.yaml:1: listeners[0].tls.certificates[0].cert: " + old.Cert + ": the certificate of shop.example.com expired on 2020-02-01 (renew it)\n" +
		"test.yaml:3: backends[0].tls.insecureSkipVerify: the backend is not verified: whoever answers at its address gets the requests" +
		" (name the authority with ca, and the server with serverName)"
	if got := c.Warnings.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFilesOfAConfigurationAreListedOnce(t *testing.T) {
	t.Parallel()
	a := certs.New(t)
	leaf := a.Leaf(t, "shop.example.com")
	pair := fmt.Sprintf("{cert: %s, key: %s}", leaf.Cert, leaf.Key)
	c := parse(t, tlsConfig("certificates: ["+pair+", "+pair+"], clientAuth: require, clientCA: "+a.File, "ca: "+a.File))
	if got, want := c.Files(), []string{leaf.Cert, leaf.Key, a.File}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSameTLS(t *testing.T) {
	t.Parallel()
	a, b := certs.New(t), certs.New(t)
	mine, other := a.Leaf(t, "a"), a.Leaf(t, "a")
	base := BackendTLS{Roots: a.Pool, Pair: &mine.Pair, ServerName: "a"}
	for name, change := range map[string]func(*BackendTLS){
		"authorities": func(t *BackendTLS) { t.Roots = b.Pool },
		"certificate": func(t *BackendTLS) { t.Pair = &other.Pair },
		"none":        func(t *BackendTLS) { t.Pair = nil },
		"name":        func(t *BackendTLS) { t.ServerName = "b" },
		"trust":       func(t *BackendTLS) { t.InsecureSkipVerify = true },
		"system":      func(t *BackendTLS) { t.Roots = nil },
	} {
		changed := base
		change(&changed)
		if base.Same(&changed) || changed.Same(&base) {
			t.Errorf("%s: connections would be shared", name)
		}
	}
	again := base
	again.CA = "moved.pem"
	if !base.Same(&again) || !(*BackendTLS)(nil).Same(nil) || base.Same(nil) || (*BackendTLS)(nil).Same(&base) {
		t.Error("what is the same is not, or the other way round")
	}
}

func TestIdentitiesNeedAListenerThatAsks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ identity, want string }{
		{"spiffe://a/*", "can never hold: no listener asks clients for certificates"},
		{"*", `"*" is not the name of a client`},
		{"a*b", `may have * at its end only, is "a*b"`},
	} {
		yaml := fmt.Sprintf(`listeners: [{name: web, address: "127.0.0.1:8080"}]
routes: [{name: shop, rules: [{matches: [{identities: ["%s"]}], backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}]
`, c.identity)
		if _, err := Parse("c.yaml", []byte(yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.identity, err, c.want)
		}
	}
}
