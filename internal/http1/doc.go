// Package http1 is HTTP/1.1 on the wire as machines without I/O: bytes in,
// events and bytes out. It knows nothing of sockets, routes or mirrors.
//
// [Request] and [Response] parse heads in place and incrementally, [Body]
// finds where a body ends, [AppendRequest] and [AppendResponse] write the head
// that goes to the other side, [Edit] holds compiled header changes. Feeding
// any split of the same bytes gives the same result, and total work is linear
// in the bytes, whatever the split.
//
// Reading is strict (RFC 9110, RFC 9112): whatever two readers could frame
// differently is an [Error], never a guess, because a proxy that guesses lets
// one request hide inside another. Errors are static values.
//
// What is written is framed anew: Content-Length, Transfer-Encoding,
// Connection and everything else that belongs to one connection is left out
// and regenerated; all other fields keep their order, case and spacing.
//
// Nothing here allocates in steady state and nothing is safe for concurrent
// use, except [Edit] and [Limits], which are read-only and may be shared.
//
//	var r http1.Request
//	n, err := r.Parse(buf, nil)         // again with more bytes while n == 0 and err == nil
//	body := r.Body()
//	data, used, err := body.Decode(buf[n:]) // until body.Done()
//	out = http1.AppendRequest(out, &r, nil, nil)
package http1
