package route

import (
	"bytes"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Canonical form of a path. A backend may take several spellings of a path for
// the same thing, and a rule that one of them can slip past is a trap. So
// rules see what RFC 3986, section 6.2.2 calls equivalent as one path: percent
// encodings of unreserved characters are decoded, others are in capitals, dot
// segments are resolved, and bytes that no URI may contain are encoded, a
// percent sign that encodes nothing among them: with what follows it could
// come to look like an encoding. What
// may mean something else stays as it is: %2F, empty segments, capitals. Only
// matching and rewriting use this form; a path that is not rewritten is
// forwarded as it was received.

// plain marks the bytes that are never changed, wherever they stand. A dot
// only matters after a slash.
var plain = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '%'
	}
	return t
}()

// isCanonical reports whether path is in canonical form; most are. One pass,
// no allocation.
func isCanonical(path []byte) bool {
	slash := false
	for _, c := range path {
		if !plain[c] || slash && c == '.' {
			return false
		}
		slash = c == '/'
	}
	return true
}

// canonical is path in canonical form: path itself if it is, otherwise in
// *scratch, which grows as needed.
func canonical(scratch *[]byte, path []byte) []byte {
	if isCanonical(path) {
		return path
	}
	*scratch = appendCanonical((*scratch)[:0], path)
	return *scratch
}

func appendCanonical(dst, path []byte) []byte {
	start := len(dst)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]) {
			decoded := unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
			if isUnreserved(decoded) {
				dst = append(dst, decoded)
			} else {
				dst = appendEscape(dst, decoded)
			}
			continue
		}
		if plain[c] {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst[:start+removeDots(dst[start:])]
}

// removeDots resolves "." and ".." segments in place and returns the new
// length. Only absolute paths have segments.
func removeDots(path []byte) int {
	if len(path) == 0 || path[0] != '/' || !bytes.Contains(path, []byte("/.")) {
		return len(path)
	}
	out := 0
	for in := 0; in < len(path); {
		// path[in] is the slash in front of a segment.
		end := in + 1
		for end < len(path) && path[end] != '/' {
			end++
		}
		segment, last := path[in+1:end], end == len(path)
		switch string(segment) {
		case ".":
		case "..":
			out = max(bytes.LastIndexByte(path[:out], '/'), 0)
		default:
			out += copy(path[out:], path[in:end])
			last = false
		}
		if last {
			// "/a/." and "/a/b/.." are the folder: "/a/".
			path[out] = '/'
			out++
		}
		in = end
	}
	return out
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

func isUnreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// prefixOf is a PathPrefix value in the form of Matched.Prefix.
func prefixOf(value string) string {
	p := strings.TrimRight(string(appendCanonical(nil, []byte(value))), "/")
	if p == "" {
		return "/"
	}
	return p
}

// Rewritten appends path as m changes it to dst. A nil m changes nothing.
// MatchedPrefix is Matched.Prefix; path is as received, without the query.
// Prefixes are replaced by whole elements, as the Gateway API lays down: a
// slash at the end of the prefix or its replacement does not matter, one at
// the end of the path is kept, and the outcome is never empty. What is not a
// path ("*") is left alone, and so is a path that does not have the prefix.
func Rewritten(dst []byte, m *config.PathModifier, matchedPrefix string, path []byte) []byte {
	switch {
	case m == nil || len(path) == 0 || path[0] != '/':
		return append(dst, path...)
	case m.ReplaceFullPath != nil:
		return append(dst, *m.ReplaceFullPath...)
	case m.ReplacePrefixMatch == nil:
		return append(dst, path...)
	}
	start := len(dst)
	dst = appendCanonical(dst, path)
	prefix := strings.TrimRight(matchedPrefix, "/")
	if !hasPrefix(dst[start:], prefix) {
		return append(dst[:start], path...)
	}
	replacement := strings.TrimRight(*m.ReplacePrefixMatch, "/")
	rest := dst[start+len(prefix):]
	if len(replacement) == 0 && len(rest) == 0 {
		return append(dst[:start], '/')
	}
	end := start + len(replacement) + len(rest)
	for len(dst) < end {
		dst = append(dst, 0)
	}
	copy(dst[start+len(replacement):end], rest)
	copy(dst[start:], replacement)
	return dst[:end]
}

// hasPrefix compares whole elements; prefix has no slash at its end.
func hasPrefix(path []byte, prefix string) bool {
	return len(path) >= len(prefix) && string(path[:len(prefix)]) == prefix &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}
