package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// requestReport is what becomes of one request.
type requestReport struct {
	Listener string         `json:"listener"`
	Client   string         `json:"client"`
	Steps    []stepReport   `json:"steps"` // rules in the order in which they are tried
	Rule     *stepReport    `json:"rule"`  // the one that matched; null = none
	Status   int            `json:"status,omitempty"`
	Answer   string         `json:"answer,omitempty"` // of the proxy itself
	Backends []shareReport  `json:"backends"`
	Primary  string         `json:"primary,omitempty"` // the head that the primary gets
	Mirrors  []mirrorReport `json:"mirrors"`
}

type stepReport struct {
	Route  string `json:"route"`
	Rule   int    `json:"rule"`
	Match  int    `json:"match"`
	Reason string `json:"reason,omitempty"` // why not; empty = it matches
}

type shareReport struct {
	Backend   string   `json:"backend"`
	Share     string   `json:"share"`
	Endpoints []string `json:"endpoints"`
}

type mirrorReport struct {
	Mirror  string `json:"mirror"`
	Backend string `json:"backend"`
	Copied  string `json:"copied"` // yes, no, or by chance
	Reason  string `json:"reason,omitempty"`
	Why     string `json:"why"`
	Head    string `json:"head,omitempty"` // of the copy
}

func newRequestReport(cfg *config.Config, x *proxy.Explanation) *requestReport {
	r := &requestReport{
		Client: x.Client.String(), Status: x.Status, Answer: x.Answer, Primary: headText(x.Primary),
		Steps: []stepReport{}, Backends: []shareReport{}, Mirrors: []mirrorReport{},
	}
	for _, s := range x.Steps {
		r.Steps = append(r.Steps, stepReport{s.Rule.Route, s.Rule.Index, s.Match, s.Reason})
	}
	if x.Matched == nil {
		return r
	}
	r.Rule = &r.Steps[len(r.Steps)-1]
	total := 0
	for _, b := range x.Matched.Def.Backends {
		total += weight(b)
	}
	for _, b := range x.Matched.Def.Backends {
		r.Backends = append(r.Backends, shareReport{b.Name, percentText(float64(weight(b)), float64(total)), endpoints(cfg, b.Name)})
	}
	for _, m := range x.Mirrors {
		r.Mirrors = append(r.Mirrors, newMirrorReport(m))
	}
	return r
}

func endpoints(cfg *config.Config, backend string) []string {
	for i := range cfg.Backends {
		if cfg.Backends[i].Name == backend {
			return cfg.Backends[i].Endpoints
		}
	}
	return nil
}

func headText(head []byte) string {
	return strings.TrimSpace(strings.ReplaceAll(string(head), "\r\n", "\n"))
}

func newMirrorReport(x *mirror.Explanation) mirrorReport {
	r := mirrorReport{Mirror: x.Def.Name, Backend: x.Def.Backend, Copied: "no", Reason: string(x.Reason), Head: headText(x.Head)}
	share := shareText(x.Def)
	switch x.Reason {
	case traffic.SkipOff:
		r.Why = "the share is 0"
	case traffic.SkipLoop:
		r.Why = "it is itself a copy: it carries x-understudy-copy"
	case traffic.SkipUpgrade:
		r.Why = x.Detail
	case traffic.SkipMatch:
		r.Why = "the mirror's own match does not hold: " + x.Detail
	case traffic.SkipWrite:
		r.Why = cmp.Or(x.Detail, "the method writes, and the mirror says writes: skip (writes: copy would copy it)")
	case traffic.SkipPercent:
		r.Why = fmt.Sprintf("its %s falls at %s, outside of %s", keyText(x.Def.Key), positionText(x), share)
	case traffic.DropBodyLimit:
		r.Why = fmt.Sprintf("the body is over %s, and the mirror says overLimit: skip", x.Def.Body.Limit)
	default:
		r.Copied, r.Why = selected(x, share)
	}
	return r
}

// noun is what a mirror copies.
func noun(def *config.Mirror) string {
	if def.Layer4 {
		return "connections"
	}
	return "requests"
}

// selected says why a request is copied, or how often.
func selected(x *mirror.Explanation, share string) (copied, why string) {
	switch {
	case x.Def.Numerator >= x.Def.Denominator:
		return "yes", "all such " + noun(x.Def) + " are"
	case x.Unkeyed:
		return "by chance", fmt.Sprintf("%s of requests are; this one has no %s to decide it", share, keyText(x.Def.Key))
	case x.ByChance:
		return "by chance", share + " of " + noun(x.Def) + " are"
	}
	return "yes", fmt.Sprintf("its %s falls at %s, inside of %s", keyText(x.Def.Key), positionText(x), share)
}

func positionText(x *mirror.Explanation) string { return fmt.Sprintf("%.4f %%", 100*x.Position) }

// printRequest writes the report for people.
func (o *checkOptions) printRequest(r *requestReport) {
	color := o.streams.Color && o.streams.OutIsTerminal
	var b strings.Builder
	switch {
	case !o.connection():
		fmt.Fprintf(&b, "%s\n  %s, from %s, on listener %s\n\n", paint("Request", bold, color), o.request, r.Client, r.Listener)
	case o.server != "":
		fmt.Fprintf(&b, "%s\n  to %s, from %s, on listener %s\n\n", paint("Connection", bold, color), o.server, r.Client, r.Listener)
	default:
		fmt.Fprintf(&b, "%s\n  from %s, on listener %s\n\n", paint("Connection", bold, color), r.Client, r.Listener)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintln(&b, paint("Rules, as they are tried", bold, color))
	}
	for _, s := range r.Steps {
		verdict := paint("matches", good, color)
		if s.Reason != "" {
			verdict = "no: " + s.Reason
		}
		fmt.Fprintf(&b, "  %s, rule %d, match %d: %s\n", s.Route, s.Rule, s.Match, verdict)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintln(&b)
	}
	if o.connection() {
		fmt.Fprintln(&b, paint("Live connection", bold, color))
	} else {
		fmt.Fprintln(&b, paint("Live request", bold, color))
	}
	if o.connection() && r.Rule == nil {
		fmt.Fprintln(&b, "  the proxy resets it: no route matches")
	}
	if r.Status != 0 {
		fmt.Fprintf(&b, "  the proxy answers %d itself: %s\n", r.Status, r.Answer)
	}
	for _, s := range r.Backends {
		fmt.Fprintf(&b, "  goes to %s (%s), %s\n", s.Backend, strings.Join(s.Endpoints, ", "), s.Share)
	}
	writeHead(&b, r.Primary, color)
	for _, m := range r.Mirrors {
		name := m.Mirror
		if name != m.Backend {
			name += " to " + m.Backend
		}
		verdict := m.Copied
		if m.Copied != "no" {
			verdict = paint(verdict, good, color)
		}
		fmt.Fprintf(&b, "\n%s\n  %s: %s\n", paint("Copy by "+name, bold, color), verdict, m.Why)
		writeHead(&b, m.Head, color)
	}
	fmt.Fprint(o.streams.Out, b.String())
}

func writeHead(b *strings.Builder, head string, color bool) {
	if head == "" {
		return
	}
	for line := range strings.SplitSeq(head, "\n") {
		fmt.Fprintf(b, "    %s\n", paint(line, faint, color))
	}
}
