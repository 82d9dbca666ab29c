package analyze

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// longestCurl bounds the body in a command line.
const longestCurl = 4 << 10

// curl returns a command that sends a redacted request to the shadow, for POSIX
// shells. What was redacted is a token in it, and said so in a comment.
func curl(m *mirror, x *traffic.Exchange) string {
	w := m.way
	if x.Request == nil || w.mirror == nil {
		return ""
	}
	endpoint := w.backend.Endpoints[0]
	r, ok := w.again(x.Request, x, endpoint, "")
	if !ok {
		return ""
	}
	scheme := "http"
	if w.backend.TLS != nil {
		scheme = "https"
	}
	target := r.target
	if !strings.HasPrefix(target, "/") {
		target = "/"
	}
	words := append([]string{"curl", "-sS"}, r.flags(target)...)
	if w.backend.Protocol == config.ProtocolHTTP2 && w.backend.TLS == nil {
		words = append(words, "--http2-prior-knowledge")
	}
	if r.host != "" && r.host != endpoint {
		words = append(words, "-H", quote("host: "+r.host))
	}
	var secrets, notes []string
	for _, h := range r.fields {
		if strings.EqualFold(h.Name, content.Unpacked) {
			notes = append(notes, "its body was compressed")
			continue
		}
		words = append(words, "-H", quote(headerWord(h.Name, h.Value)))
		if strings.Contains(h.Value, redactedMark) {
			secrets = append(secrets, strings.ToLower(h.Name))
		}
	}
	switch {
	case len(r.body) == 0:
	case len(r.body) > longestCurl || x.Request.Cut():
		words = append(words, "--data-binary", "@body")
		notes = append(notes, fmt.Sprintf("put its body of %d bytes into the file body", x.Request.Length))
	case typeable(r.body):
		words = append(words, "--data-raw", quote(string(r.body))) // --data-binary would take @name for a file
	default:
		words = append([]string{"printf", quote(printfFormat(r.body)), "|"}, append(words, "--data-binary", "@-")...)
	}
	if strings.Contains(string(r.body), redactedMark) {
		secrets = append(secrets, "the body")
	}
	if strings.Contains(target, redactedMark) {
		secrets = append(secrets, "the URL")
	}
	words = append(words, quote(scheme+"://"+endpoint+target))
	if len(secrets) > 0 {
		slices.Sort(secrets)
		notes = append(notes, "redacted: "+strings.Join(slices.Compact(secrets), ", "))
	}
	if len(notes) > 0 {
		words = append(words, "#", strings.Join(notes, "; "))
	}
	return strings.Join(words, " ")
}

// flags are what keeps curl from sending something else than r to a target.
func (r *resend) flags(target string) []string {
	flags := []string{"-i"}
	switch {
	case r.method == "HEAD":
		flags = []string{"-I"}
	case r.method != "GET" || len(r.body) > 0:
		flags = append(flags, "-X", quote(r.method))
	}
	if strings.ContainsAny(target, "[]{}") {
		flags = append(flags, "-g") // they would be patterns
	}
	path, _, _ := strings.Cut(target, "?")
	if strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		flags = append(flags, "--path-as-is")
	}
	has := func(name string) bool {
		return slices.ContainsFunc(r.fields, func(h config.Header) bool { return strings.EqualFold(h.Name, name) })
	}
	if has("accept-encoding") {
		flags = append(flags, "--compressed") // so that the answer can be read
	}
	if len(r.body) > 0 && !has("content-type") {
		flags = append(flags, "-H", "content-type:") // which leaves curl's own out
	}
	return flags
}

// headerWord is a header as curl wants it: one that ends in a colon would be left
// out.
func headerWord(name, value string) string {
	if value == "" {
		return strings.ToLower(name) + ";"
	}
	return strings.ToLower(name) + ": " + value
}

// typeable says whether a body survives being shown on a terminal and pasted into
// a shell.
func typeable(body []byte) bool {
	return utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

// printfFormat is what printf of POSIX makes the bytes of.
func printfFormat(body []byte) string {
	var b strings.Builder
	for _, c := range body {
		switch {
		case c == '%':
			b.WriteString("%%")
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quote makes one word of a text, for POSIX shells.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
