package http2

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// sink is an Output that keeps everything.
type sink struct{ bytes []byte }

func (s *sink) Room(int) []byte { return s.bytes[len(s.bytes):] }
func (s *sink) Commit(p []byte) { s.bytes = append(s.bytes, p...) }

// user is a Handler that writes down what it hears.
type user struct {
	lines []string
	m     *Machine
	react func(u *user, s *Stream, event string)
}

func (u *user) note(s *Stream, event, format string, args ...any) {
	u.lines = append(u.lines, strings.TrimRight(fmt.Sprintf("%d %s %s", s.ID(), event, fmt.Sprintf(format, args...)), " "))
	if u.react != nil {
		u.react(u, s, event)
	}
}

func (u *user) Head(s *Stream, h *Head, end bool) {
	text := fmt.Sprint(h.Status)
	switch {
	case h.Trailer:
		text = "trailers"
	case h.Status == 0:
		text = fmt.Sprintf("%s %s://%s%s", h.Method, h.Scheme, h.Authority, h.Path)
	}
	for _, f := range h.Fields {
		text += " " + f.Name + "=" + f.Value
	}
	if h.Cut {
		text += " (cut)"
	}
	if end {
		text += " END"
	}
	u.note(s, "head", "%s", text)
}

// Data joins parts, so that transcripts do not depend on how input was split.
func (u *user) Data(s *Stream, p []byte, end bool) {
	prefix := fmt.Sprintf("%d data ", s.ID())
	if n := len(u.lines) - 1; n >= 0 && strings.HasPrefix(u.lines[n], prefix) && !strings.HasSuffix(u.lines[n], " END") {
		u.lines[n] += string(p)
	} else {
		u.lines = append(u.lines, prefix+string(p))
	}
	if end {
		u.lines[len(u.lines)-1] += " END"
	}
	u.m.Consumed(s, len(p))
	if u.react != nil {
		u.react(u, s, "data")
	}
}

func (u *user) Reset(s *Stream, code Code) { u.note(s, "reset", "%s", code) }

func (u *user) Window(*Stream) {}

var testLimits = Limits{Streams: 3, Window: 70000, Conn: 100000, Head: 2000}

// run feeds input to a new machine in pieces of n bytes and returns what its
// user heard, and what it sent behind its settings.
func run(server bool, input []byte, n int, react func(u *user, s *Stream, event string)) (heard, sent []string, err *Error) {
	u, out := &user{react: react}, &sink{}
	m := New(server, testLimits, u, out)
	u.m = m
	if !server {
		m.Open(nil, false)
		m.Open(nil, false)
		m.Open(nil, true)
	}
	out.bytes = nil
	for len(input) > 0 && err == nil {
		k := min(n, len(input))
		err = m.Receive(input[:k])
		input = input[k:]
	}
	return u.lines, frames(out.bytes), err
}

// frames writes down the frames in b.
func frames(b []byte) (lines []string) {
	names := []string{"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"}
	for len(b) >= 9 {
		n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		kind, flags, id, p := b[3], b[4], binary.BigEndian.Uint32(b[5:]), b[9:9+n]
		b = b[9+n:]
		line := fmt.Sprintf("%s %d", names[kind], id)
		switch kind {
		case 3:
			line += " " + Code(binary.BigEndian.Uint32(p)).String()
		case 4:
			if flags == 1 {
				line = "SETTINGS ACK"
			}
		case 6:
			line = fmt.Sprintf("PING %d %s", flags, p)
		case 7:
			line = fmt.Sprintf("GOAWAY %d %s", binary.BigEndian.Uint32(p), Code(binary.BigEndian.Uint32(p[4:])))
		case 8:
			line += fmt.Sprintf(" %d", binary.BigEndian.Uint32(p))
		default:
			line += fmt.Sprintf(" %d bytes, flags %d", n, flags)
		}
		lines = append(lines, line)
	}
	if len(b) > 0 {
		lines = append(lines, fmt.Sprintf("and %d bytes", len(b)))
	}
	return lines
}

// f is a frame.
func f(kind frameType, flags uint8, id uint32, payload ...byte) []byte {
	n := len(payload)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), byte(kind), flags, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	return append(head, payload...)
}

// u32 is a number as it stands in a payload.
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// block is a field section by another encoder: names and values in turn.
func block(fields ...string) []byte {
	var b strings.Builder
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true}) // so that no table is needed
	}
	return []byte(b.String())
}

// request is the field section of a request, with more fields.
func request(fields ...string) []byte {
	return block(append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, fields...)...)
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// opening is what a client begins with.
func opening() []byte { return join([]byte(Preface), f(frameSettings, 0, 0)) }

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
