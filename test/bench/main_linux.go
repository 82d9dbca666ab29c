package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

func main() {
	if load.Child() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	quick      bool
	scale      bool
	replay     bool
	suite      *suite
	pprof      bool // understudy serves profiles, see suite.loops
	rounds     int
	rows       string
	proxies    string
	out        string
	understudy string
	time       time.Duration
	idle       time.Duration
	rate       float64
	conns      int
	idleConns  int
	rules      int
	size       int64 // bytes
}

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "one short round, without a verdict")
	f.BoolVar(&o.scale, "scale", false, "connections, reloads and large bodies instead of speed")
	f.BoolVar(&o.replay, "replay", false, "how well a replay of a recording keeps its schedule, at -rate and as fast as possible, instead of speed")
	compare := f.Bool("compare", false, "what it costs to have answers compared, instead of speed")
	protocols := f.Bool("protocols", false, "TLS, HTTP/2 and gRPC, beside nginx and Envoy, instead of speed")
	f.IntVar(&o.rounds, "rounds", 0, "interleaved rounds (default 3, or 1 with -quick)")
	f.StringVar(&o.rows, "rows", "", "workloads to run, by comma: get-200, get-10k, post-4k, post-64k, post-chunked, latency, idle; with -protocols tls-get-200, tls-post-4k, h2-get-200, h2c-get-200, grpc-unary, grpc-stream; with -compare get-1k, get-1k-rate, get-10k, post-1k; with -scale connections, reload, bodies (default all)")
	f.StringVar(&o.proxies, "proxies", "", "contestants, by comma, as named in the tables (default all)")
	f.StringVar(&o.out, "out", "", "Markdown file to write, with JSON beside it; - for none (default docs/bench/speed.md, protocols.md, capture.md or scale.md, none with -quick)")
	f.StringVar(&o.understudy, "understudy", "bin/understudy", "the understudy to measure")
	f.DurationVar(&o.time, "time", 0, "load for each measurement (default 2s, 10s with -compare, 600ms with -quick)")
	f.DurationVar(&o.idle, "idle", 0, "how long to watch idle proxies (default 10s, or 3s with -quick)")
	f.Float64Var(&o.rate, "rate", 4000, "requests per second for latency, get-1k-rate, reload and -replay")
	f.IntVar(&o.conns, "conns", 64, "connections of the load generator")
	f.IntVar(&o.idleConns, "idle-conns", 10_000, "with -scale: idle connections")
	f.IntVar(&o.rules, "rules", 10_000, "with -scale: rules of the configuration that is reloaded")
	size := f.Float64("size", 0, "with -scale: GiB of a large body (default 10, or 1 with -quick)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch o.suite = &speedSuite; {
	case *protocols:
		o.suite = &protocolSuite
	case *compare:
		o.suite = &compareSuite
	}
	o.pprof = o.suite.loops
	o.fillIn()
	if *size == 0 {
		if *size = 10; o.quick {
			*size = 1
		}
	}
	o.size = int64(*size * (1 << 30))
	return o, nil
}

func (o *options) fillIn() {
	rounds, span, idle, out := 3, 2*time.Second, 10*time.Second, o.suite.out()
	if o.suite.loops {
		span = 10 * time.Second // a profile takes a hundred looks a second
	}
	if o.scale {
		out = "docs/bench/scale.md"
	}
	if o.quick {
		rounds, span, idle, out = 1, 600*time.Millisecond, 3*time.Second, "-"
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.time <= 0 {
		o.time = span
	}
	if o.idle <= 0 {
		o.idle = idle
	}
	if o.out == "" {
		o.out = out
	}
	if o.out == "-" {
		o.out = ""
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	b := &bench{options: o, log: progress(time.Now())}
	switch {
	case o.scale:
		return b.scale(ctx)
	case o.replay:
		return b.replay(ctx)
	}
	return b.table(ctx, o.suite)
}

// progress writes to standard error what is being done, and since when.
func progress(start time.Time) func(format string, args ...any) {
	return func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
}

// rowIdle is chosen like a workload, but is not one.
const rowIdle = "idle"

// table runs every chosen workload, all contestants in turn, round after round.
func (b *bench) table(ctx context.Context, s *suite) error {
	var names []string
	if s.idle {
		names = append(names, rowIdle)
	}
	for _, w := range s.workloads {
		names = append(names, w.Name)
	}
	rows, err := choose(names, func(s string) string { return s }, b.options.rows)
	if err != nil {
		return err
	}
	chosen, err := choose(s.contestants(), func(c contestant) string { return c.Name }, b.options.proxies)
	if err != nil {
		return err
	}
	if b.programs, err = programs(chosen, b.options.understudy); err != nil {
		return err
	}
	if s == &protocolSuite {
		if b.programs[h2loadName], err = find(h2loadName, b.options.understudy); err != nil {
			return err
		}
	}
	r := &speedReport{
		suite:   s,
		Machine: describeMachine(b.programs), Quick: b.options.quick, Conns: b.options.conns, Rate: b.options.rate,
		Seconds: b.options.time.Seconds(), Rounds: b.options.rounds, Rows: rows,
	}
	for _, c := range chosen {
		r.Proxies = append(r.Proxies, c.Name)
	}
	for _, w := range s.workloads {
		if !slices.Contains(rows, w.Name) {
			continue
		}
		taken, err := b.rounds(ctx, w, slices.DeleteFunc(slices.Clone(chosen), func(c contestant) bool { return !w.with(c) }))
		if err != nil {
			return err
		}
		r.Samples = append(r.Samples, taken...)
	}
	if slices.Contains(rows, rowIdle) {
		b.log("idle: %s", b.options.idle)
		if r.Idle, err = b.measureIdle(ctx, sitters(chosen)); err != nil {
			return err
		}
	}
	return publish(b.options.out, r.Markdown(), r)
}

// sitters are one contestant of each program: the one with most copies.
func sitters(chosen []contestant) []contestant {
	var out []contestant
	for _, c := range chosen {
		i := slices.IndexFunc(out, func(o contestant) bool { return o.Program == c.Program })
		switch {
		case c.Program == "":
		case i < 0:
			out = append(out, c)
		case c.Percent > out[i].Percent:
			out[i] = c
		}
	}
	return out
}

func (b *bench) rounds(ctx context.Context, w workload, chosen []contestant) (taken samples, err error) {
	st, err := openStage(w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	for round := range b.options.rounds {
		for _, c := range order(chosen, round) {
			s, err := b.measure(ctx, w, c, st)
			if err != nil {
				return taken, err
			}
			s.Round = round
			tail := ""
			if s.P99Micros > 0 {
				tail = fmt.Sprintf("p99 %5.0f µs  ", s.P99Micros)
			}
			b.log("%-13s round %d  %-26s %6.1f µs/%s  %7.0f/s  %s%s",
				w.Name, round+1, c.Name, s.CPUMicros(), w.unit(), s.Throughput, tail, s.void())
			taken = append(taken, s)
		}
	}
	return taken, nil
}
