package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// books are understudy's own counters.
type books struct {
	lost  map[string]float64 // copies that were dropped, and that failed to be sent, by reason
	taken float64            // exchanges that were captured to be compared
}

// readBooks reads them from its metrics; of other programs there are none.
func readBooks(ctx context.Context, r *running) (books, error) {
	if r.place == nil || r.place.Program != "understudy" {
		return books{}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.place.Admin+"/metrics", nil)
	if err != nil {
		return books{}, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return books{}, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	return parseBooks(resp.Body)
}

// parseBooks sums the counters over everything but reasons.
func parseBooks(metrics io.Reader) (books, error) {
	b := books{lost: map[string]float64{}}
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		name := line[:max(strings.IndexAny(line, "{ "), 0)]
		taken := name == "understudy_capture_taken_total"
		if !taken && name != "understudy_mirror_dropped_total" && name != "understudy_mirror_failed_total" {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return b, fmt.Errorf("read %q: %w", line, err)
		}
		if taken {
			b.taken += value
			continue
		}
		_, reason, ok := strings.Cut(line, `reason="`)
		if !ok {
			return b, fmt.Errorf("no reason in %q", line)
		}
		reason, _, _ = strings.Cut(reason, `"`)
		b.lost[reason] += value
	}
	return b, lines.Err()
}

// grown is by how much counters grew, without those that did not.
func grown(before, after map[string]float64) map[string]float64 {
	var out map[string]float64
	for k, v := range after {
		if d := v - before[k]; d > 0 {
			if out == nil {
				out = map[string]float64{}
			}
			out[k] = d
		}
	}
	return out
}
