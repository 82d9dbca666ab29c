package session

import (
	"errors"
	"fmt"
	"testing"
)

// calling is a stage with n lanes of a client, whose server has sent settings.
func calling(t *testing.T, n int, settings ...byte) *stage {
	s := newStage(t, false, nil)
	s.on(func() {
		for range n {
			h := &holder{}
			h.conn = s.session.Open(h)
			if !h.conn.Connecting() {
				t.Error("a lane is connected before its session")
			}
			s.holders = append(s.holders, h)
		}
	})
	buf := make([]byte, 24)
	if _, err := s.peer.Read(buf); err != nil {
		t.Fatal(err)
	}
	s.send(frame(4, 0, 0, settings...))
	s.until("the lanes are connected", func() bool { return !s.holders[n-1].conn.Connecting() })
	return s
}

func TestRequestsBecomeFrames(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"that takes trailers", "GET /x?y HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
			`headers 1 5 "\x82\x86\x04\x04/x?y\x01\x01a\x00\x02te\btrailers"`},
		{"without a host", "GET / HTTP/1.1\r\nHost: \r\nX-A: b\r\n\r\n", `headers 1 5 "\x82\x86\x84\x00\x03x-a\x01b"`},
		{"with secrets", "OPTIONS * HTTP/1.1\r\nHost: a\r\nAuthorization: s\r\n\r\n", `headers 1 5 "\x02\aOPTIONS\x86\x04\x01*\x01\x01a\x1f\b\x01s"`},
	} {
		for _, cut := range []int{0, 1, 20, len(c.text) - 2} {
			t.Run(fmt.Sprint(c.name, " ", cut), func(t *testing.T) {
				s := calling(t, 1)
				s.on(func() { s.holders[0].write(c.text[:cut]) })
				s.on(func() { s.holders[0].write(c.text[cut:]) })
				s.expect(c.want)
			})
		}
	}
}

func TestBodiesOfRequestsBecomeData(t *testing.T) {
	s := calling(t, 2)
	s.on(func() {
		s.holders[0].write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		s.holders[1].write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSum: 1\r\n\r\n")
	})
	s.expect(`headers 1 4 "\x83\x86\x84\x01\x01a\x0f\r\x015"`, `data 1 1 "hello"`,
		`headers 3 4 "\x83\x86\x84\x01\x01a"`, `data 3 0 "hi"`, `headers 3 5 "\x00\x03sum\x011"`)
}

func TestAnswersBecomeText(t *testing.T) {
	for _, c := range []struct {
		name, method string
		frames       [][]byte
		want         string
	}{
		{"in chunks", "GET", [][]byte{headers(4, 1, "\x88"), frame(0, 0, 1, 'o'), frame(0, 1, 1, 'k')},
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"},
		{"with a length", "GET", [][]byte{headers(4, 1, "\x88\x0f\x0d\x012"), frame(0, 1, 1, 'o', 'k')}, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"},
		{"with trailers", "GET", [][]byte{headers(4, 1, "\x88"), frame(0, 0, 1, 'x'), headers(5, 1, "\x00\x01a\x01b")},
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\n\r\n"},
		{"with trailers that were announced, and a length", "GET", [][]byte{headers(4, 1, "\x88\x0f\x0d\x011\x00\x07trailer\x01a"), frame(0, 0, 1, 'x'), headers(5, 1, "\x00\x01a\x01b")},
			"HTTP/1.1 200 OK\r\ntrailer: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\n\r\n"},
		{"complete with its head", "GET", [][]byte{headers(5, 1, "\x88\x00\x01a\x01b")}, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\n\r\n"},
		{"to HEAD", "HEAD", [][]byte{headers(5, 1, "\x88\x0f\x0d\x0210")}, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"},
		{"behind a hint", "GET", [][]byte{headers(4, 1, "\x08\x03103\x00\x01a\x01b"), headers(5, 1, "\x89")}, "HTTP/1.1 103 Status\r\na: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calling(t, 1)
			s.on(func() { s.holders[0].write(c.method + " / HTTP/1.1\r\nHost: a\r\n\r\n") })
			s.next()
			s.send(c.frames...)
			s.text(0, c.want)
			s.on(func() { s.holders[0].write("GET / HTTP/1.1\r\nHost: a\r\n\r\n") })
			s.expect(`headers 3 5 "\x82\x86\x84\x01\x01a"`) // the lane goes on
		})
	}
}

func TestRefusalsAreTold(t *testing.T) {
	s := calling(t, 3)
	s.on(func() {
		for _, h := range s.holders {
			h.write("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	})
	s.next()
	s.next()
	s.next()
	s.send(frame(3, 0, 1, 0, 0, 0, 7), frame(7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0))
	s.until("the lanes break", func() bool { return s.holders[0].end != nil && s.holders[2].end != nil })
	s.on(func() {
		if !Refused(s.holders[0].end) || s.holders[1].end != nil || !Refused(s.holders[2].end) || s.session.Room() {
			t.Errorf("the lanes ended with %v, %v, %v; room %v", s.holders[0].end, s.holders[1].end, s.holders[2].end, s.session.Room())
		}
	})
	s.send(headers(5, 3, "\x89"))
	s.text(1, "HTTP/1.1 204 No Content\r\n\r\n")
	s.until("the session has ended", func() bool { return s.ended == 1 })
}

func TestSessionIsFullWhenThePeerSaysSo(t *testing.T) {
	s := calling(t, 2, 0, 3, 0, 0, 0, 2)
	s.on(func() {
		if s.session.Room() {
			t.Error("there is room for a third lane")
		}
		s.holders[0].conn.Close()
		if !s.session.Room() {
			t.Error("there is no room for a second lane")
		}
	})
}

// Calls over the limit wait for their turn.
func TestLanesWaitForAStream(t *testing.T) {
	s := calling(t, 3, 0, 3, 0, 0, 0, 1)
	s.on(func() {
		for _, h := range s.holders {
			h.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	})
	for i, id := range []uint32{1, 3, 5} {
		s.expect(fmt.Sprintf(`headers %d 5 "\x82\x86\x84\x01\x01a"`, id))
		s.send(headers(5, id, "\x89"))
		s.text(i, "HTTP/1.1 204 No Content\r\n\r\n")
	}
}

func TestLanesThatWaitAreRefusedWhenTheServerLeaves(t *testing.T) {
	s := calling(t, 2, 0, 3, 0, 0, 0, 1)
	s.on(func() {
		for _, h := range s.holders {
			h.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	})
	s.next()
	s.send(frame(7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0), headers(5, 1, "\x89"))
	s.text(0, "HTTP/1.1 204 No Content\r\n\r\n")
	s.until("the other lane hears", func() bool { return Refused(s.holders[1].end) })
}

func TestServerThatSpeaksSomethingElse(t *testing.T) {
	s := newStage(t, false, nil)
	h := &holder{}
	s.on(func() { h.conn = s.session.Open(h) })
	s.send([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
	s.until("the lane hears", func() bool { return h.conn.Err() != nil })
	s.on(func() {
		if got := fmt.Sprint(h.conn.Err()); got != "http2: the first frame is not SETTINGS (PROTOCOL_ERROR)" {
			t.Errorf("got %s", got)
		}
	})
}

func TestCallThatIsGivenUpIsCancelled(t *testing.T) {
	s := calling(t, 1)
	s.on(func() { s.holders[0].write("GET / HTTP/1.1\r\nHost: a\r\n\r\n") })
	s.next()
	s.send(headers(4, 1, "\x88"))
	s.until("the head is read", func() bool { return len(s.holders[0].got) > 0 })
	s.on(s.holders[0].conn.Abort)
	s.expect("reset 1 CANCEL")
}

// A server that has answered whole and wants no more of the request.
func TestEarlyAnswerOfAServer(t *testing.T) {
	s := calling(t, 1)
	s.on(func() { s.holders[0].write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhel") })
	s.next()
	s.next()
	s.send(headers(5, 1, "\x89"), frame(3, 0, 1, 0, 0, 0, 0))
	s.until("the answer is read, and then the end", func() bool { return s.holders[0].end != nil })
	s.on(func() {
		if got := string(s.holders[0].got); got != "HTTP/1.1 204 No Content\r\n\r\n" || errors.Is(s.holders[0].end, ErrReset) {
			t.Errorf("got %q, then %v", got, s.holders[0].end)
		}
	})
}
