// Package proxy accepts clients, carries their requests to primaries and the
// answers back, and hands copies to mirrors: the hot path. A [Server] runs one
// worker per event loop; a worker owns its clients, its connections to backends
// and its books, so that a request crosses no lock and no goroutine.
//
// The life of a request:
//
//	client.consume   bytes become a head, then parts of a body
//	request.begin    route, pick a backend, build the head for the primary
//	mirror.Offer     per mirror: skip, drop, or start a copy
//	upstream.Send    the primary's bytes leave after the pass's events, copies after them
//	request.Answer   the primary's head becomes the client's
//	request.Data     its body streams; a slow client pauses the primary, never the other way round
//	request.complete the last byte was taken by the client's socket: count, log, next request
package proxy
