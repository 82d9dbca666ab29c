// Package mirror decides which requests are copied, copies them, queues and
// sends the copies, and joins the answers into an exchange. Nothing here ever
// makes a live request wait: every queue is bounded, every offer is answered at
// once, and what does not fit is dropped and counted.
//
// A [Policy] is one mirror of one rule, compiled. Its [State] holds what all
// event loops share about the mirror (bounds, breaker) and outlives
// configurations. Each loop has a [Dispatcher], which takes a [Copy] by Offer
// and sees it through to the one [traffic.Fate] that it ends with.
//
//	Offer ── skipped (not selected)
//	  └─ selected ─┬─ dropped   (a bound, the breaker, the client left, shutdown)
//	               ├─ failed    (connect, timeout, reset, protocol)
//	               └─ completed
package mirror
