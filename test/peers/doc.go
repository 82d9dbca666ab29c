// Package peers has programs that people use speak HTTP with a built proxy: curl,
// nghttp, openssl and grpcurl. They run with the build tag peers.
package peers
