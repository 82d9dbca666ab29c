// Package session binds a connection that carries HTTP/2 to virtual connections
// that carry HTTP/1.1, one for each stream at a time, so that whoever speaks
// HTTP/1.1 over a [loop.Conn] speaks HTTP/2 without knowing.
//
// A [Session] is one HTTP/2 connection. Its virtual connections are lanes: on a
// server's lane the requests of clients arrive as text and answers leave as frames,
// on a client's lane it is the other way round. A lane carries one exchange after
// another, like a kept-alive connection, and a session has as many as there were
// streams at one time: a stream costs no connection to be set up.
//
//	frames ─ http2.Machine ─ Session ─┬─ lane ─ HTTP/1.1 ─ proxy's client, or upstream's Conn
//	                                  ├─ lane
//	                                  └─ lane
//
// What comes for a lane waits there, up to the stream's window, until it is read;
// what leaves waits in the lane until windows and the socket take it, and a lane
// that holds enough takes no more. No lane waits for another one's reader.
package session
