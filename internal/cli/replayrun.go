package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/replay"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// replayed is what a replay gives to programs.
type replayed struct {
	Replay *replay.Summary `json:"replay"`
	Report *analyze.Report `json:"report"`
}

// replayNames are what reports call the two sides.
var replayNames = replay.Names{Route: "replay", Mirror: "target", Primary: "recorded", Shadow: "target"}

// replayRun sends the recording and prints what came of it. Its error says the
// verdict.
func replayRun(ctx context.Context, opts *replayOptions) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once, as without us
	cfg, err := opts.rules()
	if err != nil {
		return err
	}
	opts.target.Body = int64(cfg.Capture.Body) // as much as was recorded can be compared
	target, err := replay.NewTarget(ctx, opts.target)
	if err != nil {
		return &usageError{fmt.Errorf("--target: %w", err)}
	}
	defer target.Close()
	if err := lookInto(opts.folder); err != nil {
		return err
	}
	pipeline, err := analyze.New(cfg, analyze.Options{Offline: opts.once, Asker: targetAsker{target}, OtherKey: cfg.Redact.Key == ""})
	if err != nil {
		return err
	}
	o := opts.replay
	o.Target, o.Names = target, replayNames
	o.Filter = opts.chosen.Match
	o.Sink, o.Ahead = pipeline, max(1, cfg.Capture.Queue/2)
	r, err := replay.New(o)
	if err != nil {
		return &usageError{err}
	}
	summary, runErr := opts.send(ctx, r)
	// What was sent before a signal is looked at after it.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := errors.Join(pipeline.Wait(late), pipeline.Close(late)); err != nil {
		return errors.Join(runErr, err)
	}
	if runErr == nil && summary.Read == 0 && summary.End == replay.EndAll {
		return errNothingChosen(opts.folder, "")
	}
	report := pipeline.Report()
	if err := errors.Join(runErr, opts.show(&replayed{summary, report})); err != nil {
		return err
	}
	return answerOf(report)
}

// lookInto says whether there is a recording.
func lookInto(folder string) error {
	reader, err := recording.Open(folder)
	if err != nil {
		return err
	}
	return reader.Close()
}

// send replays and shows how far it is.
func (o *replayOptions) send(ctx context.Context, r *replay.Replay) (*replay.Summary, error) {
	var problems []recording.Problem
	source := replay.Repeat(func() (replay.Source, error) {
		reader, err := recording.Open(o.folder)
		if err != nil {
			return nil, err
		}
		return &countedReader{Reader: reader, problems: &problems}, nil
	}, o.loop)
	shown := make(chan struct{})
	showing, done := context.WithCancel(ctx)
	go func() {
		defer close(shown)
		o.showProgress(showing, r)
	}()
	summary, err := r.Run(ctx, source)
	done()
	<-shown
	warnOfProblems(o.streams, problems)
	return summary, err
}

// countedReader notes which parts of a recording could not be read.
type countedReader struct {
	*recording.Reader
	problems *[]recording.Problem
}

// Close implements io.Closer.
func (r *countedReader) Close() error {
	*r.problems = r.Problems() // of the last pass: they are those of all
	return r.Reader.Close()
}

// rules is the configuration that a replay is compared by: one mirror, with the
// rules of the one that the flags name.
func (o *replayOptions) rules() (*config.Config, error) {
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: "127.0.0.1:1", Shadow: "127.0.0.1:1"})
	if err != nil {
		return nil, err
	}
	rule := &cfg.Routes[0].Rules[0]
	cfg.Routes[0].Name = replayNames.Route
	cfg.Backends[0].Name, rule.Backends[0].Name = replayNames.Primary, replayNames.Primary
	cfg.Backends[1].Name, rule.Mirrors[0].Backend = replayNames.Shadow, replayNames.Shadow
	rule.Mirrors[0].Name = replayNames.Mirror
	if o.config == "" {
		return cfg, nil
	}
	file, err := config.Load(o.config)
	if err != nil {
		return nil, err
	}
	mirror, err := o.find(file)
	if err != nil {
		return nil, &usageError{err}
	}
	cfg.Capture, cfg.Redact = file.Capture, file.Redact
	rule.Mirrors[0].Compare = mirror.Compare
	rule.Mirrors[0].Compare.Baseline = "" // nobody is there to be asked
	return cfg, nil
}

// find returns the mirror that --mirror names, or the only one.
func (o *replayOptions) find(cfg *config.Config) (*config.Mirror, error) {
	var found []*config.Mirror
	for i := range cfg.Routes {
		for j := range cfg.Routes[i].Rules {
			mirrors := cfg.Routes[i].Rules[j].Mirrors
			for k := range mirrors {
				if o.mirror == "" || mirrors[k].Name == o.mirror {
					found = append(found, &mirrors[k])
				}
			}
		}
	}
	switch {
	case len(found) == 1 || len(found) > 1 && o.mirror != "":
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%s has several mirrors: say whose rules are meant by --mirror", o.config)
	case o.mirror != "":
		return nil, fmt.Errorf("%s has no mirror %q", o.config, o.mirror)
	}
	return nil, fmt.Errorf("%s has no mirror", o.config)
}

// targetAsker has a pipeline ask the target once more, to tell noise from
// differences.
type targetAsker struct{ target *replay.Target }

// Ask implements analyze.Asker.
func (a targetAsker) Ask(ctx context.Context, q *analyze.Question) *traffic.Outcome {
	o := a.target.Ask(ctx, q.Request)
	o.Backend, o.Mirror = q.Backend, q.Mirror
	return o
}

// show prints what came of it, and writes the report file.
func (o *replayOptions) show(r *replayed) error {
	if o.report != "" {
		if err := saveJSON(o.report, r.Report); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	if o.output == outputJSON {
		return printJSON(o.streams.Out, r)
	}
	to := o.streams.Out
	if o.output != outputTable {
		to = o.streams.Err // where it is in nobody's way
	}
	for _, line := range summaryLines(r.Replay) {
		fmt.Fprintln(to, line)
	}
	if o.output != outputTable {
		return printReport(o.streams, r.Report, o.output)
	}
	_, err := fmt.Fprint(to, "\n"+reportText(r.Report, terminalWidth(o.streams), o.streams.Color))
	return err
}

func saveJSON(name string, v any) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(printJSON(file, v), file.Close())
}
