package http1

// Error is a violation of the protocol. All values are static: returning one
// allocates nothing, and they can be compared by address. Functions here return
// *Error and not error: keep it so, since a nil *Error in an error is not nil.
type Error struct {
	// Status is what to answer: 400, 414, 417, 431, 501 or 505 when the
	// message was a request, 502 when it was a response.
	Status int
	// Reason is a short lower-case phrase for logs and for the answer's body.
	// It never contains received bytes.
	Reason string

	gateway *Error // the same violation found in a response
}

// Error returns the reason.
func (e *Error) Error() string { return "http1: " + e.Reason }

// inResponse returns the twin of e with status 502, nil for nil.
func (e *Error) inResponse() *Error {
	if e == nil || e.gateway == nil {
		return e
	}
	return e.gateway
}

func violation(status int, reason string) *Error {
	return &Error{status, reason, &Error{Status: 502, Reason: reason}}
}

// The violations, in the order in which a reader meets them.
var (
	errStart           = violation(400, "message does not start with a token")
	errLeadingLines    = violation(400, "more than one empty line before the message")
	errBareLF          = violation(400, "line ends with LF without CR")
	errBareCR          = violation(400, "CR without LF")
	errRequestLine     = violation(400, "malformed request line")
	errMethod          = violation(400, "invalid character in method")
	errMethodLong      = violation(501, "method too long")
	errTarget          = violation(400, "invalid character in request target")
	errTargetForm      = violation(400, "request target does not fit the method")
	errTargetLong      = violation(414, "request target too long")
	errFragment        = violation(400, "fragment in request target")
	errAuthority       = violation(400, "invalid authority in request target")
	errProtocol        = violation(400, "malformed protocol version")
	errVersion         = violation(505, "unsupported protocol version")
	errStatusLine      = violation(400, "malformed status line")
	errReasonPhrase    = violation(400, "invalid character in reason phrase")
	errHeadLong        = violation(431, "head too long")
	errTooManyFields   = violation(431, "too many fields")
	errFold            = violation(400, "line starts with whitespace")
	errNoColon         = violation(400, "field without colon")
	errNameEmpty       = violation(400, "empty field name")
	errNameSpace       = violation(400, "whitespace before colon")
	errName            = violation(400, "invalid character in field name")
	errNUL             = violation(400, "NUL in field value")
	errValue           = violation(400, "control character in field value")
	errHostMissing     = violation(400, "missing Host")
	errHostRepeated    = violation(400, "repeated Host")
	errHost            = violation(400, "invalid Host")
	errLength          = violation(400, "invalid Content-Length")
	errLengthRepeated  = violation(400, "repeated Content-Length")
	errLengthAndCoding = violation(400, "Content-Length with Transfer-Encoding")
	errCodingOld       = violation(400, "Transfer-Encoding in HTTP/1.0")
	errCodingLast      = violation(400, "chunked is not the last transfer coding")
	errCodingRepeated  = violation(400, "chunked applied twice")
	errCoding          = violation(400, "malformed Transfer-Encoding")
	errCodingUnknown   = violation(501, "unsupported transfer coding")
	errExpect          = violation(417, "unsupported expectation")
	errOptions         = violation(400, "too many connection options")
	errChunkSize       = violation(400, "invalid chunk size")
	errChunkSizeLong   = violation(400, "chunk size too large")
	errChunkExtension  = violation(400, "invalid character in chunk extension")
	errChunkExtLong    = violation(400, "chunk extensions too long")
	errChunkLine       = violation(400, "chunk line does not end with CRLF")
	errChunkEnd        = violation(400, "chunk data not followed by CRLF")
	errTrailerLong     = violation(431, "trailer section too long")
)
