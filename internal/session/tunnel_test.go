package session

import (
	"strings"
	"testing"
)

// openChat is the field section of an extended CONNECT to http://a/chat.
const openChat = "\x02\x07CONNECT" + "\x00\x09:protocol\x09websocket" + "\x86" + "\x04\x05/chat" + "\x41\x01a"

const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: b\r\n\r\n"

// asksFor waits for the handshake on the lane, with any key, and answers it.
func (s *stage) asksFor(t *testing.T, answer string) {
	t.Helper()
	got := ""
	s.until("the handshake is read", func() bool {
		if len(s.holders) > 0 {
			got = string(s.holders[0].got)
		}
		return strings.HasSuffix(got, "\r\n\r\n")
	})
	before, key, ok := strings.Cut(strings.TrimSuffix(got, "\r\n\r\n"), "sec-websocket-key: ")
	const want = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
	if before != want || !ok || len(key) != 24 {
		t.Errorf("the lane read %q", got)
	}
	parsed(t, got)
	s.on(func() {
		s.holders[0].got = nil
		s.holders[0].write(answer)
	})
}

func TestAnExtendedConnectBecomesAHandshake(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, openChat), frame(0, 0, 1, []byte("early")...))
	s.asksFor(t, switched)
	s.expect(`headers 1 4 "\x88\x00\x16sec-websocket-protocol\x01b"`)
	s.text(0, "early")
	s.send(frame(0, 0, 1, []byte("more")...))
	s.text(0, "more")
	s.on(func() { s.holders[0].write("from the server") })
	s.expect(`data 1 0 "from the server"`)
	s.send(frame(0, 1, 1, []byte("bye")...)) // whose end closes the lane, as holders do
	s.until("the lane has ended", func() bool { return s.holders[0].end != nil })
	if got := string(s.holders[0].got); got != "bye" {
		t.Errorf("read %q before the end", got)
	}
	s.expect(`data 1 1 ""`)
	s.send(headers(5, 3, get)) // the connection goes on
	s.text(1, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
}

// What a client says before it is refused is nobody's request.
func TestAnExtendedConnectThatIsRefused(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, openChat), frame(0, 0, 1, []byte("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")...))
	s.asksFor(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	s.expect(`headers 1 4 "\b\x03403\x0f\r\x012"`, `data 1 1 "no"`, "reset 1 NO_ERROR")
	s.until("the lane has ended", func() bool { return s.holders[0].end != nil })
	if got := string(s.holders[0].got); got != "" {
		t.Errorf("the lane read %q", got)
	}
}

func TestTheEndsOfATunnel(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(5, 1, openChat)) // ended before it has begun
	s.asksFor(t, switched)
	s.expect(`headers 1 4 "\x88\x00\x16sec-websocket-protocol\x01b"`, `data 1 1 ""`)

	s = newStage(t, true, nil)
	s.send(headers(4, 1, openChat))
	s.asksFor(t, switched)
	s.next()
	s.on(func() { s.holders[0].write("last"); s.holders[0].conn.Close() })
	s.expect(`data 1 0 "last"`, `data 1 1 ""`, "reset 1 NO_ERROR")

	s = newStage(t, true, nil)
	s.send(headers(4, 1, openChat))
	s.asksFor(t, switched)
	s.next()
	s.on(func() { s.holders[0].conn.Abort(); s.holders[0].conn.Close() })
	s.expect("reset 1 INTERNAL_ERROR")

	s = newStage(t, true, nil)
	s.send(headers(4, 1, openChat))
	s.asksFor(t, switched)
	s.next()
	s.send(frame(3, 0, 1, 0, 0, 0, 8))
	s.until("the lane has failed", func() bool { return s.holders[0].conn.Err() != nil })
}

// Protocols that nobody here knows are a CONNECT, which is refused as such.
func TestOtherProtocolsStayAConnect(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, strings.Replace(openChat, "\x09websocket", "\x0aconnect-ip", 1)))
	s.text(0, "CONNECT a:443 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
}
