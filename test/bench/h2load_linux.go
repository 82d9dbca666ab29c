package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// h2loadName is the program that speaks TLS and HTTP/2.
const h2loadName = "h2load"

// ids is how many different requests h2load sends, over and over.
const ids = 1000

// warmRate is what any proxy is taken to do when nothing is known.
const warmRate = 20_000

// h2load sends as many requests as are expected to take the span: if it counted
// time instead it would cut the last ones short, and no two counts would agree.
func (b *bench) h2load(ctx context.Context, w workload, r *running, d drive) (*load.Result, error) {
	rate := d.expect
	if rate <= 0 {
		rate = warmRate
	}
	conns := w.Conns
	if conns == 0 {
		conns = b.options.conns
	}
	requests := max(int(rate*d.span.Seconds()), 10*conns*max(w.Streams, 1))
	args, err := w.h2loadArgs(r.place.Dir)
	if err != nil {
		return nil, err
	}
	args = append(args, "-n", strconv.Itoa(requests), "-c", strconv.Itoa(conns), "--connect-to", r.target)
	ctx, cancel := context.WithTimeout(ctx, 4*d.span+time.Minute)
	defer cancel()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.programs[h2loadName], args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("h2load: %w\n%s", err, stderr.String()), ctx.Err())
	}
	result, err := parseH2load(out.String())
	if err != nil {
		return nil, fmt.Errorf("h2load: %w in\n%s%s", err, out.String(), stderr.String())
	}
	result.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return result, nil
}

// h2loadArgs are the arguments that depend on the workload alone; files they
// name are put into dir.
func (w *workload) h2loadArgs(dir string) ([]string, error) {
	scheme, path := "http", "/shop/items?page=2&id="
	args := []string{"-t", "1", "--header=user-agent: bench/1.0 (load generator)"}
	if w.Wire.TLS {
		scheme = "https"
		args = append(args, "--tls13-ciphers=TLS_AES_128_GCM_SHA256")
	}
	if w.Wire.HTTP2 {
		args = append(args, "-m", strconv.Itoa(w.Streams))
	} else {
		args = append(args, "--h1")
	}
	var body []byte
	if w.Wire.GRPC {
		path = "/" + load.CallService + "/"
		args = append(args, "--header=content-type: application/grpc", "--header=te: trailers")
		body = append([]byte{0, 0, 0, byte(w.Body >> 8), byte(w.Body)}, load.Body(int(w.Body))...)
	} else {
		args = append(args, "--header=accept: text/html,application/json;q=0.9,*/*;q=0.8",
			"--header=accept-language: en-GB,en;q=0.7", "--header=cookie: session=0123456789abcdef; theme=dark")
		body = load.Body(int(w.Body))
	}
	if len(body) > 0 {
		file := filepath.Join(dir, "h2load.body")
		args = append(args, "-d", file)
		if err := os.WriteFile(file, body, 0o600); err != nil {
			return nil, err
		}
	}
	var uris strings.Builder
	for i := range ids {
		fmt.Fprintf(&uris, "%s://%s%s%016x\n", scheme, host, path, i)
	}
	file := filepath.Join(dir, "h2load.uris")
	return append(args, "-i", file), os.WriteFile(file, []byte(uris.String()), 0o600)
}

// parseH2load reads what h2load prints at its end.
func parseH2load(text string) (*load.Result, error) {
	r := &load.Result{Errors: map[string]uint64{}, Latency: &load.Histogram{}}
	found, failed := 0, uint64(0)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		title, rest, _ := strings.Cut(lines.Text(), ": ")
		counts := map[string]uint64{}
		for part := range strings.SplitSeq(rest, ", ") {
			number, name, _ := strings.Cut(part, " ")
			if n, err := strconv.ParseUint(number, 10, 64); err == nil {
				counts[name] = n
			}
		}
		switch {
		case strings.HasPrefix(title, "finished in "):
			if _, err := fmt.Sscanf(strings.ReplaceAll(title, ",", ""), "finished in %s %f", new(string), &r.Throughput); err != nil {
				return nil, err
			}
			found++
		case title == "requests":
			r.Requests, r.OK = counts["total"], counts["succeeded"]
			failed = counts["failed"]
			noteErrors(r, counts, "errored", "timeout")
			found++
		case title == "status codes":
			noteErrors(r, counts, "3xx", "4xx", "5xx")
			found++
		}
	}
	// Its count of failures holds all the others.
	if known := r.Failed(); failed > known {
		r.Errors["failed"] = failed - known
	}
	if found != 3 || r.Requests == 0 {
		return nil, errors.New("no result")
	}
	return r, nil
}

// noteErrors takes over the counts that are not zero.
func noteErrors(r *load.Result, counts map[string]uint64, names ...string) {
	for _, name := range names {
		if counts[name] > 0 {
			r.Errors[name] = counts[name]
		}
	}
}
