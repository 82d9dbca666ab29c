package compare

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"
)

// ValueClass says what kind of thing a text looks like. The strings are kept in
// stores and shown to people.
type ValueClass string

// The classes of values. The zero value is of what has none: free text, and
// what is no text.
const (
	UUID   ValueClass = "uuid"
	ULID   ValueClass = "ulid"
	KSUID  ValueClass = "ksuid"
	JWT    ValueClass = "jwt"
	Hex    ValueClass = "hex"    // 16 digits or more, in one case
	Base64 ValueClass = "base64" // 16 characters or more, in upper and lower case and digits
	Token  ValueClass = "token"  // 10 characters or more: letters and digits as a machine would draw them
	Time   ValueClass = "time"   // RFC 3339, RFC 9110 or the like
	Epoch  ValueClass = "epoch"  // a number of seconds since 1970, of the years 2008 to 2036, or of parts of one
	Number ValueClass = "number"
	IP     ValueClass = "ip"  // with a port or without
	Pod    ValueClass = "pod" // a name that Kubernetes made
	Host   ValueClass = "host"
	URL    ValueClass = "url"
	Email  ValueClass = "email"
	Word   ValueClass = "word" // letters, dashes and underscores
)

// Generated says that values of the class are made anew by machines, so that
// two answers have reason to differ in them.
func (c ValueClass) Generated() bool {
	switch c {
	case UUID, ULID, KSUID, JWT, Hex, Base64, Token, Time, Epoch, Pod:
		return true
	}
	return false
}

// identifies says that a member with such a name is one of many: the object is
// a map.
func (c ValueClass) identifies() bool {
	switch c {
	case UUID, ULID, KSUID, Hex, Time, IP, URL, Email:
		return true
	}
	return false
}

// maxClassified is the length of the longest text that has a class, which bounds
// what it costs to find out.
const maxClassified = 8 << 10

// alphabet counts the characters of a text by what they may belong to.
type alphabet struct {
	digits, lower, upper   int
	hexLetters             int // a to f, in either case
	dots, dashes, colons   int // dashes with underscores
	base64, spaces, others int // + / = and all else
	turns                  int // changes between letters and digits
}

func (a *alphabet) letters() int { return a.lower + a.upper }

func survey(v []byte) alphabet {
	var a alphabet
	var last byte
	for _, c := range v {
		kind := byte(0)
		switch {
		case c-'0' <= 9:
			a.digits++
			kind = 1
		case c-'a' < 26:
			a.lower++
			kind = 2
		case c-'A' < 26:
			a.upper++
			kind = 2
		case c == '.':
			a.dots++
		case c == '-' || c == '_':
			a.dashes++
		case c == ':':
			a.colons++
		case c == '+' || c == '/' || c == '=':
			a.base64++
		case c == ' ':
			a.spaces++
		default:
			a.others++
		}
		if kind == 2 && (c|0x20)-'a' < 6 {
			a.hexLetters++
		}
		if kind != 0 {
			if last != 0 && last != kind {
				a.turns++
			}
			last = kind
		}
	}
	return a
}

// ClassOf returns the class of a value's text. Quotes around it, as those of an
// entity tag, do not matter.
func ClassOf(v []byte) ValueClass {
	v = unquoted(v)
	if len(v) == 0 || len(v) > maxClassified {
		return ""
	}
	a := survey(v)
	if a.digits > 0 && scanNumber(v) == len(v) {
		if epochUnit(v) != 0 {
			return Epoch
		}
		return Number
	}
	switch {
	case isUUID(v):
		return UUID
	case a.digits > 0 && isMoment(v):
		return Time
	case isIP(v, &a):
		return IP
	case a.others > 0 || a.spaces > 0:
		return addressed(v, &a)
	case a.letters()+a.dashes == len(v) && a.letters() > 0 && !(len(v) >= 16 && a.upper > 0 && a.lower > 0 && a.dashes == 0 && a.upper*4 > len(v)):
		return Word
	}
	if c := generated(v, &a); c != "" {
		return c
	}
	return addressed(v, &a)
}

// unquoted takes W/ and quotes away.
func unquoted(v []byte) []byte {
	v = bytes.TrimPrefix(v, []byte("W/"))
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// generated finds the classes of what machines draw.
func generated(v []byte, a *alphabet) ValueClass {
	n := len(v)
	plain := a.digits+a.letters() == n
	switch {
	case plain && n == 26 && a.lower == 0 && v[0] <= '7' && !bytes.ContainsAny(v, "ILOU"):
		return ULID
	case plain && n == 27 && a.digits > 0 && a.upper > 0 && a.lower > 0:
		return KSUID
	case a.dots == 2 && bytes.HasPrefix(v, []byte("eyJ")) && a.digits+a.letters()+a.dashes+2 == n:
		return JWT
	case n >= 16 && a.digits+a.hexLetters == n && (a.lower == 0 || a.upper == 0):
		return Hex
	case isPod(v):
		return Pod
	case n >= 16 && a.digits+a.letters()+a.dashes+a.base64 == n && a.upper > 0 && a.lower > 0 && (a.turns >= 2 || a.digits == 0):
		return Base64
	case n >= 10 && a.digits+a.letters()+a.dashes == n && a.turns >= 3:
		return Token
	}
	return ""
}

// addressed finds the classes of what leads somewhere.
func addressed(v []byte, a *alphabet) ValueClass {
	if a.spaces > 0 {
		return ""
	}
	if scheme, rest, found := bytes.Cut(v, []byte("://")); found && len(rest) > 0 {
		if s := survey(scheme); s.letters() > 0 && s.letters()+s.digits == len(scheme) {
			return URL
		}
	}
	if user, host, found := bytes.Cut(v, []byte{'@'}); found && len(user) > 0 && isHost(host) {
		return Email
	}
	if isHost(v) {
		return Host
	}
	return ""
}

// isHost says that v is a name with dots of which the last part is letters.
func isHost(v []byte) bool {
	if i := bytes.LastIndexByte(v, ':'); i >= 0 && digits(v[i+1:]) == len(v)-i-1 {
		v = v[:i]
	}
	last := bytes.LastIndexByte(v, '.')
	if last <= 0 || len(v)-last < 3 {
		return false
	}
	s := survey(v)
	top := survey(v[last+1:])
	return top.letters() == len(v)-last-1 && s.digits+s.letters()+s.dots+s.dashes == len(v) && !bytes.Contains(v, []byte("..")) && v[0] != '.'
}

func isUUID(v []byte) bool {
	if len(v) != 36 {
		return false
	}
	for i, c := range v {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' < 6 }

func isIP(v []byte, a *alphabet) bool {
	if len(v) > 64 || a.dots < 3 && a.colons < 2 || a.digits+a.hexLetters == 0 {
		return false
	}
	s := string(v)
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// isPod says that v ends as names of pods do: the hash of a template and five
// characters, from an alphabet without vowels.
func isPod(v []byte) bool {
	last := bytes.LastIndexByte(v, '-')
	if last < 0 || len(v)-last-1 != 5 || !isDrawn(v[last+1:]) {
		return false
	}
	set := v[:last]
	first := bytes.LastIndexByte(set, '-')
	return first > 0 && len(set)-first-1 >= 8 && len(set)-first-1 <= 10 && isDrawn(set[first+1:])
}

func isDrawn(v []byte) bool {
	for _, c := range v {
		if bytes.IndexByte([]byte("bcdfghjklmnpqrstvwxz2456789"), c) < 0 && c != '0' && c != '1' && c != '3' {
			return false
		}
	}
	return true
}

// epochUnit returns how many units of a number since 1970 are a second, 0 if it
// is unlikely to be such a number.
func epochUnit(v []byte) float64 {
	whole := digits(v)
	if whole < 10 || whole < len(v) && (v[whole] != '.' || whole != 10 || digits(v[whole+1:]) != len(v)-whole-1) {
		return 0
	}
	var unit float64
	switch whole {
	case 10:
		unit = 1
	case 13:
		unit = 1e3
	case 16:
		unit = 1e6
	case 19:
		unit = 1e9
	default:
		return 0
	}
	seconds, err := strconv.Atoi(string(v[:10]))
	if err != nil || seconds < 1_200_000_000 || seconds >= 2_100_000_000 {
		return 0
	}
	return unit
}

// layouts are how times are written; times without a zone are of UTC.
var layouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04:05 -0700 MST",
	"2006-01-02T15:04:05-0700", time.DateOnly, time.RFC1123, time.RFC1123Z, time.RFC850, time.ANSIC,
}

// moment reads a time.
func moment(v []byte) (time.Time, bool) {
	// Other texts are far more frequent: do not try layouts on them.
	if len(v) < 10 || len(v) > 64 || !(v[0]-'0' <= 9 && v[4] == '-' && v[7] == '-' || v[0]-'A' < 26 && bytes.IndexByte(v, ':') > 0) {
		return time.Time{}, false
	}
	s := string(v)
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func isMoment(v []byte) bool {
	_, ok := moment(v)
	return ok
}
