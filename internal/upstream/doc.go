// Package upstream reaches backends: their endpoints, connection pools,
// balancing and passive health. It carries bytes and HTTP/1.1 answers; what a
// request means, and whether it is live or a copy, is its callers' business.
//
// A [Registry] holds what all event loops share about backends. Each loop has
// a [Client] (two: one for live requests and one for copies), through which it
// sends a [Call]: the caller fills Call.Out with a request, and hears through
// its [Caller] methods of the answer as it comes. Everything but Registry,
// Backend and Endpoint belongs to one loop, and nothing here allocates for a
// call on a pooled connection.
package upstream
