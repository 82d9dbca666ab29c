package config

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A body that is kept for comparing has bounds so that one message never fills
// the memory of all.
const (
	leastCaptureBody Size = 1 << 10
	mostCaptureBody  Size = 64 << 20
	leastMemory      Size = 64 << 10
)

func (v *validator) validateCapture() {
	c, p := v.config.Capture, root("capture")
	v.bytes(p.field("body"), c.Body, leastCaptureBody, mostCaptureBody)
	v.bytes(p.field("memory"), c.Memory, leastMemory, 1<<40)
	if c.Body >= leastCaptureBody && c.Body <= mostCaptureBody && c.Memory >= leastMemory && c.Memory < c.Body {
		v.fail(p.field("memory"), "make it several times as large as body", "%s has no room for one body, %s", c.Memory, c.Body)
	}
	v.between(p.field("queue"), c.Queue, 1, 10_000_000)
	const leastCPU = 0.01 // it pauses for a hundred times as long as it works
	switch cpu := p.field("cpu"); {
	case !(c.CPU >= leastCPU && c.CPU <= 1024):
		v.fail(cpu, "write a part of a core, such as 0.5", "must be at least %v and at most 1024, is %v", leastCPU, c.CPU)
	case c.CPU > 1:
		v.warn(cpu, "write 1, or less", "has no effect beyond 1: comparing keeps one core busy at most, whatever it may")
	}
}

// leastSegment keeps a recording from being a file for every few exchanges.
const leastSegment Size = 64 << 10

func (v *validator) validateRecord() {
	r, p := v.config.Record, root("record")
	if r == nil {
		return
	}
	v.warnOfUnrecorded(p)
	if r.Directory == "" {
		v.fail(p.field("directory"), "name a directory for recordings, or remove the section", "is missing")
	}
	v.percent(p.field("percent"), *r.Percent)
	v.bytes(p.field("segment"), r.Segment, leastSegment, 16<<30)
	v.bytes(p.field("size"), r.Size, leastSegment, 1<<50)
	if r.Size >= leastSegment && r.Size < r.Segment {
		v.fail(p.field("size"), "make it several times as large as segment", "%s has no room for one segment, %s", r.Size, r.Segment)
	}
}

// warnOfUnrecorded names the routes of which there is nothing to be recorded.
func (v *validator) warnOfUnrecorded(p *place) {
	for i := range v.config.Routes {
		r := &v.config.Routes[i]
		if protocol := v.config.ProtocolOf(r); layer4(protocol) {
			v.warn(p, "record requests where they can be read: at a listener of HTTP or HTTPS",
				"nothing of route %s is recorded, which is of %s: there are no messages that the proxy reads", abridged(r.Name), protocol)
		}
	}
}

// leastKey is too long to be tried out.
const leastKey = 16

func (v *validator) validateRedact() {
	r, p := v.config.Redact, root("redact")
	for i, name := range r.Headers {
		if !isToken(name) {
			v.fail(p.field("headers").at(i), "use letters, digits and hyphens", "%q is not the name of a header", abridged(name))
		}
	}
	v.notEmpty(p.field("query"), r.Query)
	for i, name := range r.Fields {
		if slices.Contains(strings.Split(name, "."), "") {
			v.fail(p.field("fields").at(i), "write a name, as password, or a path, as card.number", "%q names no field", abridged(name))
		}
	}
	for i := range r.Protobuf {
		v.validateRedactProtobuf(p.field("protobuf").at(i), &r.Protobuf[i])
	}
	v.notEmpty(p.field("keep"), r.Keep)
	switch key := p.field("key"); {
	case r.Key == "":
	case r.Key == Redacted:
		v.fail(key, "put the key itself here", "is what is shown instead of a key")
	case len(r.Key) < leastKey:
		v.fail(key, "write as many random characters, or leave it out for a new key at every start", "must have %d characters or more", leastKey)
	}
}

func (v *validator) validateRedactProtobuf(p *place, r *RedactProtobuf) {
	if service, method, ok := strings.Cut(r.Method, "/"); r.Method != "*" && !(ok && isService(service) && (method == "*" || isIdentifier(method))) {
		v.fail(p.field("method"), "write it like shop.v1.Cart/Get, shop.v1.Cart/* for all of a service, or * for all", "%q does not name a method", abridged(r.Method))
	}
	if len(r.Fields) == 0 {
		v.fail(p.field("fields"), "write the numbers of fields, as [\"3\", \"4.1\"]", "is empty, so nothing would be replaced")
	}
	for i, path := range r.Fields {
		for number := range strings.SplitSeq(path, ".") {
			if n, err := strconv.Atoi(number); err != nil || n < 1 || n > 1<<29-1 {
				v.fail(p.field("fields").at(i), "write the number of a field, as 3, or of one within, as 4.1", "%q is not a path of field numbers", abridged(path))
				break
			}
		}
	}
}

func (v *validator) notEmpty(list *place, names []string) {
	for i, name := range names {
		if name == "" {
			v.fail(list.at(i), "remove it", "is empty")
		}
	}
}

func (v *validator) validateCompare(p *place, r *Rule, m *Mirror) {
	c := &m.Compare
	if m.Upgrades == UpgradesCopy && *c.Percent != 0 && !usual(*c) {
		v.warn(p, "nothing needs to be done, if that is meant", "is about requests only: of the WebSockets that upgrades: copy copies, nothing is compared")
	}
	v.percent(p.field("percent"), *c.Percent)
	for i := range c.Rules {
		v.validateCompareRule(p.field("rules").at(i), &c.Rules[i])
	}
	for i, template := range c.Endpoints {
		at := p.field("endpoints").at(i)
		if first := slices.Index(c.Endpoints, template); first < i {
			v.fail(at, "remove one of them", "%s is listed twice", abridged(template))
			continue
		}
		v.template(at, template)
	}
	v.notEmpty(p.field("descriptors"), c.Descriptors)
	if c.Baseline != "" {
		v.reference(p.field("baseline"), "backend", c.Baseline, v.backends)
		switch {
		case c.Baseline == m.Backend:
			v.fail(p.field("baseline"), "name a backend that runs the primary's version", "is the shadow itself, which cannot say how the primary's version differs from itself")
		case slices.ContainsFunc(r.Backends, func(b BackendRef) bool { return b.Name == c.Baseline }):
			v.warn(p.field("baseline"), "name a backend of other instances of that version",
				"is where live requests go, which then gets requests that no client has sent")
		}
	}
	v.percent(p.field("repeat"), *c.Repeat)
	if c.Baseline != "" && *c.Repeat == 0 {
		v.fail(p.field("baseline"), "write repeat: 1, or leave it out", "has no effect with repeat: 0, which is the share of requests that it gets")
	}
	v.validateJudge(p.field("judge"), &c.Judge)
}

// usual says that c is what there is without a compare block.
func usual(c Compare) bool {
	nothing := Compare{}
	setCompareDefaults(&nothing)
	for _, list := range []*[]string{&c.Endpoints, &c.Descriptors} {
		if len(*list) == 0 {
			*list = nil // an empty list says no more than none
		}
	}
	if len(c.Rules) == 0 {
		c.Rules = nil
	}
	return reflect.DeepEqual(c, nothing)
}

func (v *validator) validateJudge(p *place, j *Judge) {
	const leastAlpha, mostAlpha = 1e-9, 0.5
	if !(j.Alpha >= leastAlpha && j.Alpha <= mostAlpha) {
		v.fail(p.field("alpha"), "0.05 is one wrong FAIL in 20", "must be between %v and %v, is %v", leastAlpha, mostAlpha, j.Alpha)
	}
	share := func(name string, percent float64) {
		if !(percent > 0 && percent <= 100) {
			v.fail(p.field(name), "no number of pairs shows that there is none at all; 0.1 is one in 1000", "must be more than 0 and at most 100, is %v", percent)
		}
	}
	share("excess", *j.Excess)
	share("errors", *j.Errors)
	if !(*j.Latency > 0 && *j.Latency <= 10_000) {
		v.fail(p.field("latency"), "5 allows a shadow to be 5 % slower", "must be more than 0 and at most 10000, is %v", *j.Latency)
	}
	v.between(p.field("pairs"), j.Pairs, 1, 1_000_000_000)
}

// template checks a path in which {name} stands for one element.
func (v *validator) template(p *place, template string) {
	const hint = "write it like /users/{id}/orders"
	v.pathText(p, strings.NewReplacer("{", "", "}", "").Replace(template))
	for element := range strings.SplitSeq(template, "/") {
		name, opens := strings.CutPrefix(element, "{")
		name, closes := strings.CutSuffix(name, "}")
		if opens != closes || opens && name == "" || strings.ContainsAny(name, "{}") {
			v.fail(p, hint, "%q is neither a text nor {name}", abridged(element))
			return
		}
	}
}

func (v *validator) validateCompareRule(p *place, r *CompareRule) {
	v.comparePath(p.field("path"), r.Path)
	v.compareEndpoint(p.field("endpoint"), r.Endpoint)
	asks := 0
	for _, set := range []bool{r.Ignore, r.Shape, r.Set, r.Key != "", r.Number != "", r.Time != nil, r.Pattern != ""} {
		if set {
			asks++
		}
	}
	if asks != 1 {
		v.fail(p, "set one of ignore, shape, set, key, number, time and pattern", "must say exactly one thing about its path, says %d", asks)
	}
	if r.Number != "" && !isTolerance(r.Number) {
		v.fail(p.field("number"), "write how much numbers may differ, as \"0.01\" or \"1%\"", "%q is not a number, or is below 0", abridged(r.Number))
	}
	if r.Pattern != "" {
		v.pattern(p.field("pattern"), r.Pattern)
	}
}

// isTolerance says whether s is a number of 0 or more, or such a percentage. 0 takes
// back what a rule for more places allows.
func isTolerance(s string) bool {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return err == nil && n >= 0 && !math.IsInf(n, 0)
}

// compareEndpoint checks METHOD /template, in which either part may be *.
func (v *validator) compareEndpoint(p *place, endpoint string) {
	if endpoint == "" {
		return
	}
	method, template, ok := strings.Cut(endpoint, " ")
	if !ok || !isToken(method) || strings.ToUpper(method) != method {
		v.fail(p, "write it like GET /users/{id}, or * /users/{id} for all methods", "%q is not a method and a path", abridged(endpoint))
		return
	}
	if template != "*" {
		v.template(p, template)
	}
}

// comparePath checks where a path begins. Whoever compares reads the rest, and
// says what is wrong with it.
func (v *validator) comparePath(p *place, path string) {
	const hint = "write status, header.NAME, trailer.NAME, or body and what follows, as body.items[*].price"
	root, _, _ := strings.Cut(strings.NewReplacer("[", ".", "{", ".").Replace(path), ".")
	switch {
	case path == "":
		v.fail(p, hint, "is missing")
	case !slices.Contains([]string{"status", "header", "trailer", "body"}, root):
		v.fail(p, hint, "%q begins with none of status, header, trailer and body", abridged(path))
	}
}
