package compare

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
	Hex    ValueClass = "hex"    // at least 16 digits
	Base64 ValueClass = "base64" // at least 16 characters of high entropy
	Token  ValueClass = "token"  // letters and digits as a machine would draw them
	Time   ValueClass = "time"   // RFC 3339, RFC 9110 or the like
	Epoch  ValueClass = "epoch"  // a number of seconds, or of parts of one, since 1970
	Number ValueClass = "number"
	IP     ValueClass = "ip"
	Pod    ValueClass = "pod" // a name that Kubernetes made
	Host   ValueClass = "host"
	URL    ValueClass = "url"
	Email  ValueClass = "email"
	Word   ValueClass = "word"
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

// ClassOf returns the class of a value's text.
func ClassOf(v []byte) ValueClass { return "" }

// Shape returns what two texts of one shape have in common: the class and what
// is fixed in it, as the length of hexadecimal digits.
func Shape(text string) string { return string(ClassOf([]byte(text))) }
