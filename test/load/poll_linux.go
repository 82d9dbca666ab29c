package load

import (
	"errors"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll set with an eventfd to wake it. Only wake may be called
// from other goroutines.
type poller struct {
	epfd, wakefd int
	events       [256]unix.EpollEvent
}

// wakeSlot is the slot of the eventfd's events.
const wakeSlot = -1

func newPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, err
	}
	p := &poller{epfd: epfd, wakefd: wakefd}
	return p, p.watch(unix.EPOLL_CTL_ADD, wakefd, unix.EPOLLIN, token{slot: wakeSlot})
}

func (p *poller) close() {
	_ = unix.Close(p.epfd)
	_ = unix.Close(p.wakefd)
}

// token comes back with an event: which connection, and which life of it, so
// that an event of a socket closed a moment ago is not taken for its successor's.
type token struct{ slot, life int32 }

func (p *poller) watch(op, fd int, events uint32, t token) error {
	ev := unix.EpollEvent{Events: events, Fd: t.slot, Pad: t.life}
	return unix.EpollCtl(p.epfd, op, fd, &ev)
}

func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakefd, one[:])
}

// woken empties the eventfd, so that it does not stay readable.
func (p *poller) woken() {
	var b [8]byte
	_, _ = unix.Read(p.wakefd, b[:])
}

// wait returns what is ready, after at most d (for ever if negative). It looks
// first without blocking and without telling Go's scheduler, which is what
// happens nearly every time under load and saves a thread hand-over.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	ev := unsafe.Pointer(&p.events[0])
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(ev), uintptr(len(p.events)), 0, 0, 0)
	if errno == 0 && n == 0 && d != 0 {
		n, errno = p.block(ev, d)
	}
	if errno != 0 && errno != unix.EINTR {
		return nil, errno
	}
	if errno == unix.EINTR {
		return nil, nil
	}
	return p.events[:n], nil
}

// block waits in nanoseconds where the kernel can (5.11 and later), else in
// milliseconds, rounded up.
func (p *poller) block(ev unsafe.Pointer, d time.Duration) (uintptr, unix.Errno) {
	var ts *unix.Timespec
	if d > 0 {
		t := unix.NsecToTimespec(int64(d))
		ts = &t
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epfd), uintptr(ev), uintptr(len(p.events)),
		uintptr(unsafe.Pointer(ts)), 0, 0)
	if !errors.Is(errno, unix.ENOSYS) {
		return n, errno
	}
	ms := -1
	if d > 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(ev), uintptr(len(p.events)), uintptr(ms), 0, 0)
	return n, errno
}

// resolve turns host:port into a socket address.
func resolve(target string) (unix.Sockaddr, int, error) {
	a, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return nil, 0, err
	}
	ap := a.AddrPort()
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	if !ap.Addr().IsValid() {
		ap = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port())
	}
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, unix.AF_INET, nil
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, unix.AF_INET6, nil
}

// newSocket makes a non-blocking TCP socket that sends at once.
func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// preciseTimers asks the kernel not to batch this thread's timers, which would
// add 50 µs to every wait of an open loop. The goroutine must be locked to its
// thread and end with it.
func preciseTimers() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}
