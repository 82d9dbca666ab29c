package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/replay"
)

// replayOptions are the flags of replay, as written.
type replayOptions struct {
	streams *Streams
	folder  string

	target  replay.TargetOptions
	headers []string
	host    string

	speed       string
	rate        float64
	concurrency int
	session     string
	loop        int
	once        bool
	filter      string
	redacted    string
	latency     bool

	replay replay.Options // what the flags above mean, and more
	chosen recording.Filter

	config string
	mirror string
	report string
	output outputFormat
}

func newCmdReplay(s *Streams, runF func(*replayOptions) error) *cobra.Command {
	opts := &replayOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "replay DIR --target URL",
		Short: "Send a recording again, and compare the answers with the recorded ones",
		Long: `Send the requests of a recording to a target again, at the recorded pace or
another, and compare what it answers now with what the primary answered then.

Requests are sent when they are due, whether or not the target is in time; only
--speed max waits for answers. Those of a session are sent one after the other.
What is not sent is counted with its reason. Requests that write are sent with
--writes only, and to addresses of this machine unless --allow names another.

Exit codes: 0 the verdict is PASS, 1 it is FAIL or there is no report, 2 the
command line is wrong, 3 there was too little to tell.
Ctrl-C ends early, with the report so far; a second one ends at once.`,
		Example: `  # Does the next version answer as the recorded one did?
  understudy replay recordings --target http://127.0.0.1:9001

  # Ten minutes at 500 requests per second, over and over
  understudy replay recordings --target http://127.0.0.1:9001 --rate 500 --for 10m --loop 100

  # As fast as 64 requests at a time get their answers, with a token that is valid now
  understudy replay recordings --target https://staging.example.com --allow staging.example.com \
    --speed max --concurrency 64 --header "authorization=Bearer $TOKEN"`,
		Args: oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.folder = args[0]
			if err := opts.read(cmd); err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(opts)
			}
			return replayRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.target.URL, "target", "", "`URL` that requests are sent to")
	f.StringArrayVar(&opts.target.Allow, "allow", nil, "`host`, address or prefix that the target may be besides this machine; may be repeated")
	f.StringVar(&opts.speed, "speed", "original", "`pace`: original, a factor such as 2x, or max = as fast as answers come")
	f.Float64Var(&opts.rate, "rate", 0, "`requests` per second instead, evenly spaced")
	f.IntVar(&opts.concurrency, "concurrency", 256, "requests on their way at once, at most")
	f.StringVar(&opts.session, "session", "", "`key` that keeps requests in order: header:NAME, cookie:NAME, client or none; empty = client with its authorization and cookies")
	f.StringVar(&opts.filter, "filter", "", "`filter` of requests, as for recordings: method=GET,host=shop.example.com,path=/api,status=2xx")
	f.BoolVar(&opts.replay.Writes, "writes", false, "send requests that write, too")
	f.BoolVar(&opts.replay.Cut, "send-cut", false, "send requests whose body was not kept whole, too")
	f.StringVar(&opts.redacted, "redacted", "send", "`what` becomes of requests with tokens in place of credentials: send or skip")
	f.BoolVar(&opts.once, "once", false, "ask nothing twice; else up to a tenth of what reads is, to tell noise from differences")
	f.StringArrayVar(&opts.headers, "header", nil, "set `name=value` in every request, or leave it out: name=; may be repeated")
	f.StringVar(&opts.host, "host", "preserve", "`host` that is sent: preserve = the recorded one, target = the target's own")
	f.BoolVar(&opts.target.HTTP2, "http2", false, "speak HTTP/2 in clear; over TLS it is agreed upon by itself")
	f.StringVar(&opts.target.CA, "ca", "", "PEM `file` of who is trusted for https; empty = the system's")
	f.DurationVar(&opts.target.Timeout, "timeout", 15*time.Second, "of one request, until the end of its answer")
	f.Int64Var(&opts.replay.Limit, "limit", 0, "end after so many requests; 0 = all")
	f.DurationVar(&opts.replay.For, "for", 0, "end after this time; 0 = at the end of the recording")
	f.IntVar(&opts.loop, "loop", 1, "times that the recording is sent")
	f.BoolVar(&opts.latency, "judge-latency", false, "let latencies count for the verdict: if the target runs as the primary did")
	f.StringVarP(&opts.config, "config", "c", "", "configuration `file` whose rules say what counts as a difference")
	f.StringVar(&opts.mirror, "mirror", "", "`name` of the mirror in it; may be left out if there is one")
	f.StringVar(&opts.report, "report", "", "`file` for the report as JSON")
	addOutputFlag(cmd, &opts.output, outputJUnit, outputMarkdown)
	return cmd
}

// oneFolder wants the one argument that replay takes.
func oneFolder(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usagef("say which recording: the folder that run --record wrote")
	case 1:
		return nil
	}
	return usagef("unexpected argument %q", args[1])
}

// read checks the flags and says them in the words of the room.
func (o *replayOptions) read(cmd *cobra.Command) error {
	var err error
	if o.replay.Pace, err = o.pace(cmd); err != nil {
		return err
	}
	if o.replay.Session, err = replay.ParseSessionKey(o.session); err != nil {
		return fmt.Errorf("--session: %w", err)
	}
	if o.chosen, err = recording.ParseFilter(o.filter); err != nil {
		return fmt.Errorf("--filter: %w", err)
	}
	for _, text := range o.headers {
		h, err := replay.ParseHeader(text)
		if err != nil {
			return fmt.Errorf("--header: %w", err)
		}
		o.target.Headers = append(o.target.Headers, h)
	}
	switch o.host {
	case "preserve":
	case "target":
		o.target.OwnHost = true
	default:
		return fmt.Errorf("--host %q is neither preserve nor target", o.host)
	}
	o.replay.Untimed = !o.latency
	switch {
	case o.target.URL == "":
		return errors.New("--target is missing: say where requests go, such as http://127.0.0.1:9001")
	case o.redacted != "send" && o.redacted != "skip":
		return fmt.Errorf("--redacted %q is neither send nor skip", o.redacted)
	case o.concurrency < 1:
		return fmt.Errorf("--concurrency %d is not above 0", o.concurrency)
	case o.replay.Limit < 0:
		return fmt.Errorf("--limit %d is below 0", o.replay.Limit)
	case o.replay.For < 0:
		return fmt.Errorf("--for %s is over before it begins", o.replay.For)
	case o.loop < 1:
		return fmt.Errorf("--loop %d is not above 0", o.loop)
	case o.target.Timeout <= 0:
		return fmt.Errorf("--timeout %s is not above 0", o.target.Timeout)
	case o.mirror != "" && o.config == "":
		return errors.New("--mirror names a mirror of a configuration: give it with -c")
	}
	o.replay.NoTokens = o.redacted == "skip"
	o.replay.Concurrency, o.target.Conns = o.concurrency, o.concurrency
	return nil
}

func (o *replayOptions) pace(cmd *cobra.Command) (replay.Pace, error) {
	if !cmd.Flags().Changed("rate") {
		p, err := replay.ParseSpeed(o.speed)
		if err != nil {
			err = fmt.Errorf("--speed: %w", err)
		}
		return p, err
	}
	if cmd.Flags().Changed("speed") {
		return replay.Pace{}, errors.New("--speed and --rate exclude each other")
	}
	if !(o.rate > 0) {
		return replay.Pace{}, fmt.Errorf("--rate %g is not above 0", o.rate)
	}
	return replay.Pace{Rate: o.rate}, nil
}
