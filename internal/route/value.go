package route

import "bytes"

// origin is where a named value comes from.
type origin uint8

const (
	fromHeader origin = iota
	fromCookie
	fromQuery
)

// String is the word for people.
func (o origin) String() string {
	return [...]string{"header", "cookie", "query parameter"}[o]
}

// valueName is a named value of a request; header names are in lower case.
type valueName struct {
	origin origin
	name   string
}

// lookup is the value of that name, as rules compare it. The view is valid
// until the next lookup. No allocation once the scratch space has grown.
func (r *Request) lookup(n valueName) ([]byte, bool) {
	switch n.origin {
	case fromHeader:
		return r.header(n.name)
	case fromCookie:
		return r.cookie(n.name)
	}
	return r.parameter(n.name)
}

// header joins the values of a header that is given several times with ", ",
// as RFC 9110, section 5.3 allows everybody on the way to do.
func (r *Request) header(name string) ([]byte, bool) {
	if r.Headers == nil {
		return nil, false
	}
	first, ok := r.Headers.Value(name, 0)
	if !ok {
		return nil, false
	}
	if _, more := r.Headers.Value(name, 1); !more {
		return first, true
	}
	// The views last only until the next call of Value, so start over.
	first, _ = r.Headers.Value(name, 0)
	r.value = append(r.value[:0], first...)
	for i := 1; ; i++ {
		next, more := r.Headers.Value(name, i)
		if !more {
			return r.value, true
		}
		r.value = append(append(r.value, ", "...), next...)
	}
}

// cookie is the value of the first cookie of that name, quotes and all.
func (r *Request) cookie(name string) ([]byte, bool) {
	if r.Headers == nil {
		return nil, false
	}
	for i := 0; ; i++ {
		line, ok := r.Headers.Value("cookie", i)
		if !ok {
			return nil, false
		}
		for len(line) > 0 {
			var pair []byte
			pair, line, _ = bytes.Cut(line, []byte(";"))
			key, value, ok := bytes.Cut(pair, []byte("="))
			if ok && string(bytes.Trim(key, " \t")) == name {
				return bytes.Trim(value, " \t"), true
			}
		}
	}
}

// parameter is the first query parameter of that name. Names and values are
// decoded as forms are: percent encodings, and + for a space.
func (r *Request) parameter(name string) ([]byte, bool) {
	query := r.Query
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if len(pair) == 0 {
			continue
		}
		key, value, _ := bytes.Cut(pair, []byte("="))
		if string(r.decoded(key)) == name {
			return r.decoded(value), true
		}
	}
	return nil, false
}

// decoded is s, or its decoded form in the scratch space. An encoding that is
// broken stands for itself.
func (r *Request) decoded(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	r.value = r.value[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		r.value = append(r.value, c)
	}
	return r.value
}
