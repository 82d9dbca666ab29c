package http1

import "bytes"

// validAuthority reports whether b is uri-host [":" port] without user
// information: a reg-name, an IPv4 address, or an IPv6 address in brackets
// (without a zone, which means nothing to another machine).
func validAuthority(b []byte, needPort bool) bool {
	n := 0
	if len(b) > 0 && b[0] == '[' {
		n = bytes.IndexByte(b, ']') + 1
		if n == 0 || !validIPv6(b[1:n-1]) {
			return false
		}
	} else {
		for n < len(b) && class[b[n]]&isName != 0 {
			n++
		}
		if n == 0 {
			return false
		}
	}
	if n == len(b) {
		return !needPort
	}
	return b[n] == ':' && validPort(b[n+1:], needPort)
}

// validPort reports whether b is a port, which RFC 3986 §3.2.3 lets be empty.
func validPort(b []byte, need bool) bool {
	if len(b) == 0 {
		return !need
	}
	n, ok := decimal(b)
	return ok && len(b) <= 5 && n <= 65535
}

// validIPv6 reports whether b is an IPv6 address: eight groups of up to four
// digits, the last two perhaps as an IPv4 address, or fewer with one "::".
func validIPv6(b []byte) bool {
	groups, short := 0, false
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		short, b = true, b[2:]
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && class[b[n]]&isHex != 0 {
			n++
		}
		if n < len(b) && b[n] == '.' {
			return validIPv4(b) && fits(groups+2, short)
		}
		if groups++; n == 0 || n > 4 || groups > 8 {
			return false
		}
		if b = b[n:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return false
		}
		if b = b[1:]; b[0] == ':' {
			if short {
				return false
			}
			short, b = true, b[1:]
		}
	}
	return fits(groups, short)
}

// fits: "::" stands for at least one group.
func fits(groups int, short bool) bool {
	if short {
		return groups < 8
	}
	return groups == 8
}

func validIPv4(b []byte) bool {
	for i := range 4 {
		n := 0
		for n < len(b) && class[b[n]]&isDigit != 0 {
			n++
		}
		v, ok := decimal(b[:n])
		if !ok || v > 255 || n > 1 && b[0] == '0' {
			return false
		}
		if b = b[n:]; i == 3 {
			break
		}
		if len(b) == 0 || b[0] != '.' {
			return false
		}
		b = b[1:]
	}
	return len(b) == 0
}
