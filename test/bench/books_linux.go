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

// lostCopies reads from understudy's own metrics how many copies it dropped and
// failed to send, by reason; nil for other programs.
func lostCopies(ctx context.Context, r *running) (map[string]float64, error) {
	if r.place == nil || r.place.Program != "understudy" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.place.Admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	return parseLost(resp.Body)
}

// parseLost sums the counters of lost copies by reason.
func parseLost(metrics io.Reader) (map[string]float64, error) {
	lost := map[string]float64{}
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), "{")
		if !ok || name != "understudy_mirror_dropped_total" && name != "understudy_mirror_failed_total" {
			continue
		}
		_, reason, ok := strings.Cut(rest, `reason="`)
		if !ok {
			return nil, fmt.Errorf("no reason in %q", lines.Text())
		}
		reason, _, _ = strings.Cut(reason, `"`)
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		lost[reason] += value
	}
	return lost, lines.Err()
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
