package route

import "bytes"

// maxHost is longer than any hostname in the DNS. A longer one matches only
// routes without hostnames, so that nobody can make matching slow with one.
const maxHost = 255

// hostname is r.Host in the form that tables hold: lower case, without the
// port and the dot at the end.
func (r *Request) hostname() []byte {
	host := withoutPort(r.Host)
	host = bytes.TrimSuffix(host, []byte("."))
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			r.host = appendLower(r.host[:0], host)
			return r.host
		}
	}
	return host
}

// withoutPort leaves the brackets of an IPv6 address on.
func withoutPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

// appendLower changes the case of ASCII letters only.
func appendLower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
