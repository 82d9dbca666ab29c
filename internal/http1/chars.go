package http1

// Classes of bytes, as bits of class[b].
const (
	isToken  uint8 = 1 << iota // RFC 9110 §5.6.2 tchar
	isTarget                   // visible ASCII but '#': what may stand in a request target
	isName                     // reg-name of RFC 3986 §3.2.2, but no ',' (two hosts?) and no '%' (no host needs it)
	isHex                      // hexadecimal digit
	isDigit
)

// class answers "may this byte stand here" with one load.
var class = func() (t [256]uint8) {
	for c := 0x21; c <= 0x7e; c++ {
		t[c] |= isTarget
	}
	t['#'] &^= isTarget
	set := func(chars string, bits uint8) {
		for i := range len(chars) {
			t[chars[i]] |= bits
		}
	}
	set("0123456789", isToken|isName|isHex|isDigit)
	set("abcdefABCDEF", isHex)
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= isToken | isName
		t[c-'a'+'A'] |= isToken | isName
	}
	set("!#$%&'*+-.^_`|~", isToken)
	set("-._~!$&'()*+;=", isName)
	return t
}()

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controls reports, in the high bit of some byte of the result, whether one of
// the eight bytes of w is a control character (below 0x20, or DEL). HTAB counts
// as one: the caller looks again, byte by byte.
func controls(w uint64) uint64 {
	below := (w - ones*0x20) & ^w
	x := w ^ ones*0x7f
	del := (x - ones) & ^x
	return (below | del) & highs
}

// isText reports whether c may stand in a field value.
func isText(c byte) bool { return c >= 0x20 && c != 0x7f || c == '\t' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold reports whether b is name, ignoring ASCII case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if b[i] != name[i] && lower(b[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

// trim cuts optional whitespace (SP, HTAB) from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// element cuts the first element from a comma-separated list. The element is
// trimmed and may be empty; more is false when it was the last.
func element(list []byte) (first, rest []byte, more bool) {
	for i := range list {
		if list[i] == ',' {
			return trim(list[:i]), list[i+1:], true
		}
	}
	return trim(list), nil, false
}
