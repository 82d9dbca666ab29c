package loop

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// netListener is an accept queue of the go driver: one goroutine accepts and
// deals connections out to the loops, which may be of any driver.
type netListener struct {
	ln      *net.TCPListener
	stopped chan struct{} // closed to end the present acceptor
	done    sync.WaitGroup

	mu sync.Mutex
	on []*Loop // to which it deals
}

func listenNet(address string, _ int) ([]queue, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return []queue{&netListener{ln: ln.(*net.TCPListener)}}, nil
}

func adoptNet(files []*os.File, _ int) ([]queue, error) {
	var queues []queue
	for _, f := range files {
		ln, err := net.FileListener(f)
		if err == nil {
			if tcp, ok := ln.(*net.TCPListener); ok {
				queues = append(queues, &netListener{ln: tcp})
				continue
			}
			ln.Close()
			err = errors.New("not a TCP socket")
		}
		closeQueues(queues)
		return nil, err
	}
	return queues, nil
}

func closeQueues(queues []queue) {
	for _, q := range queues {
		_ = q.close()
	}
}

func (q *netListener) start(g *Group, on []*Loop) {
	q.mu.Lock()
	q.on = slices.Clone(on)
	q.mu.Unlock()
	for _, l := range on {
		l.Post(func() { l.listeners = append(l.listeners, q) })
	}
	q.stopped = make(chan struct{})
	_ = q.ln.SetDeadline(time.Time{})
	q.done.Go(func() { q.accept(g, q.stopped) })
}

func (q *netListener) stop() {
	close(q.stopped)
	_ = q.ln.SetDeadline(time.Unix(1, 0)) // ends an Accept that waits
	q.done.Wait()
	q.mu.Lock()
	on := q.on
	q.mu.Unlock()
	for _, l := range on {
		l.Call(func() {
			l.listeners = slices.DeleteFunc(l.listeners, func(o *netListener) bool { return o == q })
		})
	}
}

// leave is stop for one loop that ends. A listener without loops is closed.
func (q *netListener) leave(l *Loop) {
	q.mu.Lock()
	q.on = slices.DeleteFunc(q.on, func(o *Loop) bool { return o == l })
	last := len(q.on) == 0
	q.mu.Unlock()
	if last {
		_ = q.close()
	}
}

func (q *netListener) file() (*os.File, error) { return q.ln.File() }

func (q *netListener) close() error {
	if err := q.ln.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// accept runs until stopped or closed.
func (q *netListener) accept(g *Group, stopped chan struct{}) {
	for {
		nc, err := q.ln.Accept()
		switch {
		case err == nil:
			q.deal(g, nc)
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors, a client gone already, or stopped
			select {
			case <-stopped:
				return
			case <-time.After(acceptPause):
			}
		}
	}
}

// deal gives a connection to the loop that has the fewest.
func (q *netListener) deal(g *Group, nc net.Conn) {
	q.mu.Lock()
	on := slices.Clone(q.on)
	q.mu.Unlock()
	slices.SortFunc(on, func(a, b *Loop) int { return int(a.accepted.Load() - b.accepted.Load()) })
	for _, l := range on {
		l.accepted.Add(1)
		if l.Post(func() { g.admit(l, newPump(l, nc, nil)) }) {
			return
		}
		l.accepted.Add(-1) // that loop has ended
	}
	nc.Close()
}
