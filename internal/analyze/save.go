package analyze

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/store"
)

// Layout of what is saved: with another number it is not read, and learning begins
// anew.
const savedVersion = 1

const (
	saveTime   = 10 * time.Second // that a store may take
	keptMinute = "1m"             // the name of rollups
	keptFor    = 30 * 24 * time.Hour
	metaMirror = "mirror"
)

// savedMirror is what is saved of a mirror besides its endpoints and clusters.
type savedMirror struct {
	Version   int              `json:"version"`
	Print     string           `json:"print"`
	Primary   string           `json:"primary"`
	Since     time.Time        `json:"since"`
	Templates *judge.Templates `json:"templates"`
	Held      []savedHeld      `json:"held,omitempty"` // at an orderly end; whatever is saved next does without
}

// savedEndpoint is an endpoint; its places are saved apart.
type savedEndpoint struct {
	Version int `json:"version"`
	*endpoint
	Places *struct{} `json:"places,omitempty"`
}

// minute is what happened at an endpoint in one.
type minute struct {
	Start   time.Time               `json:"-"`
	Classes map[compare.Class]int64 `json:"classes"`
}

// roll counts a pair in its minute.
func (e *endpoint) roll(class compare.Class, now time.Time) {
	const most = 16 // minutes that wait to be saved
	start := now.Truncate(time.Minute)
	last := len(e.minutes) - 1
	if last < 0 || e.minutes[last].Start.Before(start) {
		if last+1 >= most {
			e.minutes = slices.Delete(e.minutes, 0, 1)
		}
		e.minutes = append(e.minutes, minute{start, map[compare.Class]int64{}})
		last = len(e.minutes) - 1
	}
	e.minutes[last].Classes[class]++
}

// save saves what has changed, if there is a store, and at last the pairs that are
// held. What cannot be saved is tried again with all the rest.
func (p *Pipeline) save(last bool) {
	if p.options.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	p.mu.Lock()
	all := p.unsaved
	var batch store.Batch
	var wiped []string
	for _, m := range p.sorted() {
		if m.wipe {
			wiped = append(wiped, m.label.String())
			m.wipe = false
		}
		m.ended, m.changed = last, m.changed || last
		m.save(&batch, all)
	}
	p.mu.Unlock()
	err := p.wipe(ctx, wiped)
	if err == nil && len(batch.Put)+len(batch.Delete) > 0 {
		err = p.options.Store.Save(ctx, batch)
	}
	if err == nil && time.Since(p.pruned) > time.Hour {
		p.pruned = time.Now()
		_, err = p.options.Store.Prune(ctx, store.Rollups, time.Now().Add(-keptFor))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !all {
		p.options.Log.Error("what was learned of pairs cannot be saved; it is tried again", slog.Any("error", err))
	}
	p.unsaved = err != nil
	for _, m := range p.mirrors {
		m.wipe = m.wipe || err != nil && slices.Contains(wiped, m.label.String())
	}
}

// wipe deletes what was saved of mirrors that were forgotten, all but what happened
// when.
func (p *Pipeline) wipe(ctx context.Context, labels []string) error {
	var batch store.Batch
	for _, l := range labels {
		for _, t := range store.Tables {
			if t == store.Rollups {
				continue
			}
			found, err := p.options.Store.Load(ctx, store.Filter{Table: t, Mirror: l})
			if err != nil {
				return err
			}
			batch.Delete = append(batch.Delete, found...)
		}
	}
	if len(batch.Delete) == 0 {
		return nil
	}
	return p.options.Store.Save(ctx, batch)
}

// save adds what has changed to a batch.
func (m *mirror) save(b *store.Batch, all bool) {
	l, now := m.label.String(), time.Now()
	if !all && !m.changed {
		return
	}
	saved := savedMirror{Version: savedVersion, Print: m.print, Primary: m.primary, Since: m.since, Templates: m.templates}
	if m.ended {
		saved.Held = m.saveHeld()
	}
	m.changed = false
	put := func(e store.Entry, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			return // nothing in it can fail
		}
		e.Mirror, e.Value = l, value
		if e.Time.IsZero() {
			e.Time = now
		}
		b.Put = append(b.Put, e)
	}
	put(store.Entry{Table: store.Meta, Name: metaMirror}, saved)
	put(store.Entry{Table: store.Tallies, Endpoint: judge.Everywhere, Count: m.everywhere.Errors.Total.Pairs}, m.everywhere)
	for _, name := range m.merged {
		b.Delete = append(b.Delete, store.Entry{Table: store.Tallies, Mirror: l, Endpoint: name})
	}
	m.merged = nil
	for _, name := range slices.Sorted(maps.Keys(m.endpoints)) {
		e := m.endpoints[name]
		if !all && !e.changed {
			continue
		}
		e.changed = false
		put(store.Entry{Table: store.Tallies, Endpoint: name, Count: e.Pairs}, savedEndpoint{Version: savedVersion, endpoint: e})
		for _, p := range e.Places {
			if sum := p.sum(); all || sum != p.saved {
				p.saved = sum
				put(store.Entry{Table: store.Noise, Endpoint: name, Name: p.Path + " " + string(p.Kind), Title: p.Why, Class: string(p.Standing), Count: p.Seen}, p)
			}
		}
		for _, r := range e.minutes {
			put(store.Entry{Table: store.Rollups, Endpoint: name, Name: keptMinute, Time: r.Start}, r)
		}
		e.minutes = e.minutes[max(len(e.minutes)-1, 0):]
	}
	m.clusters.save(b, put, all)
}

// sum changes with whatever there is to be saved.
func (p *place) sum() int64 {
	return p.Seen + p.Asked + p.Disagreed + p.Repeats + p.Live + p.Drifts + p.Stayed + p.Values.Seen + int64(len(p.Standing))<<40
}

func (c *clusters) save(b *store.Batch, put func(store.Entry, any), all bool) {
	for _, k := range c.all {
		if all || k.changed {
			k.changed = false
			put(store.Entry{Table: store.Clusters, Endpoint: k.Endpoint, Name: k.ID, Class: string(k.Class), Title: k.Title, Count: k.Count, First: k.First, Time: k.Last}, k)
		}
	}
	for _, id := range c.gone {
		b.Delete = append(b.Delete, store.Entry{Table: store.Pairs, Mirror: c.mirror.label.String(), Name: id})
	}
	fresh := c.fresh
	if all {
		fresh = slices.SortedFunc(maps.Values(c.pairs), func(a, b *Pair) int { return strings.Compare(a.ID, b.ID) })
	}
	for _, p := range fresh {
		put(store.Entry{Table: store.Pairs, Name: p.ID, Parent: p.Cluster, Class: string(p.Class), Count: 1, Time: p.Time}, p)
	}
	c.fresh, c.gone = nil, nil
}

// load resumes where m was when it was saved, or leaves it as it is if that was for
// other settings.
func (m *mirror) load(ctx context.Context, s store.Store) error {
	l := m.label.String()
	meta, err := s.Load(ctx, store.Filter{Table: store.Meta, Mirror: l, Name: metaMirror})
	if err != nil || len(meta) == 0 {
		return err
	}
	saved := savedMirror{Templates: m.templates}
	if err := json.Unmarshal(meta[0].Value, &saved); err != nil || saved.Version != savedVersion || saved.Print != m.print {
		m.wipe = true
		return m.forget()
	}
	if err := m.loadEndpoints(ctx, s); err != nil {
		return errorOfLoading(m, err)
	}
	if !m.fits() {
		m.wipe = true
		return m.forget()
	}
	m.primary, m.since = saved.Primary, saved.Since
	if err := m.clusters.load(ctx, s); err != nil {
		return errorOfLoading(m, err)
	}
	m.loadHeld(saved.Held)
	return nil
}

// fits says that all tallies are of the params in force. A program with other
// defaults may have saved them: they add up to nothing then.
func (m *mirror) fits() bool {
	for _, e := range m.endpoints {
		if !e.Tally.Fits(m.params) {
			return false
		}
	}
	return m.everywhere.Fits(m.params)
}

func errorOfLoading(m *mirror, err error) error {
	return fmt.Errorf("resume mirror %s: %w", m.label, err)
}

func (m *mirror) loadEndpoints(ctx context.Context, s store.Store) error {
	l := m.label.String()
	tallies, err := s.Load(ctx, store.Filter{Table: store.Tallies, Mirror: l})
	if err != nil {
		return err
	}
	for _, t := range tallies {
		if t.Endpoint == judge.Everywhere {
			if err := json.Unmarshal(t.Value, m.everywhere); err != nil {
				return err
			}
			continue
		}
		e := newEndpoint(t.Endpoint, m.params)
		if err := json.Unmarshal(t.Value, &savedEndpoint{endpoint: e}); err != nil {
			return err
		}
		m.endpoints[t.Endpoint] = e
	}
	places, err := s.Load(ctx, store.Filter{Table: store.Noise, Mirror: l})
	if err != nil {
		return err
	}
	for _, n := range places {
		e := m.endpoints[n.Endpoint]
		p := &place{}
		if e == nil || len(e.Places) >= mostPlaces {
			continue
		}
		if err := json.Unmarshal(n.Value, p); err != nil {
			return err
		}
		p.saved = p.sum()
		e.Places = append(e.Places, p)
	}
	for _, e := range m.endpoints {
		e.reindex()
	}
	return nil
}

func (c *clusters) load(ctx context.Context, s store.Store) error {
	l := c.mirror.label.String()
	found, err := s.Load(ctx, store.Filter{Table: store.Clusters, Mirror: l, Limit: mostClusters + 1})
	if err != nil {
		return err
	}
	for _, f := range found {
		k := &cluster{Traits: newFrequent()}
		if err := json.Unmarshal(f.Value, k); err != nil {
			return err
		}
		c.all = append(c.all, k)
	}
	c.reindex()
	pairs, err := s.Load(ctx, store.Filter{Table: store.Pairs, Mirror: l})
	if err != nil {
		return err
	}
	for _, f := range pairs {
		p := &Pair{}
		if err := json.Unmarshal(f.Value, p); err != nil {
			return err
		}
		c.pairs[p.ID] = p
	}
	return nil
}
