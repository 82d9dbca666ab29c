package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Visitors use a shop, at a steady pace and with few hands: what takes long
// makes them fewer, never more.
type Visitors struct {
	Base      string // http://host:port
	PerSecond int    // at most 1,000

	sent   atomic.Uint64
	failed atomic.Uint64
}

// hands bounds how many requests are under way at once.
const hands = 16

// errand is one thing that people do in the shop.
type errand struct{ method, path, body string }

// errands come in turn. Most only look; every fifth writes.
var errands = []errand{
	{"GET", "/api/products", ""},
	{"GET", "/api/products/%d", ""},
	{"GET", "/api/search?q=st", ""},
	{"POST", "/api/cart", `{"product": %d, "number": 1}`},
	{"GET", "/api/cart", ""},
	{"GET", "/api/recommendations", ""},
	{"GET", "/api/products/%d", ""},
	{"POST", "/api/orders", "{}"},
	{"GET", "/api/orders/%d", ""},
	{"GET", "/api/products", ""},
	{"GET", "/api/search?q=umbrella", ""},
	{"DELETE", "/api/cart/%d", ""},
	{"GET", "/api/products/%d", ""},
	{"GET", "/api/recommendations", ""},
	{"GET", "/api/orders/%d", ""},
}

// Visit goes on until ctx ends, and returns when everybody has left.
func (v *Visitors) Visit(ctx context.Context) {
	transport := &http.Transport{MaxIdleConnsPerHost: hands}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	tick := time.NewTicker(time.Second / time.Duration(min(max(v.PerSecond, 1), 1000)))
	defer tick.Stop()
	free := make(chan struct{}, hands)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			for range hands {
				free <- struct{}{} // taken back when the last one has left
			}
			return
		case <-tick.C:
		}
		select {
		case free <- struct{}{}:
			go func() {
				defer func() { <-free }()
				v.run(client, errands[n%len(errands)], n)
			}()
		default: // everybody is busy
		}
	}
}

// run does one errand to its end, even if nobody comes after it: an errand
// that is broken off would look like a failure of the shop.
func (v *Visitors) run(client *http.Client, e errand, n int) {
	v.sent.Add(1)
	if err := e.run(client, v.Base, n%len(products)+1); err != nil {
		v.failed.Add(1)
	}
}

func (e errand) run(client *http.Client, base string, id int) error {
	path, body := e.path, e.body
	if strings.Contains(path, "%d") {
		path = fmt.Sprintf(path, id)
	}
	if strings.Contains(body, "%d") {
		body = fmt.Sprintf(body, id)
	}
	r, err := http.NewRequest(e.method, base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", e.method, path, answer.Status)
	}
	return nil
}

// Counts says how many requests were sent, and how many failed or were
// answered with an error.
func (v *Visitors) Counts() (sent, failed uint64) { return v.sent.Load(), v.failed.Load() }
