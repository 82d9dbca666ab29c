package http3

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/proxy"
)

func TestAnswersOverTCPTellOfHTTP3(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open/own" {
			w.Header().Set("Alt-Svc", "clear")
		}
	}, discard)
	port := h.address[strings.LastIndex(h.address, ":"):]
	want := `h3="` + port + `"; ma=86400`
	for _, two := range []bool{false, true} {
		transport := &http.Transport{ForceAttemptHTTP2: two, TLSClientConfig: &tls.Config{RootCAs: h.authority.Pool}}
		t.Cleanup(transport.CloseIdleConnections)
		c := &http.Client{Transport: transport}
		for path, want := range map[string]string{"/open": want, "/nowhere": want, "/open/own": "clear"} {
			resp, _ := ask(t, c, "GET", h.url+path, nil)
			if got := strings.Join(resp.Header.Values("alt-svc"), " and "); got != want {
				t.Errorf("%s %s: got alt-svc %q, want %q", resp.Proto, path, got, want)
			}
		}
	}
	if _, err := h.Apply(h.config(t, false)); err != nil {
		t.Fatal(err)
	}
	c := h.rawTLS(t, "http/1.1")
	fmt.Fprint(c, "GET /open HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, ok := resp.Header["Alt-Svc"]; ok {
		t.Errorf("without http3, answers tell of %q", got)
	}
}

func TestReloadTurnsHTTP3OffAndOn(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	c := h.client(t, nil)
	ask(t, c, "GET", h.url+"/open", nil)
	if _, err := h.Apply(h.config(t, false)); err != nil {
		t.Fatal(err)
	}
	taken, err := net.ListenPacket("udp", h.address)
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); { // until it has said goodbye
		taken, err = net.ListenPacket("udp", h.address)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Apply(h.config(t, true)); err == nil || !strings.Contains(err.Error(), "listener web: HTTP/3: listen udp "+h.address) {
		t.Errorf("got %v, want that somebody has the address", err)
	}
	taken.Close()
	if _, err := h.Apply(h.config(t, true)); err != nil {
		t.Fatal(err)
	}
	if resp, _ := ask(t, h.client(t, nil), "GET", h.url+"/open", nil); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
}

func TestReloadChangesTheCertificate(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	before := h.leaf.Pair.Leaf.SerialNumber
	h.leaf = h.authority.Leaf(t, "127.0.0.1", "shop.example.com")
	if _, err := h.Apply(h.config(t, true)); err != nil {
		t.Fatal(err)
	}
	resp, _ := ask(t, h.client(t, nil), "GET", h.url+"/open", nil)
	if got := resp.TLS.PeerCertificates[0].SerialNumber; got.Cmp(before) == 0 || got.Cmp(h.leaf.Pair.Leaf.SerialNumber) != 0 {
		t.Errorf("got certificate %v, want %v", got, h.leaf.Pair.Leaf.SerialNumber)
	}
}

// TestDrainLosesNoRequest has clients send all the time, on connections of their
// own, while the proxy ends. What was begun is answered; what the proxy refuses it
// has not looked at, and says so.
func TestDrainLosesNoRequest(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	h := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open/held" {
			close(held)
			<-release
		}
		_, _ = io.WriteString(w, "whole")
	}, discard)
	slow := make(chan string, 1)
	go func() {
		resp, err := h.client(t, nil).Get(h.url + "/open/held")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		slow <- fmt.Sprint(string(got), err)
	}()
	<-held
	var clients sync.WaitGroup
	started := make(chan struct{}, 1000)
	for range 4 {
		c := h.client(t, nil)
		clients.Go(func() {
			for n := 0; ; n++ {
				resp, err := c.Get(h.url + "/open")
				if err != nil {
					return // nobody is there any more: the last word was a refusal
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != "whole" {
					t.Errorf("request %d: got %q, %v", n, got, err)
					return
				}
				if n == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	ended := make(chan struct{})
	go func() {
		h.end(t, 10*time.Second)
		close(ended)
	}()
	clients.Wait()
	close(release)
	if got := <-slow; got != "whole<nil>" {
		t.Errorf("the request that was held got %q, want its answer", got)
	}
	<-ended
	snap := h.Snapshot()
	for _, l := range snap.Live {
		for source, n := range l.Errors {
			t.Errorf("%d requests failed because of %s", n, source)
		}
	}
}

func TestDrainCutsOffAtTheDeadline(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	h := open(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}, discard)
	failed := make(chan error, 1)
	go func() {
		resp, err := h.client(t, nil).Get(h.url + "/open")
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-arrived
	h.end(t, 100*time.Millisecond)
	if err := <-failed; err == nil {
		t.Error("got an answer, want none")
	}
}

func TestClientsOverTheBoundAreSentAway(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	cfg := h.config(t, true)
	cfg.Client.Connections = 1
	if _, err := h.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	ask(t, h.client(t, nil), "GET", h.url+"/open", nil)
	resp, err := h.client(t, nil).Get(h.url + "/open")
	if err == nil {
		resp.Body.Close()
		t.Fatal("the second connection was served")
	}
	if !strings.Contains(err.Error(), "H3_EXCESSIVE_LOAD") {
		t.Errorf("got %v, want H3_EXCESSIVE_LOAD", err)
	}
}

func TestClientsThatTakeNothingAreCutOff(t *testing.T) {
	t.Parallel()
	h := open(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(long(16 << 20)) }, discard)
	cfg := h.config(t, true)
	cfg.Client.IdleTimeout = config.Timeout(200 * time.Millisecond)
	if _, err := h.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	resp, err := h.client(t, nil).Get(h.url + "/open")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); inFlight(h) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the request waits for a client who takes nothing")
		}
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the client took a part for the whole")
	}
}

func inFlight(h *house) (n int64) {
	for _, l := range h.Snapshot().Live {
		n += l.InFlight
	}
	return n
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	cfg := h.config(t, true)
	cfg.Client.IdleTimeout = config.Timeout(50 * time.Millisecond)
	if _, err := h.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	ask(t, h.client(t, nil), "GET", h.url+"/open", nil)
	for deadline := time.Now().Add(10 * time.Second); h.Snapshot().Clients > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
}

func TestRequestsAreNotTakenBeforeTheHandshakeIsOver(t *testing.T) {
	t.Parallel()
	h := open(t, hello, discard)
	cache := tls.NewLRUClientSessionCache(1)
	for range 2 {
		c := h.client(t, func(c *tls.Config) { c.ClientSessionCache = cache })
		resp, _ := ask(t, c, http3.MethodGet0RTT, h.url+"/open", nil)
		if resp.StatusCode != 200 {
			t.Errorf("got %d, want 200", resp.StatusCode)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := quic.DialAddrEarly(ctx, h.address, &tls.Config{
		RootCAs: h.authority.Pool, ServerName: "shop.example.com", NextProtos: []string{"h3"}, ClientSessionCache: cache,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	<-conn.HandshakeComplete()
	if conn.ConnectionState().Used0RTT {
		t.Error("the proxy took 0-RTT data, which anybody can send again")
	}
}

func TestNewInstanceWaitsForTheAddress(t *testing.T) {
	t.Parallel()
	old := open(t, hello, discard)
	successor := &house{authority: old.authority, leaf: old.leaf, primary: old.primary, shadow: old.shadow, address: old.address, url: old.url, ledger: old.ledger}
	s, err := successor.start(t, proxy.Options{Takeover: true})
	if err != nil {
		t.Fatal(err)
	}
	successor.Server = s
	t.Cleanup(func() { successor.end(t, 5*time.Second) })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	<-old.Done()
	c := successor.client(t, nil)
	resp, _ := ask(t, c, "GET", successor.url+"/open", nil)
	if resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
	if snap := s.Snapshot(); snap.Clients != 1 {
		t.Errorf("the new instance has %d clients, want 1", snap.Clients)
	}
}
