package shadow

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const get = "GET / HTTP/1.1\r\nHost: shadow\r\n\r\n"

// patience bounds what should happen at once; it only ends tests that fail.
const patience = 10 * time.Second

// begin starts a shadow that answers late after 200 ms if it is Late.
func begin(t *testing.T, kind Kind) *Shadow {
	t.Helper()
	s, err := start(kind, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func connect(t *testing.T, s *Shadow) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", s.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, request string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
}

func TestEveryKindStartsAndCloses(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := begin(t, kind)
			if host, port, err := net.SplitHostPort(s.Addr()); err != nil || host != "127.0.0.1" || port == "0" {
				t.Errorf("address %q, want a port of 127.0.0.1", s.Addr())
			}
			if s.Kind() != kind {
				t.Errorf("kind %q, want %q", s.Kind(), kind)
			}
		})
	}
	if _, err := Start("kind"); err == nil {
		t.Error(`a shadow of kind "kind" started`)
	}
}

func TestRefusingAnswersConnectsWithReset(t *testing.T) {
	t.Parallel()
	_, err := net.DialTimeout("tcp4", begin(t, Refusing).Addr(), patience)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v, want connection refused", err)
	}
}

func TestHolesNeverAnswerAConnect(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Blackholed, Unaccepted} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := begin(t, kind)
			for range 3 { // not only the first one
				c, err := net.DialTimeout("tcp4", s.Addr(), 300*time.Millisecond)
				if err == nil {
					_ = c.Close()
				}
				if !isTimeout(err) {
					t.Errorf("connect: %v, want a timeout", err)
				}
			}
			if got := s.Accepted(); got != 0 {
				t.Errorf("accepted %d connections, want none", got)
			}
		})
	}
}

func TestVanishingStopsAcknowledging(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, Vanishing))
	send(t, c, get)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// A packet that was never acknowledged is sent again.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var info *unix.TCPInfo
		if ctl := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); ctl != nil || err != nil {
			t.Fatal(ctl, err)
		}
		if info.Unacked > 0 && info.Total_retrans > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("unacknowledged %d, sent again %d: the connection still lives", info.Unacked, info.Total_retrans)
		}
		if info.Unacked == 0 {
			send(t, c, "x")
		}
	}
}

func TestNeverReadingLetsWritesBlock(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, NeverReading))
	_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := c.Write(make([]byte, 16<<20))
	if !isTimeout(err) {
		t.Errorf("wrote %d bytes, %v; want a write that blocks", n, err)
	}
	if n >= 8<<20 {
		t.Errorf("%d bytes went into a connection that nobody reads", n)
	}
}

func TestSlowReadingAnswersAtItsPace(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, SlowReading))
	began := time.Now()
	send(t, c, "POST / HTTP/1.1\r\nHost: shadow\r\nContent-Length: 49152\r\n\r\n"+strings.Repeat("x", 48<<10))
	answer(t, c)
	// 48 KiB at 64 KiB/s; a lower bound cannot fail on a slow machine.
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("read 48 KiB in %v, faster than 64 KiB/s", took)
	}
}

func TestLateAnswersAfterItsDelay(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, Late))
	began := time.Now()
	send(t, c, get)
	answer(t, c)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("answered after %v, want 200ms or more", took)
	}
}

func answer(t *testing.T, c net.Conn) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || string(content) != "ok" {
		t.Errorf("got %d %q, %v; want 200 ok", r.StatusCode, content, err)
	}
}

func TestResettingResetsInTheMiddleOfTheAnswer(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, Resetting))
	send(t, c, get)
	got, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want connection reset", err)
	}
	// What arrived before the reset is its receiver's to keep or to lose.
	if whole := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"; !strings.HasPrefix(whole, string(got)) {
		t.Errorf("read %q, want the start of %q", got, whole)
	}
}

func TestGarbageIsNeverOneGoodAnswer(t *testing.T) {
	t.Parallel()
	s := begin(t, Garbage)
	seen := map[string]bool{}
	for i := range garbage {
		c := connect(t, s)
		send(t, c, get)
		got := make([]byte, len(garbage[i]))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatalf("answer %d: %v after %q", i, err, got)
		}
		if isOneGoodAnswer(got) {
			t.Errorf("answer %d is good: %q", i, got)
		}
		seen[string(got)] = true
		_ = c.Close()
	}
	if len(seen) != 9 {
		t.Errorf("%d different answers, want 9", len(seen))
	}
}

func isOneGoodAnswer(b []byte) bool {
	in := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	if r.ProtoMajor != 1 || r.StatusCode < 200 {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil && in.Buffered() == 0
}

func TestEndlessGoesOnAndOn(t *testing.T) {
	t.Parallel()
	c := connect(t, begin(t, Endless))
	send(t, c, get)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	defer c.Close() // comes before the other, which reads to the end that never comes
	if n, err := io.CopyN(io.Discard, r.Body, 2<<20); err != nil {
		t.Errorf("the answer ended after %d bytes: %v", n, err)
	}
}

func TestHalfClosingEndsItsSideAndReadsOn(t *testing.T) {
	t.Parallel()
	s := begin(t, HalfClosing)
	for _, request := range []string{
		"",                                     // the first connection ends right after accept
		strings.Replace(get, "GET", "POST", 1), // the second one after a head
	} {
		c := connect(t, s)
		send(t, c, request)
		if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
			t.Errorf("read %q, %v; want a clean end", b, err)
		}
		// More than any socket buffer: whoever takes it reads.
		if n, err := c.Write(make([]byte, 16<<20)); err != nil {
			t.Errorf("wrote %d bytes after its end, then %v", n, err)
		}
	}
}

func TestAcceptedCounts(t *testing.T) {
	t.Parallel()
	s := begin(t, Late)
	for range 3 {
		c := connect(t, s)
		send(t, c, get)
		answer(t, c)
	}
	if got := s.Accepted(); got != 3 {
		t.Errorf("accepted %d, want 3", got)
	}
}

func TestCloseCutsWhatIsGoingOn(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Vanishing, NeverReading, SlowReading, Late, Endless} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, err := start(kind, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			c := connect(t, s)
			send(t, c, get)
			for s.Accepted() == 0 { // a connection still in the backlog would prove nothing
				time.Sleep(time.Millisecond)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			// Close waits for every goroutine; TestMain finds those it forgot.
		})
	}
}

func TestPaceSpreadsBytesEvenly(t *testing.T) {
	t.Parallel()
	type step struct {
		now  time.Duration
		n    int
		want time.Duration
	}
	tests := map[string][]step{
		"one taker": {
			{0, 500, 500 * time.Millisecond},
			{500 * time.Millisecond, 250, 250 * time.Millisecond},
		},
		"takers at the same time queue up": {
			{0, 100, 100 * time.Millisecond},
			{0, 100, 200 * time.Millisecond},
			{50 * time.Millisecond, 100, 250 * time.Millisecond},
		},
		"a pause is not saved up": {
			{0, 100, 100 * time.Millisecond},
			{10 * time.Second, 100, 100 * time.Millisecond},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPace(1000)
			for i, s := range steps {
				if got := p.take(s.now, s.n); got != s.want {
					t.Errorf("step %d: wait %v, want %v", i, got, s.want)
				}
			}
		})
	}
}
