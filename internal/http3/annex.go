package http3

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/understudy-proxy/understudy/internal/proxy"
)

const (
	// graceTime is how long a client is given to hear that it should send no more
	// requests on a connection, as over HTTP/2.
	graceTime = time.Second
	// pause is between two attempts to bind an address that another instance, or a
	// listener that was closed, is about to let go of.
	pause = 100 * time.Millisecond
	// silence ends a connection whose client has vanished. One who is there answers
	// to our keeping alive, so that a request may take its time; who sends none is
	// ended by the idle timeout.
	silence = 30 * time.Second
)

// annex is HTTP/3 on one listener.
type annex struct {
	entrance *proxy.Entrance
	address  *net.UDPAddr
	begin    sync.Once
	leave    context.Context // done when no more clients are taken
	stop     context.CancelFunc
	running  sync.WaitGroup // everything

	mu        sync.Mutex
	transport *quic.Transport     // nil while somebody else has the address
	visits    map[*visit]struct{} // nil after the end
}

// Open binds the address of a listener for HTTP/3. It is for [proxy.Options].
func Open(e *proxy.Entrance) (proxy.Annex, error) {
	a := &annex{entrance: e, address: net.UDPAddrFromAddrPort(e.Address()), visits: map[*visit]struct{}{}}
	a.leave, a.stop = context.WithCancel(context.Background())
	if err := a.bind(); err != nil && !(e.Inherits() && errors.Is(err, syscall.EADDRINUSE)) {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *annex) bind() error {
	socket, err := net.ListenUDP("udp", a.address)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.transport = &quic.Transport{Conn: socket}
	return nil
}

// bound waits until the address is free; nil if that takes too long.
func (a *annex) bound() *quic.Transport {
	for {
		a.mu.Lock()
		t := a.transport
		a.mu.Unlock()
		if t != nil {
			return t
		}
		select {
		case <-time.After(pause):
			_ = a.bind() // tried again
		case <-a.leave.Done():
			return nil
		}
	}
}

// Serve implements proxy.Annex.
func (a *annex) Serve() {
	a.begin.Do(func() { a.running.Go(a.serve) })
}

// serve takes clients.
func (a *annex) serve() {
	transport := a.bound()
	if transport == nil {
		return
	}
	listener, err := transport.Listen(http3.ConfigureTLSConfig(a.entrance.TLS()), &quic.Config{
		GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) { return a.config(), a.leave.Err() },
	})
	if err != nil {
		return // drained meanwhile
	}
	for {
		c, err := listener.Accept(context.Background())
		if err != nil {
			return // the transport was closed; until then whoever comes too late is told so
		}
		a.running.Go(func() { a.welcome(c) })
	}
}

// config is what a connection that begins now is bounded by. What it may send
// before it is read: quic-go's own windows would let one client hold 15 MB.
func (a *annex) config() *quic.Config {
	const window, connWindow = 256 << 10, 4 << 20 // as over HTTP/2
	c := a.entrance.Client()
	return &quic.Config{
		HandshakeIdleTimeout:           max(time.Duration(c.HeadTimeout), 0),
		MaxIdleTimeout:                 silence,
		KeepAlivePeriod:                silence / 3,
		InitialStreamReceiveWindow:     window,
		MaxStreamReceiveWindow:         window,
		InitialConnectionReceiveWindow: window,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             int64(c.Streams),
		MaxIncomingUniStreams:          8,     // control, two of QPACK, and some to be ignored
		Allow0RTT:                      false, // what is replayed would be answered, and copied, again
	}
}

// welcome serves a connection until it ends.
func (a *annex) welcome(c *quic.Conn) {
	state := c.ConnectionState().TLS
	guest := a.entrance.Admit(addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()), &state)
	if guest == nil {
		_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many connections")
		return
	}
	defer guest.Leave()
	v := newVisit(c, guest, a.entrance.Client())
	if !a.enter(v) {
		v.close()
		return
	}
	v.serve()
	a.mu.Lock()
	delete(a.visits, v)
	a.mu.Unlock()
}

func (a *annex) enter(v *visit) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.visits == nil {
		return false
	}
	a.visits[v] = struct{}{}
	return true
}

// Drain implements proxy.Annex.
func (a *annex) Drain(ctx context.Context) {
	a.stop()
	a.begin.Do(func() {}) // whoever comes now finds it closed
	a.mu.Lock()
	visits, transport := a.visits, a.transport
	a.visits = nil
	a.mu.Unlock()
	var leaving sync.WaitGroup
	for v := range visits {
		leaving.Go(func() { v.drain(ctx) })
	}
	leaving.Wait()
	if transport != nil {
		_ = transport.Close() // nobody is left who could act on it
		_ = transport.Conn.Close()
	}
	a.running.Wait()
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort()
	}
	return netip.AddrPort{}
}
