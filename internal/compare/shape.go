package compare

import "strconv"

// Shape returns what two texts of one shape have in common: the class, and what
// is fixed in it, as the length of digits of hexadecimal. Texts without a class
// keep their punctuation: a-17/b has the shape x-x/x.
func Shape(text string) string { return string(appendShape(nil, []byte(text))) }

func appendShape(dst, v []byte) []byte {
	class := ClassOf(v)
	switch class {
	case "":
		return appendOutline(dst, v)
	case Hex, Token:
		dst = append(append(dst, class...), ':')
		return strconv.AppendInt(dst, int64(len(v)), 10)
	case Time:
		return append(append(dst, "time:"...), zone(v)...)
	}
	return append(dst, class...)
}

// zone says how a time is written, apart from its fractions: programs that read
// it may know one way only.
func zone(v []byte) string {
	last := v[len(v)-1]
	switch {
	case v[0]-'0' > 9:
		return "words"
	case len(v) == len("2006-01-02"):
		return "date"
	case last == 'Z':
		return string(v[10:11]) + "Z"
	case len(v) > 6 && (v[len(v)-6] == '+' || v[len(v)-6] == '-'):
		return string(v[10:11]) + "+"
	}
	return string(v[10:11])
}

// appendOutline is the shape of what has no class. Of a text of several words
// there is nothing to say but that it is one.
func appendOutline(dst, v []byte) []byte {
	const most = 64
	if len(v) == 0 {
		return append(dst, "empty"...)
	}
	begun := len(dst)
	for _, c := range v {
		if c == ' ' || len(dst)-begun >= most {
			return append(dst[:begun], "text"...)
		}
		if c >= 0x80 || c-'0' <= 9 || (c|0x20)-'a' < 26 {
			c = 'x'
			if len(dst) > begun && dst[len(dst)-1] == 'x' {
				continue
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// similar says that two texts are of one shape. Of ids that a machine drew, some
// happen to be digits only, or letters only: of one length, they are alike.
func similar(a, b []byte) bool {
	const drawn = 6
	if x, y := unquoted(a), unquoted(b); len(a) == len(b) && len(x) == len(y) && len(x) >= drawn && isOneWord(x) && isOneWord(y) {
		return true
	}
	var first, second [96]byte
	return string(appendShape(first[:0], a)) == string(appendShape(second[:0], b))
}

// isOneWord says that v is made of what ids are, those of base64 if it is long.
func isOneWord(v []byte) bool {
	const long = 16
	a := survey(v)
	if len(v) >= long && a.upper > 0 && a.lower > 0 {
		a.dashes += a.base64
	}
	return a.digits+a.letters()+a.dashes == len(v)
}
