package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Options are what a Server needs besides its configuration. The zero value
// is usable.
type Options struct {
	// Driver is how event loops work; "" is the default of the system.
	Driver loop.Driver
	// Log gets what people should know; nil discards it. The request path never
	// waits for it.
	Log *slog.Logger
	// Sinks get the exchanges that AccessLog.Percent draws.
	Sinks []traffic.Sink
	// Capture gets the exchanges that mirrors compare and that are recorded, with
	// their messages. It owns what it accepts alone, and calls Release; nil has
	// nothing captured.
	Capture traffic.Sink
	// Takeover asks a running instance on the same addresses for its
	// listeners, so that no connection is lost when one replaces the other. With
	// none running, or on systems other than Linux, listeners are opened anew.
	Takeover bool
	// HTTP3 opens what serves HTTP/3 on a listener of HTTPS whose configuration asks
	// for it; nil leaves it out.
	HTTP3 func(*Entrance) (Annex, error)
	// TakenOver, if not nil, is called when another instance has taken over and
	// this one begins to drain.
	TakenOver func()
}

// Server is a running proxy. Its methods are safe for many goroutines, but not
// from the goroutine of an event loop.
type Server struct {
	options  Options
	log      *slog.Logger // not for event loops …
	notes    *notes       // … which have this
	driver   loop.Driver
	registry *upstream.Registry
	mirrors  *mirror.Registry
	captured spool.Budget // memory of captures
	workers  []*worker
	running  sync.WaitGroup
	began    time.Time
	reloads  atomic.Uint64
	clients  atomic.Int64 // connections, for the bound on them
	serving  atomic.Bool
	draining atomic.Bool
	ending   sync.Once
	annexes  sync.WaitGroup  // those that drain
	ended    context.Context // done when no annex may wait any more
	cutOff   context.CancelFunc
	taken    sync.Once // by another instance
	done     chan struct{}

	mu        sync.Mutex // of what follows
	started   bool       // the loops run, or did
	plan      *plan
	current   atomic.Pointer[plan] // the same, for relays
	relays    *relays
	listeners map[listenerKey]*listener // open
	nextID    int
	liveIDs   map[liveKey]int
	liveKeys  []liveKey
	handover  handover
}

type liveKey struct{ route, backend string }

// New makes a server for cfg and opens its listeners. Nothing is served before
// Start. Routes with problems are left out and logged.
func New(cfg *config.Config, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Driver == "" {
		o.Driver = loop.DefaultDriver()
	}
	s := &Server{
		options:   o,
		log:       o.Log,
		notes:     newNotes(o.Log),
		driver:    o.Driver,
		registry:  upstream.NewRegistry(o.Log),
		mirrors:   mirror.NewRegistry(),
		began:     time.Now(),
		done:      make(chan struct{}),
		listeners: map[listenerKey]*listener{},
		liveIDs:   map[liveKey]int{},
	}
	s.relays = &relays{server: s}
	s.ended, s.cutOff = context.WithCancel(context.Background())
	s.mirrors.Changed = s.noteBreaker
	s.liveID("", "")
	if err := s.open(cfg); err != nil {
		s.closeListeners(&plan{})
		s.release(false)
		return nil, err
	}
	return s, nil
}

// open makes the loops, the plan and the listeners.
func (s *Server) open(cfg *config.Config) error {
	n := cfg.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	for range n {
		l, err := loop.New(s.driver)
		if err != nil {
			return fmt.Errorf("make an event loop: %w", err)
		}
		s.workers = append(s.workers, newWorker(s, l))
	}
	p, problems := s.compile(cfg)
	s.logProblems(problems)
	inherited := s.inherit(cfg)
	if _, err := s.openListeners(cfg, inherited); err != nil {
		for _, group := range inherited {
			_ = group.Close() // they go on in the instance that they came from
		}
		s.handover.refuse()
		return err
	}
	s.index(p)
	s.plan = p
	s.current.Store(p)
	return nil
}

// noteBreaker is called on an event loop.
func (s *Server) noteBreaker(m *mirror.State, b mirror.BreakerState, pause time.Duration) {
	s.notes.add(func(log *slog.Logger) {
		switch b {
		case mirror.Open:
			log.Info("the shadow keeps failing: copies pause", "route", m.Route, "mirror", m.Name, "pause", pause.Round(time.Millisecond))
		case mirror.HalfOpen:
			log.Debug("one copy goes out to see whether the shadow is back", "route", m.Route, "mirror", m.Name)
		case mirror.Closed:
			log.Info("the shadow is back: copying again", "route", m.Route, "mirror", m.Name)
		}
	})
}

func (s *Server) logProblems(problems []route.Problem) {
	for _, p := range problems {
		s.log.Error("a part of the configuration is left out", "route", p.Route, "rule", p.Rule, "path", p.Path, "error", p.Message)
	}
}

// Start serves. It must be called once; it fails if the server was drained
// before.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return errDraining
	}
	s.started = true
	for _, w := range s.workers {
		w.use(s.plan)
		s.running.Go(w.loop.Run)
	}
	s.handover.announce()
	for _, ln := range s.listeners {
		s.accept(ln)
	}
	s.serveAnnexes()
	s.serving.Store(true)
	return nil
}

var errDraining = errors.New("the proxy is shutting down")

// Apply puts cfg in force, whole, and returns the routes that were left out.
// When it returns, every request that begins is served by cfg, and requests
// that had begun go on as they were. On an error nothing has changed. The
// number of workers is read at the start only.
func (s *Server) Apply(cfg *config.Config) ([]route.Problem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return nil, errDraining
	}
	fresh, err := s.openListeners(cfg, nil)
	if err != nil {
		s.closeListeners(s.plan)
		return nil, err
	}
	p, problems := s.compile(cfg)
	s.logProblems(problems)
	s.index(p)
	s.plan = p
	s.current.Store(p)
	s.closeListeners(p)
	s.reloads.Add(1)
	if !s.started {
		return problems, nil
	}
	for _, w := range s.workers {
		w.loop.Call(func() { w.adopt(p) })
	}
	for _, ln := range fresh {
		s.accept(ln)
	}
	s.serveAnnexes()
	return problems, nil
}

// liveID returns the row for the books of a route's requests to a backend.
// s.mu is held, or s is not shared yet.
func (s *Server) liveID(routeName, backend string) int {
	key := liveKey{routeName, backend}
	id, ok := s.liveIDs[key]
	if !ok {
		id = len(s.liveKeys)
		s.liveIDs[key] = id
		s.liveKeys = append(s.liveKeys, key)
	}
	return id
}

// Config returns the configuration in force.
func (s *Server) Config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.config
}

// Ready says whether new clients are welcome: after Start and until the
// server drains.
func (s *Server) Ready() bool { return s.serving.Load() && !s.draining.Load() }
