package replay

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestATargetIsOnThisMachineOrNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url   string
		allow []string
		want  string // part of the error, empty = allowed
	}{
		{url: "http://127.0.0.1:9001"},
		{url: "http://127.3.2.1"},
		{url: "http://[::1]:9001/"},
		{url: "http://[::ffff:127.0.0.1]:9001/"},
		{url: "http://localhost:9001"},
		{url: "http://10.1.2.3:9001", want: "10.1.2.3 is not on this machine"},
		{url: "http://10.1.2.3:9001", allow: []string{"10.1.2.3"}},
		{url: "http://10.1.2.3:9001", allow: []string{"10.1.2.0/24"}},
		{url: "http://10.1.2.3:9001", allow: []string{"10.1.3.0/24", "next"}, want: "10.1.2.3 is not on this machine"},
		{url: "http://0.0.0.0:9001", want: "0.0.0.0 is no address of a service"},
		{url: "http://169.254.169.254", want: "169.254.169.254 is no address of a service"},
		{url: "http://169.254.169.254", allow: []string{"169.254.169.254"}},
		{url: "http://[fe80::1%25eth0]", want: "no address of a service"},
		{url: "", want: "no target"},
		{url: "127.0.0.1:9001", want: "not a URL"},
		{url: "ftp://127.0.0.1", want: "speaks http or https, not ftp"},
		{url: "http://127.0.0.1/v2", want: "more than a host and a port"},
		{url: "http://user@127.0.0.1", want: "more than a host and a port"},
		{url: "http://127.0.0.1", allow: []string{"http://10.1.2.3"}, want: "neither a host's name"},
		{url: "http://127.0.0.1", allow: []string{""}, want: "neither a host's name"},
	} {
		to, err := NewTarget(t.Context(), TargetOptions{URL: test.url, Allow: test.allow})
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s with %v: %v", test.url, test.allow, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s with %v: %v, want %q", test.url, test.allow, err, test.want)
		}
		if to != nil {
			to.Close()
		}
	}
}

func TestWhatANameResolvesToIsCheckedToo(t *testing.T) {
	t.Parallel()
	list, err := parseAllow([]string{"next.example.com", "10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host, address string
		want          bool
	}{
		{"next.example.com", "93.184.216.34", true},
		{"NEXT.example.com", "93.184.216.34", true},
		{"next.example.com", "169.254.169.254", false},
		{"next.example.com", "0.0.0.0", false},
		{"other.example.com", "93.184.216.34", false},
		{"other.example.com", "10.2.3.4", true},
		{"other.example.com", "::ffff:10.2.3.4", true},
		{"other.example.com", "127.0.0.1", true},
	} {
		err := list.admit(test.host, netip.MustParseAddr(test.address))
		if (err == nil) != test.want || err != nil && !errors.Is(err, errNotAllowed) {
			t.Errorf("%s at %s: %v", test.host, test.address, err)
		}
	}
}

func TestAConnectionToWhatIsNotAllowedIsNotMade(t *testing.T) {
	t.Parallel()
	// The name was fine when the target was made, and is not any more.
	to := target(t, TargetOptions{URL: "http://127.0.0.1:9001"})
	to.host = "10.255.255.1:9001"
	o := to.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
	if o.Fate != traffic.Dropped || !strings.Contains(o.Error, "not allowed as a target") {
		t.Errorf("outcome %+v", o)
	}
}

func TestATargetOverTLSNeedsToBeTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Spoken", r.Proto)
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = discard
	server.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusted := target(t, TargetOptions{URL: server.URL, CA: file})
	defer trusted.Close()
	o := trusted.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\nHost: shop.example.com\r\n")}, time.Now())
	if o.Status != 200 || !strings.Contains(string(o.Answer.Head), "Spoken: HTTP/2.0\r\n") {
		t.Errorf("outcome %+v", o)
	}
	stranger := target(t, TargetOptions{URL: server.URL})
	defer stranger.Close()
	o = stranger.send(t.Context(), &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}, time.Now())
	if o.Fate != traffic.Failed || o.Reason != traffic.FailTLS {
		t.Errorf("outcome %+v", o)
	}
	if _, err := NewTarget(t.Context(), TargetOptions{URL: server.URL, CA: "target_test.go"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a CA that is none: %v", err)
	}
}
