// Package websocket speaks as much of the WebSocket protocol (RFC 6455) as
// copying one needs, as machines without I/O that allocate nothing: [Frames]
// finds where frames and messages end in one direction of a connection, so that
// it can be cut between them; [AppendControl] and [AppendClose] write the frames
// that a copy says by itself; [Accepts] and [Understands] check the answer to a
// handshake. It knows nothing of HTTP, sockets or mirrors, and never looks into
// a message.
package websocket
