// Package raw turns captured messages into HTTP/1.1 as it is on a connection, and
// back, for formats that hold messages so. What is captured has no transfer coding,
// but its head still speaks of the one it had: here the framing is made right.
package raw

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Fields yields the names and values of field lines, which a start line may precede.
// Lines without a colon are left out.
func Fields(head []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for line := range bytes.Lines(head) {
			name, value, found := bytes.Cut(line, []byte(":"))
			if found && len(name) > 0 && !bytes.ContainsAny(name, " \t") && !yield(string(name), string(bytes.TrimSpace(value))) {
				return
			}
		}
	}
}

// Lookup returns the first value of a field.
func Lookup(head []byte, name string) (string, bool) {
	for n, v := range Fields(head) {
		if strings.EqualFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// StartLine returns the three parts of the first line of a head; the last may be
// empty, or have spaces.
func StartLine(head []byte) (first, second, third string) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	parts := strings.SplitN(string(bytes.TrimRight(line, "\r")), " ", 3)
	parts = append(parts, "", "")
	return parts[0], parts[1], parts[2]
}

// unpacked is the name of the field Content-Encoding in a message whose body was
// redacted, and is no longer encoded.
const unpacked = "content-unpacked"

// Append appends a message with a framing that is right for what was kept of it. An
// answer that has no body whatever its head says (to HEAD, and 1xx, 204, 304)
// keeps its length; all others get that of their body, or are chunked if they have
// a trailer.
func Append(b []byte, m *traffic.Message, bodiless bool) []byte {
	answer := bytes.HasPrefix(m.Head, []byte("HTTP/"))
	said := false // that there is a body
	for line := range bytes.Lines(m.Head) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch strings.ToLower(string(name)) {
		case "content-length":
			said = true
			if !bodiless {
				continue
			}
		case "transfer-encoding":
			said = true
			continue
		case unpacked:
			continue // nobody was sent it
		case "trailer":
			if len(m.Trailer) == 0 {
				continue
			}
		}
		b = appendLine(b, line)
	}
	switch {
	case bodiless:
		return append(b, "\r\n"...)
	case len(m.Trailer) > 0:
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		if len(m.Body) > 0 {
			b = fmt.Appendf(b, "%x\r\n%s\r\n", len(m.Body), m.Body)
		}
		b = append(b, "0\r\n"...)
		for line := range bytes.Lines(m.Trailer) {
			b = appendLine(b, line)
		}
		return append(b, "\r\n"...)
	case answer || said || len(m.Body) > 0:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(m.Body))
	}
	b = append(b, "\r\n"...)
	return append(b, m.Body...)
}

// appendLine appends a line of a head with the line end that it should have.
func appendLine(b, line []byte) []byte {
	return append(append(b, bytes.TrimRight(line, "\r\n")...), "\r\n"...)
}

// Bodiless says whether an answer has no body whatever its head says.
func Bodiless(method string, status int) bool {
	return method == "HEAD" || status/100 == 1 || status == 204 || status == 304
}

// ErrMessage is what every error of a message that makes no sense wraps.
var ErrMessage = errors.New("not a message of HTTP/1.1")

// Parse reads a message. What it returns aliases b. A body that is shorter than its
// head says is not whole.
func Parse(b []byte, bodiless bool) (*traffic.Message, error) {
	end, rest := endOfHead(b)
	if end < 0 {
		return nil, fmt.Errorf("%w: its head does not end", ErrMessage)
	}
	m := &traffic.Message{Head: b[:end:end], Whole: true}
	if _, second, third := StartLine(m.Head); second == "" || !bytes.HasPrefix(m.Head, []byte("HTTP/")) && !strings.HasPrefix(third, "HTTP/") {
		return nil, fmt.Errorf("%w: it begins with %.40q", ErrMessage, m.Head)
	}
	coding, _ := Lookup(m.Head, "transfer-encoding")
	length, known := Lookup(m.Head, "content-length")
	switch {
	case bodiless:
	case strings.HasSuffix(strings.ToLower(coding), "chunked"):
		m.Body, m.Trailer, m.Whole = unchunk(rest)
	case known:
		n, err := strconv.ParseUint(length, 10, 62)
		if err != nil {
			return nil, fmt.Errorf("%w: its length is %.40q", ErrMessage, length)
		}
		m.Whole = uint64(len(rest)) >= n
		m.Body = rest[:min(n, uint64(len(rest)))]
	case bytes.HasPrefix(m.Head, []byte("HTTP/")):
		m.Body = rest // until the connection was closed
	}
	m.Length = int64(len(m.Body))
	return m, nil
}

// endOfHead returns where the empty line begins, and what follows it.
func endOfHead(b []byte) (end int, rest []byte) {
	at := 0
	for line := range bytes.Lines(b) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 && bytes.HasSuffix(line, []byte("\n")) {
			return at, b[at+len(line):]
		}
		at += len(line)
	}
	return -1, nil
}

// unchunk undoes chunks as far as they come.
func unchunk(b []byte) (body, trailer []byte, whole bool) {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		size, _, _ := strings.Cut(string(bytes.TrimSpace(line)), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
		if !found || err != nil {
			return body, nil, false
		}
		if n == 0 {
			end, _ := endOfHead(rest)
			if end < 0 {
				return body, nil, false
			}
			return body, rest[:end:end], true
		}
		if uint64(len(rest)) < n {
			return append(body, rest...), nil, false
		}
		body = append(body, rest[:n]...)
		b = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
}

// Describe fills in what the head of x's request says of it.
func Describe(x *traffic.Exchange) {
	head := x.Request.Head
	var target string
	x.Method, target, x.Protocol = StartLine(head)
	x.Host, _ = Lookup(head, "host")
	x.UserAgent, _ = Lookup(head, "user-agent")
	if x.ID == "" {
		x.ID, _ = Lookup(head, "x-request-id")
	}
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		at := strings.IndexAny(rest, "/?")
		if at < 0 {
			at = len(rest)
		}
		x.Host, target = rest[:at], rest[at:]
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
	}
	x.Path, x.Query, _ = strings.Cut(target, "?")
	x.BytesIn = x.Request.Length
}
