package proxy

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/websocket"
)

// readKey notes that h asks for a WebSocket in the place of a client that speaks
// HTTP/2, where no other request has an Upgrade.
func (r *request) readKey(h *http1.Request) {
	if r.client.version != "" && h.Upgrade() != nil {
		key, _ := h.Value(websocket.KeyField, 0)
		r.key = append(r.key, key...)
	}
}

// disagrees says what is wrong with a primary's answer to a handshake that was made
// up here, so that the client cannot look: a success that is no WebSocket would be
// taken for one (RFC 8441 §5).
func (r *request) disagrees(resp *http1.Response) string {
	if len(r.key) == 0 || resp.Status() >= 300 {
		return ""
	}
	accept, _ := resp.Value(websocket.AcceptField, 0)
	switch {
	case resp.Status() != 101:
		return "the primary did not switch to WebSocket"
	case !bytes.EqualFold(resp.Upgrade(), protocolName):
		return "the primary switched to another protocol than WebSocket"
	case !websocket.Accepts(r.key, accept):
		return "the primary's Sec-WebSocket-Accept does not belong to the key"
	}
	return ""
}

var protocolName = []byte("websocket")
