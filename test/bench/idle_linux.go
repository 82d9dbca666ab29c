package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// idleConns are connections that made one request each and then fell silent.
type idleConns []net.Conn

// openIdle opens n connections one after another, so that the proxy needs few
// of its own to the primary and what grows is what a client's connection costs.
func openIdle(ctx context.Context, target string, n int) (idleConns, error) {
	var conns idleConns
	var d net.Dialer
	for range n {
		c, err := d.DialContext(ctx, "tcp", target)
		if err == nil {
			conns = append(conns, c)
			err = getOnce(c)
		}
		if err != nil {
			conns.close()
			return nil, fmt.Errorf("connection %d of %d to %s: %w", len(conns), n, target, err)
		}
	}
	return conns, nil
}

func getOnce(c net.Conn) error {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return err
}

func (conns idleConns) close() {
	for _, c := range conns {
		_ = c.Close()
	}
}

// idle is what a proxy without traffic uses, with open connections.
type idle struct {
	Proxy       string  `json:"proxy"`
	CorePercent float64 `json:"core_percent"` // of one core
}

// measureIdle lets all chosen programs sit side by side: nothing is going on
// that they could disturb.
func (b *bench) measureIdle(ctx context.Context, chosen []contestant) (out []idle, err error) {
	st, err := openStage(workload{Answer: 200})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	var sitting []*running
	for _, c := range chosen {
		r, err := b.start(ctx, c, st.upstreams(c))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.stop()) }()
		p := b.plan(speedSuite.workloads[0], r.target)
		p.Duration = b.options.time / 8
		if _, err := load.RunProcess(ctx, p); err != nil {
			return nil, err
		}
		conns, err := openIdle(ctx, r.target, b.options.conns)
		if err != nil {
			return nil, err
		}
		defer conns.close()
		sitting = append(sitting, r)
	}
	span := b.options.idle
	if err := pause(ctx, span/5); err != nil {
		return nil, err
	}
	start, before := time.Now(), make([]time.Duration, len(sitting))
	for i, r := range sitting {
		if before[i], err = r.process.RunTime(); err != nil {
			return nil, err
		}
	}
	if err := pause(ctx, span); err != nil {
		return nil, err
	}
	for i, r := range sitting {
		ran, err := r.process.RunTime()
		if err != nil {
			return nil, err
		}
		out = append(out, idle{Proxy: r.place.Name, CorePercent: 100 * float64(ran-before[i]) / float64(time.Since(start))})
	}
	return out, nil
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
