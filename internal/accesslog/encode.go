package accesslog

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// appendLine appends e as one line of JSON with its newline. It allocates
// only what dst lacks.
func appendLine(dst []byte, e *traffic.Exchange) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Start.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = appendText(dst, "request_id", e.ID)
	dst = appendClient(dst, e)
	dst = appendText(dst, "listener", e.Listener)
	dst = appendText(dst, "method", e.Method)
	dst = appendText(dst, "host", e.Host)
	dst = appendText(dst, "path", e.Path)
	dst = strconv.AppendBool(appendKey(dst, "query"), e.Query != "")
	dst = appendText(dst, "protocol", e.Protocol)
	dst = appendText(dst, "user_agent", e.UserAgent)
	dst = appendText(dst, "route", e.Route)
	dst = appendInt(dst, "rule", int64(e.Rule))
	dst = appendInt(dst, "status", int64(e.Status))
	dst = appendCall(dst, &e.GRPC)
	dst = appendMillis(dst, "duration_ms", e.Duration)
	dst = appendInt(dst, "bytes_in", e.BytesIn)
	dst = appendInt(dst, "bytes_out", e.BytesOut)
	dst = appendFault(dst, e.Source, e.Error)
	if e.Primary.Backend != "" {
		dst = append(appendOutcome(append(appendKey(dst, "primary"), '{'), &e.Primary), '}')
	}
	dst = append(appendKey(dst, "copies"), '[')
	for i := range e.Copies {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendOutcome(append(dst, '{'), &e.Copies[i]), '}')
	}
	return append(dst, "]}\n"...)
}

// appendOutcome appends the fields of o, leaving out the empty ones.
func appendOutcome(dst []byte, o *traffic.Outcome) []byte {
	dst = appendOptional(dst, "mirror", o.Mirror)
	dst = appendText(dst, "backend", o.Backend)
	dst = appendOptional(dst, "endpoint", o.Endpoint)
	dst = appendOptional(dst, "fate", string(o.Fate))
	dst = appendOptional(dst, "reason", string(o.Reason))
	if o.Status != 0 {
		dst = appendInt(dst, "status", int64(o.Status))
	}
	dst = appendCall(dst, &o.GRPC)
	if o.First != 0 {
		dst = appendMillis(dst, "first_ms", o.First)
	}
	if o.End != 0 {
		dst = appendMillis(dst, "ms", o.End)
	}
	if o.Bytes != 0 {
		dst = appendInt(dst, "bytes", o.Bytes)
	}
	return appendFault(dst, o.Source, o.Error)
}

// appendCall appends how a gRPC call ended; nothing for what was none.
func appendCall(dst []byte, c *traffic.GRPCCall) []byte {
	dst = appendOptional(dst, "grpc_status", string(c.Status))
	return appendOptional(dst, "grpc_message", c.Message)
}

func appendFault(dst []byte, s traffic.Source, text string) []byte {
	if s != traffic.None {
		dst = appendText(dst, "source", s.String())
	}
	return appendOptional(dst, "error", text)
}

// appendClient writes the zone apart: it is the only part of an address that
// may hold any byte.
func appendClient(dst []byte, e *traffic.Exchange) []byte {
	dst = append(appendKey(dst, "client"), '"')
	if e.Client.IsValid() {
		dst = e.Client.WithZone("").AppendTo(dst)
	}
	if zone := e.Client.Zone(); zone != "" {
		dst = appendEscaped(append(dst, '%'), zone)
	}
	return append(dst, '"')
}

// appendKey appends a key, after a comma unless it is the first of its object.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

func appendText(dst []byte, key, value string) []byte {
	dst = append(appendKey(dst, key), '"')
	return append(appendEscaped(dst, value), '"')
}

func appendOptional(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendText(dst, key, value)
}

func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(dst, key), n, 10)
}

// appendMillis appends d in milliseconds with three decimals; a negative d,
// which a clock that was set back could give, is written as 0.
func appendMillis(dst []byte, key string, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	dst = strconv.AppendInt(appendKey(dst, key), us/1000, 10)
	us %= 1000
	return append(dst, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}

const hex = "0123456789abcdef"

// appendEscaped appends s as the inside of a JSON string. Beyond what JSON asks
// for it escapes DEL and the C1 controls, which some terminals obey, and the
// two line separators that break JavaScript. Bad UTF-8 becomes U+FFFD.
func appendEscaped(dst []byte, s string) []byte {
	start := 0 // of what can be copied as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || size > 1) && r > 0x9f && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, r)
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

// appendEscape appends r, which is below U+10000, as an escape sequence.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}
