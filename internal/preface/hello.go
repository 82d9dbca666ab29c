package preface

import (
	"encoding/binary"
	"errors"
)

const (
	// MaxHello bounds a ClientHello with the headers of its records. With keys for
	// post-quantum groups one has 2 KiB.
	MaxHello = 64 << 10

	maxRecord = 1 << 14 // RFC 8446 §5.1
	maxName   = 255
)

var (
	errNoHello   = errors.New("no TLS ClientHello")
	errHello     = errors.New("a malformed TLS ClientHello")
	errLongHello = errors.New("a TLS ClientHello that is too long")
)

// ServerName reads the TLS ClientHello at the front of b (RFC 8446 §4.1.2), which
// may come in several records, and returns the server's name in lower case; empty
// if the client gives none (RFC 6066 §3). With Encrypted Client Hello it is the
// outer name. done is false as long as more is needed.
func ServerName(b []byte) (name string, done bool, err error) {
	hello, done, err := clientHello(b)
	if err != nil || !done {
		return "", false, err
	}
	r := reader(hello)
	r.skip(2 + 32) // legacy version, random
	r.vector(1)    // session id
	suites := r.vector(2)
	compressions := r.vector(1)
	if r == nil || len(suites) < 2 || len(compressions) == 0 {
		return "", false, errHello
	}
	if len(r) == 0 {
		return "", true, nil // before TLS 1.2 there may be no extensions
	}
	extensions := reader(r.vector(2))
	if r == nil || len(r) > 0 {
		return "", false, errHello
	}
	found := false
	for len(extensions) > 0 {
		kind, data := extensions.number(), extensions.vector(2)
		if extensions == nil || kind == 0 && found {
			return "", false, errHello
		}
		if kind == 0 {
			found = true
			if name, err = hostName(data); err != nil {
				return "", false, err
			}
		}
	}
	return name, true, nil
}

// clientHello puts the body of the message together from its records.
func clientHello(b []byte) (hello []byte, done bool, err error) {
	const header = 4
	var message []byte
	whole := b
	for {
		size := -1
		if len(message) >= header {
			size = int(message[1])<<16 | int(message[2])<<8 | int(message[3])
		}
		switch {
		case len(message) > 0 && message[0] != 1:
			return nil, false, errNoHello
		case size > MaxHello || len(whole)-len(b) > MaxHello:
			return nil, false, errLongHello
		case size >= 0 && len(message) >= header+size:
			return message[header : header+size], true, nil
		case len(b) > 0 && b[0] != 22 || len(b) > 1 && b[1] != 3:
			return nil, false, errNoHello
		case len(b) < 5:
			return nil, false, nil
		}
		length := int(binary.BigEndian.Uint16(b[3:]))
		switch {
		case length == 0 || length > maxRecord:
			return nil, false, errHello
		case len(b) < 5+length:
			if len(message) == 0 && len(b) > 5 && b[5] != 1 {
				return nil, false, errNoHello
			}
			return nil, false, nil
		}
		if record := b[5 : 5+length]; message == nil {
			message = record[:length:length] // mostly it is the only one
		} else {
			message = append(message, record...)
		}
		b = b[5+length:]
	}
}

// hostName is the host name in a list of server names.
func hostName(data []byte) (string, error) {
	r := reader(data)
	list := reader(r.vector(2))
	if r == nil || len(r) > 0 || len(list) == 0 {
		return "", errHello
	}
	name := ""
	for len(list) > 0 {
		kind := list[0]
		list.skip(1)
		value := list.vector(2)
		switch {
		case list == nil || kind == 0 && name != "" || kind == 0 && (len(value) == 0 || len(value) > maxName):
			return "", errHello
		case kind == 0:
			lower, ok := lowered(value)
			if !ok {
				return "", errHello
			}
			name = lower
		}
	}
	return name, nil
}

// lowered is a host name in lower case, if it has no characters but those that
// names and addresses have: it gets into logs.
func lowered(value []byte) (string, bool) {
	name := make([]byte, len(value))
	for i, c := range value {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == ':':
		default:
			return "", false
		}
		name[i] = c
	}
	return string(name), true
}

// reader takes parts off the front of a message. It is nil once one was missing.
type reader []byte

func (r *reader) skip(n int) {
	if len(*r) < n {
		*r = nil
		return
	}
	*r = (*r)[n:]
}

// number takes a number of two bytes.
func (r *reader) number() int {
	if len(*r) < 2 {
		*r = nil
		return -1
	}
	n := int(binary.BigEndian.Uint16(*r))
	*r = (*r)[2:]
	return n
}

// vector takes bytes whose length is in front of them, in size bytes.
func (r *reader) vector(size int) []byte {
	if len(*r) < size {
		*r = nil
		return nil
	}
	n := 0
	for _, b := range (*r)[:size] {
		n = n<<8 | int(b)
	}
	rest := (*r)[size:]
	if len(rest) < n {
		*r = nil
		return nil
	}
	*r = rest[n:]
	return rest[:n]
}
