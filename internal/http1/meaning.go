package http1

// meaningful are the names whose values are read here.
var meaningful = setOf(Host, ContentLength, TransferEncoding, Connection, TE, Upgrade, Expect)

// interpret reads a field that decides about framing, connection or host.
// again says that the name came before.
func (h *head) interpret(id FieldID, value []byte, again bool) *Error {
	switch id {
	case ContentLength:
		return h.readLength(value, again)
	case TransferEncoding:
		return h.readCodings(value)
	case Connection:
		h.readOptions(value)
	case Upgrade:
		h.repeated = h.repeated || again
	case Host:
		if !h.request {
			return nil
		}
		if again {
			return errHostRepeated
		}
		// An empty Host is what a client must send when its target has no authority.
		if len(value) > 0 && !validAuthority(value, false) {
			return errHost
		}
	case TE:
		for rest, more := value, true; more; {
			var e []byte
			if e, rest, more = element(rest); equalFold(e, "trailers") {
				h.trailersOK = true
			}
		}
	case Expect:
		// RFC 9110 §10.1.1: an expectation in HTTP/1.0 must be ignored.
		if h.request && h.minor > 0 && !equalFold(value, "100-continue") {
			return errExpect
		}
	}
	return nil
}

// readLength reads Content-Length. Equal repetitions are refused too: a list
// of lengths is what a smuggler sends, and no client needs it.
func (h *head) readLength(value []byte, again bool) *Error {
	if again {
		return errLengthRepeated
	}
	if h.seen.has(TransferEncoding) {
		return errLengthAndCoding
	}
	n, ok := decimal(value)
	if !ok {
		return errLength
	}
	h.length = n
	return nil
}

// decimal reads 1*DIGIT. Eighteen digits cannot overflow and are enough for
// any body.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if class[c]&isDigit == 0 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// readCodings adds up Transfer-Encoding, which may come in several fields.
func (h *head) readCodings(value []byte) *Error {
	if h.seen.has(ContentLength) {
		return errLengthAndCoding
	}
	if h.minor == 0 {
		return errCodingOld
	}
	for rest, more := value, true; more; {
		var e []byte
		e, rest, more = element(rest)
		if len(e) == 0 {
			return errCoding
		}
		for _, c := range e {
			if class[c]&isToken == 0 {
				return errCoding
			}
		}
		chunked := equalFold(e, "chunked")
		switch {
		case h.codings == codingChunked || h.codings == codingBoth:
			if chunked {
				return errCodingRepeated
			}
			return errCodingLast
		case !chunked:
			h.codings = codingOther
		case h.codings == codingOther:
			h.codings = codingBoth
		default:
			h.codings = codingChunked
		}
	}
	return nil
}

// readOptions notes what Connection says. An element that is no token names
// no field and is ignored.
func (h *head) readOptions(value []byte) {
	for rest, more := value, true; more; {
		var e []byte
		e, rest, more = element(rest)
		switch {
		case len(e) == 0:
		case equalFold(e, "keep-alive"):
			h.keepAlive = true
		case equalFold(e, "close"):
			h.close = true
		case equalFold(e, "upgrade"):
			h.upgrade = true
		case identify(e) == Other:
			h.options = true
		}
	}
}

// finish checks what only the whole head can show.
func (h *head) finish() *Error {
	switch h.codings {
	case codingOther:
		return errCodingLast
	case codingBoth:
		return errCodingUnknown
	}
	if h.options {
		return h.dropNamed()
	}
	return nil
}

// dropNamed marks the fields that Connection names.
func (h *head) dropNamed() *Error {
	looked := 0
	for i := range h.fields {
		if h.fields[i].id != Connection {
			continue
		}
		for rest, more := h.fields[i].value.of(h.buf), true; more; {
			var e []byte
			e, rest, more = element(rest)
			if len(e) == 0 || identify(e) != Other || equalFold(e, "close") {
				continue
			}
			if looked++; looked > maxOptions {
				return errOptions
			}
			for k := range h.fields {
				f := &h.fields[k]
				if f.id == Other && sameFold(f.name.of(h.buf), e) {
					f.dropped = true
				}
			}
		}
	}
	return nil
}

// sameFold is equalFold of two slices.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
