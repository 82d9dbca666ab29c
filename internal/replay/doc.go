// Package replay sends recorded requests to a target again, at a chosen pace,
// and joins what the target answers now with what the primary answered then into
// exchanges like those of a mirror.
//
// Four parts hand requests on. A reader takes exchanges from a [Source], puts
// them into the order of their beginning and leaves out what is not to be sent.
// A scheduler, one goroutine, knows when each is due since the replay began, and
// never waits for a target: what it cannot hand on it counts. A crew keeps the
// requests of a session in order while those of others overtake. A courier sends
// one request and measures.
//
//	Source ─ reader ─ scheduler ─ crew ─┬─ courier ── target
//	                                    └─ courier ── target ─ Sink
package replay
