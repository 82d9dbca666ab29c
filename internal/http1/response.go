package http1

// Response parses the head of a response and is the view of the parsed head.
// The zero value is ready. It is meant to be reused: Reset keeps its memory.
type Response struct {
	head
	reason span
	status int
}

// Reset makes r ready for the next response and forgets the buffer.
func (r *Response) Reset() {
	h := r.head
	*r = Response{head: h}
	r.head.reset()
}

// Parse reads a head at the start of buf; as Request.Parse, but every error
// has status 502, and no leading empty line is skipped. A final response after
// an interim one (1xx) is parsed after Reset.
func (r *Response) Parse(buf []byte, lim *Limits) (n int, err *Error) {
	r.buf = buf
	if r.err != nil || r.end > 0 {
		return int(r.end), r.err
	}
	l := lim.orDefaults()
	if n, err = r.parse(&l); err != nil {
		r.end, r.err = 0, err.inResponse()
		return 0, r.err
	}
	return n, nil
}

// Rebase says that the parsed head now lies at the start of buf.
func (r *Response) Rebase(buf []byte) { r.buf = buf }

// Raw returns the status line and the field lines as received, each with its line
// end, without the empty line. It is a part of the buffer.
func (r *Response) Raw() []byte { return span{0, r.end - 2}.of(r.buf) }

func (r *Response) parse(lim *Limits) (int, *Error) {
	if !r.started {
		r.length = LengthNone
		if len(r.buf) > 0 && r.buf[0] != 'H' {
			return 0, errStatusLine
		}
		line, ok, cut, err := r.nextLine(lim.Head)
		switch {
		case err != nil:
			return 0, err
		case cut:
			return 0, errHeadLong
		case !ok:
			return 0, nil
		}
		r.started = true
		if err := r.readLine(line); err != nil {
			return 0, err
		}
	}
	done, err := r.readFields(lim)
	if !done || err != nil {
		return 0, err
	}
	return int(r.end), nil
}

// readLine reads the status line. Servers in the field leave out the reason
// phrase, some with the space before it.
func (r *Response) readLine(line span) *Error {
	b := line.of(r.buf)
	if len(b) < 12 {
		return errStatusLine
	}
	minor, err := version(b[:8])
	if err != nil {
		return err
	}
	r.minor = minor
	code, ok := decimal(b[9:12])
	if !ok || code < 100 || b[8] != ' ' || len(b) > 12 && b[12] != ' ' {
		return errStatusLine
	}
	r.status = int(code)
	r.reason = span{line.to, line.to}
	if len(b) > 13 {
		r.reason.from = line.from + 13
		if checkValue(b[13:]) != nil {
			return errReasonPhrase
		}
	}
	return nil
}

// Status returns the status code, 100 to 999.
func (r *Response) Status() int { return r.status }

// Reason returns the reason phrase, which may be empty.
func (r *Response) Reason() []byte { return r.reason.of(r.buf) }

// Interim reports whether the status is 1xx: another response follows, unless it is 101.
func (r *Response) Interim() bool { return r.status < 200 }

// bodiless reports whether the status alone rules out a body (RFC 9112 §6.3).
func (r *Response) bodiless() bool {
	return r.status < 200 || r.status == 204 || r.status == 304
}

// KeepAlive reports whether the connection can carry another response, as far
// as the head says; a body until close says otherwise, see Body.UntilClose. A
// 204 that announces a body anyway is not trusted with another one.
func (r *Response) KeepAlive() bool {
	if r.status == 204 && (r.Chunked() || r.length > 0) {
		return false
	}
	return r.head.KeepAlive()
}

// Framing returns the body's length as ResponseOutgoing.Length wants it: what the
// head says, that is also the length that HEAD and 304 only speak of.
func (r *Response) Framing() int64 {
	switch {
	case r.status < 200 || r.status == 204:
		return LengthNone
	case r.Chunked():
		return LengthChunked
	case r.length >= 0:
		return r.length
	case r.status == 304:
		return LengthNone
	}
	return LengthClose
}

// Body returns the decoder of the body that follows the head. head says that
// the request was HEAD. It keeps trailers in r's memory: use it before r is
// Reset.
func (r *Response) Body(head bool) Body {
	switch {
	case head || r.bodiless():
		return Body{}
	case r.Chunked():
		r.trailer = r.trailer[:0]
		return Body{state: chunkSize, trailer: &r.trailer, discard: r.options, response: true}
	case r.length > 0:
		return Body{state: inLength, left: r.length, response: true}
	case r.length == 0:
		return Body{}
	}
	return Endless()
}
