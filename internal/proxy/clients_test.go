package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
)

func TestTheBoundOnClientsIsExact(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		s, addr := serve(t, d, "client: {connections: 3}\n"+strings.Replace(plain(primary.address(), ""), "workers: 1", "workers: 2", 1))
		served := func() (c *net.TCPConn, err error) {
			c = dial(t, addr)
			if _, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err == nil {
				_, err = http.ReadResponse(bufio.NewReader(c), nil)
			}
			return c, err
		}
		var clients []*net.TCPConn
		for range 3 {
			c, err := served()
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		for range 5 {
			if _, err := served(); err == nil {
				t.Error("one client too many was served")
			}
		}
		if n := s.Snapshot().Clients; n != 3 {
			t.Errorf("got %d clients, want 3", n)
		}
		clients[1].Close()
		for s.Snapshot().Clients > 2 {
		}
		if _, err := served(); err != nil {
			t.Errorf("got %v, want the free place", err)
		}
	})
}

func TestConfigurationsChangeBetweenPipelinedRequests(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		v1 := strings.Replace(mirrored(primary.address(), shadow.address(), ""), "workers: 2", "workers: 1", 1)
		s, addr := serve(t, d, "shutdown: {copies: 10ms}\n"+v1)
		c := dial(t, addr)
		var batch strings.Builder
		for i := range 3 {
			fmt.Fprintf(&batch, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		}
		send(t, c, batch.String())
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		next := "shutdown: {copies: 10ms}\n" + strings.Replace(plain(primary.address(), "        requestHeaders: {set: [{name: x-new, value: \"1\"}]}\n        responseHeaders: {set: [{name: x-answer, value: new}]}"), "name: shop", "name: other", 1)
		if _, err := s.Apply(parse(t, next)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if i > 0 {
				if got := head(t, pr); !strings.HasPrefix(got, fmt.Sprintf("GET /%d ", i)) || !strings.Contains(got, "x-new: 1\r\n") {
					t.Errorf("got %q, want request %d as the new configuration has it", got, i)
				}
			}
			send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
			want := "HTTP/1.1 204 No Content\r\nx-answer: new\r\n\r\n"
			if i == 0 { // it goes on with the configuration it began with
				want = "HTTP/1.1 204 No Content\r\n\r\n"
			}
			expect(t, c, want)
		}
		books := map[string]uint64{}
		for _, l := range s.Snapshot().Live {
			books[l.Route] += l.Codes[204]
		}
		if books["shop"] != 1 || books["other"] != 2 {
			t.Errorf("got %v, want one request for shop and two for other", books)
		}
		for _, m := range s.Snapshot().Mirrors {
			if m.Selected != 1 || m.Share != 0 {
				t.Errorf("got %d copies, share %v, want one copy and off", m.Selected, m.Share)
			}
		}
	})
}

func TestRequestsGoOnWhenTheirListenerIsRemoved(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		s, addr := serve(t, d, plain(primary.address(), ""))
		c := dial(t, addr)
		send(t, c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo")
		p := primary.next(t)
		pr := bufio.NewReader(p)
		head(t, pr)
		// The listener moves to another address, and all its routes are bound to it by name.
		moved := strings.Replace(plain(primary.address(), ""), "127.0.0.1:0", "127.0.0.2:0", 1)
		if _, err := s.Apply(parse(t, strings.Replace(moved, "rules:", "listeners: [web]\n    rules:", 1))); err != nil {
			t.Fatal(err)
		}
		send(t, c, "dy")
		expect(t, pr, "body")
		send(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		atEOF(t, c)
		if got := s.Addrs()["web"].Addr().String(); got != "127.0.0.2" {
			t.Errorf("listening on %s, want 127.0.0.2", got)
		}
	})
}

func TestTheLastRequestToAListenerThatMovesIsRouted(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		bound := strings.Replace(plain(primary.address(), ""), "rules:", "listeners: [web]\n    rules:", 1)
		s, addr := serve(t, d, bound)
		c := dial(t, addr)
		for s.Snapshot().Clients < 1 {
		}
		if _, err := s.Apply(parse(t, strings.Replace(bound, "127.0.0.1:0", "127.0.0.2:0", 1))); err != nil {
			t.Fatal(err)
		}
		send(t, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Errorf("got %v, %v, want 200 and Connection: close", resp, err)
		}
	})
}

// TestAListenerKeepsItsQueueUnderAnotherName has a client wait in the queue of
// a listener while it is renamed, which must not lose it.
func TestAListenerKeepsItsQueueUnderAnotherName(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr().String()
		free.Close()
		text := strings.Replace(plain(primary.address(), ""), "127.0.0.1:0", addr, 1)
		s, _ := serve(t, d, text)
		client := newClient(t)
		if status, _, err := get(client, "http://"+addr+"/"); status != 200 || err != nil {
			t.Fatalf("got %d, %v", status, err)
		}
		if _, err := s.Apply(parse(t, strings.Replace(text, "name: web,", "name: front,", 1))); err != nil {
			t.Fatal(err)
		}
		for range 20 { // on the connection that was open
			if status, _, err := get(client, "http://"+addr+"/"); status != 200 || err != nil {
				t.Fatalf("got %d, %v", status, err)
			}
		}
		snap := s.Snapshot()
		if snap.Accepted != 1 || s.Addrs()["front"].String() != addr || len(s.Addrs()) != 1 {
			t.Errorf("got %d connections and %v, want one connection and front on %s", snap.Accepted, s.Addrs(), addr)
		}
	})
}

// A log that does not take lines must not hold up requests.
func TestALogThatBlocksHoldsUpNoRequest(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		log := &stuckLog{stuck: make(chan struct{}), asked: make(chan struct{}, 100)}
		primary := backend(t, nil)
		yaml := mirrored(primary.address(), refusing(t), "            backoff: {failures: 1, base: 1h, max: 1h}")
		s, addr := serveWith(t, Options{Driver: d, Log: log.logger()}, yaml)
		client := newClient(t)
		for range 20 { // the breaker opens, and a write is skipped: both are told
			for _, method := range []string{"GET", "POST"} {
				req, _ := http.NewRequest(method, "http://"+addr+"/", nil)
				resp, err := client.Do(req)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("got %v, %v, want 200", resp, err)
				}
				resp.Body.Close()
			}
		}
		select {
		case <-log.asked:
		case <-time.After(10 * time.Second):
			t.Error("the log got nothing")
		}
		close(log.stuck)
		if m := books(t, s); m.Failed["connect"] == 0 || m.Dropped["paused"] == 0 || m.Skipped["write"] == 0 {
			t.Errorf("got %+v", m)
		}
	})
}
