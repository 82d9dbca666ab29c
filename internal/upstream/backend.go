package upstream

import (
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Backend is a named set of endpoints. It lives as long as its name is in the
// configuration and is safe for many goroutines.
type Backend struct {
	Name string

	id        int // dense, per Registry
	def       atomic.Pointer[config.Backend]
	endpoints atomic.Pointer[[]*Endpoint]
	turn      atomic.Uint32 // see Next
}

// Endpoints returns the endpoints in force; the slice must not be changed.
func (b *Backend) Endpoints() []*Endpoint { return *b.endpoints.Load() }

// ProxyProtocol is the version of the PROXY header that tells the backend of each
// client, 0 for none.
func (b *Backend) ProxyProtocol() int {
	switch b.def.Load().ProxyProtocol {
	case "v1":
		return 1
	case "v2":
		return 2
	}
	return 0
}

// Next chooses an endpoint for a session of datagrams, in turn: one that is not
// ejected, or any if all are; nil if there is none. copies says whose health counts.
func (b *Backend) Next(now time.Duration, copies bool) *Endpoint {
	all := b.Endpoints()
	if len(all) == 0 {
		return nil
	}
	for range all {
		e := all[b.turn.Add(1)%uint32(len(all))]
		if time.Duration(e.healthOf(copies).until.Load()) <= now {
			return e
		}
	}
	return all[b.turn.Add(1)%uint32(len(all))]
}

// Endpoint is one address of a backend with its health, shared by all loops.
type Endpoint struct {
	Backend *Backend
	Address string // host:port as configured

	id    int
	tls   *tls.Config                      // nil = in the clear
	def   *config.BackendTLS               // that tls was made of
	addrs atomic.Pointer[[]netip.AddrPort] // resolved; empty if the name has none
	chose atomic.Bool                      // HTTP/2, in the last handshake
	gone  atomic.Bool                      // no longer configured: connections are not pooled again

	// Copies have a health of their own, so that a backend that gets both does
	// not lose an endpoint for live requests because copies had less patience.
	live, copies health
}

// Ejected says whether the endpoint is out of rotation at now, for live
// requests or for copies, and until when.
func (e *Endpoint) Ejected(now time.Duration) (until time.Duration, ejected bool) {
	until = time.Duration(max(e.live.until.Load(), e.copies.until.Load()))
	return until, until > now
}

// Addr is where the endpoint is, or false if its name has no address.
func (e *Endpoint) Addr() (netip.AddrPort, bool) {
	if addrs := *e.addrs.Load(); len(addrs) > 0 {
		return addrs[0], true
	}
	return netip.AddrPort{}, false
}

// Answered notes, for sessions of datagrams, that the endpoint is well.
func (e *Endpoint) Answered(copies bool) { e.healthOf(copies).succeeded() }

// Refused notes, for sessions of datagrams, that nobody listens there.
func (e *Endpoint) Refused(now time.Duration, copies bool) { e.healthOf(copies).failed(e, now) }

func (e *Endpoint) healthOf(copies bool) *health {
	if copies {
		return &e.copies
	}
	return &e.live
}

// Failures returns the number of failed calls since start.
func (e *Endpoint) Failures() uint64 { return e.live.failures.Load() + e.copies.failures.Load() }

// health is what is known of an endpoint from how calls to it ended.
type health struct {
	failures  atomic.Uint64 // since start
	run       atomic.Int32  // consecutive failures
	ejections atomic.Int32  // consecutive ejections
	until     atomic.Int64  // end of the ejection on the loops' clock, in ns; 0 if there is none
}

// maxEjections bounds how far an ejection's length doubles: 2^3, just under
// ten times the first.
const maxEjections = 3

// succeeded notes an answer, whatever its status. It writes only if there was
// a failure before, so that a healthy endpoint's cache line is not fought for.
func (h *health) succeeded() {
	if h.run.Load() != 0 || h.until.Load() != 0 {
		h.run.Store(0)
		h.ejections.Store(0)
		h.until.Store(0)
	}
}

// failed notes that e could not be reached or broke off, and ejects it when
// that happened too often in a row. After an ejection the endpoint gets
// requests again; the first failure then ejects it for twice as long.
func (h *health) failed(e *Endpoint, now time.Duration) {
	h.failures.Add(1)
	limits := e.Backend.def.Load().Health
	if limits.Failures < 0 {
		return
	}
	if int(h.run.Add(1)) < limits.Failures || time.Duration(h.until.Load()) > now {
		return
	}
	times := h.ejections.Add(1)
	h.until.Store(int64(now + time.Duration(limits.Eject)<<min(times-1, maxEjections)))
}
