package config

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
)

// textError says why a word with a meaning cannot be read.
type textError struct{ message, hint string }

func textErrorf(hint, format string, args ...any) *textError {
	return &textError{fmt.Sprintf(format, args...), hint}
}

// Timeouts are bounded so that timers stay simple; whoever needs more means
// "off".
const (
	minTimeout = time.Millisecond
	maxTimeout = 24 * time.Hour
)

func parseTimeout(s string) (Timeout, *textError) {
	if s == "off" {
		return TimeoutOff, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isDigits(s):
		return 0, textErrorf(fmt.Sprintf("did you mean %ss?", s), "%s has no unit", s)
	case err != nil:
		return 0, textErrorf("write it like 500ms, 15s, 1m30s or off", "must be a duration, is %q", abridged(s))
	case d == 0:
		return TimeoutOff, nil
	case d < minTimeout || d > maxTimeout:
		return 0, textErrorf("write off for no limit", "must be between 1ms and 24h, is %s", abridged(s))
	}
	return Timeout(d), nil
}

// parseDuration reads how long something takes or may be off. It is never 0.
func parseDuration(s string) (time.Duration, *textError) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isDigits(s):
		return 0, textErrorf(fmt.Sprintf("did you mean %ss?", s), "%s has no unit", s)
	case err != nil:
		return 0, textErrorf("write it like 500ms, 5s or 1m30s", "must be a duration, is %q", abridged(s))
	case d <= 0:
		return 0, textErrorf("", "must be more than 0, is %s", abridged(s))
	}
	return d, nil
}

// Ages are bounded so that they can be added to any date.
const (
	minAge = time.Minute
	maxAge = 100 * 365 * day
	day    = 24 * time.Hour
)

// parseAge reads a duration that may be in days.
func parseAge(s string) (Age, *textError) {
	const hint = "write it like 36h or 30d"
	var d time.Duration
	if digits, ok := strings.CutSuffix(s, "d"); ok && isDigits(digits) {
		days, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || days > int64(maxAge/day) {
			return 0, textErrorf("leave it out for no limit", "%s is too old", abridged(s))
		}
		d = time.Duration(days) * day
	} else {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			return 0, textErrorf(hint, "must be an age, is %q", abridged(s))
		}
	}
	if d < minAge || d > maxAge {
		return 0, textErrorf("leave it out for no limit", "must be between 1m and %s, is %s", Age(maxAge), abridged(s))
	}
	return Age(d), nil
}

// String is the age in whole days, or else as a duration.
func (a Age) String() string {
	if d := time.Duration(a); d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return Timeout(a).String()
}

// String is "off", or the duration without the units that are zero: 1m30s,
// 24h.
func (t Timeout) String() string {
	if t < 0 {
		return "off"
	}
	s := time.Duration(t).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Duration is for timers: 0 if the timeout is off or unset.
func (t Timeout) Duration() time.Duration { return max(time.Duration(t), 0) }

// sizeUnits are tried in this order; the empty one is last.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1},
}

// SizeNone is "no limit" where a field allows it.
const SizeNone Size = -1

func parseSize(s string) (Size, *textError) {
	if s == "none" {
		return SizeNone, nil
	}
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok || !isDigits(strings.TrimSpace(digits)) {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		switch {
		case err != nil || n > math.MaxInt64/unit.bytes:
			return 0, textErrorf("", "%s is too large", abridged(s))
		case n == 0:
			return 0, textErrorf("leave it out for the default", "must be more than 0 bytes")
		}
		return Size(n * unit.bytes), nil
	}
	return 0, textErrorf(sizeHint(s), "must be a size, is %q", abridged(s))
}

// sizeHint knows the units that other programs take.
func sizeHint(s string) string {
	number := strings.TrimRight(s, "kKmMgGtTiIbB ")
	unit := strings.ToUpper(strings.TrimSpace(s[len(number):]))
	if isDigits(number) && unit != "" && strings.ContainsAny(unit[:1], "KMGT") {
		return fmt.Sprintf("did you mean %s%siB?", number, unit[:1])
	}
	return "write it like 64KiB, 10MiB or 4096"
}

// String is the size in the largest unit that keeps it whole, or "none".
func (s Size) String() string {
	if s < 0 {
		return "none"
	}
	name, bytes := "B", int64(1)
	for _, unit := range sizeUnits {
		if s > 0 && int64(s)%unit.bytes == 0 && unit.bytes > bytes {
			name, bytes = unit.name, unit.bytes
		}
	}
	return strconv.FormatInt(int64(s)/bytes, 10) + name
}

func parsePrefix(s string) (netip.Prefix, *textError) {
	const hint = "write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Is4In6() || addr.Zone() != "" {
			return netip.Prefix{}, textErrorf("did you mean "+addr.Unmap().WithZone("").String()+"?", "must be a plain IPv4 or IPv6 address, is %q", abridged(s))
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, textErrorf(hint, "must be an address or a range of addresses, is %q", abridged(s))
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, textErrorf("write the IPv4 range", "must be a plain IPv4 or IPv6 range, is %q", abridged(s))
	case prefix != prefix.Masked():
		return netip.Prefix{}, textErrorf("did you mean "+prefix.Masked().String()+"?", "%s is an address inside a range", s)
	}
	return prefix, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// CompileRegexp compiles an RE2 pattern that must match the whole of a text.
func CompileRegexp(pattern string) (*regexp.Regexp, error) {
	// On its own first: "a)(b" must not become valid by being wrapped.
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// ParseHostname reads a hostname, an IP address or a wildcard such as
// *.example.com, whose name is what follows "*.". The name is in lower case
// and without the dot at its end; an IPv6 address is in brackets.
func ParseHostname(s string) (name string, wildcard bool, err error) {
	name, wildcard = strings.CutPrefix(strings.ToLower(s), "*.")
	name = strings.TrimSuffix(name, ".")
	if inner, ok := strings.CutPrefix(name, "["); ok && !wildcard {
		inner, ok = strings.CutSuffix(inner, "]")
		if addr, err := netip.ParseAddr(inner); ok && err == nil && addr.Is6() && addr.Zone() == "" {
			return name, false, nil
		}
	}
	if len(name) > 253 {
		return "", false, fmt.Errorf("is longer than 253 characters")
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return "", false, fmt.Errorf("must be a hostname such as shop.example.com or *.example.com, is %q", abridged(s))
		}
	}
	return name, wildcard, nil
}

// isLabel allows the underscore, which internal names do contain.
func isLabel(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	return s != "" && len(s) <= 63 && strings.Trim(s, allowed) == "" && s[0] != '-' && s[len(s)-1] != '-'
}
