// Package demo is a small shop, a shadow version of it with faults planted, and
// people who use it: something to mirror for whoever has nothing at hand yet.
// It knows nothing of the proxy between them.
package demo
