//go:build linux

package shadow

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// plays says what each kind that accepts does with a connection.
var plays = map[Kind]play{
	Vanishing:    playVanishing,
	NeverReading: playNeverReading,
	SlowReading:  playSlowReading,
	Late:         playLate,
	Resetting:    playResetting,
	Garbage:      playGarbage,
	Endless:      playEndless,
	HalfClosing:  playHalfClosing,
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func playVanishing(s *Shadow, c *net.TCPConn, _ int64) {
	var first [512]byte
	if _, err := c.Read(first[:]); err != nil {
		return
	}
	if err := vanish(c); err != nil {
		return
	}
	<-s.ctx.Done() // the peer's FIN or RST is among the packets that are lost
}

func playNeverReading(s *Shadow, _ *net.TCPConn, _ int64) {
	<-s.ctx.Done() // not even the end of the connection is noticed
}

func playSlowReading(s *Shadow, c *net.TCPConn, _ int64) {
	serve(slowReader{s, c, newPace(slowRate)}, func(int) bool {
		_, err := io.WriteString(c, okAnswer)
		return err == nil
	})
}

func playLate(s *Shadow, c *net.TCPConn, _ int64) {
	serve(c, func(int) bool {
		if !s.sleep(s.late) {
			return false
		}
		_, err := io.WriteString(c, okAnswer)
		return err == nil
	})
}

func playResetting(_ *Shadow, c *net.TCPConn, _ int64) {
	serve(c, func(int) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
		_ = c.SetLinger(0) // makes the close that follows an RST
		return false
	})
}

// garbage is what Garbage answers, in turn: noise, and answers that are nearly
// right, up to one right answer too many on the connection.
var garbage = []string{
	"\x00\xff\xfe\x16\x03\x01 not HTTP at all \x80\x81\x82\r\n\r\n",
	"HTTP/1.1 OK\r\n\r\n",
	"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: nonsense\r\nConnection: upgrade\r\n\r\n\x01\x02\x03",
	okAnswer + okAnswer + okAnswer,
}

func playGarbage(_ *Shadow, c *net.TCPConn, n int64) {
	serve(c, func(i int) bool {
		_, err := io.WriteString(c, garbage[(int(n-1)+i)%len(garbage)])
		return err == nil
	})
}

func playEndless(s *Shadow, c *net.TCPConn, _ int64) {
	const size = 16 << 10
	chunk := append([]byte("4000\r\n"), make([]byte, size+2)...)
	for i := range size {
		chunk[len("4000\r\n")+i] = 'e'
	}
	copy(chunk[len(chunk)-2:], "\r\n")
	serve(c, func(int) bool {
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
			return false
		}
		for s.sleep(s.flood.take(time.Since(s.born), len(chunk))) {
			if _, err := c.Write(chunk); err != nil {
				return false
			}
		}
		return false
	})
}

func playHalfClosing(_ *Shadow, c *net.TCPConn, n int64) {
	if n%2 == 0 {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
	}
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c) // goes on reading: only its own side is closed
}

// serve reads whole requests from r and calls answer after each, with its
// number on the connection counted from 0, until either gives up.
func serve(r io.Reader, answer func(i int) bool) {
	buffered := bufio.NewReader(r)
	for i := 0; ; i++ {
		request, err := http.ReadRequest(buffered)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		if !answer(i) {
			return
		}
	}
}

// slowReader reads from a connection at a steady pace.
type slowReader struct {
	s    *Shadow
	c    *net.TCPConn
	pace *pace
}

// Read reads a little, then waits as long as that much takes at the pace.
func (r slowReader) Read(p []byte) (int, error) {
	const step = 4 << 10 // 16 steps a second: even enough, and cheap
	n, err := r.c.Read(p[:min(len(p), step)])
	if n > 0 && !r.s.sleep(r.pace.take(time.Since(r.s.born), n)) {
		return n, net.ErrClosed
	}
	return n, err
}
