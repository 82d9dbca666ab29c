//go:build unix

package loop

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// cpu is what the process has used, user and system.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// caller sends a message each time it has got the last one back.
type caller struct {
	left    *int
	done    chan struct{}
	message [200]byte
	buf     [200]byte
	got     int
}

func (k *caller) OnReady(c *Conn, r Ready) {
	if r&Readable != 0 {
		n, err := c.Read(k.buf[k.got:])
		if err != nil {
			return
		}
		if k.got += n; k.got < len(k.buf) {
			return
		}
		k.got = 0
		if *k.left--; *k.left == 0 {
			close(k.done)
		}
	}
	if *k.left > 0 {
		c.Write(k.message[:])
	}
}

// BenchmarkEcho is a round trip of 200 bytes between callers, always on one loop
// of the default driver, and a server that is an echo of each kind. cpu-µs/op is
// that of both sides.
func BenchmarkEcho(b *testing.B) {
	servers := map[string]func(b *testing.B) netip.AddrPort{"net": goroutines}
	for d := range drivers {
		servers[string(d)] = func(b *testing.B) netip.AddrPort {
			b.Helper()
			g := open(b, 1, d)
			g.Accept([]*Loop{running(b, d)}, echoes)
			return g.Addr()
		}
	}
	for _, conns := range []int{1, 64} {
		for name, serve := range servers {
			b.Run(fmt.Sprintf("%s/%d", name, conns), func(b *testing.B) {
				call(b, serve(b), conns)
			})
		}
	}
}

// goroutines is an echo as the net package suggests it.
func goroutines(b *testing.B) netip.AddrPort {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				buf := make([]byte, 4096)
				for {
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					nc.Write(buf[:n])
				}
			}()
		}
	}()
	return netAddrPort(ln.Addr())
}

func call(b *testing.B, addr netip.AddrPort, conns int) {
	b.Helper()
	l := running(b, DefaultDriver())
	done := make(chan struct{})
	left := b.N
	before := cpu(b)
	b.ResetTimer()
	on(b, l, func() {
		for range conns {
			if _, err := l.Dial(addr, &caller{left: &left, done: done}); err != nil {
				b.Error(err)
			}
		}
	})
	await(b, done, "the last answer")
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

func BenchmarkPost(b *testing.B) {
	for d := range drivers {
		b.Run(string(d), func(b *testing.B) {
			l := running(b, d)
			f := func() {}
			for b.Loop() {
				l.Post(f)
			}
			on(b, l, f)
		})
	}
}

func BenchmarkArm(b *testing.B) {
	var l Loop
	timers := make([]Timer, 10_000)
	for i := 0; b.Loop(); i++ {
		l.now += 10 * time.Microsecond
		l.wheel.now = int64(l.now / tick)
		l.Arm(&timers[i%len(timers)], time.Minute)
	}
}
