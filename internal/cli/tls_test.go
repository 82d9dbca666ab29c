package cli

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/test/certs"
)

// shownAt is the certificate that the proxy shows.
func (r *running) shownAt(t *testing.T, a *certs.Authority) *tls.ConnectionState {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.base, "https://"), &tls.Config{RootCAs: a.Pool, ServerName: "shop.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return &state
}

// put replaces the certificate at the files of at by another, as a whole.
func put(t *testing.T, at, by *certs.Leaf) {
	t.Helper()
	for to, from := range map[string]string{at.Cert: by.Cert, at.Key: by.Key} {
		must(t, os.Rename(from, to))
	}
}

func TestCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(*certs.Leaf) []string{
		"a file": func(leaf *certs.Leaf) []string {
			return []string{"-c", writeFile(t, fmt.Sprintf(`listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTPS, tls: {certificates: [{cert: %s, key: %s}]}}]
routes: [{name: shop, rules: [{redirect: {hostname: a}}]}]
`, leaf.Cert, leaf.Key))}
		},
		"flags": func(leaf *certs.Leaf) []string {
			return []string{"--listen", "127.0.0.1:0", "--tls-cert", leaf.Cert, "--tls-key", leaf.Key, "--primary", "http://127.0.0.1:1"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := certs.New(t)
			leaf, next, last := a.Leaf(t, "shop.example.com"), a.Leaf(t, "shop.example.com"), a.Leaf(t, "shop.example.com")
			r := start(t, args(leaf)...)
			put(t, leaf, next)
			r.log.await(t, "configuration is in force")
			if got := r.shownAt(t, a).PeerCertificates[0]; !got.Equal(next.Pair.Leaf) {
				t.Error("the certificate before is shown")
			}
			must(t, os.WriteFile(leaf.Key, []byte("half a key"), 0o600))
			r.log.await(t, "configuration refused, nothing has changed.*"+leaf.Key+": has no PEM block")
			if got := r.shownAt(t, a).PeerCertificates[0]; !got.Equal(next.Pair.Leaf) {
				t.Error("another certificate is shown")
			}
			put(t, leaf, last)
			r.log.await(t, "(?s)in force.*in force")
			if got := r.shownAt(t, a).PeerCertificates[0]; !got.Equal(last.Pair.Leaf) {
				t.Error("the new certificate is not shown")
			}
		})
	}
}

func TestUnverifiedBackendsAreWarnedOf(t *testing.T) {
	t.Parallel()
	file := writeFile(t, `listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:1"], tls: {insecureSkipVerify: true}}]
`)
	const warning = "backends[0].tls.insecureSkipVerify: the backend is not verified"
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"check", "-c", file}, s); code != 0 || !strings.Contains(errOut.String(), "warning: "+file+":3: "+warning) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	start(t, "-c", file).log.await(t, `WARN +look at the configuration warning=.*backends\[0\].tls.insecureSkipVerify`)
}

func TestCheckExplainsIdentities(t *testing.T) {
	t.Parallel()
	a := certs.New(t)
	leaf := a.Leaf(t, "shop.example.com")
	file := writeFile(t, fmt.Sprintf(`listeners: [{name: web, address: "127.0.0.1:8443", protocol: HTTPS, tls: {certificates: [{cert: %s, key: %s}], clientAuth: optional, clientCA: %s}}]
routes:
  - name: shop
    rules:
      - matches: [{identities: ["spiffe://example.org/*"]}]
        redirect: {hostname: web}
      - redirect: {hostname: all}
`, leaf.Cert, leaf.Key, a.File))
	for _, c := range []struct{ identity, want string }{
		{"spiffe://example.org/web", "the proxy answers 302 itself: https://web:8443/"},
		{"ops@example.org", "no: the client is ops@example.org, not spiffe://example.org/*"},
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), []string{"check", "-c", file, "--request", "/", "--identity", c.identity}, s); code != 0 || !strings.Contains(out.String(), c.want) {
			t.Errorf("exit code %d: %s%s", code, out, errOut)
		}
	}
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"check", "-c", file, "--identity", "a"}, s); code != 2 || !strings.Contains(errOut.String(), "--identity belongs to a --request") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
