// Package config holds [Config], the whole, immutable description of what a
// proxy does, as plain data: strict decoding, defaults in one function, and
// validation that names the field. Whoever gets a Config from [Load], [Parse]
// or [Quick] may trust it and must not change it.
package config

import (
	"net/netip"
	"time"
)

// Config is what can change while a proxy runs. It is always replaced whole.
type Config struct {
	Listeners      []Listener     `yaml:"listeners"`
	Routes         []Route        `yaml:"routes"`
	Backends       []Backend      `yaml:"backends"`
	Admin          Admin          `yaml:"admin"`
	AccessLog      AccessLog      `yaml:"accessLog"`
	Client         Client         `yaml:"client"`
	TrustedProxies TrustedProxies `yaml:"trustedProxies"`
	Copies         Copies         `yaml:"copies"`
	Capture        Capture        `yaml:"capture"`
	Redact         Redact         `yaml:"redact"`
	Record         *Record        `yaml:"record"` // nil = nothing is recorded
	Shutdown       Shutdown       `yaml:"shutdown"`
	Workers        int            `yaml:"workers"` // event loops; 0 = one per core; read at start only

	// Version identifies the content: the first 12 hex digits of the SHA-256
	// of its canonical form, in which the admin token and the key of redaction
	// are redacted, so that other secrets alone are the same version. Set by Load,
	// Parse and Quick.
	Version string `yaml:"-"`

	// Warnings are what is allowed and probably not meant. Set by Load, Parse and
	// Quick.
	Warnings Errors `yaml:"-"`
}

// Listener is a local address that accepts clients.
type Listener struct {
	Name          string         `yaml:"name"`
	Address       string         `yaml:"address"`       // host:port
	Protocol      string         `yaml:"protocol"`      // HTTP, HTTPS, TLS, TCP or UDP; default HTTP
	TLS           *ListenerTLS   `yaml:"tls"`           // with HTTPS and TLS only
	ProxyProtocol *ProxyProtocol `yaml:"proxyProtocol"` // not with UDP; nil = off
	HTTP3         *HTTP3         `yaml:"http3"`         // with HTTPS only; nil = off
	Sessions      int            `yaml:"sessions"`      // with UDP only: clients at once; default 10000
}

// HTTP3 says that a listener serves HTTP/3 too, at the same address of UDP. There
// is nothing to be set: certificates and bounds are those of the listener and of
// all clients.
type HTTP3 struct{}

// ProxyProtocol says who tells of clients by PROXY protocol, version 1 or 2.
// Others are taken for clients, whatever they send.
type ProxyProtocol struct {
	Sources []netip.Prefix `yaml:"sources"` // peers that must
}

// Terminates says that the listener is the end of TLS.
func (l *Listener) Terminates() bool { return l.TLS != nil && l.TLS.Mode == TLSTerminate }

// Layer4 says that there are no messages on the listener, or none that can be
// read: TLS that passes through, TCP and UDP.
func (l *Listener) Layer4() bool { return layer4(l.Protocol) }

func layer4(protocol string) bool {
	return protocol == "TLS" || protocol == "TCP" || protocol == "UDP"
}

// Route binds hostnames on listeners to rules.
type Route struct {
	Name      string   `yaml:"name"`
	Listeners []string `yaml:"listeners"` // names; empty = all that speak HTTP
	Hostnames []string `yaml:"hostnames"` // exact or *.suffix; empty = all
	Rules     []Rule   `yaml:"rules"`
}

// Rule says where requests that match go, and who gets copies. A rule has
// either Backends or a Redirect.
type Rule struct {
	Matches         []Match      `yaml:"matches"` // any of them; empty = everything
	RequestHeaders  HeaderEdit   `yaml:"requestHeaders"`
	ResponseHeaders HeaderEdit   `yaml:"responseHeaders"`
	Rewrite         *Rewrite     `yaml:"rewrite"`
	Redirect        *Redirect    `yaml:"redirect"`
	Timeouts        Timeouts     `yaml:"timeouts"`
	Backends        []BackendRef `yaml:"backends"`
	Mirrors         []Mirror     `yaml:"mirrors"`
}

// Match is one condition on a request; every field that is set must hold.
type Match struct {
	Path       *PathMatch     `yaml:"path"`
	Methods    []string       `yaml:"methods"`
	Headers    []ValueMatch   `yaml:"headers"`
	Query      []ValueMatch   `yaml:"query"`
	Cookies    []ValueMatch   `yaml:"cookies"`
	Sources    []netip.Prefix `yaml:"sources"`    // the client's address, after TrustedProxies
	Identities []string       `yaml:"identities"` // names in the client's certificate, exact or with * at the end
	GRPC       *GRPCMatch     `yaml:"grpc"`       // instead of Path and Methods
}

// GRPCMatch matches gRPC calls, by the service and the method that their path
// names. What is empty holds for all.
type GRPCMatch struct {
	Type    ValueMatchType `yaml:"type"`    // Exact, which is the default, or RegularExpression
	Service string         `yaml:"service"` // with its package: shop.v1.Cart
	Method  string         `yaml:"method"`
}

// PathMatchType is how a path is compared.
type PathMatchType string

// The ways to compare a path. PathPrefix compares whole path elements.
const (
	PathExact  PathMatchType = "Exact"
	PathPrefix PathMatchType = "PathPrefix"
	PathRegexp PathMatchType = "RegularExpression" // RE2, must match the whole path
)

// PathMatch matches the path without the query.
type PathMatch struct {
	Type  PathMatchType `yaml:"type"` // default PathPrefix
	Value string        `yaml:"value"`
}

// ValueMatchType is how a header, query parameter or cookie is compared.
type ValueMatchType string

// The ways to compare a value.
const (
	ValueExact   ValueMatchType = "Exact"
	ValueRegexp  ValueMatchType = "RegularExpression" // RE2, must match the whole value
	ValuePresent ValueMatchType = "Present"
	ValueAbsent  ValueMatchType = "Absent"
)

// ValueMatch matches a named value. Header names ignore case, the others do not.
type ValueMatch struct {
	Type  ValueMatchType `yaml:"type"` // default Exact
	Name  string         `yaml:"name"`
	Value string         `yaml:"value"`
}

// Header is a name and a value.
type Header struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// HeaderEdit changes headers: remove, then set, then add. Set replaces every
// field of that name, add appends one.
type HeaderEdit struct {
	Set    []Header `yaml:"set"`
	Add    []Header `yaml:"add"`
	Remove []string `yaml:"remove"`
}

// PathModifier replaces a path: exactly one of the two is set.
type PathModifier struct {
	ReplaceFullPath    *string `yaml:"replaceFullPath"`
	ReplacePrefixMatch *string `yaml:"replacePrefixMatch"` // needs a PathPrefix match
}

// Rewrite changes the request's host or path on its way to the backends.
type Rewrite struct {
	Hostname string        `yaml:"hostname"`
	Path     *PathModifier `yaml:"path"`
}

// Redirect answers the client with a redirection.
type Redirect struct {
	Scheme     string        `yaml:"scheme"`
	Hostname   string        `yaml:"hostname"`
	Port       int           `yaml:"port"` // 0 = the scheme's own, or the listener's
	Path       *PathModifier `yaml:"path"`
	StatusCode int           `yaml:"statusCode"` // 301 302 303 307 308; default 302
}

// Timeout is a duration whose zero value means "use the default"; a negative
// one means "off" (written "off" or "0s" in a file).
type Timeout time.Duration

// TimeoutOff turns a timeout off.
const TimeoutOff Timeout = -1

// Timeouts of the live request.
type Timeouts struct {
	Request Timeout `yaml:"request"` // head received to answer sent; default off
	Backend Timeout `yaml:"backend"` // request sent to head of the answer; default 60s
	Idle    Timeout `yaml:"idle"`    // no byte moves in either direction while one is due; default 60s, of TCP and TLS 1h
}

// BackendRef names a backend and its weight.
type BackendRef struct {
	Name   string `yaml:"name"`
	Weight *int   `yaml:"weight"` // nil = 1; 0 = none
}

// CopyMarker is the header that marks a copy; its value is the mirror's name.
// In lower case.
const CopyMarker = "x-understudy-copy"

// Share is a part of all requests in parts per million, 0 to 1,000,000.
type Share uint32

// Whole is a Share of everything.
const Whole Share = 1_000_000

// Fraction is Numerator of Denominator requests.
type Fraction struct {
	Numerator   int64 `yaml:"numerator"`
	Denominator int64 `yaml:"denominator"` // default 100
}

// Key chooses what decides whether a request is copied: the same key gets the
// same answer on every replica. At most one of Header, Cookie, Source and
// Trace is set.
type Key struct {
	Header string `yaml:"header"`
	Cookie string `yaml:"cookie"`
	Source bool   `yaml:"source"` // client address
	Trace  bool   `yaml:"trace"`  // trace id of traceparent
	Salt   string `yaml:"salt"`   // mirrors with equal salts share draws
}

// WritePolicy says whether requests with unsafe methods are copied.
type WritePolicy string

// The write policies.
const (
	WritesSkip WritePolicy = "skip"
	WritesCopy WritePolicy = "copy"
)

// UpgradePolicy says whether WebSockets are copied.
type UpgradePolicy string

// The upgrade policies.
const (
	UpgradesSkip UpgradePolicy = "skip"
	UpgradesCopy UpgradePolicy = "copy"
)

// HostPolicyKind is how the copy's Host is chosen.
type HostPolicyKind string

// The host policies.
const (
	HostPreserve HostPolicyKind = "preserve"
	HostBackend  HostPolicyKind = "backend" // the endpoint's host[:port]
	HostSuffix   HostPolicyKind = "suffix"  // -shadow before the port
	HostLiteral  HostPolicyKind = "literal"
)

// HostPolicy is written as a word, or as {literal: name}.
type HostPolicy struct {
	Kind    HostPolicyKind // default HostPreserve
	Literal string         // with HostLiteral
}

// OverLimit says what becomes of a copy whose body is over the limit.
type OverLimit string

// What becomes of a copy whose body is over the limit.
const (
	OverLimitSkip     OverLimit = "skip"
	OverLimitTruncate OverLimit = "truncate"
	OverLimitHeaders  OverLimit = "headers"
)

// Size is a number of bytes, written as 10MiB, 64KiB or a plain number.
type Size int64

// BodyPolicy bounds the body of a copy.
type BodyPolicy struct {
	Limit     Size      `yaml:"limit"`     // default 10MiB; 0 in a file is the default, "none" = -1
	OverLimit OverLimit `yaml:"overLimit"` // default skip
}

// Limits bounds what one mirror may use, over all event loops.
type Limits struct {
	InFlight    int  `yaml:"inFlight"`    // copies sent and not yet answered; default 256
	Queue       int  `yaml:"queue"`       // copies that wait for a connection; default 1024
	Memory      Size `yaml:"memory"`      // bytes held for copies; default 32MiB
	Rate        int  `yaml:"rate"`        // copies per second; 0 = unlimited
	Connections int  `yaml:"connections"` // connections to the shadow; default = InFlight
}

// Mirror is the policy for copies to one shadow.
type Mirror struct {
	Name        string        `yaml:"name"` // default: the backend's name; unique within its rule
	Backend     string        `yaml:"backend"`
	Percent     *float64      `yaml:"percent"`  // nil = 100
	Fraction    *Fraction     `yaml:"fraction"` // instead of Percent
	Key         *Key          `yaml:"key"`
	Writes      WritePolicy   `yaml:"writes"`      // default skip
	Upgrades    UpgradePolicy `yaml:"upgrades"`    // default skip
	GRPCMethods []string      `yaml:"grpcMethods"` // copied whatever Writes says: package.Service/Method, or package.Service/*
	Match       *Match        `yaml:"match"`
	Host        HostPolicy    `yaml:"host"`
	Headers     HeaderEdit    `yaml:"headers"`
	Marker      *bool         `yaml:"marker"` // nil = true: the copy carries x-understudy-copy
	Body        BodyPolicy    `yaml:"body"`
	Timeout     Timeout       `yaml:"timeout"`  // of one copy, from its first byte to the end of the answer; of TCP and TLS without progress; default 15s
	Pipeline    int           `yaml:"pipeline"` // copies in flight on one connection; default 1
	Retry       bool          `yaml:"retry"`    // once, on a refused connection, before any byte was sent
	Backoff     Backoff       `yaml:"backoff"`
	Limits      Limits        `yaml:"limits"`
	Compare     Compare       `yaml:"compare"`

	// Share is what Percent or Fraction mean. Numerator/Denominator keeps a
	// fraction exact: a request is selected if draw*Denominator <
	// Numerator*2^64. Both are set by the defaults.
	Numerator   uint64 `yaml:"-"`
	Denominator uint64 `yaml:"-"`

	// Layer4 says that it copies connections or datagrams, not requests. Set by
	// the defaults.
	Layer4 bool `yaml:"-"`
}

// Backoff says when copying pauses or slows down by itself.
type Backoff struct {
	Failures int     `yaml:"failures"` // consecutive failures that open the breaker; default 5
	Base     Timeout `yaml:"base"`     // first pause; default 1s
	Max      Timeout `yaml:"max"`      // longest pause; default 60s
	Adaptive *bool   `yaml:"adaptive"` // nil = true: lower the share when live latency rises with copying
}

// Balance is how an endpoint is picked.
type Balance string

// The ways to pick an endpoint.
const (
	RoundRobin   Balance = "RoundRobin"
	LeastRequest Balance = "LeastRequest"
)

// Protocol is what a backend speaks.
type Protocol string

// The protocols of backends. AUTO asks by ALPN where there is TLS, and is HTTP1
// where there is none.
const (
	ProtocolAuto  Protocol = "AUTO"
	ProtocolHTTP1 Protocol = "HTTP1"
	ProtocolHTTP2 Protocol = "HTTP2"
)

// Backend is a named set of endpoints and how to reach them.
type Backend struct {
	Name           string      `yaml:"name"`
	Endpoints      []string    `yaml:"endpoints"`      // host:port
	Protocol       Protocol    `yaml:"protocol"`       // default AUTO
	Balance        Balance     `yaml:"balance"`        // default RoundRobin
	ConnectTimeout Timeout     `yaml:"connectTimeout"` // default 5s
	IdleTimeout    Timeout     `yaml:"idleTimeout"`    // of a pooled connection; default 50s
	TLS            *BackendTLS `yaml:"tls"`            // nil = in the clear
	ProxyProtocol  string      `yaml:"proxyProtocol"`  // v1 or v2: tell of the client first; empty = off
	Health         Health      `yaml:"health"`
}

// Health is passive: an endpoint that fails is ejected and probed back.
type Health struct {
	Failures int     `yaml:"failures"` // consecutive failures that eject; default 3; -1 = never eject
	Eject    Timeout `yaml:"eject"`    // first ejection; doubles up to 10 times as long; default 5s
}

// Admin is the operator's side.
type Admin struct {
	Address string `yaml:"address"` // host:port; empty = off
	Token   string `yaml:"token"`   // bearer token; needed unless the address is loopback
	Pprof   bool   `yaml:"pprof"`
}

// AccessLog is one JSON line per request.
type AccessLog struct {
	Path    string   `yaml:"path"`    // "-" = stdout; empty = off
	Percent *float64 `yaml:"percent"` // of requests; nil = 100
}

// Client bounds what a client may send.
type Client struct {
	HeadLimit   Size    `yaml:"headLimit"`   // request line and headers; default 64KiB
	TargetLimit Size    `yaml:"targetLimit"` // request target; default 16KiB
	HeaderCount int     `yaml:"headerCount"` // default 128
	HeadTimeout Timeout `yaml:"headTimeout"` // first byte to end of head; default 30s
	IdleTimeout Timeout `yaml:"idleTimeout"` // between requests; default 75s
	Connections int     `yaml:"connections"` // at once; 0 = as many as files allow
	Streams     int     `yaml:"streams"`     // requests at once on one HTTP/2 connection; default 128
}

// TrustedProxies says whose X-Forwarded-For is believed.
type TrustedProxies struct {
	Sources []netip.Prefix `yaml:"sources"` // peers that are proxies
	Depth   int            `yaml:"depth"`   // how many addresses from the right may be proxies; 0 = as many as Sources match
}

// Copies bounds the copies of all mirrors together, besides what each may use.
type Copies struct {
	InFlight int  `yaml:"inFlight"` // sent and not yet answered; default 4096
	Memory   Size `yaml:"memory"`   // bytes held; default 256MiB
}

// Shutdown bounds the end.
type Shutdown struct {
	Drain  Timeout `yaml:"drain"`  // live requests; default 30s
	Copies Timeout `yaml:"copies"` // copies, after live requests; default 5s
}
