//go:build linux

package main

import (
	"slices"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/books"
	"github.com/understudy-proxy/understudy/test/load"
)

// result is one run of the suite against one proxy, as -json writes it.
type result struct {
	Proxy   string        `json:"proxy"`
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Machine machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Round   time.Duration `json:"round_ns"`
	Targets targets       `json:"targets"`
	Cells   []cell        `json:"cells"`
}

// machine is where a run took place.
type machine struct {
	System string `json:"system"`
	CPUs   int    `json:"cpus"`
	// Others is the part of the machine's busy time that programs other than
	// the suite, its proxies and its backends took; 0 to 1.
	Others float64 `json:"others"`
}

// cell is one shadow under one load.
type cell struct {
	Shadow  string   `json:"shadow"`
	Load    string   `json:"load"`
	Off     mode     `json:"off"`
	Healthy mode     `json:"healthy"`
	Bad     mode     `json:"bad"`
	Uploads *uploads `json:"uploads,omitempty"` // only with the load of large bodies
	Damaged []string `json:"damaged,omitempty"` // requests that did not arrive as they were sent
	Verdict verdict  `json:"verdict"`
}

// mode is what one proxy process did in all rounds of a cell.
type mode struct {
	Rounds []round `json:"rounds"`
	Peak   int64   `json:"peak_bytes"` // largest resident set, summed over the proxy's processes
	// Copied is how many requests arrived at the healthy shadow for each live
	// one; 0 where copies go elsewhere.
	Copied   float64         `json:"copied,omitempty"`
	Accounts []books.Account `json:"accounts,omitempty"` // at the end
	Checked  int             `json:"books_checked"`      // how often the books were read
	Unsound  []string        `json:"books_unsound,omitempty"`
	Ended    string          `json:"ended,omitempty"` // last words of a proxy that did not survive
}

// round is one measured load.
type round struct {
	Requests   uint64            `json:"requests"`
	OK         uint64            `json:"ok"`
	Errors     map[string]uint64 `json:"errors,omitempty"`
	Stray      uint64            `json:"stray,omitempty"` // bytes on a connection that asked for nothing
	Throughput float64           `json:"throughput"`      // answered requests per second
	P50        time.Duration     `json:"p50_ns"`
	P99        time.Duration     `json:"p99_ns"`
}

// newRound reduces a load's result; paced is left out of latencies.
func newRound(r *load.Result, paced time.Duration) round {
	beyond := func(q float64) time.Duration { return max(r.Latency.Quantile(q)-paced, 0) }
	return round{
		Requests: r.Requests, OK: r.OK, Errors: r.Errors, Stray: r.Stray,
		Throughput: ratio(float64(r.OK), r.Elapsed.Seconds()), P50: beyond(0.5), P99: beyond(0.99),
	}
}

// uploads are the times of single large uploads, one after the other.
type uploads struct {
	Healthy times  `json:"healthy"`
	Bad     times  `json:"bad"`
	Errors  uint64 `json:"errors"`
}

type times struct {
	Median  time.Duration `json:"median_ns"`
	Slowest time.Duration `json:"slowest_ns"`
}

// errors is how many live requests failed.
func (m mode) errors() uint64 {
	var n uint64
	for _, r := range m.Rounds {
		n += r.Stray
		for _, e := range r.Errors {
			n += e
		}
	}
	return n
}

// requests is how many live requests were sent.
func (m mode) requests() uint64 {
	var n uint64
	for _, r := range m.Rounds {
		n += r.Requests
	}
	return n
}

func (r round) throughput() float64 { return r.Throughput }
func (r round) p50() float64        { return r.P50.Seconds() }
func (r round) p99() float64        { return r.P99.Seconds() }

// of is the median of a figure over the rounds.
func (m mode) of(figure func(round) float64) float64 {
	values := make([]float64, len(m.Rounds))
	for i, r := range m.Rounds {
		values[i] = figure(r)
	}
	return median(values)
}

// against is the median over the rounds of the ratio of a figure to that of the
// other mode in the same round: neighbours in time share the machine's mood.
func (m mode) against(other mode, figure func(round) float64) float64 {
	var ratios []float64
	for i := range min(len(m.Rounds), len(other.Rounds)) {
		ratios = append(ratios, ratio(figure(m.Rounds[i]), figure(other.Rounds[i])))
	}
	return median(ratios)
}

// ratio is a/b, and 0 if there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median of values, which it sorts; 0 of none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
