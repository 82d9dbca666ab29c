package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

type statusOptions struct {
	streams *Streams
	admin   string
	token   string
	output  outputFormat
	watch   bool
	every   time.Duration
}

func newCmdStatus(s *Streams, runF func(*statusOptions) error) *cobra.Command {
	opts := &statusOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running proxy does: live requests, copies, endpoints",
		Long: `Show what a running proxy does: live requests, copies and what became of them,
how fast primary and shadow answer, and the state of endpoints.

Of the copies, selected = completed + dropped + failed + in flight. With --watch
the numbers are per second and the latencies those of the last moments; press q
to leave.`,
		Example: `  understudy status
  understudy status --watch
  understudy status --admin http://10.0.0.7:9900 -o json | jq '.mirrors[].dropped'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.every < 100*time.Millisecond {
				return usagef("--every %s is too often: at least 100ms", opts.every)
			}
			if opts.token == "" {
				opts.token = os.Getenv(tokenVariable)
			}
			if runF != nil {
				return runF(opts)
			}
			return statusRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.admin, "admin", defaultAdmin, "`address` or URL of the proxy's admin side")
	f.StringVar(&opts.token, "token", "", "admin `token` (better in $"+tokenVariable+")")
	f.BoolVarP(&opts.watch, "watch", "w", false, "keep showing, until q")
	f.DurationVar(&opts.every, "every", time.Second, "with --watch: time between two looks")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func statusRun(ctx context.Context, opts *statusOptions) error {
	c, err := newClient(opts.admin, opts.token)
	if err != nil {
		return err
	}
	defer c.close()
	if opts.watch {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return watch(ctx, &watchOptions{streams: opts.streams, ask: c.status, every: opts.every, output: opts.output})
	}
	status, err := c.status(ctx)
	if err != nil {
		return err
	}
	if opts.output == outputJSON {
		e := json.NewEncoder(opts.streams.Out)
		e.SetIndent("", "  ")
		return e.Encode(status)
	}
	v := view{now: status}
	if opts.streams.OutIsTerminal {
		fmt.Fprintf(opts.streams.Out, "%s\n\n", v.headline())
	}
	printTables(opts.streams, v.tables())
	return nil
}
