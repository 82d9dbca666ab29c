package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
)

// Names are looked up again this often. A lookup that fails keeps the
// addresses of the one before.
const (
	resolveEvery   = 30 * time.Second
	resolveTimeout = 3 * time.Second
)

// Registry holds the backends of a proxy across configurations and keeps the
// addresses of named endpoints fresh. It is safe for many goroutines.
type Registry struct {
	log    *slog.Logger
	lookup func(ctx context.Context, address string) ([]netip.AddrPort, error)
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	backends  map[string]*Backend
	nextID    int
	nextEndID int
}

// NewRegistry returns an empty registry, which must be closed.
func NewRegistry(log *slog.Logger) *Registry {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registry{log: log, lookup: lookup, cancel: cancel, done: make(chan struct{}), backends: map[string]*Backend{}}
	go r.resolveLoop(ctx)
	return r
}

// Close stops looking up names.
func (r *Registry) Close() {
	r.cancel()
	<-r.done
}

// Update makes defs the backends in force. Endpoints that stay keep their
// health and connections. It waits for the names of new endpoints, each for at
// most a few seconds, while what was in force stays so; one that has no address
// is logged, and calls to it fail as refused connections do until it has.
func (r *Registry) Update(defs []config.Backend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	backends := map[string]*Backend{}
	next := map[*Backend][]*Endpoint{}
	var fresh []*Endpoint
	for i := range defs {
		def := &defs[i]
		b := r.backends[def.Name]
		if b == nil {
			b = &Backend{Name: def.Name, id: r.nextID}
			b.def.Store(def)
			b.endpoints.Store(&[]*Endpoint{})
			r.nextID++
		}
		backends[def.Name] = b
		var added []*Endpoint
		next[b], added = r.match(b, def)
		fresh = append(fresh, added...)
	}
	r.resolve(context.Background(), fresh)
	for i := range defs {
		b := backends[defs[i].Name]
		b.def.Store(&defs[i])
		endpoints := next[b]
		retire(b.Endpoints(), endpoints)
		b.endpoints.Store(&endpoints)
	}
	for name, b := range r.backends {
		if backends[name] == nil {
			retire(b.Endpoints(), nil)
		}
	}
	r.backends = backends
}

// match returns an endpoint of b for each address of def, and those of them that
// are new: also those that are reached by TLS in another way than before, so that
// no connection of old is used.
func (r *Registry) match(b *Backend, def *config.Backend) (endpoints, fresh []*Endpoint) {
	old := b.Endpoints()
	for _, address := range def.Endpoints {
		i := slices.IndexFunc(old, func(e *Endpoint) bool { return e.Address == address && e.def.Same(def.TLS) })
		if i >= 0 {
			endpoints = append(endpoints, old[i])
			continue
		}
		e := &Endpoint{Backend: b, Address: address, id: r.nextEndID, tls: clientConfig(def.TLS, address), def: def.TLS}
		e.addrs.Store(&[]netip.AddrPort{})
		r.nextEndID++
		endpoints = append(endpoints, e)
		fresh = append(fresh, e)
	}
	return endpoints, fresh
}

// retire marks those of the endpoints that are not in keep as gone.
func retire(endpoints, keep []*Endpoint) {
	for _, e := range endpoints {
		if !slices.Contains(keep, e) {
			e.gone.Store(true)
		}
	}
}

// Get returns the backend of that name, or nil.
func (r *Registry) Get(name string) *Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backends[name]
}

// All returns the backends in force in order of their names.
func (r *Registry) All() []*Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Backend, 0, len(r.backends))
	for _, b := range r.backends {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *Backend) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func (r *Registry) resolveLoop(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			var named []*Endpoint
			for _, b := range r.All() {
				for _, e := range b.Endpoints() {
					if _, err := netip.ParseAddrPort(e.Address); err != nil {
						named = append(named, e)
					}
				}
			}
			r.resolve(ctx, named)
		}
	}
}

// resolve looks up all endpoints at once and waits.
func (r *Registry) resolve(ctx context.Context, endpoints []*Endpoint) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var wait sync.WaitGroup
	for _, e := range endpoints {
		if addr, err := netip.ParseAddrPort(e.Address); err == nil {
			e.addrs.Store(&[]netip.AddrPort{addr})
			continue
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			addrs, err := r.lookup(ctx, e.Address)
			if err != nil {
				r.log.Error("no address for endpoint", "backend", e.Backend.Name, "endpoint", e.Address, "error", err)
				return
			}
			e.addrs.Store(&addrs)
		}()
	}
	wait.Wait()
}

// lookup returns the addresses of host:port, IPv4 first: of a name with both
// families, a server that listens on one of them most often has that one.
func lookup(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return addrs, nil
}
