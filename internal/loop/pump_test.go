package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAttachedPipe(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		nc, peer := net.Pipe()
		defer peer.Close()
		on(t, l, func() {
			c := l.Attach(nc, newEcho(100))
			if c.Local() != (netip.AddrPort{}) || c.Remote() != (netip.AddrPort{}) {
				t.Errorf("a pipe has the addresses %v, %v", c.Local(), c.Remote())
			}
			if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("half-close of a pipe: %v", err)
			}
		})
		exchange(t, peer, "hello")
	})
}

// selfSigned makes a certificate for any name.
func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure is both ends of a TLS connection after the handshake.
func secure(t testing.TB) (server, client *tls.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw := dial(t, netAddrPort(ln.Addr()))
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{selfSigned()}})
	client = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := await(t, shaken, "the handshake"); err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestAttachedTLS(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		server, client := secure(t)
		var c *Conn
		on(t, l, func() { c = l.Attach(server, newEcho(100_000)) })
		if got, want := c.Local(), netAddrPort(client.RemoteAddr()); got != want {
			t.Errorf("local %v, want %v", got, want)
		}
		sent := bytes.Repeat([]byte("0123456789"), 100_000)
		go func() {
			client.Write(sent)
			client.CloseWrite()
		}()
		got, err := io.ReadAll(client) // the other side says goodbye, or this is an error
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	})
}

func TestAbortOfTLSResetsTheConnectionBelow(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		server, client := secure(t)
		on(t, l, func() { l.Attach(server, silent(t)).Abort() })
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("peer saw %v", err)
		}
	})
}

// stuck is a connection that only takes what it is let to.
type stuck struct {
	net.Conn
	writes chan int
	broken chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	select {
	case s.writes <- len(p):
		return len(p), nil
	case <-s.broken:
		return 0, io.ErrClosedPipe
	}
}

func TestPumpHoldsABoundedNumberOfBytes(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		near, far := net.Pipe()
		defer far.Close()
		s := &stuck{near, make(chan int), make(chan struct{})}
		hangup := make(chan error, 1)
		taken := 0
		var c *Conn
		on(t, l, func() {
			c = l.Attach(s, handler(func(c *Conn, r Ready) {
				if r&Hangup != 0 {
					hangup <- c.Err()
					c.Close()
				}
			}))
			for {
				n, err := c.Write(make([]byte, 1000))
				taken += n
				if err != nil {
					if err != ErrAgain {
						t.Error(err)
					}
					break
				}
			}
		})
		if taken > 2*blockSize {
			t.Errorf("%d bytes are held", taken)
		}
		written := <-s.writes
		close(s.broken)
		on(t, l, func() { c.Write([]byte("x")) }) // the first may have been all
		if err := await(t, hangup, "the hangup"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("hangup because of %v", err)
		}
		if written == 0 || written > taken {
			t.Errorf("%d bytes written of %d", written, taken)
		}
	})
}

// counting counts what is read from a connection.
type counting struct {
	net.Conn
	sizes chan int
}

func (c *counting) Read(p []byte) (int, error) {
	c.sizes <- len(p)
	return c.Conn.Read(p)
}

func TestPumpReadsMuchAtOnceOnlyWhileMuchComes(t *testing.T) {
	eachDriver(t, func(t *stage) {
		d := t.driver
		l := running(t, d)
		near, far := net.Pipe()
		defer far.Close()
		nc := &counting{near, make(chan int, 100)}
		k := newCollector()
		on(t, l, func() { l.Attach(nc, k) })
		send := func(n int) {
			io.WriteString(far, strings.Repeat("x", n))
			k.text(t, n)
		}
		send(10)
		send(idleSize)
		send(blockSize)
		send(10)
		send(10)
		want := []int{idleSize, idleSize, blockSize, blockSize, idleSize}
		for i, n := range want {
			if got := await(t, nc.sizes, "a read"); got != n {
				t.Errorf("read %d asked for %d bytes, want %d", i, got, n)
			}
		}
	})
}
