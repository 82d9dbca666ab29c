package http1

// FieldID is a known field name, resolved while parsing, so that nothing
// compares names twice. The zero value is [Other].
type FieldID uint8

// The known field names. All of them mean something to a connection, a proxy,
// a cache or the reader of a message's framing, which is why none may be
// dropped by being named in Connection, nor arrive in a trailer section.
const (
	Other FieldID = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	TE
	Trailer
	Upgrade
	HTTP2Settings
	ProxyAuthenticate
	ProxyAuthorization
	ProxyAuthenticationInfo
	Expect
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XForwardedPort
	XRealIP
	Forwarded
	Via
	MaxForwards
	XRequestID
	Traceparent
	Tracestate
	CopyMarker // x-understudy-copy
	Cookie
	SetCookie
	Authorization
	WWWAuthenticate
	UserAgent
	Server
	Date
	Age
	Expires
	CacheControl
	Pragma
	Vary
	Warning
	Location
	RetryAfter
	Range
	IfMatch
	IfNoneMatch
	IfModifiedSince
	IfUnmodifiedSince
	IfRange
	ContentType
	ContentEncoding
	ContentRange
	numFields
)

// names holds the known names in lower case, by FieldID.
var names = [numFields]string{
	Host:                    "host",
	ContentLength:           "content-length",
	TransferEncoding:        "transfer-encoding",
	Connection:              "connection",
	KeepAlive:               "keep-alive",
	ProxyConnection:         "proxy-connection",
	TE:                      "te",
	Trailer:                 "trailer",
	Upgrade:                 "upgrade",
	HTTP2Settings:           "http2-settings",
	ProxyAuthenticate:       "proxy-authenticate",
	ProxyAuthorization:      "proxy-authorization",
	ProxyAuthenticationInfo: "proxy-authentication-info",
	Expect:                  "expect",
	XForwardedFor:           "x-forwarded-for",
	XForwardedProto:         "x-forwarded-proto",
	XForwardedHost:          "x-forwarded-host",
	XForwardedPort:          "x-forwarded-port",
	XRealIP:                 "x-real-ip",
	Forwarded:               "forwarded",
	Via:                     "via",
	MaxForwards:             "max-forwards",
	XRequestID:              "x-request-id",
	Traceparent:             "traceparent",
	Tracestate:              "tracestate",
	CopyMarker:              "x-understudy-copy",
	Cookie:                  "cookie",
	SetCookie:               "set-cookie",
	Authorization:           "authorization",
	WWWAuthenticate:         "www-authenticate",
	UserAgent:               "user-agent",
	Server:                  "server",
	Date:                    "date",
	Age:                     "age",
	Expires:                 "expires",
	CacheControl:            "cache-control",
	Pragma:                  "pragma",
	Vary:                    "vary",
	Warning:                 "warning",
	Location:                "location",
	RetryAfter:              "retry-after",
	Range:                   "range",
	IfMatch:                 "if-match",
	IfNoneMatch:             "if-none-match",
	IfModifiedSince:         "if-modified-since",
	IfUnmodifiedSince:       "if-unmodified-since",
	IfRange:                 "if-range",
	ContentType:             "content-type",
	ContentEncoding:         "content-encoding",
	ContentRange:            "content-range",
}

// String returns the name in lower case, "" for Other.
func (id FieldID) String() string {
	if id >= numFields {
		return ""
	}
	return names[id]
}

// fieldSet is a set of known names.
type fieldSet uint64

func setOf(ids ...FieldID) (s fieldSet) {
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

func (s fieldSet) has(id FieldID) bool { return s>>id&1 != 0 }

// hopByHop are the names that end at the next connection whatever Connection
// says (RFC 9110 §7.6.1). Proxy credentials are for us, not for the backend.
var hopByHop = setOf(TransferEncoding, Connection, KeepAlive, ProxyConnection, TE, Upgrade,
	HTTP2Settings, ProxyAuthenticate, ProxyAuthorization, ProxyAuthenticationInfo)

// framing are the names that are always written anew.
var framing = hopByHop | setOf(ContentLength, Expect)

// slots finds a known name from its length and three of its bytes; that no two
// names share a slot is checked when the table is built.
var slots = func() (t [256]FieldID) {
	for id := Other + 1; id < numFields; id++ {
		s := slot([]byte(names[id]))
		if t[s] != Other {
			panic("http1: " + names[id] + " and " + names[t[s]] + " share a slot")
		}
		t[s] = id
	}
	return t
}()

// slot hashes a non-empty name. Setting bit 5 folds the case of letters and
// leaves '-' and digits alone. Place and factors were found by trying: they
// are the first without a shared slot.
func slot(name []byte) uint8 {
	n := len(name)
	first, inner, last := name[0]|0x20, name[n*3/4]|0x20, name[n-1]|0x20
	return uint8(n) + 2*first + 31*inner + last
}

// identify resolves a name. Its bytes may be any that stand in a field value:
// of these, setting bit 5 makes only capitals into letters, and nothing else
// into a digit or '-', so comparing that way is exact.
func identify(name []byte) FieldID {
	if len(name) == 0 {
		return Other
	}
	id := slots[slot(name)]
	known := names[id]
	if len(known) != len(name) {
		return Other
	}
	for i := range name {
		if name[i]|0x20 != known[i] {
			return Other
		}
	}
	return id
}
