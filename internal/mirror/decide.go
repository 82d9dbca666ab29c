package mirror

import (
	"bytes"
	"math"
	"math/bits"
	"net/netip"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Subject is a request as the decision sees it. Draw is one random number per
// request, so that the requests of a 5 % mirror lie inside those of a 10 %
// mirror of the same rule.
type Subject struct {
	Head  *http1.Request // nil for a connection or a session without messages
	Match *route.Request
	Draw  uint64
	// Decision is what the policy that is offered the request says of it.
	Decision Decision
	// Deadline is when the client stops waiting, on the loop's clock; 0 = never.
	Deadline time.Duration

	// From and To are the client's and our end of the client's connection, for
	// shadows that want to be told by a PROXY header.
	From, To netip.AddrPort

	addr [16]byte // a source address as a key
}

// Decision says whether a mirror selects a request.
type Decision struct {
	Skip     traffic.Reason // why not; empty if it is selected
	Position uint64         // where the request fell, as a part of 2^64: selected if under the mirror's share
	Unkeyed  bool           // it lacks the configured key
}

// Decide says whether p selects s. It changes nothing and counts nothing.
func (p *Policy) Decide(s *Subject) Decision {
	def := p.Def
	if reason := p.unfit(s); reason != "" {
		return Decision{Skip: reason}
	}
	d := Decision{Position: s.Draw}
	if def.Key != nil {
		if key, ok := keyOf(def.Key, s); ok {
			d.Position = Position(def.Key.Salt, key)
		} else {
			d.Unkeyed = true
		}
	}
	if hi, _ := bits.Mul64(d.Position, def.Denominator); hi >= def.Numerator {
		d.Skip = traffic.SkipPercent
	}
	return d
}

// unfit says why s is not copied, whatever the draw.
func (p *Policy) unfit(s *Subject) traffic.Reason {
	def, copied, upgrade, writes := p.Def, false, false, false
	if s.Head != nil {
		_, copied = s.Head.Lookup(http1.CopyMarker)
		upgrade = s.Head.Connect() || s.Head.Upgrade() != nil && !p.upgrades(s.Head)
		writes = !s.Head.Safe() && !p.named(s)
	}
	switch {
	case def.Numerator == 0:
		return traffic.SkipOff
	case copied:
		return traffic.SkipLoop
	case upgrade:
		return traffic.SkipUpgrade
	case p.matcher != nil && !p.matcher.Match(s.Match):
		return traffic.SkipMatch
	case def.Writes == config.WritesSkip && writes:
		return traffic.SkipWrite
	}
	return ""
}

// throttled says whether a selected request at position is withheld when only
// the part throttle of the mirror's share is copied. It compares positions, so
// that the same users stay in.
func (p *Policy) throttled(position uint64, throttle float64) bool {
	if throttle >= 1 {
		return false
	}
	share := float64(p.Def.Numerator) / float64(p.Def.Denominator)
	return float64(position)/math.MaxUint64 >= share*throttle
}

// keyOf returns the bytes that decide for s, and whether the request has any.
func keyOf(k *config.Key, s *Subject) (key []byte, ok bool) {
	switch {
	case k.Header != "":
		return s.Head.Value(k.Header, 0)
	case k.Cookie != "":
		return cookie(s.Head, k.Cookie)
	case k.Source:
		s.addr = s.Match.Source.As16()
		return s.addr[:], true
	case k.Trace:
		v, _ := s.Head.Lookup(http1.Traceparent)
		return TraceID(v)
	}
	return nil, false
}

// cookie returns the value of the first cookie of that name.
func cookie(r *http1.Request, name string) (value []byte, ok bool) {
	for i := 0; ; i++ {
		line, ok := r.Value("cookie", i)
		if !ok {
			return nil, false
		}
		for len(line) > 0 {
			var pair []byte
			pair, line, _ = bytes.Cut(line, []byte(";"))
			key, value, ok := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
			if ok && string(key) == name {
				return value, true
			}
		}
	}
}

// TraceID returns the trace id of a traceparent, and whether it is well formed
// (W3C Trace Context §3.2). Later versions may have more behind the flags.
func TraceID(traceparent []byte) (id []byte, ok bool) {
	t := traceparent
	if len(t) < 55 || t[2] != '-' || t[35] != '-' || t[52] != '-' {
		return nil, false
	}
	version, id, parent, flags := t[:2], t[3:35], t[36:52], t[53:55]
	switch {
	case string(version) == "ff" || len(t) > 55 && (string(version) == "00" || t[55] != '-'):
		return nil, false
	case !isHex(version) || !isHex(id) || !isHex(parent) || !isHex(flags):
		return nil, false
	case allZero(id) || allZero(parent):
		return nil, false
	}
	return id, true
}

// isHex says whether b has lower-case hexadecimal digits only.
func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(digits []byte) bool {
	for _, c := range digits {
		if c != '0' {
			return false
		}
	}
	return true
}

// Position places a key on a circle of 2^64: FNV-1a over salt, a zero byte and
// the key, finished by MurmurHash3's mixer, because FNV alone leaves the high
// bits, which decide, uneven for short keys. It is part of the contract: every
// replica and every release must place a key alike. An empty key counts as one.
func Position(salt string, key []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(salt) {
		h = (h ^ uint64(salt[i])) * prime
	}
	h *= prime // the zero byte
	for _, c := range key {
		h = (h ^ uint64(c)) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
