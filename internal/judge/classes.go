package judge

import "strings"

// The classes of path segments that are never words, as they are written in
// templates.
const (
	classInt   = "{int}"
	classUUID  = "{uuid}"
	classULID  = "{ulid}"
	classDate  = "{date}"
	classEmail = "{email}"
	classHex   = "{hex}"
	classToken = "{token}" // base64 and others that nobody could say aloud
	classText  = "{text}"  // long, or with bytes that are not plain
	anyWord    = "{word}"  // of words that have collapsed
	anyRest    = "{rest}"  // of segments beyond the depth
)

const (
	longestWord  = 64
	longestStem  = 24 // before the - of order-10293
	leastHex     = 8
	leastToken   = 12
	ulidLength   = 26
	uuidLength   = 36
	dateLength   = len("2006-01-02")
	crockford    = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	mostTimeMark = '7' // what 48 bits of a ULID can begin with
)

// classOf returns the class of a path segment as it was received, or nothing if it
// is a word. Versions and locales are words: v1 and v2 are two endpoints.
func classOf(segment string) string {
	if class := plainClass(segment); class != "" {
		return class
	}
	// order-10293 is a word and an id.
	i := strings.LastIndexAny(segment, "-_")
	if i < 1 || i > longestStem || len(segment) < i+3 || !isLetters(segment[:i]) {
		return ""
	}
	switch class := plainClass(segment[i+1:]); class {
	case classInt, classULID, classHex, classToken:
		return segment[:i+1] + class
	}
	return ""
}

func plainClass(segment string) string {
	switch {
	case segment == "":
		return ""
	case isInt(segment):
		return classInt
	case isUUID(segment):
		return classUUID
	case isULID(segment):
		return classULID
	case isDate(segment):
		return classDate
	case isEmail(segment):
		return classEmail
	case isHex(segment):
		return classHex
	case isToken(segment):
		return classToken
	case len(segment) > longestWord || !isPlain(segment):
		return classText
	}
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func isHexDigit(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isLetters(s string) bool {
	for i := range len(s) {
		if !isLower(s[i]) && !isUpper(s[i]) {
			return false
		}
	}
	return true
}

func isInt(s string) bool {
	s = strings.TrimPrefix(s, "-")
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func isUUID(s string) bool {
	if len(s) != uuidLength {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isHexDigit(s[i]) {
			return false
		}
	}
	return true
}

func isULID(s string) bool {
	if len(s) != ulidLength || !isDigit(s[0]) || s[0] > mostTimeMark {
		return false
	}
	upper := strings.ToUpper(s)
	for i := range len(s) {
		if strings.IndexByte(crockford, upper[i]) < 0 {
			return false
		}
	}
	return true
}

// isDate takes 2006-01-02, and what a time adds to it.
func isDate(s string) bool {
	if len(s) < dateLength || len(s) > dateLength && s[dateLength] != 'T' && s[dateLength] != 't' {
		return false
	}
	for i := range dateLength {
		if dash := i == 4 || i == 7; dash != (s[i] == '-') || !dash && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func isEmail(s string) bool {
	name, host, found := strings.Cut(s, "@")
	if !found {
		name, host, found = strings.Cut(s, "%40")
	}
	return found && name != "" && strings.Contains(host, ".") && !strings.Contains(host, "@")
}

// isHex takes digests and ids: hexadecimal, long, and with digits as well as
// letters, for decade and facade are words.
func isHex(s string) bool {
	var digits, letters int
	for i := range len(s) {
		switch {
		case isDigit(s[i]):
			digits++
		case isHexDigit(s[i]):
			letters++
		default:
			return false
		}
	}
	return len(s) >= leastHex && digits >= 2 && letters > 0
}

// isToken takes base64 and its like: long, of both cases, and with digits in at
// least two places. GetUserV2 has them in one.
func isToken(s string) bool {
	if len(s) < leastToken {
		return false
	}
	var lower, upper, runs int
	digit := false
	for i := range len(s) {
		c := s[i]
		switch {
		case isLower(c):
			lower++
		case isUpper(c):
			upper++
		case isDigit(c):
			if !digit {
				runs++
			}
		case strings.IndexByte("-_.~+=%", c) < 0:
			return false
		}
		digit = isDigit(c)
	}
	return lower > 0 && upper > 0 && runs >= 2
}

// isPlain says whether a segment can be shown as it is, and is not mistaken for a
// part of a template.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '{' || c == '}' {
			return false
		}
	}
	return true
}
