package redact

import (
	"bytes"
	"iter"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Has says whether there is a token in text.
func Has(text []byte) bool {
	for range tokensIn(text) {
		return true
	}
	return false
}

// Alike makes all tokens in the answers of an exchange that stand for the same
// kind of value the same, in place. Of answers that were redacted with different
// keys it leaves what can be compared: that there was a secret, and of bodies that
// were cut how long they were.
func Alike(x *traffic.Exchange) {
	alike(x.Primary.Answer)
	for i := range x.Copies {
		alike(x.Copies[i].Answer)
	}
}

func alike(m *traffic.Message) {
	if m == nil {
		return
	}
	if m.Hash>>32 == marked {
		m.Hash = marked << 32
	}
	for _, text := range [][]byte{m.Head, m.Body, m.Trailer} {
		for digits := range tokensIn(text) {
			for i := range digits {
				digits[i] = '0'
			}
		}
	}
}

// tokensIn yields the digits of each token in text.
func tokensIn(text []byte) iter.Seq[[]byte] {
	return func(yield func(digits []byte) bool) {
		for {
			at := bytes.Index(text, []byte(tokenPrefix))
			if at < 0 {
				return
			}
			token := text[at:]
			text = text[at+len(tokenPrefix):]
			longest := len(tokenPrefix) + len(number) + tokenDigits
			for end := len(tokenPrefix) + tokenDigits; end <= min(longest, len(token)); end++ {
				if !isOurs(token[:end]) {
					continue
				}
				if !yield(token[end-tokenDigits : end]) {
					return
				}
				break
			}
		}
	}
}
