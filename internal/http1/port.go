package http1

// SplitPort splits host before the port: "a:80" is "a" and ":80". A colon
// that is followed by anything but digits belongs to the name, as in "[::1]".
func SplitPort(host []byte) (name, port []byte) {
	for i := len(host) - 1; i >= 0; i-- {
		switch c := host[i]; {
		case c == ':':
			return host[:i], host[i:]
		case c < '0' || c > '9':
			return host, nil
		}
	}
	return host, nil
}
