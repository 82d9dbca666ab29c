package loop

import "net/netip"

// Carrier moves the bytes of a virtual connection. All methods are called on
// the loop's goroutine.
type Carrier interface {
	// Recv is Conn.Read of an open, connected connection.
	Recv(p []byte) (int, error)
	// Send is Conn.Writev of an open, connected connection.
	Send(v [][]byte) (int, error)
	// CloseWrite ends our direction.
	CloseWrite() error
	// Close ends the connection; with abort, what was not sent yet is dropped.
	// Nothing is called after it.
	Close(abort bool)
}

// Virtual is a connection without a socket of its own, such as a stream that
// shares one with others. It is meant to be a part of its carrier. To its handler
// it is like any other: it hears of readiness once in each pass, after the
// sockets, for as long as that lasts, never from within one of its own calls, and
// never after Close. [Loop.Carry] makes one.
type Virtual struct {
	Conn
	carrier Carrier
	ready   Ready // what it can do now, wanted or not
	made    bool  // it is connected, its handler need not know yet
	queued  bool  // in loop.virtuals
	told    bool  // Hangup was reported
}

// Carry makes v, which must be zero, a connection of l that c carries. One that
// is connecting begins like a dialled connection and goes on with Connected or
// Fail.
func (l *Loop) Carry(v *Virtual, c Carrier, h Handler, connecting bool) {
	v.loop, v.transport, v.handler, v.carrier = l, (*virtual)(v), h, c
	v.want, v.connecting = Readable, connecting
	if connecting {
		v.want |= Writable
	}
}

// SetAddrs says what Local and Remote return.
func (v *Virtual) SetAddrs(local, remote netip.AddrPort) { v.local, v.remote = local, remote }

// SetReady says what v can do from now on: Readable, Writable, both or neither.
func (v *Virtual) SetReady(r Ready) {
	if v.err != nil {
		return
	}
	v.ready = r
	v.look()
}

// Connected ends connecting.
func (v *Virtual) Connected() {
	v.made = true
	v.look()
}

// Fail says that v has broken: reads and writes return err when nothing is left
// to read, and its handler hears Hangup.
func (v *Virtual) Fail(err error) {
	if v.err == nil && !v.closed {
		v.err = err
		v.ready = Readable | Writable
		v.look()
	}
}

// look puts v in the queue if its handler is to hear something.
func (v *Virtual) look() {
	due := v.ready&v.want != 0 || v.err != nil && !v.told
	if v.connecting {
		due = v.made || v.err != nil
	}
	if due && !v.queued && !v.closed {
		v.queued = true
		v.loop.virtuals = append(v.loop.virtuals, v)
	}
}

// deliver tells the handler.
func (v *Virtual) deliver() {
	v.queued = false
	if v.closed {
		return
	}
	if r := v.readiness(); r != 0 {
		v.event(r)
		v.look()
	}
}

func (v *Virtual) readiness() Ready {
	if v.connecting {
		if !v.made && v.err == nil {
			return 0
		}
		v.connecting = false
		v.want &^= Writable
		if v.err == nil {
			return Writable
		}
		v.told = true
		return Hangup
	}
	r := v.ready & v.want
	if v.err != nil && (v.want != 0 || !v.told) {
		v.told = true
		r |= Hangup
	}
	return r
}

// runVirtuals tells the handlers of virtual connections what they are ready
// for. What comes up meanwhile is for the next pass.
func (l *Loop) runVirtuals() {
	if len(l.virtuals) == 0 {
		return
	}
	l.telling, l.virtuals = l.virtuals, l.telling[:0]
	for i, v := range l.telling {
		l.telling[i] = nil
		v.deliver()
	}
}

// virtual is a Virtual as the transport of its Conn.
type virtual Virtual

func (v *virtual) recv(p []byte) (int, error)   { return v.carrier.Recv(p) }
func (v *virtual) send(b [][]byte) (int, error) { return v.carrier.Send(b) }
func (v *virtual) update()                      { (*Virtual)(v).look() }

func (v *virtual) end(how ending) error {
	if how == endWrite {
		return v.carrier.CloseWrite()
	}
	v.carrier.Close(how == endAbort)
	return nil
}
