package cli

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/demo"
)

type demoOptions struct {
	streams *Streams
	serve   serveFlags
	listen  string
	admin   string
	rate    int
	length  time.Duration
	shop    string // an edition: nothing but that shop
}

func newCmdDemo(s *Streams, runF func(*demoOptions) error) *cobra.Command {
	opts := &demoOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a small shop, a faulty shadow of it, and traffic",
		Long: `Start a small shop as primary, a version of it with faults planted as shadow,
the proxy between them and clients, and some clients; then show what happens.
Everything runs on loopback in this process and ends with it.

With --shop there is nothing but one edition of the shop, at the address of
--listen, for trying things out: classic is the primary's, trial the one with
faults, but without the one that comes and goes.`,
		Example: `  understudy demo

  # End by itself, with a summary
  understudy demo --for 10s

  # Two versions of a service to put a proxy in front of
  understudy demo --shop classic --listen 127.0.0.1:9000
  understudy demo --shop trial --listen 127.0.0.1:9001`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := opts.serve.options(s); err != nil {
				return &usageError{err}
			}
			if opts.rate < 1 || opts.rate > 1000 {
				return usagef("--rate %d is not between 1 and 1000", opts.rate)
			}
			if opts.length < 0 {
				return usagef("--for %s is over before it begins", opts.length)
			}
			if opts.shop != "" && !slices.Contains(demo.Editions, demo.Edition(opts.shop)) {
				return usagef("--shop %q is none of %s, %s", opts.shop, demo.Classic, demo.Trial)
			}
			if runF != nil {
				return runF(opts)
			}
			if opts.shop != "" {
				return shopRun(cmd.Context(), opts)
			}
			return demoRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&opts.length, "for", 0, "end after this time with a summary; 0 = on q or Ctrl-C")
	f.IntVar(&opts.rate, "rate", 50, "requests per second")
	f.StringVar(&opts.shop, "shop", "", "nothing but the shop, in an `edition`: classic or trial")
	f.StringVar(&opts.listen, "listen", "127.0.0.1:0", "`address` of the proxy, or of the shop; port 0 = any free one")
	f.StringVar(&opts.admin, "admin", "127.0.0.1:0", "`address` of health, metrics and status")
	addServeFlags(cmd, &opts.serve)
	return cmd
}

// shopRun keeps a shop open until it is told to close.
func shopRun(ctx context.Context, opts *demoOptions) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if opts.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.length)
		defer cancel()
	}
	shop, err := demo.OpenShopAt(demo.Edition(opts.shop), opts.listen)
	if err != nil {
		return err
	}
	defer shop.Close()
	fmt.Fprintf(opts.streams.Err, "the %s shop is at http://%s\n", opts.shop, shop.Address())
	<-ctx.Done()
	return nil
}

func demoRun(ctx context.Context, opts *demoOptions) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	primary, err := demo.OpenShop(demo.Classic)
	if err != nil {
		return err
	}
	defer primary.Close()
	shadow, err := demo.OpenShop(demo.Trial)
	if err != nil {
		return err
	}
	defer shadow.Close()
	cfg, err := config.Quick(config.QuickOptions{
		Listen: opts.listen, Primary: primary.Address(), Shadows: []string{shadow.Address()}, Admin: opts.admin,
	})
	if err != nil {
		return &usageError{err}
	}
	o, err := opts.instanceOptions()
	if err != nil {
		return err
	}
	i, err := startInstance(cfg, o)
	if err != nil {
		return err
	}
	showErr := opts.show(ctx, i)
	// What is still in the air belongs into the summary.
	drain, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := i.drain(drain); err != nil {
		return err
	}
	if showErr == nil {
		opts.summary(admin.NewStatus(i.Snapshot(), false))
		opts.verdict(i.pairs.Report())
	}
	return showErr
}

// instanceOptions keeps the log from writing over the screen.
func (o *demoOptions) instanceOptions() (instanceOptions, error) {
	s := *o.streams
	if s.OutIsTerminal && s.ErrIsTerminal {
		s.Err = io.Discard
	}
	return o.serve.options(&s)
}

// show sends traffic and shows what happens until ctx or the time is over.
func (o *demoOptions) show(ctx context.Context, i *instance) error {
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	base, adminURL := "http://"+i.server.Addrs()["web"].String(), i.adminURL()
	hints := o.hints(base, adminURL)
	if !o.streams.OutIsTerminal {
		for _, line := range hints {
			fmt.Fprintln(o.streams.Err, line)
		}
		fmt.Fprintln(o.streams.Err)
	}
	c, err := newClient(adminURL, "")
	if err != nil {
		return err
	}
	defer c.close()
	visiting, leave := context.WithCancel(ctx)
	visitors := &demo.Visitors{Base: base, PerSecond: o.rate}
	left := make(chan struct{})
	go func() {
		defer close(left)
		visitors.Visit(visiting)
	}()
	err = watch(ctx, &watchOptions{streams: o.streams, ask: c.status, every: time.Second, footer: hints})
	leave()
	<-left
	return err
}

func (o *demoOptions) hints(base, adminURL string) []string {
	lines := []string{"The shop is at " + base + ", its books at " + adminURL + ". Planted in the shadow:"}
	for _, f := range demo.Faults {
		lines = append(lines, "  - "+f)
	}
	return append(lines, "Try:",
		"  curl -i "+base+"/api/products/3",
		"  curl -i -d '{\"product\": 2, \"number\": 1}' "+base+"/api/cart",
		"  curl "+adminURL+"/metrics",
		"  understudy status --admin "+adminURL,
		"  understudy report --admin "+adminURL,
		"  understudy diffs --admin "+adminURL,
	)
}

// verdict says whether the shadow may go live, and why not.
func (o *demoOptions) verdict(r *analyze.Report) {
	p := &paper{columns: terminalWidth(o.streams), color: o.streams.Color}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		p.line("")
		p.verdict(m)
	}
	fmt.Fprint(o.streams.Out, p.String())
}

// summary says what came of it.
func (o *demoOptions) summary(s *admin.Status) {
	v := view{now: s}
	if o.streams.OutIsTerminal {
		printTables(o.streams, v.tables()[:2])
	}
	var live, failed uint64
	for i := range s.Routes {
		live += s.Routes[i].Requests
		failed += admin.Sum(s.Routes[i].Failed)
	}
	fmt.Fprintf(o.streams.Out, "\nlive: %d requests, %d failed\n", live, failed)
	for i := range s.Mirrors {
		m := &s.Mirrors[i]
		var errors uint64
		for code, n := range m.Codes {
			if code >= "500" {
				errors += n
			}
		}
		fmt.Fprintf(o.streams.Out, "copies: %d selected = %d completed + %d dropped + %d failed + %d in flight\n",
			m.Selected, m.Completed, admin.Sum(m.Dropped), admin.Sum(m.Failed), m.InFlight)
		fmt.Fprintf(o.streams.Out, "the shadow answered %d of them with an error; no client noticed\n", errors)
	}
}
