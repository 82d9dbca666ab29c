package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// What --until waits for.
const (
	untilDecided = "decided"
	untilPass    = "pass"
)

type reportOptions struct {
	streams  *Streams
	admin    string
	token    string
	mirror   string
	output   outputFormat
	wait     bool
	patience time.Duration
	until    string
}

func newCmdReport(s *Streams, runF func(*reportOptions) error) *cobra.Command {
	opts := &reportOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Say whether a shadow may take the primary's place, and if not, why",
		Long: `Say whether a shadow may take the primary's place, by comparing its answers
with the primary's: PASS, FAIL, RUNNING as long as neither has been shown, or
NOT_ENOUGH_TRAFFIC. A verdict may be looked at as often as one likes; that makes
it no less certain.

The exit code is 0 for PASS, 1 for FAIL and 3 for the others. If there is no
report, as when nobody is at the admin address, it is 1, so that a pipeline goes
on after a PASS alone; 2 is a mistake on the command line. With --wait the
command waits until the verdict is PASS or FAIL, or time is up.`,
		Example: `  understudy report

  # In a pipeline: wait for a verdict, and leave it to the CI system
  understudy report --wait --for 30m -o junit > verdict.xml

  # In a comment on a pull request
  understudy report --mirror trial -o markdown | gh pr comment --body-file -`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(cmd); err != nil {
				return err
			}
			if runF != nil {
				return runF(opts)
			}
			return reportRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.admin, "admin", defaultAdmin, "`address` or URL of the proxy's admin side")
	f.StringVar(&opts.token, "token", "", "admin `token` (better in $"+tokenVariable+")")
	f.StringVar(&opts.mirror, "mirror", "", "`name` of a mirror; empty = all")
	f.BoolVar(&opts.wait, "wait", false, "wait for the verdict; for a FAIL to be complete, 5s more at most")
	f.DurationVar(&opts.patience, "for", 10*time.Minute, "with --wait: for how long at most")
	f.StringVar(&opts.until, "until", untilDecided, "with --wait: decided = PASS or FAIL, pass = only PASS")
	addOutputFlag(cmd, &opts.output, outputJUnit, outputMarkdown)
	return cmd
}

func (o *reportOptions) check(cmd *cobra.Command) error {
	for _, name := range []string{"for", "until"} {
		if cmd.Flags().Changed(name) && !o.wait {
			return usagef("--%s belongs to --wait", name)
		}
	}
	if o.until != untilDecided && o.until != untilPass {
		return usagef("--until %q is none of %s, %s", o.until, untilDecided, untilPass)
	}
	if o.patience <= 0 {
		return usagef("--for %s is over before it begins", o.patience)
	}
	if o.token == "" {
		o.token = os.Getenv(tokenVariable)
	}
	return nil
}

func reportRun(ctx context.Context, opts *reportOptions) error {
	c, err := newClient(opts.admin, opts.token)
	if err != nil {
		return err
	}
	defer c.close()
	ask := func(ctx context.Context) (*analyze.Report, error) { return c.report(ctx, opts.mirror) }
	var report *analyze.Report
	if opts.wait {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		report, err = opts.waiting(ask).wait(ctx)
	} else {
		report, err = ask(ctx)
	}
	if err != nil {
		return err
	}
	if err := printReport(opts.streams, report, opts.output); err != nil {
		return err
	}
	return answerOf(report)
}

// printReport prints a report in one of the formats of understudy report.
func printReport(s *Streams, r *analyze.Report, output outputFormat) error {
	switch output {
	case outputJSON:
		return printJSON(s.Out, r)
	case outputJUnit:
		return writeJUnit(s.Out, r)
	case outputMarkdown:
		_, err := io.WriteString(s.Out, reportMarkdown(r))
		return err
	}
	if !s.OutIsTerminal {
		printTables(s, reportTables(r))
		return nil
	}
	_, err := io.WriteString(s.Out, reportText(r, terminalWidth(s), s.Color))
	return err
}

// answerOf turns a verdict into an exit code, as the error that stands for it.
func answerOf(r *analyze.Report) error {
	switch {
	case len(r.Mirrors) == 0:
		return errTooFew
	case r.Verdict == judge.Pass:
		return nil
	case r.Verdict == judge.Fail:
		return errNo
	}
	return errTooFew
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// terminalWidth is how many columns text for people may take.
func terminalWidth(s *Streams) int {
	const least, other = 40, 120
	if n, _ := s.Size(); n > 0 {
		return max(n, least)
	}
	return other
}

// waiting asks for reports until one says enough.
type waiting struct {
	ask      func(context.Context) (*analyze.Report, error)
	enough   func(*analyze.Report) bool
	patience time.Duration
	every    time.Duration
	say      func(line string)
}

func (o *reportOptions) waiting(ask func(context.Context) (*analyze.Report, error)) *waiting {
	w := &waiting{ask: ask, patience: o.patience, every: time.Second, say: (&progress{streams: o.streams}).say}
	var failed time.Time // when it first did; zero = it has not
	w.enough = func(r *analyze.Report) bool {
		if len(r.Mirrors) == 0 || r.Verdict == judge.Fail && o.until == untilPass {
			return false
		}
		if r.Verdict == judge.Fail && failed.IsZero() {
			failed = time.Now()
		}
		return r.Verdict == judge.Pass || r.Verdict == judge.Fail && (!holds(r) || time.Since(failed) >= settling)
	}
	return w
}

// settling is how long a FAIL is given to become complete: errors are known at once,
// and what differs when the shadow has been asked once more.
const settling = 5 * time.Second

// holds says that it is still being found out which differences count.
func holds(r *analyze.Report) bool {
	return slices.ContainsFunc(r.Mirrors, func(m analyze.MirrorReport) bool { return m.Held > 0 })
}

// wait returns the report that says enough, or the last one when time is up or ctx
// ends. An instance that is not there yet, or not for a moment, is waited for;
// one that refuses to answer is not.
func (w *waiting) wait(ctx context.Context) (*analyze.Report, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	defer w.say("")
	var last *analyze.Report
	var lost error
	for {
		report, err := w.ask(ctx)
		left := (w.patience - time.Since(begun)).Round(time.Second)
		switch {
		case ctx.Err() != nil:
		case err == nil && w.enough(report):
			return report, nil
		case err == nil:
			last = report
			w.say(fmt.Sprintf("%s (%s left)", standing(report), left))
		case !passing(err):
			return nil, err
		default:
			lost = err
			w.say(fmt.Sprintf("%s (%s left)", err, left))
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return last, nil
			}
			return nil, errors.Join(lost, fmt.Errorf("waited %s in vain for a report", time.Since(begun).Round(time.Second)))
		case <-tick.C:
		}
	}
}

// passing says whether err may be another one in a moment: nobody has answered.
func passing(err error) bool {
	var nobody *absentError
	var network *url.Error
	return errors.As(err, &nobody) || errors.As(err, &network)
}

// standing is how far the verdicts have come, in a line.
func standing(r *analyze.Report) string {
	line := "waiting: "
	if len(r.Mirrors) == 0 {
		return line + "nothing has been compared yet"
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		if i > 0 {
			line += "; "
		}
		line += fmt.Sprintf("%s %s, %s", printable(m.Mirror), m.Verdict, plural(int(m.Pairs), "pair"))
	}
	return line
}

// progress shows lines about something that takes long on stderr: the last one
// on a terminal, and one in a while elsewhere.
type progress struct {
	streams *Streams
	said    time.Time // when the last line was printed, elsewhere
}

// progressEvery keeps the log of a pipeline short.
const progressEvery = 30 * time.Second

// say shows a line instead of the one before; an empty one ends it.
func (p *progress) say(line string) {
	switch {
	case p.streams.ErrIsTerminal:
		fmt.Fprintf(p.streams.Err, "\r\x1b[K%s", line)
	case line == "" || time.Since(p.said) < progressEvery:
	default:
		p.said = time.Now()
		fmt.Fprintln(p.streams.Err, line)
	}
}
