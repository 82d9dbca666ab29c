package proxy

import (
	"bytes"
	"net/netip"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/route"
)

// outgoing fills in what the primary gets besides the received fields. Copies
// start from the same. It is valid until the next request begins.
func (r *request) outgoing(m *route.Request, trusted bool) *http1.Outgoing {
	w, cl, h := r.worker, r.client, r.client.head
	if cl.peerText == nil {
		cl.peerText = cl.peer.AppendTo(make([]byte, 0, 40))
	}
	o := &w.out
	*o = http1.Outgoing{
		ForwardedFor:     cl.peerText,
		ReplaceForwarded: !trusted,
		Proto:            cl.scheme(),
		ForwardedHost:    h.Host(),
		Length:           h.Framing(),
		Expect:           r.expect,
		Upgrade:          h.Upgrade() != nil,
	}
	if _, ok := h.Lookup(http1.XRequestID); !ok {
		o.RequestID = w.id[:]
	}
	if rw := r.rule.Def.Rewrite; rw != nil {
		w.rewrite(o, rw, m)
	}
	return o
}

var schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

// scheme is how the client's requests came.
func (a *arrival) scheme() []byte {
	if a.secure {
		return schemeHTTPS
	}
	return schemeHTTP
}

// rewrite changes the target and the host as the rule says.
func (w *worker) rewrite(o *http1.Outgoing, rw *config.Rewrite, m *route.Request) {
	if rw.Hostname != "" {
		o.Host = []byte(rw.Hostname)
	}
	if rw.Path == nil {
		return
	}
	w.target = route.Rewritten(w.target[:0], rw.Path, m.Matched.Prefix, m.Path)
	if len(m.Query) > 0 {
		w.target = append(append(w.target, '?'), m.Query...)
	}
	o.Target = w.target
}

// source returns the client's address: the peer's, or, if the peer is a
// trusted proxy, the nearest address in X-Forwarded-For that is not one. It
// also says whether the peer may speak for its client at all: anybody may as
// long as no proxies are configured, as with other proxies.
func (p *plan) source(peer netip.Addr, h *http1.Request) (source netip.Addr, trusted bool) {
	t := &p.config.TrustedProxies
	if len(t.Sources) == 0 {
		return peer, true
	}
	if !contains(t.Sources, peer) {
		return peer, false
	}
	source = peer
	n := 0
	for {
		if _, ok := h.Value(forwardedFor, n); !ok {
			break
		}
		n++
	}
	for depth := 1; n > 0; {
		n--
		line, _ := h.Value(forwardedFor, n)
		for len(line) > 0 {
			i := bytes.LastIndexByte(line, ',')
			addr, ok := parseAddr(bytes.TrimSpace(line[i+1:]))
			if !ok {
				return source, true
			}
			source = addr
			if !contains(t.Sources, addr) || t.Depth > 0 && depth >= t.Depth {
				return source, true
			}
			depth++
			line = line[:max(i, 0)]
		}
	}
	return source, true
}

const forwardedFor = "x-forwarded-for"

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddr reads an address, with or without a port.
func parseAddr(b []byte) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(string(b)); err == nil {
		return addr.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(string(b)); err == nil {
		return ap.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}
