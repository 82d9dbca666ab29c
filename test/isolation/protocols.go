//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/peers"
)

func protocolNames() []string {
	var names []string
	for _, p := range peers.Protocols() {
		names = append(names, p.Name)
	}
	return names
}

// protocolShadows lists every shadow that some protocol is tried with.
func protocolShadows() []string {
	names := []string{healthyShadow}
	for _, p := range peers.Protocols() {
		for _, s := range p.Shadows {
			if !slices.Contains(names, s) {
				names = append(names, s)
			}
		}
	}
	return names
}

// measureProtocols runs what -protocols asks for: one suite for each protocol,
// in one result.
func measureProtocols(ctx context.Context, r recipe, o options, progress io.Writer) (*result, error) {
	names, err := pick(o.loads, protocolNames())
	if err != nil {
		return nil, err
	}
	shadows, err := pick(o.shadows, protocolShadows())
	if err != nil {
		return nil, err
	}
	all := &result{Proxy: r.name, Started: time.Now(), Rounds: o.rounds, Round: o.duration, Targets: defaultTargets()}
	all.Targets.Memory = o.memory << 20
	watch := watchMachine()
	for _, p := range peers.Protocols() {
		if !slices.Contains(names, p.Name) {
			continue
		}
		speaking, err := r.speaking(p)
		if err != nil {
			return nil, err
		}
		kind := kindOfLoad{name: p.Name, drive: p.Drive}
		if p.Connections {
			kind.unasked = 1 // of the connection that saw the proxy listen
		}
		these := slices.DeleteFunc(append([]string{healthyShadow}, p.Shadows...), func(s string) bool { return !slices.Contains(shadows, s) })
		s := &suite{recipe: speaking, protocol: p, rounds: o.rounds, duration: o.duration, targets: all.Targets, progress: progress}
		cells, err := s.cells(ctx, these, []kindOfLoad{kind})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		all.Cells = append(all.Cells, cells...)
	}
	all.Took = time.Since(all.Started)
	all.Machine = watch()
	return all, nil
}

// speaking is the recipe for a proxy that is to speak p. A command finds p's
// name in its template; of the ready proxies only Understudy knows them all.
func (r recipe) speaking(p *peers.Protocol) (recipe, error) {
	r.wire = p.Name
	if !slices.Contains(readyNames(), r.name) {
		return r, nil
	}
	if r.name != "understudy" {
		return r, fmt.Errorf("-protocols measures understudy or a command, not %s", r.name)
	}
	if !p.Connections {
		return r, nil
	}
	text, err := templates.ReadFile("templates/understudy-tcp.yaml.tmpl")
	r.config = string(text)
	return r, err
}

// reportTemplate names the template of the report.
func (o options) reportTemplate() string {
	if o.protocols {
		return "protocols.md.tmpl"
	}
	return "report.md.tmpl"
}
