//go:build peers

package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// The tests with the tag peers, which make peers runs, are against programs that
// people use: Redis, dnsmasq and dig, haproxy, and openssl.

// start runs a program until the test ends. It is there when address takes
// connections.
func start(t *testing.T, address, program string, args ...string) {
	t.Helper()
	command := exec.Command(program, args...)
	command.Dir = t.TempDir()
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
		if t.Failed() {
			t.Logf("%s %q said: %s", program, args, said.Bytes())
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not start: %v", program, err)
		}
	}
}

// output runs a program and returns what it prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func TestPeerRedis(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := freeAddress(t), freeAddress(t)
		for _, address := range []string{primary, shadow} {
			start(t, address, "redis-server", "--port", portOf(address), "--save", "", "--appendonly", "no")
		}
		s, addr := serve(t, d, streams(primary, shadow, ""))
		ask := func(address string, args ...string) string {
			return output(t, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", portOf(address)}, args...)...)
		}
		if got := ask(addr, "set", "greeting", "hello"); got != "OK" {
			t.Errorf("got %q, want OK", got)
		}
		if got := ask(addr, "get", "greeting"); got != "hello" {
			t.Errorf("got %q, want hello", got)
		}
		output(t, "redis-benchmark", "-h", "127.0.0.1", "-p", portOf(addr), "-n", "5000", "-c", "20", "-P", "8", "-t", "incr")
		m := books(t, s)
		if m.Completed != m.Selected || m.Selected < 22 {
			t.Errorf("got %+v, want all completed", m)
		}
		for _, address := range []string{primary, shadow} {
			if got := ask(address, "get", "counter:__rand_int__") + ask(address, "get", "greeting"); got != "5000hello" {
				t.Errorf("%s has %q, want 5000hello", address, got)
			}
		}
	})
}

func TestPeerDNS(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := freeAddress(t), freeAddress(t)
		log := filepath.Join(t.TempDir(), "queries")
		serveDNS := func(address, answer string, more ...string) {
			start(t, address, "dnsmasq", append([]string{"-k", "-p", portOf(address), "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
				"--pid-file=" + filepath.Join(t.TempDir(), "pid"), // of its own, or the second of two may not start
				"--address=/a.test/" + answer, "--listen-address=127.0.0.1", "--bind-interfaces"}, more...)...)
			// It takes connections before it answers datagrams, which are refused at
			// once until then.
			for deadline := time.Now().Add(10 * time.Second); ; {
				out, err := exec.Command("dig", "+tries=1", "+timeout=1", "-p", portOf(address), "@127.0.0.1", "b.test").CombinedOutput()
				if err == nil {
					return
				} else if time.Now().After(deadline) {
					t.Fatalf("dnsmasq does not answer: %v: %s", err, out)
				}
			}
		}
		serveDNS(primary, "192.0.2.1")
		serveDNS(shadow, "192.0.2.2", "--log-queries", "--log-facility="+log)
		s, addr := serve(t, d, datagramsAt("127.0.0.1:0", primary, shadow, "", ""))
		const questions = 20
		for range questions {
			if got := output(t, "dig", "+short", "+tries=1", "-p", portOf(addr), "@127.0.0.1", "a.test"); got != "192.0.2.1" {
				t.Errorf("got %q, want the primary's answer", got)
			}
		}
		if m := books(t, s); m.Completed != questions {
			t.Errorf("got %+v, want %d completed", m, questions)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			text, _ := os.ReadFile(log)
			if n := strings.Count(string(text), "query[A] a.test"); n == questions {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("the shadow was asked %d times, want %d", n, questions)
			}
		}
	})
}

// haproxy tells us by each version, and is told by each.
func TestPeerPROXYProtocol(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		one, two, primary, shadow, web := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
		config := filepath.Join(t.TempDir(), "haproxy.cfg")
		text := fmt.Sprintf(`
defaults
  mode tcp
  timeout connect 2s
  timeout client 10s
  timeout server 10s
listen one
  bind %s
  server u %s send-proxy
listen two
  bind %s
  server u %s send-proxy-v2
frontend primary
  mode http
  bind %s accept-proxy
  http-request return status 200 content-type text/plain lf-string "%%ci to %%fi:%%fp for %%[req.hdr(x-forwarded-for)]"
frontend shadow
  mode http
  bind %s accept-proxy
  http-request deny deny_status 403 unless { src 127.0.0.9 }
  http-request return status 200
`, one, web, two, web, primary, shadow)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		yaml := announced(telling(mirrored(primary, shadow, "")), "127.0.0.0/8")
		s, _ := serve(t, d, strings.Replace(yaml, `"127.0.0.1:0"`, `"`+web+`"`, 1))
		start(t, two, "haproxy", "-db", "-f", config)
		for _, front := range []string{one, two} {
			want := "127.0.0.9 to " + front + " for 127.0.0.9"
			if got := output(t, "curl", "-sS", "--interface", "127.0.0.9", "http://"+front+"/"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if m := books(t, s); m.Completed != 2 || m.Codes[200] != 2 {
			t.Errorf("got %+v, want two answers of 200: the shadow was told of the client", m)
		}
	})
}
