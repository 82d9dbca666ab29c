package loop

import (
	"errors"
	"io"
	"net/netip"
	"testing"
)

// carried is a Carrier that holds bytes and writes down how it ends.
type carried struct {
	Virtual
	in    []byte
	out   []byte
	ended []string
}

func (c *carried) Recv(p []byte) (int, error) {
	switch {
	case len(c.in) > 0:
		n := copy(p, c.in)
		if c.in = c.in[n:]; len(c.in) == 0 {
			c.SetReady(Writable)
		}
		return n, nil
	case c.Err() != nil:
		return 0, c.Err()
	}
	return 0, ErrAgain
}

func (c *carried) Send(v [][]byte) (n int, err error) {
	for _, p := range v {
		c.out = append(c.out, p...)
		n += len(p)
	}
	return n, nil
}

func (c *carried) CloseWrite() error { c.ended = append(c.ended, "fin"); return nil }

func (c *carried) Close(abort bool) {
	c.ended = append(c.ended, map[bool]string{false: "close", true: "abort"}[abort])
}

func (c *carried) put(s string) {
	c.in = append(c.in, s...)
	c.SetReady(Readable | Writable)
}

// virtually runs f on the loop of a stage, with a virtual connection, and waits
// until nothing is left to tell.
func virtually(t *testing.T, connecting bool, h Handler, f func(c *carried)) {
	t.Helper()
	l, err := New(DefaultDriver())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run()
	}()
	defer func() { <-ended }()
	defer l.Stop()
	l.Call(func() {
		c := &carried{}
		l.Carry(&c.Virtual, c, h, connecting)
		f(c)
	})
	for quiet := false; !quiet; {
		l.Call(func() { quiet = len(l.virtuals) == 0 })
	}
}

func TestVirtualConnectionIsToldForAsLongAsItIsReadable(t *testing.T) {
	got, calls := "", 0
	virtually(t, false, handler(func(c *Conn, r Ready) {
		if r != Readable {
			t.Errorf("told %b, want Readable alone", r)
		}
		var p [2]byte
		n, err := c.Read(p[:])
		if err != nil {
			t.Error(err)
		}
		got += string(p[:n])
		calls++
	}), func(c *carried) {
		c.SetAddrs(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2"))
		if c.Local().Port() != 1 || c.Remote().Port() != 2 {
			t.Errorf("addresses %v and %v", c.Local(), c.Remote())
		}
		c.put("hello")
	})
	if got != "hello" || calls != 3 {
		t.Errorf("got %q in %d calls, want hello in 3", got, calls)
	}
}

func TestVirtualConnectionIsToldOnlyWhatItWants(t *testing.T) {
	var told []Ready
	virtually(t, false, handler(func(c *Conn, r Ready) {
		told = append(told, r)
		c.WantWrite(false)
	}), func(c *carried) {
		c.WantRead(false)
		c.put("hello")
		c.WantWrite(true)
	})
	if len(told) != 1 || told[0] != Writable {
		t.Errorf("told %b, want Writable once", told)
	}
}

func TestVirtualConnectionHearsNothingAfterClose(t *testing.T) {
	var c *carried
	virtually(t, false, silent(t), func(v *carried) {
		c = v
		c.put("hello")
		if n, err := c.Conn.Write([]byte("bye")); n != 3 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		if err := c.Conn.CloseWrite(); err != nil {
			t.Error(err)
		}
		c.Conn.Close()
		c.Conn.Abort()
		c.Fail(io.ErrUnexpectedEOF)
		c.SetReady(Readable)
	})
	if string(c.out) != "bye" || len(c.ended) != 2 || c.ended[0] != "fin" || c.ended[1] != "close" {
		t.Errorf("sent %q, ended %v", c.out, c.ended)
	}
}

// A handler is never called from within what it calls itself.
func TestVirtualConnectionIsNotReentered(t *testing.T) {
	inside, calls := false, 0
	var c *carried
	virtually(t, false, handler(func(conn *Conn, r Ready) {
		if inside {
			t.Error("called from within")
		}
		inside = true
		if calls++; calls < 5 {
			c.in = nil
			c.put("more")
		} else {
			c.in = nil
			c.SetReady(0)
		}
		inside = false
	}), func(v *carried) {
		c = v
		c.put("x")
	})
	if calls != 5 {
		t.Errorf("%d calls, want 5", calls)
	}
}

func TestVirtualConnectionBreaks(t *testing.T) {
	broken := errors.New("broken")
	got, hangups := "", 0
	virtually(t, false, handler(func(c *Conn, r Ready) {
		if r&Hangup == 0 || c.Err() != broken {
			t.Errorf("told %b, %v", r, c.Err())
		}
		hangups++
		var p [10]byte
		n, err := c.Read(p[:])
		got += string(p[:n])
		if err != nil {
			got += " " + err.Error()
			c.Close()
		}
	}), func(c *carried) {
		c.put("rest")
		c.Fail(broken)
		c.Fail(io.EOF) // too late to say anything else
	})
	if got != "rest broken" || hangups != 2 {
		t.Errorf("got %q, %d times, want the rest, then the error", got, hangups)
	}
}

func TestVirtualConnectionConnects(t *testing.T) {
	for _, fails := range []bool{false, true} {
		var told []Ready
		virtually(t, true, handler(func(c *Conn, r Ready) {
			told = append(told, r)
			if c.Connecting() {
				t.Error("still connecting")
			}
			if fails {
				c.Close()
			}
		}), func(c *carried) {
			if n, err := c.Conn.Write([]byte("early")); n != 0 || err != ErrAgain {
				t.Errorf("wrote %d, %v before it was connected", n, err)
			}
			if fails {
				c.Fail(io.EOF)
				return
			}
			c.SetReady(Writable)
			c.Connected()
		})
		want := Writable
		if fails {
			want = Hangup
		}
		if len(told) != 1 || told[0] != want {
			t.Errorf("told %b, want %b once", told, want)
		}
	}
}
