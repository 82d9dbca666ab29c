package replay

import (
	"hash/maphash"
	"io"
	"log"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// discard is for servers that complain about clients.
var discard = log.New(io.Discard, "", 0)

func TestParseSpeed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Pace{
		"original": {}, "max": {Max: true}, "2x": {Speed: 2}, "0.25x": {Speed: 0.25}, "3": {Speed: 3},
	} {
		if got, err := ParseSpeed(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "0x", "-1x", "NaN", "Inf", "2xx"} {
		if _, err := ParseSpeed(text); err == nil || !strings.Contains(err.Error(), "2x") && !strings.Contains(err.Error(), "above 0") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAPaceSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for want, pace := range map[string]Pace{
		"the recorded pace": {}, "as fast as answers come": {Max: true}, "0.5 times the recorded pace": {Speed: 0.5}, "12.5 requests per second": {Rate: 12.5},
	} {
		if pace.String() != want {
			t.Errorf("%+v is %q", pace, pace)
		}
	}
	if once := (Pace{Speed: 1}); once.String() != "the recorded pace" {
		t.Errorf("1x is %q", once)
	}
}

func TestAReplayIsRefusedThatCannotBe(t *testing.T) {
	t.Parallel()
	to := target(t, TargetOptions{})
	for _, o := range []Options{
		{}, {Target: to, Pace: Pace{Rate: -1}}, {Target: to, Pace: Pace{Rate: 2e6}}, {Target: to, Pace: Pace{Rate: 1, Speed: 2}}, {Target: to, Pace: Pace{Max: true, Rate: 1}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestParseHeader(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Header{
		"authorization=Bearer a=b": {"Authorization", "Bearer a=b"}, "x-a: b:c": {"X-A", "b:c"}, "cookie=": {"Cookie", ""},
	} {
		if got, err := ParseHeader(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"cookie": "name=value", "a b=c": "no name", "=c": "no name", "host=x": "--host", "content-length=1": "not yours",
		"x-understudy-copy=": "not yours", "connection=x": "not yours", "a=b\nc": "characters",
	} {
		if _, err := ParseHeader(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestWhoBelongsToASession(t *testing.T) {
	t.Parallel()
	seed := maphash.MakeSeed()
	of := func(key, client, fields string) sessionID {
		k, err := ParseSessionKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return k.of(&traffic.Exchange{Client: netip.MustParseAddr(client), Request: &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n" + fields)}}, seed)
	}
	const here, there = "10.0.0.1", "10.0.0.2"
	for _, test := range []struct {
		key        string
		a, b       [2]string // client, fields
		same       bool
		aloneEarly bool // a belongs to no session
	}{
		{key: "", a: [2]string{here, ""}, b: [2]string{here, ""}, same: true},
		{key: "", a: [2]string{here, ""}, b: [2]string{there, ""}},
		{key: "", a: [2]string{here, "Cookie: a\r\n"}, b: [2]string{here, "cookie: a\r\nx: y\r\n"}, same: true},
		{key: "", a: [2]string{here, "Cookie: a\r\n"}, b: [2]string{here, "Cookie: b\r\n"}},
		{key: "", a: [2]string{here, "Cookie: a\r\n"}, b: [2]string{here, "Authorization: a\r\n"}},
		{key: "client", a: [2]string{here, "Cookie: a\r\n"}, b: [2]string{here, "Cookie: b\r\n"}, same: true},
		{key: "client", a: [2]string{here, ""}, b: [2]string{there, ""}},
		{key: "header:x-user-id", a: [2]string{here, "X-User-Id: 1\r\n"}, b: [2]string{there, "x-user-id:1\r\n"}, same: true},
		{key: "header:x-user-id", a: [2]string{here, "X-User-Id: 1\r\n"}, b: [2]string{here, "X-User-Id: 2\r\n"}},
		{key: "header:x-user-id", a: [2]string{here, ""}, b: [2]string{here, ""}, same: true, aloneEarly: true},
		{key: "cookie:sid", a: [2]string{here, "Cookie: x=1; sid=7\r\n"}, b: [2]string{there, "cookie: sid=7;x=2\r\n"}, same: true},
		{key: "cookie:sid", a: [2]string{here, "Cookie: asid=7\r\n"}, b: [2]string{there, ""}, same: true, aloneEarly: true},
		{key: "cookie:sid", a: [2]string{here, "Cookie: x=1\r\nCookie: sid=7\r\n"}, b: [2]string{there, "cookie: sid=7\r\n"}, same: true},
		{key: "", a: [2]string{here, "Cookie: a\r\nCookie: b\r\n"}, b: [2]string{here, "Cookie: a\r\nCookie: c\r\n"}},
		{key: "none", a: [2]string{here, ""}, b: [2]string{here, ""}, same: true, aloneEarly: true},
	} {
		a, b := of(test.key, test.a[0], test.a[1]), of(test.key, test.b[0], test.b[1])
		if (a == b) != test.same || (a == alone) != test.aloneEarly {
			t.Errorf("%q: %v and %v are in %d and %d", test.key, test.a, test.b, a, b)
		}
	}
	for _, key := range []string{"header", "header:", "cookie:a b", "user", "none:x"} {
		if _, err := ParseSessionKey(key); err == nil {
			t.Errorf("%q is accepted", key)
		}
	}
}

func TestASourceIsSortedAsFarAsItLooksAhead(t *testing.T) {
	t.Parallel()
	var source tape
	for i := range 2000 { // each begins before the one that ended before it, in groups of ten
		source = append(source, get("x", time.Duration(i/10*10+9-i%10)*time.Second, "10.0.0.1"))
	}
	s := &sorter{source: &source}
	for i := range 2000 {
		x, err := s.Next()
		if err != nil || !x.Start.Equal(epoch.Add(time.Duration(i)*time.Second)) {
			t.Fatalf("number %d begins after %v: %v", i, x.Start.Sub(epoch), err)
		}
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n", "POST //a?b HTTP/1.1\nx: y\n", "OPTIONS * HTTP/1.0\r\n", "GET http://a/b HTTP/1.1\r\n", "", "a b c\r\n:\r\n", "GET /\x00 HTTP/1.1\r\n",
	} {
		f.Add([]byte(head))
	}
	to, err := NewTarget(f.Context(), TargetOptions{URL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		r, err := to.request(t.Context(), &traffic.Message{Head: head})
		if err != nil {
			return
		}
		if r.URL.Host != "127.0.0.1:1" || r.URL.Scheme != "http" {
			t.Errorf("it would go to %v", r.URL)
		}
		var wire strings.Builder
		if err := r.Write(&wire); err != nil {
			return // net/http refuses it too
		}
		if !strings.Contains(wire.String(), "\r\nX-Understudy-Copy: replay\r\n") {
			t.Errorf("not marked:\n%s", wire.String())
		}
		if strings.Count(wire.String(), "\r\n\r\n") != 1 {
			t.Errorf("more than a head:\n%q", wire.String())
		}
	})
}
