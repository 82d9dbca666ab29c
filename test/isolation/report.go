//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/books"
)

// writeReport prints results as one Markdown document: one table with every
// cell, the proxies under each other for the same shadow and load, and one with
// the single uploads.
func writeReport(w io.Writer, name string, results []*result) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"percent": func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) },
		"round":   func(d time.Duration) time.Duration { return d.Round(time.Second) },
		"date":    func(at time.Time) string { return at.UTC().Format(time.DateOnly) },
		"mib":     func(n int64) int64 { return n >> 20 },
	}).ParseFS(templates, "templates/"+name)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{
		"Results": results, "Summaries": summaries(results), "Cells": cellRows(results), "Uploads": uploadRows(results),
	})
}

// summary is a proxy's cells counted.
type summary struct {
	Proxy                        string
	Cells, Pass, Flagged, Failed int
	NoiseThroughput, NoiseP99    string // what the healthy row showed, lowest to highest
}

func summaries(results []*result) []summary {
	var list []summary
	for _, r := range results {
		s := summary{Proxy: r.Proxy, Cells: len(r.Cells)}
		var throughput, p99 []float64
		for _, c := range r.Cells {
			switch {
			case len(c.Verdict.Hard) > 0:
				s.Failed++
			case len(c.Verdict.Soft) > 0:
				s.Flagged++
			default:
				s.Pass++
			}
			if c.Shadow == healthyShadow {
				throughput = append(throughput, c.Bad.against(c.Healthy, round.throughput))
				p99 = append(p99, c.Bad.against(c.Healthy, round.p99))
			}
		}
		s.NoiseThroughput, s.NoiseP99 = span(throughput), span(p99)
		list = append(list, s)
	}
	return list
}

// span writes the lowest and the highest value.
func span(values []float64) string {
	if len(values) == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(values), slices.Max(values))
}

// cellRows are the rows of the big table: cells of all results in the order of
// the first one, proxies of one cell together.
func cellRows(results []*result) []string {
	type row struct {
		order int
		text  string
	}
	order := map[[2]string]int{}
	var rows []row
	for _, r := range results {
		for _, c := range r.Cells {
			key := [2]string{c.Shadow, c.Load}
			if _, ok := order[key]; !ok {
				order[key] = len(order)
			}
			rows = append(rows, row{order[key], cellRow(r.Proxy, c)})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.order, b.order) })
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = r.text
	}
	return texts
}

func cellRow(proxy string, c cell) string {
	return "| " + strings.Join([]string{
		c.Shadow, c.Load, proxy,
		fmt.Sprint(c.Bad.errors()),
		figure(c, "%.0f", 1, round.throughput),
		figure(c, "%.2f", 1000, round.p50),
		figure(c, "%.2f", 1000, round.p99),
		fmt.Sprintf("%d (%+d)", c.Bad.Peak>>20, (c.Bad.Peak-c.Off.Peak)>>20),
		balance(c), copied(c.Healthy), c.Verdict.word(),
	}, " | ") + " |"
}

// figure writes the value with the bad shadow, and in parentheses its ratios to
// mirroring off and to the healthy shadow.
func figure(c cell, format string, unit float64, f func(round) float64) string {
	return fmt.Sprintf(format+" (%.2f, %.2f)", unit*c.Bad.of(f), c.Bad.against(c.Off, f), c.Bad.against(c.Healthy, f))
}

// balance says whether the books of all modes balanced, and how the copies for
// the shadow under test ended.
func balance(c cell) string {
	if c.Bad.Checked == 0 {
		return "–"
	}
	if len(c.Off.Unsound)+len(c.Healthy.Unsound)+len(c.Bad.Unsound) > 0 {
		return "**wrong**"
	}
	var completed, dropped, failed, inFlight int64
	for _, a := range c.Bad.Accounts {
		completed += a.Completed
		dropped += books.Sum(a.Dropped)
		failed += books.Sum(a.Failed)
		inFlight += a.InFlight
	}
	return fmt.Sprintf("✓ %d + %d + %d + %d", completed, dropped, failed, inFlight)
}

func copied(m mode) string { return fmt.Sprintf("%.0f %%", 100*m.Copied) }

// word is the verdict in a table.
func (v verdict) word() string {
	switch {
	case len(v.Hard) > 0:
		return "**FAIL**: " + strings.Join(firstLines(v.Hard), "; ")
	case len(v.Soft) > 0:
		return "flag: " + strings.Join(v.Soft, "; ")
	}
	return "pass"
}

// firstLines keeps the first line of each text: a proxy's last words do not fit a table.
func firstLines(texts []string) []string {
	lines := make([]string, len(texts))
	for i, t := range texts {
		line, _, _ := strings.Cut(t, "\n")
		lines[i] = strings.ReplaceAll(line, "|", "/")
	}
	return lines
}

func uploadRows(results []*result) []string {
	var rows []string
	for _, r := range results {
		for _, c := range r.Cells {
			if u := c.Uploads; u != nil {
				rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", c.Shadow, r.Proxy,
					milliseconds(u.Healthy.Median), milliseconds(u.Healthy.Slowest), milliseconds(u.Bad.Median), milliseconds(u.Bad.Slowest)))
			}
		}
	}
	return rows
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", 1000*d.Seconds()) }

// progressLine says in one line how a cell went.
func progressLine(proxy string, c cell) string {
	return fmt.Sprintf("%s: %-13s %-8s  %5.2f × throughput, %5.2f × p99, %4d MiB  %s", proxy, c.Shadow, c.Load,
		c.Bad.against(c.Healthy, round.throughput), c.Bad.against(c.Healthy, round.p99), c.Bad.Peak>>20, c.Verdict.word())
}

func sortedKeys(m map[string]uint64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
