// Package books reads the books that a proxy keeps about its copies from its
// metrics, and checks that they balance: every selected copy is completed,
// dropped, failed or still in flight, at every moment.
package books

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Account is what the metrics say about the copies of one mirror of one route.
// Counts are copies; a reason that never occurred may be absent.
type Account struct {
	Route     string           `json:"route"`
	Mirror    string           `json:"mirror"`
	Selected  int64            `json:"selected"`
	Completed int64            `json:"completed"`
	Dropped   map[string]int64 `json:"dropped,omitempty"` // by reason
	Failed    map[string]int64 `json:"failed,omitempty"`  // by reason
	Skipped   map[string]int64 `json:"skipped,omitempty"` // by reason; never selected
	InFlight  int64            `json:"in_flight"`
}

// Check is nil if the account balances, and else says by how much it does not.
func (a Account) Check() error {
	dropped, failed := Sum(a.Dropped), Sum(a.Failed)
	if found := a.Completed + dropped + failed + a.InFlight; found != a.Selected {
		return fmt.Errorf("books of %s/%s: selected %d, but %d completed + %d dropped + %d failed + %d in flight = %d",
			a.Route, a.Mirror, a.Selected, a.Completed, dropped, failed, a.InFlight, found)
	}
	if a.InFlight < 0 {
		return fmt.Errorf("books of %s/%s: %d in flight: a copy ended more often than it was selected", a.Route, a.Mirror, a.InFlight)
	}
	return nil
}

// Sum adds up the counts of all reasons.
func Sum(reasons map[string]int64) int64 {
	var sum int64
	for _, n := range reasons {
		sum += n
	}
	return sum
}

const prefix = "understudy_mirror_"

// Parse reads metrics in the text format of Prometheus and returns the
// accounts in them, sorted by route and mirror. Metrics that are not about
// copies are passed over, and so are comments. Several series with the same
// route and mirror (of two backends, say) are added up.
func Parse(metrics io.Reader) ([]Account, error) {
	type key struct{ route, mirror string }
	accounts := map[key]*Account{}
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20) // a line holds names from a configuration, which may be long
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), prefix)
		if !ok {
			continue
		}
		s, err := parseSeries(name)
		if err != nil {
			return nil, fmt.Errorf("parse %q: %w", lines.Text(), err)
		}
		k := key{s.labels["route"], s.labels["mirror"]}
		a := accounts[k]
		if a == nil {
			a = &Account{Route: k.route, Mirror: k.mirror, Dropped: map[string]int64{}, Failed: map[string]int64{}, Skipped: map[string]int64{}}
		}
		if !a.add(s) {
			continue
		}
		accounts[k] = a
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	list := make([]Account, 0, len(accounts))
	for _, a := range accounts {
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b Account) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Mirror, b.Mirror))
	})
	return list, nil
}

// add enters one series; false if it is not part of the books.
func (a *Account) add(s series) bool {
	n := int64(s.value)
	switch s.name {
	case "selected_total":
		a.Selected += n
	case "completed_total":
		a.Completed += n
	case "in_flight":
		a.InFlight += n
	case "dropped_total":
		enter(a.Dropped, s.labels["reason"], n)
	case "failed_total":
		enter(a.Failed, s.labels["reason"], n)
	case "skipped_total":
		enter(a.Skipped, s.labels["reason"], n)
	default:
		return false
	}
	return true
}

// enter leaves reasons that never occurred out, so that accounts are short to read.
func enter(reasons map[string]int64, reason string, n int64) {
	if n != 0 {
		reasons[reason] += n
	}
}

// series is one line of metrics.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

// parseSeries takes apart: name{label="value",...} value [timestamp].
func parseSeries(line string) (series, error) {
	s := series{labels: map[string]string{}}
	end := strings.IndexAny(line, "{ ")
	if end < 0 {
		return s, fmt.Errorf("no value")
	}
	s.name = line[:end]
	rest := line[end:]
	if rest[0] == '{' {
		var err error
		if rest, err = s.parseLabels(rest[1:]); err != nil {
			return s, err
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 || len(fields) > 2 {
		return s, fmt.Errorf("want a value and perhaps a timestamp, got %q", rest)
	}
	var err error
	s.value, err = strconv.ParseFloat(fields[0], 64)
	return s, err
}

// parseLabels reads up to the closing brace and returns what follows it.
func (s *series) parseLabels(rest string) (string, error) {
	for {
		rest = strings.TrimLeft(rest, " ,")
		if after, ok := strings.CutPrefix(rest, "}"); ok {
			return after, nil
		}
		name, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return "", fmt.Errorf("want a label at %q", rest)
		}
		value, after, err := unquote(after)
		if err != nil {
			return "", fmt.Errorf("label %s: %w", name, err)
		}
		s.labels[name], rest = value, after
	}
}

// unquote reads a label value up to its closing quote and returns what follows it.
func unquote(rest string) (value, after string, err error) {
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return b.String(), rest[i+1:], nil
		case '\\':
			if i++; i == len(rest) {
				return "", "", fmt.Errorf("ends in a backslash")
			}
			if c = rest[i]; c == 'n' {
				c = '\n'
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("no closing quote in %q", rest)
}
