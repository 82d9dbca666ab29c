package loop

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// changes is what the kernel reports of every socket, each change once. A level
// would be simpler, but the kernel would look at every socket that was ready a
// second time, in the next wait, to find that it no longer is, and each change of
// what a connection wants would cost a system call.
const changes = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// socket is a connection that an epoll loop owns. To its handler readiness is a
// level: the socket remembers what was reported until a call has used it up.
type socket struct {
	Conn
	ep     *epoll
	fd     int
	gen    int32
	pass   uint32 // in which the handler was last called
	ready  Ready  // reported and not used up
	ended  bool   // nothing comes behind what can be read: it stays readable
	broken bool   // neither direction is left
	queued bool   // in ep.again
}

// report takes an event of the kernel. It can be
//   - the end of connecting, well or not;
//   - bytes, FIN or room to write, which the socket may not want at present;
//   - a reset: EPOLLERR with EPOLLHUP;
//   - FIN both ways: EPOLLHUP alone. To a reader that is an end like any other,
//     to anybody else nothing.
func (s *socket) report(events uint32) {
	if s.connecting {
		if r := s.connected(events); r != 0 {
			s.call(r)
		}
		return
	}
	if events&unix.EPOLLERR != 0 && s.err == nil {
		s.err = s.pendingError("read")
	}
	s.note(events)
	if r := s.ready & (s.want | Hangup); r != 0 {
		s.call(r)
	}
}

// note remembers what an event says.
func (s *socket) note(events uint32) {
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 || s.err != nil {
		s.ended = true
	}
	if events&(unix.EPOLLIN|unix.EPOLLERR) != 0 || s.ended {
		s.ready |= Readable
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR) != 0 {
		s.ready |= Writable
	}
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.broken = true
	}
	if s.broken && s.err != nil {
		s.ready |= Hangup
	}
}

// deliver calls the handler if the socket is ready for anything it wants, once
// in a pass.
func (s *socket) deliver() {
	switch {
	case s.over || !s.wants():
	case s.pass == s.ep.pass:
		s.update()
	default:
		s.call(s.ready & (s.want | Hangup))
	}
}

func (s *socket) call(r Ready) {
	s.pass = s.ep.pass
	s.event(r)
	if !s.over {
		s.update()
	}
}

// wants says whether the handler has to be called without another event. Who
// wants nothing hears of a reset once.
func (s *socket) wants() bool {
	return s.want != 0 && s.ready&(s.want|Hangup) != 0
}

// connected returns what the end of connecting makes the socket ready for, or 0
// if it has not come.
func (s *socket) connected(events uint32) Ready {
	s.err = s.pendingError("connect")
	if s.err == nil && events&unix.EPOLLOUT == 0 {
		return 0
	}
	s.connecting = false
	s.want &^= Writable
	s.note(events)
	if s.err != nil {
		return Hangup
	}
	if sa, err := unix.Getsockname(s.fd); err == nil {
		s.local = addrPort(sa)
	}
	return Writable
}

func (s *socket) update() {
	if !s.queued && s.wants() {
		s.queued = true
		s.ep.again = append(s.ep.again, s)
	}
}

func (s *socket) recv(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		switch errno {
		case 0:
			if n > 0 {
				if int(n) < len(p) && !s.ended {
					s.ready &^= Readable
				}
				return int(n), nil
			}
			s.ended = true
			// The kernel reports a reset once; after that it looks like an end.
			if s.err != nil {
				return 0, s.err
			}
			return 0, io.EOF
		case unix.EAGAIN:
			if s.err != nil {
				return 0, s.err
			}
			s.ready &^= Readable
			return 0, ErrAgain
		case unix.EINTR:
		default:
			return 0, s.fail("read", errno)
		}
	}
}

func (s *socket) send(v [][]byte) (int, error) {
	for {
		n, errno := s.trySend(v)
		switch errno {
		case 0:
			return n, nil
		case unix.EAGAIN:
			s.ready &^= Writable
			return 0, ErrAgain
		case unix.EINTR:
		default:
			return 0, s.fail("write", errno)
		}
	}
}

// trySend makes one system call: sendto for one slice, sendmsg for more.
func (s *socket) trySend(v [][]byte) (int, unix.Errno) {
	ep := s.ep
	count, asked := 0, 0
	for _, b := range v {
		if len(b) == 0 {
			continue
		}
		ep.iov[count].Base = unsafe.SliceData(b)
		ep.iov[count].SetLen(len(b))
		asked += len(b)
		if count++; count == maxVec {
			break
		}
	}
	var n uintptr
	var errno unix.Errno
	switch count {
	case 0:
		return 0, 0
	case 1:
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd),
			uintptr(unsafe.Pointer(ep.iov[0].Base)), uintptr(ep.iov[0].Len), unix.MSG_NOSIGNAL, 0, 0)
	default:
		ep.msg.Iov = &ep.iov[0]
		ep.msg.SetIovlen(count)
		n, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&ep.msg)), unix.MSG_NOSIGNAL)
	}
	clear(ep.iov[:count]) // do not hold the caller's buffers
	if errno != 0 {
		return 0, errno
	}
	if int(n) < asked {
		s.ready &^= Writable // the kernel reports when there is room again
	}
	return int(n), 0
}

func (s *socket) end(how ending) error {
	if how == endWrite {
		return os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR))
	}
	if how == endAbort {
		_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	s.over = true
	s.ep.sockets[s.fd] = nil
	return unix.Close(s.fd)
}

// fail keeps and returns the error of a system call.
func (s *socket) fail(call string, errno unix.Errno) error {
	err := os.NewSyscallError(call, errno)
	// Writing after the own FIN, or after a FIN and a reset, says nothing new to
	// a reader.
	if s.err == nil && errno != unix.EPIPE {
		s.err = err
		s.note(0)
		s.update()
	}
	return err
}

// pendingError takes the socket's error, which the kernel tells only once.
func (s *socket) pendingError(call string) error {
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, unix.Errno(errno))
}

// setNoDelay sends small writes at once: a proxy writes whole messages.
func setNoDelay(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// setKeepAlive finds peers that vanished without a word: a minute without traffic,
// then 4 probes 15 s apart. Ten thousand idle clients cost 170 probes a second.
func setKeepAlive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, int, error) {
	ip := addr.Addr().Unmap()
	switch {
	case ip.Is4():
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	case ip.Is6():
		zone, err := zoneIndex(ip.Zone())
		return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16(), ZoneId: zone}, unix.AF_INET6, err
	}
	return nil, 0, &net.AddrError{Err: "not an IP address", Addr: addr.String()}
}

func zoneIndex(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifc, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(ifc.Index), nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
