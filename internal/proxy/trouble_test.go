package proxy

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// honest is a backend that reads every request whole and answers with its
// method, and length and sum of its body, and as much more as the path says.
func honest(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		more, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		io.WriteString(w, answerTo(r.Method, string(body), more))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func answerTo(method, body string, more int) string {
	return fmt.Sprintf("%s %d %08x ", method, len(body), crc32.ChecksumIEEE([]byte(body))) + strings.Repeat("more", more)
}

// misbehaving is a shadow that does anything to every connection and request;
// the seed and the connection's number decide.
func misbehaving(t *testing.T, seed uint64) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var open sync.Map
	var accepting, playing sync.WaitGroup
	accepting.Go(func() {
		for i := uint64(0); ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			playing.Go(func() {
				defer open.Delete(c)
				defer c.Close()
				random := rand.New(rand.NewPCG(seed, i))
				if random.IntN(12) == 0 {
					<-over // without reading a byte
					return
				}
				misbehave(c.(*net.TCPConn), random)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
		close(over)
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		playing.Wait()
	})
	return ln.Addr().String()
}

// misbehave serves one connection.
func misbehave(c *net.TCPConn, random *rand.Rand) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	in := bufio.NewReader(c)
	write := func(text string) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if random.IntN(8) > 0 { // else the answer is early, and the body in the way of the next request
			io.Copy(io.Discard, r.Body)
		}
		alive := true
		switch random.IntN(24) {
		case 0: // no answer, ever
			io.Copy(io.Discard, in)
			return
		case 1: // no answer, and no more
			return
		case 2: // a reset
			c.SetLinger(0)
			return
		case 3: // a reset in the answer
			write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			c.SetLinger(0)
			return
		case 4: // half an answer
			write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			return
		case 5: // half of the connection
			c.CloseWrite()
			io.Copy(io.Discard, in)
			return
		case 6: // half of both
			write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
			c.CloseWrite()
			io.Copy(io.Discard, in)
			return
		case 7: // garbage
			alive = write(strings.Repeat("\x00\xff garbage \r\n\r\n", 1+random.IntN(100)))
		case 8: // an answer without end
			write("HTTP/1.1 200 OK\r\n\r\n")
			for block := strings.Repeat("endless ", 4096); write(block); {
			}
			return
		case 9: // an answer in slow parts
			last := strings.Repeat("Connection: close\r\n", random.IntN(2))
			for part := range strings.SplitSeq("HTTP/1.1 200 OK\r\n"+last+"Content-|Length: 6\r\n\r|\nsl|ow|ly", "|") {
				<-time.After(time.Duration(random.IntN(10)) * time.Millisecond)
				alive = write(part)
			}
		case 10: // two answers
			alive = write(ok + ok)
		case 11: // an answer that is the last
			write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			return
		case 12: // a long way to an answer
			alive = write(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50) + ok)
		case 13: // a long answer
			alive = write("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + strings.Repeat("long", 100000))
		default:
			alive = write(ok)
		}
		if !alive {
			return
		}
	}
}

// draw makes a request: how it is written, the answer that it gets, and where
// its body begins.
func draw(random *rand.Rand) (text, answer string, body int) {
	method, more := "GET", random.IntN(3)*random.IntN(20000)
	fields := fmt.Sprintf("Host: shop\r\nX-User: %d\r\n", random.IntN(20))
	content := strings.Repeat("0123456789", random.IntN(5)*random.IntN(5000)+random.IntN(10))
	switch random.IntN(3) {
	case 0:
		content = ""
		text = fmt.Sprintf("%s /%d HTTP/1.1\r\n%s\r\n", method, more, fields)
		body = len(text)
	case 1:
		method = "POST"
		text = fmt.Sprintf("%s /%d HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", method, more, fields, len(content))
		body = len(text)
		text += content
	default:
		method = "PUT"
		text = fmt.Sprintf("%s /%d HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n", method, more, fields)
		body = len(text)
		for rest := content; rest != ""; {
			n := min(len(rest), 1+random.IntN(30000))
			text += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		text += "0\r\n\r\n"
	}
	return text, answerTo(method, content, more), body
}

// behave sends n requests on one connection and checks every answer.
func behave(t *testing.T, addr string, random *rand.Rand, n int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for i := range n {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		text, want, _ := draw(random)
		if _, err := io.WriteString(c, text); err != nil {
			t.Errorf("request %d: %v", i, err)
			return
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Errorf("request %d: %v", i, err)
			return
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(got) != want {
			t.Errorf("request %d: %s %.40q, %v, want 200 %.40q", i, resp.Status, got, err, want)
			return
		}
	}
}

// leave begins n requests and goes away at some point of each.
func leave(t *testing.T, addr string, random *rand.Rand, n int) {
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		text, _, body := draw(random)
		at := random.IntN(len(text)) // anywhere
		if random.IntN(2) == 0 {
			at = body + random.IntN(len(text)-body+1) // in the body, or behind it
		}
		io.WriteString(c, text[:at])
		if random.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
}
