package config

import (
	"math"
	"time"
)

// The defaults that other rooms' documentation and the reference cite.
const (
	defaultBackendTimeout  = Timeout(60 * time.Second)
	defaultIdleTimeout     = Timeout(60 * time.Second)
	defaultStreamIdle      = Timeout(time.Hour) // databases and their like are silent for long
	defaultSessions        = 10_000
	defaultCopyTimeout     = Timeout(15 * time.Second)
	defaultBodyLimit       = Size(10 << 20)
	defaultInFlight        = 256
	defaultQueue           = 1024
	defaultMemory          = Size(32 << 20)
	defaultTotalInFlight   = 4096
	defaultTotalMemory     = Size(256 << 20)
	defaultConnectTimeout  = Timeout(5 * time.Second)
	defaultTargetLimit     = Size(16 << 10)
	defaultCaptureBody     = Size(256 << 10)
	defaultCaptureMemory   = Size(16 << 20)
	defaultCaptureQueue    = 4096
	defaultSegment         = Size(64 << 20)
	defaultRecordSize      = Size(10 << 30)
	defaultPoolIdleTimeout = Timeout(50 * time.Second) // shorter than the 60 s after which many servers hang up
)

// setDefaults fills in everything that was left out. It is the only place that
// knows defaults, is applied once, and changes nothing that is set. It never
// fails: what is wrong is left for validate to say.
func setDefaults(c *Config) {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		or(&l.Protocol, "HTTP")
		if l.Protocol == "UDP" {
			or(&l.Sessions, defaultSessions)
		}
		if l.TLS != nil {
			setTLSDefaults(l)
		}
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		protocol := c.ProtocolOf(r)
		for j := range r.Rules {
			if layer4(protocol) {
				setLayer4Defaults(&r.Rules[j], protocol)
			} else {
				setRuleDefaults(&r.Rules[j])
			}
		}
	}
	for i := range c.Backends {
		b := &c.Backends[i]
		or(&b.Protocol, ProtocolAuto)
		or(&b.Balance, RoundRobin)
		or(&b.ConnectTimeout, defaultConnectTimeout)
		or(&b.IdleTimeout, defaultPoolIdleTimeout)
		or(&b.Health.Failures, 3)
		or(&b.Health.Eject, Timeout(5*time.Second))
	}
	orNew(&c.AccessLog.Percent, 100)
	or(&c.Client.HeadLimit, 64<<10)
	or(&c.Client.TargetLimit, min(defaultTargetLimit, max(c.Client.HeadLimit, leastTargetLimit)))
	or(&c.Client.HeaderCount, 128)
	or(&c.Client.HeadTimeout, Timeout(30*time.Second))
	or(&c.Client.IdleTimeout, Timeout(75*time.Second))
	or(&c.Client.Streams, 128)
	or(&c.Copies.InFlight, defaultTotalInFlight)
	or(&c.Copies.Memory, defaultTotalMemory)
	or(&c.Capture.Body, defaultCaptureBody)
	or(&c.Capture.Memory, defaultCaptureMemory)
	or(&c.Capture.Queue, defaultCaptureQueue)
	or(&c.Capture.CPU, 1)
	orNew(&c.Capture.Yield, true)
	if c.Record != nil {
		orNew(&c.Record.Percent, 100)
		or(&c.Record.Segment, defaultSegment)
		or(&c.Record.Size, defaultRecordSize)
	}
	or(&c.Shutdown.Drain, Timeout(30*time.Second))
	or(&c.Shutdown.Copies, Timeout(5*time.Second))
}

func setTLSDefaults(l *Listener) {
	t := l.TLS
	if l.Protocol == "HTTPS" {
		or(&t.Mode, TLSTerminate)
	}
	if l.Protocol != "HTTPS" && t.Mode != TLSTerminate {
		return
	}
	or(&t.ClientAuth, ClientAuthNone)
	or(&t.MinVersion, "1.2")
	if len(t.ALPN) == 0 && l.Protocol == "HTTPS" {
		t.ALPN = []string{"h2", "http/1.1"}
	}
}

func setRuleDefaults(r *Rule) {
	for i := range r.Matches {
		setMatchDefaults(&r.Matches[i])
	}
	or(&r.Timeouts.Request, TimeoutOff)
	or(&r.Timeouts.Backend, defaultBackendTimeout)
	or(&r.Timeouts.Idle, defaultIdleTimeout)
	if r.Redirect != nil {
		or(&r.Redirect.StatusCode, 302)
	}
	for i := range r.Backends {
		orNew(&r.Backends[i].Weight, 1)
	}
	for i := range r.Mirrors {
		setMirrorDefaults(&r.Mirrors[i])
	}
}

// ProtocolOf is the protocol of the first listener that r, a route of c, serves:
// the others go with it. A route that names none serves HTTP.
func (c *Config) ProtocolOf(r *Route) string {
	for i := range c.Listeners {
		if len(r.Listeners) > 0 && c.Listeners[i].Name == r.Listeners[0] {
			return c.Listeners[i].Protocol
		}
	}
	return "HTTP"
}

// setLayer4Defaults leaves unset what has no meaning without messages, so that
// whatever is set there was written and can be refused.
func setLayer4Defaults(r *Rule, protocol string) {
	idle := defaultStreamIdle
	if protocol == "UDP" {
		idle = defaultIdleTimeout
	}
	or(&r.Timeouts.Idle, idle)
	for i := range r.Backends {
		orNew(&r.Backends[i].Weight, 1)
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		m.Layer4 = true
		or(&m.Name, m.Backend)
		setBackoffDefaults(&m.Backoff)
		or(&m.Limits.InFlight, defaultInFlight)
		or(&m.Limits.Memory, defaultMemory)
		if protocol == "UDP" {
			or(&m.Limits.Queue, defaultQueue)
		} else {
			or(&m.Timeout, defaultCopyTimeout)
			or(&m.Limits.Connections, m.Limits.InFlight)
		}
		setShare(m)
	}
}

func setBackoffDefaults(b *Backoff) {
	or(&b.Failures, 5)
	or(&b.Base, Timeout(time.Second))
	or(&b.Max, max(Timeout(60*time.Second), b.Base))
}

func setMatchDefaults(m *Match) {
	if m.Path != nil {
		or(&m.Path.Type, PathPrefix)
	}
	if m.GRPC != nil {
		or(&m.GRPC.Type, ValueExact)
	}
	for _, list := range [][]ValueMatch{m.Headers, m.Query, m.Cookies} {
		for i := range list {
			or(&list[i].Type, ValueExact)
		}
	}
}

func setMirrorDefaults(m *Mirror) {
	or(&m.Name, m.Backend)
	or(&m.Writes, WritesSkip)
	or(&m.Upgrades, UpgradesSkip)
	or(&m.Host.Kind, HostPreserve)
	orNew(&m.Marker, true)
	or(&m.Body.Limit, defaultBodyLimit)
	or(&m.Body.OverLimit, OverLimitSkip)
	or(&m.Timeout, defaultCopyTimeout)
	or(&m.Pipeline, 1)
	setBackoffDefaults(&m.Backoff)
	orNew(&m.Backoff.Adaptive, true)
	or(&m.Limits.InFlight, defaultInFlight)
	or(&m.Limits.Queue, defaultQueue)
	or(&m.Limits.Memory, defaultMemory)
	or(&m.Limits.Connections, m.Limits.InFlight)
	if m.Match != nil {
		setMatchDefaults(m.Match)
	}
	setCompareDefaults(&m.Compare)
	setShare(m)
}

func setCompareDefaults(c *Compare) {
	orNew(&c.Percent, 100)
	orNew(&c.Repeat, 1)
	orNew(&c.Requery, true)
	or(&c.Judge.Alpha, 0.05)
	orNew(&c.Judge.Excess, 0.1)
	orNew(&c.Judge.Errors, 0.1)
	orNew(&c.Judge.Latency, 5)
	or(&c.Judge.Pairs, 300)
}

// setShare turns Percent or Fraction into an exact fraction. Percent stays nil
// beside a Fraction, so that the configuration in force reads like the file.
func setShare(m *Mirror) {
	if m.Fraction != nil {
		or(&m.Fraction.Denominator, 100)
		m.Numerator = uint64(max(m.Fraction.Numerator, 0))
		m.Denominator = uint64(max(m.Fraction.Denominator, 1))
		return
	}
	orNew(&m.Percent, 100)
	m.Numerator = uint64(perMillion(*m.Percent))
	m.Denominator = uint64(Whole)
}

// perMillion is a percentage in parts per million, within 0 to Whole.
func perMillion(percent float64) Share {
	return Share(math.Round(min(max(percent, 0), 100) * float64(Whole) / 100))
}

// or sets what is unset.
func or[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// orNew points a nil pointer at a value of its own.
func orNew[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}
