package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// policy compiles a mirror that only decides.
func policy(t testing.TB, lines string) *Policy {
	t.Helper()
	def := parsed(t, lines)
	p, err := Compile(def, nil, nil, NewRegistry().State("shop", def.Name, def.Backend))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsSkippedAndWhy(t *testing.T) {
	t.Parallel()
	const narrow = "match: {methods: [POST, GET], headers: [{name: x-tenant, value: acme}]}"
	for _, c := range []struct {
		name, mirror, head string
		reason             traffic.Reason
	}{
		{"everything", "", "GET / HTTP/1.1\nHost: a", ""},
		{"HEAD", "", "HEAD / HTTP/1.1\nHost: a", ""},
		{"OPTIONS", "", "OPTIONS * HTTP/1.1\nHost: a", ""},
		{"TRACE", "", "TRACE / HTTP/1.1\nHost: a", ""},
		{"a write", "", "POST / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"PUT", "", "PUT / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"PATCH", "", "PATCH / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"DELETE", "", "DELETE / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"a method that nobody knows", "", "BREW / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"methods are told apart by case", "", "get / HTTP/1.1\nHost: a", traffic.SkipWrite},
		{"a write that is asked for", "writes: copy", "POST / HTTP/1.1\nHost: a", ""},
		{"off", "percent: 0", "GET / HTTP/1.1\nHost: a", traffic.SkipOff},
		{"off by a fraction", "fraction: {numerator: 0, denominator: 3}", "GET / HTTP/1.1\nHost: a", traffic.SkipOff},
		{"a copy", "", "GET / HTTP/1.1\nHost: a\nX-Understudy-Copy: v2", traffic.SkipLoop},
		{"a copy of another mirror", "", "GET / HTTP/1.1\nHost: a\nx-understudy-copy: other", traffic.SkipLoop},
		{"an upgrade", "", "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket", traffic.SkipUpgrade},
		{"Upgrade that Connection does not name", "", "GET / HTTP/1.1\nHost: a\nUpgrade: websocket", ""},
		{"CONNECT", "writes: copy", "CONNECT a:443 HTTP/1.1\nHost: a:443", traffic.SkipUpgrade},
		{"a match that holds", narrow, "GET / HTTP/1.1\nHost: a\nX-Tenant: acme", ""},
		{"a match that does not", narrow, "GET / HTTP/1.1\nHost: a\nX-Tenant: other", traffic.SkipMatch},
		{"a match of a path", "match: {path: {value: /api}}", "GET /apis HTTP/1.1\nHost: a", traffic.SkipMatch},
		{"a match of a source", "match: {sources: [10.0.0.0/8]}", "GET / HTTP/1.1\nHost: a", traffic.SkipMatch},

		// The first that applies is the one that is counted.
		{"off before loop", "percent: 0", "GET / HTTP/1.1\nHost: a\nx-understudy-copy: v2", traffic.SkipOff},
		{"loop before upgrade", "", "GET / HTTP/1.1\nHost: a\nx-understudy-copy: v2\nConnection: upgrade\nUpgrade: x", traffic.SkipLoop},
		{"upgrade before match", narrow, "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: x", traffic.SkipUpgrade},
		{"match before write", narrow, "POST / HTTP/1.1\nHost: a", traffic.SkipMatch},
		{"write before percent", narrow + ", percent: 0.0001", "POST / HTTP/1.1\nHost: a\nX-Tenant: acme", traffic.SkipWrite},
		{"percent", "percent: 49", "GET / HTTP/1.1\nHost: a", traffic.SkipPercent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := subject(t, c.head)
			s.Draw = 1 << 63 // selected by 50 % and less
			if d := policy(t, c.mirror).Decide(s); d.Skip != c.reason || d.Unkeyed {
				t.Errorf("got %+v, want %q", d, c.reason)
			}
		})
	}
}

// Where a share ends, exactly.
func TestShareIsExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mirror string
		first  uint64 // draw that is not selected; 0 = all are
	}{
		{"percent: 100", 0},
		{"", 0},
		{"percent: 50", 1 << 63},
		{"percent: 25", 1 << 62},
		{"percent: 12.5", 1 << 61},
		{"fraction: {numerator: 25, denominator: 50}", 1 << 63},
		{"fraction: {numerator: 1, denominator: 3}", 6148914691236517206},  // ⌈2^64/3⌉
		{"fraction: {numerator: 2, denominator: 3}", 12297829382473034411}, // ⌈2·2^64/3⌉
		{"percent: 0.0001", 18446744073710},                                // ⌈2^64/1,000,000⌉
		{"fraction: {numerator: 1, denominator: 1000000000000}", 18446745}, // less than one in a million
		{"fraction: {numerator: 999999, denominator: 1000000}", 18446725626965477907},
	} {
		p := policy(t, c.mirror)
		selected := func(draw uint64) bool {
			s, _ := subject(t, "GET / HTTP/1.1\nHost: a")
			s.Draw = draw
			return p.Decide(s).Skip == ""
		}
		if !selected(0) || !selected(c.first-1) {
			t.Errorf("%s: draw 0 or %d is not selected", c.mirror, c.first-1)
		}
		if c.first != 0 && (selected(c.first) || selected(math.MaxUint64)) {
			t.Errorf("%s: draw %d or more is selected", c.mirror, c.first)
		}
	}
}

// Of 500 requests the selected ones are within three standard deviations of the
// share. Chance would fail this once in 370 times for each share; the seed makes
// it the same every time.
func TestShareOfRandomRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mirror   string
		min, max int // mean ± 3·√(n·p·(1-p))
	}{
		{"percent: 20", 74, 126},
		{"fraction: {numerator: 25, denominator: 50}", 217, 283},
		{"percent: 35", 144, 206},
		{"percent: 100", 500, 500},
		{"percent: 0", 0, 0},
	} {
		random := rand.New(rand.NewPCG(20, 500))
		p := policy(t, c.mirror)
		s, _ := subject(t, "GET / HTTP/1.1\nHost: a")
		n := 0
		for range 500 {
			s.Draw = random.Uint64()
			if p.Decide(s).Skip == "" {
				n++
			}
		}
		if n < c.min || n > c.max {
			t.Errorf("%s: %d of 500 are selected, want %d to %d", c.mirror, n, c.min, c.max)
		}
	}
}

// Whatever a 5 % mirror gets, a 10 % mirror of the same rule gets too, with a
// key and without.
func TestSmallerShareLiesInsideALargerOne(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", ", key: {header: x-user}", ", key: {header: x-user, salt: pepper}"} {
		small, large := policy(t, "percent: 5"+key), policy(t, "percent: 10"+key)
		random := rand.New(rand.NewPCG(5, 10))
		in, out := 0, 0
		for i := range 10000 {
			s, _ := subject(t, fmt.Sprintf("GET / HTTP/1.1\nHost: a\nX-User: %d", i))
			s.Draw = random.Uint64()
			fromSmall, fromLarge := small.Decide(s).Skip, large.Decide(s).Skip
			switch {
			case fromSmall == "" && fromLarge != "":
				t.Fatalf("%q: request %d is in 5 %% and not in 10 %%", key, i)
			case fromSmall == "":
				in++
			case fromLarge == "":
				out++
			}
		}
		// Seeded: three standard deviations, and no chance to fail.
		if in < 435 || in > 565 || out < 435 || out > 565 {
			t.Errorf("%q: %d of 10000 in 5 %%, %d more in 10 %%, want 500 ± 65 each", key, in, out)
		}
	}
}

// What the governor leaves of a share is the first part of it, so that the same
// users stay in.
func TestThrottledShareIsTheFirstPart(t *testing.T) {
	t.Parallel()
	p := policy(t, "percent: 50")
	for _, c := range []struct {
		throttle float64
		position uint64
		withheld bool
	}{
		{1, math.MaxUint64, false},
		{1, 0, false},
		{0.5, 0, false},
		{0.5, 1<<62 - 1<<20, false},
		{0.5, 1<<62 + 1<<20, true},
		{0.5, 1<<63 - 1, true},
		{0, 0, true},
		{0, 1 << 62, true},
	} {
		if got := p.throttled(c.position, c.throttle); got != c.withheld {
			t.Errorf("position %x at throttle %v: withheld %v, want %v", c.position, c.throttle, got, c.withheld)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, c := range []struct {
		name, key, fields string
		want              string
		ok                bool
	}{
		{"header", "{header: x-user-id}", "X-USER-ID: u1", "u1", true},
		{"header configured in capitals", "{header: X-User-ID}", "x-user-id: u1", "u1", true},
		{"the first of two", "{header: x-user-id}", "x-user-id: u1\nx-user-id: u2", "u1", true},
		{"known header", "{header: User-Agent}", "User-Agent: curl", "curl", true},
		{"empty header", "{header: x-user-id}", "x-user-id:", "", true},
		{"no header", "{header: x-user-id}", "x-user: u1", "", false},

		{"cookie", "{cookie: sid}", "Cookie: a=b; sid=s1; c=d", "s1", true},
		{"cookie with =", "{cookie: sid}", "Cookie: sid=a=b", "a=b", true},
		{"the first of two cookies", "{cookie: sid}", "Cookie: sid=s1; sid=s2", "s1", true},
		{"cookie in the second field", "{cookie: sid}", "Cookie: a=b\nCookie: sid=s1", "s1", true},
		{"names of cookies have a case", "{cookie: sid}", "Cookie: SID=s1", "", false},
		{"part of a name", "{cookie: sid}", "Cookie: xsid=s1; sidx=s2", "", false},
		{"cookie without =", "{cookie: sid}", "Cookie: sid", "", false},
		{"empty cookie", "{cookie: sid}", "Cookie: sid=", "", true},
		{"no cookie", "{cookie: sid}", "A: b", "", false},

		{"source", "{source: true}", "A: b", string(netip.MustParseAddr("::ffff:192.0.2.7").AsSlice()), true},

		{"trace", "{trace: true}", "traceparent: 00-" + trace + "-00f067aa0ba902b7-01", trace, true},
		{"trace of a later version", "{trace: true}", "traceparent: 7f-" + trace + "-00f067aa0ba902b7-01-more", trace, true},
		{"no trace", "{trace: true}", "A: b", "", false},
		{"trace that is too short", "{trace: true}", "traceparent: 00-" + trace + "-00f067aa0ba902b7-0", "", false},
		{"trace with more than version 00 has", "{trace: true}", "traceparent: 00-" + trace + "-00f067aa0ba902b7-01-more", "", false},
		{"trace with more that is not separated", "{trace: true}", "traceparent: 01-" + trace + "-00f067aa0ba902b7-01more", "", false},
		{"trace of no version", "{trace: true}", "traceparent: ff-" + trace + "-00f067aa0ba902b7-01", "", false},
		{"trace in capitals", "{trace: true}", "traceparent: 00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01", "", false},
		{"trace of zeros", "{trace: true}", "traceparent: 00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "", false},
		{"trace with a parent of zeros", "{trace: true}", "traceparent: 00-" + trace + "-0000000000000000-01", "", false},
		{"trace with spaces", "{trace: true}", "traceparent: 00 " + trace + " 00f067aa0ba902b7 01", "", false},
		{"trace with flags that are none", "{trace: true}", "traceparent: 00-" + trace + "-00f067aa0ba902b7-0x", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := policy(t, "percent: 50, key: "+c.key)
			s, _ := subject(t, "GET / HTTP/1.1\nHost: a\n"+c.fields)
			got, ok := keyOf(p.Def.Key, s)
			if string(got) != c.want || ok != c.ok {
				t.Errorf("%q, %v, want %q, %v", got, ok, c.want, c.ok)
			}
			// A request without the key is drawn, and counted as such.
			s.Draw = 12345
			if d := p.Decide(s); d.Unkeyed != !c.ok || d.Unkeyed != (d.Position == 12345) {
				t.Errorf("at %d, unkeyed %v, want %v", d.Position, d.Unkeyed, !c.ok)
			}
		})
	}
}

// The same address is the same key, however the client came.
func TestSourceKeyKnowsMappedAddresses(t *testing.T) {
	t.Parallel()
	p := policy(t, "key: {source: true}")
	var positions []uint64
	for _, addr := range []string{"192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8", "2001:db8::7"} {
		s, _ := subject(t, "GET / HTTP/1.1\nHost: a")
		s.Match.Source = netip.MustParseAddr(addr)
		positions = append(positions, p.Decide(s).Position)
	}
	if positions[0] != positions[1] || positions[0] == positions[2] || positions[0] == positions[3] {
		t.Errorf("positions %x", positions)
	}
}

// These are a promise to every replica and every later release.
func TestPositionsOfKeysNeverChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		salt, key string
		want      uint64
	}{
		{"", "", 0xb9034ad37056f5fb},
		{"", "a", 0x60de25dbfdce3954},
		{"", "user-1", 0x8dcd1b302f5da28d},
		{"", "user-2", 0x9baa44fa561f5293},
		{"pepper", "user-1", 0x1646bf3585257d1a},
		{"user-", "1", 0x480e92bc044490b3},
		{"", strings.Repeat("long ", 100), 0xee7e39069dc69c94},
		{"", "\x00\xff", 0x707c2b748a0a329c},
	} {
		if got := Position(c.salt, []byte(c.key)); got != c.want {
			t.Errorf("{%q, %q, %#x},", c.salt, c.key, got)
		}
	}
}

// Keys fall evenly: of 10,000 numbered users each tenth of the circle gets 1000,
// within four standard deviations. There is no chance in it.
func TestKeysFallEvenly(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"%d", "user-%d", "%d@example.com", "00000000-0000-4000-8000-%012d"} {
		var tenths [10]int
		for i := range 10000 {
			tenths[Position("", fmt.Appendf(nil, format, i))/(math.MaxUint64/10+1)]++
		}
		for i, n := range tenths {
			if n < 880 || n > 1120 {
				t.Errorf("%s: %d of 10000 keys in tenth %d, want 1000 ± 120", format, n, i)
			}
		}
	}
}

func TestSaltMakesAnotherSet(t *testing.T) {
	t.Parallel()
	both := 0
	for i := range 10000 {
		key := fmt.Appendf(nil, "user-%d", i)
		if Position("", key) < math.MaxUint64/10 && Position("pepper", key) < math.MaxUint64/10 {
			both++
		}
	}
	// 1 % by chance ± four standard deviations; there is no chance in it.
	if both < 60 || both > 140 {
		t.Errorf("%d of 10000 keys are in both tenths, want about 100", both)
	}
}

// otherProcess is set in the environment of the child that
// TestReplicasChooseTheSameKeys starts.
const otherProcess = "UNDERSTUDY_TEST_SELECTED_KEYS"

// selectedKeys decides on 10,000 keys and returns the answers, as a string of 0
// and 1.
func selectedKeys() string {
	var t testing.T // parsed and subject fail it, which a child shows by its output
	p := policy(&t, "percent: 12.5, key: {header: x-user-id, salt: s}")
	var answers strings.Builder
	for i := range 10000 {
		s, _ := subject(&t, fmt.Sprintf("GET / HTTP/1.1\nHost: a\nX-User-Id: user-%d", i))
		s.Draw = rand.Uint64() // must not matter
		answer := byte('0')
		if p.Decide(s).Skip == "" {
			answer = '1'
		}
		answers.WriteByte(answer)
	}
	return answers.String()
}

// A user is wholly in or wholly out, on every replica and after every restart:
// another process makes the same choice among 10,000 keys, and so did the
// release that the hash was taken from.
func TestReplicasChooseTheSameKeys(t *testing.T) {
	t.Parallel()
	own := selectedKeys()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), otherProcess+"=1")
	other, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, strings.TrimSpace(string(other))); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(own, "1"); n < 1150 || n > 1350 {
		t.Errorf("%d of 10000 keys are selected, want about 1250", n)
	}
	sum := sha256.Sum256([]byte(own))
	if got, want := hex.EncodeToString(sum[:]), "3c6ae84b665a46ceee0d0a70afcbcda62d0a01accd3b4cb5eb38b3c3949fedb7"; got != want {
		t.Errorf("the choice has the hash %s, want %s", got, want)
	}
}
