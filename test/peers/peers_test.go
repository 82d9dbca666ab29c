//go:build peers

package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"

	"github.com/understudy-proxy/understudy/test/certs"
)

// patience only turns a hang into a failure.
const patience = 20 * time.Second

// house is a running proxy with backends that are well, and some that are not.
type house struct {
	authority, stranger *certs.Authority
	client              *certs.Leaf // for listeners and backends that want one
	plain, web, private string      // addresses of listeners: in the clear, by TLS, and for clients that are known
	log, access         string      // files
}

// secure is a backend with leaf, that wants a certificate if wants says so.
func secure(t *testing.T, leaf *certs.Leaf, wants *x509.CertPool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "by", r.Proto) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.Pair}}
	if wants != nil {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, wants
	}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "https://")
}

// calls is gRPC's test server, which tells what it has.
func calls(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer())
	reflection.Register(g)
	go func() { _ = g.Serve(ln) }()
	t.Cleanup(g.Stop)
	return ln.Addr().String()
}

// free returns addresses that nobody listens on.
func free(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses
}

// open builds the proxy and runs it.
func open(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{authority: certs.New(t), stranger: certs.New(t), log: filepath.Join(dir, "log"), access: filepath.Join(dir, "access")}
	h.client = h.authority.Leaf(t, "spiffe://example.com/me")
	good := h.authority.Leaf(t, "127.0.0.1", "shop.example.com")
	old := h.authority.Until(t, time.Now().Add(-time.Hour), "127.0.0.1")
	a := free(t, 3)
	h.plain, h.web, h.private = a[0], a[1], a[2]
	pair := func(l *certs.Leaf) string { return fmt.Sprintf("{cert: %s, key: %s}", l.Cert, l.Key) }
	ca := "tls: {ca: " + h.authority.File + "}"
	text := fmt.Sprintf(`
listeners:
  - {name: plain, address: %q}
  - {name: web, address: %q, protocol: HTTPS, tls: {certificates: [%s, %s]}}
  - {name: private, address: %q, protocol: HTTPS, tls: {certificates: [%s], clientAuth: require, clientCA: %s}}
accessLog: {path: %q}
routes:
  - name: all
    rules:
      - {matches: [{path: {value: /expired}}], backends: [{name: expired}]}
      - {matches: [{path: {value: /other-name}}], backends: [{name: other-name}]}
      - {matches: [{path: {value: /other-authority}}], backends: [{name: other-authority}]}
      - {matches: [{path: {value: /wants-me}}], backends: [{name: wants-me}]}
      - {matches: [{path: {value: /knows-me}}], backends: [{name: knows-me}]}
      - {matches: [{grpc: {}}], backends: [{name: calls}], mirrors: [{backend: calls, writes: copy}]}
      - {backends: [{name: good}], mirrors: [{backend: good, writes: copy}]}
backends:
  - {name: good, endpoints: [%q], %s}
  - {name: expired, endpoints: [%q], %s}
  - {name: other-name, endpoints: [%q], %s}
  - {name: other-authority, endpoints: [%q], %s}
  - {name: wants-me, endpoints: [%q], %s}
  - {name: knows-me, endpoints: [%q], tls: {ca: %s, cert: %s, key: %s}}
  - {name: calls, endpoints: [%q], protocol: HTTP2}
`, h.plain, h.web, pair(good), pair(h.authority.Leaf(t, "*.example.org")), h.private, pair(good), h.authority.File, h.access,
		secure(t, good, nil), ca, secure(t, old, nil), ca, secure(t, h.authority.Leaf(t, "elsewhere.example.com"), nil), ca,
		secure(t, h.stranger.Leaf(t, "127.0.0.1"), nil), ca, secure(t, good, h.authority.Pool), ca,
		secure(t, good, h.authority.Pool), h.authority.File, h.client.Cert, h.client.Key, calls(t))
	config, binary := filepath.Join(dir, "understudy.yaml"), filepath.Join(dir, "understudy")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/understudy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(binary, "run", "-c", config)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log:\n%s\naccess log:\n%s", read(t, h.log), read(t, h.access))
		}
	})
	for deadline := time.Now().Add(patience); ; {
		if c, err := net.Dial("tcp", h.plain); err == nil {
			c.Close()
			return h
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says waits until one line of a file has all of these in it.
func says(t *testing.T, file string, parts ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
	lines:
		for line := range strings.Lines(read(t, file)) {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			return
		}
	}
	t.Errorf("no line with %q in %s", parts, filepath.Base(file))
}

// run runs a program and returns what it says, whether it succeeds or not.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return string(out)
}

// curl asks for a path at a listener by its name.
func (h *house) curl(t *testing.T, listener, path string, more ...string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(listener)
	return run(t, "curl", append([]string{"-sS", "--cacert", h.authority.File, "--resolve", "shop.example.com:" + port + ":127.0.0.1",
		"-w", "status %{http_code} by HTTP/%{http_version}", "https://shop.example.com:" + port + path}, more...)...)
}

func TestPeersSpeakHTTP(t *testing.T) {
	h := open(t)
	grpcurl := []string{"-d", `{"payload": {"body": "aGVsbG8="}}`, "-max-time", "10"}
	_, port, _ := net.SplitHostPort(h.web)
	const call = "grpc.testing.TestService/UnaryCall"
	for _, c := range []struct{ name, got, want string }{
		{"curl, HTTP/1.1", run(t, "curl", "-sS", "--http1.1", "-w", "%{http_version}", "http://"+h.plain+"/"), "by HTTP/2.0\n1.1"},
		{"curl, prior knowledge", run(t, "curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "http://"+h.plain+"/"), "by HTTP/2.0\n2"},
		{"curl, upgrade that is not offered", run(t, "curl", "-sS", "--http2", "-w", "%{http_version}", "http://"+h.plain+"/"), "by HTTP/2.0\n1.1"},
		{"curl, ALPN", h.curl(t, h.web, "/", "--http2"), "by HTTP/2.0\nstatus 200 by HTTP/2"},
		{"curl, TLS and HTTP/1.1", h.curl(t, h.web, "/", "--http1.1"), "by HTTP/2.0\nstatus 200 by HTTP/1.1"},
		{"curl, TLS 1.2", h.curl(t, h.web, "/", "--tls-max", "1.2"), "status 200"},
		{"curl, its certificate", h.curl(t, h.private, "/", "--cert", h.client.Cert, "--key", h.client.Key), "status 200"},
		{"nghttp", run(t, "nghttp", "-nsv", "https://"+h.web+"/"), ":status: 200"},
		{"nghttp, in the clear", run(t, "nghttp", "-nsv", "http://"+h.plain+"/"), ":status: 200"},
		{"openssl, a name", h.shows(t, "shop.example.com"), "DNS:shop.example.com"},
		{"openssl, a wildcard", h.shows(t, "any.example.org"), "DNS:*.example.org"},
		{"openssl, an unknown name", h.shows(t, "nobody.example.net"), "DNS:shop.example.com"},
		{"grpcurl", run(t, "grpcurl", append(grpcurl, "-plaintext", h.plain, call)...), "{}"},
		{"grpcurl, TLS", run(t, "grpcurl", append(grpcurl, "-cacert", h.authority.File, "-servername", "shop.example.com", "127.0.0.1:"+port, call)...), "{}"},
		{"grpcurl, a method that is not there", run(t, "grpcurl", "-plaintext", "-max-time", "10", h.plain, "grpc.testing.TestService/UnimplementedCall"), "Unimplemented"},
		{"the backend that knows us", h.curl(t, h.web, "/knows-me"), "status 200"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: got %q, want %q in it", c.name, c.got, c.want)
		}
	}
	says(t, h.access, `"grpc_status":"OK"`, `"fate":"completed"`)
}

// shows is what openssl says of the certificate that is shown for a name.
func (h *house) shows(t *testing.T, name string) string {
	t.Helper()
	shown := run(t, "sh", "-c", `openssl s_client -connect "$0" -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName`, h.web, name)
	return shown
}

// Whatever is wrong with a certificate, the log says whose it is.
func TestPeersAreToldWhoIsToBlame(t *testing.T) {
	h := open(t)
	for path, why := range map[string]string{
		"/expired":         "the backend's certificate has expired or is not valid yet",
		"/other-name":      "the backend's certificate is for another name",
		"/other-authority": "the backend's certificate is signed by an authority that is not trusted",
		"/wants-me":        "the backend refused us, perhaps for want of a client certificate",
	} {
		if got := h.curl(t, h.web, path); !strings.Contains(got, "status 503") {
			t.Errorf("%s: got %q, want 503", path, got)
		}
		says(t, h.access, `"path":"`+path+`"`, `"source":"primary"`, why)
	}
	old, odd := h.authority.Until(t, time.Now().Add(-time.Hour), "old.example.com"), h.stranger.Leaf(t, "odd.example.com")
	for _, c := range []struct {
		listener, why string
		more          []string
	}{
		{h.private, "the client showed no certificate, and the listener requires one", nil},
		{h.private, "it has expired or is not valid yet", []string{"--cert", old.Cert, "--key", old.Key}},
		{h.private, "it is signed by an authority that is not in clientCA", []string{"--cert", odd.Cert, "--key", odd.Key}},
		{h.web, "the client refused our certificate", []string{"--cacert", h.stranger.File, "--tls-max", "1.2"}},
		{h.web, "no version of TLS that the listener allows", []string{"--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"}},
	} {
		if got := h.curl(t, c.listener, "/", c.more...); strings.Contains(got, "status 200") {
			t.Errorf("%s: got %q", c.why, got)
		}
		says(t, h.access, `"source":"client"`, c.why)
	}
	// One line in a second and loop: the first is sure to be there.
	says(t, h.log, "TLS handshake failed", `"listener":"private"`, `"result":"certificate"`)
}
