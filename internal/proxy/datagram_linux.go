package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagramSocket is a UDP listener's socket. One that is bound to all addresses
// tells to which of them each datagram came, and answers from there.
type datagramSocket struct {
	conn *net.UDPConn
	any  bool
	oob  [128]byte // of read
}

// listenDatagrams binds address. Another instance may bind it too, as on a
// takeover: the system then deals clients out among the two until one closes.
func listenDatagrams(address string) (*datagramSocket, error) {
	config := net.ListenConfig{Control: func(network, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) { err = prepareDatagrams(int(fd), network) }); cerr != nil {
			return cerr
		}
		return os.NewSyscallError("setsockopt", err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	_ = udp.SetReadBuffer(readBuffer) // as far as the system allows
	return &datagramSocket{conn: udp, any: udp.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()}, nil
}

func prepareDatagrams(fd int, network string) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	if network == "udp6" {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// read reads a datagram of any client. One goroutine reads.
func (s *datagramSocket) read(p []byte) (n int, key flowKey, err error) {
	n, noob, flags, from, err := s.conn.ReadMsgUDPAddrPort(p, s.oob[:])
	if err != nil {
		return 0, flowKey{}, err
	}
	if flags&unix.MSG_TRUNC != 0 {
		return 0, flowKey{}, unix.EMSGSIZE
	}
	key.from = unmapped(from)
	key.to = unmapped(s.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	if s.any {
		to, device := destination(s.oob[:noob])
		key.to = netip.AddrPortFrom(to.Unmap(), key.to.Port())
		if to.IsLinkLocalUnicast() {
			key.device = device
		}
	}
	return n, key, nil
}

// destination is the address that a datagram was sent to, and the device that it
// came by.
func destination(oob []byte) (to netip.Addr, device uint32) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return to, 0
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return netip.AddrFrom4(info.Addr), uint32(info.Ifindex)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return netip.AddrFrom16(info.Addr), info.Ifindex
		}
	}
	return to, 0
}

// write answers the client of key, from the address that it talks to.
func (s *datagramSocket) write(p []byte, key flowKey) error {
	var oob []byte
	if s.any && key.to.Addr().IsValid() {
		to := key.to.Addr()
		if s.conn.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			oob = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: to.As4()})
		} else {
			oob = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: to.As16(), Ifindex: key.device})
		}
	}
	_, _, err := s.conn.WriteMsgUDPAddrPort(p, oob, key.from)
	return err
}
