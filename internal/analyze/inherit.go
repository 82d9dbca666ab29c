package analyze

import (
	"context"
	"errors"
	"maps"

	"github.com/understudy-proxy/understudy/internal/store"
)

// Inherited is what [Pipeline.Keep] has found.
type Inherited struct {
	Before    int64 // pairs that the store knew of
	Meanwhile int64 // pairs that were seen until then, and are added to them
	Forgotten int64 // pairs that were seen until then, and are of no use: without a calibration that the store has
}

// Keep has what is learned be kept in s from now on, of a pipeline that was made
// without a store because another process still had it. What was saved is taken up,
// and what was learned meanwhile is added. The store is the caller's to close, after the
// pipeline; an error means that it is not used, and changes nothing.
func (p *Pipeline) Keep(s store.Store) (Inherited, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.store != nil {
		return Inherited{}, errors.New("there is a store already")
	}
	p.store = s
	own := maps.Clone(p.calibrated)
	before, err := p.saved()
	if err == nil && len(own) > 0 {
		err = p.saveCalibrations()
	}
	if err != nil {
		p.store, p.calibrated = nil, own
		return Inherited{}, err
	}
	var all Inherited
	for l, m := range p.mirrors {
		pairs := m.everywhere.Errors.Total.Pairs
		if c := p.calibrated[l]; c != nil && m.calibration != c {
			if err := m.allowFor(c); err != nil {
				return all, err // the templates that are given were good before
			}
			all.Forgotten += pairs
			pairs = 0
		}
		switch b := before[l]; {
		case b == nil, m.wipe: // it was reset
		case b.wipe:
			m.wipe = true // it was saved for other settings
		default:
			all.Before += b.everywhere.Errors.Total.Pairs
			m.inherit(b)
		}
		all.Meanwhile += pairs
	}
	p.unsaved = true // all of it is new to the store
	return all, nil
}

// saved loads what the store has of the mirrors that there are, and calibrations for
// those without one. It changes nothing else.
func (p *Pipeline) saved() (map[label]*mirror, error) {
	own := maps.Clone(p.calibrated)
	if err := p.loadCalibrations(); err != nil {
		return nil, err
	}
	maps.Copy(p.calibrated, own) // which are newer
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	before := make(map[label]*mirror)
	for l, m := range p.mirrors {
		b := &mirror{label: l, way: m.way, params: m.params}
		if err := b.allowFor(p.calibrated[l]); err != nil {
			return nil, err
		}
		if err := b.load(ctx, p.store); err != nil {
			return nil, err
		}
		before[l] = b
	}
	return before, nil
}

// inherit takes up what another process has learned of the same mirror, and adds to
// that what m has learned since. The other is of no use afterwards.
func (m *mirror) inherit(before *mirror) {
	mine := m.endpoints
	if before.since.Before(m.since) {
		m.since = before.since
	}
	if m.primary == "" {
		m.primary = before.primary
	}
	// They were made with the same limits, or the settings would not be the same.
	_ = before.everywhere.Merge(m.everywhere)
	m.everywhere = before.everywhere
	before.templates.Merge(m.templates)
	m.templates, m.endpoints = before.templates, before.endpoints
	before.clusters.inherit(m)
	for name, e := range mine {
		known := m.endpoints[name]
		if known == nil {
			m.endpoints[name] = e
			continue
		}
		known.absorb(e)
		known.minutes = e.minutes
		m.release(known)
	}
	for from, to := range m.templates.Renamed() {
		m.merge(from, to)
	}
	m.changed = true
}

// inherit takes over the clusters of m, and their examples as far as there is room.
func (c *clusters) inherit(m *mirror) {
	mine := m.clusters
	c.mirror, m.clusters = m, c
	for _, k := range mine.all {
		key := keyOf(k.Endpoint, k.Signature)
		known := c.exact[key]
		switch {
		case known == nil && len(c.all) < mostClusters:
			c.all = append(c.all, k)
			c.exact[key] = k
			c.takeExamples(k, mine)
			continue
		case known == nil:
			known = c.others()
		}
		known.add(k)
		if room := mostExamples - len(known.Examples); room > 0 && known.ID == k.ID {
			k.Examples = k.Examples[:min(room, len(k.Examples))]
			known.Examples = append(known.Examples, k.Examples...)
			c.takeExamples(k, mine)
		}
	}
}

// takeExamples takes those of k over.
func (c *clusters) takeExamples(k *cluster, from *clusters) {
	for _, x := range k.Examples {
		c.pairs[x.ID] = from.pairs[x.ID]
	}
}

// add counts the pairs of another cluster of that signature.
func (k *cluster) add(other *cluster) {
	if severity[other.Class] < severity[k.Class] {
		k.Class = other.Class
	}
	if k.First.IsZero() || other.First.Before(k.First) {
		k.First = other.First
	}
	if other.Last.After(k.Last) {
		k.Last = other.Last
	}
	k.Count += other.Count
	k.changed = true
}
