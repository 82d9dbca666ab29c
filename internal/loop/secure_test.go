package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// certificate is one for any name, made once.
var certificate = sync.OnceValue(func() tls.Certificate { return selfSigned() })

// sides runs a test with the loop as the server and as the client, with either
// version of TLS, on every driver.
func sides(t *testing.T, test func(s *tlsStage)) {
	t.Helper()
	eachDriver(t, func(s *stage) {
		for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			for _, server := range []bool{true, false} {
				role := map[bool]string{true: "server", false: "client"}[server]
				s.Run(name+" "+role, func(t *testing.T) {
					t.Parallel()
					test(&tlsStage{stage: &stage{T: t, driver: s.driver, loop: running(t, s.driver)}, version: version, server: server})
				})
			}
		}
	})
}

type tlsStage struct {
	*stage
	version uint16
	server  bool // the loop is
}

func (s *tlsStage) serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: s.version, MaxVersion: s.version}
}

func (s *tlsStage) clientConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: s.version, MaxVersion: s.version}
}

// secured is a connection of the loop after its handshake, and its peer.
func (s *tlsStage) secured(h Handler) (*Conn, *tls.Conn) {
	s.Helper()
	c, raw := s.pair(silent(s))
	shaken := make(chan error, 1)
	done := func(c *Conn, state *tls.ConnectionState, err error) {
		if err == nil && state.Version != s.version {
			s.Errorf("version %x, want %x", state.Version, s.version)
		}
		c.SetHandler(h)
		shaken <- err
	}
	var peer *tls.Conn
	s.on(func() {
		if s.server {
			s.loop.SecureServer(c, nil, s.serverConfig(), patienceOfTests, done)
		} else {
			s.loop.SecureClient(c, s.clientConfig(), patienceOfTests, done)
		}
	})
	if s.server {
		peer = tls.Client(raw, s.clientConfig())
	} else {
		peer = tls.Server(raw, s.serverConfig())
	}
	if err := peer.Handshake(); err != nil {
		s.Fatal(err)
	}
	if err := await(s, shaken, "the handshake"); err != nil {
		s.Fatal(err)
	}
	return c, peer
}

func TestTLSCarriesEveryByteBothWays(t *testing.T) {
	sides(t, func(s *tlsStage) {
		_, peer := s.secured(newEcho(100_000))
		random := rand.New(rand.NewPCG(1, uint64(s.version)))
		sent := make([]byte, 4<<20)
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		go func() {
			for left := sent; len(left) > 0; {
				n := min(1+random.IntN(60_000), len(left))
				peer.Write(left[:n])
				left = left[n:]
			}
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, sent) {
			s.Errorf("what came back differs, %v", err)
		}
	})
}

// One record holds more than the handler takes at once, and the socket is empty.
func TestTLSDeliversWhatAReadLeft(t *testing.T) {
	sides(t, func(s *tlsStage) {
		got := make(chan byte, 100)
		_, peer := s.secured(handler(func(c *Conn, _ Ready) {
			var one [1]byte
			if n, _ := c.Read(one[:]); n == 1 {
				got <- one[0]
			}
		}))
		io.WriteString(peer, "record")
		for i := range 6 {
			if b := await(s, got, "a byte"); b != "record"[i] {
				s.Errorf("byte %d is %q", i, b)
			}
		}
	})
}

func TestTLSTellsAGoodbyeFromACut(t *testing.T) {
	sides(t, func(s *tlsStage) {
		for want, end := range map[error]func(*tls.Conn) error{
			io.EOF:              (*tls.Conn).CloseWrite,
			io.ErrUnexpectedEOF: func(c *tls.Conn) error { return c.NetConn().(*net.TCPConn).CloseWrite() },
		} {
			k := newCollector()
			_, peer := s.secured(k)
			io.WriteString(peer, "last words")
			if err := end(peer); err != nil {
				s.Fatal(err)
			}
			if got := k.text(s, 10); got != "last words" {
				s.Errorf("got %q", got)
			}
			if err := await(s, k.end, "the end"); err != want {
				s.Errorf("end: %v, want %v", err, want)
			}
		}
	})
}

// The peer reads only after the connection was closed: what was written and not
// yet sent must arrive, and the goodbye behind it.
func TestTLSSendsWhatWasWrittenBeforeClose(t *testing.T) {
	sides(t, func(s *tlsStage) {
		written := make(chan int, 1)
		c, peer := s.secured(newCollector())
		block := bytes.Repeat([]byte("x"), 50_000)
		s.on(func() {
			total := 0
			for {
				n, err := c.Write(block)
				total += n
				if err != nil {
					break
				}
			}
			c.Close()
			written <- total
		})
		n, err := io.Copy(io.Discard, peer)
		if want := await(s, written, "the writer"); int(n) != want || err != nil {
			s.Errorf("%d bytes arrived of %d, %v", n, want, err)
		}
		s.passes()
		s.on(func() {
			for !c.over {
				s.Error("the connection is still there")
				break
			}
		})
	})
}

func TestTLSHalfClose(t *testing.T) {
	sides(t, func(s *tlsStage) {
		k := newCollector()
		c, peer := s.secured(k)
		s.on(func() {
			c.Write([]byte("question"))
			if err := c.CloseWrite(); err != nil {
				s.Error(err)
			}
			if _, err := c.Write([]byte("more")); err == nil {
				s.Error("more was written behind the end")
			}
		})
		if got, err := io.ReadAll(peer); string(got) != "question" || err != nil {
			s.Errorf("peer got %q, %v", got, err)
		}
		io.WriteString(peer, "answer")
		if got := k.text(s, 6); got != "answer" {
			s.Errorf("got %q", got)
		}
	})
}

func TestTLSHandshakesThatFail(t *testing.T) {
	eachDriver(t, func(s *stage) {
		s.loop = running(s.T, s.driver)
		cfg := &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS13}
		for _, c := range []struct {
			name    string
			peer    func(net.Conn)
			timeout time.Duration
			want    string
		}{
			{"plain HTTP", func(nc net.Conn) { io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n") }, patienceOfTests,
				"tls: first record does not look like a TLS handshake"},
			{"an old version", func(nc net.Conn) {
				tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake()
			}, patienceOfTests, "tls: client offered only unsupported versions: [303]"},
			{"a certificate that is not trusted", func(nc net.Conn) {
				tls.Client(nc, &tls.Config{ServerName: "shop.example.com"}).Handshake()
			}, patienceOfTests, "remote error: tls: bad certificate"},
			{"an early end", func(nc net.Conn) { nc.Close() }, patienceOfTests, "EOF"},
			{"silence", func(net.Conn) {}, time.Millisecond, "i/o timeout"},
		} {
			conn, peer := s.pair(silent(s))
			result := make(chan error, 1)
			s.on(func() {
				s.loop.SecureServer(conn, nil, cfg, c.timeout, func(c *Conn, state *tls.ConnectionState, err error) {
					if state != nil {
						t.Error("there is a state")
					}
					c.Close()
					result <- err
				})
			})
			go c.peer(peer)
			if err := await(s, result, "the handshake to fail"); err == nil || !strings.Contains(err.Error(), c.want) {
				s.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
	})
}

// Nobody hears of a handshake whose connection was closed, or whose loop ended.
func TestTLSHandshakeThatIsGivenUp(t *testing.T) {
	eachDriver(t, func(s *stage) {
		s.loop = running(s.T, s.driver)
		never := func(*Conn, *tls.ConnectionState, error) { t.Error("the handshake ended") }
		cfg := &tls.Config{Certificates: []tls.Certificate{certificate()}}
		closed, peer := s.pair(silent(s))
		s.on(func() { s.loop.SecureServer(closed, nil, cfg, 0, never) })
		s.on(closed.Close)
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("peer saw %v", err)
		}
		left, _ := s.pair(silent(s))
		s.on(func() { s.loop.SecureServer(left, nil, cfg, 0, never) })
	})
}

func TestTLSBytesThatWereReadBeforeTheHandshake(t *testing.T) {
	eachDriver(t, func(s *stage) {
		s.loop = running(s.T, s.driver)
		k := newCollector()
		first := make(chan struct{})
		c, peer := s.pair(handler(func(c *Conn, _ Ready) {
			var buf [3]byte
			n, _ := c.Read(buf[:])
			if n == 0 {
				return
			}
			close(first)
			s.loop.SecureServer(c, buf[:n], &tls.Config{Certificates: []tls.Certificate{certificate()}}, patienceOfTests,
				func(c *Conn, _ *tls.ConnectionState, err error) {
					if err != nil {
						t.Error(err)
					}
					c.SetHandler(k)
				})
		}))
		_ = c
		client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
		io.WriteString(client, "hello")
		await(s, first, "the first bytes")
		if got := k.text(s, 5); got != "hello" {
			s.Errorf("got %q", got)
		}
	})
}

// An abort says no goodbye.
func TestTLSAbortResets(t *testing.T) {
	sides(t, func(s *tlsStage) {
		c, peer := s.secured(newCollector())
		s.on(c.Abort)
		var op *net.OpError
		if _, err := peer.Read(make([]byte, 1)); !errors.As(err, &op) {
			s.Errorf("peer saw %v", err)
		}
	})
}

// Not parallel: it counts the allocations of the whole process. crypto/tls makes
// one small reader for each record and direction.
func TestTLSExchangesAllocateLittle(t *testing.T) {
	s := &tlsStage{stage: &stage{T: t, driver: DefaultDriver(), loop: running(t, DefaultDriver())}, version: tls.VersionTLS13, server: true}
	_, peer := s.secured(newEcho(64 << 10))
	message, answer := bytes.Repeat([]byte("m"), 500), make([]byte, 500)
	const peerOwn = 3 // measured of the peer alone: its net.Conn blocks
	if n := testing.AllocsPerRun(500, func() {
		peer.Write(message)
		io.ReadFull(peer, answer)
	}); n > peerOwn+3 {
		t.Errorf("%v allocations for an exchange", n)
	}
}

// slowly is a connection that writes a few bytes at a time, so that records and
// messages of the handshake come in every way that they can be split.
type slowly struct {
	net.Conn
	size int
}

func (c slowly) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = c.Conn.Write(p[n:min(n+c.size, len(p))])
		n += k
	}
	return n, err
}

func TestTLSBytesThatComeOneByOne(t *testing.T) {
	sides(t, func(s *tlsStage) {
		for _, size := range []int{1, 2, 3, 5, 1000} {
			c, raw := s.pair(silent(s))
			shaken := make(chan error, 1)
			done := func(c *Conn, _ *tls.ConnectionState, err error) {
				c.SetHandler(newEcho(3))
				shaken <- err
			}
			var peer *tls.Conn
			if s.server {
				peer = tls.Client(slowly{raw, size}, s.clientConfig())
				s.on(func() { s.loop.SecureServer(c, nil, s.serverConfig(), patienceOfTests, done) })
			} else {
				peer = tls.Server(slowly{raw, size}, s.serverConfig())
				s.on(func() { s.loop.SecureClient(c, s.clientConfig(), patienceOfTests, done) })
			}
			io.WriteString(peer, "what comes in pieces comes")
			if err := await(s, shaken, "the handshake"); err != nil {
				s.Fatal(err)
			}
			got := make([]byte, 26)
			if _, err := io.ReadFull(peer, got); err != nil || string(got) != "what comes in pieces comes" {
				s.Errorf("%d bytes at a time: got %q, %v", size, got, err)
			}
			s.on(c.Close)
		}
	})
}

// What the driving of crypto/tls stands on: a read that finds nothing in the middle
// of a record can be tried again.
func TestTLSReadsCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer client.Close()
	go tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Write([]byte("hello"))
	starved := &starving{Conn: server}
	conn := tls.Server(starved, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	starved.begun = true
	var got []byte
	for refused := 0; len(got) < 5; {
		var buf [5]byte
		n, err := conn.Read(buf[:])
		got = append(got, buf[:n]...)
		if err == wouldBlock {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		if refused > 100 {
			t.Fatal("the read does not go on")
		}
	}
	if string(got) != "hello" {
		t.Errorf("got %q", got)
	}
}

// starving gives a byte at every other read, once it has begun.
type starving struct {
	net.Conn
	begun, full bool
}

func (c *starving) Read(p []byte) (int, error) {
	if !c.begun {
		return c.Conn.Read(p)
	}
	if c.full = !c.full; !c.full {
		return 0, wouldBlock
	}
	return c.Conn.Read(p[:1])
}

// counted counts the reads of a transport.
type counted struct {
	transport
	reads int
}

func (c *counted) recv(p []byte) (int, error) {
	c.reads++
	return c.transport.recv(p)
}

// A read that found less than it had room for need not be tried again before
// the socket says that there is more.
func TestTLSReadsASocketOnceForAMessage(t *testing.T) {
	sides(t, func(s *tlsStage) {
		c, peer := s.secured(newEcho(64 << 10))
		below := &counted{}
		s.on(func() {
			below.transport, c.layer.below = c.layer.below, below
		})
		message, answer := bytes.Repeat([]byte("m"), 300), make([]byte, 300)
		const messages = 100
		for range messages {
			peer.Write(message)
			if _, err := io.ReadFull(peer, answer); err != nil {
				s.Fatal(err)
			}
		}
		s.on(func() {
			// An event more or less is the system's affair.
			if below.reads < messages || below.reads > messages+messages/2 {
				s.Errorf("%d reads for %d messages", below.reads, messages)
			}
		})
	})
}
