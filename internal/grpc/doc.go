// Package grpc knows what of gRPC a proxy needs that does not look into
// messages: what is a call, what its deadline is, how it ended, and where its
// messages end. It does no I/O, holds no connection, and is about gRPC over HTTP
// as the proxy sees it, head, body and trailers; how those travel is the wire's
// business. gRPC-Web is ordinary HTTP here.
package grpc
