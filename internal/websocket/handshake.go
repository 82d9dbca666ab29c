package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
)

// The fields of a handshake, in lower case.
const (
	KeyField        = "sec-websocket-key"
	AcceptField     = "sec-websocket-accept"
	VersionField    = "sec-websocket-version"
	ProtocolField   = "sec-websocket-protocol"
	ExtensionsField = "sec-websocket-extensions"
)

// Version is the only version of the protocol, as VersionField has it.
const Version = "13"

// guid is what a server puts behind the key (RFC 6455 §1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// ValidKey says whether key is one that a client may send: 16 bytes in base64.
func ValidKey(key []byte) bool {
	var b [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], key)
	return err == nil && n == 16
}

// Accepts says whether accept is what a server answers to key, which must be
// valid.
func Accepts(key, accept []byte) bool {
	var b [24 + len(guid)]byte
	sum := sha1.Sum(append(append(b[:0], key...), guid...))
	var want [28]byte
	base64.StdEncoding.Encode(want[:], sum[:])
	return bytes.Equal(accept, want[:])
}

// Understands says whether a server that has negotiated the extensions in
// shadow understands what a client sends that was told those in primary. Both
// are values of ExtensionsField; several fields are joined by commas. What only
// a server's own frames obey does not matter.
func Understands(shadow, primary []byte) bool {
	for len(shadow) > 0 || len(primary) > 0 {
		var s, p []byte
		s, shadow = next(shadow, ',')
		p, primary = next(primary, ',')
		if !understands(s, p) {
			return false
		}
	}
	return true
}

// understands is Understands of one extension.
func understands(shadow, primary []byte) bool {
	name, shadowParams := next(shadow, ';')
	other, primaryParams := next(primary, ';')
	if !bytes.EqualFold(name, other) {
		return false
	}
	if !bytes.EqualFold(name, []byte("permessage-deflate")) {
		return sameParams(shadowParams, primaryParams)
	}
	// RFC 7692 §7.1: a window as large as the client's, or larger, will do, and so
	// will a context that is kept though the client starts afresh.
	_, fresh := param(shadowParams, "client_no_context_takeover")
	_, told := param(primaryParams, "client_no_context_takeover")
	return windowOf(shadowParams) >= windowOf(primaryParams) && (told || !fresh)
}

// windowOf returns the size of the client's window, as a power of two.
func windowOf(params []byte) int {
	const most = 15
	value, ok := param(params, "client_max_window_bits")
	if !ok {
		return most
	}
	bits, err := strconv.Atoi(string(bytes.Trim(value, `"`)))
	if err != nil {
		return most
	}
	return bits
}

// sameParams compares parameters of an extension that is not known here.
func sameParams(a, b []byte) bool {
	for len(a) > 0 || len(b) > 0 {
		var x, y []byte
		x, a = next(a, ';')
		y, b = next(b, ';')
		if !bytes.EqualFold(x, y) {
			return false
		}
	}
	return true
}

// param returns the value of a parameter, which may be empty.
func param(params []byte, name string) (value []byte, ok bool) {
	for len(params) > 0 {
		var p []byte
		p, params = next(params, ';')
		key, value, _ := bytes.Cut(p, []byte("="))
		if bytes.EqualFold(bytes.TrimSpace(key), []byte(name)) {
			return bytes.TrimSpace(value), true
		}
	}
	return nil, false
}

// next cuts off the first element of a list. Elements that are empty are
// skipped.
func next(list []byte, separator byte) (element, rest []byte) {
	for len(list) > 0 {
		i := bytes.IndexByte(list, separator)
		if i < 0 {
			return bytes.TrimSpace(list), nil
		}
		element, list = bytes.TrimSpace(list[:i]), list[i+1:]
		if len(element) > 0 {
			return element, list
		}
	}
	return nil, nil
}
