package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// savedHeld is a held pair as it outlives an orderly end: to decide about it then would
// be to guess, and what was guessed would count for ever.
type savedHeld struct {
	Endpoint string         `json:"endpoint"`
	Pair     judge.Pair     `json:"pair"`
	Class    compare.Class  `json:"class"`
	Findings []savedFinding `json:"findings"`
	Control  control        `json:"control"`
	Again    map[spot]bool  `json:"again"` // null and empty are not the same
	Quarrel  []spot         `json:"quarrel,omitempty"`
	Baseline bool           `json:"baseline,omitempty"`
	Sight    *savedSight    `json:"sight,omitempty"`
}

type savedFinding struct {
	compare.Difference
	Broken bool `json:"broken,omitempty"`
}

type savedSight struct {
	At      time.Time `json:"at"`
	Traits  []string  `json:"traits"`
	Example *Pair     `json:"example,omitempty"`
	Curl    string    `json:"curl,omitempty"`
	Failure string    `json:"failure,omitempty"`
	Status  [2]int    `json:"status"`
}

// MarshalText implements encoding.TextMarshaler.
func (s spot) MarshalText() ([]byte, error) { return []byte(string(s.kind) + " " + s.path), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *spot) UnmarshalText(text []byte) error {
	kind, path, ok := strings.Cut(string(text), " ")
	if !ok {
		return fmt.Errorf("%q is no place of a difference", text)
	}
	s.kind, s.path = compare.Kind(kind), path
	return nil
}

// saveHeld returns all held pairs. None is asked about any more.
func (m *mirror) saveHeld() []savedHeld {
	var all []savedHeld
	for _, name := range slices.Sorted(maps.Keys(m.endpoints)) {
		for _, h := range m.endpoints[name].held {
			s := savedHeld{Endpoint: name, Pair: h.pair, Class: h.class, Control: h.control, Again: h.again, Quarrel: h.quarrel, Baseline: h.baseline}
			for i := range h.findings {
				s.Findings = append(s.Findings, savedFinding{h.findings[i].Difference, h.findings[i].broken})
			}
			if h.sight != nil {
				s.Sight = &savedSight{h.sight.at, h.sight.traits, h.sight.example, h.sight.curl, h.sight.failure, h.sight.status}
			}
			all = append(all, s)
		}
	}
	return all
}

// loadHeld holds the pairs again that were saved.
func (m *mirror) loadHeld(all []savedHeld) {
	for _, s := range all {
		e := m.endpoints[s.Endpoint]
		if e == nil || len(e.held) >= mostHeld {
			m.passed++
			continue
		}
		h := &held{endpoint: e, pair: s.Pair, class: s.Class, control: s.Control, again: s.Again, quarrel: s.Quarrel, baseline: s.Baseline}
		for _, f := range s.Findings {
			h.findings = append(h.findings, finding{f.Difference, f.Broken})
		}
		if s.Sight != nil {
			h.sight = &sight{s.Sight.At, s.Sight.Traits, s.Sight.Example, s.Sight.Curl, s.Sight.Failure, s.Sight.Status}
		}
		e.held = append(e.held, h)
	}
}
