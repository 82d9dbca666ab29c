package http2

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// serverCases are what clients send behind their opening. Every split of it
// must be understood in the same way.
var serverCases = []struct {
	name  string
	input []byte
	heard []string
	sent  []string // behind the acknowledgement of the settings
}{
	{"a request", f(frameHeaders, 5, 1, request("a", "b")...),
		[]string{"1 head GET http://a/ a=b END"}, nil},
	{"a body with padding, priority and trailers", join(
		f(frameHeaders, 0x2c, 1, join([]byte{2, 0, 0, 0, 0, 9}, request("content-length", "5"), []byte{0, 0})...),
		f(frameData, 8, 1, 3, 'h', 'e', 'l', 0, 0, 0),
		f(frameData, 0, 1, 'l', 'o'),
		f(frameHeaders, 5, 1, block("sum", "1")...)),
		[]string{"1 head GET http://a/ content-length=5", "1 data hello", "1 head trailers sum=1 END"}, nil},
	{"a frame that is padding and nothing else", join(f(frameHeaders, 4, 1, request()...), f(frameData, 9, 1, 2, 0, 0)),
		[]string{"1 head GET http://a/", "1 data  END"}, nil},
	{"a section in three frames", join(f(frameHeaders, 1, 1, request()[:2]...), f(frameContinuation, 0, 1, request()[2:4]...), f(frameContinuation, 4, 1, request()[4:]...)),
		[]string{"1 head GET http://a/ END"}, nil},
	{"what is not known is ignored", join(f(77, 3, 9, 1, 2, 3), f(framePriority, 0, 3, 0, 0, 0, 1, 5), f(78, 0, 0), f(frameSettings, 0, 0, 0, 99, 0, 0, 0, 1)),
		nil, []string{"SETTINGS ACK"}},
	{"ping", f(framePing, 0, 0, []byte("12345678")...), nil, []string{"PING 1 12345678"}},
	{"a reset", join(f(frameHeaders, 4, 1, request()...), f(frameReset, 0, 1, u32(8)...), f(frameData, 0, 1, 'x')),
		[]string{"1 head GET http://a/", "1 reset CANCEL"}, []string{"RST_STREAM 1 STREAM_CLOSED"}},
	{"too many streams", join(f(frameHeaders, 5, 1, request()...), f(frameHeaders, 5, 3, request()...), f(frameHeaders, 5, 5, request()...), f(frameHeaders, 5, 7, request()...)),
		[]string{"1 head GET http://a/ END", "3 head GET http://a/ END", "5 head GET http://a/ END"}, []string{"RST_STREAM 7 REFUSED_STREAM"}},
	{"a body longer than announced", join(f(frameHeaders, 4, 1, request("content-length", "1")...), f(frameData, 0, 1, 'a', 'b')),
		[]string{"1 head GET http://a/ content-length=1", "1 data a", "1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	{"a body shorter than announced", join(f(frameHeaders, 4, 1, request("content-length", "3")...), f(frameData, 1, 1)),
		[]string{"1 head GET http://a/ content-length=3", "1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	{"a last frame that is too short", join(f(frameHeaders, 4, 1, request("content-length", "3")...), f(frameData, 1, 1, 'a', 'b')),
		[]string{"1 head GET http://a/ content-length=3", "1 data ab", "1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	{"no body although announced", f(frameHeaders, 5, 1, request("content-length", "3")...), nil, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	{"data behind the end", join(f(frameHeaders, 5, 1, request()...), f(frameData, 0, 1, 'x'), f(frameData, 0, 1, 'x')),
		[]string{"1 head GET http://a/ END", "1 reset STREAM_CLOSED"}, []string{"RST_STREAM 1 STREAM_CLOSED"}},
	{"a head over the limit", f(frameHeaders, 5, 1, request("long", strings.Repeat("x", 3000), "more", "y")...),
		[]string{"1 head GET http://a/ long=" + strings.Repeat("x", 3000) + " (cut) END"}, nil},
	{"a host that is also the authority", f(frameHeaders, 5, 1, request("host", "A")...), []string{"1 head GET http://a/ host=A END"}, nil},

	{"a stream's window that grows by nothing", join(f(frameHeaders, 5, 1, request()...), f(frameWindow, 0, 1, u32(0)...)),
		[]string{"1 head GET http://a/ END", "1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	{"a stream's window that grows too large", join(f(frameHeaders, 5, 1, request()...), f(frameWindow, 0, 1, u32(1<<31-1)...)),
		[]string{"1 head GET http://a/ END", "1 reset FLOW_CONTROL_ERROR"}, []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}},
	{"more data than the stream's window", join(append([][]byte{f(frameHeaders, 4, 1, request()...)}, repeat(f(frameData, 8, 1, append([]byte{1}, make([]byte, 16383)...)...), 0)...)...),
		[]string{"1 head GET http://a/"}, nil},

	{"the connection's window grows too large", f(frameWindow, 0, 0, u32(1<<31-1)...), nil, []string{"GOAWAY 0 FLOW_CONTROL_ERROR"}},
	{"the connection's window grows by nothing", f(frameWindow, 0, 0, u32(0)...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"an even stream", f(frameHeaders, 5, 2, request()...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a stream that was skipped", join(f(frameHeaders, 5, 5, request()...), f(frameHeaders, 5, 3, request()...)), []string{"5 head GET http://a/ END"}, []string{"GOAWAY 5 PROTOCOL_ERROR"}},
	{"data on stream 0", f(frameData, 0, 0, 'x'), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"data on an idle stream", f(frameData, 0, 1, 'x'), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a reset of an idle stream", f(frameReset, 0, 1, u32(8)...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"more padding than frame", join(f(frameHeaders, 4, 1, request()...), f(frameData, 8, 1, 3, 1, 1)), []string{"1 head GET http://a/"}, []string{"GOAWAY 1 PROTOCOL_ERROR"}},
	{"a long frame", f(frameData, 0, 1, make([]byte, 16385)...), nil, []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
	{"a section that is interrupted", join(f(frameHeaders, 1, 1, request()...), f(framePing, 0, 0, make([]byte, 8)...)), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a continuation of nothing", f(frameContinuation, 4, 1, request()...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a promise", f(framePush, 4, 1, 0, 0, 0, 2), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a section that cannot be decoded", f(frameHeaders, 5, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), nil, []string{"GOAWAY 1 COMPRESSION_ERROR"}},
	{"a ping of seven bytes", f(framePing, 0, 0, make([]byte, 7)...), nil, []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
	{"a window that is impossible", f(frameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0), nil, []string{"GOAWAY 0 FLOW_CONTROL_ERROR"}},
	{"a frame size that is impossible", f(frameSettings, 0, 0, 0, 5, 0, 0, 0x3f, 0xff), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	{"a goaway", f(frameGoAway, 0, 0, make([]byte, 8)...), nil, nil},
}

func repeat(b []byte, n int) (list [][]byte) {
	for range n {
		list = append(list, b)
	}
	return list
}

func TestServerHearsTheSameHoweverInputIsSplit(t *testing.T) {
	for _, c := range serverCases {
		t.Run(c.name, func(t *testing.T) {
			input := join(opening(), c.input)
			for _, n := range []int{len(input), 1, 2, 3, 7, 100} {
				heard, sent, _ := run(true, input, n, nil)
				equal(t, "heard", heard, c.heard)
				equal(t, "sent", sent, append([]string{"SETTINGS ACK"}, fixed(c.sent)...))
			}
		})
	}
}

// fixed replaces what the decoder of a stream that was opened decides: a
// section that cannot be decoded opens no stream.
func fixed(sent []string) []string {
	if len(sent) == 1 && sent[0] == "GOAWAY 1 COMPRESSION_ERROR" {
		return []string{"GOAWAY 0 COMPRESSION_ERROR"}
	}
	return sent
}

// malformed are field sections that end their stream and nothing else.
var malformed = map[string][]byte{
	"capitals":                    request("A", "b"),
	"a space in a name":           request("a b", "c"),
	"an empty name":               request("", "c"),
	"CR in a value":               request("a", "b\rc"),
	"LF in a value":               request("a", "b\nc"),
	"NUL in a value":              request("a", "b\x00c"),
	"a blank before a value":      request("a", " b"),
	"a blank behind a value":      request("a", "b\t"),
	"connection":                  request("connection", "close"),
	"transfer-encoding":           request("transfer-encoding", "chunked"),
	"upgrade":                     request("upgrade", "x"),
	"keep-alive":                  request("keep-alive", "1"),
	"proxy-connection":            request("proxy-connection", "close"),
	"te: gzip":                    request("te", "gzip"),
	"a length that is no number":  request("content-length", "+1"),
	"two lengths":                 request("content-length", "1", "content-length", "2"),
	"another host":                request("host", "b"),
	"a late pseudo field":         request("a", "b", ":method", "GET"),
	"an unknown pseudo field":     request(":secret", "x"),
	"a protocol to GET":           request(":protocol", "websocket"),
	"a protocol twice":            block(":method", "CONNECT", ":protocol", "a", ":protocol", "a", ":scheme", "http", ":path", "/", ":authority", "a"),
	"a protocol without a path":   block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a"),
	"a protocol without a scheme": block(":method", "CONNECT", ":protocol", "websocket", ":path", "/", ":authority", "a"),
	"a protocol without a host":   block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/"),
	"an empty protocol":           block(":method", "CONNECT", ":protocol", "", ":scheme", "http", ":path", "/", ":authority", "a"),
	"a protocol and a length":     block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "a", "content-length", "5"),
	"a status":                    request(":status", "200"),
	"a method twice":              block(":method", "GET", ":method", "GET", ":scheme", "http", ":path", "/"),
	"no method":                   block(":scheme", "http", ":path", "/", ":authority", "a"),
	"no scheme":                   block(":method", "GET", ":path", "/", ":authority", "a"),
	"no path":                     block(":method", "GET", ":scheme", "http", ":authority", "a"),
	"an empty path":               block(":method", "GET", ":scheme", "http", ":path", ""),
	"an absolute path":            block(":method", "GET", ":scheme", "http", ":path", "http://b/"),
	"an asterisk to GET":          block(":method", "GET", ":scheme", "http", ":path", "*"),
	"a method with a space":       block(":method", "GET /", ":scheme", "http", ":path", "/"),
	"CONNECT with a path":         block(":method", "CONNECT", ":scheme", "http", ":path", "/", ":authority", "a"),
	"CONNECT without a host":      block(":method", "CONNECT"),
	"LF in a path":                block(":method", "GET", ":scheme", "http", ":path", "/\n"),
	"CR in an authority":          block(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a\r"),
	"a length that has no digits": request("content-length", ""),
}

func TestMalformedRequestsEndTheirStreamAlone(t *testing.T) {
	for name, section := range malformed {
		heard, sent, err := run(true, join(opening(), f(frameHeaders, 5, 1, section...), f(frameHeaders, 5, 3, request()...)), 1<<20, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal(t, name, heard, []string{"3 head GET http://a/ END"})
		equal(t, name, sent, []string{"SETTINGS ACK", "RST_STREAM 1 PROTOCOL_ERROR"})
	}
}

func TestPrefaceComesFirst(t *testing.T) {
	for name, input := range map[string][]byte{
		"another protocol": []byte("GET / HTTP/1.1\r\n\r\n"),
		"no settings":      join([]byte(Preface), f(framePing, 0, 0, make([]byte, 8)...)),
		"acknowledged":     join([]byte(Preface), f(frameSettings, 1, 0)),
	} {
		for _, n := range []int{1, 1000} {
			if _, sent, err := run(true, input, n, nil); err == nil || len(sent) != 1 || sent[0] != "GOAWAY 0 PROTOCOL_ERROR" {
				t.Errorf("%s: %v, %v", name, sent, err)
			}
		}
	}
}

// A client has three streams open, the last of them for HEAD.
func TestClientHearsAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		input []byte
		heard []string
		sent  []string
	}{
		{"an answer behind a hint", join(f(frameHeaders, 4, 1, block(":status", "103", "link", "x")...), f(frameHeaders, 4, 1, block(":status", "200")...), f(frameData, 1, 1, 'o', 'k')),
			[]string{"1 head 103 link=x", "1 head 200", "1 data ok END"}, nil},
		{"trailers and nothing else", f(frameHeaders, 5, 3, block(":status", "200", "grpc-status", "5")...), []string{"3 head 200 grpc-status=5 END"}, nil},
		{"an answer to HEAD", f(frameHeaders, 5, 5, block(":status", "200", "content-length", "10")...), []string{"5 head 200 content-length=10 END"}, nil},
		{"a body for HEAD", join(f(frameHeaders, 4, 5, block(":status", "200")...), f(frameData, 1, 5, 'x')),
			[]string{"5 head 200", "5 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 5 PROTOCOL_ERROR"}},
		{"refused", f(frameReset, 0, 1, u32(7)...), []string{"1 reset REFUSED_STREAM"}, nil},
		{"not looked at", f(frameGoAway, 0, 0, join(u32(3), u32(0))...), []string{"5 reset REFUSED_STREAM"}, nil},
		{"no status", f(frameHeaders, 5, 1, block("a", "b")...), []string{"1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"101", f(frameHeaders, 4, 1, block(":status", "101")...), []string{"1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a hint that ends", f(frameHeaders, 5, 1, block(":status", "103")...), []string{"1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"data before the head", f(frameData, 0, 1, 'x'), []string{"1 reset PROTOCOL_ERROR"}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a stream of the server's", f(frameHeaders, 5, 2, block(":status", "200")...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		{"a stream that was not opened", f(frameHeaders, 5, 7, block(":status", "200")...), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
		{"push", f(frameSettings, 0, 0, 0, 2, 0, 0, 0, 1), nil, []string{"GOAWAY 0 PROTOCOL_ERROR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := join(f(frameSettings, 0, 0), c.input)
			for _, n := range []int{len(input), 1, 5} {
				heard, sent, _ := run(false, input, n, nil)
				equal(t, "heard", heard, c.heard)
				equal(t, "sent", sent, append([]string{"SETTINGS ACK"}, c.sent...))
			}
		})
	}
}

func TestOpeningIsTheseBytes(t *testing.T) {
	for _, c := range []struct {
		server bool
		want   string
	}{
		{true, "000018040000000000" + "000300000003" + "000800000001" + "000400011170" + "0006000007d0" + "000004080000000000" + "000086a1"},
		{false, "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a" +
			"000012040000000000" + "000200000000" + "000400011170" + "0006000007d0" + "000004080000000000" + "000086a1"},
	} {
		out := &sink{}
		New(c.server, testLimits, &user{}, out)
		if got := hex.EncodeToString(out.bytes); got != c.want {
			t.Errorf("server %v: %s, want %s", c.server, got, c.want)
		}
	}
}

func TestRequestIsTheseBytes(t *testing.T) {
	out := &sink{}
	m := New(false, testLimits, &user{}, out)
	out.bytes = nil
	s := m.Open(nil, false)
	head := m.BeginHead()
	head.Add(":method", []byte("POST"))
	head.Add(":scheme", []byte("http"))
	head.Add(":path", []byte("/a"))
	head.AddFolded([]byte("Cookie"), []byte("c"))
	head.AddFolded([]byte("X-New"), []byte("d"))
	head.AddFolded([]byte("Range"), []byte("e"))
	m.SendHead(s, &head, false)
	m.SendData(s, 0, true)
	want := "000017" + "01" + "04" + "00000001" + "83" + "86" + "04022f61" + "1f110163" + "0005782d6e65770164" + "0f230165" + "000000" + "00" + "01" + "00000001"
	if got := hex.EncodeToString(out.bytes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFieldSectionsAreCutIntoFrames(t *testing.T) {
	out := &sink{}
	u := &user{}
	u.m = New(true, testLimits, u, out)
	u.react = func(u *user, s *Stream, event string) {
		head := u.m.BeginHead()
		head.Add(":status", []byte("200"))
		head.AddFolded([]byte("big"), bytes.Repeat([]byte("x"), 40_000))
		u.m.SendHead(s, &head, true)
	}
	out.bytes = nil
	if err := u.m.Receive(join(opening(), f(frameHeaders, 5, 1, request()...))); err != nil {
		t.Fatal(err)
	}
	equal(t, "sent", frames(out.bytes), []string{"SETTINGS ACK", "HEADERS 1 16384 bytes, flags 1", "CONTINUATION 1 16384 bytes, flags 0", "CONTINUATION 1 7242 bytes, flags 4"})
	if u.m.Streams() != 0 {
		t.Errorf("%d streams are left", u.m.Streams())
	}
}

func TestWindows(t *testing.T) {
	out := &sink{}
	u := &user{}
	u.m = New(true, testLimits, u, out)
	var s *Stream
	u.react = func(_ *user, st *Stream, _ string) { s = st }
	receive := func(b ...[]byte) {
		t.Helper()
		if err := u.m.Receive(join(b...)); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want int) {
		t.Helper()
		if got := u.m.Sendable(s); got != want {
			t.Errorf("%d bytes can be sent, want %d", got, want)
		}
	}
	receive(opening(), f(frameHeaders, 5, 1, request()...))
	is(16384)
	receive(f(frameSettings, 0, 0, 0, 4, 0, 0, 0, 10))
	is(10)
	u.m.SendData(s, 10, false)
	is(0)
	receive(f(frameSettings, 0, 0, 0, 4, 0, 0, 0, 4)) // the window is now -6
	receive(f(frameWindow, 0, 1, u32(9)...))
	is(3)
	receive(f(frameSettings, 0, 0, join([]byte{0, 4}, u32(1<<20))...))
	is(16384)
	for range 3 {
		u.m.SendData(s, 16384, false)
	}
	is(65535 - 10 - 3*16384)
	receive(f(frameWindow, 0, 0, u32(100_000)...), f(frameSettings, 0, 0, join([]byte{0, 5}, u32(1<<15))...))
	is(16384) // whatever longer frames it takes
}

func TestWindowsAreGivenBack(t *testing.T) {
	body := make([]byte, 16384)
	input := join(opening(), f(frameHeaders, 4, 1, request()...))
	for range 8 { // more than the windows of stream and connection at once
		input = append(input, f(frameData, 0, 1, body...)...)
	}
	_, sent, err := run(true, input, len(input), nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "sent", sent, []string{"SETTINGS ACK", "WINDOW_UPDATE 1 49152", "WINDOW_UPDATE 0 65536", "WINDOW_UPDATE 1 49152", "WINDOW_UPDATE 0 65536"})
}

func TestPeerThatIgnoresWindows(t *testing.T) {
	u, out := &user{}, &sink{}
	u.m = New(true, Limits{Streams: 3, Window: 20000, Conn: 100000, Head: 2000}, hoarder{u}, out)
	input := join(opening(), f(frameHeaders, 4, 1, request()...), f(frameData, 0, 1, make([]byte, 16384)...), f(frameData, 0, 1, make([]byte, 16384)...))
	if err := u.m.Receive(input); err != nil {
		t.Fatal(err)
	}
	equal(t, "heard", u.lines, []string{"1 head GET http://a/", "1 reset FLOW_CONTROL_ERROR"})
}

// hoarder is a user that consumes nothing.
type hoarder struct{ *user }

func (hoarder) Data(*Stream, []byte, bool) {}

// Each of these costs work and brings nothing: a peer that sends them without
// end loses its connection.
func TestFloodsEndTheConnection(t *testing.T) {
	open := f(frameHeaders, 4, 1, request()...)
	for name, frame := range map[string][]byte{
		"ping":              f(framePing, 0, 0, make([]byte, 8)...),
		"settings":          f(frameSettings, 0, 0),
		"settings that ack": f(frameSettings, 1, 0),
		"priority":          f(framePriority, 0, 1, 0, 0, 0, 3, 1),
		"empty data":        f(frameData, 0, 1),
		"windows":           f(frameWindow, 0, 0, u32(1)...),
		"unknown":           f(99, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := run(true, join(opening(), open, bytes.Repeat(frame, 1500)), 1<<20, nil)
			if err != errFlood {
				t.Errorf("got %v, want %v", err, errFlood)
			}
			if _, _, err := run(true, join(opening(), open, bytes.Repeat(frame, 800)), 1<<20, nil); err != nil {
				t.Errorf("few of them: %v", err)
			}
		})
	}
}

func TestRapidResetEndsTheConnection(t *testing.T) {
	input := opening()
	for id := uint32(1); id < 4000; id += 2 {
		input = append(input, f(frameHeaders, 5, id, request()...)...)
		input = append(input, f(frameReset, 0, id, u32(8)...)...)
	}
	heard, sent, err := run(true, input, 1<<20, nil)
	if err != errFlood || sent[len(sent)-1] != "GOAWAY 1999 ENHANCE_YOUR_CALM" {
		t.Errorf("got %v, %s", err, sent[len(sent)-1])
	}
	if n := len(heard); n != 2000 {
		t.Errorf("%d events, want a head and a reset for each of 1000 streams", n)
	}
}

// What a peer may waste is earned anew with time, so that a long connection is
// not held to what it once did.
func TestBudgetIsEarned(t *testing.T) {
	u, out := &user{}, &sink{}
	u.m = New(true, testLimits, u, out)
	if err := u.m.Receive(opening()); err != nil {
		t.Fatal(err)
	}
	for second := range 20 {
		u.m.Now = time.Duration(second) * 5 * time.Second
		if err := u.m.Receive(bytes.Repeat(f(framePing, 0, 0, make([]byte, 8)...), 900)); err != nil {
			t.Fatalf("after %v: %v", u.m.Now, err)
		}
	}
}

// A gRPC library measures the connection while messages come: each may be
// answered by a PING, a window for the connection and one for the stream, and
// messages may be as small and as many as they like.
func TestMeasuringASteadyStreamIsNoFlood(t *testing.T) {
	u, out := &user{}, &sink{}
	u.m = New(true, testLimits, u, out)
	receive := func(b ...[]byte) *Error { return u.m.Receive(join(b...)) }
	if err := receive(opening(), f(frameHeaders, 4, 1, request()...)); err != nil {
		t.Fatal(err)
	}
	s := u.m.streams[1]
	for i := range 10_000 {
		u.m.SendData(s, 100, false)
		out.bytes = out.bytes[:0]
		if err := receive(f(framePing, 0, 0, make([]byte, 8)...), f(frameWindow, 0, 0, u32(100)...), f(frameWindow, 0, 1, u32(100)...)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// A peer that lets a long answer out in drips makes a frame of each.
func TestDripsFromAWindowAreAFlood(t *testing.T) {
	u, out := &user{}, &sink{}
	u.m = New(true, testLimits, u, out)
	if err := u.m.Receive(join(opening(), f(frameHeaders, 4, 1, request()...))); err != nil {
		t.Fatal(err)
	}
	s := u.m.streams[1]
	for u.m.Sendable(s) > 0 {
		u.m.SendData(s, u.m.Sendable(s), false)
	}
	for i := range 3000 {
		err := u.m.Receive(join(f(frameWindow, 0, 0, u32(1)...), f(frameWindow, 0, 1, u32(1)...)))
		if err == errFlood {
			return
		}
		if err != nil {
			t.Fatalf("drip %d: %v", i, err)
		}
		u.m.SendData(s, u.m.Sendable(s), false)
		out.bytes = out.bytes[:0]
	}
	t.Error("3000 drips were taken")
}

func TestContinuationsWithoutEnd(t *testing.T) {
	for name, frame := range map[string][]byte{
		"empty": f(frameContinuation, 0, 1),
		"full":  f(frameContinuation, 0, 1, make([]byte, 16384)...),
	} {
		_, _, err := run(true, join(opening(), f(frameHeaders, 1, 1, request()...), bytes.Repeat(frame, 1000)), 1<<20, nil)
		if err != errHeadLong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeaving(t *testing.T) {
	u, out := &user{}, &sink{}
	u.m = New(true, testLimits, u, out)
	out.bytes = nil
	receive := func(b ...[]byte) {
		if err := u.m.Receive(join(b...)); err != nil {
			t.Fatal(err)
		}
	}
	receive(opening(), f(frameHeaders, 4, 1, request()...))
	u.m.Warn()
	receive(f(frameHeaders, 5, 3, request()...)) // it was on its way
	u.m.Leave()
	receive(f(frameHeaders, 5, 5, request()...), f(frameData, 1, 1, 'x'))
	equal(t, "heard", u.lines, []string{"1 head GET http://a/", "3 head GET http://a/ END", "1 data x END"})
	equal(t, "sent", frames(out.bytes), []string{"SETTINGS ACK", "GOAWAY 2147483647 NO_ERROR", "GOAWAY 3 NO_ERROR"})
}
