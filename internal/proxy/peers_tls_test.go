//go:build peers

package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// A peer that is not Go: openssl, which can ask for new keys in the middle of a
// connection (RFC 8446 §4.6.3), while requests go on.
func TestPeerUpdatesTLSKeys(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		h := newHouse(t)
		_, addr := serve(t, d, h.yaml(shown(h.authority.Leaf(t, "shop.example.com")), ""))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		client := exec.CommandContext(ctx, "openssl", "s_client", "-connect", addr, "-servername", "shop.example.com", "-CAfile", h.authority.File,
			"-verify_return_error", "-tls1_3", "-crlf")
		in, err := client.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := client.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		client.Stderr = client.Stdout
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(out)
		until := func(text string) {
			t.Helper()
			for {
				line, err := answers.ReadString('\n')
				if err != nil {
					t.Fatalf("%q did not come: %v", text, err)
				}
				if strings.Contains(line, text) {
					return
				}
			}
		}
		until("Verify return code: 0 (ok)")
		for i := range 3 {
			fmt.Fprintf(in, "GET /%d HTTP/1.1\nHost: shop.example.com\n\n", i)
			until("HTTP/1.1 200 OK")
			fmt.Fprint(in, "K\n") // new keys, and ours too
			until("KEYUPDATE")
		}
		fmt.Fprint(in, "GET /last HTTP/1.1\nHost: shop.example.com\nConnection: close\n\n")
		until("HTTP/1.1 200 OK")
		if _, err := io.Copy(io.Discard, answers); err != nil {
			t.Error(err)
		}
		in.Close()
		if err := client.Wait(); err != nil {
			t.Error(err)
		}
		h.primary.mu.Lock()
		defer h.primary.mu.Unlock()
		if n := len(h.primary.requests); n != 4 {
			t.Errorf("the primary got %d requests, want 4", n)
		}
	})
}
