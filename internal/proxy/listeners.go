package proxy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// listener is an address that clients connect to. It stays the same, with the
// connections that wait in it, as long as the address is configured, under
// whatever name.
type listener struct {
	id    int    // dense, never used again
	name  string // in the configuration that had it last
	key   listenerKey
	group *loop.Group
	relay *relay // instead of group, of UDP

	terminator *terminator
	annex      Annex // of HTTP/3; nil if there is none
}

// addr is the bound address.
func (ln *listener) addr() netip.AddrPort {
	if ln.relay != nil {
		return ln.relay.addr
	}
	return ln.group.Addr()
}

// close takes no more clients. Sessions of UDP may end in their own time.
func (ln *listener) close() {
	if ln.relay != nil {
		ln.relay.retire()
		return
	}
	_ = ln.group.Close() // nobody is left who could act on it
}

// listenerKey tells listeners apart: by their network and address, or, if they
// let the system choose a port, also by name.
type listenerKey struct {
	udp           bool
	address, name string
}

func keyOf(def *config.Listener) listenerKey {
	key := listenerKey{udp: def.Protocol == "UDP", address: def.Address}
	if chosenPort(def.Address) {
		key.name = def.Name
	}
	return key
}

// chosenPort says whether the system chooses the port of address, so that two
// listeners with the same address are not the same.
func chosenPort(address string) bool { return strings.HasSuffix(address, ":0") }

// openListeners opens the listeners of cfg that are not open yet and returns
// them, also those that it opened before one failed. What it uses of inherited
// it takes out.
func (s *Server) openListeners(cfg *config.Config, inherited map[string]*loop.Group) (fresh []*listener, err error) {
	for i := range cfg.Listeners {
		def := &cfg.Listeners[i]
		key := keyOf(def)
		if ln := s.listeners[key]; ln != nil {
			if err := s.openAnnex(ln, def); err != nil {
				return fresh, fmt.Errorf("listener %s: HTTP/3: %w", def.Name, err)
			}
			continue
		}
		ln := &listener{id: s.nextID, name: def.Name, key: key, terminator: newTerminator()}
		if err := s.bind(ln, def, inherited); err != nil {
			return fresh, fmt.Errorf("listener %s: listen on %s: %w", def.Name, def.Address, err)
		}
		s.nextID++
		s.listeners[key] = ln
		fresh = append(fresh, ln)
		if err := s.openAnnex(ln, def); err != nil {
			return fresh, fmt.Errorf("listener %s: HTTP/3: %w", def.Name, err)
		}
	}
	return fresh, nil
}

// bind opens the sockets of ln, or takes those that it inherits.
func (s *Server) bind(ln *listener, def *config.Listener, inherited map[string]*loop.Group) (err error) {
	if def.Protocol == "UDP" {
		ln.relay, err = s.relays.open(ln, def.Address)
		return err
	}
	ln.group = inherited[def.Address]
	delete(inherited, def.Address)
	if ln.group == nil {
		ln.group, err = loop.Open(def.Address, len(s.workers), s.driver)
	}
	return err
}

// index fills in where the open listeners are in p's configuration. The last
// requests to one that moved to another address are served as those to its
// successor of the same name.
func (s *Server) index(p *plan) {
	p.places = make([]place, s.nextID)
	for i := range p.places {
		p.places[i].index = -1
	}
	byName := map[string]int{}
	for i := range p.config.Listeners {
		def := &p.config.Listeners[i]
		byName[def.Name] = i
		ln := s.listeners[keyOf(def)]
		ln.name = def.Name
		if def.Terminates() {
			ln.terminator.use(def.TLS)
		}
		at := place{index: i, open: true}
		if def.HTTP3 != nil && ln.annex != nil {
			at.altSvc = altSvc(ln.addr().Port())
		}
		p.places[ln.id] = at
	}
	for _, ln := range s.listeners {
		if i, ok := byName[ln.name]; ok && !p.places[ln.id].open {
			p.places[ln.id].index = i
		}
	}
}

// closeListeners closes the listeners that are not in p, and what beside them is not.
func (s *Server) closeListeners(p *plan) {
	for key, ln := range s.listeners {
		open := p.place(ln).open
		if !open || p.listener(ln).HTTP3 == nil {
			s.closeAnnex(ln)
		}
		if !open {
			s.handover.withdraw(ln)
			ln.close()
			delete(s.listeners, key)
		}
	}
}

// accept begins to take clients from ln.
func (s *Server) accept(ln *listener) {
	if ln.relay != nil {
		ln.relay.start()
		return
	}
	loops := make([]*loop.Loop, len(s.workers))
	byLoop := map[*loop.Loop]*worker{}
	for i, w := range s.workers {
		loops[i] = w.loop
		byLoop[w.loop] = w
	}
	ln.group.Accept(loops, func(l *loop.Loop, c *loop.Conn) loop.Handler {
		return byLoop[l].accept(c, ln)
	})
	if err := s.handover.offer(s, ln); err != nil {
		s.log.Info("another instance cannot take over from this one", "address", ln.key.address, "error", err)
	}
}

// Addrs returns the bound address of each listener by its name.
func (s *Server) Addrs() map[string]netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := map[string]netip.AddrPort{}
	for _, ln := range s.listeners {
		addrs[ln.name] = ln.addr()
	}
	return addrs
}
