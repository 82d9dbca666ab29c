package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a session on a running loop, and the other end of its connection.
type stage struct {
	*testing.T
	loop    *loop.Loop
	pool    spool.Pool
	options Options
	session *Session
	peer    net.Conn
	holders []*holder
	ended   int
}

// holder holds a lane and keeps what it reads.
type holder struct {
	conn  *loop.Conn
	got   []byte
	end   error
	deaf  bool
	reply func(h *holder) // called after each read
	out   []byte          // to be written when there is room
}

func (h *holder) OnReady(c *loop.Conn, r loop.Ready) {
	if r&loop.Readable != 0 && !h.deaf {
		var buf [4096]byte
		n, err := c.Read(buf[:])
		h.got = append(h.got, buf[:n]...)
		if err != nil && err != loop.ErrAgain {
			h.end = err
			c.Close()
			return
		}
		if h.reply != nil {
			h.reply(h)
		}
	}
	h.push()
}

// write sends p, as room comes.
func (h *holder) write(p string) {
	h.out = append(h.out, p...)
	h.push()
}

func (h *holder) push() {
	for len(h.out) > 0 && !h.conn.Closed() {
		n, err := h.conn.Write(h.out)
		h.out = h.out[n:]
		if err != nil {
			break
		}
	}
	h.conn.WantWrite(len(h.out) > 0)
}

// newStage makes a session that serves, or, with server false, one that calls;
// its peer is what tests write and read by hand. change may be nil.
func newStage(t *testing.T, server bool, change func(*stage)) *stage {
	t.Helper()
	l, err := loop.New(loop.DefaultDriver())
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, loop: l}
	s.options = Options{Loop: l, Pool: &s.pool, Intake: spool.NewIntake(&s.pool), Ended: func(*Session) { s.ended++ }}
	s.options.Accept = func(_ *Session, c *loop.Conn) loop.Handler {
		h := &holder{conn: c}
		s.holders = append(s.holders, h)
		return h
	}
	if change != nil {
		change(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run()
	}()
	t.Cleanup(func() {
		l.Stop()
		<-done
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if server {
		s.accepted(ln)
	} else {
		s.on(func() { s.session, err = Dial(ln.Addr().(*net.TCPAddr).AddrPort(), &s.options) })
		if err != nil {
			t.Fatal(err)
		}
		if s.peer, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.peer.Close() })
	s.peer.SetDeadline(time.Now().Add(30 * time.Second))
	return s
}

// accepted makes a session that serves a connection from ln.
func (s *stage) accepted(ln net.Listener) {
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		s.Fatal(err)
	}
	s.peer = peer
	nc, err := ln.Accept()
	if err != nil {
		s.Fatal(err)
	}
	s.on(func() {
		c := s.loop.Attach(nc, nil)
		s.session = Serve(c, &s.options)
	})
	s.send([]byte(http2.Preface), frame(4, 0, 0))
}

// on runs f on the loop.
func (s *stage) on(f func()) {
	s.Helper()
	if !s.loop.Call(f) {
		s.Fatal("the loop has ended")
	}
}

// until waits until f, which is called on the loop, says yes.
func (s *stage) until(what string, f func() bool) {
	s.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		ok := false
		s.on(func() { ok = f() })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain until %s", what)
		}
	}
}

// text waits until the i-th lane has read want, and forgets it.
func (s *stage) text(i int, want string) {
	s.Helper()
	got := ""
	s.until("the lane has read "+want, func() bool {
		if i < len(s.holders) {
			got = string(s.holders[i].got)
		}
		return len(got) >= len(want)
	})
	if got != want {
		s.Errorf("lane %d read\n%q, want\n%q", i, got, want)
	}
	s.on(func() { s.holders[i].got = nil })
}

func (s *stage) send(parts ...[]byte) {
	s.Helper()
	for _, p := range parts {
		if _, err := s.peer.Write(p); err != nil {
			s.Fatal(err)
		}
	}
}

// frame is a frame.
func frame(kind, flags byte, id uint32, payload ...byte) []byte {
	n := len(payload)
	b := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, id)...)
	return append(b, payload...)
}

// next returns the peer's next frame as text, leaving out settings and windows.
func (s *stage) next() string {
	s.Helper()
	var head [9]byte
	for {
		if _, err := io.ReadFull(s.peer, head[:]); err != nil {
			return err.Error()
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(s.peer, payload); err != nil {
			return err.Error()
		}
		flags, id := head[4], binary.BigEndian.Uint32(head[5:])
		switch head[3] {
		case 4, 8:
		case 3:
			return fmt.Sprintf("reset %d %s", id, http2.Code(binary.BigEndian.Uint32(payload)))
		case 7:
			return fmt.Sprintf("goaway %d %s", binary.BigEndian.Uint32(payload), http2.Code(binary.BigEndian.Uint32(payload[4:])))
		default:
			return fmt.Sprintf("%s %d %d %q", map[byte]string{0: "data", 1: "headers"}[head[3]], id, flags, payload)
		}
	}
}

// expect reads frames.
func (s *stage) expect(want ...string) {
	s.Helper()
	for _, w := range want {
		if got := s.next(); got != w {
			s.Errorf("sent %s, want %s", got, w)
		}
	}
}

// get is the field section of GET http://a/.
const get = "\x82\x86\x84\x41\x01a"

// post is the field section of POST http://a/.
const post = "\x83\x86\x84\x41\x01a"

func headers(flags byte, id uint32, section string) []byte {
	return frame(1, flags, id, []byte(section)...)
}

// parsed checks that text is a request that the parser takes.
func parsed(t *testing.T, text string) *http1.Request {
	t.Helper()
	r := &http1.Request{}
	if n, err := r.Parse([]byte(text), nil); err != nil || n == 0 {
		t.Errorf("%q: %d, %v", text, n, err)
	}
	return r
}

var long = strings.Repeat("0123456789abcdef", 1<<10) // a frame
