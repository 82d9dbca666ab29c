package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/telemetry"
)

// tokenVariable may hold the admin token, which other users of the machine
// could read on a command line.
const tokenVariable = "UNDERSTUDY_ADMIN_TOKEN"

type runOptions struct {
	streams *Streams
	signals <-chan os.Signal

	file  string
	quick config.QuickOptions
	serve serveFlags
	data  string // directory
}

// serveFlags are what cannot change while a proxy runs, as written.
type serveFlags struct {
	driver    string
	logLevel  string
	logFormat string
	pprof     bool
	takeover  bool
}

func newCmdRun(s *Streams, runF func(*runOptions) error) *cobra.Command {
	opts := &runOptions{streams: s}
	percent := 100.0
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy",
		Long: `Run the proxy, as flags or a file say.

The file is read again when it changes and on SIGHUP; a file that does not
validate changes nothing and says why. SIGHUP also reopens the access log.
SIGTERM and SIGINT let requests and copies finish, a second one ends at once.`,
		Example: `  # Copy everything that only reads
  understudy run --listen 127.0.0.1:8080 --primary http://127.0.0.1:9000 --shadow http://127.0.0.1:9001 --admin 127.0.0.1:9900

  # Copy a twentieth, writes too, to two shadows
  understudy run --listen :8080 --primary http://app:9000 --shadow http://next:9000 --shadow http://other:9000 --percent 5 --shadow-writes

  # Keep what is learned by comparing over restarts, for a verdict that takes days
  understudy run --listen 127.0.0.1:8080 --primary http://127.0.0.1:9000 --shadow http://127.0.0.1:9001 --admin 127.0.0.1:9900 --data learned

  # Record what is asked and answered, to look at it or to send it again
  understudy run --listen 127.0.0.1:8080 --primary http://127.0.0.1:9000 --record recordings

  # From a file
  understudy run -c understudy.yaml

  # Replace a running instance without losing a request
  understudy run -c understudy.yaml --takeover`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("percent") {
				opts.quick.Percent = &percent
			}
			if opts.quick.AdminToken == "" && opts.quick.Admin != "" {
				opts.quick.AdminToken = os.Getenv(tokenVariable)
			}
			if err := opts.check(cmd); err != nil {
				return err
			}
			if runF != nil {
				return runF(opts)
			}
			return runRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&opts.file, "config", "c", "", "configuration `file`")
	f.StringVar(&opts.quick.Listen, "listen", "", "`address` where clients connect")
	f.StringVar(&opts.quick.TLSCert, "tls-cert", "", "clients speak TLS: PEM `file` of the certificate")
	f.StringVar(&opts.quick.TLSKey, "tls-key", "", "PEM `file` of its key")
	f.StringVar(&opts.quick.Primary, "primary", "", "`URL` whose answers clients get")
	f.StringArrayVar(&opts.quick.Shadows, "shadow", nil, "`URL` that gets copies; may be repeated")
	f.StringVar(&opts.quick.CA, "backend-ca", "", "PEM `file` of who is trusted for https:// backends; empty = the system's")
	f.Float64Var(&percent, "percent", percent, "share of requests that is copied")
	f.BoolVar(&opts.quick.ShadowWrites, "shadow-writes", false, "copy requests that write too")
	f.StringVar(&opts.quick.Admin, "admin", "", "`address` of health, metrics and status; empty = off")
	f.StringVar(&opts.quick.AdminToken, "admin-token", "", "`token` that the admin address asks for (better in $"+tokenVariable+")")
	f.StringVar(&opts.quick.AccessLog, "access-log", "", "`file` for a JSON line per request, - = standard output")
	f.StringVar(&opts.quick.Record, "record", "", "`folder` for a recording of requests and answers; empty = nothing is recorded")
	f.IntVar(&opts.quick.Workers, "workers", 0, "event loops; 0 = one per core")
	f.StringVar(&opts.data, "data", "", "`directory` where what is learned of pairs is kept over restarts; empty = it is not")
	addServeFlags(cmd, &opts.serve)
	f.BoolVar(&opts.serve.pprof, "pprof", false, "serve profiles at the admin address")
	f.BoolVar(&opts.serve.takeover, "takeover", false, "take over from the instance that runs at the same addresses")
	return cmd
}

func addServeFlags(cmd *cobra.Command, o *serveFlags) {
	f := cmd.Flags()
	f.StringVar(&o.driver, "driver", "auto", "how sockets are driven: epoll, go, auto")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "auto", "text, json, auto = text on a terminal")
}

// inFile are the flags that a file says better.
var inFile = []string{"listen", "tls-cert", "tls-key", "primary", "shadow", "backend-ca", "percent", "shadow-writes", "admin", "admin-token", "access-log", "record", "workers"}

func (o *runOptions) check(cmd *cobra.Command) error {
	if _, err := o.serve.options(o.streams); err != nil {
		return &usageError{err}
	}
	switch o.file {
	case "-":
		return usagef("-c - cannot be read again when it changes: name a file")
	case "":
		if o.quick.Listen == "" && o.quick.Primary == "" {
			return usagef("say what to run: -c FILE, or at least --listen and --primary")
		}
		return nil
	}
	for _, name := range inFile {
		if cmd.Flags().Changed(name) {
			return usagef("--%s cannot be used with -c: write it into the file", name)
		}
	}
	return nil
}

// options reads the flags; stderr is where the log goes.
func (f *serveFlags) options(s *Streams) (instanceOptions, error) {
	driver, err := loop.ParseDriver(f.driver)
	if err != nil {
		return instanceOptions{}, fmt.Errorf("--driver: %w", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return instanceOptions{}, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", f.logLevel)
	}
	format, err := telemetry.ParseLogFormat(f.logFormat, s.ErrIsTerminal)
	if err != nil {
		return instanceOptions{}, fmt.Errorf("--log-format: %w", err)
	}
	return instanceOptions{
		log: telemetry.NewLogger(s.Err, format, level), stdout: s.Out, driver: driver, pprof: f.pprof, takeover: f.takeover,
	}, nil
}

// runRun serves until a signal, the end of ctx, or another instance ends it.
func runRun(ctx context.Context, opts *runOptions) error {
	signals := opts.signals
	if signals == nil {
		c := make(chan os.Signal, 4)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		defer signal.Stop(c)
		signals = c
	}
	file := &source{path: opts.file, quick: opts.quick}
	cfg, err := opts.config(file)
	if err != nil {
		return err
	}
	o, err := opts.serve.options(opts.streams)
	if err != nil {
		return err
	}
	o.data = opts.data
	makeRoom(cfg.Workers)
	saveMemory()
	i, err := startInstance(cfg, o)
	if err != nil {
		return err
	}
	opts.announce(i)
	i.warn(cfg)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := opts.serveUntilTold(ctx, i, file, signals); err != nil {
		return err
	}
	return end(i, signals)
}

func (o *runOptions) config(file *source) (*config.Config, error) {
	cfg, err := file.load()
	if err != nil && o.file == "" {
		return nil, &usageError{err}
	}
	return cfg, err
}

// saveMemory has the collector run when half as much again is in use as was needed
// last, unless the environment says otherwise. Live requests and copies allocate
// next to nothing, so it is comparing that pays for it.
func saveMemory() {
	const percent = 50
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// makeRoom lets as many threads run Go code as there are event loops, and one
// more for everything that is not a request. Without a number of loops the
// runtime's own choice, which knows the container's limit, is right. The limit
// of open files needs nothing: the os package raises it to the hard limit.
func makeRoom(workers int) {
	if workers > 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(workers+1, max(runtime.NumCPU(), workers)))
	}
}

// serveUntilTold waits for: a signal, a change of the file, the end of ctx,
// another instance that takes over.
func (o *runOptions) serveUntilTold(ctx context.Context, i *instance, file *source, signals <-chan os.Signal) error {
	var changes <-chan struct{}
	follow := func() {}
	if names := file.files(); len(names) > 0 {
		w, err := watchFiles(ctx, names...)
		if err != nil {
			i.options.log.Warn("changes of the configuration are seen on SIGHUP only", slog.Any("error", err))
		} else {
			changes = w.C
			follow = func() { _ = w.follow(file.files()) } // what cannot be watched is read on SIGHUP
		}
	}
	reload := func() {
		i.reload(file.load)
		follow()
	}
	if file.changed() { // after it was read, and before it was watched
		reload()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-i.retired:
			return nil // the proxy has said so
		case <-changes:
			if file.changed() {
				reload()
			}
		case s := <-signals:
			if s != syscall.SIGHUP {
				i.options.log.Info("finishing requests and copies; a second signal ends at once", slog.String("signal", s.String()))
				return nil
			}
			i.reopen()
			if len(file.files()) > 0 {
				reload()
			}
		}
	}
}

// end drains i. Another signal to end makes it end at once.
func end(i *instance, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- i.drain(ctx) }()
	for {
		select {
		case err := <-drained:
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				cancel()
			}
		}
	}
}

// announce says what goes where.
func (o *runOptions) announce(i *instance) {
	cfg, addrs := i.Config(), i.server.Addrs()
	if format, _ := telemetry.ParseLogFormat(o.serve.logFormat, o.streams.ErrIsTerminal); format == telemetry.LogJSON {
		for _, l := range cfg.Listeners {
			i.options.log.Info("listening", slog.String("listener", l.Name), slog.String("address", addrs[l.Name].String()))
		}
		i.options.log.Info("serving", slog.String("version", telemetry.ReadBuild().Version), slog.String("config", cfg.Version), slog.String("admin", i.adminURL()))
		return
	}
	var b strings.Builder
	fmt.Fprintln(&b, serverLine(i.Snapshot()))
	for _, l := range cfg.Listeners {
		fmt.Fprintf(&b, "  %-9s %s://%s\n", l.Name, strings.ToLower(l.Protocol), addrs[l.Name])
	}
	if url := i.adminURL(); url != "" {
		fmt.Fprintf(&b, "  %-9s %s\n", "admin", url)
	} else {
		fmt.Fprintf(&b, "  %-9s off; --admin 127.0.0.1:9900 turns status and metrics on\n", "admin")
	}
	const most = 12
	for n, r := range cfg.Routes {
		if n == most {
			fmt.Fprintf(&b, "  %-9s and %d more; understudy check lists them\n", "", len(cfg.Routes)-most)
			break
		}
		fmt.Fprintf(&b, "  %-9s %s\n", "route", routeLine(cfg, &r))
	}
	fmt.Fprint(o.streams.Err, b.String())
}
