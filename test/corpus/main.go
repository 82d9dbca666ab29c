package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/judge"
)

func main() {
	only := flag.String("fault", "", "run only faults whose name has this in it, and print what was reported")
	clean := flag.Int("clean", 200, "runs without a fault; 0 = none")
	limit := flag.Int("requests", 12000, "requests of a run, at most; 0 = no faults")
	quiet := flag.Int("clean-requests", 2000, "requests of a run without a fault")
	seed := flag.Uint64("seed", 1, "of traffic and noise")
	verbose := flag.Bool("explain", false, "print what was reported of every run")
	parallel := flag.Int("parallel", 6, "runs at once: they mostly wait")
	out := flag.String("out", "", "file for the tables")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := play(ctx, options{*only, *clean, *limit, *quiet, *seed, *out, *verbose, *parallel}); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

type options struct {
	only                string
	clean, limit, quiet int
	seed                uint64
	out                 string
	explain             bool
	parallel            int
}

func play(ctx context.Context, o options) error {
	var plans []plan
	for i, f := range faults() {
		if o.limit > 0 && strings.Contains(f.name, o.only) {
			plans = append(plans, plan{o.seed + uint64(i)*10, f, o.limit})
		}
	}
	for i := range o.clean {
		if o.only == "" {
			plans = append(plans, plan{o.seed + uint64(1000+i)*10, nil, o.quiet})
		}
	}
	var planted, alarms []*outcome
	err := perform(ctx, plans, o.parallel, func(got *outcome) {
		fmt.Println(got)
		if o.explain || o.only != "" {
			explain(os.Stdout, got)
		}
		if got.fault == nil {
			alarms = append(alarms, got)
		} else {
			planted = append(planted, got)
		}
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	write(&b, planted, alarms, o)
	if o.out != "" {
		return os.WriteFile(o.out, []byte(b.String()), 0o644)
	}
	_, err = io.WriteString(os.Stdout, b.String())
	return err
}

// plan is a run to be made.
type plan struct {
	seed  uint64
	fault *fault
	limit int
}

// perform makes several runs at once, which mostly wait, and tells of each in the
// order of the plans. It ends with the first that fails.
func perform(ctx context.Context, plans []plan, parallel int, tell func(*outcome)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		outcome *outcome
		err     error
	}
	results := make([]chan result, len(plans))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	free := make(chan struct{}, parallel)
	go func() {
		for i, p := range plans {
			free <- struct{}{}
			go func() {
				defer func() { <-free }()
				got, err := run(ctx, p.seed, p.fault, p.limit)
				results[i] <- result{got, err}
			}()
		}
	}()
	for i, p := range plans {
		r := <-results[i]
		if r.err != nil && p.fault != nil {
			return fmt.Errorf("%s: %w", p.fault.name, r.err)
		} else if r.err != nil {
			return fmt.Errorf("without a fault: %w", r.err)
		}
		tell(r.outcome)
	}
	return nil
}

func explain(w io.Writer, o *outcome) {
	for _, m := range o.report.Mirrors {
		fmt.Fprintf(w, "  mirror %s of %s: %s %v\n", m.Mirror, m.Route, m.Verdict, m.Classes)
		for _, reason := range m.Reasons {
			fmt.Fprintln(w, "    ", reason)
		}
		for _, e := range m.Endpoints {
			fmt.Fprintf(w, "     endpoint %s: %d pairs, %v\n", e.Endpoint, e.Pairs, e.Classes)
		}
		for _, c := range m.Clusters {
			fmt.Fprintf(w, "     cluster %s %s: %s, %d times, %v\n", c.Endpoint, c.Class, c.Title, c.Count, c.Predictors)
		}
		for _, n := range m.Noise {
			fmt.Fprintf(w, "     noise %s %s: %s, %d times\n", n.Endpoint, n.Path, n.Why, n.Seen)
		}
	}
}

func failed(list []*outcome) (n int) {
	for _, o := range list {
		if o.verdict == judge.Fail {
			n++
		}
	}
	return n
}

// write writes the tables.
func write(w io.Writer, planted, alarms []*outcome, o options) {
	fmt.Fprintf(w, "# Planted faults and false alarms\n\nWritten by `go run ./test/corpus -seed %d -requests %d -clean %d -clean-requests %d`.\n", o.seed, o.limit, o.clean, o.quiet)
	if len(planted) > 0 {
		writePlanted(w, planted, alarms)
	}
	if len(alarms) > 0 {
		writeAlarms(w, alarms)
	}
}

func writePlanted(w io.Writer, planted, alarms []*outcome) {
	fmt.Fprint(w, "\n## Faults\n\n| fault | endpoint | found | pairs of the endpoint | requests | predictor | Diffy's rule |\n|---|---|---|---:|---:|---|---|\n")
	var found, right, wrong, causes, caused, diffy, diffyAsked int
	var pairs []int64
	for _, p := range planted {
		mark := "**missed**"
		if p.found() {
			mark, found = "yes", found+1
			pairs = append(pairs, p.pairs)
		}
		for _, f := range p.findings {
			if p.right(f) {
				right++
			} else {
				wrong++
				mark += ", and wrongly " + string(f.metric) + " of " + f.endpoint
			}
		}
		predictor := ""
		if p.fault.attribute != "" {
			causes++
			if predictor = p.predicted; p.caused() {
				caused++
			} else {
				predictor += " (wrong)"
			}
		}
		rule := "not judged"
		if p.fault.call == nil && p.fault.metrics[0] != judge.Latency {
			diffyAsked++
			rule = "missed"
			if p.diffyFound() {
				rule, diffy = "shown", diffy+1
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d | %d | %s | %s |\n", p.fault.name, p.fault.endpoint, mark, p.pairs, p.requests, predictor, rule)
	}
	for _, a := range alarms {
		wrong += len(a.findings)
	}
	slices.Sort(pairs)
	median := int64(0)
	if len(pairs) > 0 {
		median = pairs[len(pairs)/2]
	}
	fmt.Fprintf(w, "\n- Recall: %d of %d, %.3f.\n- Precision, over all failed checks of all runs (%d right, %d wrong, those without a fault included): %.3f.\n- Median pairs of the endpoint to detection: %d (looked at after every %d requests).\n",
		found, len(planted), float64(found)/float64(len(planted)), right, wrong, float64(right)/math.Max(1, float64(right+wrong)), median, look)
	fmt.Fprintf(w, "- The first predictor names the cause: %d of %d.\n- Diffy's rule shows a field of the endpoint at that moment: %d of %d that it can judge (neither latency nor gRPC).\n", caused, causes, diffy, diffyAsked)
}

func writeAlarms(w io.Writer, alarms []*outcome) {
	n, ever, last := len(alarms), 0, 0
	verdicts := map[judge.Verdict]int{}
	for _, a := range alarms {
		if a.diffyEver {
			ever++
		}
		if len(a.diffyLast) > 0 {
			last++
		}
		verdicts[a.verdict]++
	}
	bad := failed(alarms)
	low, high := interval(bad, n)
	fmt.Fprintf(w, "\n## False alarms\n\nThe same version as primary and shadow, with all the noise.\n\n| judged by | runs with an alarm | of | 95 %% interval |\n|---|---:|---:|---|\n| understudy: FAIL at any of the looks | %d | %d | %.1f %% to %.1f %% |\n", bad, n, 100*low, 100*high)
	low, high = interval(ever, n)
	fmt.Fprintf(w, "| Diffy's rule: a field shown at any of the looks | %d | %d | %.1f %% to %.1f %% |\n", ever, n, 100*low, 100*high)
	low, high = interval(last, n)
	fmt.Fprintf(w, "| Diffy's rule: a field shown at the end | %d | %d | %.1f %% to %.1f %% |\n", last, n, 100*low, 100*high)
}

// interval is Clopper and Pearson's of 95 % for k of n, found by bisection.
func interval(k, n int) (low, high float64) {
	if k > 0 {
		low = bisect(func(p float64) bool { return atLeast(k, n, p) < 0.025 })
	}
	high = 1
	if k < n {
		high = bisect(func(p float64) bool { return 1-atLeast(k+1, n, p) > 0.025 })
	}
	return low, high
}

// bisect returns where below stops to hold, between 0 and 1.
func bisect(below func(float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// atLeast is the probability of k or more successes of n.
func atLeast(k, n int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}
