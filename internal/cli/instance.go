package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/internal/accesslog"
	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/http3"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/sqlite"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// instance is a running proxy with what belongs to it: the pipeline that looks at
// what mirrors compare, its recording, its access log and its admin server, which a
// configuration may turn on and off.
type instance struct {
	options instanceOptions
	server  *proxy.Server
	pairs   *analyze.Pipeline
	store   store.Store // what pairs learns; nil = memory only
	heir    *heir       // of the store that another instance still has; nil = nobody waits for it
	record  *recorder
	access  *accesslog.Log
	refused atomic.Uint64 // configurations

	mu      sync.Mutex
	admin   *admin.Server // nil = off
	retired chan struct{} // closed when another instance takes over
	once    sync.Once
}

// instanceOptions are what cannot change while an instance runs.
type instanceOptions struct {
	log      *slog.Logger
	stdout   io.Writer // for an access log called "-"
	driver   loop.Driver
	pprof    bool
	takeover bool
	data     string         // directory of what is kept over restarts; empty = nothing is
	takers   []traffic.Sink // of captured exchanges, redacted: see [analyze.Options]
}

// flushTime is how long the end waits for the access log's disk.
const flushTime = 2 * time.Second

// startInstance serves cfg. The caller must drain what it gets.
func startInstance(cfg *config.Config, o instanceOptions) (*instance, error) {
	if err := refuseShared(cfg, o); err != nil {
		return nil, err
	}
	i := &instance{options: o, retired: make(chan struct{})}
	var err error
	if i.access, err = accesslog.Open(cfg.AccessLog.Path, accesslog.Options{Stdout: o.stdout, Log: o.log}); err != nil {
		return nil, err
	}
	i.record = &recorder{log: o.log, wait: o.takeover}
	if err := i.record.apply(cfg.Record); err != nil {
		return nil, errors.Join(err, i.closeAccessLog())
	}
	if err := i.openPairs(cfg); err != nil {
		return nil, errors.Join(err, i.record.close(), i.closeAccessLog())
	}
	i.server, err = proxy.New(cfg, proxy.Options{
		Driver: o.driver, Log: o.log, Sinks: []traffic.Sink{i.access}, Capture: i.pairs, Takeover: o.takeover, TakenOver: i.retire, HTTP3: http3.Open,
	})
	if err != nil {
		return nil, errors.Join(err, i.closePairs(context.Background()), i.record.close(), i.closeAccessLog())
	}
	// Everything that can fail does so before Start: from then on a running
	// instance that this one takes over from is gone.
	late := false
	i.admin, err = i.listenAdmin(cfg.Admin)
	if o.takeover && errors.Is(err, syscall.EADDRINUSE) {
		late, err = true, nil
	}
	if err == nil {
		err = i.server.Start()
	}
	if err != nil {
		return nil, errors.Join(err, i.drain(context.Background()))
	}
	if late {
		i.inheritAdmin(cfg.Admin)
	}
	return i, nil
}

// openPairs starts the pipeline, with a store if there is a directory for one.
func (i *instance) openPairs(cfg *config.Config) error {
	o := i.options
	if o.data != "" {
		s, err := sqlite.Open(context.Background(), o.data)
		switch {
		case err == nil:
			i.store = s
		case o.takeover && errors.Is(err, store.ErrLocked):
			i.heir = &heir{dir: o.data, log: o.log}
		default:
			return fmt.Errorf("open --data %s: %w", o.data, err)
		}
	}
	var err error
	i.pairs, err = analyze.New(cfg, analyze.Options{Log: o.log, Store: i.store, Takers: append([]traffic.Sink{i.record}, o.takers...)})
	if err != nil && i.store != nil {
		err = errors.Join(err, i.store.Close())
	}
	if err == nil && i.heir != nil {
		i.heir.begin(i.pairs)
	}
	return err
}

// refuseShared finds listeners whose address is taken. Event loops share an
// address among each other, and the system would let two instances of one user
// share it too: each would get a part of the clients, and nobody would know.
func refuseShared(cfg *config.Config, o instanceOptions) error {
	if o.takeover {
		return nil
	}
	for _, def := range cfg.Listeners {
		l, err := occupy(&def)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listener %s: %w (--takeover replaces a running instance)", def.Name, err)
		}
		if err == nil {
			l.Close()
		}
	}
	return nil
}

// occupy listens like def, but without company.
func occupy(def *config.Listener) (io.Closer, error) {
	if def.Protocol == "UDP" {
		return net.ListenPacket("udp", def.Address)
	}
	return net.Listen("tcp", def.Address)
}

// inheritAdmin waits for the instance that was taken over to let go of the admin
// address. If somebody else has it, requests are served all the same.
func (i *instance) inheritAdmin(c config.Admin) {
	const patience, pause = 5 * time.Second, 20 * time.Millisecond
	s, err := i.listenAdmin(c)
	for waited := time.Duration(0); errors.Is(err, syscall.EADDRINUSE) && waited < patience; waited += pause {
		time.Sleep(pause)
		s, err = i.listenAdmin(c)
	}
	if err != nil {
		i.options.log.Error("serving without an admin address; the next reload tries again", slog.Any("error", err))
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.retired:
		i.shutdownAdmin(s)
	default:
		i.admin = s
	}
}

// listenAdmin starts an admin server, or none.
func (i *instance) listenAdmin(c config.Admin) (*admin.Server, error) {
	if c.Address == "" {
		return nil, nil
	}
	return admin.Listen(c, i, admin.Options{Log: i.options.log, Pprof: i.options.pprof, Pairs: i.pairs, Calibrator: i.pairs})
}

// Config implements admin.Proxy.
func (i *instance) Config() *config.Config { return i.server.Config() }

// Ready implements admin.Proxy.
func (i *instance) Ready() bool { return i.server.Ready() }

// Snapshot implements admin.Proxy.
func (i *instance) Snapshot() *telemetry.Snapshot {
	s := i.server.Snapshot()
	s.ReloadsFailed = i.refused.Load()
	s.AccessLog = i.access.Counts()
	s.Recording = i.record.counts()
	return s
}

// adminURL is where the admin server is, empty if it is off.
func (i *instance) adminURL() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.admin == nil {
		return ""
	}
	return i.admin.URL()
}

// apply puts cfg in force whole, or changes nothing.
func (i *instance) apply(cfg *config.Config) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.Config()
	next := i.admin
	if cfg.Admin.Address != before.Admin.Address || i.admin == nil {
		var err error
		if next, err = i.listenAdmin(cfg.Admin); err != nil {
			return err
		}
	}
	if err := i.applyBelow(before, cfg); err != nil {
		if next != i.admin {
			i.shutdownAdmin(next)
		}
		return err
	}
	if next != i.admin {
		i.shutdownAdmin(i.admin)
		i.admin = next
	}
	if cfg.Workers != before.Workers {
		i.options.log.Warn("the number of workers changes with the next start only", slog.Int("workers", cfg.Workers))
	}
	return nil
}

func (i *instance) applyBelow(before, cfg *config.Config) error {
	if err := i.access.Apply(cfg.AccessLog.Path); err != nil {
		return err
	}
	if err := i.record.apply(cfg.Record); err != nil {
		return errors.Join(err, i.access.Apply(before.AccessLog.Path))
	}
	if err := i.pairs.Apply(cfg); err != nil {
		return errors.Join(err, i.record.apply(before.Record), i.access.Apply(before.AccessLog.Path))
	}
	if _, err := i.server.Apply(cfg); err != nil {
		return errors.Join(err, i.pairs.Apply(before), i.record.apply(before.Record), i.access.Apply(before.AccessLog.Path))
	}
	return nil
}

// retire lets go of the admin address: another instance has taken over, and
// operators now ask that one.
func (i *instance) retire() {
	i.once.Do(func() {
		close(i.retired)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.shutdownAdmin(i.admin)
		i.admin = nil
	})
}

// drain ends the instance as [proxy.Server.Drain] does, and what belongs to it.
func (i *instance) drain(ctx context.Context) error {
	err := errors.Join(i.server.Drain(ctx), i.closePairs(ctx))
	i.mu.Lock()
	defer i.mu.Unlock()
	i.shutdownAdmin(i.admin)
	i.admin = nil
	return errors.Join(err, i.record.close(), i.closeAccessLog())
}

// closePairs looks at what was captured last, within what ctx leaves of the time
// for draining. What was learned is saved, however little that is.
func (i *instance) closePairs(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > flushTime {
		deadline = time.Now().Add(flushTime)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if i.heir != nil {
		i.store = i.heir.end()
	}
	err := i.pairs.Close(ctx)
	if i.store != nil {
		err = errors.Join(err, i.store.Close())
	}
	return err
}

func (i *instance) closeAccessLog() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	return i.access.Close(ctx)
}

// shutdownAdmin cuts off whoever is still being answered: a slow reader of a
// status must not hold up the end.
func (i *instance) shutdownAdmin(s *admin.Server) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		i.options.log.Debug("admin server", slog.Any("error", err))
	}
}

// reload reads, checks and applies a configuration, and says what came of it.
// A configuration that cannot be used changes nothing.
func (i *instance) reload(read func() (*config.Config, error)) {
	log := i.options.log
	cfg, err := read()
	if err == nil {
		err = i.apply(cfg)
	}
	if err == nil {
		log.Info("configuration is in force", slog.String("version", cfg.Version))
		i.warn(cfg)
		return
	}
	i.refused.Add(1)
	var problems config.Errors
	if !errors.As(err, &problems) {
		log.Error("configuration refused, nothing has changed", slog.Any("error", err))
		return
	}
	for _, p := range problems {
		log.Error("configuration refused, nothing has changed", slog.String("problem", p.Error()))
	}
}

// warn says what is in force and probably not meant.
func (i *instance) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		i.options.log.Warn("look at the configuration", slog.String("warning", w.Error()))
	}
}

// reopen continues the access log in a new file, after a rotation.
func (i *instance) reopen() {
	if err := i.access.Reopen(); err != nil {
		i.options.log.Error("access log stays in its old file", slog.Any("error", err))
	}
}

// serverLine says in a few words what serves.
func serverLine(s *telemetry.Snapshot) string {
	return fmt.Sprintf("understudy %s, %s on %s, configuration %s", telemetry.ReadBuild().Version, s.Driver, plural(s.Loops, "loop"), s.Config)
}
