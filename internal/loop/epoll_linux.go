package loop

import (
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many events one look takes. More events wait for the next
	// pass, so it also bounds how long copies wait behind live bytes.
	batch = 256

	// maxVec is how many slices one send takes. 64 of them describe far more
	// than a socket buffer takes at once.
	maxVec = 64

	// special marks events that are not of a socket: generations start above.
	special = 0
)

// epoll is the poller that owns its sockets.
type epoll struct {
	loop   *Loop
	fd     int
	wakeFD int

	file     *os.File // fd, as the runtime's poller sees it
	conn     syscall.RawConn
	poll     func(uintptr) bool // tryWait, bound once
	deadline time.Duration      // of file, on the loop's clock; 0 for none
	ready    int                // length of events

	// sockets is indexed by file descriptor. An event carries the generation of
	// its registration too: an event of a socket that was closed earlier in the
	// same batch does not reach the next owner of its descriptor.
	sockets []*socket
	gen     int32

	acceptors []*acceptor

	pass  uint32    // grows with each wait
	again []*socket // ready for what they want without another event
	spare []*socket // again of the pass before; reused

	events [batch]unix.EpollEvent
	iov    [maxVec]unix.Iovec
	msg    unix.Msghdr
}

func newEpoll(l *Loop) (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	ep := &epoll{loop: l, fd: fd, wakeFD: wakeFD, file: os.NewFile(uintptr(fd), "epoll")}
	if err := ep.prepare(); err != nil {
		ep.close()
		return nil, err
	}
	return ep, nil
}

func (ep *epoll) prepare() (err error) {
	if ep.conn, err = ep.file.SyscallConn(); err != nil {
		return err
	}
	ep.poll = ep.tryWait
	// The runtime must be able to watch the descriptor.
	if err := ep.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	// Edge-triggered: a wake-up need not be read to be taken back.
	return ep.control(unix.EPOLL_CTL_ADD, ep.wakeFD, unix.EPOLLIN|unix.EPOLLET, special)
}

func (ep *epoll) control(op, fd int, mask uint32, gen int32) error {
	ev := unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: gen}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep.fd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

// wait looks, and when nothing is ready parks the loop's goroutine: the runtime's
// own poller watches the epoll descriptor like any other. A system call that
// blocks would be simpler, but the scheduler has to notice it and take its
// processor back, again and again. Relayed requests of 200 bytes, two loops on two
// cores, CPU for each with the blocking call and this way: 45 and 16 µs at 4,000
// a second, 155 and 25 µs at 500, 9 and 5 µs at saturation. Blocking for a
// millisecond before parking was tried: 21 and 48 µs at the two rates.
func (ep *epoll) wait(d time.Duration) {
	ep.pass++
	if d == 0 || len(ep.again) > 0 {
		ep.ready = ep.look()
	} else {
		ep.setDeadline(d)
		_ = ep.conn.Read(ep.poll) // fails only when the time is over
		ep.loop.asleep.Store(false)
	}
	n := ep.ready
	ep.ready = 0
	for i := range n {
		ep.dispatch(&ep.events[i])
	}
	ep.repeat()
}

// repeat delivers to those that were left ready by earlier passes: the kernel
// reports changes only.
func (ep *epoll) repeat() {
	left := ep.again
	ep.again = ep.spare[:0]
	for i, s := range left {
		left[i] = nil
		s.queued = false
		s.deliver()
	}
	ep.spare = left
}

// tryWait is one try to end a wait; false parks until the runtime sees an event.
// Events that come after the look and before parking are not lost to it.
func (ep *epoll) tryWait(uintptr) bool {
	ep.ready = ep.look()
	return ep.ready > 0 || !ep.loop.drowse()
}

// setDeadline limits the next wait to d. A limit that is sooner and still ahead
// stays: waking up once for nothing is cheaper than moving it for every request
// that moves a timeout.
func (ep *epoll) setDeadline(d time.Duration) {
	now := ep.loop.now
	if ep.deadline > now && (d < 0 || ep.deadline <= now+d) || d < 0 && ep.deadline == 0 {
		return
	}
	var at time.Time
	ep.deadline = 0
	if d > 0 {
		ep.deadline = now + d
		at = epoch.Add(ep.deadline)
	}
	_ = ep.file.SetReadDeadline(at) // newEpoll made sure that there are deadlines
}

// look takes what is ready without waiting. It hides from the scheduler, as all
// calls here that cannot block: telling it costs more than the call.
func (ep *epoll) look() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep.fd),
		uintptr(unsafe.Pointer(&ep.events)), batch, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (ep *epoll) dispatch(ev *unix.EpollEvent) {
	if ev.Pad == special {
		for _, a := range ep.acceptors {
			if a.fd == int(ev.Fd) {
				a.drain()
				return
			}
		}
		return
	}
	if s := ep.sockets[ev.Fd]; s != nil && s.gen == ev.Pad {
		s.report(ev.Events)
	}
}

// wake adds to a counter that nobody reads, which would be full, and refuse, in
// some centuries.
func (ep *epoll) wake() {
	one := [8]byte{0: 1}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(ep.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

func (ep *epoll) close() {
	for _, a := range ep.acceptors {
		a.queue.leave(a)
	}
	for _, s := range ep.sockets {
		if s != nil {
			s.Close()
		}
	}
	unix.Close(ep.wakeFD)
	ep.file.Close()
}

func (ep *epoll) dial(addr netip.AddrPort, h Handler) (*Conn, error) {
	sa, family, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	setNoDelay(fd)
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	s := &socket{fd: fd}
	s.remote, s.connecting = addr, true
	s.want = Readable | Writable
	if err := ep.add(s, h); err != nil {
		return nil, err
	}
	return &s.Conn, nil
}

// add registers a new socket, or closes it.
func (ep *epoll) add(s *socket, h Handler) error {
	ep.gen = max(ep.gen+1, special+1)
	s.ep, s.gen = ep, ep.gen
	s.loop, s.transport, s.handler = ep.loop, s, h
	if err := ep.control(unix.EPOLL_CTL_ADD, s.fd, changes, s.gen); err != nil {
		unix.Close(s.fd)
		return err
	}
	for len(ep.sockets) <= s.fd {
		ep.sockets = append(ep.sockets, nil)
	}
	ep.sockets[s.fd] = s
	return nil
}
