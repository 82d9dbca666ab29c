package preface

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// golden are headers as the specification writes them.
var golden = map[string]struct {
	bytes    string
	from, to string // empty: it speaks for nobody
}{
	"version 1, IPv4":      {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1:56324", "198.51.100.7:443"},
	"version 1, IPv6":      {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535"},
	"version 1, unknown":   {"PROXY UNKNOWN\r\n", "", ""},
	"version 1, no matter": {"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", ""},
	"version 2, IPv4": {"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb",
		"192.0.2.1:56324", "198.51.100.7:443"},
	"version 2, IPv6": {"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\xff\xff",
		"[2001:db8::1]:1", "[2001:db8::2]:65535"},
	"version 2, with notes": {"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x11\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\x04\x00\x02ab",
		"192.0.2.1:56324", "198.51.100.7:443"},
	"version 2, local":         {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "", ""},
	"version 2, unspecified":   {"\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00", "", ""},
	"version 2, a Unix socket": {"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "", ""},
}

func end(text string) netip.AddrPort {
	if text == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(text)
}

func TestAHeaderIsReadHoweverItArrives(t *testing.T) {
	t.Parallel()
	for name, test := range golden {
		want := Proxy{end(test.from), end(test.to)}
		stream := []byte(test.bytes + "and what the client says")
		for n := range len(stream) + 1 {
			p, used, err := ParseProxy(stream[:n])
			switch {
			case err != nil:
				t.Errorf("%s: after %d bytes: %v", name, n, err)
			case n < len(test.bytes) && used != 0:
				t.Errorf("%s: %d bytes are taken for a header", name, used)
			case n >= len(test.bytes) && (used != len(test.bytes) || p != want):
				t.Errorf("%s: got %v and %d bytes, want %v and %d", name, p, used, want, len(test.bytes))
			}
		}
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	t.Parallel()
	const two = "\r\n\r\n\x00\r\nQUIT\n"
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", "PROXY", "PROXX ", "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "\x16\x03\x01", "\r\n\r\n\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
		"PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 56324 65536\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 0443 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
		"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
		"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::2%eth0 1 2\r\n",
		"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 1 " + strings.Repeat("2", 200),
		two + "\x31\x11\x00\x0c" + strings.Repeat("x", 12), // another version
		two + "\x22\x11\x00\x0c" + strings.Repeat("x", 12), // another command
		two + "\x21\x41\x00\x0c" + strings.Repeat("x", 12), // another family
		two + "\x21\x11\x00\x0b" + strings.Repeat("x", 11), // too short for its addresses
		two + "\x21\x21\x00\x23" + strings.Repeat("x", 35),
		two + "\x21\x11\x0f\xf1", // over the bound, before it is there
	} {
		if p, n, err := ParseProxy([]byte(text)); text != "PROXY" && err == nil {
			t.Errorf("%q: got %v and %d bytes, want an error", text, p, n)
		}
	}
}

func TestAHeaderIsWrittenAsSpecified(t *testing.T) {
	t.Parallel()
	for name, test := range golden {
		version := 1
		if strings.HasPrefix(name, "version 2") {
			version = 2
		}
		if name != "version 1, IPv4" && name != "version 1, IPv6" && name != "version 2, IPv4" && name != "version 2, IPv6" {
			continue
		}
		if got := AppendProxy([]byte("x"), version, end(test.from), end(test.to)); string(got) != "x"+test.bytes {
			t.Errorf("%s: got %q, want %q", name, got, test.bytes)
		}
	}
	for _, test := range []struct {
		version        int
		from, to, want string
	}{
		{1, "", "192.0.2.1:1", "PROXY UNKNOWN\r\n"},
		{2, "", "", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
		{1, "192.0.2.1:1", "[2001:db8::2]:2", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"},
		{1, "[::ffff:192.0.2.1]:1", "192.0.2.2:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
		{1, "[fe80::1%eth0]:1", "[fe80::2%eth0]:2", "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
	} {
		if got := AppendProxy(nil, test.version, end(test.from), end(test.to)); string(got) != test.want {
			t.Errorf("version %d, %s to %s: got %q, want %q", test.version, test.from, test.to, got, test.want)
		}
	}
}

// theirs is what another implementation makes of b: how many bytes it takes, and
// the ends, as text.
func theirs(b []byte) (n int, from, to string, err error) {
	source := bytes.NewReader(b)
	r := bufio.NewReader(source)
	h, err := proxyproto.Read(r)
	if err != nil {
		return 0, "", "", err
	}
	n = len(b) - source.Len() - r.Buffered()
	if a, ok := h.SourceAddr.(*net.TCPAddr); ok && h.Command.IsProxy() {
		from, to = unmap(a), unmap(h.DestinationAddr.(*net.TCPAddr))
	}
	return n, from, to, nil
}

func unmap(a *net.TCPAddr) string {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}

// agree checks that what we take another implementation takes, too, and alike.
func agree(t *testing.T, b []byte) {
	p, n, err := ParseProxy(b)
	if err != nil || n == 0 {
		return
	}
	size, from, to, err := theirs(b)
	if err != nil {
		return // theirs is stricter about notes, and knows no datagrams by TCP
	}
	if size != n {
		t.Errorf("%q: we take %d bytes, they %d", b, n, size)
	}
	if from != "" && p.From.IsValid() && (from != p.From.String() || to != p.To.String()) {
		t.Errorf("%q: we read %v, they %s and %s", b, p, from, to)
	}
}

func TestAnotherImplementationAgrees(t *testing.T) {
	t.Parallel()
	for name, test := range golden {
		if test.from == "" {
			continue
		}
		n, from, to, err := theirs([]byte(test.bytes + "more"))
		if err != nil || n != len(test.bytes) || from != test.from || to != test.to {
			t.Errorf("%s: they read %d bytes, %s and %s, %v", name, n, from, to, err)
		}
	}
}

func FuzzParseProxy(f *testing.F) {
	for _, test := range golden {
		f.Add([]byte(test.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := ParseProxy(b)
		if err != nil || n == 0 {
			if err == nil && len(b) >= MaxProxy {
				t.Fatalf("%d bytes are not enough", len(b))
			}
			return
		}
		for _, cut := range []int{n / 2, n - 1} {
			if _, m, err := ParseProxy(b[:cut]); m != 0 || err != nil {
				t.Errorf("the first %d of %d bytes: got %d, %v", cut, n, m, err)
			}
		}
		agree(t, b)
		for _, version := range []int{1, 2} {
			written := AppendProxy(nil, version, p.From, p.To)
			if q, m, err := ParseProxy(written); err != nil || m != len(written) || q != p {
				t.Errorf("%v is written as %q and read as %v, %v", p, written, q, err)
			}
		}
	})
}
