package http1

import "strconv"

// Outgoing is what of a request is sent that does not come from the received
// fields. The caller answers for the values: they are sent as they are.
type Outgoing struct {
	// Target replaces the request target; nil sends path and query as received.
	// CONNECT goes to the authority that it names, whatever Target says.
	Target []byte
	// Host replaces the host; nil sends Request.Host. An Edit that sets Host wins.
	Host []byte
	// ForwardedFor is appended to X-Forwarded-For; empty leaves it alone.
	ForwardedFor []byte
	// ReplaceForwarded leaves out received X-Forwarded-For, -Proto, -Host and -Port,
	// X-Real-IP and Forwarded: they came from somebody who is not trusted to say
	// who the client is.
	ReplaceForwarded bool
	// Proto is sent as X-Forwarded-Proto unless a received one is kept; nil sends none.
	Proto []byte
	// ForwardedHost is sent as X-Forwarded-Host unless a received one is kept; nil sends none.
	ForwardedHost []byte
	// RequestID is sent as x-request-id unless one was received; nil sends none.
	RequestID []byte
	// Traceparent and Tracestate replace the received ones; nil keeps those. A
	// Tracestate that is empty but not nil is left out.
	Traceparent, Tracestate []byte
	// Marker replaces x-understudy-copy; nil keeps what was received.
	Marker []byte
	// Length is the framing to write: bytes, LengthChunked or LengthNone. Beware: its zero
	// value says Content-Length: 0; Request.Framing is what was received.
	Length int64
	// Expect sends Expect: 100-continue.
	Expect bool
	// Upgrade sends the received Upgrade, and Connection with it.
	Upgrade bool
	// Extra holds "Name: value\r\n" lines that are sent last.
	Extra []byte
}

// AppendRequest appends the head of the request to send on: HTTP/1.1, ending
// with the empty line. Hop-by-hop fields are left out and framing is written
// anew; the other fields keep order, case and spacing. e, which may be nil, applies
// to what is received and to what o adds, except o.Extra. A nil o sends the
// request as received. r must be parsed.
func AppendRequest(dst []byte, r *Request, e *Edit, o *Outgoing) []byte {
	if o == nil {
		o = &Outgoing{Length: r.Framing()}
	}
	dst = append(dst, r.Method()...)
	dst = append(dst, ' ')
	dst = appendTarget(dst, r, o)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendHost(dst, r, e, o)
	dst = r.appendFields(dst, r.without(e, o), e)
	dst = appendForwarded(dst, r, e, o)
	dst = appendIdentity(dst, r, e, o)
	dst = appendLength(dst, o.Length)
	if o.Expect {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	dst = appendConnection(dst, r, o)
	if e != nil {
		dst = append(dst, e.tail...)
	}
	dst = append(dst, o.Extra...)
	return append(dst, "\r\n"...)
}

// without returns the known names that are not copied from the received fields.
func (r *Request) without(e *Edit, o *Outgoing) fieldSet {
	s := framing | 1<<Host
	if e != nil {
		s |= e.known
	}
	if o.Length != LengthChunked {
		s |= 1 << Trailer
	}
	if o.ReplaceForwarded {
		s |= forwarded
	}
	if len(o.ForwardedFor) > 0 {
		s |= 1 << XForwardedFor
	}
	if o.Traceparent != nil {
		s |= 1 << Traceparent
	}
	if o.Tracestate != nil {
		s |= 1 << Tracestate
	}
	if o.Marker != nil {
		s |= 1 << CopyMarker
	}
	return s
}

// forwarded are the names that say who the client is.
var forwarded = setOf(XForwardedFor, XForwardedProto, XForwardedHost, XForwardedPort, XRealIP, Forwarded)

// appendFields copies received fields except those in without, those named by
// Connection and those e leaves out. Neighbours are copied together.
func (h *head) appendFields(dst []byte, without fieldSet, e *Edit) []byte {
	from := -1 // start of the lines not copied yet
	for i := range h.fields {
		f := &h.fields[i]
		out := without.has(f.id)
		if f.id == Other {
			out = f.dropped || e.leavesOut(Other, f.name.of(h.buf))
		}
		switch {
		case out && from >= 0:
			dst = append(dst, h.buf[from:f.name.from]...)
			from = -1
		case !out && from < 0:
			from = int(f.name.from)
		}
	}
	if from >= 0 {
		dst = append(dst, h.buf[from:h.end-2]...)
	}
	return dst
}

func appendTarget(dst []byte, r *Request, o *Outgoing) []byte {
	switch {
	case o.Target != nil && !r.connect:
		return append(dst, o.Target...)
	case !r.absolute:
		return append(dst, r.Target()...)
	}
	dst = append(dst, r.Path()...)
	if r.hasQuery {
		dst = append(dst, '?')
		dst = append(dst, r.Query()...)
	}
	return dst
}

// appendHost writes Host first, where RFC 9110 §7.2 wants it, and exactly once.
func appendHost(dst []byte, r *Request, e *Edit, o *Outgoing) []byte {
	switch {
	case e != nil && e.host != "":
		dst = append(dst, "Host: "...)
		dst = append(dst, e.host...)
		return append(dst, "\r\n"...)
	case o.Host != nil:
		return appendLine(dst, "Host", o.Host)
	}
	return appendLine(dst, "Host", r.Host())
}

// appendForwarded writes X-Forwarded-*. All received X-Forwarded-For fields
// become one, because many backends read only one of them.
func appendForwarded(dst []byte, r *Request, e *Edit, o *Outgoing) []byte {
	if len(o.ForwardedFor) > 0 && !e.leavesOut(XForwardedFor, nil) {
		dst = append(dst, "X-Forwarded-For: "...)
		if !o.ReplaceForwarded && r.seen.has(XForwardedFor) {
			for i := range r.fields {
				f := &r.fields[i]
				if f.id == XForwardedFor && f.value.from < f.value.to {
					dst = append(dst, f.value.of(r.buf)...)
					dst = append(dst, ", "...)
				}
			}
		}
		dst = append(dst, o.ForwardedFor...)
		dst = append(dst, "\r\n"...)
	}
	if o.Proto != nil && (o.ReplaceForwarded || !r.seen.has(XForwardedProto)) && !e.leavesOut(XForwardedProto, nil) {
		dst = appendLine(dst, "X-Forwarded-Proto", o.Proto)
	}
	if o.ForwardedHost != nil && (o.ReplaceForwarded || !r.seen.has(XForwardedHost)) && !e.leavesOut(XForwardedHost, nil) {
		dst = appendLine(dst, "X-Forwarded-Host", o.ForwardedHost)
	}
	return dst
}

// appendIdentity writes request id, trace context and the copy's marker.
func appendIdentity(dst []byte, r *Request, e *Edit, o *Outgoing) []byte {
	if o.RequestID != nil && !r.seen.has(XRequestID) && !e.leavesOut(XRequestID, nil) {
		dst = appendLine(dst, "x-request-id", o.RequestID)
	}
	if len(o.Traceparent) > 0 && !e.leavesOut(Traceparent, nil) {
		dst = appendLine(dst, "traceparent", o.Traceparent)
	}
	if len(o.Tracestate) > 0 && !e.leavesOut(Tracestate, nil) {
		dst = appendLine(dst, "tracestate", o.Tracestate)
	}
	if o.Marker != nil && !e.leavesOut(CopyMarker, nil) {
		dst = appendLine(dst, "x-understudy-copy", o.Marker)
	}
	return dst
}

// appendConnection writes what is about the next connection: Upgrade and TE,
// each of which Connection has to name.
func appendConnection(dst []byte, r *Request, o *Outgoing) []byte {
	var upgrade []byte
	if o.Upgrade {
		upgrade = r.Upgrade()
	}
	te := r.trailersOK && r.minor > 0
	switch {
	case upgrade != nil && te:
		dst = append(dst, "Connection: upgrade, TE\r\nTE: trailers\r\n"...)
	case upgrade != nil:
		dst = append(dst, "Connection: upgrade\r\n"...)
	case te:
		return append(dst, "Connection: TE\r\nTE: trailers\r\n"...)
	default:
		return dst
	}
	return appendLine(dst, "Upgrade", upgrade)
}

func appendLength(dst []byte, length int64) []byte {
	switch {
	case length == LengthChunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		return append(dst, "\r\n"...)
	}
	return dst
}

func appendLine(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// ResponseOutgoing is what of a response is sent that does not come from the
// received fields.
type ResponseOutgoing struct {
	// Length is the framing to write: bytes, LengthChunked, LengthClose or
	// LengthNone. Beware: its zero value says Content-Length: 0;
	// Response.Framing is what was received. A 1xx or 204 never gets any.
	Length int64
	// Minor is the client's minor version. To HTTP/1.0, LengthChunked is sent
	// as LengthClose: the body then goes without chunk framing.
	Minor int
	// Close says that the connection closes after this response.
	Close bool
	// Extra holds "Name: value\r\n" lines that are sent last.
	Extra []byte
	// Upgrade sends the received Upgrade, and Connection with it.
	Upgrade bool
}

// AppendResponse appends the head of the response to send on; as AppendRequest.
// A nil o sends the response as received, to an HTTP/1.1 client.
func AppendResponse(dst []byte, r *Response, e *Edit, o *ResponseOutgoing) []byte {
	if o == nil {
		o = &ResponseOutgoing{Length: r.Framing(), Minor: 1}
	}
	length, closing := o.Length, o.Close
	if length == LengthChunked && o.Minor == 0 {
		length = LengthClose
	}
	if r.status < 200 || r.status == 204 {
		length = LengthNone
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Reason()...)
	dst = append(dst, "\r\n"...)
	without := framing
	if e != nil {
		without |= e.known
	}
	if length != LengthChunked {
		without |= 1 << Trailer
	}
	dst = r.appendFields(dst, without, e)
	dst = appendLength(dst, length)
	upgrade := []byte(nil)
	if o.Upgrade {
		upgrade = r.Upgrade()
	}
	closing = r.status >= 200 && (closing || length == LengthClose)
	switch {
	case upgrade != nil && closing:
		dst = append(dst, "Connection: upgrade, close\r\n"...)
		dst = appendLine(dst, "Upgrade", upgrade)
	case upgrade != nil:
		dst = append(dst, "Connection: upgrade\r\n"...)
		dst = appendLine(dst, "Upgrade", upgrade)
	case r.status < 200:
	case closing:
		dst = append(dst, "Connection: close\r\n"...)
	case o.Minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	if e != nil {
		dst = append(dst, e.tail...)
	}
	dst = append(dst, o.Extra...)
	return append(dst, "\r\n"...)
}
