//go:build !race

package proxy

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// frugal is a backend that allocates nothing: it answers as often as it has
// read the bytes that every request ends with.
func frugal(t *testing.T, end, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				out, last, buf, n := []byte(answer), []byte(end), make([]byte, 64<<10), 0
				for {
					m, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					n += m
					for i := bytes.Index(buf[:n], last); i >= 0; i = bytes.Index(buf[:n], last) {
						n = copy(buf, buf[i+len(last):n])
						c.Write(out)
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// repeat sends the request n times on each of several connections, one after
// the other, and reads the answers, without allocating.
func repeat(t *testing.T, conns []net.Conn, request, answer []byte, n int) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			got := make([]byte, len(answer))
			for range n {
				if _, err := c.Write(request); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, answer) {
					t.Errorf("got %q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestARequestAllocatesNothing counts what the whole process allocates. The
// portable driver is left out: it starts a goroutine for each write.
func TestARequestAllocatesNothing(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"
	answer := ok + strings.Repeat("x", 200)
	long := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10000)
	get := "GET /api/items?q=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n"
	traced := strings.Replace(get, "\r\n\r\n", "\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n", 1)
	body := strings.Repeat("b", 4095) + "$"
	chunks := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
	call := "POST /shop.Cart/Get HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\ngrpc-timeout: 10S\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\x00\x00\x00\x00\x02hi\r\n0\r\n\r\n"
	called := "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\x00\x00\x00\x00\x02ok\r\n0\r\ngrpc-status: 0\r\n\r\n"
	const off = "compare: {percent: 0}"
	tests := []struct{ name, mirrors, request, end, answer, own string }{
		{"GET", "", get, "\r\n\r\n", answer, ""},
		{"GET, chunked answer", "", get, "\r\n\r\n", chunks, ""},
		{"GET, copied", "percent: 100", get, "\r\n\r\n", answer, ""},
		{"GET, copied, long answer", "percent: 100", get, "\r\n\r\n", long, ""},
		{"GET, copied with changes", "percent: 100, host: suffix, key: {cookie: a}, headers: {set: [{name: x-env, value: t}], remove: [cookie]}", traced, "\r\n\r\n", answer, ""},
		{"GET, pipelined copies", "percent: 100, pipeline: 16", get, "\r\n\r\n", answer, ""},
		{"GET, copied by name", "host: backend, match: {headers: [{name: user-agent, value: test}]}", get, "\r\n\r\n", answer, ""},
		{"GET, not selected", "percent: 0", get, "\r\n\r\n", answer, ""},
		{"GET, copied and not compared", off, get, "\r\n\r\n", answer, ""},
		{"GET, compared but not copied", "percent: 0", get, "\r\n\r\n", answer, ""},
		{"POST, copied", "writes: copy", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4096\r\n\r\n" + body, "$", answer, ""},
		{"chunked POST, copied", "writes: copy", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + body + "\r\n0\r\n\r\n", "0\r\n\r\n", answer, ""},
		{"chunked POST, copied when whole", "writes: copy, body: {overLimit: headers}", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + body + "\r\n0\r\n\r\n", "0\r\n\r\n", answer, ""},
		{"gRPC call, copied", "grpcMethods: [shop.Cart/Get]", call, "0\r\n\r\n", called, ""},
		{"gRPC call, cut between messages", "grpcMethods: [shop.Cart/*], body: {overLimit: truncate}", call, "0\r\n\r\n", called, ""},
		{"gRPC call, not named", "grpcMethods: [shop.Cart/Put]", call, "0\r\n\r\n", called, ""},
		{"refused", "", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "\r\n\r\n", "",
			"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 25\r\n\r\nCONNECT is not supported\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			primary := frugal(t, test.end, test.answer)
			yaml := plain(primary, "")
			if test.mirrors != "" {
				yaml = strings.Replace(withMirrors(primary, []string{frugal(t, test.end, test.answer)}, test.mirrors), "workers: 2", "workers: 1", 1)
			}
			o := Options{Driver: loop.Epoll}
			if strings.Contains(test.name, "compared") {
				o.Capture = releasing{}
			}
			s, addr := serveWith(t, o, yaml)
			// The runtime itself allocates now and then.
			if each := allocations(t, s, addr, test.request, test.answer+test.own); each > 0.02 {
				t.Errorf("%.3f allocations for each request, want none", each)
			}
			for _, m := range settled(s) {
				if m.Selected != m.Completed {
					t.Errorf("%d of %d copies completed: %v %v", m.Completed, m.Selected, m.Dropped, m.Failed)
				}
			}
		})
	}
}

// allocations is how many a request costs the whole process, of 5000 on each of four
// connections.
func allocations(t *testing.T, s *Server, addr, request, answer string) float64 {
	t.Helper()
	const n = 5000
	var conns []net.Conn
	for range 4 {
		conns = append(conns, dial(t, addr))
	}
	repeat(t, conns, []byte(request), []byte(answer), n/5)
	s.Snapshot()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	repeat(t, conns, []byte(request), []byte(answer), n)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / (4 * n)
}

// releasing is a sink that gives everything back at once.
type releasing struct{}

// Offer implements traffic.Sink.
func (releasing) Offer(x *traffic.Exchange) bool {
	x.Release()
	return true
}

// A captured exchange lies in memory that is used again, but for its text, which may
// be kept by whoever looks at it and is made for many at once.
func TestACapturedRequestAllocatesNextToNothing(t *testing.T) {
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)
	request := "POST /api/items?q=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nX-Request-Id: 7\r\nContent-Length: 4\r\n\r\nbod$"
	primary, shadow := frugal(t, "$", answer), frugal(t, "$", answer)
	s, addr := serveWith(t, Options{Driver: loop.Epoll, Capture: releasing{}}, strings.Replace(captured(primary, shadow, ""), "workers: 2", "workers: 1", 1))
	// Memory that the collector has taken meanwhile is made again.
	if each := allocations(t, s, addr, request, answer); each > 0.1 {
		t.Errorf("%.3f allocations for each request, want one in ten", each)
	}
	if b := captures(t, s); b.Drawn != 24000 || b.Taken != b.Drawn {
		t.Errorf("counted %+v, want 24000 drawn and taken", b)
	}
}

// TestAMessageAllocatesNothing is the same for messages of WebSockets.
func TestAMessageAllocatesNothing(t *testing.T) {
	const message, answer = "\x81\x82abcd\x09\x0b", "\x81\x02ok" // as long as a Close
	play := func(c *net.TCPConn, _ *rand.Rand) {
		if _, err := readHead(bufio.NewReaderSize(c, 1)); err != nil {
			return
		}
		io.WriteString(c, socketAnswer)
		got, out := make([]byte, len(message)), []byte(answer)
		for {
			if _, err := io.ReadFull(c, got); err != nil || got[0] != message[0] {
				return
			}
			c.Write(out)
		}
	}
	primary, shadow := sockethouse(t, 1, play), sockethouse(t, 1, play)
	s, addr := serve(t, loop.Epoll, mirrored(primary, shadow, "            upgrades: copy\n            backoff: {adaptive: false}"))
	var conns []net.Conn
	for range 4 {
		c := dial(t, addr)
		send(t, c, socketRequest)
		expect(t, c, socketAnswer[:len("HTTP/1.1 101 Switching Protocols\r\n")])
		head(t, bufio.NewReaderSize(c, 1))
		conns = append(conns, c)
	}
	const n = 5000 // on each of four connections
	repeat(t, conns, []byte(message), []byte(answer), n/5)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	repeat(t, conns, []byte(message), []byte(answer), n)
	runtime.ReadMemStats(&after)
	// The runtime itself allocates now and then.
	if each := float64(after.Mallocs-before.Mallocs) / (4 * n); each > 0.02 {
		t.Errorf("%.3f allocations for each message, want none", each)
	}
	for _, c := range conns {
		c.Close()
	}
	if m := settled(s)["v2"]; m.Completed != 4 || m.Bytes < 4*n*uint64(len(message)) {
		t.Errorf("%d completed with %d bytes, dropped %v, failed %v", m.Completed, m.Bytes, m.Dropped, m.Failed)
	}
}

func TestAnIdleClientCostsLittle(t *testing.T) {
	for _, d := range []loop.Driver{loop.Epoll, loop.Go} {
		t.Run(string(d), func(t *testing.T) {
			const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			_, addr := serve(t, d, plain(frugal(t, "\r\n\r\n", answer), ""))
			const n = 2000
			conns := make([]net.Conn, n)
			repeat(t, []net.Conn{dial(t, addr)}, []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), []byte(answer), 100)
			before := memory()
			for i := range conns {
				conns[i] = dial(t, addr)
				repeat(t, conns[i:i+1], []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), []byte(answer), 1)
			}
			// This is with the client's side of the connection.
			each := (memory() - before) / n
			if each > 12<<10 {
				t.Errorf("%d bytes for each idle client, want at most 12 KiB", each)
			}
			t.Logf("%d bytes for each idle client", each)
		})
	}
}

// memory returns the bytes in use by heap and stacks.
func memory() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
