package proxy

import (
	"net/netip"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/grpc"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
)

// Explanation is what a server would do with one request, for people.
type Explanation struct {
	// Status is of the answer that the proxy gives itself, and Answer its text
	// or, of a redirect, the location; 0 if the request goes to a primary.
	Status int
	Answer string

	Client  netip.Addr   // after trusted proxies
	Steps   []route.Step // rules that were considered; the last matched, if any did
	Matched *route.Rule  // nil = none
	Primary []byte       // the head that the primary gets; nil if none does
	Mirrors []*mirror.Explanation
}

// Explain says what a server with cfg would do with a request whose head is
// complete, from peer, with these names in its certificate, on the listener of that
// index. It runs what the request
// path runs, without a server.
func Explain(cfg *config.Config, listener int, peer netip.Addr, identities []string, head []byte) (*Explanation, error) {
	a := &arrival{secure: cfg.Listeners[listener].Terminates(), identities: identities}
	table, _ := route.Compile(cfg)
	p := &plan{config: cfg, table: table}
	h := &http1.Request{}
	limits := http1.Limits{Head: int(cfg.Client.HeadLimit), Target: int(cfg.Client.TargetLimit), Fields: cfg.Client.HeaderCount}
	if _, err := h.Parse(head, &limits); err != nil {
		return &Explanation{Status: err.Status, Answer: err.Reason, Client: peer}, nil
	}
	e := &Explanation{}
	m := &route.Request{Listener: listener, Host: h.Host(), Method: h.Method(), Path: h.Path(), Query: h.Query(), Headers: h, Identities: identities, GRPC: isCall(h)}
	var trusted bool
	m.Source, trusted = p.source(peer, h)
	e.Client = m.Source
	e.Steps = table.Explain(m)
	e.Matched = table.Match(m)
	switch {
	case e.Matched == nil && m.GRPC:
		e.Status, e.Answer = 200, string(grpc.FromHTTP(404))+", in gRPC's words: no route matches"
		return e, nil
	case e.Matched == nil:
		e.Status, e.Answer = 404, "no route matches"
		return e, nil
	case h.Connect():
		e.Status, e.Answer = 501, "CONNECT is not supported"
		return e, nil
	case e.Matched.Def.Redirect != nil:
		e.Status, e.Answer = e.Matched.Def.Redirect.StatusCode, string(appendLocation(nil, e.Matched.Def.Redirect, m, a.scheme()))
		return e, nil
	}
	return e, e.forward(cfg, h, m, &client{arrival: *a, peer: peer, head: h}, trusted)
}

// ExplainConnection is [Explain] for a connection, or a session of UDP, without
// messages: server is the name that a TLS client asks for.
func ExplainConnection(cfg *config.Config, listener int, peer netip.Addr, server string) (*Explanation, error) {
	table, _ := route.Compile(cfg)
	e := &Explanation{Client: peer}
	m := &route.Request{Listener: listener, Host: []byte(server), Path: rootPath, Source: peer}
	e.Steps = table.Explain(m)
	if e.Matched = table.Match(m); e.Matched == nil {
		return e, nil
	}
	s := &mirror.Subject{Match: m}
	for i := range e.Matched.Def.Mirrors {
		x, err := mirror.Explain(&e.Matched.Def.Mirrors[i], nil, s, http1.Outgoing{}, "")
		if err != nil {
			return nil, err
		}
		e.Mirrors = append(e.Mirrors, x)
	}
	return e, nil
}

// forward explains the heads that the primary and the shadows get.
func (e *Explanation) forward(cfg *config.Config, h *http1.Request, m *route.Request, cl *client, trusted bool) error {
	r := &request{
		worker: &worker{},
		client: cl,
		rule:   &rule{Rule: e.Matched, edit: mirror.Edit(e.Matched.Def.RequestHeaders)},
		expect: h.ExpectContinue(),
	}
	copy(r.worker.id[:], "00000000-0000-4000-8000-000000000000")
	out := r.outgoing(m, trusted)
	e.Primary = http1.AppendRequest(nil, h, r.rule.edit, out)
	s := &mirror.Subject{Head: h, Match: m}
	for i := range e.Matched.Def.Mirrors {
		def := &e.Matched.Def.Mirrors[i]
		x, err := mirror.Explain(def, r.rule.edit, s, *out, firstEndpoint(cfg, def.Backend))
		if err != nil {
			return err
		}
		e.Mirrors = append(e.Mirrors, x)
	}
	return nil
}

func firstEndpoint(cfg *config.Config, backend string) string {
	for i := range cfg.Backends {
		if b := &cfg.Backends[i]; b.Name == backend && len(b.Endpoints) > 0 {
			return b.Endpoints[0]
		}
	}
	return ""
}
