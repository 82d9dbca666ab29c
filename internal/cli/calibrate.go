package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
)

type calibrateOptions struct {
	streams *Streams
	admin   string
	token   string
	mirror  string
	length  time.Duration
	forget  bool
	output  outputFormat
}

func newCmdCalibrate(s *Streams, runF func(*calibrateOptions) error) *cobra.Command {
	opts := &calibrateOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Measure a shadow of the primary's own version, for verdicts to allow for it",
		Long: `Declare that the shadow of a running proxy is of the primary's own version now,
watch both for a time, and keep what they differ by without being different: by
how much the shadow is slower where it runs, and how often answers differ. Later
verdicts on the mirror allow for that.

What was learned of the mirror before is forgotten. Ctrl-C leaves calibrations
as they were. Exit code 3: there were too few requests.`,
		Example: `  # Deploy the primary's version as the shadow, then
  understudy calibrate --for 10m

  # The shadow has moved to other machines
  understudy calibrate --forget --mirror shop-v2`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.length <= 0 {
				return usagef("--for %s is over before it begins", opts.length)
			}
			if opts.token == "" {
				opts.token = os.Getenv(tokenVariable)
			}
			if runF != nil {
				return runF(opts)
			}
			return calibrateRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.admin, "admin", defaultAdmin, "`address` or URL of the proxy's admin side")
	f.StringVar(&opts.token, "token", "", "admin `token` (better in $"+tokenVariable+")")
	f.StringVar(&opts.mirror, "mirror", "", "`name` of the mirror; empty = all")
	f.DurationVar(&opts.length, "for", 10*time.Minute, "how long to watch")
	f.BoolVar(&opts.forget, "forget", false, "forget what was calibrated, instead")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func calibrateRun(ctx context.Context, opts *calibrateOptions) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := newClient(opts.admin, opts.token)
	if err != nil {
		return err
	}
	defer c.close()
	if opts.forget {
		return opts.uncalibrate(ctx, c)
	}
	if _, err := c.ask(ctx, http.MethodPost, opts.path("/api/v1/report/reset")); err != nil {
		return err
	}
	if err := opts.watch(ctx, c); err != nil {
		return err
	}
	body, err := c.ask(ctx, http.MethodPost, opts.path("/api/v1/calibration"))
	if errors.Is(err, errTooFew) {
		fmt.Fprintf(opts.streams.Err, "nothing is calibrated: %v\n", err)
		return errTooFew
	}
	if err != nil {
		return err
	}
	var measured admin.Calibrations
	if err := json.Unmarshal(body, &measured); err != nil {
		return fmt.Errorf("%s does not answer as understudy does: %w", c.base, err)
	}
	if opts.output == outputJSON {
		return printJSON(opts.streams.Out, &measured)
	}
	printTables(opts.streams, []*table{calibrationTable(measured.Calibrations)})
	return nil
}

// path adds the mirror to a path of the API.
func (o *calibrateOptions) path(path string) string {
	return path + query("mirror", o.mirror)
}

func (o *calibrateOptions) uncalibrate(ctx context.Context, c *client) error {
	body, err := c.ask(ctx, http.MethodPost, o.path("/api/v1/calibration/reset"))
	if err != nil {
		return err
	}
	var done admin.ResetDone
	if err := json.Unmarshal(body, &done); err != nil {
		return fmt.Errorf("%s does not answer as understudy does: %w", c.base, err)
	}
	if o.output == outputJSON {
		return printJSON(o.streams.Out, &done)
	}
	if len(done.Mirrors) == 0 {
		fmt.Fprintln(o.streams.Out, "nothing was calibrated")
		return nil
	}
	fmt.Fprintf(o.streams.Out, "no longer calibrated: %s\n", strings.Join(done.Mirrors, ", "))
	return nil
}

// errCalledOff says that a calibration did not come to its end.
var errCalledOff = errors.New("called off, nothing is calibrated")

// watch waits for the time to pass, and shows how many pairs there are.
func (o *calibrateOptions) watch(ctx context.Context, c *client) error {
	p := progress{streams: o.streams}
	defer p.say("")
	begun := time.Now()
	over := time.NewTimer(o.length)
	defer over.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errCalledOff
		case <-over.C:
			return nil
		case now := <-tick.C:
			report, err := c.report(ctx, o.mirror)
			switch {
			case ctx.Err() != nil:
				return errCalledOff
			case err == nil:
				p.say(watchedLine(report, now.Sub(begun), o.length))
			case passing(err): // it may be there again in a moment
				p.say(err.Error())
			default:
				return err
			}
		}
	}
}

func watchedLine(r *analyze.Report, took, length time.Duration) string {
	var texts []string
	for i := range r.Mirrors {
		texts = append(texts, fmt.Sprintf("%s %s", r.Mirrors[i].Mirror, plural(int(r.Mirrors[i].Pairs), "pair")))
	}
	return fmt.Sprintf("%s of %s: %s", took.Truncate(time.Second), length, strings.Join(texts, ", "))
}

// calibrationTable says what verdicts allow for.
func calibrationTable(all []analyze.Calibration) *table {
	t := newTable("Verdicts allow for", "ROUTE", "MIRROR", ">PAIRS", ">LATENCY", ">SCALE", ">DIFFERING")
	for i := range all {
		c := &all[i]
		o := c.Offsets
		t.add(c.Route, c.Mirror, o.Pairs, fmt.Sprintf("%+.2f ms", float64(o.Latency)/float64(time.Millisecond)), fmt.Sprintf("x %.3f", o.Scale),
			fmt.Sprintf("%.2f to %.2f %%", 100*o.MismatchLow, 100*o.Mismatch))
		if o.MismatchLow > muchNoise {
			t.remark("many answers of one version differ: 'understudy diffs' shows where, and rules in compare: may tell noise")
		}
	}
	return t
}

// muchNoise is a share of differing answers that hides regressions.
const muchNoise = 0.01
