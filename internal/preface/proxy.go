package preface

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
)

// Proxy is what a PROXY header says: the two ends of the connection that the
// sender speaks for. Both are zero when it speaks for nobody, as in health checks,
// or does not know.
type Proxy struct {
	From, To netip.AddrPort
}

const (
	// maxLine is the longest header of version 1, with its CRLF (PROXY protocol
	// §2.1).
	maxLine = 107
	// MaxProxy bounds a header of version 2, so that nobody can have us hold
	// 64 KiB: addresses take 36 bytes, and the rest are notes such as the name in a
	// client certificate.
	MaxProxy = 4 << 10
)

var (
	lineStart = []byte("PROXY ")
	signature = []byte("\r\n\r\n\x00\r\nQUIT\n") // PROXY protocol §2.2

	errNoProxy = errors.New("no PROXY header")
	errLine    = errors.New("a malformed PROXY header of version 1")
	errBinary  = errors.New("a malformed PROXY header of version 2")
	errTooLong = errors.New("a PROXY header that is too long")
)

// ParseProxy reads a PROXY header of either version at the front of b. n is its
// length, 0 as long as more is needed, which it never is of MaxProxy bytes.
func ParseProxy(b []byte) (p Proxy, n int, err error) {
	switch {
	case begins(b, signature):
		return parseBinary(b)
	case begins(b, lineStart):
		return parseLine(b)
	}
	return Proxy{}, 0, errNoProxy
}

// begins says whether b begins with start, as far as b goes.
func begins(b, start []byte) bool {
	n := min(len(b), len(start))
	return bytes.Equal(b[:n], start[:n])
}

// parseLine reads version 1: PROXY TCP4 192.0.2.1 198.51.100.1 56324 443.
func parseLine(b []byte) (p Proxy, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case end < 0 && len(b) >= maxLine:
		return Proxy{}, 0, errTooLong
	case end < 0:
		return Proxy{}, 0, nil
	case b[end-1] != '\r':
		return Proxy{}, 0, errLine
	}
	n = end + 1
	fields := bytes.Split(b[len(lineStart):end-1], []byte(" "))
	if string(fields[0]) == "UNKNOWN" {
		return Proxy{}, n, nil
	}
	if len(fields) != 5 {
		return Proxy{}, 0, errLine
	}
	four := string(fields[0]) == "TCP4"
	if !four && string(fields[0]) != "TCP6" {
		return Proxy{}, 0, errLine
	}
	var ok [2]bool
	p.From, ok[0] = addrPort(fields[1], fields[3], four)
	p.To, ok[1] = addrPort(fields[2], fields[4], four)
	if !ok[0] || !ok[1] {
		return Proxy{}, 0, errLine
	}
	return p, n, nil
}

func addrPort(addr, port []byte, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(string(addr))
	if err != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || port[0] == '0' && len(port) > 1 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// parseBinary reads version 2. What follows the addresses is not looked at.
func parseBinary(b []byte) (p Proxy, n int, err error) {
	const fixed = 16
	if len(b) < fixed {
		return Proxy{}, 0, nil
	}
	command, family := b[12], b[13]
	n = fixed + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command != 0x20 && command != 0x21:
		return Proxy{}, 0, errBinary
	case n > MaxProxy:
		return Proxy{}, 0, errTooLong
	case len(b) < n:
		return Proxy{}, 0, nil
	case command == 0x20: // LOCAL: the sender's own connection
		return Proxy{}, n, nil
	}
	a := b[fixed:n]
	size := map[byte]int{0x00: 0, 0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16, 0x31: 106, 0x32: 106}
	length, known := size[family]
	switch {
	case !known || len(a) < 2*length+4 && length > 0 && length <= 16 || len(a) < 2*length:
		return Proxy{}, 0, errBinary
	case length != 4 && length != 16: // unknown, or a Unix socket
		return Proxy{}, n, nil
	}
	from, _ := netip.AddrFromSlice(a[:length])
	to, _ := netip.AddrFromSlice(a[length : 2*length])
	ports := a[2*length:]
	p.From = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(ports))
	p.To = netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(ports[2:]))
	return p, n, nil
}

// AppendProxy appends a PROXY header of that version, 1 or 2, for a TCP connection
// between from and to. Without both it says that it speaks for nobody.
func AppendProxy(dst []byte, version int, from, to netip.AddrPort) []byte {
	a, b := from.Addr().Unmap().WithZone(""), to.Addr().Unmap().WithZone("")
	known := a.IsValid() && b.IsValid()
	four := known && a.Is4() && b.Is4()
	if version == 1 {
		if !known {
			return append(dst, "PROXY UNKNOWN\r\n"...)
		}
		return appendLine(dst, four, netip.AddrPortFrom(a, from.Port()), netip.AddrPortFrom(b, to.Port()))
	}
	dst = append(dst, signature...)
	switch {
	case !known:
		return append(dst, 0x20, 0, 0, 0)
	case four:
		dst = append(dst, 0x21, 0x11, 0, 12)
		dst = append(append(dst, a.AsSlice()...), b.AsSlice()...)
	default:
		dst = append(dst, 0x21, 0x21, 0, 36)
		x, y := a.As16(), b.As16()
		dst = append(append(dst, x[:]...), y[:]...)
	}
	dst = binary.BigEndian.AppendUint16(dst, from.Port())
	return binary.BigEndian.AppendUint16(dst, to.Port())
}

func appendLine(dst []byte, four bool, ends ...netip.AddrPort) []byte {
	family := "TCP6"
	if four {
		family = "TCP4"
	}
	dst = append(append(dst, lineStart...), family...)
	for _, end := range ends {
		addr := end.Addr()
		if !four {
			addr = netip.AddrFrom16(addr.As16()) // one of each family: both as IPv6
		}
		dst = addr.AppendTo(append(dst, ' '))
	}
	for _, end := range ends {
		dst = strconv.AppendUint(append(dst, ' '), uint64(end.Port()), 10)
	}
	return append(dst, "\r\n"...)
}
