package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// sealAtOnce is how many bytes one send encrypts at most: four full records.
	// What the kernel does not take of them is all that is ever kept.
	sealAtOnce = 64 << 10

	// goodbye is how long a closed connection may take to send what it holds.
	goodbye = 30 * time.Second

	// lastWords is how long the peer of a handshake that failed has to read why.
	lastWords = time.Second
)

// Secured is called on the loop when a handshake has ended: with the state of
// the connection, or with why there is none. It is not called if the connection
// was closed before. It sets the handler that serves the connection, or closes it.
type Secured func(c *Conn, state *tls.ConnectionState, err error)

// SecureServer makes c, from which nothing was read yet or only what is in first,
// the server's end of a TLS connection. A goroutine shakes hands, so that its
// arithmetic does not hold up the loop; it has until timeout (0 = for ever). From
// done on c reads and writes plaintext, and its end is that of TLS: a connection
// that is cut off without a goodbye gives io.ErrUnexpectedEOF.
func (l *Loop) SecureServer(c *Conn, first []byte, cfg *tls.Config, timeout time.Duration, done Secured) {
	overlay(c, first, timeout, done, func(w *wire) *tls.Conn { return tls.Server(w, cfg) })
}

// SecureClient is SecureServer for the client's end. c must be connected.
func (l *Loop) SecureClient(c *Conn, cfg *tls.Config, timeout time.Duration, done Secured) {
	overlay(c, nil, timeout, done, func(w *wire) *tls.Conn { return tls.Client(w, cfg) })
}

// layer is TLS as a transport on top of another one.
type layer struct {
	conn  *Conn
	below transport
	tls   *tls.Conn
	wire  wire
	done  Secured // nil when the handshake has ended
	want  Ready   // of the handler; Conn.want is what TLS wants of below
	left  bool    // plaintext may be left that no event would tell of
	said  bool    // this side has said goodbye
	vain  bool    // the handshake failed
	again Timer   // to deliver what is left
	late  Timer   // for the handshake, then for the goodbye
	out   []byte  // encrypted and not yet taken by below
}

type (
	layerAgain layer
	layerLate  layer
)

func overlay(c *Conn, first []byte, timeout time.Duration, done Secured, of func(*wire) *tls.Conn) {
	s := &layer{conn: c, below: c.transport, done: done, want: Readable}
	s.again.Task, s.late.Task = (*layerAgain)(s), (*layerLate)(s)
	s.wire.init(s, first)
	s.tls = of(&s.wire)
	c.transport, c.layer = s, s
	s.update()
	if timeout > 0 {
		c.loop.Arm(&s.late, timeout)
	}
	s.wire.shake()
}

// Run ends a handshake, or a goodbye, that took too long.
func (t *layerLate) Run() {
	s := (*layer)(t)
	if s.conn.closed {
		s.bury(endAbort)
		return
	}
	s.wire.fail(os.ErrDeadlineExceeded)
}

// Run delivers plaintext that was left.
func (t *layerAgain) Run() {
	s := (*layer)(t)
	if s.conn.closed || !s.left || s.want&Readable == 0 {
		return
	}
	s.conn.loop.wake()
	s.conn.handler.OnReady(s.conn, Readable)
	s.update()
}

// handOut sends what the handshake has to say.
func (s *layer) handOut() {
	if !s.conn.over {
		_ = s.flush() // an error comes again when the handshake reads
		s.update()
	}
}

// shaken goes on when the handshake has ended.
func (s *layer) shaken(err error) {
	done := s.done
	s.done = nil
	s.conn.loop.Disarm(&s.late)
	if s.conn.closed {
		return
	}
	_ = s.flush() // the end of the handshake, or the alert that says why not; an error comes again
	if err != nil {
		s.vain = true
		done(s.conn, nil, err)
		return
	}
	state := s.tls.ConnectionState()
	s.left = true // the peer's first words may have come with its last of the handshake
	done(s.conn, &state, nil)
	s.update()
}

// ready takes readiness of what is below.
func (s *layer) ready(r Ready) {
	if r&(Readable|Hangup) != 0 {
		s.wire.dry = false
	}
	if r&(Writable|Hangup) != 0 && len(s.out) > 0 {
		_ = s.flush() // an error comes again
	}
	switch {
	case s.conn.closed && s.vain:
		s.hearOut(r)
		return
	case s.conn.closed:
		if len(s.out) == 0 || r&Hangup != 0 {
			s.bury(endClose)
		}
		return
	case s.done != nil:
		if r&(Readable|Hangup) != 0 {
			s.wire.feed(s.below)
		}
	default:
		up := r & (s.want&Readable | Hangup)
		if len(s.out) == 0 {
			up |= r & s.want & Writable
		}
		if up != 0 {
			s.conn.loop.Disarm(&s.again)
			s.conn.handler.OnReady(s.conn, up)
		}
	}
	if !s.conn.over {
		s.update()
	}
}

// update tells what is below what TLS wants of it, and sees to plaintext that
// nothing below would tell of.
func (s *layer) update() {
	below := s.want
	if s.done != nil {
		below = 0
		if s.wire.hungry() {
			below = Readable
		}
	}
	if len(s.out) > 0 {
		below |= Writable
	}
	if s.conn.closed {
		below = Writable
	}
	if s.conn.closed && s.vain {
		below = Readable
	}
	if below != s.conn.want {
		s.conn.want = below
		s.below.update()
	}
	if s.left && s.want&Readable != 0 && s.done == nil && !s.conn.closed {
		s.conn.loop.Arm(&s.again, 0)
	}
}

// recv reads until p is full or nothing is left in TLS and below: only then would
// another event come from below.
func (s *layer) recv(p []byte) (n int, err error) {
	if s.done != nil || len(p) == 0 {
		return 0, ErrAgain
	}
	for n < len(p) && err == nil {
		var k int
		k, err = s.tls.Read(p[n:])
		n += k
	}
	s.left = err != wouldBlock // its other errors come again
	switch {
	case n > 0:
		return n, nil
	case err == wouldBlock:
		return 0, ErrAgain
	case err == io.EOF && s.wire.cut:
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

// send encrypts some of v. It refuses while bytes of an earlier send wait.
func (s *layer) send(v [][]byte) (int, error) {
	if s.done != nil {
		return 0, ErrAgain
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	if len(s.out) > 0 {
		return 0, ErrAgain
	}
	n, err := s.seal(v)
	if ferr := s.flush(); err == nil {
		err = ferr
	}
	if err != nil {
		return 0, err
	}
	if len(s.out) > 0 {
		s.update()
	}
	return n, nil
}

// seal encrypts up to sealAtOnce bytes: slices that are small together become
// one record.
func (s *layer) seal(v [][]byte) (n int, err error) {
	const record = 16 << 10
	plain := s.conn.loop.plain[:0]
	for i := 0; i < len(v) && err == nil && n < sealAtOnce; i++ {
		b := v[i]
		b = b[:min(len(b), sealAtOnce-n)]
		n += len(b)
		if len(plain)+len(b) > record {
			err = s.write(plain)
			plain = plain[:0]
		}
		if len(b) >= record/2 {
			if err == nil {
				err = s.write(plain)
			}
			plain = plain[:0]
			if err == nil {
				err = s.write(b)
			}
			continue
		}
		plain = append(plain, b...)
	}
	if err == nil {
		err = s.write(plain)
	}
	s.conn.loop.plain = plain[:0]
	return n, err
}

func (s *layer) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := s.tls.Write(b)
	return err
}

// flush hands what is encrypted to below, as much as it takes.
func (s *layer) flush() error {
	if s.done != nil {
		s.wire.take()
	}
	for len(s.out) > 0 {
		v := &s.conn.loop.single
		v[0] = s.out
		n, err := s.below.send(v[:])
		v[0] = nil
		if errors.Is(err, ErrAgain) || n == 0 && err == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if s.out = s.out[n:]; len(s.out) > 0 {
			continue
		}
	}
	s.release()
	return nil
}

// release gives the empty buffer to the next connection of the loop.
func (s *layer) release() {
	if s.out != nil {
		s.conn.loop.sealed = s.wire.whole[:0]
		s.out, s.wire.whole = nil, nil
	}
}

func (s *layer) end(how ending) error {
	switch {
	case how == endAbort:
		s.bury(endAbort)
		return nil
	case s.done != nil && how == endWrite:
		return net.ErrClosed
	case s.done != nil:
		_ = s.flush() // what cannot be said now is not
		s.bury(endClose)
		return nil
	}
	if s.vain && how == endClose && !s.conn.loop.ended && s.below.end(endWrite) == nil {
		s.conn.loop.leaving[s] = struct{}{}
		s.conn.loop.Arm(&s.late, lastWords)
		s.update()
		return nil
	}
	if !s.said {
		s.said = true
		_ = s.tls.CloseWrite() // what it says goes into out
	}
	err := s.flush()
	if how == endWrite {
		if len(s.out) > 0 {
			s.update()
		}
		return err
	}
	if len(s.out) == 0 || err != nil || s.conn.loop.ended {
		s.bury(endClose)
		return nil
	}
	s.conn.loop.leaving[s] = struct{}{}
	s.conn.loop.Arm(&s.late, goodbye)
	s.update()
	return nil
}

// hearOut throws away what the peer still sends that did not agree: closing with
// bytes unread would be a reset, which could take the alert with it.
func (s *layer) hearOut(r Ready) {
	var waste [4 << 10]byte
	for range 16 {
		if _, err := s.below.recv(waste[:]); err != nil {
			if !errors.Is(err, ErrAgain) || r&Hangup != 0 {
				s.bury(endClose)
			}
			return
		}
	}
}

// bury ends what is below.
func (s *layer) bury(how ending) {
	if s.conn.over {
		return
	}
	s.wire.fail(net.ErrClosed)
	l := s.conn.loop
	l.Disarm(&s.late)
	l.Disarm(&s.again)
	delete(l.leaving, s)
	s.release()
	_ = s.below.end(how)
}
