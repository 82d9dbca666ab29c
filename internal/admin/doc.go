// Package admin is the operator's side of a proxy: health, metrics, status and
// the configuration in force, and what was learned by comparing answers, as JSON
// over HTTP. It only reads, but for one thing: what was learned can be forgotten.
//
// It runs on goroutines of its own and reaches the proxy through [Proxy] alone.
// It is bound to loopback by default; on any other address it wants a token.
// On loopback it answers only to names of this machine, so that a web page
// cannot read it by pointing a name of its own here.
package admin
