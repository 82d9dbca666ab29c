package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// What a token looks like: redacted-, of values that were no strings what they
// were, and 12 hexadecimal digits: 48 bits of an HMAC-SHA-256. Among a million
// different secrets, two share a token with a probability of 0.2 %.
const (
	tokenPrefix = "redacted-"
	tokenDigits = 12
)

// kind says what a value was. It is part of the token, and of what is hashed, so
// that a number that became a string is still a difference.
type kind string

const (
	text    kind = ""
	number  kind = "number-"
	boolean kind = "bool-"
	whole   kind = "body-" // a body that could not be looked into
)

// worker is what one goroutine needs to redact an exchange.
type worker struct {
	*Redactor
	mac     hash.Hash
	sum     [sha256.Size]byte
	text    []byte // of a string that is looked at
	value   []byte // decoded
	nested  []byte // the text of a string of JSON
	depth   int    // of JSON in parameters
	stack   []frame
	edit    edit       // of the body that is looked at
	cut     bool       // the body that is looked at is not all
	method  string     // of gRPC, without its first slash
	numbers []*numbers // fields of protobuf that are redacted in this exchange
}

func newWorker(r *Redactor) *worker {
	return &worker{Redactor: r, mac: hmac.New(sha256.New, r.key)}
}

// token appends the token of a value. That of nothing is empty, that of a token is
// the token itself.
func (w *worker) token(dst []byte, k kind, value []byte) []byte {
	if len(value) == 0 || isOurs(value) {
		return append(dst, value...)
	}
	dst = append(append(dst, tokenPrefix...), k...)
	return hex.AppendEncode(dst, w.digest(k, value)[:tokenDigits/2])
}

// digest returns the keyed hash of a value. It is valid until the next call.
func (w *worker) digest(k kind, value []byte) []byte {
	w.mac.Reset()
	if w.sum[0] = 0; k != text {
		w.sum[0] = k[0]
	}
	w.mac.Write(w.sum[:1])
	w.mac.Write(value)
	return w.mac.Sum(w.sum[:0])
}

// marked is the upper half of numbers of 64 bits that stand for others, so that
// they are known again. A secret is taken for one of them by chance with 2^-32, and
// two share one with 2^-32.
const marked = 0x5edac7ed

// markedNumber returns the number that stands for a value.
func (w *worker) markedNumber(value []byte) uint64 {
	return binary.BigEndian.Uint64(w.digest(number, value))>>32 | marked<<32
}

// isOurs says whether a value is a token.
func isOurs(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte(tokenPrefix))
	if !ok {
		return false
	}
	for _, k := range []kind{number, boolean, whole} {
		if r, ok := bytes.CutPrefix(rest, []byte(k)); ok {
			rest = r
			break
		}
	}
	if len(rest) != tokenDigits {
		return false
	}
	for _, c := range rest {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// edit builds a changed copy of src. As long as nothing is changed it costs
// nothing.
type edit struct {
	src  []byte
	out  []byte // nil until something is changed
	done int    // bytes of src that are in out, or left out
}

// cut copies what comes before from, and leaves out the bytes up to to. What
// belongs in their place is appended to out.
func (e *edit) cut(from, to int) {
	if e.out == nil {
		e.out = make([]byte, 0, len(e.src)+64)
	}
	e.out = append(e.out, e.src[e.done:from]...)
	e.done = to
}

// end returns the changed copy, or src itself.
func (e *edit) end() []byte {
	if e.out == nil {
		return e.src
	}
	e.out = append(e.out, e.src[e.done:]...)
	e.done = len(e.src)
	return e.out
}

// hide puts the token of a value that stands in src as it is in its place.
func (w *worker) hide(e *edit, from, to int) {
	if from == to || isOurs(e.src[from:to]) {
		return
	}
	e.cut(from, to)
	e.out = w.token(e.out, text, e.src[from:to])
}
