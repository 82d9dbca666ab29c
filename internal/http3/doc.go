// Package http3 serves HTTP/3 on listeners of HTTPS, beside the event loops. QUIC
// and its streams are those of quic-go, on goroutines; each request enters the proxy
// as HTTP/1.1 on a virtual connection of a loop, and is served there like any other.
//
//	QUIC ─ http3.Server ─ exchange ─ line ═ HTTP/1.1 ═ proxy's client
//	                      goroutine  two blocks         loop
//
// A line carries one request and its answer and holds one block of bytes for each
// direction: whoever finds it full waits, on the goroutine's side by sleeping, on
// the loop's side for readiness. So a slow client, or a slow primary, stops the
// other one, and memory is bounded. The client's reset becomes a reset of the
// line, and an answer that is cut off becomes a reset of the stream.
//
// What arrives as a head was taken apart by the rules of HTTP/3; it is put together
// as text from validated fields, and the parser of HTTP/1.1 has the last word.
package http3
