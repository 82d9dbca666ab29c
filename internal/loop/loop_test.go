package loop

import (
	"io"
	"net"
	"testing"
)

type echo struct{ buf [4096]byte }

func (e *echo) OnReady(c *Conn, r Ready) {
	n, err := c.Read(e.buf[:])
	if err == ErrAgain {
		return
	}
	if err != nil {
		c.Close()
		return
	}
	c.Write(e.buf[:n])
}

func TestEcho(t *testing.T) {
	for _, d := range []Driver{Epoll, Go} {
		t.Run(string(d), func(t *testing.T) {
			l, err := New(d)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { l.Run(); close(done) }()
			g, err := Open("127.0.0.1:0", 1, d)
			if err != nil {
				t.Fatal(err)
			}
			g.Accept([]*Loop{l}, func(*Loop, *Conn) Handler { return &echo{} })
			c, err := net.Dial("tcp", g.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if _, err := c.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				var b [5]byte
				if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "hello" {
					t.Fatal(err, b)
				}
			}
			c.Close()
			g.Close()
			l.Stop()
			<-done
		})
	}
}
