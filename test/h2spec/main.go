// Command h2spec runs the conformance tests of the same name against a built
// understudy, with a backend that answers every request. It fails unless all
// of them pass.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// inClear are the sections that are run without TLS: all but http2/3.5/2, which
// wants the connection closed without a word after an invalid preface. A port
// that speaks HTTP/1.1 as well answers 400 first.
var inClear = []string{"generic", "hpack", "http2/3.5/1", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8"}

func main() {
	understudy := flag.String("understudy", "bin/understudy", "the proxy to test")
	h2spec := flag.String("h2spec", "h2spec", "the tests")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := run(ctx, *understudy, *h2spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, understudy, h2spec string) error {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, "hello")
	})}
	go func() { _ = server.Serve(backend) }()
	defer server.Close()
	var addresses [2]string // in clear, and with TLS
	for i := range addresses {
		if addresses[i], err = freeAddress(); err != nil {
			return err
		}
	}
	stop, err := start(ctx, understudy, addresses, backend.Addr().String())
	if err != nil {
		return err
	}
	defer stop()
	return errors.Join(
		test(ctx, h2spec, addresses[0], inClear...),
		test(ctx, h2spec, addresses[1], "-t", "-k"),
	)
}

// test runs the tests against address.
func test(ctx context.Context, h2spec, address string, arguments ...string) error {
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.CommandContext(ctx, h2spec, append([]string{"-h", host, "-p", port}, arguments...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

const configuration = `
listeners:
  - {name: clear, address: %q}
  - {name: secure, address: %q, protocol: HTTPS, tls: {certificates: [{cert: %q, key: %q}]}}
routes: [{name: all, rules: [{backends: [{name: b}], mirrors: [{backend: b, writes: copy}]}]}]
backends: [{name: b, endpoints: [%q]}]
`

// start runs the proxy until stop is called.
func start(ctx context.Context, understudy string, addresses [2]string, backend string) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "h2spec")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "understudy.yaml")
	pair := filepath.Join(dir, "pair.pem")
	if err := certify(pair); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(configuration, addresses[0], addresses[1], pair, pair, backend)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, understudy, "run", "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	for _, address := range addresses {
		if err := reachable(ctx, address); err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// certify writes a certificate that nobody trusts, and its key, to file.
func certify(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	return os.WriteFile(file, text, 0o600)
}

// reachable waits until somebody listens on address.
func reachable(ctx context.Context, address string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return errors.New("the proxy does not listen")
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
