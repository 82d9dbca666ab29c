package mirror

import (
	"log/slog"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// skipped notes that p did not select s. What a mirror leaves out by default is
// logged once, with what to write to have it copied.
func (d *Dispatcher) skipped(l *lane, p *Policy, s *Subject, reason traffic.Reason, join *Join) {
	count(&l.books.Skipped, reason)
	if join != nil {
		join.X.Copies = append(join.X.Copies, traffic.Outcome{Mirror: p.Def.Name, Backend: p.Def.Backend, Fate: traffic.Skipped, Reason: reason})
	}
	// Not on the loop: a log that blocks must not stop live requests.
	switch {
	case reason == traffic.SkipWrite && s.Match.GRPC:
		p.State.calls.Do(func() {
			name := callName(s)
			go d.logOf(p).Info("a gRPC call was not copied, because it may write; name the methods that only read on the mirror to copy them",
				"method", name, "add", "grpcMethods: ["+name+"]")
		})
	case reason == traffic.SkipWrite:
		p.State.writes.Do(func() {
			go d.logOf(p).Info("a request with an unsafe method was not copied; set writes: copy on the mirror to copy such requests")
		})
	case reason == traffic.SkipUpgrade && isWebSocket(s.Head):
		p.State.upgrades.Do(func() {
			go d.logOf(p).Info("a WebSocket was not copied; set upgrades: copy on the mirror to copy what clients send through them")
		})
	}
}

// logOf is the log for lines about a mirror.
func (d *Dispatcher) logOf(p *Policy) *slog.Logger {
	return d.log.With("route", p.State.Route, "mirror", p.Def.Name)
}
