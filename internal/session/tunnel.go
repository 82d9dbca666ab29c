package session

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/websocket"
)

// A WebSocket of a client that speaks HTTP/2 is a stream that CONNECT has opened
// (RFC 8441). On its lane it is the handshake of RFC 6455: a GET with a key that is
// made up here, for which the 101 becomes a 200, and from then on the stream's data
// as it is.

// webSocket is the :protocol that a lane has a handshake for.
const webSocket = "websocket"

// opens says whether h asks for a WebSocket. Other protocols are left a CONNECT.
func opens(h *http2.Head) bool { return h.Method == "CONNECT" && h.Protocol == webSocket }

// appendHandshake appends what a handshake has beside the fields of h.
func appendHandshake(dst []byte, h *http2.Head) []byte {
	dst = append(dst, "connection: upgrade\r\nupgrade: websocket\r\n"...)
	version := false
	for i := range h.Fields {
		version = version || h.Fields[i].Name == websocket.VersionField
	}
	if !version {
		dst = appendField(dst, websocket.VersionField, websocket.Version)
	}
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], rand.Uint64())
	binary.LittleEndian.PutUint64(nonce[8:], rand.Uint64())
	dst = append(dst, websocket.KeyField+": "...)
	dst = base64.StdEncoding.AppendEncode(dst, nonce[:])
	return append(dst, "\r\n"...)
}

// hold keeps what a client says before it was answered: behind the head of a
// request that is refused it would be taken for the next one.
func (l *lane) hold(p []byte, end bool) {
	l.early.Copy(p)
	l.ended = l.ended || end
}

// dig makes the stream a tunnel, because r says so.
func (l *lane) dig() {
	l.opening, l.tunnel = false, true
	l.body = http1.Endless()
	l.inBody = true
	n := l.early.Len()
	l.in.Move(&l.early, n)
	l.owed += n
	l.eof = l.ended
	l.signal()
}

// decline goes on when the answer is another one: nobody wants what was said.
func (l *lane) decline() {
	l.opening, l.skip = false, true
	n := l.early.Len()
	l.early.Reset()
	l.session.machine.Consumed(l.stream, n)
}

// ofHandshake says whether a field of an answer is about the handshake of RFC 6455
// alone.
func ofHandshake(name []byte) bool { return bytes.EqualFold(name, acceptField) }

var acceptField = []byte(websocket.AcceptField)
