// Package traffic holds the nouns of traffic that every room shares: an
// [Exchange] is one request and the [Outcome] of every backend that got it, a
// [Sink] takes finished exchanges. It is plain data: nothing here does I/O,
// keeps state or knows a protocol machine.
package traffic

import (
	"net/netip"
	"time"
)

// Source says who is to blame for an error. It is part of every error that
// leaves the request path, because in a mirror "whose fault was it" is the
// question everybody asks first.
type Source uint8

// The sources of an error. The zero value means that there was no error.
const (
	None     Source = iota
	Client          // the peer that sent the request
	Primary         // the backend whose answer the client gets
	Shadow          // a backend that receives copies
	Internal        // the proxy itself
)

// String returns the lower-case name used in logs and metrics.
func (s Source) String() string {
	return [...]string{"none", "client", "primary", "shadow", "internal"}[s]
}

// Fate says what became of one copy.
type Fate string

// The fates of a copy. Selected copies end as Completed, Dropped or Failed;
// a request that was not selected for a mirror is Skipped.
const (
	Completed Fate = "completed" // sent whole and answered whole
	Dropped   Fate = "dropped"   // given up by us before or while sending; Reason says why
	Failed    Fate = "failed"    // the shadow or the way to it broke; Reason says how
	Skipped   Fate = "skipped"   // never selected; Reason says why
)

// Reason is why a copy was skipped, dropped or failed, from the closed sets
// below. The strings are metric label values and part of the contract.
type Reason string

// Why a request was not selected for a mirror.
const (
	SkipPercent Reason = "percent" // the draw said no
	SkipWrite   Reason = "write"   // an unsafe method and writes: skip
	SkipMatch   Reason = "match"   // the mirror's own match said no
	SkipUpgrade Reason = "upgrade" // an upgraded connection cannot be copied
	SkipLoop    Reason = "loop"    // the request is itself a copy
	SkipOff     Reason = "off"     // percent is 0
)

// Why a selected copy was dropped.
const (
	DropQueueFull  Reason = "queue_full"
	DropMemory     Reason = "memory"
	DropInFlight   Reason = "in_flight"
	DropRate       Reason = "rate"
	DropBodyLimit  Reason = "body_limit"
	DropClientGone Reason = "client_gone"
	DropPaused     Reason = "paused" // breaker open, or share lowered by back-off
	DropShutdown   Reason = "shutdown"
)

// Why a sent copy failed.
const (
	FailConnect  Reason = "connect"
	FailTimeout  Reason = "timeout"
	FailReset    Reason = "reset"
	FailProtocol Reason = "protocol"
	FailTLS      Reason = "tls"
)

// Why a capture was lost.
const (
	LostMemory Reason = "memory" // there was no room for what it had to keep
	LostQueue  Reason = "queue"  // whoever looks at captures is behind
	LostCPU    Reason = "cpu"    // whoever looks at captures pauses, to stay within its share of the processor
	LostBusy   Reason = "busy"   // others need the processors, or comparing is falling behind
)

// Handshake is how a handshake of TLS with a client ended. The strings are metric
// label values.
type Handshake string

// How handshakes end.
const (
	HandshakeDone        Handshake = "done"
	HandshakeLeft        Handshake = "left"        // the client went away
	HandshakeTimeout     Handshake = "timeout"     // the client took too long
	HandshakePlain       Handshake = "plain"       // HTTP without TLS
	HandshakeVersion     Handshake = "version"     // no version, cipher suite or protocol in common
	HandshakeCertificate Handshake = "certificate" // the client's is missing or not valid
	HandshakeRejected    Handshake = "rejected"    // by the client, which does not like ours
	HandshakeOther       Handshake = "other"
)

// Handshakes lists the closed set in display order. It must not be changed.
var Handshakes = []Handshake{
	HandshakeDone, HandshakeLeft, HandshakeTimeout, HandshakePlain, HandshakeVersion, HandshakeCertificate, HandshakeRejected, HandshakeOther,
}

// SkipReasons, DropReasons, FailReasons and LostReasons list the closed sets in
// display order. They must not be changed.
var (
	SkipReasons = []Reason{SkipPercent, SkipWrite, SkipMatch, SkipUpgrade, SkipLoop, SkipOff}
	DropReasons = []Reason{DropQueueFull, DropMemory, DropInFlight, DropRate, DropBodyLimit, DropClientGone, DropPaused, DropShutdown}
	FailReasons = []Reason{FailConnect, FailTimeout, FailReset, FailProtocol, FailTLS}
	LostReasons = []Reason{LostMemory, LostQueue, LostCPU, LostBusy}
)

// GRPCStatus is how a gRPC call ended, in the words of its specification. The
// zero value is of what was no call, or never ended. The strings are metric
// label values and part of the contract.
type GRPCStatus string

// The statuses of gRPC that are told apart here.
const (
	GRPCUnknown           GRPCStatus = "UNKNOWN"
	GRPCDeadlineExceeded  GRPCStatus = "DEADLINE_EXCEEDED"
	GRPCPermissionDenied  GRPCStatus = "PERMISSION_DENIED"
	GRPCResourceExhausted GRPCStatus = "RESOURCE_EXHAUSTED"
	GRPCUnimplemented     GRPCStatus = "UNIMPLEMENTED"
	GRPCInternal          GRPCStatus = "INTERNAL"
	GRPCUnavailable       GRPCStatus = "UNAVAILABLE"
	GRPCUnauthenticated   GRPCStatus = "UNAUTHENTICATED"
)

// GRPCStatuses lists all of them by their number. It must not be changed.
var GRPCStatuses = []GRPCStatus{"OK", "CANCELLED", GRPCUnknown, "INVALID_ARGUMENT", GRPCDeadlineExceeded, "NOT_FOUND", "ALREADY_EXISTS",
	GRPCPermissionDenied, GRPCResourceExhausted, "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", GRPCUnimplemented, GRPCInternal,
	GRPCUnavailable, "DATA_LOSS", GRPCUnauthenticated}

// GRPCCall is the end of a gRPC call.
type GRPCCall struct {
	Status  GRPCStatus
	Message string // for people, decoded; often empty
}

// Outcome is what one backend did with a request, or, for a copy that was
// never sent, why not.
type Outcome struct {
	Backend  string        // name of the backend
	Endpoint string        // host:port it went to, empty if none was chosen
	Mirror   string        // name of the mirror, empty for the primary
	Fate     Fate          // of a copy; empty for the primary
	Reason   Reason        // of a copy that was not completed
	Status   int           // HTTP status, 0 if there was none
	GRPC     GRPCCall      // how a gRPC call ended
	Bytes    int64         // body bytes received from the backend
	Queued   time.Duration // since Exchange.Start, when it was ready to be sent and began to wait for its turn
	Connect  time.Duration // how long connecting took, with TLS; 0 if a connection was there
	Start    time.Duration // since Exchange.Start, when the first byte was handed to the socket
	First    time.Duration // since Exchange.Start, when the head of the answer had arrived; 0 if never
	End      time.Duration // since Exchange.Start, when it was over
	Source   Source        // who is to blame, None if nobody is
	Error    string        // short reason for people, empty without an error
	Compare  bool          // of a copy: drawn to be compared with the primary
	Answer   *Message      // what was kept of the answer; nil if none came or it was not captured
}

// Message is what was kept of a request or of an answer, for whoever compares or
// records. It holds no transfer coding: that ended with the connection.
type Message struct {
	Head    []byte // start line and field lines as received, each with its line end, without the empty line
	Body    []byte // the first bytes of the body, up to the capture's limit
	Trailer []byte // field lines, as in Head
	Length  int64  // bytes of the whole body, as far as it came
	Hash    uint64 // XXH64 of the whole body if Length > len(Body), else 0
	Whole   bool   // the message came to its end; false: it was cut off on the way
}

// Cut says that the body is longer than what was kept of it.
func (m *Message) Cut() bool { return m.Length > int64(len(m.Body)) }

// Exchange is one request and the Outcome of every backend that got it.
// It is handed over whole when the last outcome is in, and belongs to the
// Sink from then on.
type Exchange struct {
	ID        string        // x-request-id
	Start     time.Time     // when the request's head was complete
	Duration  time.Duration // from Start to the last byte handed to the client's socket
	Listener  string
	Route     string // empty if no route matched
	Rule      int    // index of the rule in its route
	Client    netip.Addr
	Method    string
	Host      string
	Path      string // as received, without the query
	Query     string
	Protocol  string   // "HTTP/1.1", "HTTP/1.0"
	Status    int      // what the client got
	GRPC      GRPCCall // how a gRPC call ended for the client
	BytesIn   int64    // request body bytes received from the client
	BytesOut  int64    // body bytes handed to the client's socket
	Source    Source   // who is to blame for a failed request
	Error     string   // why the live request failed, empty if it did not
	UserAgent string
	Primary   Outcome
	Copies    []Outcome // one per mirror of the matched rule

	// Request is what was kept of the request, nil unless the exchange was drawn
	// for comparing or recording. With it come the Answer of the primary and
	// those of the copies drawn for comparing, or of all if it is recorded.
	Request *Message
	Record  bool // drawn to be recorded

	// Memory is what a captured exchange lies in; nil if it is not captured.
	Memory Memory
}

// Memory is where a captured exchange lies. Any goroutine may give it back, once.
type Memory interface{ Release() }

// Release gives back what a captured exchange lies in: the bytes of its messages,
// the messages, the outcomes and x itself, which are somebody else's from then on.
// Strings that were taken out of it stay good, though each may hold a few kilobytes
// of others: what is kept for long is cloned. Anything else that is to be kept must
// have been copied. Whoever ends up with a captured exchange calls it, once;
// of one that is not captured it does nothing.
func (x *Exchange) Release() {
	if x.Memory != nil {
		x.Memory.Release()
	}
}

// Sink takes finished exchanges. Offer is called on the request path from
// many goroutines: it must never block, and returns false if it refused the
// exchange, which it has then counted itself. The sink owns an accepted
// exchange.
type Sink interface {
	Offer(*Exchange) bool
}

// Chooser is a sink that does not always want all there is. Its methods are called
// on the request path, as Offer is.
type Chooser interface {
	Sink
	// Wanted is the part of what is drawn to be compared that is wanted now, 0 to 1.
	Wanted() float64
	// Refuses says why, right after an Offer that returned false.
	Refuses() Reason
}
