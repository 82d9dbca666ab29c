package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/certs"
)

const dataFrame = 0

// section is a field section of names and values.
func section(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

// openSection asks for a WebSocket by HTTP/2.
func openSection(more ...string) []byte {
	return section(append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat", ":authority", "h",
		"sec-websocket-version", "13"}, more...)...)
}

// accepting is the answer of a server to the handshake in head.
func accepting(t *testing.T, head string) string {
	t.Helper()
	_, key, _ := strings.Cut(head, "sec-websocket-key: ")
	key, _, ok := strings.Cut(key, "\r\n")
	if !ok {
		t.Fatalf("no handshake: %q", head)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
}

// multiplexed is a proxy whose client is one HTTP/2 connection, by hand.
type multiplexed struct {
	byHand
	server          *Server
	log             *accessLog
	primary, shadow *script
}

// multiplex makes one, in the clear or by TLS, with settings exchanged.
func multiplex(t *testing.T, d loop.Driver, secure bool) *multiplexed {
	t.Helper()
	m := &multiplexed{log: newLog(), primary: scripted(t), shadow: scripted(t)}
	cfg := "accessLog: {path: \"-\"}\nshutdown: {drain: 10ms}\n" + mirrored(m.primary.address(), m.shadow.address(), "            upgrades: copy\n            timeout: 5s")
	var authority *certs.Authority
	if secure {
		authority = certs.New(t)
		cfg = strings.Replace(cfg, "protocol: HTTP}", "protocol: HTTPS, tls: {"+shown(authority.Leaf(t, "shop.example.com"))+"}}", 1)
	}
	var addr string
	m.server, addr = serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{m.log}}, cfg)
	var nc net.Conn = dial(t, addr)
	if secure {
		nc = tls.Client(nc, &tls.Config{RootCAs: authority.Pool, ServerName: "shop.example.com", NextProtos: []string{"h2"}})
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { nc.Close() })
	m.byHand = byHand{t, nc}
	m.send([]byte(http2.Preface), framed(settingsFrame, 0, 0))
	if _, _, settings := m.frame(settingsFrame); !bytes.Contains(settings, []byte{0, 8, 0, 0, 0, 1}) {
		t.Errorf("the settings %x do not offer the extended CONNECT", settings)
	}
	return m
}

// multiplexes runs a test on every driver, in the clear and by TLS.
func multiplexes(t *testing.T, test func(t *testing.T, m *multiplexed)) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) { test(t, multiplex(t, d, secure)) })
		}
	})
}

// says reads data of stream 1 until it is that.
func (m *multiplexed) says(want string) (ended bool) {
	m.Helper()
	got := ""
	for len(got) < len(want) {
		flags, _, p := m.frame(dataFrame)
		got, ended = got+string(p), flags&1 != 0
	}
	if got != want {
		m.Errorf("the client got %q, want %q", got, want)
	}
	return ended
}

func TestAWebSocketByHTTP2(t *testing.T) {
	multiplexes(t, func(t *testing.T, m *multiplexed) {
		m.send(framed(headersFrame, 4, 1, openSection("sec-websocket-protocol", "chat")...))
		primary := m.primary.next(t)
		pr := bufio.NewReader(primary)
		h := head(t, pr)
		if !strings.HasPrefix(h, "GET /chat HTTP/1.1\r\nHost: h\r\n") || !strings.Contains(h, "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n") {
			t.Errorf("the primary got %q", h)
		}
		answer := strings.Replace(accepting(t, h), "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n", 1)
		send(t, primary, answer+"\x81\x07primary")
		if flags, id, got := m.frame(headersFrame); flags != 4 || id != 1 || string(got) != "\x88\x00\x16sec-websocket-protocol\x04chat" {
			t.Errorf("stream %d was answered %d %q, want 200 with the subprotocol", id, flags, got)
		}
		m.says("\x81\x07primary")
		shadow := m.shadow.next(t)
		sr := bufio.NewReader(shadow)
		if copied := head(t, sr); accepting(t, copied) != accepting(t, h) {
			t.Errorf("the shadow got %q", copied)
		}
		send(t, shadow, answer)
		m.send(framed(dataFrame, 0, 1, []byte(hello[:5])...), framed(dataFrame, 0, 1, []byte(hello[5:])...))
		expect(t, pr, hello)
		expect(t, sr, hello)

		// Others go on beside it.
		m.send(framed(headersFrame, 5, 3, section(":method", "POST", ":scheme", "https", ":path", "/", ":authority", "h")...))
		other := m.primary.next(t)
		head(t, bufio.NewReader(other))
		send(t, other, "HTTP/1.1 204 No Content\r\n\r\n")
		if _, id, _ := m.frame(headersFrame); id != 3 {
			t.Errorf("stream %d was answered, want 3", id)
		}

		m.send(framed(dataFrame, 1, 1, []byte(masked(0x88, normalCode))...))
		expect(t, pr, masked(0x88, normalCode))
		atEOF(t, pr)
		expect(t, sr, masked(0x88, normalCode))
		send(t, shadow, serverBye)
		shadow.Close()
		send(t, primary, serverBye)
		primary.Close()
		if ended := m.says(serverBye); !ended {
			if flags, _, p := m.frame(dataFrame); flags&1 == 0 || len(p) > 0 {
				t.Errorf("got %q, want the end of the stream", p)
			}
		}
		x := m.log.next(t)
		for x.Path != "/chat" {
			x = m.log.next(t)
		}
		if x.Method != "GET" || x.Status != 101 || x.Source != traffic.None || x.Copies[0].Fate != traffic.Completed {
			t.Errorf("handed over %+v", x)
		}
	})
}

// A client that resets its stream has left: the primary and the shadow hear of it.
func TestAWebSocketByHTTP2ThatIsReset(t *testing.T) {
	multiplexes(t, func(t *testing.T, m *multiplexed) {
		m.send(framed(headersFrame, 4, 1, openSection()...))
		primary := m.primary.next(t)
		pr := bufio.NewReader(primary)
		answer := accepting(t, head(t, pr))
		send(t, primary, answer)
		m.frame(headersFrame)
		shadow := m.shadow.next(t)
		sr := bufio.NewReader(shadow)
		head(t, sr)
		send(t, shadow, answer)
		m.send(framed(dataFrame, 0, 1, []byte(hello[:9])...))
		expect(t, pr, hello[:9])
		expect(t, sr, hello[:9])
		m.send(framed(resetFrame, 0, 1, 0, 0, 0, 8))
		for name, r := range map[string]io.Reader{"primary": pr, "shadow": sr} {
			if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the %s got %q, %v, want the end", name, rest, err)
			}
		}
		if o := m.log.next(t).Copies[0]; o.Fate != traffic.Dropped || o.Reason != traffic.DropClientGone {
			t.Errorf("the copy was %s, %s", o.Fate, o.Reason)
		}
	})
}

// Only a WebSocket is a success: a client that speaks HTTP/2 cannot look at the
// handshake itself.
func TestPrimariesThatDoNotOpenAWebSocket(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(accepted string) string
		status string
		why    string
	}{
		{"refuses", func(string) string { return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" }, "403", ""},
		{"knows nothing of it", func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" }, "502", "the primary did not switch to WebSocket"},
		{"accepts another key", func(a string) string { return strings.Replace(a, "Accept: ", "Accept: x", 1) }, "502",
			"the primary's Sec-WebSocket-Accept does not belong to the key"},
		{"switches to something else", func(a string) string { return strings.Replace(a, "websocket", "tls", 1) }, "502",
			"the primary switched to another protocol than WebSocket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			multiplexes(t, func(t *testing.T, m *multiplexed) {
				// What it says before it has been answered must not become a request.
				m.send(framed(headersFrame, 4, 1, openSection()...), framed(dataFrame, 0, 1, []byte("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")...))
				primary := m.primary.next(t)
				pr := bufio.NewReader(primary)
				send(t, primary, test.answer(accepting(t, head(t, pr))))
				status := ""
				d := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
					if f.Name == ":status" {
						status = f.Value
					}
				})
				_, _, got := m.frame(headersFrame)
				if _, err := d.Write(got); err != nil || status != test.status {
					t.Errorf("got %q, %v, want %s", status, err, test.status)
				}
				primary.Close()
				m.shadow.next(t).Close() // the copy is an ordinary request
				x := m.log.next(t)
				if x.Error != test.why || test.why != "" && x.Source != traffic.Primary {
					t.Errorf("got %q by %s, want %q", x.Error, x.Source, test.why)
				}
				if rest, _ := io.ReadAll(pr); strings.Contains(string(rest), "smuggled") {
					t.Errorf("the primary got %q", rest)
				}
				for _, l := range m.server.Snapshot().Live {
					for code, n := range l.Codes {
						if n > 1 || fmt.Sprint(code) != test.status && n > 0 {
							t.Errorf("%d answers %d", n, code)
						}
					}
				}
			})
		})
	}
}

// A CONNECT for anything else is refused.
func TestAConnectForAnotherProtocol(t *testing.T) {
	multiplexes(t, func(t *testing.T, m *multiplexed) {
		m.send(framed(headersFrame, 4, 1, section(":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":path", "/chat", ":authority", "h")...))
		if _, id, got := m.frame(headersFrame); id != 1 || !bytes.HasPrefix(got, []byte("\x08\x03501")) {
			t.Errorf("stream %d got %q, want 501", id, got)
		}
	})
}

// A backend that speaks HTTP/2 as well gets WebSockets by HTTP/1.1, which is the
// only way.
func TestABackendThatHasAChoiceGetsWebSocketsByHTTP1(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		authority := certs.New(t)
		upgraded := make(chan string, 2)
		primary := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "" {
				io.WriteString(w, r.Proto)
				return
			}
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				upgraded <- err.Error()
				return
			}
			io.WriteString(nc, socketAnswer)
			nc.Close()
			upgraded <- r.Proto
		}))
		primary.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Leaf(t, "127.0.0.1").Pair}}
		primary.EnableHTTP2 = true
		primary.StartTLS()
		defer primary.Close()
		cfg := plain(strings.TrimPrefix(primary.URL, "https://"), "")
		_, addr := serve(t, d, strings.Replace(cfg, `"]}`, `"], tls: {ca: `+authority.File+`}}`, 1))
		client := speaking(t, 1)
		for i := range 3 {
			resp, err := client.Get("http://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != "HTTP/2.0" {
				t.Errorf("the backend was asked by %q, %v, want HTTP/2", got, err)
			}
			c := dial(t, addr)
			send(t, c, socketRequest)
			if got := head(t, bufio.NewReader(c)); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
				t.Fatalf("WebSocket %d got %q", i, got)
			}
			if got := <-upgraded; got != "HTTP/1.1" {
				t.Errorf("the WebSocket came by %s", got)
			}
		}
	})
}
