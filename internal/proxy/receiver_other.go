//go:build !unix

package proxy

import "net"

// receiver reads datagrams of one session.
type receiver struct {
	conn *net.UDPConn
	buf  [maxDatagram]byte
}

func newReceiver(conn *net.UDPConn) *receiver { return &receiver{conn: conn} }

// next waits for a datagram, which is valid until done.
func (r *receiver) next() ([]byte, error) {
	n, err := r.conn.Read(r.buf[:])
	return r.buf[:n], err
}

// done is called when the datagram is not needed any more.
func (r *receiver) done() {}
