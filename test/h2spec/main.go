// Command h2spec runs the conformance tests of the same name against a built
// understudy, with a backend that answers every request. It fails unless all
// of them pass.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// sections are what is run: everything, but for http2/3.5/2, which wants the
// connection closed without a word after an invalid preface. A port that speaks
// HTTP/1.1 as well answers 400 first.
var sections = []string{"generic", "hpack", "http2/3.5/1", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8"}

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
	address, err := freeAddress()
	if err != nil {
		return err
	}
	stop, err := start(ctx, understudy, address, backend.Addr().String())
	if err != nil {
		return err
	}
	defer stop()
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.CommandContext(ctx, h2spec, append([]string{"-h", host, "-p", port}, sections...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// start runs the proxy until stop is called.
func start(ctx context.Context, understudy, address, backend string) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "h2spec")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "understudy.yaml")
	text := fmt.Sprintf("listeners: [{name: web, address: %q}]\nroutes: [{name: all, rules: [{backends: [{name: b}], mirrors: [{backend: b, writes: copy}]}]}]\nbackends: [{name: b, endpoints: [%q]}]\n", address, backend)
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
	if err := reachable(ctx, address); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
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
