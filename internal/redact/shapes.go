package redact

import (
	"bytes"
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
	b = e.end()
	for _, word := range [...]string{"earer", "EARER", "asic", "ASIC"} {
		b = w.credentials(b, word)
	}
	return b
}

// nextJWT returns where the next JSON Web Token is at or after i; to is 0 if
// there is none. Its header and its claims are JSON objects in base64url, which
// begin with eyJ; the signature may be empty, or cut off.
func nextJWT(b []byte, i int) (from, to int) {
	for {
		n := bytes.Index(b[i:], []byte("eyJ"))
		if n < 0 {
			return 0, 0
		}
		from = i + n
		dot := run(b, from, &jwtChars)
		if dot-from >= minJWTPart && bytes.HasPrefix(b[dot:], []byte(".eyJ")) {
			to = run(b, dot+1, &jwtChars)
			if to-dot > minJWTPart && to < len(b) && b[to] == '.' {
				to = run(b, to+1, &jwtChars)
			}
			return from, to
		}
		i = dot
	}
}

// run returns where the run of such bytes that begins at i ends.
func run(b []byte, i int, chars *[256]bool) int {
	for i < len(b) && chars[b[i]] {
		i++
	}
	return i
}

// credentials redacts what follows a word, without its first letter, and a blank
// that may be encoded. At the end of a body that was cut off it may be short.
func (w *worker) credentials(b []byte, word string) []byte {
	e := edit{src: b}
	for i := 0; ; {
		n := bytes.Index(b[i:], []byte(word))
		if n < 0 {
			return e.end()
		}
		first := i + n - 1
		i += n + len(word)
		blank := blanks(b[i:])
		if first < 0 || b[first]|0x20 != 'b' || blank == 0 {
			continue
		}
		from := i + blank
		i = run(b, from, &bearerChars)
		likely := i-from >= minBearer && bytes.IndexAny(b[from:i], "0123456789") >= 0
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
