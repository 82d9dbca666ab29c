package http1

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

// readTarget takes the request target apart (RFC 9112 §3.2).
func (r *Request) readTarget(at span) *Error {
	t := at.of(r.buf)
	question := len(t)
	for i, c := range t {
		if class[c]&isTarget == 0 {
			if c == '#' {
				return errFragment
			}
			return errTarget
		}
		if c == '?' && question == len(t) {
			question = i
		}
	}
	r.target = at
	r.hasQuery = question < len(t)
	r.path = span{at.from, at.from + uint32(question)}
	r.query = span{at.to, at.to}
	if r.hasQuery {
		r.query.from = r.path.to + 1
	}
	switch {
	case r.connect:
		// Authority form; the port is required, there is no default.
		r.path, r.authority = span{at.to, at.to}, at
		if r.hasQuery || !validAuthority(t, true) {
			return errAuthority
		}
	case t[0] == '/':
	case len(t) == 1 && t[0] == '*':
		if string(r.Method()) != "OPTIONS" {
			return errTargetForm
		}
	default:
		return r.readAbsolute(t[:question])
	}
	return nil
}

// readAbsolute reads the absolute form without its query.
func (r *Request) readAbsolute(t []byte) *Error {
	var n int // of the scheme
	switch {
	case len(t) > 7 && equalFold(t[:7], "http://"):
		n = 7
	case len(t) > 8 && equalFold(t[:8], "https://"):
		n = 8
	default:
		return errTargetForm
	}
	end := n
	for end < len(t) && t[end] != '/' {
		end++
	}
	if !validAuthority(t[n:end], false) {
		return errAuthority
	}
	base := r.target.from
	r.absolute = true
	r.authority = span{base + uint32(n), base + uint32(end)}
	r.path.from = base + uint32(end)
	return nil
}
