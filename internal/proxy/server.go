package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/mirror"
	"github.com/understudy-proxy/understudy/internal/route"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// copyMemory bounds the bytes that the copies of all mirrors hold together.
const copyMemory = 256 << 20

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
	// Takeover asks a running instance on the same addresses for its
	// listeners, so that no connection is lost when one replaces the other. With
	// none running, or on systems other than Linux, listeners are opened anew.
	Takeover bool
	// TakenOver, if not nil, is called when another instance has taken over and
	// this one begins to drain.
	TakenOver func()
}

// Server is a running proxy. Its methods are safe for many goroutines, but not
// from the goroutine of an event loop.
type Server struct {
	options  Options
	log      *slog.Logger
	driver   loop.Driver
	registry *upstream.Registry
	mirrors  *mirror.Registry
	workers  []*worker
	running  sync.WaitGroup
	started  time.Time
	reloads  atomic.Uint64
	serving  atomic.Bool
	draining atomic.Bool
	done     chan struct{}
	stop     sync.Once

	mu        sync.Mutex // of what follows
	plan      *plan
	listeners map[listenerKey]*listener // open
	nextID    int
	liveIDs   map[liveKey]int
	liveKeys  []liveKey
	handover  *handover
	// predecessors are connections to the instance that we take over from.
	predecessors []net.Conn
}

// listener is an address that clients connect to.
type listener struct {
	id    int // dense, never used again
	name  string
	group *loop.Group
}

type listenerKey struct{ name, address string }

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
		driver:    o.Driver,
		registry:  upstream.NewRegistry(o.Log),
		mirrors:   mirror.NewRegistry(copyMemory),
		started:   time.Now(),
		done:      make(chan struct{}),
		listeners: map[listenerKey]*listener{},
		liveIDs:   map[liveKey]int{},
	}
	s.mirrors.Changed = s.logBreaker
	s.liveID("", "")
	if err := s.open(cfg); err != nil {
		s.registry.Close()
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
		s.workers = append(s.workers, newWorker(s, l, s.log))
	}
	p, problems, err := s.compile(cfg)
	if err != nil {
		return err
	}
	s.logProblems(problems)
	inherited := s.inherit(cfg)
	if _, err := s.openListeners(cfg, inherited); err != nil {
		s.closeListeners(&plan{})
		return err
	}
	s.index(p)
	s.plan = p
	return nil
}

// logBreaker is called on an event loop, which must not wait for a log.
func (s *Server) logBreaker(m *mirror.State, b mirror.BreakerState, pause time.Duration) {
	go func() {
		switch b {
		case mirror.Open:
			s.log.Info("the shadow keeps failing: copies pause", "route", m.Route, "mirror", m.Name, "pause", pause.Round(time.Millisecond))
		case mirror.HalfOpen:
			s.log.Debug("one copy goes out to see whether the shadow is back", "route", m.Route, "mirror", m.Name)
		case mirror.Closed:
			s.log.Info("the shadow is back: copying again", "route", m.Route, "mirror", m.Name)
		}
	}()
}

func (s *Server) logProblems(problems []route.Problem) {
	for _, p := range problems {
		s.log.Error("route left out", "route", p.Route, "rule", p.Rule, "path", p.Path, "error", p.Message)
	}
}

// openListeners opens the listeners of cfg that are not open yet and returns
// them, also those that it opened before one failed.
func (s *Server) openListeners(cfg *config.Config, inherited map[string]*loop.Group) (fresh []*listener, err error) {
	for _, def := range cfg.Listeners {
		key := listenerKey{def.Name, def.Address}
		if s.listeners[key] != nil {
			continue
		}
		group := inherited[def.Address]
		if group == nil {
			if group, err = loop.Open(def.Address, len(s.workers), s.driver); err != nil {
				err = fmt.Errorf("listener %s: listen on %s: %w", def.Name, def.Address, err)
				break
			}
		}
		ln := &listener{id: s.nextID, name: def.Name, group: group}
		s.nextID++
		s.listeners[key] = ln
		fresh = append(fresh, ln)
	}
	return fresh, err
}

// index fills in which listener has which place in p's configuration.
func (s *Server) index(p *plan) {
	p.listeners = make([]int, s.nextID)
	for i := range p.listeners {
		p.listeners[i] = -1
	}
	for i, def := range p.config.Listeners {
		p.listeners[s.listeners[listenerKey{def.Name, def.Address}].id] = i
	}
}

// Start serves. It must be called once.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workers {
		w.plan = s.plan
		w.up.Limits, w.up.Intake = s.plan.limits, w.intake
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			w.loop.Run()
		}()
	}
	for _, ln := range s.listeners {
		s.accept(ln)
	}
	if err := s.offerHandover(); err != nil {
		s.log.Info("another instance cannot take over from this one", "error", err)
	}
	s.serving.Store(true)
	return nil
}

// accept begins to take clients from ln.
func (s *Server) accept(ln *listener) {
	loops := make([]*loop.Loop, len(s.workers))
	byLoop := map[*loop.Loop]*worker{}
	for i, w := range s.workers {
		loops[i] = w.loop
		byLoop[w.loop] = w
	}
	ln.group.Accept(loops, func(l *loop.Loop, c *loop.Conn) loop.Handler {
		return byLoop[l].accept(c, ln)
	})
}

// Apply puts cfg in force, whole, and returns the routes that were left out.
// When it returns, every request that begins is served by cfg, and requests
// that had begun go on as they were. On an error nothing has changed. The
// number of workers is read at the start only.
func (s *Server) Apply(cfg *config.Config) ([]route.Problem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return nil, errors.New("the proxy is shutting down")
	}
	fresh, err := s.openListeners(cfg, nil)
	if err != nil {
		s.closeListeners(s.plan)
		return nil, err
	}
	p, problems, err := s.compile(cfg)
	if err != nil {
		s.closeListeners(s.plan)
		return problems, err
	}
	s.logProblems(problems)
	s.index(p)
	s.plan = p
	s.closeListeners(p)
	for _, w := range s.workers {
		w.loop.Call(func() { w.adopt(p) })
	}
	for _, ln := range fresh {
		s.accept(ln)
	}
	s.reloads.Add(1)
	return problems, nil
}

// closeListeners closes the listeners that are not in p.
func (s *Server) closeListeners(p *plan) {
	for key, ln := range s.listeners {
		if ln.id >= len(p.listeners) || p.listeners[ln.id] < 0 {
			ln.group.Close()
			delete(s.listeners, key)
		}
	}
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

// Addrs returns the bound address of each listener by its name.
func (s *Server) Addrs() map[string]netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := map[string]netip.AddrPort{}
	for _, ln := range s.listeners {
		addrs[ln.name] = ln.group.Addr()
	}
	return addrs
}

// Ready says whether new clients are welcome: after Start and until the
// server drains.
func (s *Server) Ready() bool { return s.serving.Load() && !s.draining.Load() }

// Done is closed when the server has ended: after Drain, or when another
// instance took over and the last client has gone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Drain ends the server: it takes no new clients, answers with Connection:
// close, waits for live requests and then for copies, each for as long as the
// configuration or ctx allows, and cuts off what is left. Calling it again
// waits for the first call.
func (s *Server) Drain(ctx context.Context) error {
	s.stop.Do(func() { s.drain(ctx) })
	<-s.done
	return nil
}

// drain does what Drain says. Listeners that another instance shares are
// closed on our side only.
func (s *Server) drain(ctx context.Context) {
	s.draining.Store(true)
	s.mu.Lock()
	cfg := s.plan.config
	for _, ln := range s.listeners {
		ln.group.Close()
	}
	if s.handover != nil {
		s.handover.close()
	}
	s.mu.Unlock()
	live, cancel := context.WithTimeout(ctx, orLong(cfg.Shutdown.Drain))
	defer cancel()
	s.drainWorkers(live)
	copies, cancelCopies := context.WithTimeout(ctx, orLong(cfg.Shutdown.Copies))
	defer cancelCopies()
	s.drainCopies(copies)
	for _, w := range s.workers {
		w.loop.Stop()
	}
	s.running.Wait()
	s.registry.Close()
	close(s.done)
}

// orLong turns a timeout into one for a context: off is a day.
func orLong(t config.Timeout) time.Duration {
	if t < 0 {
		return 24 * time.Hour
	}
	return time.Duration(t)
}

// drainWorkers waits for the clients of all workers, and then cuts them off.
func (s *Server) drainWorkers(ctx context.Context) {
	gone := make(chan struct{}, len(s.workers))
	for _, w := range s.workers {
		w.loop.Post(func() { w.drain(func() { gone <- struct{}{} }) })
	}
	for range s.workers {
		select {
		case <-gone:
		case <-ctx.Done():
			for _, w := range s.workers {
				w.loop.Call(w.abort)
			}
			return
		}
	}
}

// drainCopies waits for the copies of all workers, and then drops them.
func (s *Server) drainCopies(ctx context.Context) {
	const look = 10 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for s.copiesInFlight() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for _, w := range s.workers {
		w.loop.Call(w.copies.Shutdown)
	}
}

func (s *Server) copiesInFlight() (n int) {
	for _, w := range s.workers {
		w.loop.Call(func() { n += w.copies.InFlight() })
	}
	return n
}
