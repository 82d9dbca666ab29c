//go:build !race

package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// repeatStreams sends n requests on each connection, one stream after the
// other, and reads the answers, without allocating. Streams begin at first.
func repeatStreams(t *testing.T, conns []net.Conn, first uint32, n int) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			// The host stands in the table since the first request.
			ask := framed(headersFrame, 5, 0, 0x82, 0x86, 0x84, 0xbe)
			want := append(framed(headersFrame, 4, 0, 0x88, 0x0f, 0x0d, 3, '2', '0', '0'), framed(0, 1, 0, bytes.Repeat([]byte("x"), 200)...)...)
			got := make([]byte, len(want))
			for i := range uint32(n) {
				id := first + 2*i
				binary.BigEndian.PutUint32(ask[5:], id)
				binary.BigEndian.PutUint32(want[5:], id)
				binary.BigEndian.PutUint32(want[9+7+5:], id)
				if _, err := c.Write(ask); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("stream %d: got %q, %v", id, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestAStreamAllocatesNothing counts what the whole process allocates for
// requests over HTTP/2 that are copied.
func TestAStreamAllocatesNothing(t *testing.T) {
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + strings.Repeat("x", 200)
	yaml := strings.Replace(mirrored(frugal(t, "\r\n\r\n", answer), frugal(t, "\r\n\r\n", answer), ""), "workers: 2", "workers: 1", 1)
	s, addr := serve(t, loop.Epoll, yaml)
	var conns []net.Conn
	for range 4 {
		w := byHand{t, dial(t, addr)}
		w.send([]byte(http2.Preface), framed(settingsFrame, 0, 0), framed(settingsFrame, 1, 0), framed(8, 0, 0, 0x7f, 0, 0, 0), askFrame(1))
		w.frame(0) // the body of the first answer
		conns = append(conns, w.Conn)
	}
	const n = 5000
	repeatStreams(t, conns, 3, n/5)
	s.Snapshot()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	repeatStreams(t, conns, 3+2*n/5, n)
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / (4 * n); each > 0.02 {
		t.Errorf("%.3f allocations for each request, want none", each)
	}
	for _, m := range settled(s) {
		if m.Selected != m.Completed {
			t.Errorf("%d of %d copies completed: %v %v", m.Completed, m.Selected, m.Dropped, m.Failed)
		}
	}
}
