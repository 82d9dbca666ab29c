package websocket

import "encoding/binary"

// Status codes of Close (RFC 6455 §7.4.1).
const (
	// CloseNormal says that the purpose of the connection was met.
	CloseNormal = 1000
	// GoingAway is what an endpoint says that goes away, such as a server that
	// shuts down or a browser that leaves the page.
	GoingAway = 1001
	// NoStatus stands for a Close without a code; it is never sent.
	NoStatus = 1005
	// PolicyViolation is said when no better code fits.
	PolicyViolation = 1008
)

// AppendControl appends a control frame of a client, masked with key. payload
// has at most MaxControl bytes.
func AppendControl(dst []byte, op Opcode, payload []byte, key [4]byte) []byte {
	dst = append(dst, 0x80|byte(op), 0x80|byte(len(payload)))
	dst = append(dst, key[:]...)
	for i, c := range payload {
		dst = append(dst, c^key[i%4])
	}
	return dst
}

// AppendClose appends a client's Close with a code.
func AppendClose(dst []byte, code int, key [4]byte) []byte {
	return AppendControl(dst, Close, binary.BigEndian.AppendUint16(make([]byte, 0, 2), uint16(code)), key)
}

// CloseCode reads the code in the payload of a Close.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return NoStatus
	}
	return int(binary.BigEndian.Uint16(payload))
}
