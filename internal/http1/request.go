package http1

// maxMethod is the longest method; longer than any registered one (RFC 9110
// §9.1 asks for 501 then).
const maxMethod = 64

// Request parses the head of a request and is the view of the parsed head. The
// zero value is ready. It is meant to be reused: Reset keeps its memory.
type Request struct {
	head
	method, target, path, query, authority span

	hasQuery, absolute, connect bool
}

// Reset makes r ready for the next request and forgets the buffer.
func (r *Request) Reset() {
	h := r.head
	*r = Request{head: h}
	r.head.reset()
}

// Parse reads a head at the start of buf. It returns the head's length once it
// is complete; 0 and no error ask for the same bytes with more behind them,
// which may have moved in memory. One leading empty line is skipped and counted
// (RFC 9112 §2.2). An error is returned as soon as the offending line is
// complete or a limit is crossed, is final, and does not depend on how
// the bytes were split. After n > 0 the views of r are parts of buf: valid
// until buf changes or Rebase. lim nil means defaults.
func (r *Request) Parse(buf []byte, lim *Limits) (n int, err *Error) {
	r.buf = buf
	if r.err != nil || r.end > 0 {
		return int(r.end), r.err
	}
	l := lim.orDefaults()
	if n, err = r.parse(&l); err != nil {
		r.end, r.err = 0, err
		return 0, err
	}
	return n, nil
}

// Rebase says that the parsed head now lies at the start of buf.
func (r *Request) Rebase(buf []byte) { r.buf = buf }

// Raw returns the request line and the field lines as received, each with its
// line end, without the empty line. It is a part of the buffer.
func (r *Request) Raw() []byte { return span{r.method.from, r.end - 2}.of(r.buf) }

func (r *Request) parse(lim *Limits) (int, *Error) {
	if !r.started {
		r.request, r.length = true, LengthNone
		if ok, err := r.readFirst(lim); !ok || err != nil {
			return 0, err
		}
	}
	done, err := r.readFields(lim)
	if !done || err != nil {
		return 0, err
	}
	if r.minor > 0 && !r.seen.has(Host) {
		return 0, errHostMissing
	}
	return int(r.end), nil
}

// readFirst reads up to and with the request line; ok is false until it is whole.
func (r *Request) readFirst(lim *Limits) (ok bool, err *Error) {
	if r.line == 0 {
		if len(r.buf) == 0 {
			return false, nil
		}
		switch {
		case r.buf[0] == '\n':
			return false, errBareLF
		case r.buf[0] == '\r' && len(r.buf) == 1:
			return false, nil
		case r.buf[0] == '\r' && r.buf[1] != '\n':
			return false, errBareCR
		case r.buf[0] == '\r':
			r.line, r.scan = 2, 2
		}
	}
	// A first byte that starts no method is refused at once, so that a TLS
	// handshake on a cleartext port is not waited for.
	if int(r.line) < len(r.buf) && class[r.buf[r.line]]&isToken == 0 {
		if r.buf[r.line] == '\r' {
			return false, errLeadingLines
		}
		return false, errStart
	}
	// The longest request line that can be valid: method, target, version.
	longest := int(r.line) + maxMethod + 1 + lim.Target + len(" HTTP/1.1\r\n")
	line, ok, cut, err := r.nextLine(min(longest, lim.Head))
	switch {
	case err != nil:
		return false, err
	case cut && longest <= lim.Head:
		return false, errTargetLong
	case cut:
		return false, errHeadLong
	case !ok:
		return false, nil
	}
	r.started = true
	return true, r.readLine(line, lim)
}

// readLine reads the request line: exactly one space on each side of the target.
func (r *Request) readLine(line span, lim *Limits) *Error {
	b := line.of(r.buf)
	n := 0
	for n < len(b) && class[b[n]]&isToken != 0 {
		n++
	}
	switch {
	case n > maxMethod:
		return errMethodLong
	case n == len(b):
		return errRequestLine
	case b[n] != ' ':
		return errMethod
	}
	r.method = span{line.from, line.from + uint32(n)}
	r.connect = string(r.Method()) == "CONNECT"
	from, to := n+1, n+1
	for to < len(b) && b[to] != ' ' {
		to++
	}
	switch {
	case to == from || to == len(b):
		return errRequestLine
	case to-from > lim.Target:
		return errTargetLong
	}
	minor, err := version(b[to+1:])
	if err != nil {
		return err
	}
	r.minor = minor
	return r.readTarget(span{line.from + uint32(from), line.from + uint32(to)})
}

// version reads HTTP-version, which is case-sensitive.
func version(b []byte) (minor uint8, err *Error) {
	switch {
	case string(b) == "HTTP/1.1":
		return 1, nil
	case string(b) == "HTTP/1.0":
		return 0, nil
	case len(b) == 8 && string(b[:5]) == "HTTP/" && class[b[5]]&isDigit != 0 && b[6] == '.' && class[b[7]]&isDigit != 0:
		return 0, errVersion
	}
	return 0, errProtocol
}

// Method returns the method as received; methods are case-sensitive.
func (r *Request) Method() []byte { return r.method.of(r.buf) }

// Target returns the request target as received.
func (r *Request) Target() []byte { return r.target.of(r.buf) }

// Path returns the path, not decoded: "/" when the absolute form has none, "*"
// for the asterisk form, empty for CONNECT.
func (r *Request) Path() []byte {
	p := r.path.of(r.buf)
	if len(p) > 0 || r.connect {
		return p
	}
	// RFC 9112 §3.2.4: OPTIONS for a URI without path and query is for the server as a whole.
	if !r.hasQuery && string(r.Method()) == "OPTIONS" {
		return asterisk
	}
	return slash
}

// Query returns what follows the first '?', not decoded. See HasQuery.
func (r *Request) Query() []byte { return r.query.of(r.buf) }

// HasQuery tells an empty query from none.
func (r *Request) HasQuery() bool { return r.hasQuery }

// Host returns host and port that the request is for: from the target where
// it has an authority (RFC 9112 §3.2.2), otherwise from Host; nil if neither.
func (r *Request) Host() []byte {
	if r.absolute || r.connect {
		return r.authority.of(r.buf)
	}
	v, _ := r.Lookup(Host)
	return v
}

// HasBody reports whether a body follows, an empty one not counted unless it is chunked.
func (r *Request) HasBody() bool { return r.Chunked() || r.length > 0 }

// Framing returns the length of the body as Outgoing.Length wants it: its
// Content-Length, LengthChunked or LengthNone.
func (r *Request) Framing() int64 {
	if r.Chunked() {
		return LengthChunked
	}
	return r.length
}

// ExpectContinue reports whether the client waits for 100 (Continue) before it
// sends the body that it announces.
func (r *Request) ExpectContinue() bool {
	return r.minor > 0 && r.seen.has(Expect) && r.HasBody()
}

// Connect reports whether the method is CONNECT.
func (r *Request) Connect() bool { return r.connect }

// Safe reports whether the method is one that only reads: GET, HEAD, OPTIONS, TRACE.
func (r *Request) Safe() bool {
	switch string(r.Method()) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// Idempotent reports whether doing it twice is as good as doing it once: safe
// methods, PUT and DELETE (RFC 9110 §9.2.2).
func (r *Request) Idempotent() bool {
	switch string(r.Method()) {
	case "PUT", "DELETE":
		return true
	}
	return r.Safe()
}

// Body returns the decoder of the body that follows the head. It keeps
// trailers in r's memory: use it before r is Reset.
func (r *Request) Body() Body {
	switch {
	case r.Chunked():
		r.trailer = r.trailer[:0]
		return Body{state: chunkSize, trailer: &r.trailer, discard: r.options}
	case r.length > 0:
		return Body{state: inLength, left: r.length}
	}
	return Body{}
}
