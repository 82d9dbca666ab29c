package grpc

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestCallsAreToldByMethodAndContentType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, contentType string
		want                bool
	}{
		{"POST", "application/grpc", true},
		{"POST", "application/grpc+proto", true},
		{"POST", "Application/GRPC+json;charset=utf-8", true},
		{"POST", "application/grpc; charset=utf-8", true},
		{"GET", "application/grpc", false},
		{"POST", "", false},
		{"POST", "application/grp", false},
		{"POST", "application/grpc-web", false},
		{"POST", "application/grpc-web+proto", false},
		{"POST", "application/grpcx", false},
		{"POST", "application/json", false},
	} {
		if got := IsCall([]byte(test.method), []byte(test.contentType)); got != test.want {
			t.Errorf("%s with %q: %v, want %v", test.method, test.contentType, got, test.want)
		}
	}
}

func TestPathsNameServiceAndMethod(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/shop.v1.Cart/Get": "shop.v1.Cart Get", "/Cart/Get": "Cart Get",
		"": "", "/": "", "/Cart": "", "/Cart/": "", "//Get": "", "/a/b/c": "", "Cart/Get": "", "*": "",
	} {
		service, method, ok := Method([]byte(path))
		if got := strings.TrimSpace(string(service) + " " + string(method)); got != want || ok != (want != "") {
			t.Errorf("%q: got %q and %v, want %q", path, got, ok, want)
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for value, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"0S": 1, "00000010m": 10 * time.Millisecond, "7000000H": year, "99999999H": year, "99999999M": year, "99999999S": year, "99999999m": 99999999 * time.Millisecond,
		"00000100": 0, "": 0, "S": 0, "1": 0, "1s": 0, "1h": 0, "-1S": 0, "+1S": 0, "1.5S": 0, " 1S": 0, "1S ": 0, "123456789S": 0, "1SS": 0, "0x1S": 0,
	} {
		if got, ok := Timeout([]byte(value)); got != want || ok != (want > 0) {
			t.Errorf("%q: got %v and %v, want %v", value, got, ok, want)
		}
	}
}

func FuzzTimeout(f *testing.F) {
	for _, seed := range []string{"1H", "99999999n", "0S", "x", "12345678m"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		d, ok := Timeout(value)
		if ok && (d < 1 || d > 365*24*time.Hour) || !ok && d != 0 {
			t.Errorf("%q: got %v, %v", value, d, ok)
		}
		slow, err := time.ParseDuration(strings.NewReplacer("H", "h", "M", "m", "S", "s", "m", "ms", "u", "us", "n", "ns").Replace(string(value)))
		if err != nil {
			slow = 365 * 24 * time.Hour // more than a Duration holds
		}
		if ok && d != max(min(slow, 365*24*time.Hour), 1) {
			t.Errorf("%q: got %v, want %v", value, d, slow)
		}
	})
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]traffic.GRPCStatus{
		"0": "OK", "1": "CANCELLED", "4": "DEADLINE_EXCEEDED", "5": "NOT_FOUND", "12": "UNIMPLEMENTED", "14": "UNAVAILABLE", "16": "UNAUTHENTICATED",
		"17": "UNKNOWN", "99": "UNKNOWN", "": "UNKNOWN", "-1": "UNKNOWN", "OK": "UNKNOWN", "100": "UNKNOWN", "2": "UNKNOWN",
	} {
		if got := Status([]byte(value)); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
	for status, want := range map[int]traffic.GRPCStatus{
		400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED", 408: "DEADLINE_EXCEEDED", 429: "UNAVAILABLE",
		501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 200: "UNKNOWN", 302: "UNKNOWN",
	} {
		if got := FromHTTP(status); got != want {
			t.Errorf("HTTP %d: got %s, want %s", status, got, want)
		}
	}
}

func TestStatusLines(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"":             "grpc-status: 14\r\n",
		"no endpoints": "grpc-status: 14\r\ngrpc-message: no endpoints\r\n",
		"50 %\r\nü":    "grpc-status: 14\r\ngrpc-message: 50 %25%0D%0A%C3%BC\r\n",
	} {
		lines := AppendStatus(nil, traffic.GRPCUnavailable, message)
		if string(lines) != want {
			t.Errorf("%q: got %q, want %q", message, lines, want)
		}
		if value, _ := Trailer(lines, MessageField); Message(value) != message {
			t.Errorf("%q: got %q back", message, Message(value))
		}
	}
	for value, want := range map[string]string{"a%20b": "a b", "50%": "50%", "%zz%4": "%zz%4", strings.Repeat("x", 5000): strings.Repeat("x", 1024)} {
		if got := Message([]byte(value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestTrailersAreFoundByName(t *testing.T) {
	t.Parallel()
	lines := []byte("x: y\r\nGrpc-Status: 5\r\ngrpc-message:none\r\n")
	for name, want := range map[string]string{"grpc-status": "5", "grpc-message": "none", "x": "y", "grpc": "", "grpc-statu": "", "y": ""} {
		if got, ok := Trailer(lines, name); string(got) != want || ok != (want != "") {
			t.Errorf("%q: got %q and %v, want %q", name, got, ok, want)
		}
	}
	if _, ok := Trailer(nil, "x"); ok {
		t.Error("a field was found in nothing")
	}
}

// parts reads p in pieces of that size and writes down what is found.
func parts(p []byte, size int) (found string, data []byte) {
	var m Messages
	for len(p) > 0 {
		n, part := m.Next(p[:min(size, len(p))])
		switch part {
		case Prefix:
			found += "(" + string(rune('0'+m.Size())) + ")"
			data = append(data, m.Prefix()...)
		case Data:
			found += string(p[:n])
			data = append(data, p[:n]...)
		}
		p = p[n:]
	}
	return found + "+" + string(m.Pending()), append(data, m.Pending()...)
}

func TestMessagesEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	const one, two = "\x00\x00\x00\x00\x03abc", "\x01\x00\x00\x00\x02de"
	for bytes, want := range map[string]string{
		"":                           "+",
		one:                          "(8)abc+",
		one + two:                    "(8)abc(7)de+",
		"\x00\x00\x00\x00\x00" + two: "(5)(7)de+",
		one[:4]:                      "+" + one[:4],
		one[:6]:                      "(8)a+",
		one + two[:2]:                "(8)abc+" + two[:2],
	} {
		for size := 1; size < 20; size++ {
			found, data := parts([]byte(bytes), size)
			if diff := cmp.Diff([2]string{want, bytes}, [2]string{found, string(data)}); diff != "" {
				t.Errorf("%q in pieces of %d (- want, + got)\n%s", bytes, size, diff)
			}
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03abc\x01\x00\x00\x00\x02de"), byte(2))
	f.Add([]byte("\x00\xff\xff\xff\xff"), byte(0))
	f.Fuzz(func(t *testing.T, p []byte, size byte) {
		want, _ := parts(p, len(p)+1)
		got, data := parts(p, int(size)+1)
		if got != want || !bytes.Equal(data, p) {
			t.Errorf("in pieces of %d: %q and %q, want %q and %q", int(size)+1, got, data, want, p)
		}
	})
}

func TestNothingHereAllocates(t *testing.T) {
	out := make([]byte, 0, 256)
	body := []byte("\x00\x00\x00\x00\x03abc\x01\x00\x00\x00\x02de")
	lines := []byte("x: y\r\nGrpc-Status: 5\r\n")
	var m Messages
	if n := testing.AllocsPerRun(1000, func() {
		IsCall([]byte("POST"), []byte("application/grpc"))
		Timeout([]byte("10S"))
		value, _ := Trailer(lines, StatusField)
		out = AppendStatus(out[:0], Status(value), "no endpoints")
		for rest := body; len(rest) > 0; {
			n, _ := m.Next(rest)
			rest = rest[n:]
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
