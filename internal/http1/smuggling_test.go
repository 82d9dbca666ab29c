package http1

import (
	"strings"
	"testing"
)

// malformed is a message that must be refused, and what for.
type malformed struct {
	name, in string
	status   int
	reason   string
}

// get is a request with the given lines between its Host and its end.
func get(lines ...string) string {
	return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// post is a POST with the given lines, followed by body.
func post(body string, lines ...string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// chunks is a chunked POST with the given body.
func chunks(body string) string { return post(body, "Transfer-Encoding: chunked") }

// line is a request with the given request line.
func line(s string) string { return s + "\r\nHost: a\r\n\r\n" }

var malformedRequests = []malformed{
	// Content-Length.
	{"repeated equal length", post("abc", "Content-Length: 3", "Content-Length: 3"), 400, "repeated Content-Length"},
	{"conflicting lengths", post("abc", "Content-Length: 3", "Content-Length: 0"), 400, "repeated Content-Length"},
	{"conflicting lengths in another case", post("abc", "content-length: 3", "CONTENT-LENGTH: 5"), 400, "repeated Content-Length"},
	{"list of equal lengths", post("abc", "Content-Length: 3, 3"), 400, "invalid Content-Length"},
	{"list of different lengths", post("abc", "Content-Length: 3,5"), 400, "invalid Content-Length"},
	{"length with plus", post("abc", "Content-Length: +3"), 400, "invalid Content-Length"},
	{"length with minus", post("abc", "Content-Length: -3"), 400, "invalid Content-Length"},
	{"negative zero length", post("", "Content-Length: -0"), 400, "invalid Content-Length"},
	{"hexadecimal length", post("abc", "Content-Length: 0x3"), 400, "invalid Content-Length"},
	{"hexadecimal digit in length", post("abc", "Content-Length: a"), 400, "invalid Content-Length"},
	{"empty length", post("abc", "Content-Length:"), 400, "invalid Content-Length"},
	{"blank length", post("abc", "Content-Length:  \t "), 400, "invalid Content-Length"},
	{"space inside length", post("abc", "Content-Length: 1 0"), 400, "invalid Content-Length"},
	{"fraction in length", post("abc", "Content-Length: 3.0"), 400, "invalid Content-Length"},
	{"exponent in length", post("abc", "Content-Length: 3e0"), 400, "invalid Content-Length"},
	{"underscore in length", post("abc", "Content-Length: 1_0"), 400, "invalid Content-Length"},
	{"quoted length", post("abc", `Content-Length: "3"`), 400, "invalid Content-Length"},
	{"length over 64 bits", post("abc", "Content-Length: 18446744073709551619"), 400, "invalid Content-Length"},
	{"length over 63 bits", post("abc", "Content-Length: 9223372036854775808"), 400, "invalid Content-Length"},
	{"non-ASCII digits in length", post("abc", "Content-Length: \xd9\xa3"), 400, "invalid Content-Length"},
	{"vertical tab before length", post("abc", "Content-Length: \v3"), 400, "control character in field value"},
	{"second length after others", post("abc", "Content-Length: 3", "X: y", "Content-Length: 4"), 400, "repeated Content-Length"},

	// Content-Length and Transfer-Encoding.
	{"length, then coding", post("0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), 400, "Content-Length with Transfer-Encoding"},
	{"coding, then length", post("0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"), 400, "Content-Length with Transfer-Encoding"},
	{"coding, then zero length", post("0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 0"), 400, "Content-Length with Transfer-Encoding"},
	{"unknown coding with length", post("abc", "Transfer-Encoding: xchunked", "Content-Length: 3"), 400, "Content-Length with Transfer-Encoding"},
	{"length named in Connection, with coding", post("0\r\n\r\n", "Connection: content-length", "Content-Length: 5", "Transfer-Encoding: chunked"), 400, "Content-Length with Transfer-Encoding"},

	// Transfer-Encoding.
	{"identity", post("abc", "Transfer-Encoding: identity"), 400, "chunked is not the last transfer coding"},
	{"gzip alone", post("abc", "Transfer-Encoding: gzip"), 400, "chunked is not the last transfer coding"},
	{"gzip, chunked", post("0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), 501, "unsupported transfer coding"},
	{"gzip, chunked in two fields", post("0\r\n\r\n", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), 501, "unsupported transfer coding"},
	{"chunked, gzip", post("0\r\n\r\n", "Transfer-Encoding: chunked, gzip"), 400, "chunked is not the last transfer coding"},
	{"chunked, identity in two fields", post("0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400, "chunked is not the last transfer coding"},
	{"chunked twice", post("0\r\n\r\n", "Transfer-Encoding: chunked, chunked"), 400, "chunked applied twice"},
	{"chunked twice in two fields", post("0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, "chunked applied twice"},
	{"x before chunked", post("0\r\n\r\n", "Transfer-Encoding: xchunked"), 400, "chunked is not the last transfer coding"},
	{"chunked with a parameter", post("0\r\n\r\n", "Transfer-Encoding: chunked;q=1"), 400, "malformed Transfer-Encoding"},
	{"quoted chunked", post("0\r\n\r\n", `Transfer-Encoding: "chunked"`), 400, "malformed Transfer-Encoding"},
	{"empty coding", post("0\r\n\r\n", "Transfer-Encoding:"), 400, "malformed Transfer-Encoding"},
	{"empty element before chunked", post("0\r\n\r\n", "Transfer-Encoding: , chunked"), 400, "malformed Transfer-Encoding"},
	{"empty element after chunked", post("0\r\n\r\n", "Transfer-Encoding: chunked,"), 400, "malformed Transfer-Encoding"},
	{"vertical tab before chunked", post("0\r\n\r\n", "Transfer-Encoding: \vchunked"), 400, "control character in field value"},
	{"NUL after chunked", post("0\r\n\r\n", "Transfer-Encoding: chunked\x00"), 400, "NUL in field value"},
	{"form feed after the name", post("0\r\n\r\n", "Transfer-Encoding\f: chunked"), 400, "invalid character in field name"},
	{"space after the name", post("0\r\n\r\n", "Transfer-Encoding : chunked"), 400, "whitespace before colon"},
	{"tab after the name", post("0\r\n\r\n", "Transfer-Encoding\t: chunked"), 400, "whitespace before colon"},
	{"folded coding", post("0\r\n\r\n", "Transfer-Encoding:", " chunked"), 400, "malformed Transfer-Encoding"},
	{"non-ASCII letter in chunked", post("0\r\n\r\n", "Transfer-Encoding: chun\xe2\x84\xaaed"), 400, "malformed Transfer-Encoding"},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding in HTTP/1.0"},

	// Lines and fields.
	{"LF ends a field line", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "line ends with LF without CR"},
	{"LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "line ends with LF without CR"},
	{"LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "line ends with LF without CR"},
	{"all lines end with LF", "GET / HTTP/1.1\nHost: a\n\n", 400, "line ends with LF without CR"},
	{"LF inside a value", get("X: a\nContent-Length: 5"), 400, "line ends with LF without CR"},
	{"CR inside a value", get("X: a\rContent-Length: 5"), 400, "CR without LF"},
	{"CR inside a name", get("X\ry: a"), 400, "CR without LF"},
	{"CR before CRLF", get("X: a\r"), 400, "CR without LF"},
	{"CR in the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400, "CR without LF"},
	{"NUL in a value", get("X: a\x00b"), 400, "NUL in field value"},
	{"NUL in a long value after a tab", get("X: aaaaaaaaaaaaaaaa\taaaaaaaaaaa\x00b"), 400, "NUL in field value"},
	{"NUL in a name", get("X\x00: a"), 400, "invalid character in field name"},
	{"DEL in a value", get("X: a\x7fb"), 400, "control character in field value"},
	{"escape in a value", get("X: \x1b[31m"), 400, "control character in field value"},
	{"folded value", get("X: a", " b"), 400, "line starts with whitespace"},
	{"value folded with a tab", get("X: a", "\tb"), 400, "line starts with whitespace"},
	{"whitespace before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "line starts with whitespace"},
	{"line of whitespace", get(" "), 400, "line starts with whitespace"},
	{"empty name", get(": a"), 400, "empty field name"},
	{"no colon", get("Content-Length"), 400, "field without colon"},
	{"no colon, with space", get("Content-Length 5"), 400, "field without colon"},
	{"space in a name", get("Content Length: 5"), 400, "whitespace before colon"},
	{"quote in a name", get(`"X": a`), 400, "invalid character in field name"},
	{"slash in a name", get("X/Y: a"), 400, "invalid character in field name"},
	{"bracket in a name", get("X[0]: a"), 400, "invalid character in field name"},
	{"non-ASCII in a name", get("X\xe9: a"), 400, "invalid character in field name"},
	{"request line in place of a field", get("GET /admin HTTP/1.1"), 400, "field without colon"},

	// Host.
	{"no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, "missing Host"},
	{"no fields", "GET / HTTP/1.1\r\n\r\n", 400, "missing Host"},
	{"no Host with absolute form", "GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n", 400, "missing Host"},
	{"two equal Hosts", get("Host: a"), 400, "repeated Host"},
	{"two Hosts", get("Host: b"), 400, "repeated Host"},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "repeated Host"},
	{"two Hosts with absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, "repeated Host"},
	{"list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "invalid Host"},
	{"user information in Host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "invalid Host"},
	{"path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "invalid Host"},
	{"space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "invalid Host"},
	{"non-ASCII Host", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400, "invalid Host"},
	{"letters in Host's port", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", 400, "invalid Host"},
	{"Host's port too large", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "invalid Host"},
	{"two ports in Host", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400, "invalid Host"},
	{"port without Host", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "invalid Host"},
	{"open bracket in Host", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "invalid Host"},
	{"text after the bracket in Host", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", 400, "invalid Host"},
	{"zone in Host", "GET / HTTP/1.1\r\nHost: [fe80::1%eth0]\r\n\r\n", 400, "invalid Host"},
	{"no colons in brackets", "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", 400, "invalid Host"},

	// Request line.
	{"no version", line("GET /"), 400, "malformed request line"},
	{"nothing but a method", line("GET"), 400, "malformed request line"},
	{"empty target", line("GET  HTTP/1.1"), 400, "malformed request line"},
	{"two spaces before the target", line("GET  / HTTP/1.1"), 400, "malformed request line"},
	{"two spaces before the version", line("GET /  HTTP/1.1"), 400, "malformed protocol version"},
	{"space after the version", line("GET / HTTP/1.1 "), 400, "malformed protocol version"},
	{"space in the target", line("GET /a b HTTP/1.1"), 400, "malformed protocol version"},
	{"request hidden in the target", line("GET / HTTP/1.1 HTTP/1.1"), 400, "malformed protocol version"},
	{"tab before the target", line("GET\t/ HTTP/1.1"), 400, "invalid character in method"},
	{"tab before the version", line("GET /\tHTTP/1.1"), 400, "malformed request line"},
	{"space before the method", " " + line("GET / HTTP/1.1"), 400, "message does not start with a token"},
	{"colon in the method", line("GE:T / HTTP/1.1"), 400, "invalid character in method"},
	{"non-ASCII method", line("G\xc9T / HTTP/1.1"), 400, "invalid character in method"},
	{"method too long", line(strings.Repeat("M", 65) + " / HTTP/1.1"), 501, "method too long"},
	{"version 2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported protocol version"},
	{"version 1.2", line("GET / HTTP/1.2"), 505, "unsupported protocol version"},
	{"version 0.9", line("GET / HTTP/0.9"), 505, "unsupported protocol version"},
	{"version 1.10", line("GET / HTTP/1.10"), 400, "malformed protocol version"},
	{"version 1", line("GET / HTTP/1"), 400, "malformed protocol version"},
	{"version 1,1", line("GET / HTTP/1,1"), 400, "malformed protocol version"},
	{"version in lower case", line("GET / http/1.1"), 400, "malformed protocol version"},
	{"another protocol", line("GET / ICAP/1.1"), 400, "malformed protocol version"},
	{"two empty lines before", "\r\n\r\n" + line("GET / HTTP/1.1"), 400, "more than one empty line before the message"},
	{"LF before", "\n" + line("GET / HTTP/1.1"), 400, "line ends with LF without CR"},
	{"CR before", "\r" + line("GET / HTTP/1.1"), 400, "CR without LF"},
	{"TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "message does not start with a token"},
	{"status line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, "invalid character in method"},

	// Target.
	{"fragment", line("GET /a#b HTTP/1.1"), 400, "fragment in request target"},
	{"NUL in the target", line("GET /a\x00b HTTP/1.1"), 400, "invalid character in request target"},
	{"CR in the target", line("GET /a\rb HTTP/1.1"), 400, "invalid character in request target"},
	{"DEL in the target", line("GET /\x7f HTTP/1.1"), 400, "invalid character in request target"},
	{"vertical tab in the target", line("GET /\v HTTP/1.1"), 400, "invalid character in request target"},
	{"non-ASCII in the target", line("GET /\xc3\xa4 HTTP/1.1"), 400, "invalid character in request target"},
	{"target without slash", line("GET a HTTP/1.1"), 400, "request target does not fit the method"},
	{"target of a query only", line("GET ?a HTTP/1.1"), 400, "request target does not fit the method"},
	{"backslash in place of slash", line(`GET \a HTTP/1.1`), 400, "request target does not fit the method"},
	{"asterisk with GET", line("GET * HTTP/1.1"), 400, "request target does not fit the method"},
	{"asterisk and more", line("OPTIONS *a HTTP/1.1"), 400, "request target does not fit the method"},
	{"authority with GET", line("GET a:80 HTTP/1.1"), 400, "request target does not fit the method"},
	{"another scheme", line("GET ftp://a/ HTTP/1.1"), 400, "request target does not fit the method"},
	{"scheme without authority", line("GET http:/a HTTP/1.1"), 400, "request target does not fit the method"},
	{"empty authority", line("GET http:// HTTP/1.1"), 400, "request target does not fit the method"},
	{"empty authority with path", line("GET http:///a HTTP/1.1"), 400, "invalid authority in request target"},
	{"user information in the target", line("GET http://a@b/ HTTP/1.1"), 400, "invalid authority in request target"},
	{"backslash in the authority", line(`GET http://a\@b/ HTTP/1.1`), 400, "invalid authority in request target"},
	{"CONNECT to a path", line("CONNECT /a HTTP/1.1"), 400, "invalid authority in request target"},
	{"CONNECT without port", line("CONNECT a HTTP/1.1"), 400, "invalid authority in request target"},
	{"CONNECT with empty port", line("CONNECT a: HTTP/1.1"), 400, "invalid authority in request target"},
	{"CONNECT with absolute form", line("CONNECT http://a:80 HTTP/1.1"), 400, "invalid authority in request target"},
	{"CONNECT with query", line("CONNECT a:80?b HTTP/1.1"), 400, "invalid authority in request target"},

	// Expect and Connection.
	{"unknown expectation", post("abc", "Expect: 200-ok", "Content-Length: 3"), 417, "unsupported expectation"},
	{"two expectations", post("abc", "Expect: 100-continue, x", "Content-Length: 3"), 417, "unsupported expectation"},
	{"empty expectation", post("abc", "Expect:", "Content-Length: 3"), 417, "unsupported expectation"},
	{"names without end in Connection", get("Connection: " + strings.Repeat("x-a,", 33)), 400, "too many connection options"},

	// Chunks.
	{"chunk size with plus", chunks("+3\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"chunk size with minus", chunks("-3\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"chunk size with 0x", chunks("0x3\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"chunk size with underscore", chunks("0_3\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"chunk size not hexadecimal", chunks("g\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"empty chunk size", chunks("\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"extension without chunk size", chunks(";a\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"space before chunk size", chunks(" 3\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"space after chunk size", chunks("3 \r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"tab after chunk size", chunks("3\t\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"space before an extension", chunks("3 ;a\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"comma after chunk size", chunks("3,a\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"NUL after chunk size", chunks("3\x00\r\nabc\r\n0\r\n\r\n"), 400, "invalid chunk size"},
	{"chunk size over 63 bits", chunks("8000000000000000\r\nabc"), 400, "chunk size too large"},
	{"chunk size of all ones", chunks("ffffffffffffffff\r\nabc"), 400, "chunk size too large"},
	{"chunk size that wraps", chunks("10000000000000003\r\nabc\r\n0\r\n\r\n"), 400, "chunk size too large"},
	{"chunk size of 17 digits", chunks("00000000000000003\r\nabc\r\n0\r\n\r\n"), 400, "chunk size too large"},
	{"chunk size ends with LF", chunks("3\nabc\r\n0\r\n\r\n"), 400, "chunk line does not end with CRLF"},
	{"CR in chunk line", chunks("3\rabc\r\n0\r\n\r\n"), 400, "chunk line does not end with CRLF"},
	{"last chunk ends with LF", chunks("3\r\nabc\r\n0\n\r\n"), 400, "chunk line does not end with CRLF"},
	{"LF in an extension", chunks("3;a\nabc\r\n0\r\n\r\n"), 400, "invalid character in chunk extension"},
	{"LF in a quoted extension", chunks("3;a=\"\nb\"\r\nabc\r\n0\r\n\r\n"), 400, "invalid character in chunk extension"},
	{"CR in an extension", chunks("3;a\rb\r\nabc\r\n0\r\n\r\n"), 400, "chunk line does not end with CRLF"},
	{"NUL in an extension", chunks("3;a\x00\r\nabc\r\n0\r\n\r\n"), 400, "invalid character in chunk extension"},
	{"non-ASCII in an extension", chunks("3;\xff\r\nabc\r\n0\r\n\r\n"), 400, "invalid character in chunk extension"},
	{"extension of 257 bytes", chunks("3;" + strings.Repeat("a", 257) + "\r\nabc\r\n0\r\n\r\n"), 400, "chunk extensions too long"},
	{"extensions that outweigh the data", chunks(strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 30)), 400, "chunk extensions too long"},
	{"data longer than its chunk", chunks("3\r\nabcd\r\n0\r\n\r\n"), 400, "chunk data not followed by CRLF"},
	{"LF after data", chunks("3\r\nabc\n0\r\n\r\n"), 400, "chunk data not followed by CRLF"},
	{"CR after data", chunks("3\r\nabc\r0\r\n\r\n"), 400, "chunk data not followed by CRLF"},
	{"nothing after data", chunks("3\r\nabc0\r\n\r\n"), 400, "chunk data not followed by CRLF"},

	// Trailer sections.
	{"LF ends a trailer", chunks("0\r\nX: a\n\r\n"), 400, "line ends with LF without CR"},
	{"LF ends the trailer section", chunks("0\r\n\n"), 400, "line ends with LF without CR"},
	{"CR in a trailer", chunks("0\r\nX: a\rb\r\n\r\n"), 400, "CR without LF"},
	{"folded trailer", chunks("0\r\nX: a\r\n b\r\n\r\n"), 400, "line starts with whitespace"},
	{"trailer without colon", chunks("0\r\nGET /admin HTTP/1.1\r\n\r\n"), 400, "field without colon"},
	{"space before a trailer's colon", chunks("0\r\nX : a\r\n\r\n"), 400, "whitespace before colon"},
	{"NUL in a trailer", chunks("0\r\nX: \x00\r\n\r\n"), 400, "NUL in field value"},
	{"NUL in a forbidden trailer", chunks("0\r\nHost: \x00\r\n\r\n"), 400, "NUL in field value"},
	{"trailer section too long", chunks("0\r\n" + strings.Repeat("X: 0123456789\r\n", 600) + "\r\n"), 431, "trailer section too long"},
}

func TestRefusesMalformedRequests(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range malformedRequests {
		if seen[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		seen[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := everySplit(t, c.in, requests)
			if m.Status != c.status || m.Reason != c.reason {
				t.Errorf("%q: got %d %q, want %d %q", c.in, m.Status, m.Reason, c.status, c.reason)
			}
		})
	}
}

// An error must not wait for bytes behind the line that it is in: whoever
// sends half a bad request gets the answer now.
func TestRefusesAsSoonAsTheLineIsComplete(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"\x16", "\n", "\r\n\r", "GET / HTTP/1.2\r\n", "GET * HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\n",
		"GET / HTTP/1.1\r\nHost : a\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n",
		"POST / HTTP/1.1\r\nExpect: x\r\n",
	} {
		if m := requests(in); m.Status == 0 {
			t.Errorf("%q: no error yet", in)
		}
		if m := requests(in[:len(in)-1]); m.Status != 0 {
			t.Errorf("%q: %s before its last byte", in, m.Reason)
		}
	}
}

var malformedResponses = []malformed{
	{"repeated equal length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 502, "repeated Content-Length"},
	{"conflicting lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 502, "repeated Content-Length"},
	{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", 502, "invalid Content-Length"},
	{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "Content-Length with Transfer-Encoding"},
	{"coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "Transfer-Encoding in HTTP/1.0"},
	{"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502, "unsupported transfer coding"},
	{"identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", 502, "chunked is not the last transfer coding"},
	{"empty line before", "\r\nHTTP/1.1 200 OK\r\n\r\n", 502, "malformed status line"},
	{"body of the response before", "hello", 502, "malformed status line"},
	{"two-digit status", "HTTP/1.1 20 OK\r\n\r\n", 502, "malformed status line"},
	{"four-digit status", "HTTP/1.1 2000 OK\r\n\r\n", 502, "malformed status line"},
	{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", 502, "malformed status line"},
	{"signed status", "HTTP/1.1 +20 OK\r\n\r\n", 502, "malformed status line"},
	{"two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", 502, "malformed status line"},
	{"tab before the status", "HTTP/1.1\t200 OK\r\n\r\n", 502, "malformed status line"},
	{"no status", "HTTP/1.1\r\n\r\n", 502, "malformed status line"},
	{"version 2.0", "HTTP/2.0 200 OK\r\n\r\n", 502, "unsupported protocol version"},
	{"ICY", "HICY/1.0 200 OK\r\n\r\n", 502, "malformed protocol version"},
	{"NUL in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", 502, "invalid character in reason phrase"},
	{"CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", 502, "invalid character in reason phrase"},
	{"LF ends the status line", "HTTP/1.1 200 OK\nA: b\r\n\r\n", 502, "line ends with LF without CR"},
	{"LF ends a field line", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", 502, "line ends with LF without CR"},
	{"CR in a value", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n", 502, "CR without LF"},
	{"folded value", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 502, "line starts with whitespace"},
	{"space before colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 502, "whitespace before colon"},
	{"head without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 129) + "\r\n", 502, "too many fields"},
	{"bad chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", 502, "invalid chunk size"},
	{"bad trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA\r\n\r\n", 502, "field without colon"},
}

func TestRefusesMalformedResponses(t *testing.T) {
	t.Parallel()
	for _, c := range malformedResponses {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := everySplit(t, c.in, responses)
			if m.Status != c.status || m.Reason != c.reason {
				t.Errorf("%q: got %d %q, want %d %q", c.in, m.Status, m.Reason, c.status, c.reason)
			}
		})
	}
}
