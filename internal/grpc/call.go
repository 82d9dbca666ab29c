package grpc

import (
	"bytes"
	"time"
)

// The fields of a call, in lower case.
const (
	StatusField  = "grpc-status"
	MessageField = "grpc-message"
	TimeoutField = "grpc-timeout"
)

// ContentType is what every call has, maybe with a format behind it.
const ContentType = "application/grpc"

// IsCall says whether a request with that method and content type is a call.
func IsCall(method, contentType []byte) bool {
	if string(method) != "POST" || len(contentType) < len(ContentType) || !bytes.EqualFold(contentType[:len(ContentType)], contentTypeBytes) {
		return false
	}
	if len(contentType) == len(ContentType) {
		return true
	}
	switch contentType[len(ContentType)] {
	case '+', ';', ' ', '\t':
		return true
	}
	return false // application/grpc-web is something else
}

var contentTypeBytes = []byte(ContentType)

// Method returns the service and the method that a call's path names, which is
// /service/method; false if it is anything else.
func Method(path []byte) (service, method []byte, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return nil, nil, false
	}
	service, method, ok = bytes.Cut(path[1:], slash)
	if !ok || len(service) == 0 || len(method) == 0 || bytes.IndexByte(method, '/') >= 0 {
		return nil, nil, false
	}
	return service, method, true
}

var slash = []byte("/")

// Timeout reads a value of TimeoutField: up to eight digits and a unit. A
// timeout of none at all is 1 ns, so that 0 can mean that there is no timeout.
func Timeout(value []byte) (d time.Duration, ok bool) {
	last := len(value) - 1
	if last < 1 || last > 8 {
		return 0, false
	}
	n := int64(0)
	for _, c := range value[:last] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	var unit time.Duration
	switch value[last] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	// A hundred million hours are more than a Duration holds.
	return time.Duration(max(min(n, int64(longest/unit))*int64(unit), 1)), true
}

// longest is more than anybody waits, and far from an overflow of a clock.
const longest = 365 * 24 * time.Hour
