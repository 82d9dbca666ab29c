//go:build linux

package shadow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// refuse holds a port without listening on it, so that connects are answered
// with RST and no other program can take the port and answer meanwhile.
func refuse() (string, func() error, error) {
	fd, addr, err := bound()
	if err != nil {
		return "", nil, err
	}
	return addr, func() error { return unix.Close(fd) }, nil
}

// fillBacklog listens with the smallest backlog and fills it with connections
// of its own, so that the kernel drops every further SYN.
func fillBacklog() (string, func() error, error) {
	fd, addr, err := bound()
	if err != nil {
		return "", nil, err
	}
	if err := unix.Listen(fd, 0); err != nil {
		return "", nil, errors.Join(err, unix.Close(fd))
	}
	var fill []net.Conn
	release := func() error {
		for _, c := range fill {
			_ = c.Close()
		}
		return unix.Close(fd)
	}
	// A backlog of 0 holds one connection; kernels that round it up get a few
	// tries more. The first connect that hears nothing shows that it is full.
	for range 8 {
		c, err := net.DialTimeout("tcp4", addr, 200*time.Millisecond)
		if isTimeout(err) {
			return addr, release, nil
		}
		if err != nil {
			return "", nil, errors.Join(err, release())
		}
		fill = append(fill, c)
	}
	return "", nil, errors.Join(fmt.Errorf("the backlog of %s does not fill", addr), release())
}

// dropPackets listens behind a socket filter that discards every packet: what
// a firewall that drops, or a machine that is gone, looks like to its peers.
// Unlike a real firewall it needs no privilege and leaves nothing behind.
func dropPackets() (string, func() error, error) {
	fd, addr, err := bound()
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(discardAll(fd), unix.Listen(fd, 16)); err != nil {
		return "", nil, errors.Join(err, unix.Close(fd))
	}
	return addr, func() error { return unix.Close(fd) }, nil
}

// discardAll makes the socket drop every packet that arrives from now on,
// before TCP sees it: not even an ACK goes back.
func discardAll(fd int) error {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
}

// vanish makes an accepted connection drop every further packet.
func vanish(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var drop error
	err = raw.Control(func(fd uintptr) { drop = discardAll(int(fd)) })
	return errors.Join(err, drop)
}

// bound is a TCP socket on a free port of 127.0.0.1 that does not listen yet.
func bound() (int, string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, "", errors.Join(err, unix.Close(fd))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, "", errors.Join(err, unix.Close(fd))
	}
	return fd, "127.0.0.1:" + strconv.Itoa(name.(*unix.SockaddrInet4).Port), nil
}

// listen listens on a free port of 127.0.0.1. A receive buffer other than 0
// must be set before the handshake fixes the window scale; accepted
// connections inherit it.
func listen(receive int) (*net.TCPListener, error) {
	var config net.ListenConfig
	if receive > 0 {
		config.Control = func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
			})
			return errors.Join(err, set)
		}
	}
	l, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
