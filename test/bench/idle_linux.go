package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
