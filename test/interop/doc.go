// Package interop holds gRPC's own interoperability tests against the proxy: its
// client and its server as they come, with the proxy between them and a second
// server as the shadow.
package interop
