//go:build linux

package shadow

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Kind names one way to be bad.
type Kind string

// The ways to be bad.
const (
	Refusing     Kind = "refusing"      // nothing listens: a connect gets RST
	Blackholed   Kind = "black-holed"   // packets dropped: a connect gets no answer at all
	Unaccepted   Kind = "unaccepted"    // the backlog is full and nobody accepts: a connect gets no answer
	Vanishing    Kind = "vanishing"     // accepts, reads the first bytes, then every packet is lost
	NeverReading Kind = "never-reading" // accepts, reads nothing, with a small receive buffer
	SlowReading  Kind = "slow-reading"  // reads 64 KiB/s on each connection, and answers
	Late         Kind = "late"          // reads the request, answers after 30 s
	Resetting    Kind = "resetting"     // RST in the middle of the answer
	Garbage      Kind = "garbage"       // answers what is not HTTP, or not one answer
	Endless      Kind = "endless"       // answers without end
	HalfClosing  Kind = "half-closing"  // FIN right after accept, or after the request's head, in turn
)

// Kinds lists every kind in the order of the report. The caller owns the slice.
func Kinds() []Kind {
	return []Kind{Refusing, Blackholed, Unaccepted, Vanishing, NeverReading, SlowReading,
		Late, Resetting, Garbage, Endless, HalfClosing}
}

const (
	slowRate     = 64 << 10 // bytes per second and connection of SlowReading
	lateAfter    = 30 * time.Second
	endlessRate  = 8 << 20 // bytes per second over all connections of Endless: a flood that costs this program little
	smallReceive = 4 << 10 // SO_RCVBUF in bytes; the kernel doubles it
)

// receiveBuffer is SO_RCVBUF of the kinds that read little or nothing: with
// the kernel's default of megabytes, bytes that nobody read would look read.
var receiveBuffer = map[Kind]int{Vanishing: smallReceive, NeverReading: smallReceive, SlowReading: smallReceive}

// play is what a kind does with the n-th connection, counted from 1. It
// returns when it is done with it; the caller closes the connection.
type play func(s *Shadow, c *net.TCPConn, n int64)

// Shadow is a running bad shadow. Its methods may be called from any goroutine.
type Shadow struct {
	kind     Kind
	addr     string
	hold     func() error // releases what keeps the address: listener, or socket
	accepted atomic.Int64
	born     time.Time     // what its paces count from
	late     time.Duration // how long Late waits; a field so that tests need not wait 30 s
	flood    *pace         // shared by all connections of Endless

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{}
}

// Start plays a shadow of the given kind on a free port of 127.0.0.1. The
// caller must Close it.
func Start(kind Kind) (*Shadow, error) { return start(kind, lateAfter) }

func start(kind Kind, late time.Duration) (*Shadow, error) {
	s := &Shadow{kind: kind, born: time.Now(), late: late, flood: newPace(endlessRate), conns: map[*net.TCPConn]struct{}{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	var err error
	switch kind {
	case Refusing:
		s.addr, s.hold, err = refuse()
	case Unaccepted:
		s.addr, s.hold, err = fillBacklog()
	case Blackholed:
		s.addr, s.hold, err = dropPackets()
	default:
		p, ok := plays[kind]
		if !ok {
			return nil, fmt.Errorf("no shadow of kind %q", kind)
		}
		err = s.listen(p)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s shadow: %w", kind, err)
	}
	return s, nil
}

// Addr is the host:port that the proxy should send copies to.
func (s *Shadow) Addr() string { return s.addr }

// Kind is what Start was given.
func (s *Shadow) Kind() Kind { return s.kind }

// Accepted is how many connections were accepted; always 0 for the kinds that
// never accept.
func (s *Shadow) Accepted() int64 { return s.accepted.Load() }

// Close frees the address, cuts every connection, and waits until nothing of
// the shadow runs any more.
func (s *Shadow) Close() error {
	s.stop()
	err := s.hold()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // its goroutine ends with an error that nobody reads
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Shadow) listen(p play) error {
	l, err := listen(receiveBuffer[s.kind])
	if err != nil {
		return err
	}
	s.addr, s.hold = l.Addr().String(), l.Close
	s.wg.Add(1)
	go s.accept(l, p)
	return nil
}

func (s *Shadow) accept(l *net.TCPListener, p play) {
	defer s.wg.Done()
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			// Out of file descriptors, most likely: a bad shadow that stops
			// accepting would silently turn into another kind.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !s.keep(c) {
			return
		}
		n := s.accepted.Add(1)
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			defer s.forget(c)
			p(s, c, n)
		}()
	}
}

// keep registers c so that Close can cut it; false if Close came first.
func (s *Shadow) keep(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		_ = c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Shadow) forget(c *net.TCPConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close()
}

// sleep waits for d; false if the shadow was closed first.
func (s *Shadow) sleep(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
