package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// watchLoops has understudy take a CPU profile from now on, for as long as the
// load lasts, and returns what waits for it: the event loops' part, 0 to 1, of
// all CPU. In other suites that is 0.
func (b *bench) watchLoops(ctx context.Context, r *running) func() (float64, error) {
	if !b.options.pprof || r.place == nil || r.place.Program != "understudy" {
		return func() (float64, error) { return 0, nil }
	}
	type result struct {
		share float64
		err   error
	}
	done := make(chan result, 1)
	go func() {
		share, err := loopShare(ctx, r.place, b.options.time)
		done <- result{share, err}
	}()
	return func() (float64, error) {
		r := <-done
		return r.share, r.err
	}
}

// loopShare takes a profile of that time, of a second at least, and reads it with
// Go's own tool.
func loopShare(ctx context.Context, p *place, span time.Duration) (float64, error) {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.Admin, max(int(span.Seconds()), 1))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("take a profile: %w", err)
	}
	defer resp.Body.Close()
	profile, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return 0, fmt.Errorf("take a profile: %w", err)
	}
	file := filepath.Join(p.Dir, "cpu.pprof")
	if err := os.WriteFile(file, profile, 0o600); err != nil {
		return 0, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-raw", file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("read a profile: %w\n%s", err, stderr.String())
	}
	return parseShare(bytes.NewReader(out), "loop.(*Loop).Run")
}

// parseShare reads what pprof -raw prints: samples as "count nanoseconds:
// locations", then what is at each location, whose inlined callers follow on lines
// of their own. It returns the part of the samples that have the function on their
// stack.
func parseShare(raw io.Reader, function string) (float64, error) {
	type stack struct {
		count     float64
		locations []string
	}
	var stacks []stack
	holding := map[string]bool{} // locations that are in the function
	section, location := "", ""
	lines := bufio.NewScanner(raw)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "Samples:" || line == "Locations" || line == "Mappings" {
			section = line
			continue
		}
		before, after, colon := strings.Cut(line, ":")
		switch section {
		case "Samples:":
			count, err := strconv.ParseFloat(strings.TrimSpace(before[:max(strings.IndexByte(before, ' '), 0)]), 64)
			if err != nil || !colon {
				continue // the names of the columns, and labels
			}
			stacks = append(stacks, stack{count, strings.Fields(after)})
		case "Locations":
			if _, err := strconv.Atoi(before); err == nil && colon {
				location = before
			}
			if strings.Contains(line, function) {
				holding[location] = true
			}
		}
	}
	var all, inside float64
	for _, s := range stacks {
		all += s.count
		for _, l := range s.locations {
			if holding[l] {
				inside += s.count
				break
			}
		}
	}
	if all == 0 {
		return 0, errors.Join(errors.New("read a profile: it has no samples"), lines.Err())
	}
	return inside / all, lines.Err()
}
