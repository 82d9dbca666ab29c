package http2

import "strings"

// Fields is a field section that is being written. It uses the static table of
// HPACK (RFC 7541) and nothing else: no table on either side to keep, no string to
// remember, no work for names that never come again. Peers on the same network
// pay with some bytes.
type Fields struct {
	block []byte
}

// BeginHead begins a field section. One is written at a time.
func (m *Machine) BeginHead() Fields {
	f := Fields{block: m.sections[:0]}
	if m.resize {
		// The peer wants a smaller table; we have none (RFC 7541 §4.2).
		f.block = append(f.block, 0x20)
		m.resize = false
	}
	return f
}

// Add appends a field, name in lower case.
func (f *Fields) Add(name string, value []byte) {
	if value := exact(name, value); value > 0 {
		f.block = append(f.block, 0x80|value)
		return
	}
	f.name(name, never(name))
	f.value(value)
}

// AddFolded appends a field whose name may have capitals.
func (f *Fields) AddFolded(name, value []byte) {
	var low [64]byte
	if len(name) <= len(low) {
		n := fold(low[:0], name)
		if i, ok := statics[string(n)]; ok {
			f.index(i, never(string(n)))
			f.value(value)
			return
		}
	}
	f.block = append(f.block, 0)
	f.block = appendInt(f.block, 0, 7, len(name))
	f.block = fold(f.block, name)
	f.value(value)
}

func (f *Fields) name(name string, secret bool) {
	if i, ok := statics[name]; ok {
		f.index(i, secret)
		return
	}
	f.block = append(f.block, 0)
	f.block = appendInt(f.block, 0, 7, len(name))
	f.block = append(f.block, name...)
}

// index begins a literal with an indexed name that goes into no table, or, if
// it is secret, must not go into one on a later hop either.
func (f *Fields) index(i uint8, secret bool) {
	bits := byte(0)
	if secret {
		bits = 0x10
	}
	f.block = appendInt(f.block, bits, 4, int(i))
}

func (f *Fields) value(v []byte) {
	f.block = appendInt(f.block, 0, 7, len(v))
	f.block = append(f.block, v...)
}

// appendInt appends n with a prefix of so many bits (RFC 7541 §5.1).
func appendInt(dst []byte, first byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func fold(dst, name []byte) []byte {
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// never says which fields no table may hold (RFC 7541 §7.1.3).
func never(name string) bool {
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

// exact returns the index of a whole field in the static table, 0 for none.
func exact(name string, value []byte) uint8 {
	switch name {
	case ":method":
		switch string(value) {
		case "GET":
			return 2
		case "POST":
			return 3
		}
	case ":path":
		if string(value) == "/" {
			return 4
		}
	case ":scheme":
		switch string(value) {
		case "http":
			return 6
		case "https":
			return 7
		}
	case ":status":
		switch string(value) {
		case "200":
			return 8
		case "204":
			return 9
		case "206":
			return 10
		case "304":
			return 11
		case "400":
			return 12
		case "404":
			return 13
		case "500":
			return 14
		}
	}
	return 0
}

// statics holds the names of the static table (RFC 7541, Appendix A).
var statics = func() map[string]uint8 {
	t := map[string]uint8{":authority": 1, ":method": 2, ":path": 4, ":scheme": 6, ":status": 8}
	for i, name := range strings.Fields(`accept-charset accept-encoding accept-language accept-ranges accept
		access-control-allow-origin age allow authorization cache-control content-disposition content-encoding
		content-language content-length content-location content-range content-type cookie date etag expect
		expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified
		link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after
		server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate`) {
		t[name] = uint8(15 + i)
	}
	return t
}()
