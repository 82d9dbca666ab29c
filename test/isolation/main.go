//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/shadow"
	"github.com/understudy-proxy/understudy/test/load"
)

// The exit statuses.
const (
	exitPass  = 0
	exitFail  = 1 // a cell failed
	exitUsage = 2 // the suite could not be run
)

func main() {
	if load.Child() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	status := exitUsage
	if err == nil {
		status, err = execute(ctx, o, os.Stdout, os.Stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "isolation:", err)
	}
	os.Exit(status)
}

// options are the flags.
type options struct {
	proxy, proxyOff, config string
	books, quick, strict    bool
	protocols               bool
	rounds                  int
	duration                time.Duration
	shadows, loads          string
	memory                  int64 // MiB
	out, json               string
	beside                  []string // files with earlier results
}

func parseOptions(args []string, usage io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("isolation", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.proxy, "proxy", "understudy", strings.Join(readyNames(), ", ")+" (several separated by commas), none, or a `command` with {listen} {primary} {shadow} {admin} {config} {mirror} {dir}")
	f.StringVar(&o.proxyOff, "proxy-off", "", "`command` without mirroring, where it differs from -proxy")
	f.StringVar(&o.config, "config", "", "Go text/template `file` from which {config} is made")
	f.BoolVar(&o.books, "books", false, "the command's /metrics on {admin} are Understudy's: check the books")
	f.BoolVar(&o.quick, "quick", false, "one round of 0.7 s, for a first look and for CI")
	f.BoolVar(&o.protocols, "protocols", false, "HTTP/2, gRPC, WebSocket and TCP instead of HTTP/1.1, with shadows and loads of their own")
	f.BoolVar(&o.strict, "strict", false, "missed ratios fail, too")
	f.IntVar(&o.rounds, "rounds", 3, "interleaved rounds per cell")
	f.DurationVar(&o.duration, "duration", 1300*time.Millisecond, "load per round and mode")
	f.StringVar(&o.shadows, "shadows", "", "only these, separated by commas, of "+strings.Join(allShadows(), ", ")+"; with -protocols of "+strings.Join(protocolShadows(), ", "))
	f.StringVar(&o.loads, "loads", "", "only these, separated by commas, of "+strings.Join(allLoads(), ", ")+"; with -protocols of "+strings.Join(protocolNames(), ", "))
	f.Int64Var(&o.memory, "memory", defaultTargets().Memory>>20, "`MiB` that the peak may lie above that without mirroring")
	f.StringVar(&o.out, "out", "", "write the report to this `file` instead of standard output")
	f.StringVar(&o.json, "json", "", "write the figures to this `file`")
	f.Usage = func() {
		_, _ = fmt.Fprintln(usage, "usage: isolation [flags] [results.json ...]\n\nShows whether a mirroring proxy keeps bad shadows away from its clients.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.beside = f.Args()
	if o.quick {
		o.rounds, o.duration = 1, 700*time.Millisecond
	}
	switch {
	case o.rounds < 1 || o.duration <= 0:
		return o, errors.New("-rounds and -duration must be positive")
	case o.proxy == "none" && len(o.beside) == 0:
		return o, errors.New("-proxy none needs files with results")
	}
	return o, nil
}

func allShadows() []string {
	names := []string{healthyShadow}
	for _, k := range shadow.Kinds() {
		names = append(names, string(k))
	}
	return names
}

func allLoads() []string {
	names := make([]string, len(loads))
	for i, k := range loads {
		names[i] = k.name
	}
	return names
}

// pick gives the names in list, separated by commas, or all if it is empty.
func pick(list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(all, n) {
			return nil, fmt.Errorf("no %q among %s", n, strings.Join(all, ", "))
		}
	}
	return names, nil
}

// execute measures, reports, and says how it went.
func execute(ctx context.Context, o options, stdout, stderr io.Writer) (status int, err error) {
	results, err := measureAll(ctx, o, stderr)
	if err != nil {
		return exitUsage, err
	}
	if len(results) > 0 {
		status = exitStatus(results[0], o.strict)
	}
	for _, path := range o.beside {
		earlier, err := readJSON(path)
		if err != nil {
			return exitUsage, err
		}
		results = append(results, earlier...)
	}
	var report strings.Builder
	if err := writeReport(&report, o.reportTemplate(), results); err != nil {
		return exitUsage, fmt.Errorf("write report: %w", err)
	}
	if o.out != "" {
		err = os.WriteFile(o.out, []byte(report.String()), 0o644)
	} else {
		_, err = io.WriteString(stdout, report.String())
	}
	if err != nil {
		return exitUsage, err
	}
	return status, nil
}

// measureAll measures every proxy asked for and keeps the figures if asked to.
func measureAll(ctx context.Context, o options, progress io.Writer) ([]*result, error) {
	recipes, err := chooseRecipes(o)
	if err != nil {
		return nil, err
	}
	var results []*result
	look := measure
	if o.protocols {
		look = measureProtocols
	}
	for _, r := range recipes {
		one, err := look(ctx, r, o, progress)
		if err != nil {
			return nil, err
		}
		results = append(results, one)
	}
	if o.json != "" {
		return results, writeJSON(o.json, results)
	}
	return results, nil
}

func measure(ctx context.Context, r recipe, o options, progress io.Writer) (*result, error) {
	shadows, err := pick(o.shadows, allShadows())
	if err != nil {
		return nil, err
	}
	names, err := pick(o.loads, allLoads())
	if err != nil {
		return nil, err
	}
	var kinds []kindOfLoad
	for _, k := range loads {
		if slices.Contains(names, k.name) {
			kinds = append(kinds, k)
		}
	}
	s := &suite{recipe: r, rounds: o.rounds, duration: o.duration, targets: defaultTargets(), progress: progress}
	s.targets.Memory = o.memory << 20
	return s.run(ctx, shadows, kinds)
}

// exitStatus is what the cells of the first proxy come to: others are there for
// comparison.
func exitStatus(r *result, strict bool) int {
	for _, c := range r.Cells {
		if len(c.Verdict.Hard) > 0 || strict && len(c.Verdict.Soft) > 0 {
			return exitFail
		}
	}
	return exitPass
}

func writeJSON(path string, results []*result) error {
	b, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func readJSON(path string) ([]*result, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r []*result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("decode results in %s: %w", path, err)
	}
	return r, nil
}
