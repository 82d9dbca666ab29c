package proxy

import (
	"strconv"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// refuse answers a request that goes to no backend.
func (r *request) refuse(status int, source traffic.Source, why string) {
	r.count(1)
	r.fail(status, source, why)
}

// fail ends the request with an answer of our own, or, if the client already
// has a part of another, by closing the connection: the client must not take
// half an answer for a whole one.
func (r *request) fail(status int, source traffic.Source, why string) {
	r.source, r.reason = source, why
	r.call.Cancel()
	r.mark.Release()
	if r.begun {
		if r.untilClose {
			r.client.conn.Abort() // an ordinary end would look like the end of the answer
		}
		r.client.gone(source, why)
		return
	}
	if r.rpc.is {
		r.answerCall(status, why)
		return
	}
	r.status = status
	r.answer(&http1.Answer{Status: status, Body: why})
}

// redirect answers with the rule's redirection.
func (r *request) redirect(m *route.Request) {
	w := r.worker
	r.count(1)
	r.status = r.rule.Def.Redirect.StatusCode
	w.target = append(w.target[:0], "Location: "...)
	w.target = append(appendLocation(w.target, r.rule.Def.Redirect, m, r.client.scheme()), "\r\n"...)
	r.answer(&http1.Answer{Status: r.status, Extra: w.target})
}

// appendLocation appends where d sends the client. What d leaves out is taken
// from the request.
func appendLocation(location []byte, d *config.Redirect, m *route.Request, received []byte) []byte {
	scheme, host, port := d.Scheme, d.Hostname, d.Port
	if scheme == "" {
		scheme = string(received)
	}
	name, ownPort := http1.SplitPort(m.Host)
	if host == "" {
		host = string(name)
	}
	location = append(location, scheme...)
	location = append(location, "://"...)
	location = append(location, host...)
	switch {
	case port == 0 && d.Scheme == "" && len(ownPort) > 0:
		location = append(location, ownPort...)
	case port != 0 && (scheme != "http" || port != 80) && (scheme != "https" || port != 443):
		location = strconv.AppendInt(append(location, ':'), int64(port), 10)
	}
	location = route.Rewritten(location, d.Path, m.Matched.Prefix, m.Path)
	if len(m.Query) > 0 {
		location = append(append(location, '?'), m.Query...)
	}
	return location
}

// answer sends an answer of our own. If the rest of the request is still to
// come, the connection closes after it.
func (r *request) answer(a *http1.Answer) {
	cl := r.client
	r.keep = r.keep && r.bodyDone && !cl.retired
	a.Close = !r.keep
	a.KeepAlive10 = r.keep && r.minor == 0
	a.HeadOnly = r.head
	a.Extra = append(a.Extra, cl.alternative()...)
	r.begun = true
	cl.out.Commit(a.Append(cl.out.Room(512)))
	r.settle()
}
