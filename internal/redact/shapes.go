package redact

import (
	"bytes"

	"github.com/understudy-proxy/understudy/internal/content"
)

// What a credential looks like that is found wherever it stands. Shorter ones are
// words more often than secrets.
const (
	minJWTPart = 8
	minBearer  = 16
)

var (
	jwtChars    = setOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
	bearerChars = setOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+/=")
)

// shapes redacts JSON Web Tokens, and what follows the words Bearer and Basic if
// it looks like a credential.
func (w *worker) shapes(b []byte) []byte {
	e := edit{src: b}
	for i := 0; ; {
		from, to := nextJWT(b, i)
		if to == 0 {
			break
		}
		w.hide(&e, from, to)
		i = to
	}
	b = w.credentials(w.packed(e.end()), 'B')
	return w.credentials(b, 'b')
}

// nextJWT returns where the next JSON Web Token is at or after i; to is 0 if
// there is none. Its header and its claims are JSON objects in base64url, which
// begin with eyJ; the signature may be empty, or cut off. What is looked for is
// the dot between: it is rarer than letters.
func nextJWT(b []byte, i int) (from, to int) {
	for dot := i; ; dot++ {
		n := bytes.IndexByte(b[dot:], '.')
		if n < 0 {
			return 0, 0
		}
		dot += n
		if !bytes.HasPrefix(b[dot+1:], []byte("eyJ")) {
			continue
		}
		from = dot
		for from > i && jwtChars[b[from-1]] {
			from--
		}
		n = bytes.Index(b[from:dot], []byte("eyJ"))
		if n < 0 || dot-from-n < minJWTPart {
			continue
		}
		to = run(b, dot+1, &jwtChars)
		if to-dot > minJWTPart && to < len(b) && b[to] == '.' {
			to = run(b, to+1, &jwtChars)
		}
		return from + n, to
	}
}

// run returns where the run of such bytes that begins at i ends.
func run(b []byte, i int, chars *[256]bool) int {
	for i < len(b) && chars[b[i]] {
		i++
	}
	return i
}

// credentials redacts what follows the words Bearer and Basic, which begin with a
// letter, and a blank that may be encoded. At the end of a body that was cut off
// it may be short.
func (w *worker) credentials(b []byte, letter byte) []byte {
	e := edit{src: b}
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], letter)
		if n < 0 {
			return e.end()
		}
		i += n + 1
		size := 0
		for _, word := range [...]string{"earer", "asic"} {
			if len(b)-i > len(word) && content.EqualFold(b[i:i+len(word)], word) {
				size = len(word)
			}
		}
		blank := 0
		if size > 0 {
			blank = blanks(b[i+size:])
		}
		if blank == 0 {
			continue
		}
		from := i + size + blank
		i = run(b, from, &bearerChars)
		likely := i-from >= minBearer && bytes.ContainsAny(b[from:i], "0123456789")
		if likely || w.cut && i == len(b) {
			w.hide(&e, from, i)
		}
	}
}

// blanks returns how many bytes of blanks b begins with.
func blanks(b []byte) (n int) {
	for n < len(b) {
		switch {
		case b[n] == ' ' || b[n] == '+':
			n++
		case bytes.HasPrefix(b[n:], []byte("%20")):
			n += 3
		default:
			return n
		}
	}
	return n
}

// overwrite redacts JSON Web Tokens in bytes whose length must not change. It
// returns b, or a changed copy.
func (w *worker) overwrite(b []byte) []byte {
	copied := false
	for i := 0; ; {
		from, to := nextJWT(b, i)
		if to == 0 {
			return b
		}
		if !copied {
			b, copied = bytes.Clone(b), true
		}
		for at := copy(b[from:to], w.token(w.value[:0], text, b[from:to])); from+at < to; at++ {
			b[from+at] = '-'
		}
		i = to
	}
}
