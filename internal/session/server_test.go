package session

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestRequestsBecomeText(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   string
	}{
		{"without a body", [][]byte{headers(5, 1, get)}, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"},
		{"with a length", [][]byte{headers(4, 1, post+"\x0f\x0d\x015"), frame(0, 1, 1, []byte("hello")...)},
			"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"},
		{"in chunks", [][]byte{headers(4, 1, post), frame(0, 0, 1, []byte("hel")...), frame(0, 1, 1, []byte("lo")...)},
			"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"},
		{"with trailers", [][]byte{headers(4, 1, post), frame(0, 0, 1, 'x'), headers(5, 1, "\x00\x01a\x01b")},
			"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\n\r\n"},
		{"with cookies", [][]byte{headers(5, 1, get+"\x0f\x11\x01a"+"\x00\x01k\x01v"+"\x0f\x11\x01b")},
			"GET / HTTP/1.1\r\nhost: a\r\nk: v\r\ncookie: a; b\r\n\r\n"},
		{"with a host and no authority", [][]byte{headers(5, 1, "\x82\x86\x84\x0f\x17\x01h")}, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"},
		{"to connect", [][]byte{headers(4, 1, "\x02\x07CONNECT\x41\x03a:1")}, "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ntransfer-encoding: chunked\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, true, nil)
			s.send(c.frames...)
			s.text(0, c.want)
			parsed(t, c.want)
		})
	}
}

// answers are what is written on a lane, in two pieces, and what leaves.
var answers = []struct {
	name, method, text string
	closes             bool
	want               []string
}{
	{"with a length", get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", false,
		[]string{`headers 1 4 "\x88\x0f\r\x012"`, `data 1 1 "ok"`}},
	{"in chunks", get, "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, []string{`headers 1 4 "\x8d"`, `data 1 1 "ok"`}},
	{"with trailers", get, "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n", false,
		[]string{`headers 1 4 "\x88"`, `data 1 0 "ok"`, `headers 1 5 "\x00\vgrpc-status\x010"`}},
	{"complete with its head", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nGrpc-Status: 5\r\n\r\n", false,
		[]string{`headers 1 5 "\x88\x0f\r\x010\x00\vgrpc-status\x015"`}},
	{"without a body", get, "HTTP/1.1 204 No Content\r\n\r\n", false, []string{`headers 1 5 "\x89"`}},
	{"behind a hint", get, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 304 \r\nEtag: y\r\n\r\n", false,
		[]string{`headers 1 4 "\b\x03103\x0f\x1e\x01x"`, `headers 1 5 "\x8b\x0f\x13\x01y"`}},
	{"to HEAD", "\x02\x04HEAD\x86\x84\x41\x01a", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false, []string{`headers 1 5 "\x88\x0f\r\x0210"`}},
	{"until close", get, "HTTP/1.1 200 OK\r\n\r\nhello", true, []string{`headers 1 4 "\x88"`}},
}

func TestAnswersBecomeFrames(t *testing.T) {
	for _, c := range answers {
		for _, cut := range []int{0, 1, 9, 17, len(c.text) - 3} {
			t.Run(fmt.Sprint(c.name, " ", cut), func(t *testing.T) {
				s := newStage(t, true, nil)
				s.send(headers(5, 1, c.method))
				s.until("the request is read", func() bool { return len(s.holders) == 1 && len(s.holders[0].got) > 0 })
				s.on(func() { s.holders[0].write(c.text[:cut]) })
				s.on(func() {
					s.holders[0].write(c.text[cut:])
					if c.closes {
						s.holders[0].conn.Close()
					}
				})
				if got := joined(s); got != strings.Join(c.want, " ") && !c.closes {
					t.Errorf("sent %s\nwant %s", got, strings.Join(c.want, " "))
				} else if c.closes && !strings.HasPrefix(got, c.want[0]) {
					t.Errorf("sent %s", got)
				}
			})
		}
	}
}

// joined reads the frames of stream 1 to its end, with data put together.
func joined(s *stage) string {
	s.Helper()
	var parts []string
	body := ""
	for {
		f := s.next()
		var id, flags int
		var payload string
		kind, rest, _ := strings.Cut(f, " ")
		if n, _ := fmt.Sscanf(rest, "%d %d %q", &id, &flags, &payload); n != 3 {
			return strings.Join(append(parts, f), " ")
		}
		if kind == "data" {
			body += payload
			if flags&1 != 0 {
				parts = append(parts, fmt.Sprintf("data 1 1 %q", body))
			}
		} else {
			if body != "" {
				parts = append(parts, fmt.Sprintf("data 1 0 %q", body))
			}
			parts = append(parts, f)
		}
		if flags&1 != 0 {
			return strings.Join(parts, " ")
		}
	}
}

// A lane serves one stream after another.
func TestLanesAreUsedAgain(t *testing.T) {
	s := newStage(t, true, nil)
	for id := uint32(1); id < 20; id += 2 {
		s.send(headers(5, id, get))
		s.text(0, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
		s.on(func() { s.holders[0].write("HTTP/1.1 204 x\r\n\r\n") })
		s.expect(fmt.Sprintf(`headers %d 5 "\x89"`, id))
	}
	s.on(func() {
		if len(s.holders) != 1 || s.session.Lanes() != 1 {
			t.Errorf("%d lanes were made, %d are there, want 1", len(s.holders), s.session.Lanes())
		}
	})
}

func TestEarlyAnswerEndsTheRequest(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, post), frame(0, 0, 1, 'x'))
	s.text(0, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
	s.on(func() { s.holders[0].write("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n") })
	s.expect(`headers 1 5 "\b\x03413\x0f\r\x010"`, "reset 1 NO_ERROR")
	s.until("the lane has ended", func() bool { return s.holders[0].end == io.EOF })
	s.send(frame(0, 1, 1, 'y'), headers(5, 3, get)) // what was on its way is ignored
	s.text(1, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
}

func TestLaneThatIsGivenUpResetsItsStream(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(5, 1, get))
	s.until("the request is read", func() bool { return len(s.holders) == 1 })
	s.on(func() {
		s.holders[0].write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		s.holders[0].conn.Close()
	})
	s.expect(`headers 1 4 "\x88\x0f\r\x015"`, `data 1 0 "he"`, "reset 1 INTERNAL_ERROR")
	s.until("the lane is forgotten", func() bool { return s.session.Lanes() == 0 })
}

func TestStreamThatIsResetBreaksItsLane(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, post), headers(5, 3, get), frame(3, 0, 1, 0, 0, 0, 8))
	s.until("the lane breaks", func() bool { return len(s.holders) == 2 && s.holders[0].end != nil })
	s.on(func() {
		if !errors.Is(s.holders[0].end, ErrReset) || s.holders[1].end != nil {
			t.Errorf("the lanes ended with %v and %v", s.holders[0].end, s.holders[1].end)
		}
	})
}

// A peer with a small window gets what fits, lanes hold a bounded rest, and one
// stream holds up no other.
func TestLanesHoldABoundedAmount(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(frame(4, 0, 0, 0, 4, 0, 0, 0, 5), headers(5, 1, get), headers(5, 3, get))
	s.until("the requests are read", func() bool { return len(s.holders) == 2 && len(s.holders[1].got) > 0 })
	const body = 1 << 20
	s.on(func() {
		s.holders[0].write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", body) + strings.Repeat(long, body/len(long)))
		if left := len(s.holders[0].out); left < body-laneHigh-len(long)*8 {
			t.Errorf("the lane took all but %d bytes", left)
		}
		s.holders[1].write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	s.expect(`headers 1 4 "\x88\x0f\r\a1048576"`, `data 1 0 "01234"`, `headers 3 4 "\x88\x0f\r\x012"`, `data 3 1 "ok"`)
	s.send(frame(8, 0, 1, 0, 0, 0, 3))
	s.expect(`data 1 0 "567"`)
	s.send(frame(8, 0, 1, 0x10, 0, 0, 0), frame(8, 0, 0, 0x10, 0, 0, 0))
	got := 8
	for got < body {
		var id, flags int
		var payload string
		if _, err := fmt.Sscanf(s.next(), "data %d %d %q", &id, &flags, &payload); err != nil {
			t.Fatal(err)
		}
		if got += len(payload); (flags == 1) != (got == body) {
			t.Fatalf("flags %d after %d bytes", flags, got)
		}
	}
}

// A reader that stops holds its own window and no more.
func TestReadersThatStopHoldUpNobody(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(4, 1, post))
	s.until("the request is read", func() bool { return len(s.holders) == 1 && len(s.holders[0].got) > 0 })
	s.on(func() { s.holders[0].conn.WantRead(false) })
	for range window / len(long) {
		s.send(frame(0, 0, 1, []byte(long)...))
	}
	s.send(headers(5, 3, get))
	s.text(1, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
	s.on(func() {
		if n := s.session.lanes[0].in.Len(); n < window || n > window+window/8 {
			t.Errorf("%d bytes wait, want a window and its framing", n)
		}
		s.holders[0].got = nil
		s.holders[0].conn.WantRead(true)
	})
	s.until("the window is given back", func() bool { return s.session.lanes[0].in.Len() == 0 })
	s.send(frame(0, 1, 1, 'x'))
	s.until("the rest is read", func() bool { return strings.HasSuffix(string(s.holders[0].got), "x\r\n0\r\n\r\n") })
}

func TestSessionThatRetires(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(5, 1, get))
	s.until("the request is read", func() bool { return len(s.holders) == 1 && len(s.holders[0].got) > 0 })
	s.on(s.session.Retire)
	s.expect("goaway 2147483647 NO_ERROR")
	s.send(headers(5, 3, get)) // it was on its way
	s.until("that one is read", func() bool { return len(s.holders) == 2 && len(s.holders[1].got) > 0 })
	s.expect("goaway 3 NO_ERROR")
	s.on(func() {
		s.holders[0].write("HTTP/1.1 204 x\r\n\r\n")
		s.holders[1].write("HTTP/1.1 204 x\r\n\r\n")
	})
	s.expect(`headers 1 5 "\x89"`, `headers 3 5 "\x89"`, "EOF")
	s.peer.Close()
	s.until("the session has ended", func() bool {
		return s.ended == 1 && s.session.Over() && s.holders[0].end != nil && s.holders[1].end != nil
	})
}

func TestIdleSessionEnds(t *testing.T) {
	s := newStage(t, true, func(s *stage) { s.options.Idle = 50 * time.Millisecond })
	s.expect("goaway 0 NO_ERROR", "EOF")
}

func TestClientThatSaysNothingIsNotWaitedFor(t *testing.T) {
	s := newStage(t, false, func(s *stage) { s.options.Begin = 50 * time.Millisecond })
	h := &holder{}
	s.on(func() { h.conn = s.session.Open(h) })
	s.until("the lane hears", func() bool { return errors.Is(h.conn.Err(), errLate) })
}

func TestPeerThatTakesNothingLosesTheStream(t *testing.T) {
	s := newStage(t, true, func(s *stage) { s.options.Stall = 100 * time.Millisecond })
	s.send(frame(4, 0, 0, 0, 4, 0, 0, 0, 0), headers(5, 1, get))
	s.until("the request is read", func() bool { return len(s.holders) == 1 && len(s.holders[0].got) > 0 })
	s.on(func() { s.holders[0].write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	s.expect(`headers 1 4 "\x88\x0f\r\x012"`, "reset 1 CANCEL")
	s.until("the lane hears", func() bool { return errors.Is(s.holders[0].end, errSlow) })
}

func TestViolationEndsTheSession(t *testing.T) {
	s := newStage(t, true, nil)
	s.send(headers(5, 1, get), frame(0, 0, 0, 'x'))
	s.expect("goaway 1 PROTOCOL_ERROR", "EOF")
	s.until("the lane hears", func() bool { return len(s.holders) == 1 && s.holders[0].end != nil && s.ended == 1 })
}
