// Package http2 speaks HTTP/2 (RFC 9113) as a machine without I/O: bytes in,
// events and bytes out. A [Machine] is one end of a connection, as server or as
// client. It knows frames, streams, windows, field sections and what is malformed,
// and nothing of sockets, clocks or messages.
//
// A connection's window is given back as bytes arrive, a stream's as they are
// consumed: a stream whose reader has stopped holds up to its own window and
// never holds up another one. Windows times streams bounds what a connection holds.
//
// Priorities, and push, are parsed and ignored (RFC 9113 §5.3.2, §8.4).
package http2
