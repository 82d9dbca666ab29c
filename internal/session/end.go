package session

import "time"

// Retire ends the session when its streams have ended. A client hears of it
// first, so that no request of its own is lost.
func (s *Session) Retire() {
	if s.leaving || s.over {
		return
	}
	s.leaving = true
	if s.server {
		s.machine.Warn()
		s.left = s.options.Loop.Now() + graceTime
		s.flushSoon()
		s.options.Loop.Arm(&s.timer, graceTime)
		return
	}
	s.checkDone()
}

// dismiss gives up lanes that could only open streams that the server does not
// want any more.
func (s *Session) dismiss() {
	s.leaving = true
	for i := len(s.lanes) - 1; i >= 0; i-- {
		if i < len(s.lanes) && s.lanes[i].stream == nil {
			s.lanes[i].fail(ErrRefused)
		}
	}
}

// Abort ends the session at once.
func (s *Session) Abort() { s.end(errOver) }

// checkDone ends a session that wants no more streams and has none.
func (s *Session) checkDone() {
	if n := s.machine.Streams(); n > 0 {
		s.used = s.options.Loop.Now()
		return
	}
	if s.closing || s.over {
		return
	}
	if s.server && s.leaving && s.left == 0 || !s.server && (s.leaving || s.machine.Leaving()) && s.settled {
		s.close(errOver)
	}
}

// close breaks the lanes, and closes the connection when what waits was written.
func (s *Session) close(err error) {
	if s.closing || s.over {
		return
	}
	s.closing = true
	s.failLanes(err)
	s.options.Loop.Arm(&s.timer, lingerTime)
	s.flushSoon()
	if s.out.Len() == 0 && !s.dirty {
		s.linger()
	}
}

// linger waits until the peer has seen GOAWAY.
func (s *Session) linger() {
	if s.ended {
		return
	}
	s.announce()
	if s.conn.CloseWrite() != nil {
		s.end(errOver)
	}
}

// announce tells that the session is of no more use.
func (s *Session) announce() {
	if !s.ended {
		s.ended = true
		if f := s.options.Ended; f != nil {
			f(s)
		}
	}
}

// failLanes breaks all lanes.
func (s *Session) failLanes(err error) {
	for i := len(s.lanes) - 1; i >= 0; i-- {
		if i < len(s.lanes) {
			s.lanes[i].fail(err)
		}
	}
}

// end closes the connection at once.
func (s *Session) end(err error) {
	if s.over {
		return
	}
	s.over = true
	s.options.Loop.Disarm(&s.timer)
	s.failLanes(err)
	s.conn.Close()
	s.out.Reset()
	s.announce()
}

// arm sets the time of the next look at what takes too long.
func (s *Session) arm() {
	o := s.options
	d := time.Duration(0)
	for _, t := range []time.Duration{o.Idle, o.Stall, o.Begin} {
		if t > 0 && (d == 0 || t < d) {
			d = t
		}
	}
	if d > 0 {
		o.Loop.Arm(&s.timer, max(d/2, 10*time.Millisecond))
	}
}

// watch ends what takes too long.
func (s *Session) watch() {
	o, now := s.options, s.options.Loop.Now()
	if s.machine.Streams() > 0 {
		s.used = now
	}
	switch {
	case s.closing:
		s.end(errOver)
		return
	case s.left > 0 && now >= s.left:
		s.left = 0
		s.machine.Leave()
		s.flushSoon()
		s.checkDone()
		if s.closing {
			return
		}
	case !s.settled && o.Begin > 0 && now-s.opened >= o.Begin:
		s.end(errLate)
		return
	case o.Stall > 0 && s.out.Len() > 0 && now-s.wrote >= o.Stall:
		s.end(errSlow)
		return
	case s.server && o.Idle > 0 && !s.leaving && now-s.used >= o.Idle,
		!s.server && o.Idle > 0 && len(s.lanes) == 0 && now-s.used >= o.Idle:
		s.leaving = true
		s.machine.Leave()
		s.checkDone()
		s.flushSoon()
		return
	}
	if o.Stall > 0 {
		for i := len(s.lanes) - 1; i >= 0; i-- {
			if i < len(s.lanes) { // others may have gone meanwhile
				s.lanes[i].watch(now, o.Stall)
			}
		}
	}
	s.arm()
}
