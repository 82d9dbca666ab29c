// Package preface reads and writes what comes before a connection's own bytes,
// without I/O: the PROXY header by which a load balancer tells of its client, and
// the ClientHello that names the server a TLS client wants. Input is any front
// part of a stream: a parser either needs more of it, within a bound, or is done.
package preface
