package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/telemetry"
)

// Proxy is what an admin server shows. All methods are called from many
// goroutines.
type Proxy interface {
	Snapshot() *telemetry.Snapshot
	Config() *config.Config // in force; its token and its pprof are asked for at every request
	Ready() bool            // whether new requests are taken
}

// Options of a [Server].
type Options struct {
	Log   *slog.Logger
	Pprof bool // serve /debug/pprof even if the configuration does not ask for it

	// Pairs is what was learned by comparing answers; nil = nothing is compared.
	Pairs Pairs
}

const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second // a slow reader of a large scrape
	idleTimeout   = 2 * time.Minute  // above Prometheus' usual scrape interval
	headerLimit   = 16 << 10
	// maxConnections keeps a runaway client of the admin side from taking the
	// file descriptors that live requests need.
	maxConnections = 128
)

// ErrNoToken says that an address can be reached from other machines although
// no token is configured.
var ErrNoToken = errors.New("the admin address can be reached from other machines, so it needs a token (set admin.token, or bind it to 127.0.0.1)")

// Server answers the operator. Make it with [Listen].
type Server struct {
	proxy      Proxy
	options    Options
	listener   net.Listener
	loopback   bool
	http       *http.Server
	scrape     http.Handler
	routes     map[string]*endpoint
	sameOrigin *http.CrossOriginProtection
	asking     sync.Mutex // one snapshot at a time, however many ask
	served     chan struct{}
}

// Listen binds the address of c and answers from then on. It refuses an address
// other than loopback without a token. The caller must Shutdown it.
func Listen(c config.Admin, p Proxy, o Options) (*Server, error) {
	l, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("open admin address: %w", err)
	}
	s := &Server{
		proxy:    p,
		options:  o,
		listener: l,
		loopback: l.Addr().(*net.TCPAddr).IP.IsLoopback(),
		served:   make(chan struct{}),
	}
	if !s.loopback && c.Token == "" {
		l.Close()
		return nil, fmt.Errorf("open admin address %s: %w", c.Address, ErrNoToken)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		telemetry.NewCollector(s.books),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	s.scrape = s.metricsHandler(registry)
	s.routes = s.endpoints()
	s.sameOrigin = http.NewCrossOriginProtection()
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerLimit,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	go s.serve()
	return s, nil
}

func (s *Server) serve() {
	defer close(s.served)
	if err := s.http.Serve(limited(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		s.options.Log.Error("admin server has stopped", slog.Any("error", err))
	}
}

// Addr is the bound address.
func (s *Server) Addr() netip.AddrPort {
	a := s.listener.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// URL is where to point a browser on this machine.
func (s *Server) URL() string {
	a := s.Addr()
	if a.Addr().IsUnspecified() {
		a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return "http://" + a.String()
}

// Shutdown takes no new connections, waits for what is being answered until
// ctx ends, and closes the rest.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down admin server: %w", err), s.http.Close())
	}
	<-s.served
	return err
}

// snapshot asks every event loop, so that it is done once at a time: many
// scrapers queue here and not in the loops.
func (s *Server) snapshot() *telemetry.Snapshot {
	s.asking.Lock()
	defer s.asking.Unlock()
	return s.proxy.Snapshot()
}

// limited accepts at most n connections at once.
func limited(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
