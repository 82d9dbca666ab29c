package analyze

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/store"
)

// Calibration is what a shadow of the primary's own version was measured to do.
// Verdicts on the mirror allow for it from then on, also when the shadow's
// endpoints or the rules of comparing change. Its JSON is part of the contract.
type Calibration struct {
	Mirror  string        `json:"mirror"`
	Route   string        `json:"route"`
	Rule    int           `json:"rule"`
	Shadow  string        `json:"shadow"`
	Since   time.Time     `json:"since"` // of what was measured
	Time    time.Time     `json:"time"`  // when it ended
	Offsets judge.Offsets `json:"offsets"`
}

// Why there is no calibration.
var (
	ErrNoMirror = errors.New("no such mirror compares answers")
	ErrTooFew   = errors.New("too few pairs for a calibration")
)

// Calibrate declares that all pairs since the last [Pipeline.Reset] were of
// shadows of the primary's own version, and keeps what that shows for later
// verdicts of the mirrors of that name, or of all if it is empty. Everything else
// that was learned of them is forgotten. With an error nothing changes; it wraps
// [ErrNoMirror] or [ErrTooFew].
func (p *Pipeline) Calibrate(name string) ([]Calibration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.named(name)
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoMirror, name)
	}
	var measured []Calibration
	for _, m := range found {
		c := Calibration{
			Mirror: m.label.Mirror, Route: m.label.Route, Rule: m.label.Rule, Shadow: m.way.mirror.Backend,
			Since: m.since, Time: time.Now(), Offsets: judge.Calibrate(m.everywhere, m.params),
		}
		if c.Offsets.Pairs < m.params.Pairs {
			return nil, fmt.Errorf("%w: mirror %s of route %s has %d, %d are needed", ErrTooFew, c.Mirror, c.Route, c.Offsets.Pairs, m.params.Pairs)
		}
		measured = append(measured, c)
	}
	for i, m := range found {
		if err := m.allowFor(&measured[i]); err != nil {
			return nil, err
		}
		p.calibrated[m.label] = &measured[i]
		m.wipe, m.changed = true, true
	}
	return measured, p.saveCalibrations()
}

// Uncalibrate undoes [Pipeline.Calibrate], and has mirrors begin anew that it
// concerns.
func (p *Pipeline) Uncalibrate(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.named(name) {
		if m.calibration == nil {
			continue
		}
		if err := m.allowFor(nil); err != nil {
			return err
		}
		m.wipe, m.changed = true, true
	}
	for l := range p.calibrated {
		if name == "" || l.Mirror == name {
			delete(p.calibrated, l)
		}
	}
	return p.saveCalibrations()
}

// named are the mirrors of that name, or all if it is empty, in a fixed order.
func (p *Pipeline) named(name string) []*mirror {
	return slices.DeleteFunc(p.sorted(), func(m *mirror) bool { return name != "" && m.label.Mirror != name })
}

// allowFor has m begin anew with a calibration, or without one if it is nil.
// Offsets are applied while pairs are observed: what was seen without them cannot
// be used.
func (m *mirror) allowFor(c *Calibration) error {
	m.calibration, m.params.Offsets = c, judge.Offsets{}
	if c != nil {
		m.params.Offsets = c.Offsets
	}
	m.print = fingerprint(m.way, m.params.Offsets)
	return m.forget()
}

// metaCalibrations is the name under which all calibrations are saved.
const metaCalibrations = "calibrations"

// saveCalibrations keeps calibrations over a restart, if there is a store.
func (p *Pipeline) saveCalibrations() error {
	if p.store == nil {
		return nil
	}
	all := []Calibration{}
	for _, c := range p.calibrated {
		all = append(all, *c)
	}
	value, err := json.Marshal(all)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	err = p.store.Save(ctx, store.Batch{Put: []store.Entry{{Table: store.Meta, Name: metaCalibrations, Time: time.Now(), Count: int64(len(all)), Value: value}}})
	if err != nil {
		return fmt.Errorf("in force, but not over a restart: %w", err)
	}
	return nil
}

// loadCalibrations takes up what was saved.
func (p *Pipeline) loadCalibrations() error {
	if p.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTime)
	defer cancel()
	found, err := p.store.Load(ctx, store.Filter{Table: store.Meta, Name: metaCalibrations})
	if err != nil || len(found) == 0 {
		return err
	}
	var all []Calibration
	if err := json.Unmarshal(found[0].Value, &all); err != nil {
		return fmt.Errorf("read the calibrations that were saved: %w", err)
	}
	for i := range all {
		p.calibrated[label{all[i].Route, all[i].Rule, all[i].Mirror}] = &all[i]
	}
	return nil
}
