package loop

import (
	"net/netip"
	"time"
)

// sleeper is the poller of the go driver: all its connections are pumped, and
// pumps post, so there is nothing to wait for but posts.
type sleeper struct {
	loop  *Loop
	woken chan struct{} // holds one token at most
	timer *time.Timer
}

func newSleeper(l *Loop) (poller, error) {
	s := &sleeper{loop: l, woken: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	return s, nil
}

func (s *sleeper) wait(d time.Duration) {
	if d == 0 || !s.loop.drowse() {
		return
	}
	if d > 0 {
		s.timer.Reset(d)
	}
	select {
	case <-s.woken:
	case <-s.timer.C:
	}
	s.timer.Stop()
	s.loop.asleep.Store(false)
}

func (s *sleeper) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *sleeper) dial(addr netip.AddrPort, h Handler) (*Conn, error) {
	return dialPump(s.loop, addr, h), nil
}

func (s *sleeper) close() { s.timer.Stop() }
