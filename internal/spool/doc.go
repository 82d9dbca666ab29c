// Package spool keeps bounded copies of bytes that flow past without slowing
// them: reference-counted, immutable blocks ([Buffer]) feed the primary and
// every shadow, a [Queue] holds what waits for one socket, an [Inbox] what was
// read and not yet understood, an [Arena] what is kept to be looked at later, and
// a [Budget] bounds what copies may hold over all event loops.
//
// A [Pool] and everything that came from it belong to one event loop: nothing
// here but Budget may be used by two goroutines, and an Arena by one after the
// other. In steady state nothing here allocates.
package spool
