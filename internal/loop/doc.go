// Package loop runs sockets, readiness and timers: one [Loop] per core, each
// an event loop that calls everything that belongs to it one callback at a
// time on one goroutine, so that what runs on a loop needs no locks. It knows
// nothing of HTTP.
//
// Two drivers run the same code. The epoll driver (Linux) owns its sockets and
// calls recv and send itself; the go driver pumps net.Conns by goroutines, runs
// everywhere and is the reference in differential tests. A loop of either
// driver can also hold pumped connections ([Loop.Attach]), and virtual ones
// ([Loop.Carry]), whose bytes somebody else carries.
//
// A pass of a loop: wait for readiness; for every ready connection call its
// handler, then the tasks of [Loop.AfterEvent]; run expired timers and posted
// functions, and call the handlers of virtual connections that are ready (each
// followed by AfterEvent tasks too); then the tasks of
// [Loop.AfterEvents]; last, those of [Loop.AfterPass]. Live bytes are written
// when all events have been handled, or after their own if they are many, and
// copies after them, so that a client's bytes always go first.
package loop
