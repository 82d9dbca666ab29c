package load

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// UpstreamOptions say how an upstream answers. The zero value listens on a
// free loopback port and answers 200 without content.
type UpstreamOptions struct {
	Addr        string `json:"addr"`         // host:port; default 127.0.0.1:0
	AnswerBytes int64  `json:"answer_bytes"` // of every answer's body; any size is streamed
	Fill        byte   `json:"fill"`         // what bodies are made of; default 'x'
	Status      int    `json:"status"`       // default 200, or 204 with NoBody
	NoBody      bool   `json:"no_body"`      // answer 204 whatever AnswerBytes says

	Delay     time.Duration `json:"delay"`      // from the request's last byte to the answer's first
	EchoID    bool          `json:"echo_id"`    // answers carry their request's id, which Run then checks
	CheckBody bool          `json:"check_body"` // compare bodies with what Run sends; see BadBodies
	Loops     int           `json:"loops"`      // threads; default 1

	// GRPC serves gRPC in the clear instead of HTTP/1.1, with the library that
	// users have. Of the options above, Addr, AnswerBytes and Fill, of each
	// message, and CheckBody then apply; bodies are messages.
	GRPC bool `json:"grpc"`
	// Takes, with GRPC, is how many messages of a call are read and answered;
	// after them the call stands still until its caller ends it. 0 = all.
	Takes int `json:"takes"`
}

// UpstreamStats count what an upstream got since it started or was reset. A
// request counts when its last byte has arrived.
type UpstreamStats struct {
	Requests    uint64 `json:"requests"`
	Messages    uint64 `json:"messages"`    // with GRPC: received; Requests are calls then
	IDs         IDSet  `json:"ids"`         // of those of Requests that carried one
	BodyBytes   uint64 `json:"body_bytes"`  // content, without chunk framing; also of unfinished requests
	Connections uint64 `json:"connections"` // accepted
	Unfinished  uint64 `json:"unfinished"`  // requests cut short by the end of their connection
	BadRequests uint64 `json:"bad_requests"`
	BadBodies   uint64 `json:"bad_bodies"` // pieces of bodies that differ from what Run sends; with CheckBody
	Open        int64  `json:"open"`       // connections now; not touched by Reset
}

// Upstream is a running server. All methods may be called from any goroutine.
type Upstream struct {
	addr  string
	loops []*upstreamLoop
	calls *callServer // with GRPC; then there are no loops
	wg    sync.WaitGroup

	requests, messages, bodyBytes, connections, unfinished, badRequests, badBodies atomic.Uint64

	open     atomic.Int64
	ids      sharedIDs
	stopping atomic.Bool
}

// StartUpstream listens and answers until Stop.
func StartUpstream(o UpstreamOptions) (*Upstream, error) {
	orDefault(&o.Addr, "127.0.0.1:0")
	orDefault(&o.Fill, 'x')
	if o.NoBody {
		o.AnswerBytes = 0
		orDefault(&o.Status, 204)
	}
	orDefault(&o.Status, 200)
	u := &Upstream{addr: o.Addr}
	if o.GRPC {
		if err := startCalls(u, &o); err != nil {
			return nil, fmt.Errorf("start upstream on %s: %w", o.Addr, err)
		}
		return u, nil
	}
	for range max(o.Loops, 1) {
		l, addr, err := newUpstreamLoop(u, &o)
		if err != nil {
			u.Stop()
			return nil, fmt.Errorf("start upstream on %s: %w", o.Addr, err)
		}
		// Later loops join the first one's port.
		u.addr, o.Addr = addr, addr
		u.loops = append(u.loops, l)
	}
	for _, l := range u.loops {
		u.wg.Go(l.run)
	}
	return u, nil
}

// Addr is host:port as listened on.
func (u *Upstream) Addr() string { return u.addr }

// Stats is what has arrived so far.
func (u *Upstream) Stats() UpstreamStats {
	return UpstreamStats{
		Requests: u.requests.Load(), Messages: u.messages.Load(), IDs: u.ids.set(), BodyBytes: u.bodyBytes.Load(),
		Connections: u.connections.Load(), Unfinished: u.unfinished.Load(),
		BadRequests: u.badRequests.Load(), BadBodies: u.badBodies.Load(), Open: u.open.Load(),
	}
}

// Reset sets all counts to zero. Call it while no request is on its way, or the
// count and the sum of ids may fall apart.
func (u *Upstream) Reset() {
	for _, c := range []*atomic.Uint64{
		&u.requests, &u.messages, &u.bodyBytes, &u.connections, &u.unfinished,
		&u.badRequests, &u.badBodies, &u.ids.count, &u.ids.sum,
	} {
		c.Store(0)
	}
}

// Stop closes the listener and all connections and waits until they are closed.
// It may be called more than once.
func (u *Upstream) Stop() {
	if u.stopping.Swap(true) {
		return
	}
	for _, l := range u.loops {
		l.poll.wake()
	}
	if u.calls != nil {
		u.calls.server.Stop()
	}
	u.wg.Wait()
	for _, l := range u.loops {
		l.poll.close()
	}
}

// answers are rendered once; per request only the id differs.
type answers struct {
	head  []byte // up to and including the last field
	body  []byte // the whole body if it is short, else one piece of it
	bytes int64
	echo  bool
}

func newAnswers(o *UpstreamOptions) answers {
	a := answers{bytes: o.AnswerBytes, echo: o.EchoID}
	a.head = append(a.head, "HTTP/1.1 "+strconv.Itoa(o.Status)+" Fine\r\n"...)
	if o.Status >= 200 && o.Status != 204 {
		a.head = append(a.head, "Content-Type: application/octet-stream\r\nContent-Length: "+strconv.FormatInt(o.AnswerBytes, 10)+"\r\n"...)
	}
	a.body = make([]byte, min(o.AnswerBytes, 256<<10))
	for i := range a.body {
		a.body[i] = o.Fill
	}
	return a
}

// upstreamLoop serves its share of the connections on one thread.
type upstreamLoop struct {
	u       *Upstream
	o       UpstreamOptions
	answers answers
	poll    *poller
	listen  int
	epoch   time.Time
	buf     []byte
	conns   []*served // by slot; a slot is used again in another life
	free    []int32
	delayed []delayed // in order of at, as all wait equally long
}

type delayed struct {
	at   time.Duration
	c    *served
	life int32
	req  request
}

// listenerSlot is the slot of the listening socket's events.
const listenerSlot = -2

func newUpstreamLoop(u *Upstream, o *UpstreamOptions) (*upstreamLoop, string, error) {
	sa, family, err := resolve(o.Addr)
	if err != nil {
		return nil, "", err
	}
	fd, err := newSocket(family)
	if err != nil {
		return nil, "", err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if o.Loops > 1 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err = unix.Bind(fd, sa); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, "", err
	}
	poll, err := newPoller()
	if err != nil {
		_ = unix.Close(fd)
		return nil, "", err
	}
	if sa, err = unix.Getsockname(fd); err != nil {
		return nil, "", err
	}
	l := &upstreamLoop{u: u, o: *o, answers: newAnswers(o), poll: poll, listen: fd, epoch: time.Now(), buf: make([]byte, 256<<10)}
	return l, addrOf(sa), poll.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, token{slot: listenerSlot})
}

func addrOf(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
	case *unix.SockaddrInet6:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), strconv.Itoa(a.Port))
	}
	return ""
}

func (l *upstreamLoop) run() {
	defer l.closeAll()
	for !l.u.stopping.Load() {
		events, err := l.poll.wait(l.untilNextAnswer())
		if err != nil {
			return
		}
		for i := range events {
			ev := &events[i]
			switch ev.Fd {
			case wakeSlot:
				l.poll.woken()
			case listenerSlot:
				l.accept()
			default:
				if c := l.conns[ev.Fd]; c.life == ev.Pad && c.fd >= 0 {
					c.onReady(ev.Events)
				}
			}
		}
		l.answerDelayed()
	}
}

func (l *upstreamLoop) closeAll() {
	_ = unix.Close(l.listen)
	for _, c := range l.conns {
		c.close()
	}
}

func (l *upstreamLoop) now() time.Duration { return time.Since(l.epoch) }

func (l *upstreamLoop) untilNextAnswer() time.Duration {
	if len(l.delayed) == 0 {
		return -1
	}
	return max(l.delayed[0].at-l.now(), 0)
}

func (l *upstreamLoop) answerDelayed() {
	if len(l.delayed) == 0 {
		return
	}
	now := l.now()
	n := 0
	for ; n < len(l.delayed) && l.delayed[n].at <= now; n++ {
		d := &l.delayed[n]
		if d.c.life == d.life && d.c.fd >= 0 {
			d.c.waiting--
			d.c.answer(d.req)
			d.c.flush()
		}
	}
	l.delayed = append(l.delayed[:0], l.delayed[n:]...)
}

// accept takes every connection that waits.
func (l *upstreamLoop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := l.slot()
		c.fd, c.watched = fd, unix.EPOLLIN
		if err := l.poll.watch(unix.EPOLL_CTL_ADD, fd, c.watched, token{c.index, c.life}); err != nil {
			c.close()
			continue
		}
		l.u.connections.Add(1)
		l.u.open.Add(1)
	}
}

func (l *upstreamLoop) slot() *served {
	if n := len(l.free); n > 0 {
		c := l.conns[l.free[n-1]]
		l.free = l.free[:n-1]
		*c = served{l: l, index: c.index, life: c.life + 1, in: c.in[:0], out: c.out[:0]}
		return c
	}
	c := &served{l: l, index: int32(len(l.conns))}
	l.conns = append(l.conns, c)
	return c
}
