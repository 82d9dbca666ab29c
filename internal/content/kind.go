package content

import (
	"bytes"
	"unicode/utf8"
)

// sniffed bounds how much of a body is looked at to find out its kind.
const sniffed = 1 << 10

// media are the types that say what a body is. Others are found by their suffix
// or their first part.
var media = map[string]Kind{
	"application/json":                  JSON,
	"text/json":                         JSON,
	"application/x-json":                JSON,
	"application/x-ndjson":              NDJSON,
	"application/ndjson":                NDJSON,
	"application/jsonl":                 NDJSON,
	"application/x-jsonlines":           NDJSON,
	"application/jsonlines":             NDJSON,
	"application/json-seq":              NDJSON,
	"application/stream+json":           NDJSON,
	"text/event-stream":                 SSE,
	"application/x-www-form-urlencoded": Form,
	"application/xml":                   XML,
	"text/xml":                          XML,
	"text/html":                         HTML,
	"application/xhtml+xml":             HTML,
	"application/protobuf":              Protobuf,
	"application/x-protobuf":            Protobuf,
	"application/x-google-protobuf":     Protobuf,
	"application/vnd.google.protobuf":   Protobuf,
	"application/grpc":                  GRPC,
	"application/grpc-web":              GRPC,
}

// grpcWebText is what browsers that can read nothing but text are sent: messages
// of gRPC in base64, which may be padded in between.
const grpcWebText = "application/grpc-web-text"

// kindOf returns the kind that a Content-Type declares, and whether that is all
// that need be asked: what is declared as plain text, as octets or not at all may
// be anything.
func kindOf(declared []byte) (kind Kind, sure bool) {
	first, _ := cutParameter(declared)
	var room [64]byte
	t := append(room[:0], trim(first)...)
	for i, c := range t {
		t[i] = lower(c)
	}
	if k, ok := media[string(t)]; ok {
		return k, true
	}
	switch {
	case len(t) == 0:
		return Empty, false
	case bytes.HasSuffix(t, []byte("+json")) && !bytes.HasPrefix(t, []byte("application/grpc")):
		return JSON, true
	case bytes.HasPrefix(t, []byte("application/grpc+")), bytes.HasPrefix(t, []byte("application/grpc-web+")), bytes.HasPrefix(t, []byte(grpcWebText)):
		return GRPC, true
	case bytes.HasSuffix(t, []byte("+xml")):
		return XML, true
	case bytes.HasSuffix(t, []byte("+proto")), bytes.HasSuffix(t, []byte("+protobuf")):
		return Protobuf, true
	case bytes.HasPrefix(t, []byte("multipart/")):
		return Multipart, true
	case string(t) == "text/plain":
		return Text, false
	case bytes.HasPrefix(t, []byte("text/")), bytes.HasSuffix(t, []byte("/javascript")):
		return Text, true
	case bytes.HasPrefix(t, []byte("image/")), bytes.HasPrefix(t, []byte("audio/")), bytes.HasPrefix(t, []byte("video/")), bytes.HasPrefix(t, []byte("font/")):
		return Opaque, true
	}
	return Opaque, false
}

// firstBoundary returns the boundary of a multipart body whose head does not tell
// it: what the first line says, if that can be one (RFC 2046 §5.1.1).
func firstBoundary(data []byte) string {
	line, _, ok := bytes.Cut(trim(data), []byte("\n"))
	line, dashes := bytes.CutPrefix(trim(line), []byte("--"))
	if !ok || !dashes || len(line) == 0 || len(line) > 70 || bytes.IndexByte(line, '"') >= 0 {
		return ""
	}
	return string(line)
}

// sniff guesses the kind by the first bytes. declared is what was said without
// much meaning: Text, Opaque, or Empty for nothing at all.
func sniff(data []byte, declared Kind) Kind {
	b := data[:min(len(data), sniffed)]
	start := trim(b)
	switch {
	case !textual(b, len(data) > len(b)):
		return Opaque
	case len(start) == 0:
		return Text
	case start[0] == '{' || start[0] == '[':
		return sniffJSON(start, data)
	case start[0] == '<':
		return sniffMarkup(start)
	case sniffEvents(start):
		return SSE
	case declared == Empty && sniffForm(start):
		return Form
	}
	return Text
}

// textual says whether b is UTF-8 without the control characters that text does
// not have. Its last rune may be cut off if more follows.
func textual(b []byte, more bool) bool {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != 0x1e {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return more && !utf8.FullRune(b[i:])
		}
		i += size
	}
	return true
}

// sniffJSON tells JSON and NDJSON from text that begins with a bracket.
func sniffJSON(start, data []byte) Kind {
	next := trim(start[1:])
	if len(next) == 0 {
		return JSON
	}
	switch c := next[0]; {
	case start[0] == '{' && c != '"' && c != '}':
		return Text
	case start[0] == '[' && !startsValue(next):
		return Text
	}
	line, rest, ok := bytes.Cut(trim(data), []byte("\n"))
	line, rest = trim(line), trim(rest)
	if ok && len(rest) > 0 && rest[0] == start[0] && len(line) > 1 && line[len(line)-1] == start[0]+2 { // both brackets end two characters on
		return NDJSON
	}
	return JSON
}

// startsValue says whether an array of JSON may go on so.
func startsValue(b []byte) bool {
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(b, []byte(literal)) {
			return true
		}
	}
	return bytes.IndexByte([]byte(`{["]-0123456789`), b[0]) >= 0
}

func sniffMarkup(start []byte) Kind {
	has := func(prefix string) bool { return len(start) >= len(prefix) && EqualFold(start[:len(prefix)], prefix) }
	switch {
	case has("<!doctype html"), has("<html"), has("<head"), has("<body"):
		return HTML
	case len(start) > 1 && (start[1] == '?' || start[1] == '!' || letter(start[1])):
		return XML
	}
	return Text
}

func sniffEvents(start []byte) bool {
	for _, field := range []string{"data:", "event:", "id:", "retry:"} {
		if bytes.HasPrefix(start, []byte(field)) {
			return field == "data:" || bytes.Contains(start, []byte("\ndata:"))
		}
	}
	return false
}

// sniffForm says whether the text looks like name=value pairs.
func sniffForm(start []byte) bool {
	name, _, ok := bytes.Cut(start, []byte("="))
	if !ok || len(name) == 0 || bytes.ContainsAny(start, " \t\r\n<>\"{}|\\^`") {
		return false
	}
	for _, c := range name {
		if !letter(c) && (c < '0' || c > '9') && bytes.IndexByte([]byte("_-.[]%+~*$"), c) < 0 {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'a' <= lower(c) && lower(c) <= 'z' }
