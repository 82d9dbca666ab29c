// Package route compiles the routes of a [config.Config] to an immutable
// [Table] and finds the rule for a request in it, by the precedence of the
// Gateway API. It does no I/O, keeps no state between requests and decides
// nothing but which rule: what the rule then does is other rooms' work.
package route

import (
	"net/netip"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Headers gives access to a request's header fields without building a map.
type Headers interface {
	// Value is the i-th value of the header called name, which is given in
	// lower case; received names ignore case. False if there is none. The
	// view is only used until the next call.
	Value(name string, i int) ([]byte, bool)
}

// Request is what routing looks at. The slices are views of the caller's,
// needed only during a call. Reuse one Request for many requests by setting
// its fields: it keeps scratch space for the few requests that need some. A
// Request belongs to one goroutine.
type Request struct {
	Listener int        // index into Config.Listeners
	Host     []byte     // as received, with or without a port
	Method   []byte     // compared with case
	Path     []byte     // as received, without the query
	Query    []byte     // as received, without '?'
	Source   netip.Addr // of the client, after trusted proxies
	Headers  Headers    // nil = none
	GRPC     bool       // it is a gRPC call

	// Identities are the names in the client's certificate, if that was verified.
	Identities []string

	// Matched is set by [Table.Match] when it returns a rule.
	Matched Matched

	host, path, value []byte // scratch
}

// Matched says how a rule was found.
type Matched struct {
	// Prefix is the path prefix that matched, in canonical form and without a
	// slash at its end, but "/" for everything. Empty if the match was not by
	// prefix. It is what [Rewritten] replaces.
	Prefix string
	// Index is the match among the rule's Matches; 0 if the rule has none.
	Index int
}

// Rule is one rule of a [Table].
type Rule struct {
	Route      string       // name of its route
	RouteIndex int          // in Config.Routes
	Index      int          // in the route's Rules
	ID         int          // in Table.Rules
	Def        *config.Rule // points into the table's Config; must not be changed
}

// Problem says why a route was left out of a [Table].
type Problem struct {
	Route   string // name of the route
	Rule    int    // index of the rule at fault, -1 = the route itself
	Path    string // place in the configuration: routes[0].rules[1].matches[0].path
	Message string // for people
}

// Error is "path: message".
func (p Problem) Error() string { return p.Path + ": " + p.Message }

// Table is the compiled form of a Config's routes. It never changes and may be
// used by any number of goroutines.
type Table struct {
	config    *config.Config
	rules     []*Rule
	listeners []*hosts
}

// Config is what the table was compiled from.
func (t *Table) Config() *config.Config { return t.config }

// Rules lists the rules in force in the order of the file, so that
// Rules()[r.ID] == r. Must not be changed.
func (t *Table) Rules() []*Rule { return t.rules }
