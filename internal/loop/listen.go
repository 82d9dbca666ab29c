package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// acceptBatch is how many connections one readiness of a listening socket
	// may bring, so that a storm of them does not hold up those that exist.
	acceptBatch = 16

	// acceptPause is how long accepting rests when the process or the system is
	// out of file descriptors. The clients wait in the queue meanwhile; trying
	// again at once would only burn the time that closing others needs.
	acceptPause = 100 * time.Millisecond
)

// Group is the listening sockets of one address, spread over loops. Its methods
// may be called from any goroutine but those of its loops: Pause and Close wait
// for them, so the loops must be running or have ended.
type Group struct {
	addr   netip.AddrPort
	queues []queue

	mu      sync.Mutex
	loops   []*Loop
	accept  func(*Loop, *Conn) Handler
	running bool
	closed  bool
}

// queue is one accept queue of a group: one listening socket.
type queue interface {
	// start accepts connections and gives them to g.admit, beginning on these
	// of the group's loops.
	start(g *Group, on []*Loop)
	// stop accepts no more and returns when that is so.
	stop()
	// file is a duplicate of the socket.
	file() (*os.File, error)
	// close closes the socket; start is not called again.
	close() error
}

// Open listens on address ("host:port"; no host means all addresses, port 0 a
// free one). With the epoll driver it opens n sockets (at least one), among
// which the kernel deals new connections; with the go driver just one.
func Open(address string, n int, d Driver) (*Group, error) {
	m, err := mechanismOf(d)
	if err != nil {
		return nil, err
	}
	queues, err := m.listen(address, max(1, n))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return newGroup(queues)
}

// FromFiles adopts listening sockets that [Group.Files] gave, perhaps to another
// process that passed them on. It duplicates them: the files stay the caller's.
// More sockets are opened on the same address when n asks for more and the
// system allows it; otherwise loops share sockets or have several.
func FromFiles(files []*os.File, n int, d Driver) (*Group, error) {
	m, err := mechanismOf(d)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("adopt listening sockets: no files")
	}
	queues, err := m.adopt(files, n)
	if err != nil {
		return nil, fmt.Errorf("adopt listening sockets: %w", err)
	}
	return newGroup(queues)
}

func newGroup(queues []queue) (*Group, error) {
	g := &Group{queues: queues}
	addr, err := listenAddr(queues[0])
	if err != nil {
		_ = g.Close()
		return nil, err
	}
	g.addr = addr
	return g, nil
}

// Addr is the address the group listens on, with the port that was chosen.
func (g *Group) Addr() netip.AddrPort { return g.addr }

// Files duplicates the listening sockets, for handing to another process. The
// caller closes the files.
func (g *Group) Files() ([]*os.File, error) {
	var files []*os.File
	for _, q := range g.queues {
		f, err := q.file()
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("duplicate listening socket: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// Accept starts to accept connections, spread over loops. They are of the driver
// that the group was opened for; a group of the go driver serves loops of either
// with pumped connections. accept is called on the loop of each new connection and
// returns its handler; nil closes it. Call Accept once.
func (g *Group) Accept(loops []*Loop, accept func(l *Loop, c *Conn) Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loops, g.accept = loops, accept
	g.start()
}

// start gives every loop at least one queue and every queue at least one loop.
func (g *Group) start() {
	if g.running || g.closed || len(g.loops) == 0 {
		return
	}
	g.running = true
	on := make([][]*Loop, len(g.queues))
	for i := range max(len(g.queues), len(g.loops)) {
		q := i % len(g.queues)
		on[q] = append(on[q], g.loops[i%len(g.loops)])
	}
	for i, q := range g.queues {
		q.start(g, on[i])
	}
}

// Pause stops accepting and keeps the sockets open: connections go on to queue
// up there, for [Group.Resume] or for another process that shares the sockets.
// When it returns, no further connection will be accepted.
func (g *Group) Pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pause()
}

func (g *Group) pause() {
	if !g.running {
		return
	}
	g.running = false
	for _, q := range g.queues {
		q.stop()
	}
	// A loop may have given its last connection to another loop.
	for _, l := range g.loops {
		l.Call(func() {})
	}
}

// Resume accepts again after [Group.Pause].
func (g *Group) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start()
}

// Close stops accepting and closes the sockets. Connections that wait in a queue
// are lost, unless another process shares it.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.pause()
	g.closed = true
	var errs []error
	for _, q := range g.queues {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}

// place chooses the loop for a connection that came to own, and counts it there.
// The kernel deals by a hash, which spreads few long-lived connections unevenly;
// moving one costs a wake-up, so small differences stay.
func (g *Group) place(own *Loop) *Loop {
	best, least := own, own.accepted.Load()
	mine := least
	for _, l := range g.loops {
		if n := l.accepted.Load(); n < least {
			best, least = l, n
		}
	}
	if mine-least <= 2+least/8 {
		best = own
	}
	best.accepted.Add(1)
	return best
}

// admit makes c, already on loop l and counted there, a connection of the group.
func (g *Group) admit(l *Loop, c *Conn) {
	c.accepted = true
	l.refresh()
	h := g.accept(l, c)
	if h == nil {
		c.Close()
	} else if !c.closed {
		c.handler = h
	}
	l.finishEvent()
}

// listenAddr is the address of a queue's socket.
func listenAddr(q queue) (netip.AddrPort, error) {
	f, err := q.file()
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer ln.Close()
	return netAddrPort(ln.Addr()), nil
}

// netAddrPort is the address of a TCP socket; zero for any other.
func netAddrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
