package http1

import (
	"net/netip"
	"testing"
)

var ipv6s = []string{
	"::", "::1", "1::", "1::2", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
	"::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "FFFF::", "64:ff9b::255.255.255.255",
	"", ":", ":::", "1:", ":1", "1:2", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
	"g::", "1.2.3.4", "::1.2.3", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4.5", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::1%eth0", "::1 ", "::a.2.3.4", "::1..2.3",
}

// An address is valid exactly when the standard library reads it.
func FuzzIPv6(f *testing.F) {
	for _, s := range ipv6s {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if got, want := validIPv6([]byte(s)), err == nil && a.Is6() && a.Zone() == ""; got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	type valid struct{ host, withPort bool }
	for in, want := range map[string]valid{
		"a": {true, false}, "a:80": {true, true}, "a:": {true, false}, "a_b.c-d~e": {true, false}, "a:0": {true, true}, "a:65535": {true, true},
		"[::1]": {true, false}, "[::1]:80": {true, true}, "[::1]:": {true, false}, "1.2.3.4:5": {true, true}, "A:00080": {true, true},
		"": {}, ":80": {}, "a:65536": {}, "a:000080": {}, "a:+1": {}, "a:b": {}, "a b": {}, "a,b": {}, "a%41": {}, "a@b": {}, "[": {}, "[]": {}, "[::1": {}, "[::1]a": {}, "::1": {},
		"a\x00": {}, "\xe9": {}, "a/": {}, "a?": {}, "a#": {}, "a\\": {}, "<a>": {},
	} {
		if got := (valid{validAuthority([]byte(in), false), validAuthority([]byte(in), true)}); got != want {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	}
}
