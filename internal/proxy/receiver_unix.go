//go:build unix

package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiver reads datagrams of one session. It takes memory for one only while
// there is one, because most sessions are silent most of the time.
type receiver struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	buf  *[maxDatagram]byte
	n    int
	err  error
	try  func(fd uintptr) bool
}

func newReceiver(conn *net.UDPConn) *receiver {
	r := &receiver{conn: conn}
	r.raw, r.err = conn.SyscallConn()
	r.try = r.receive
	return r
}

// next waits for a datagram, which is valid until done.
func (r *receiver) next() ([]byte, error) {
	if r.raw == nil {
		return nil, net.ErrClosed
	}
	r.n, r.err = 0, nil
	if err := r.raw.Read(r.try); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.buf[:r.n], nil
}

// receive is one try; false waits until there is something.
func (r *receiver) receive(fd uintptr) bool {
	r.buf = packets.Get().(*[maxDatagram]byte)
	for {
		r.n, r.err = unix.Read(int(fd), r.buf[:])
		if r.err != unix.EINTR {
			break
		}
	}
	if r.err != nil {
		r.done()
	}
	return r.err != unix.EAGAIN
}

// done gives the memory back.
func (r *receiver) done() {
	packets.Put(r.buf)
	r.buf = nil
}
