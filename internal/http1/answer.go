package http1

import "strconv"

// Answer is a response of our own, in plain text.
type Answer struct {
	Status int
	// Body is text, without a line end; empty for none.
	Body string
	// Extra holds "Name: value\r\n" lines, such as Location.
	Extra []byte
	// Close says that the connection closes after this answer.
	Close bool
	// KeepAlive10 says that the client speaks HTTP/1.0 and asked for keep-alive.
	KeepAlive10 bool
	// HeadOnly leaves the body out, as the answer to HEAD.
	HeadOnly bool
}

// Append appends the answer, head and body.
func (a *Answer) Append(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, StatusText(a.Status)...)
	dst = append(dst, "\r\n"...)
	length := int64(0)
	if a.Body != "" {
		dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\n"...)
		length = int64(len(a.Body) + 1)
	}
	if a.Status >= 200 && a.Status != 204 {
		dst = appendLength(dst, length)
	}
	switch {
	case a.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case a.KeepAlive10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	dst = append(dst, a.Extra...)
	dst = append(dst, "\r\n"...)
	if a.Body == "" || a.HeadOnly {
		return dst
	}
	dst = append(dst, a.Body...)
	return append(dst, '\n')
}

// StatusText returns the reason phrase of the statuses that a proxy answers
// with, and "Status" for others, since the phrase carries no meaning.
func StatusText(status int) string {
	switch status {
	case 100:
		return "Continue"
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 303:
		return "See Other"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 417:
		return "Expectation Failed"
	case 421:
		return "Misdirected Request"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Status"
}
