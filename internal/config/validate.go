package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// validator collects the problems of a Config whose defaults are set.
type validator struct {
	config    *Config
	failed    *failures
	errs      Errors
	listeners []string
	backends  []string
}

// validate reports every problem. It is the only place that knows what a valid
// Config is; it changes nothing.
func validate(c *Config, failed *failures) Errors {
	v := &validator{config: c, failed: failed}
	for i := range c.Listeners {
		v.listeners = append(v.listeners, c.Listeners[i].Name)
	}
	for i := range c.Backends {
		v.backends = append(v.backends, c.Backends[i].Name)
	}
	v.validateListeners()
	v.validateRoutes()
	v.validateBackends()
	v.validateAdmin()
	v.percent(root("accessLog").field("percent"), *c.AccessLog.Percent)
	v.validateClient()
	v.between(root("copies").field("inFlight"), v.config.Copies.InFlight, 1, 10_000_000)
	v.bytes(root("copies").field("memory"), v.config.Copies.Memory, 64<<10, 1<<40)
	v.validateTrustedProxies()
	v.validateCapture()
	v.validateRedact()
	v.validateRecord()
	v.between(root("workers"), c.Workers, 0, 1024)
	return v.errs
}

// root is a field of the Config itself.
func root(name string) *place { return (*place)(nil).field(name) }

func (v *validator) fail(p *place, hint, format string, args ...any) {
	v.errs = append(v.errs, FieldError{Path: p.String(), Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (v *validator) validateListeners() {
	list := root("listeners")
	if len(v.config.Listeners) == 0 {
		v.fail(list, "add one like {name: web, address: \"127.0.0.1:8080\"}", "is empty, so nobody could connect")
	}
	v.unique(list, v.listeners, "listener")
	addresses := make(map[string]int)
	for i := range v.config.Listeners {
		l, p := &v.config.Listeners[i], list.at(i)
		v.validateProtocol(p, l)
		if err := checkListen(l.Address); err != nil {
			v.fail(p.field("address"), err.hint, "%s", err.message)
			continue
		}
		for _, network := range networks(l) { // one address of TCP may also be one of UDP
			socket := network + l.Address
			first, taken := addresses[socket]
			switch {
			case !taken || strings.HasSuffix(l.Address, ":0"):
				addresses[socket] = i
			case l.HTTP3 != nil && network == "udp ":
				v.fail(p.field("http3"), "give one of them another port", "needs UDP at %s, which listeners[%d] has", l.Address, first)
			default:
				v.fail(p.field("address"), "give it another port", "%s is the address of listeners[%d]", l.Address, first)
			}
		}
	}
}

// networks are those in which a listener has its address.
func networks(l *Listener) []string {
	switch {
	case l.Protocol == "UDP":
		return []string{"udp "}
	case l.HTTP3 != nil:
		return []string{"tcp ", "udp "}
	}
	return []string{"tcp "}
}

func (v *validator) validateProtocol(p *place, l *Listener) {
	switch l.Protocol {
	case "HTTP", "HTTPS", "TLS", "TCP", "UDP":
		v.validateTransport(p, l)
	default:
		v.fail(p.field("protocol"), suggest(l.Protocol, []string{"HTTP", "HTTPS", "TLS", "TCP", "UDP"}), "%q is not a protocol", l.Protocol)
	}
}

func (v *validator) validateBackends() {
	list := root("backends")
	v.unique(list, v.backends, "backend")
	for i := range v.config.Backends {
		b, p := &v.config.Backends[i], list.at(i)
		if len(b.Endpoints) == 0 {
			v.fail(p.field("endpoints"), "write them like [\"127.0.0.1:9000\"]", "is empty, so requests could go nowhere")
		}
		for j, endpoint := range b.Endpoints {
			at := p.field("endpoints").at(j)
			if err := checkEndpoint(endpoint); err != nil {
				v.fail(at, err.hint, "%s", err.message)
			} else if first := slices.Index(b.Endpoints, endpoint); first < j {
				v.fail(at, "remove one of them", "%s is listed twice", endpoint)
			}
		}
		oneOf(v, p.field("protocol"), b.Protocol, ProtocolAuto, ProtocolHTTP1, ProtocolHTTP2)
		oneOf(v, p.field("balance"), b.Balance, RoundRobin, LeastRequest)
		if b.ProxyProtocol != "" {
			oneOf(v, p.field("proxyProtocol"), b.ProxyProtocol, "v1", "v2")
			if b.Protocol == ProtocolHTTP2 {
				v.fail(p.field("proxyProtocol"), "use protocol: HTTP1", "tells of the client of a whole connection, which HTTP2 shares among clients")
			}
		}
		if b.TLS != nil {
			v.backendTLS(p.field("tls"), b.TLS)
		}
		health := p.field("health")
		if b.Health.Failures < -1 {
			v.fail(health.field("failures"), "write -1 to never eject an endpoint", "must be -1 or more, is %d", b.Health.Failures)
		}
		if b.Health.Eject < 0 {
			v.fail(health.field("eject"), "to never eject an endpoint write failures: -1", "must be a duration, is off")
		}
	}
}

func (v *validator) validateAdmin() {
	a, p := v.config.Admin, root("admin")
	if a.Address == "" {
		if a.Token != "" || a.Pprof {
			v.fail(p.field("address"), "write it like 127.0.0.1:9900, or remove the section", "is missing, so the rest of the section has no effect")
		}
		return
	}
	if err := checkListen(a.Address); err != nil {
		v.fail(p.field("address"), err.hint, "%s", err.message)
		return
	}
	for i := range v.config.Listeners {
		l := &v.config.Listeners[i]
		if l.Address == a.Address && l.Protocol != "UDP" && !strings.HasSuffix(a.Address, ":0") {
			v.fail(p.field("address"), "give it another port", "%s is the address of listeners[%d]", a.Address, i)
		}
	}
	switch {
	case a.Token == "" && !isLoopback(a.Address):
		v.fail(p.field("token"), "set one, or use a loopback address such as 127.0.0.1:9900", "is missing, but %s can be reached from other machines", a.Address)
	case a.Token == Redacted:
		v.fail(p.field("token"), "put the token itself here", "is what is shown instead of a token")
	case strings.ContainsFunc(a.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		v.fail(p.field("token"), "use letters, digits and punctuation", "must be plain text without spaces")
	}
}

// What every client may send, and what none may.
const (
	leastHeadLimit   Size = 1 << 10
	leastTargetLimit Size = 256
	mostHeadLimit    Size = 1 << 20
)

func (v *validator) validateClient() {
	c, p := v.config.Client, root("client")
	v.bytes(p.field("headLimit"), c.HeadLimit, leastHeadLimit, mostHeadLimit)
	v.bytes(p.field("targetLimit"), c.TargetLimit, leastTargetLimit, mostHeadLimit)
	if c.HeadLimit >= leastHeadLimit && c.TargetLimit > c.HeadLimit {
		v.fail(p.field("targetLimit"), "the target is part of the head", "%s is more than headLimit, %s", c.TargetLimit, c.HeadLimit)
	}
	v.between(p.field("headerCount"), c.HeaderCount, 1, 10_000)
	v.between(p.field("connections"), c.Connections, 0, 10_000_000)
	v.between(p.field("streams"), c.Streams, 1, 10_000)
}

func (v *validator) validateTrustedProxies() {
	t, p := v.config.TrustedProxies, root("trustedProxies")
	v.between(p.field("depth"), t.Depth, 0, 100)
	if t.Depth > 0 && len(t.Sources) == 0 {
		v.fail(p.field("depth"), "list the proxies' addresses under sources", "has no effect, because no source is trusted")
	}
}

// unique checks names that others refer to.
func (v *validator) unique(list *place, names []string, noun string) {
	seen := make(map[string]int, len(names))
	for i, name := range names {
		p := list.at(i).field("name")
		first, again := seen[name]
		switch {
		case name == "":
			v.fail(p, "give every "+noun+" a name", "is missing")
			continue
		case again:
			v.fail(p, "give one of them another name", "%s[%d] is called %q too", list, first, name)
			continue
		}
		seen[name] = i
		v.name(p, name)
	}
}

// name checks what becomes a metric label, a header value and part of a URL.
func (v *validator) name(p *place, name string) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:"
	switch {
	case len(name) > 253:
		v.fail(p, "shorten it", "has more than 253 characters")
	case strings.Trim(name, allowed) != "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(allowed, r) }):
		v.fail(p, "use letters, digits and . _ - / :", "%q has other characters than a name may have", abridged(name))
	}
}

// reference checks that name is one of names, unless some of those are not
// known: that is reported where they are.
func (v *validator) reference(p *place, noun, name string, names []string) {
	switch {
	case name == "":
		v.fail(p, "", "is missing; it is the name of a %s", noun)
	case !slices.Contains(names, name) && !slices.Contains(names, "") && !v.failed.at[noun+"s"]:
		v.fail(p, suggest(name, names), "there is no %s called %q", noun, abridged(name))
	}
}

func (v *validator) between(p *place, n, least, most int) {
	if n < least || n > most {
		v.fail(p, "", "must be between %d and %d, is %d", least, most, n)
	}
}

func (v *validator) bytes(p *place, s, least, most Size) {
	switch {
	case s < 0:
		v.fail(p, fmt.Sprintf("write a size of at most %s", most), "must have a limit")
	case s < least || s > most:
		v.fail(p, "", "must be between %s and %s, is %s", least, most, s)
	}
}

// percent allows four decimals, which is one part per million.
func (v *validator) percent(p *place, percent float64) {
	const rounding = 1e-6 // of a part per million: a float is hardly ever exact
	switch parts := percent * float64(Whole) / 100; {
	case !(percent >= 0 && percent <= 100): // so that NaN is refused
		v.fail(p, "", "must be between 0 and 100, is %v", percent)
	case math.Abs(parts-math.Round(parts)) > rounding:
		v.fail(p, "use a fraction such as {numerator: 1, denominator: 3} where there is one", "%v has more than four decimals", percent)
	}
}

// on refuses "off" where going without a limit would let something wait for
// ever.
func (v *validator) on(p *place, t Timeout, why string) {
	if t < 0 {
		v.fail(p, fmt.Sprintf("write a duration of at most %s", Timeout(maxTimeout)), "must not be off: %s", why)
	}
}

// oneOf checks a value from a closed set.
func oneOf[T ~string](v *validator, p *place, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	v.fail(p, suggest(string(value), words), "%q is not possible here", abridged(string(value)))
}
