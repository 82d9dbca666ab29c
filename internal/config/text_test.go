package config

import (
	"net/netip"
	"testing"
	"time"
)

func TestTimeoutText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Timeout
		back string
	}{
		{"15s", Timeout(15 * time.Second), "15s"},
		{"1m30s", Timeout(90 * time.Second), "1m30s"},
		{"90s", Timeout(90 * time.Second), "1m30s"},
		{"60s", Timeout(time.Minute), "1m"},
		{"10m", Timeout(10 * time.Minute), "10m"},
		{"24h", Timeout(24 * time.Hour), "24h"},
		{"1h0m1s", Timeout(time.Hour + time.Second), "1h0m1s"},
		{"1h10m", Timeout(70 * time.Minute), "1h10m"},
		{"250ms", Timeout(250 * time.Millisecond), "250ms"},
		{"1.5s", Timeout(1500 * time.Millisecond), "1.5s"},
		{"off", TimeoutOff, "off"},
		{"0s", TimeoutOff, "off"},
		{"0", TimeoutOff, "off"},
	} {
		got, err := parseTimeout(c.text)
		if err != nil || got != c.want {
			t.Errorf("parseTimeout(%q) = %d, %+v, want %d", c.text, got, err, c.want)
		}
		if got.String() != c.back {
			t.Errorf("%q is written %q, want %q", c.text, got, c.back)
		}
	}
}

func TestTimeoutDuration(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[Timeout]time.Duration{TimeoutOff: 0, 0: 0, Timeout(time.Second): time.Second} {
		if got := timeout.Duration(); got != want {
			t.Errorf("Timeout(%d).Duration() = %v, want %v", timeout, got, want)
		}
	}
}

func TestSizeText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Size
		back string
	}{
		{"1", 1, "1B"}, {"1B", 1, "1B"}, {"1000", 1000, "1000B"}, {"4096", 4096, "4KiB"}, {"64KiB", 64 << 10, "64KiB"}, {"64 KiB", 64 << 10, "64KiB"},
		{"1536", 1536, "1536B"}, {"10MiB", 10 << 20, "10MiB"}, {"1GiB", 1 << 30, "1GiB"}, {"2TiB", 2 << 40, "2TiB"}, {"none", SizeNone, "none"},
	} {
		got, err := parseSize(c.text)
		if err != nil || got != c.want {
			t.Errorf("parseSize(%q) = %d, %+v, want %d", c.text, got, err, c.want)
		}
		if got.String() != c.back {
			t.Errorf("%q is written %q, want %q", c.text, got, c.back)
		}
	}
	if got := Size(0).String(); got != "0B" {
		t.Errorf("no size is written %q", got)
	}
}

func TestSizeHints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10MB": "did you mean 10MiB?", "10 mb": "did you mean 10MiB?", "5k": "did you mean 5KiB?", "1g": "did you mean 1GiB?",
		"ten": "write it like 64KiB, 10MiB or 4096", "": "write it like 64KiB, 10MiB or 4096", "1.5MiB": "write it like 64KiB, 10MiB or 4096", "10X": "write it like 64KiB, 10MiB or 4096",
	} {
		if _, err := parseSize(text); err == nil || err.hint != want {
			t.Errorf("parseSize(%q): %+v, want hint %q", text, err, want)
		}
	}
}

func TestPrefixText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32", "::1": "::1/128", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := parsePrefix(text); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("parsePrefix(%q) = %v, %+v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"10.1.2.3/8": "did you mean 10.0.0.0/8?", "::ffff:10.1.2.3": "did you mean 10.1.2.3?", "fe80::1%eth0": "did you mean fe80::1?",
		"::ffff:10.0.0.0/104": "write the IPv4 range", "10.0.0.0/33": "write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32", "": "write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
	} {
		if got, err := parsePrefix(text); err == nil || err.hint != want {
			t.Errorf("parsePrefix(%q) = %v, %+v, want hint %q", text, got, err, want)
		}
	}
}

func TestParseHostname(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, name string
		wildcard   bool
	}{
		{"shop.example.com", "shop.example.com", false}, {"Shop.Example.COM.", "shop.example.com", false}, {"*.example.com", "example.com", true},
		{"localhost", "localhost", false}, {"a_b.internal", "a_b.internal", false}, {"192.0.2.1", "192.0.2.1", false}, {"[::1]", "[::1]", false},
		{"[2001:DB8::1]", "[2001:db8::1]", false}, {"1.2.3.4.5", "1.2.3.4.5", false},
	} {
		name, wildcard, err := ParseHostname(c.text)
		if err != nil || name != c.name || wildcard != c.wildcard {
			t.Errorf("ParseHostname(%q) = %q, %t, %v; want %q, %t", c.text, name, wildcard, err, c.name, c.wildcard)
		}
	}
	for _, text := range []string{"", ".", "*", "*.", "*.*.com", "a..b", "-a.com", "a-.com", "a b", "a:80", "::1", "[::1", "[1.2.3.4]", "*.::1", "*.[::1]", "häuser.de", "http://a", "a/b"} {
		if name, wildcard, err := ParseHostname(text); err == nil {
			t.Errorf("ParseHostname(%q) = %q, %t, want an error", text, name, wildcard)
		}
	}
}

func TestCompileRegexpMatchesTheWhole(t *testing.T) {
	t.Parallel()
	re, err := CompileRegexp("a|bc")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"a": true, "bc": true, "ab": false, "abc": false, "xa": false, "a\n": false, "": false} {
		if re.MatchString(text) != want {
			t.Errorf("%q: match is not %t", text, want)
		}
	}
	for _, pattern := range []string{"a)(b", "(", `\Qa`} {
		if _, err := CompileRegexp(pattern); err == nil {
			t.Errorf("%q: no error", pattern)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	fields := []string{"name", "backend", "percent", "fraction", "overLimit"}
	for written, want := range map[string]string{
		"percnet": "did you mean percent?", "Percent": "did you mean percent?", "percentage": "did you mean percent?", "over_limit": "did you mean overLimit?",
		"backends": "did you mean backend?", "limit": "did you mean overLimit?", "nam": "did you mean name?",
		"zzz": "one of: name, backend, percent, fraction, overLimit", "": "one of: name, backend, percent, fraction, overLimit",
	} {
		if got := suggest(written, fields); got != want {
			t.Errorf("suggest(%q) = %q, want %q", written, got, want)
		}
	}
	if got := suggest("x", nil); got != "" {
		t.Errorf("suggest without candidates = %q", got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b        string
		limit, want int
	}{
		{"name", "name", 2, 0}, {"name", "nmae", 2, 1}, {"name", "names", 2, 1}, {"name", "ame", 2, 1}, {"name", "lame", 2, 1},
		{"name", "nx", 2, 3}, {"name", "percent", 2, 3}, {"", "ab", 2, 2}, {"ab", "", 1, 2}, {"kitten", "sitting", 5, 3},
	} {
		if got := distance(c.a, c.b, c.limit); got != c.want {
			t.Errorf("distance(%q, %q, %d) = %d, want %d", c.a, c.b, c.limit, got, c.want)
		}
	}
}

func TestAgeText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want Age
		back string
	}{
		{"30d", Age(720 * time.Hour), "30d"},
		{"36h", Age(36 * time.Hour), "36h"},
		{"48h", Age(48 * time.Hour), "2d"},
		{"90m", Age(90 * time.Minute), "1h30m"},
		{"1m", Age(time.Minute), "1m"},
		{"36500d", Age(876_000 * time.Hour), "36500d"},
	} {
		got, err := parseAge(c.text)
		if err != nil || got != c.want || got.Duration() != time.Duration(c.want) {
			t.Errorf("parseAge(%q) = %d, %+v, want %d", c.text, got, err, c.want)
		}
		if got.String() != c.back {
			t.Errorf("%q is written %q, want %q", c.text, got, c.back)
		}
	}
	for _, text := range []string{"", "0d", "30", "d", "-1d", "1.5d", "59s", "36501d", "99999999999999999999d", "876001h", "off", "none"} {
		if got, err := parseAge(text); err == nil || err.message == "" {
			t.Errorf("parseAge(%q) = %s, want an error", text, got)
		}
	}
}
