package proxy

import "strings"

// canary is the request that a smuggler wants to get through. It follows every
// malformed request.
const canary = "GET /canary HTTP/1.1\r\nHost: a\r\nX-Request-Id: canary\r\n\r\n"

// malformed is a request that must be refused, with %s where its target is.
type malformed struct {
	name, request string
	status        int
}

// with is a POST with these lines in its head, and a body.
func with(body string, lines ...string) string {
	return "POST %s HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// smuggled is the second request inside a body.
const smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nX: "

// malformedHeads are refused before a backend hears of them.
var malformedHeads = []malformed{
	{"CL.TE", with(smuggled, "Content-Length: 6", "Transfer-Encoding: chunked"), 400},
	{"TE.CL", with(smuggled, "Transfer-Encoding: chunked", "Content-Length: 4"), 400},
	{"TE.CL in other cases", with(smuggled, "tRANSFER-eNCODING: CHUNKED", "content-LENGTH: 4"), 400},
	{"CL.CL", with("abc", "Content-Length: 3", "Content-Length: 7"), 400},
	{"equal CL.CL", with("abc", "Content-Length: 3", "Content-Length: 3"), 400},
	{"CL list", with("abc", "Content-Length: 3, 3"), 400},
	{"CL 0 and CL", with("abc", "Content-Length: 0", "X: y", "Content-Length: 3"), 400},
	{"CL named by Connection", with(smuggled, "Connection: Content-Length", "Content-Length: 5", "Transfer-Encoding: chunked"), 400},
	{"TE.TE identity", with(smuggled, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400},
	{"TE.TE twice", with(smuggled, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400},
	{"TE.TE cow", with(smuggled, "Transfer-Encoding: chunked", "Transfer-Encoding: cow"), 400},
	{"TE x", with(smuggled, "Transfer-Encoding: xchunked"), 400},
	{"TE with space before the colon", with(smuggled, "Transfer-Encoding : chunked"), 400},
	{"TE with tab before the colon", with(smuggled, "Transfer-Encoding\t: chunked"), 400},
	{"TE with vertical tab", with(smuggled, "Transfer-Encoding: \vchunked"), 400},
	{"TE folded", with(smuggled, "Transfer-Encoding:", " chunked"), 400},
	{"TE hidden by folding", with(smuggled, "X: y", " Transfer-Encoding: chunked"), 400},
	{"TE behind LF", with(smuggled, "X: y\nTransfer-Encoding: chunked"), 400},
	{"TE behind CR", with(smuggled, "X: y\rTransfer-Encoding: chunked"), 400},
	{"TE quoted", with(smuggled, "Transfer-Encoding: \"chunked\""), 400},
	{"TE with parameter", with(smuggled, "Transfer-Encoding: chunked;a=b"), 400},
	{"TE list", with(smuggled, "Transfer-Encoding: chunked, identity"), 400},
	{"TE with empty element", with(smuggled, "Transfer-Encoding: ,chunked"), 400},
	{"TE empty", with(smuggled, "Transfer-Encoding:"), 400},
	{"TE gzip, chunked", with(smuggled, "Transfer-Encoding: gzip, chunked"), 501},
	{"TE with NUL", with(smuggled, "Transfer-Encoding: chunked\x00"), 400},
	{"TE in HTTP/1.0", "POST %s HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled, 400},
	{"CL with plus", with("abc", "Content-Length: +3"), 400},
	{"CL with minus", with("abc", "Content-Length: -3"), 400},
	{"CL hexadecimal", with("abc", "Content-Length: 0x3"), 400},
	{"CL with a space inside", with("abc", "Content-Length: 1 1"), 400},
	{"CL empty", with("abc", "Content-Length:"), 400},
	{"CL over 64 bits", with("abc", "Content-Length: 18446744073709551619"), 400},
	{"CL over 63 bits", with("abc", "Content-Length: 9223372036854775811"), 400},
	{"CL of a thousand digits", with("abc", "Content-Length: "+strings.Repeat("0", 1000)+"3"), 400},
	{"CL with space before the colon", with("abc", "Content-Length : 3"), 400},
	{"CL without colon", with("abc", "Content-Length 3"), 400},
	{"name with NUL", with("", "X\x00: y"), 400},
	{"name with CR", with("", "X\r: y"), 400},
	{"name with a letter beyond ASCII", with("", "X\xe4: y"), 400},
	{"name empty", with("", ": y"), 400},
	{"name quoted", with("", "\"X\": y"), 400},
	{"value with NUL", with("", "X: y\x00z"), 400},
	{"value with DEL", with("", "X: y\x7fz"), 400},
	{"obs-fold", with("", "X: y", "\tz"), 400},
	{"fold before the first field", "GET %s HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	{"bare LF ends the head", "GET %s HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"bare LF everywhere", "GET %s HTTP/1.1\nHost: a\n\n", 400},
	{"bare CR ends the head", "GET %s HTTP/1.1\r\nHost: a\r\n\r\r\n", 400},
	{"bare CR ends lines", "GET %s HTTP/1.1\rHost: a\r\r\n", 400},
	{"two Hosts", with("", "Host: b"), 400},
	{"two equal Hosts", with("", "Host: a"), 400},
	{"two Hosts with absolute form", "GET http://b%s HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"no Host", "GET %s HTTP/1.1\r\nX: y\r\n\r\n", 400},
	{"Host list", "GET %s HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
	{"Host with user", "GET %s HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
	{"Host with path", "GET %s HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"absolute form with user", "GET http://a@b%s HTTP/1.1\r\nHost: b\r\n\r\n", 400},
	{"absolute form of another scheme", "GET file://a%s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form without authority", "GET http://%s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two spaces before the target", "GET  %s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two spaces before the version", "GET %s  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space after the version", "GET %s HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"space before the method", " GET %s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"tabs for spaces", "GET\t%s\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space in the target", "GET %s HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CR in the target", "GET %s\rX HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"NUL in the target", "GET %s\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"fragment", "GET %s#a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method with a bracket", "G(T %s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no version", "GET %s\r\nHost: a\r\n\r\n", 400},
	{"HTTP/0.9", "GET %s HTTP/0.9\r\nHost: a\r\n\r\n", 505},
	{"HTTP/1.10", "GET %s HTTP/1.10\r\nHost: a\r\n\r\n", 400},
	{"HTTP/2.0 without the rest of its preface", "PRI * HTTP/2.0\r\n\r\nAM\r\n\r\n", 505},
	{"lower-case version", "GET %s http/1.1\r\nHost: a\r\n\r\n", 400},
	{"empty lines in front", "\r\n\r\nGET %s HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"an answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"long target", "GET %s" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
	{"long head", with("", "X: "+strings.Repeat("a", 65<<10)), 431},
	{"many fields", with("", strings.TrimSuffix(strings.Repeat("X: y\r\n", 128), "\r\n")), 431},
	{"unknown expectation", with("abc", "Expect: 200-ok", "Content-Length: 3"), 417},
	{"too many options", with("", "Connection: "+strings.Repeat("a,", 33)+"b", "a: 1"), 400},
}

// malformedBodies begin like a request that may be passed on, and then break.
var malformedBodies = []malformed{
	{"no size", with("\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size with plus", with("+3\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size with 0x", with("0x3\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size with space before", with(" 3\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size with space behind", with("3 \r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size over 63 bits", with("8000000000000003\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size over 64 bits", with("10000000000000003\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size line ends with LF", with("3\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"size line ends with CR", with("3\rabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"LF in an extension", with("3;a\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"long extension", with("3;"+strings.Repeat("a", 300)+"\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"data too long", with("3\r\nabcd\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"data too short", with("5\r\nabc\r\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"data ends with LF", with("3\r\nabc\n"+smuggled, "Transfer-Encoding: chunked"), 400},
	{"last chunk ends with LF", with("0\n\r\nGET /smuggled", "Transfer-Encoding: chunked"), 400},
	{"trailer section ends with LF", with("0\r\n\nGET /smuggled", "Transfer-Encoding: chunked"), 400},
	{"trailer without colon", with("0\r\nGET /smuggled HTTP/1.1\r\n\r\n", "Transfer-Encoding: chunked"), 400},
	{"trailer folded", with("0\r\nX: y\r\n z\r\n\r\n", "Transfer-Encoding: chunked"), 400},
	{"trailer with space before the colon", with("0\r\nX : y\r\n\r\n", "Transfer-Encoding: chunked"), 400},
	{"trailer section too long", with("0\r\n"+strings.Repeat("X: 0123456789\r\n", 700), "Transfer-Encoding: chunked"), 431},
}
