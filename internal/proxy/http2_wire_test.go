package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// The frames that tests send and look for.
const (
	headersFrame  = 1
	resetFrame    = 3
	settingsFrame = 4
	goAwayFrame   = 7
)

// framed is a frame, by a writer that shares no code with the proxy's.
func framed(kind, flags byte, id uint32, payload ...byte) []byte {
	n := len(payload)
	b := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, id)...)
	return append(b, payload...)
}

// answer200 is the head of an answer without a body.
func answer200(id uint32) []byte { return framed(headersFrame, 5, id, 0x88) }

// byHand is one side of an HTTP/2 connection, by hand.
type byHand struct {
	*testing.T
	net.Conn
}

func (w byHand) send(parts ...[]byte) {
	w.Helper()
	if _, err := w.Write(bytes.Join(parts, nil)); err != nil {
		w.Fatal(err)
	}
}

// frame reads the next frame of that kind.
func (w byHand) frame(kind byte) (flags byte, id uint32, payload []byte) {
	w.Helper()
	var head [9]byte
	for {
		if _, err := io.ReadFull(w, head[:]); err != nil {
			w.Fatalf("waiting for a frame of type %d: %v", kind, err)
		}
		payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(w, payload); err != nil {
			w.Fatal(err)
		}
		if head[3] == kind {
			return head[4], binary.BigEndian.Uint32(head[5:]), payload
		}
	}
}

// greet takes a client's preface and says that we are a server.
func (w byHand) greet() {
	w.Helper()
	got := make([]byte, len(http2.Preface))
	if _, err := io.ReadFull(w, got); err != nil || string(got) != http2.Preface {
		w.Fatalf("got %q, %v, want the preface", got, err)
	}
	w.send(framed(settingsFrame, 0, 0))
}

// asked sends a request in the background and returns where its answer's
// status comes, or 0.
func asked(t *testing.T, client *http.Client, method, url, body string) <-chan int {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			status <- 0
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	return status
}

func overHTTP2(cfg string) string {
	return strings.Replace(cfg, "{name: v1, ", "{name: v1, protocol: HTTP2, ", 1)
}

// A request that a primary has refused was not looked at, so that it is sent
// again even if it writes.
func TestRefusedRequestsAreSentAgain(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, overHTTP2(plain(primary.address(), "")))
		status := asked(t, speaking(t, 1), "POST", "http://"+addr+"/", "hello")
		w := byHand{t, primary.next(t)}
		w.greet()
		_, id, _ := w.frame(headersFrame)
		w.send(framed(resetFrame, 0, id, 0, 0, 0, 7))
		_, again, _ := w.frame(headersFrame)
		w.send(answer200(again))
		if got := <-status; got != 200 || again == id {
			t.Errorf("got %d on stream %d after %d", got, again, id)
		}
	})
}

// A primary that gives up one stream has failed that request, and no other.
func TestPrimaryThatGivesUpAStream(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, overHTTP2(plain(primary.address(), "")))
		client := speaking(t, 2)
		first := asked(t, client, "GET", "http://"+addr+"/", "")
		w := byHand{t, primary.next(t)}
		w.greet()
		_, id, _ := w.frame(headersFrame)
		w.send(answer200(id))
		if got := <-first; got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		second := asked(t, client, "GET", "http://"+addr+"/", "")
		_, id, _ = w.frame(headersFrame)
		w.send(framed(resetFrame, 0, id, 0, 0, 0, 2))
		if got := <-second; got != 502 {
			t.Errorf("got %d, want 502", got)
		}
		third := asked(t, client, "GET", "http://"+addr+"/", "")
		_, id, _ = w.frame(headersFrame)
		w.send(answer200(id))
		if got := <-third; got != 200 {
			t.Errorf("got %d, want 200", got)
		}
	})
}

// A primary that goes away answers what it has seen; the rest goes to its
// successor.
func TestPrimaryThatGoesAway(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := scripted(t)
		_, addr := serve(t, d, strings.Replace(overHTTP2(plain(primary.address(), "")), "workers: 2", "workers: 1", 1))
		client := speaking(t, 2)
		first := asked(t, client, "POST", "http://"+addr+"/first", "")
		old := byHand{t, primary.next(t)}
		old.greet()
		_, one, _ := old.frame(headersFrame)
		second := asked(t, client, "POST", "http://"+addr+"/second", "")
		old.frame(headersFrame)
		old.send(framed(goAwayFrame, 0, 0, 0, 0, 0, byte(one), 0, 0, 0, 0))
		fresh := byHand{t, primary.next(t)}
		fresh.greet()
		_, id, _ := fresh.frame(headersFrame)
		fresh.send(answer200(id))
		if got := <-second; got != 200 {
			t.Errorf("the request that was not looked at got %d", got)
		}
		old.send(answer200(one))
		if got := <-first; got != 200 {
			t.Errorf("the request that was looked at got %d", got)
		}
		if _, err := io.Copy(io.Discard, old); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the old connection was not closed: %v", err)
		}
	})
}

// Backends that do not speak HTTP/2 although the configuration says so.
func TestBackendsThatSpeakSomethingElse(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := backend(t, nil), backend(t, nil)
		cfg := mirrored(primary.address(), shadow.address(), "")
		s, addr := serve(t, d, strings.Replace(cfg, "{name: v2, ", "{name: v2, protocol: HTTP2, ", 1))
		if got := <-asked(t, speaking(t, 1), "GET", "http://"+addr+"/", ""); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		if m := books(t, s); m.Failed["protocol"] != 1 {
			t.Errorf("failed: %v, want one by protocol", m.Failed)
		}
		_, addr = serve(t, d, overHTTP2(plain(primary.address(), "")))
		if got := <-asked(t, speaking(t, 2), "GET", "http://"+addr+"/", ""); got != 502 {
			t.Errorf("got %d, want 502", got)
		}
	})
}

// A client that floods the proxy loses its connection, and nobody else does.
func TestFloodsEndOneConnection(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		_, addr := serve(t, d, plain(primary.address(), ""))
		client := speaking(t, 2)
		for name, flood := range map[string]func(id uint32) []byte{
			"ping":        func(uint32) []byte { return framed(6, 0, 0, make([]byte, 8)...) },
			"settings":    func(uint32) []byte { return framed(settingsFrame, 0, 0) },
			"rapid reset": func(id uint32) []byte { return append(askFrame(id), framed(resetFrame, 0, id, 0, 0, 0, 8)...) },
		} {
			if got := <-asked(t, client, "GET", "http://"+addr+"/", ""); got != 200 {
				t.Errorf("before %s: got %d", name, got)
			}
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(10 * time.Second))
			w := byHand{t, nc}
			w.send([]byte(http2.Preface), framed(settingsFrame, 0, 0))
			go func() {
				for id := uint32(1); id < 1<<20; id += 2 {
					if _, err := nc.Write(flood(id)); err != nil {
						return
					}
				}
			}()
			_, _, payload := w.frame(goAwayFrame)
			if code := http2.Code(binary.BigEndian.Uint32(payload[4:])); code != http2.EnhanceYourCalm {
				t.Errorf("%s: GOAWAY with %v", name, code)
			}
			io.Copy(io.Discard, nc) // until it is closed, one way or the other
			nc.Close()
			if got := <-asked(t, client, "GET", "http://"+addr+"/", ""); got != 200 {
				t.Errorf("after %s: got %d", name, got)
			}
		}
	})
}

// askFrame is a request without a body.
func askFrame(id uint32) []byte {
	return framed(headersFrame, 5, id, 0x82, 0x86, 0x84, 0x41, 1, 'a')
}

// A head over the limit is read and answered; the connection goes on.
func TestHeadOverTheLimitIsAnswered(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		_, addr := serve(t, d, plain(primary.address(), ""))
		w := byHand{t, dial(t, addr)}
		// GET http://a/ with a field of 70000 bytes: 0x7f and then the rest, in sevens.
		section := slices.Concat([]byte{0x82, 0x86, 0x84, 0x41, 1, 'a', 0, 3, 'b', 'i', 'g', 0x7f, 0xf1, 0xa1, 0x04}, bytes.Repeat([]byte("x"), 70_000))
		w.send([]byte(http2.Preface), framed(settingsFrame, 0, 0), framed(headersFrame, 1, 1, section[:16000]...))
		for section = section[16000:]; len(section) > 16000; section = section[16000:] {
			w.send(framed(9, 0, 1, section[:16000]...))
		}
		w.send(framed(9, 4, 1, section...))
		if _, id, head := w.frame(headersFrame); id != 1 || !bytes.HasPrefix(head, []byte("\x08\x03431")) {
			t.Errorf("stream %d got %q, want 431", id, head)
		}
		w.send(askFrame(3))
		if _, id, head := w.frame(headersFrame); id != 3 || head[0] != 0x88 {
			t.Errorf("stream %d got %q, want 200", id, head)
		}
	})
}

// Heads that the parser of HTTP/1.1 refuses are answered on their stream.
func TestBadHeadsAreAnsweredOnTheirStream(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		_, addr := serve(t, d, plain(primary.address(), ""))
		client := speaking(t, 2)
		for _, c := range []struct {
			change func(*http.Request)
			want   int
		}{
			{func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("x", 17<<10) }, 414},
			{func(r *http.Request) { r.Header.Set("expect", "miracles") }, 417},
			{func(*http.Request) {}, 200},
		} {
			req, err := http.NewRequest("POST", "http://"+addr+"/", io.MultiReader(strings.NewReader("hello")))
			if err != nil {
				t.Fatal(err)
			}
			c.change(req)
			resp, err := client.Do(req)
			if err != nil {
				t.Errorf("%v, want %d", err, c.want)
				continue
			}
			if resp.StatusCode != c.want {
				t.Errorf("got %d, want %d", resp.StatusCode, c.want)
			}
			resp.Body.Close()
		}
	})
}
