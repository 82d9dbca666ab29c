package mirror

import (
	"bytes"
	"fmt"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Explanation is what a mirror would do with one request, for people. It knows
// the policy only: queues, limits and breakers have their own say in traffic.
type Explanation struct {
	Def *config.Mirror

	// Reason is why the request would not be copied; empty if it would, or if
	// chance decides.
	Reason traffic.Reason
	Detail string // the condition of the mirror's own match that does not hold, or why an upgrade is not copied

	// ByChance says that only the share decides: there is no key, or, with
	// Unkeyed, the request lacks it.
	ByChance bool
	Unkeyed  bool
	Position float64 // where the key fell, 0 to 1; 0 ByChance

	Head []byte // of the copy; nil if there would be none, or no heads
}

// Explain says what the mirror def of a rule, whose request header changes are
// edit, would do with s, a request or a connection. out is what the primary would get; endpoint is the
// address of the shadow. It allocates.
func Explain(def *config.Mirror, edit *http1.Edit, s *Subject, out http1.Outgoing, endpoint string) (*Explanation, error) {
	p, err := Compile(def, edit, nil, NewRegistry().State("", def.Name, def.Backend))
	if err != nil {
		return nil, fmt.Errorf("explain mirror %s: %w", def.Name, err)
	}
	s.Draw = 0 // inside every share
	e := &Explanation{Def: def}
	d := p.Decide(s)
	e.Unkeyed, e.Reason = d.Unkeyed, d.Skip
	e.ByChance = def.Key == nil || e.Unkeyed
	e.Position = float64(d.Position) / (1 << 64)
	if e.Reason == traffic.SkipMatch {
		e.Detail = p.matcher.Explain(s.Match)
	}
	switch {
	case e.Reason == traffic.SkipUpgrade:
		e.Detail = upgradeDetail(s.Head)
	case e.Reason == traffic.SkipWrite && s.Match.GRPC:
		e.Detail = "a gRPC call may write, and the mirror does not name it (grpcMethods: [" + callName(s) + "] would copy it)"
	}
	if limit := int64(def.Body.Limit); e.Reason == "" && limit >= 0 && out.Length > limit && def.Body.OverLimit == config.OverLimitSkip {
		e.Reason = traffic.DropBodyLimit
	}
	if e.Reason == "" && s.Head != nil {
		c := &Copy{owner: &Dispatcher{}, policy: p}
		out.Expect, out.Marker = false, p.marker
		if def.Host.Kind == config.HostBackend {
			out.Host = []byte(endpoint)
		} else {
			c.setHost(s.Head, &out)
		}
		c.setTrace(s.Head, &out)
		e.Head = http1.AppendRequest(nil, s.Head, p.edit, &out)
	}
	return e, nil
}

// upgradeDetail says why an upgrade is not copied.
func upgradeDetail(r *http1.Request) string {
	switch {
	case r.Connect():
		return "CONNECT is never copied"
	case isWebSocket(r):
		return "it is a WebSocket, and the mirror says upgrades: skip (upgrades: copy would copy it)"
	}
	if bytes.EqualFold(r.Upgrade(), protocolName) {
		return "it is not how a WebSocket is asked for: GET, sec-websocket-version: 13 and a sec-websocket-key of 16 bytes"
	}
	return "an upgraded connection that is no WebSocket cannot be copied"
}
