package grpc

import (
	"bytes"
	"strconv"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Status reads a value of StatusField. A number that nobody knows is UNKNOWN,
// as the gRPC specification wants.
func Status(value []byte) traffic.GRPCStatus {
	code := 0
	if len(value) == 0 || len(value) > 2 {
		return traffic.GRPCUnknown
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return traffic.GRPCUnknown
		}
		code = code*10 + int(c-'0')
	}
	if code >= len(traffic.GRPCStatuses) {
		return traffic.GRPCUnknown
	}
	return traffic.GRPCStatuses[code]
}

// code returns the number of a status.
func code(s traffic.GRPCStatus) int {
	for i := range traffic.GRPCStatuses {
		if traffic.GRPCStatuses[i] == s {
			return i
		}
	}
	return 2
}

// FromHTTP returns the status of a call that is answered with an HTTP status,
// by the proxy or by somebody who does not speak gRPC.
func FromHTTP(status int) traffic.GRPCStatus {
	switch status {
	case 400, 500:
		return traffic.GRPCInternal
	case 401:
		return traffic.GRPCUnauthenticated
	case 403:
		return traffic.GRPCPermissionDenied
	case 404, 405, 501:
		return traffic.GRPCUnimplemented
	case 408, 504:
		return traffic.GRPCDeadlineExceeded
	case 413, 431:
		return traffic.GRPCResourceExhausted
	case 429, 502, 503:
		return traffic.GRPCUnavailable
	}
	return traffic.GRPCUnknown
}

// AppendStatus appends the fields that end a call, as lines.
func AppendStatus(dst []byte, s traffic.GRPCStatus, message string) []byte {
	dst = append(dst, StatusField+": "...)
	dst = strconv.AppendInt(dst, int64(code(s)), 10)
	dst = append(dst, "\r\n"...)
	if message == "" {
		return dst
	}
	dst = append(dst, MessageField+": "...)
	dst = appendEncoded(dst, message)
	return append(dst, "\r\n"...)
}

// appendEncoded percent-encodes what a message may not contain.
func appendEncoded(dst []byte, message string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(message) {
		c := message[i]
		if c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// maxMessage is how many bytes of a message are kept. It is for people.
const maxMessage = 1 << 10

// Message decodes a value of MessageField. What is no encoding stays as it is.
func Message(value []byte) string {
	value = value[:min(len(value), maxMessage)]
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			if n, err := strconv.ParseUint(string(value[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, value[i])
	}
	return string(out)
}

// Trailer finds a field in trailer lines; name is in lower case.
func Trailer(lines []byte, name string) (value []byte, ok bool) {
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, crlf)
		if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) {
			return bytes.TrimSpace(line[len(name)+1:]), true
		}
	}
	return nil, false
}

var crlf = []byte("\r\n")

// equalFold compares with a name in lower case.
func equalFold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
