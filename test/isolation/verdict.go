//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// targets are what a cell is judged by. Throughput and P99 are ratios to the
// same load with a healthy shadow.
type targets struct {
	Throughput float64 `json:"throughput"` // at least; soft
	P99        float64 `json:"p99"`        // at most; soft
	Stall      float64 `json:"stall"`      // throughput below this is no matter of noise any more; hard
	// Memory is how many bytes the peak may lie above that without mirroring.
	Memory int64 `json:"memory_bytes"`
	// One upload may take UploadFactor times as long as the median with the
	// healthy shadow, plus UploadSlack. Both are generous: what they are to
	// catch is a client that waits for a shadow, which takes seconds.
	UploadFactor float64       `json:"upload_factor"`
	UploadSlack  time.Duration `json:"upload_slack_ns"`
}

// defaultTargets allow for memory what the ready configuration lets copies hold
// (32 MiB), and as much again for connections to shadows and for what a garbage
// collector has not collected yet.
func defaultTargets() targets {
	return targets{Throughput: 0.95, P99: 1.10, Stall: 0.1, Memory: 64 << 20, UploadFactor: 5, UploadSlack: 500 * time.Millisecond}
}

// verdict is what is wrong with a cell. Both lists empty: nothing.
type verdict struct {
	Hard []string `json:"hard,omitempty"` // isolation is broken
	Soft []string `json:"soft,omitempty"` // a ratio misses its target
}

// healthyShadow names the row in which the shadow under test is a second
// look at the healthy one. Its ratios show the noise of the machine, and no
// target applies to them.
const healthyShadow = "healthy"

// judge looks at a measured cell.
func (t targets) judge(c cell) verdict {
	var v verdict
	for _, m := range []struct {
		name string
		mode
	}{{"off", c.Off}, {"healthy", c.Healthy}, {"bad", c.Bad}} {
		v.Hard = append(v.Hard, faults(m.name, m.mode)...)
	}
	if c.Healthy.Copied == 0 {
		v.Hard = append(v.Hard, "healthy: no copy arrived at the shadow: nothing is proved")
	}
	v.Hard = append(v.Hard, c.Damaged...)
	if grown := c.Bad.Peak - c.Off.Peak; grown > t.Memory {
		v.Hard = append(v.Hard, fmt.Sprintf("memory: %s above that without mirroring, %s allowed", mebibytes(grown), mebibytes(t.Memory)))
	}
	if c.Uploads != nil {
		v.Hard = append(v.Hard, t.judgeUploads(*c.Uploads)...)
	}
	if c.Shadow == healthyShadow {
		return v
	}
	switch r := c.Bad.against(c.Healthy, round.throughput); {
	case r < t.Stall:
		v.Hard = append(v.Hard, fmt.Sprintf("clients wait: throughput %.3f < %.2f", r, t.Stall))
	case r < t.Throughput:
		v.Soft = append(v.Soft, fmt.Sprintf("throughput %.2f < %.2f", r, t.Throughput))
	}
	if r := c.Bad.against(c.Healthy, round.p99); r > t.P99 {
		v.Soft = append(v.Soft, fmt.Sprintf("p99 %.2f > %.2f", r, t.P99))
	}
	return v
}

// faults are the hard failures of one mode.
func faults(name string, m mode) []string {
	var list []string
	if m.Ended != "" {
		list = append(list, name+": "+m.Ended)
	}
	if n := m.errors(); n > 0 {
		list = append(list, fmt.Sprintf("%s: %d live errors%s", name, n, errorKinds(m)))
	}
	for _, r := range m.Rounds {
		if r.OK == 0 {
			list = append(list, name+": a round without one answer")
			break
		}
	}
	for _, u := range m.Unsound {
		list = append(list, name+": "+u)
	}
	return list
}

// errorKinds lists what went wrong, as " (2 reset, 1 timeout)".
func errorKinds(m mode) string {
	counts := map[string]uint64{}
	for _, r := range m.Rounds {
		for kind, n := range r.Errors {
			counts[kind] += n
		}
		if r.Stray > 0 {
			counts["stray"] += r.Stray
		}
	}
	var list []string
	for _, kind := range sortedKeys(counts) {
		list = append(list, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// judgeUploads compares the slowest upload to the bad shadow with the usual one
// to the healthy shadow.
func (t targets) judgeUploads(u uploads) []string {
	if u.Errors > 0 {
		return []string{fmt.Sprintf("%d single uploads failed, or took longer than %s", u.Errors, patience)}
	}
	usual, slowest := u.Healthy.Median, u.Bad.Slowest
	if limit := time.Duration(t.UploadFactor*float64(usual)) + t.UploadSlack; slowest > limit {
		return []string{fmt.Sprintf("one upload took %s, %s with the healthy shadow", slowest.Round(time.Millisecond), usual.Round(time.Millisecond))}
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
