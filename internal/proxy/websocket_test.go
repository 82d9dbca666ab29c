package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// The handshake of RFC 6455 §1.3.
const (
	socketRequest = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	socketAccept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	socketAnswer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + socketAccept + "\r\n"
)

// masked is a client's frame: its first byte, and a payload of fewer than 126
// bytes.
func masked(first byte, payload string) string {
	const key = "abcd"
	frame := []byte{first, 0x80 | byte(len(payload))}
	frame = append(frame, key...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^key[i%4])
	}
	return string(frame)
}

const (
	goingAway  = "\x03\xe9"                         // the code 1001 in a Close
	serverBye  = "\x88\x02\x03\xe8"                 // a server's Close with the code 1000
	normalCode = "\x03\xe8"                         // the code 1000
	hello      = "\x81\x85abcd\x29\x07\x0f\x08\x0e" // "Hello", masked with abcd
)

// sockets are the ends of a WebSocket and its copy.
type sockets struct {
	server                  *Server
	log                     *accessLog
	client                  *net.TCPConn
	primary, shadow         net.Conn
	fromClient, fromPrimary *bufio.Reader // what the primary, and the client, get
	copied                  *bufio.Reader // what the shadow gets
}

// openSockets opens a WebSocket that is copied.
func openSockets(t *testing.T, d loop.Driver, mirrorLines string) *sockets {
	t.Helper()
	primary, shadow := scripted(t), scripted(t)
	s := &sockets{log: newLog()}
	var addr string
	s.server, addr = serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{s.log}},
		"accessLog: {path: \"-\"}\nshutdown: {drain: 10ms}\n"+mirrored(primary.address(), shadow.address(), "            upgrades: copy\n"+mirrorLines))
	s.client = dial(t, addr)
	send(t, s.client, socketRequest)
	s.primary = primary.next(t)
	s.fromClient, s.fromPrimary = bufio.NewReader(s.primary), bufio.NewReader(s.client)
	head(t, s.fromClient)
	send(t, s.primary, socketAnswer)
	head(t, s.fromPrimary)
	s.shadow = shadow.next(t)
	s.copied = bufio.NewReader(s.shadow)
	if got := head(t, s.copied); !strings.Contains(got, "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n") || !strings.Contains(got, "\r\nx-understudy-copy: v2\r\n") {
		t.Fatalf("the shadow got %q, want the handshake of a copy", got)
	}
	return s
}

// gets reads a masked frame from the copy, which must be of that kind.
func (s *sockets) gets(t *testing.T, first byte, payload string) {
	t.Helper()
	got := make([]byte, 6+len(payload))
	if n, err := io.ReadFull(s.copied, got); err != nil {
		t.Fatalf("the shadow got %q, %v", got[:n], err)
	}
	for i := range payload {
		got[6+i] ^= got[2+i%4]
	}
	if got[0] != first || got[1] != 0x80|byte(len(payload)) || string(got[6:]) != payload {
		t.Fatalf("the shadow got %q, want a frame %#x with %q", got, first, payload)
	}
}

// fate waits for the end of the copy, after that of everybody who is live.
func (s *sockets) fate(t *testing.T) (fate, detail string) {
	t.Helper()
	s.client.Close()
	s.primary.Close()
	o := s.log.next(t).Copies[0]
	return strings.TrimSpace(string(o.Fate) + " " + string(o.Reason)), o.Error
}

func TestWhatAClientSaysThroughAWebSocketIsCopied(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s := openSockets(t, d, "")
		send(t, s.client, hello) // before the shadow has answered
		expect(t, s.fromClient, hello)
		send(t, s.shadow, socketAnswer+"\x81\x06shadow")
		expect(t, s.copied, hello)
		send(t, s.primary, "\x81\x07primary")
		expect(t, s.fromPrimary, "\x81\x07primary")

		// Answers to pings come between two frames of the client, never inside.
		send(t, s.client, hello[:8])
		expect(t, s.copied, hello[:8])
		send(t, s.shadow, "\x89\x02hi")
		send(t, s.client, hello[8:])
		expect(t, s.copied, hello[8:])
		s.gets(t, 0x8a, "hi")
		send(t, s.shadow, "\x89\x00")
		s.gets(t, 0x8a, "")
		expect(t, s.fromClient, hello)

		long := "\x82\xfe\xff\xff" + "abcd" + strings.Repeat("x", 65535)
		for range 20 {
			send(t, s.client, long)
			expect(t, s.fromClient, long)
			expect(t, s.copied, long)
		}
		send(t, s.client, masked(0x88, normalCode))
		expect(t, s.fromClient, masked(0x88, normalCode))
		s.gets(t, 0x88, normalCode)
		send(t, s.shadow, serverBye)
		s.shadow.Close()
		send(t, s.primary, serverBye)
		s.primary.Close()
		expect(t, s.fromPrimary, serverBye)
		atEOF(t, s.fromPrimary)
		if fate, detail := s.fate(t); fate != "completed" {
			t.Errorf("got %q, %q, want completed", fate, detail)
		}
		if m := books(t, s.server); m.Selected != 1 || m.Completed != 1 || m.Codes[101] != 1 {
			t.Errorf("got %+v, want one selected, completed and answered 101", m)
		}
	})
}

// sudden checks that the shadow gets nothing but the end.
func sudden(t *testing.T, s *sockets) {
	t.Helper()
	rest, err := io.ReadAll(s.copied)
	if len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the shadow got %q, %v, want the end", rest, err)
	}
}

func TestACopyOfAWebSocketEndsAsItShould(t *testing.T) {
	tests := []struct {
		name, mirror string
		end          func(t *testing.T, s *sockets)
		fate, detail string
	}{
		{"the client says Close", "", func(t *testing.T, s *sockets) {
			send(t, s.client, hello+masked(0x88, normalCode))
			expect(t, s.copied, hello)
			s.gets(t, 0x88, normalCode)
			send(t, s.shadow, serverBye)
			s.shadow.Close()
			s.client.Close()
		}, "completed", ""},
		{"the shadow just closes after Close", "", func(t *testing.T, s *sockets) {
			send(t, s.client, masked(0x88, ""))
			s.gets(t, 0x88, "")
			s.shadow.Close()
			s.client.Close()
		}, "completed", ""},
		{"the shadow keeps its connection after Close", "            timeout: 100ms", func(t *testing.T, s *sockets) {
			send(t, s.client, masked(0x88, ""))
			s.gets(t, 0x88, "")
			send(t, s.shadow, "\x88\x00")
			s.client.Close()
		}, "completed", ""},
		{"the shadow does not answer Close", "            timeout: 100ms", func(t *testing.T, s *sockets) {
			send(t, s.client, masked(0x88, ""))
			s.gets(t, 0x88, "")
			s.client.Close()
		}, "failed timeout", "the shadow did not answer Close in time"},
		{"the client leaves between messages", "", func(t *testing.T, s *sockets) {
			send(t, s.client, hello)
			expect(t, s.copied, hello)
			s.client.Close()
			s.gets(t, 0x88, goingAway)
			send(t, s.shadow, "\x88\x02"+goingAway)
			s.shadow.Close()
		}, "completed", ""},
		{"the primary leaves between messages", "", func(t *testing.T, s *sockets) {
			s.primary.Close()
			s.gets(t, 0x88, goingAway)
			s.shadow.Close()
		}, "completed", ""},
		{"the client leaves in the middle of a frame", "", func(t *testing.T, s *sockets) {
			send(t, s.client, hello[:9])
			expect(t, s.copied, hello[:9])
			s.client.Close()
			sudden(t, s)
		}, "dropped client_gone", "the client left in the middle of a message"},
		{"the client leaves between two frames of a message", "", func(t *testing.T, s *sockets) {
			send(t, s.client, masked(0x01, "Hel"))
			s.gets(t, 0x01, "Hel")
			s.client.Close()
			s.gets(t, 0x88, goingAway)
			s.shadow.Close()
		}, "dropped client_gone", "the client left in the middle of a message"},
		{"the client does not speak WebSocket", "", func(t *testing.T, s *sockets) {
			send(t, s.client, "hello")
			sudden(t, s)
			s.client.Close()
		}, "dropped client_gone", "a WebSocket frame has reserved bits or a reserved opcode"},
		{"the shadow does not speak WebSocket", "", func(t *testing.T, s *sockets) {
			send(t, s.shadow, "HTTP/1.1 200 OK\r\n\r\n")
			sudden(t, s)
			s.client.Close()
		}, "failed protocol", "the shadow: a WebSocket frame has reserved bits or a reserved opcode"},
		{"the shadow leaves", "", func(t *testing.T, s *sockets) {
			s.shadow.Close()
			send(t, s.client, hello)
			expect(t, s.fromClient, hello)
			// The client leaves once it is known that the shadow has.
			waitFor(s.server, func(m telemetry.Mirror) bool { return m.InFlight == 0 })
			s.client.Close()
		}, "failed reset", ""},
		{"the shadow closes as the primary would", "", func(t *testing.T, s *sockets) {
			send(t, s.shadow, serverBye)
			s.gets(t, 0x88, normalCode)
			s.shadow.Close()
			send(t, s.primary, serverBye)
			expect(t, s.fromPrimary, serverBye)
			send(t, s.client, masked(0x8a, "")+masked(0x88, normalCode))
			s.client.Close()
		}, "completed", ""},
		{"the shadow closes, and the client has more to say", "", func(t *testing.T, s *sockets) {
			send(t, s.shadow, "\x88\x02\x03\xf3") // 1011: internal error
			s.gets(t, 0x88, "\x03\xf3")
			s.shadow.Close()
			send(t, s.client, hello)
			expect(t, s.fromClient, hello)
			s.client.Close()
		}, "failed reset", "the shadow closed the WebSocket before the client did, with code 1011"},
		{"the shadow closes in the middle of a message", "", func(t *testing.T, s *sockets) {
			send(t, s.client, hello[:9])
			expect(t, s.copied, hello[:9])
			send(t, s.shadow, "\x88\x00")
			sudden(t, s)
			s.client.Close()
		}, "failed reset", "the shadow closed the WebSocket before the client did, with code 1005"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				s := openSockets(t, d, test.mirror)
				send(t, s.shadow, socketAnswer)
				// The handshake is over when the shadow's ping is answered.
				send(t, s.shadow, "\x89\x00")
				s.gets(t, 0x8a, "")
				test.end(t, s)
				if fate, detail := s.fate(t); fate != test.fate || test.detail != "" && detail != test.detail {
					t.Errorf("got %q, %q, want %q, %q", fate, detail, test.fate, test.detail)
				}
			})
		})
	}
}

func TestHandshakesOfPrimaryAndShadowMustAgree(t *testing.T) {
	with := func(lines string) string {
		return strings.Replace(socketAnswer, "\r\n\r\n", "\r\n"+lines+"\r\n\r\n", 1)
	}
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	const refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
	tests := []struct {
		name, primary, shadow, fate, detail string
	}{
		{"the shadow refuses", socketAnswer, refused, "failed protocol", "the primary switched to WebSocket, the shadow answered 403"},
		{"another protocol", socketAnswer, strings.Replace(socketAnswer, ": websocket", ": tls", 1), "failed protocol", "the shadow switched to another protocol than WebSocket"},
		{"a stranger's accept", socketAnswer, strings.Replace(socketAnswer, "s3pP", "S3pP", 1), "failed protocol", "the shadow's Sec-WebSocket-Accept does not belong to the key"},
		{"another subprotocol", with("Sec-WebSocket-Protocol: a"), with("Sec-WebSocket-Protocol: b"), "failed protocol", `the primary chose the subprotocol "a", the shadow "b"`},
		{"no subprotocol", with("Sec-WebSocket-Protocol: a"), socketAnswer, "failed protocol", `the primary chose the subprotocol "a", the shadow ""`},
		{"no extension", with(deflate), socketAnswer, "failed protocol", `the primary chose the extensions "permessage-deflate", the shadow ""`},
		{"an extension too many", socketAnswer, with(deflate), "failed protocol", `the primary chose the extensions "", the shadow "permessage-deflate"`},
		{"no HTTP", socketAnswer, "hello", "failed protocol", "http1: malformed status line"},
		{"no answer", socketAnswer, "", "failed timeout", "no whole answer in time"},
		{"the same extension", with(deflate + "\r\nSec-WebSocket-Protocol: a"), with(deflate + "; server_no_context_takeover\r\nSec-WebSocket-Protocol: a"), "completed", ""},
		{"both refuse", refused, refused, "completed", ""},
		{"only the primary refuses", refused, socketAnswer, "completed", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow, log := scripted(t), scripted(t), newLog()
				timeout := "5s"
				if test.shadow == "" {
					timeout = "50ms"
				}
				s, addr := serveWith(t, Options{Driver: d, Sinks: []traffic.Sink{log}},
					"accessLog: {path: \"-\"}\n"+mirrored(primary.address(), shadow.address(), "            upgrades: copy\n            timeout: "+timeout))
				c := dial(t, addr)
				send(t, c, socketRequest)
				p := primary.next(t)
				pr := bufio.NewReader(p)
				head(t, pr)
				send(t, p, test.primary)
				head(t, bufio.NewReader(c))
				sh := shadow.next(t)
				sr := bufio.NewReader(sh)
				head(t, sr)
				send(t, sh, test.shadow)
				if strings.HasPrefix(test.fate, "failed") {
					for mirrorOf(s).InFlight > 0 {
					}
					send(t, c, hello) // goes on all the same
					expect(t, pr, hello)
				}
				c.Close()
				p.Close()
				if test.fate == "completed" {
					if test.name == "the same extension" {
						sr.Discard(len(masked(0x88, goingAway)))
					}
					sh.Close()
				}
				x := log.next(t)
				if o := x.Copies[0]; strings.TrimSpace(string(o.Fate)+" "+string(o.Reason)) != test.fate || o.Error != test.detail {
					t.Errorf("got %s %s, %q, want %q, %q", o.Fate, o.Reason, o.Error, test.fate, test.detail)
				}
				if m := books(t, s); m.Breaker != "closed" {
					t.Errorf("the breaker is %s", m.Breaker)
				}
			})
		})
	}
}

func TestUpgradesAreSkippedUnlessAskedFor(t *testing.T) {
	other := strings.Replace(socketRequest, "Upgrade: websocket", "Upgrade: other", 1)
	for _, test := range []struct{ name, mirror, request string }{
		{"by default", "", socketRequest},
		{"if told", "upgrades: skip", socketRequest},
		{"of another protocol", "upgrades: copy", other},
		{"without a key", "upgrades: copy", strings.Replace(socketRequest, "Sec-WebSocket-Key", "X-Key", 1)},
		{"of another version", "upgrades: copy", strings.Replace(socketRequest, ": 13", ": 12", 1)},
		{"that write", "upgrades: copy, writes: copy", strings.Replace(socketRequest, "GET", "POST", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := scripted(t)
				s, addr := serve(t, d, withMirrors(primary.address(), []string{freeAddress(t)}, test.mirror))
				c := dial(t, addr)
				send(t, c, test.request)
				p := primary.next(t)
				head(t, bufio.NewReader(p))
				send(t, p, socketAnswer)
				head(t, bufio.NewReader(c))
				if m := mirrorOf(s); m.Selected != 0 || m.Skipped[traffic.SkipUpgrade] != 1 {
					t.Errorf("%d selected, skipped %v, want 1 as upgrade", m.Selected, m.Skipped)
				}
			})
		})
	}
}

func TestALiveWebSocketDoesNotWaitForAShadowThatDoesNotRead(t *testing.T) {
	for _, answer := range []string{"", socketAnswer} {
		drivers(t, func(t *testing.T, d loop.Driver) {
			s := openSockets(t, d, "            timeout: 10s\n            limits: {memory: 256KiB}")
			send(t, s.shadow, answer)
			frame := "\x82\xfe\xff\xff" + "abcd" + strings.Repeat("x", 65535)
			for mirrorOf(s.server).InFlight > 0 {
				send(t, s.client, frame)
				expect(t, s.fromClient, frame)
				if held := mirrorOf(s.server).Memory; held > 512<<10 {
					t.Fatalf("%d bytes are held", held)
				}
			}
			send(t, s.client, hello)
			expect(t, s.fromClient, hello)
			if m := mirrorOf(s.server); m.Dropped[traffic.DropMemory] != 1 || m.Memory != 0 {
				t.Errorf("dropped %v, and %d bytes held, want memory and none", m.Dropped, m.Memory)
			}
			got, err := io.ReadAll(s.copied)
			if err == nil && len(got)%len(frame) == 0 && len(got) > 0 {
				t.Errorf("the shadow got %d bytes and an ordinary end", len(got))
			}
		})
	}
}

func TestACopyWithoutMemoryClosesBetweenFramesIfItCan(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s := openSockets(t, d, "")
		send(t, s.shadow, socketAnswer+"\x89\x00")
		s.gets(t, 0x8a, "")
		s.server.mirrors.SetLimits(config.Copies{InFlight: 10, Memory: 1})
		send(t, s.client, hello)
		expect(t, s.fromClient, hello)
		s.gets(t, 0x88, "\x03\xf0") // 1008: policy violation
		s.shadow.Close()
		if fate, _ := s.fate(t); fate != "dropped memory" {
			t.Errorf("got %q, want dropped memory", fate)
		}
	})
}

func TestTheFirstWebSocketThatIsSkippedIsLogged(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, log := scripted(t), &logged{}
		s, addr := serveWith(t, Options{Driver: d, Log: slog.New(slog.NewTextHandler(log, nil))}, withMirrors(primary.address(), []string{freeAddress(t)}, "percent: 100"))
		for range 3 {
			c := dial(t, addr)
			send(t, c, socketRequest)
			head(t, bufio.NewReader(primary.next(t)))
		}
		const line = `msg="a WebSocket was not copied; set upgrades: copy on the mirror to copy what clients send through them" route=shop mirror=m0`
		for !strings.Contains(log.String(), line) {
		}
		if n := strings.Count(log.String(), line); n != 1 || mirrorOf(s).Skipped[traffic.SkipUpgrade] != 3 {
			t.Errorf("%d lines for %v skipped", n, mirrorOf(s).Skipped)
		}
	})
}

func TestAFloodOfPingsIsAnsweredWithinBounds(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s := openSockets(t, d, "            limits: {memory: 64KiB}")
		send(t, s.shadow, socketAnswer)
		flood := strings.Repeat("\x89\x7d"+strings.Repeat("p", 125), 1000)
		for range 50 {
			send(t, s.shadow, flood) // and never reads
		}
		send(t, s.client, hello)
		expect(t, s.fromClient, hello)
		if m := mirrorOf(s.server); m.InFlight != 1 || m.Memory > 4<<10 {
			t.Errorf("%d in flight, %d bytes held, dropped %v", m.InFlight, m.Memory, m.Dropped)
		}
	})
}

func TestAMirrorThatIsTurnedOffClosesItsWebSockets(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s := openSockets(t, d, "")
		send(t, s.shadow, socketAnswer+"\x89\x00")
		s.gets(t, 0x8a, "")
		off := parse(t, mirrored(s.primary.LocalAddr().String(), s.shadow.LocalAddr().String(), "            percent: 0"))
		if _, err := s.server.Apply(off); err != nil {
			t.Fatal(err)
		}
		s.gets(t, 0x88, goingAway)
		s.shadow.Close()
		send(t, s.client, hello)
		expect(t, s.fromClient, hello)
		if m := books(t, s.server); m.Dropped[traffic.DropShutdown] != 1 {
			t.Errorf("dropped %v, want shutdown", m.Dropped)
		}
	})
}

func TestTheEndOfTheProxyClosesWebSocketsOfShadows(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s := openSockets(t, d, "")
		send(t, s.shadow, socketAnswer+"\x89\x00")
		s.gets(t, 0x8a, "")
		end := make(chan error, 1)
		go func() { end <- s.server.Drain(t.Context()) }()
		s.gets(t, 0x88, goingAway)
		send(t, s.shadow, "\x88\x02"+goingAway)
		s.shadow.Close()
		if err := <-end; err != nil {
			t.Error(err)
		}
		if m := s.server.Snapshot().Mirrors[0]; m.Completed != 1 {
			t.Errorf("%d completed, dropped %v, failed %v, want completed", m.Completed, m.Dropped, m.Failed)
		}
	})
}

func TestAWebSocketTakesAPlaceInFlight(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := scripted(t), scripted(t)
		s, addr := serve(t, d, "shutdown: {drain: 10ms, copies: 10ms}\n"+mirrored(primary.address(), shadow.address(), "            upgrades: copy\n            limits: {inFlight: 1}"))
		for range 2 {
			c := dial(t, addr)
			send(t, c, socketRequest)
			p := primary.next(t)
			head(t, bufio.NewReader(p))
			send(t, p, socketAnswer)
			head(t, bufio.NewReader(c))
		}
		if m := waitFor(s, func(m telemetry.Mirror) bool { return sumOf(m.Dropped) > 0 }); m.InFlight != 1 || m.Dropped[traffic.DropInFlight] != 1 || m.Queued != 0 {
			t.Errorf("%d in flight, %d queued, dropped %v, want 1, 0 and in_flight", m.InFlight, m.Queued, m.Dropped)
		}
	})
}

// waitFor waits until the books of the only mirror are as wanted.
func waitFor(s *Server, wanted func(telemetry.Mirror) bool) telemetry.Mirror {
	for {
		if m := mirrorOf(s); wanted(m) {
			return m
		}
	}
}
