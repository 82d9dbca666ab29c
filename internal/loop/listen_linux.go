package loop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listenSocket is an accept queue of epoll loops. Usually one loop watches it.
type listenSocket struct {
	mu        sync.Mutex
	fd        int // -1 when closed
	acceptors []*acceptor
}

// acceptor is one loop's watch on a listening socket.
type acceptor struct {
	ep    *epoll
	group *Group
	queue *listenSocket
	fd    int
	mask  uint32
	rest  Timer // armed while out of file descriptors
}

func listenSockets(address string, n int) ([]queue, error) {
	var queues []queue
	for range n {
		fd, err := listenFD(address)
		if err != nil {
			closeQueues(queues)
			return nil, err
		}
		q := &listenSocket{fd: fd}
		queues = append(queues, q)
		if len(queues) == 1 && n > 1 {
			addr, err := listenAddr(q) // others share the port chosen first
			if err != nil {
				closeQueues(queues)
				return nil, err
			}
			address = addr.String()
		}
	}
	return queues, nil
}

// listenFD lets the net package find out what address means.
func listenFD(address string) (int, error) {
	lc := net.ListenConfig{Control: shareable}
	lc.SetMultipathTCP(false) // its sockets cost more, also with plain TCP peers
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return -1, err
	}
	defer ln.Close()
	return listener(ln.(*net.TCPListener))
}

// shareable lets several sockets listen on one address.
func shareable(_, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt", err)
}

// listener duplicates a listening socket. Connections inherit its options: set
// here they cost no system call for each.
func listener(of syscall.Conn) (int, error) {
	rc, err := of.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, err := duplicate(rc)
	if err != nil {
		return -1, err
	}
	if yes, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || yes == 0 {
		unix.Close(fd)
		return -1, errors.New("not a listening socket")
	}
	setNoDelay(fd)
	setKeepAlive(fd)
	return fd, nil
}

// duplicate makes a non-blocking descriptor of the same socket.
func duplicate(rc syscall.RawConn) (int, error) {
	fd, err := -1, error(nil)
	if cerr := rc.Control(func(own uintptr) {
		fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return -1, cerr
	}
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func adoptSockets(files []*os.File, n int) ([]queue, error) {
	var queues []queue
	for _, f := range files {
		fd, err := listener(f)
		if err != nil {
			closeQueues(queues)
			return nil, err
		}
		queues = append(queues, &listenSocket{fd: fd})
	}
	if n <= len(queues) {
		return queues, nil
	}
	addr, err := listenAddr(queues[0])
	if err != nil {
		closeQueues(queues)
		return nil, err
	}
	// Sockets that somebody else opened may not allow company.
	more, err := listenSockets(addr.String(), n-len(queues))
	if err != nil && !errors.Is(err, unix.EADDRINUSE) {
		closeQueues(queues)
		return nil, err
	}
	return append(queues, more...), nil
}

func (q *listenSocket) start(g *Group, on []*Loop) {
	mask := uint32(unix.EPOLLIN)
	if len(on) > 1 {
		mask |= unix.EPOLLEXCLUSIVE // a connection wakes one loop, not all
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range on {
		a := &acceptor{ep: l.poll.(*epoll), group: g, queue: q, fd: q.fd, mask: mask}
		a.rest.Task = a
		q.acceptors = append(q.acceptors, a)
		l.Post(a.watch)
	}
}

func (q *listenSocket) stop() {
	q.mu.Lock()
	acceptors := q.acceptors
	q.acceptors = nil
	q.mu.Unlock()
	for _, a := range acceptors {
		a.ep.loop.Call(a.unwatch)
	}
}

func (q *listenSocket) file() (*os.File, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	fd, err := unix.FcntlInt(uintptr(q.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

func (q *listenSocket) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fd < 0 {
		return nil
	}
	err := unix.Close(q.fd)
	q.fd = -1
	return os.NewSyscallError("close", err)
}

// leave is stop for one loop that ends. A socket that nobody watches any more is
// closed: the kernel would go on dealing connections to it.
func (q *listenSocket) leave(a *acceptor) {
	q.mu.Lock()
	i := slices.Index(q.acceptors, a)
	if i >= 0 {
		q.acceptors = slices.Delete(q.acceptors, i, i+1)
	}
	last := i >= 0 && len(q.acceptors) == 0
	q.mu.Unlock()
	if last {
		_ = q.close()
	}
}

func (a *acceptor) watch() {
	if err := a.ep.control(unix.EPOLL_CTL_ADD, a.fd, a.mask, special); err != nil {
		a.ep.loop.Arm(&a.rest, acceptPause)
	}
	a.ep.acceptors = append(a.ep.acceptors, a)
}

func (a *acceptor) unwatch() {
	i := slices.Index(a.ep.acceptors, a)
	if i < 0 {
		return
	}
	a.ep.acceptors = slices.Delete(a.ep.acceptors, i, i+1)
	a.silence()
	a.ep.loop.Disarm(&a.rest)
}

func (a *acceptor) silence() { _ = a.ep.control(unix.EPOLL_CTL_DEL, a.fd, 0, special) }

// Run ends a rest.
func (a *acceptor) Run() {
	if err := a.ep.control(unix.EPOLL_CTL_ADD, a.fd, a.mask, special); err != nil {
		a.ep.loop.Arm(&a.rest, acceptPause)
	}
}

// drain accepts a batch of connections. accept4 fails when
//   - the queue is empty, or another loop or process was faster;
//   - the client is gone already or a firewall objects: the next one may be well;
//   - descriptors or memory are short, or anything else that would only come
//     again at once: rest.
func (a *acceptor) drain() {
	for range acceptBatch {
		fd, remote, errno := accept(a.fd)
		switch errno {
		case 0:
			a.settle(fd, remote)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM:
		default:
			a.silence()
			a.ep.loop.Arm(&a.rest, acceptPause)
			return
		}
	}
}

// settle gives a new connection to its loop.
func (a *acceptor) settle(fd int, remote netip.AddrPort) {
	own := a.ep.loop
	l := a.group.place(own)
	if l != own {
		if l.Post(func() { a.group.receive(l, fd, remote) }) {
			return
		}
		l.accepted.Add(-1) // that loop has ended
		own.accepted.Add(1)
	}
	a.group.receive(own, fd, remote)
}

// receive makes a connection of an accepted socket.
func (g *Group) receive(l *Loop, fd int, remote netip.AddrPort) {
	s := &socket{fd: fd}
	s.remote, s.local, s.want = remote, g.addr, Readable
	if g.addr.Addr().IsUnspecified() {
		if sa, err := unix.Getsockname(fd); err == nil {
			s.local = addrPort(sa)
		}
	}
	if err := l.poll.(*epoll).add(s, nil); err != nil {
		l.accepted.Add(-1) // the kernel cannot watch it: closed unseen
		return
	}
	g.admit(l, &s.Conn)
}

// accept takes a connection from a queue; no allocation.
func accept(listener int) (int, netip.AddrPort, unix.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&sa)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(fd), rawAddrPort(&sa), 0
}

// rawAddrPort reads an address as the kernel writes it: port in network order.
func rawAddrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return addrPort(&unix.SockaddrInet6{Port: int(networkOrder(in.Port)), Addr: in.Addr, ZoneId: in.Scope_id})
	}
	return netip.AddrPort{}
}

func networkOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
