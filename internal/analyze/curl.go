package analyze

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

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
	words := []string{"curl", "-sS", "-i"}
	if r.method != "GET" {
		words = append(words, "-X", quote(r.method))
	}
	if r.method == "HEAD" {
		words = []string{"curl", "-sS", "-I"}
	}
	if r.host != "" && r.host != endpoint {
		words = append(words, "-H", quote("host: "+r.host))
	}
	var secrets []string
	for _, h := range r.fields {
		words = append(words, "-H", quote(strings.ToLower(h.Name)+": "+h.Value))
		if strings.Contains(h.Value, redactedMark) {
			secrets = append(secrets, strings.ToLower(h.Name))
		}
	}
	notes := []string{}
	switch {
	case len(r.body) == 0:
	case len(r.body) > longestCurl || !utf8.Valid(r.body) || x.Request.Cut():
		words = append(words, "--data-binary", "@body")
		notes = append(notes, fmt.Sprintf("put its body of %d bytes into the file body", x.Request.Length))
	default:
		words = append(words, "--data-binary", quote(string(r.body)))
		if strings.Contains(string(r.body), redactedMark) {
			secrets = append(secrets, "the body")
		}
	}
	target := r.target
	if !strings.HasPrefix(target, "/") {
		target = "/"
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

// quote makes one word of a text, for POSIX shells.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
