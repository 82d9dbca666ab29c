//go:build !linux

package proxy

import "net"

// datagramSocket is a UDP listener's socket. One that is bound to all addresses
// answers from the one that the system chooses.
type datagramSocket struct{ conn *net.UDPConn }

func listenDatagrams(address string) (*datagramSocket, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	_ = udp.SetReadBuffer(readBuffer) // as far as the system allows
	return &datagramSocket{conn: udp}, nil
}

// read reads a datagram of any client. One goroutine reads.
func (s *datagramSocket) read(p []byte) (n int, key flowKey, err error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(p)
	key.from = unmapped(from)
	key.to = unmapped(s.conn.LocalAddr().(*net.UDPAddr).AddrPort())
	return n, key, err
}

// write answers the client of key.
func (s *datagramSocket) write(p []byte, key flowKey) error {
	_, err := s.conn.WriteToUDPAddrPort(p, key.from)
	return err
}
