package loop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBytesArriveInOrderAndReadTellsWhenThereAreNone(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		c, peer := s.pair(k)
		s.on(func() {
			if n, err := c.Read(make([]byte, 10)); n != 0 || err != ErrAgain {
				s.Errorf("read of nothing: %d, %v", n, err)
			}
		})
		for range 50 {
			io.WriteString(peer, "0123456789")
		}
		peer.CloseWrite()
		if got, want := k.text(s, 500), strings.Repeat("0123456789", 50); got != want {
			s.Errorf("got %q", got)
		}
		if err := await(s, k.end, "the end"); err != io.EOF {
			s.Errorf("end: %v", err)
		}
		s.on(func() {
			if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				s.Errorf("read after the end: %d, %v", n, err)
			}
		})
	})
}

func TestReadabilityIsALevel(t *testing.T) {
	stages(t, func(s *stage) {
		got := make(chan byte, 10)
		_, peer := s.pair(handler(func(c *Conn, _ Ready) {
			var b [1]byte
			if n, _ := c.Read(b[:]); n == 1 {
				got <- b[0]
			}
		}))
		io.WriteString(peer, "abcde")
		var word []byte
		for range 5 {
			word = append(word, await(s, got, "a byte"))
		}
		if string(word) != "abcde" {
			s.Errorf("got %q", word)
		}
	})
}

func TestEchoSurvivesBackPressure(t *testing.T) {
	stages(t, func(s *stage) {
		_, peer := s.pair(newEcho(100_000))
		sent := make([]byte, 4<<20)
		r := rand.NewChaCha8([32]byte{1})
		r.Read(sent)
		go func() {
			peer.Write(sent)
			peer.CloseWrite()
		}()
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, sent) {
			s.Errorf("%d of %d bytes came back intact, %v", len(got), len(sent), err)
		}
	})
}

func TestWantReadOffSilencesBytesAndEnd(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		c, peer := s.pair(silent(s))
		s.on(func() { c.WantRead(false) })
		io.WriteString(peer, "hidden")
		peer.CloseWrite()
		s.passes()
		s.on(func() { c.SetHandler(k); c.WantRead(true) })
		if got := k.text(s, 6); got != "hidden" {
			s.Errorf("got %q", got)
		}
		if err := await(s, k.end, "the end"); err != io.EOF {
			s.Errorf("end: %v", err)
		}
	})
}

func TestWantReadOffAndOnWithinOneEventLosesNothing(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		_, peer := s.pair(handler(func(c *Conn, r Ready) {
			c.WantRead(false)
			c.WantRead(true)
			c.SetHandler(k)
		}))
		io.WriteString(peer, "kept")
		if got := k.text(s, 4); got != "kept" {
			s.Errorf("got %q", got)
		}
	})
}

func TestWritableComesWhenThePeerMakesRoom(t *testing.T) {
	stages(t, func(s *stage) {
		written := 0
		block := make([]byte, 64<<10)
		fill := func(c *Conn) {
			for {
				n, err := c.Write(block)
				written += n
				if err == ErrAgain {
					return
				}
				if err != nil {
					s.Error(err)
					return
				}
			}
		}
		c, peer := s.pair(silent(s))
		s.on(func() { fill(c) })
		var first int
		again := make(chan struct{})
		s.on(func() {
			first = written
			c.WantWrite(true)
			c.SetHandler(handler(func(c *Conn, r Ready) {
				if r != Writable {
					s.Errorf("ready for %b", r)
				}
				c.WantWrite(false)
				fill(c)
				c.CloseWrite()
				close(again)
			}))
		})
		io.CopyN(io.Discard, peer, int64(first))
		await(s, again, "room")
		rest, err := io.Copy(io.Discard, peer)
		var all int
		s.on(func() { all = written })
		if err != nil || int(rest) != all-first || rest == 0 {
			s.Errorf("peer got %d then %d bytes of %d, %v", first, rest, all, err)
		}
	})
}

func TestWritevSendsAllSlicesInOrder(t *testing.T) {
	stages(t, func(s *stage) {
		c, peer := s.pair(silent(s))
		for name, v := range map[string][]string{
			"none":    {},
			"empty":   {"", ""},
			"one":     {"alone"},
			"between": {"", "a", "", "b", ""},
			"sixty":   strings.Split(strings.Repeat("xy,", 60), ","),
		} {
			var slices [][]byte
			for _, p := range v {
				slices = append(slices, []byte(p))
			}
			s.on(func() {
				if n, err := c.Writev(slices); n != len(strings.Join(v, "")) || err != nil {
					s.Errorf("%s: %d, %v", name, n, err)
				}
			})
			got := make([]byte, len(strings.Join(v, "")))
			io.ReadFull(peer, got)
			if diff := cmp.Diff(strings.Join(v, ""), string(got)); diff != "" {
				s.Errorf("%s: %s", name, diff)
			}
		}
	})
}

func TestWritevOfManySlicesIsPartialButInOrder(t *testing.T) {
	stages(t, func(s *stage) {
		c, peer := s.pair(silent(s))
		want := ""
		var slices [][]byte
		for i := range 200 {
			b := []byte{byte(i), byte(i)}
			slices = append(slices, b)
			want += string(b)
		}
		s.on(func() {
			for len(slices) > 0 {
				n, err := c.Writev(slices)
				if err != nil || n%2 != 0 || n == 0 {
					s.Errorf("%d, %v", n, err)
					return
				}
				slices = slices[n/2:]
			}
			c.CloseWrite()
		})
		if got, err := io.ReadAll(peer); string(got) != want || err != nil {
			s.Errorf("got %x, %v", got, err)
		}
	})
}

func TestHalfCloseByThisSide(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		c, peer := s.pair(k)
		s.on(func() {
			c.Write([]byte("last words"))
			if err := c.CloseWrite(); err != nil {
				s.Error(err)
			}
			if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
				s.Errorf("write after the end: %v", err)
			}
		})
		if got, err := io.ReadAll(peer); string(got) != "last words" || err != nil {
			s.Errorf("peer got %q, %v", got, err)
		}
		io.WriteString(peer, "answer")
		if got := k.text(s, 6); got != "answer" {
			s.Errorf("got %q", got)
		}
		peer.Close()
		if err := await(s, k.end, "the end"); err != io.EOF {
			s.Errorf("end: %v", err)
		}
	})
}

func TestHalfCloseByThePeer(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		c, peer := s.pair(k)
		io.WriteString(peer, "question")
		peer.CloseWrite()
		await(s, k.end, "the end")
		s.on(func() {
			c.Write([]byte("late answer"))
			c.Close()
		})
		if got, err := io.ReadAll(peer); string(got) != "late answer" || err != nil {
			s.Errorf("peer got %q, %v", got, err)
		}
	})
}

func TestCloseStillSendsWhatWasWritten(t *testing.T) {
	stages(t, func(s *stage) {
		c, peer := s.pair(silent(s))
		s.on(func() {
			c.Write(bytes.Repeat([]byte("z"), 10_000))
			c.Close()
			c.Close()
		})
		if got, err := io.ReadAll(peer); len(got) != 10_000 || err != nil {
			s.Errorf("peer got %d bytes, %v", len(got), err)
		}
	})
}

func TestClosedConnectionRefusesEverything(t *testing.T) {
	stages(t, func(s *stage) {
		c, peer := s.pair(silent(s))
		s.on(func() {
			if c.Closed() {
				s.Error("closed too early")
			}
			c.WantWrite(true)
			c.Close()
			c.WantRead(false)
			c.WantRead(true)
			_, rerr := c.Read(make([]byte, 1))
			_, werr := c.Write([]byte("x"))
			_, verr := c.Writev([][]byte{{1}, {2}})
			for _, err := range []error{rerr, werr, verr, c.CloseWrite()} {
				if !errors.Is(err, net.ErrClosed) {
					s.Errorf("error %v", err)
				}
			}
			c.Abort()
			if !c.Closed() {
				s.Error("not closed")
			}
		})
		peer.Close()
		s.passes()
	})
}

func TestAbortResets(t *testing.T) {
	stages(t, func(s *stage) {
		c, peer := s.pair(silent(s))
		s.on(c.Abort)
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			s.Errorf("peer saw %v", err)
		}
	})
}

func TestResetByThePeerIsAHangup(t *testing.T) {
	stages(t, func(s *stage) {
		k := newCollector()
		_, peer := s.pair(k)
		peer.SetLinger(0)
		peer.Close()
		if err := await(s, k.end, "the end"); !errors.Is(err, syscall.ECONNRESET) {
			s.Errorf("read said %v", err)
		}
		if err := await(s, k.hangup, "the hangup"); !errors.Is(err, syscall.ECONNRESET) {
			s.Errorf("hangup said %v", err)
		}
	})
}

func TestHandlerThatClosesOthersInTheSameBatch(t *testing.T) {
	stages(t, func(s *stage) {
		var a, b *Conn
		calls := make(chan *Conn, 2)
		closer := handler(func(c *Conn, _ Ready) {
			calls <- c
			a.Close()
			b.Close()
		})
		ca, pa := s.pair(silent(s))
		cb, pb := s.pair(silent(s))
		s.on(func() {
			a, b = ca, cb
			a.SetHandler(closer)
			b.SetHandler(closer)
			// While the loop is busy here, both become ready.
			io.WriteString(pa, "1")
			io.WriteString(pb, "2")
			settled(a)
			settled(b)
		})
		await(s, calls, "a call")
		s.passes()
		if len(calls) != 0 {
			s.Error("the handler of a closed connection was called")
		}
	})
}

func TestDialledConnectionIsWritableWhenConnected(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ready := make(chan Ready, 10)
		var c *Conn
		on(t, l, func() {
			c, err = l.Dial(netAddrPort(ln.Addr()), handler(func(c *Conn, r Ready) { ready <- r }))
			if err != nil || !c.Connecting() {
				t.Errorf("connecting %v, %v", c.Connecting(), err)
				return
			}
			if n, err := c.Write([]byte("early")); n != 0 || err != ErrAgain {
				t.Errorf("write while connecting: %d, %v", n, err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != ErrAgain {
				t.Errorf("read while connecting: %d, %v", n, err)
			}
			if err := c.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("end while connecting: %v", err)
			}
		})
		if r := await(t, ready, "the connection"); r != Writable {
			t.Errorf("ready for %b", r)
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		on(t, l, func() {
			if c.Connecting() || c.Err() != nil {
				t.Errorf("connecting %v, %v", c.Connecting(), c.Err())
			}
			if got, want := c.Local(), netAddrPort(nc.RemoteAddr()); got != want {
				t.Errorf("local %v, want %v", got, want)
			}
			if got, want := c.Remote(), netAddrPort(ln.Addr()); got != want {
				t.Errorf("remote %v, want %v", got, want)
			}
		})
		for range 3 {
			on(t, l, func() {})
		}
		on(t, l, c.Close)
		if len(ready) != 0 {
			t.Error("writable although nobody wants to write")
		}
	})
}

// refusing is an address where nobody listens.
func refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netAddrPort(ln.Addr())
}

func TestRefusedDialHangsUpWithTheReason(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		why := make(chan error, 1)
		on(t, l, func() {
			_, err := l.Dial(refusing(t), handler(func(c *Conn, r Ready) {
				if r != Hangup || c.Connecting() {
					t.Errorf("ready for %b, connecting %v", r, c.Connecting())
				}
				why <- c.Err()
				c.Close()
			}))
			if err != nil { // a kernel may know at once
				why <- err
			}
		})
		if err := await(t, why, "the refusal"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("refused because %v", err)
		}
	})
}

func TestDialOfNothingFails(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		why := make(chan error, 1)
		on(t, l, func() {
			if _, err := l.Dial(netip.AddrPort{}, handler(func(c *Conn, _ Ready) {
				why <- c.Err()
				c.Close()
			})); err != nil {
				why <- err
			}
		})
		if err := await(t, why, "the failure"); err == nil {
			t.Error("no error")
		}
	})
}

func TestConnectionClosedWhileConnectingIsNeverHeardOfAgain(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		for range 20 {
			on(t, l, func() {
				for _, end := range []func(*Conn){(*Conn).Close, (*Conn).Abort} {
					for _, addr := range []netip.AddrPort{netAddrPort(ln.Addr()), refusing(t)} {
						c, err := l.Dial(addr, silent(t))
						if err == nil {
							end(c)
						}
					}
				}
			})
		}
		on(t, l, func() {})
	})
}

func TestDialOverIPv6(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		ln, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		l := running(t, d)
		local := make(chan netip.AddrPort, 1)
		on(t, l, func() {
			_, err := l.Dial(netAddrPort(ln.Addr()), handler(func(c *Conn, _ Ready) {
				local <- c.Local()
				c.Close()
			}))
			if err != nil {
				t.Error(err)
			}
		})
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if got, want := await(t, local, "the connection"), netAddrPort(nc.RemoteAddr()); got != want {
			t.Errorf("local %v, want %v", got, want)
		}
	})
}
