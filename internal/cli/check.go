package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/route"
)

type checkOptions struct {
	streams    *Streams
	output     outputFormat
	file       string
	request    string
	headers    []string
	from       string
	listener   string
	identities []string
	server     string
	given      map[string]bool // flags that describe a connection
}

func newCmdCheck(s *Streams, runF func(*checkOptions) error) *cobra.Command {
	opts := &checkOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration, and explain what it does with a request",
		Long: `Validate a configuration file: every problem is printed, with its line. Without
a problem the rules are listed.

With --request the command explains which rule matches and why others do not,
where the request goes, and for each mirror whether and why it is copied, and
what the copy looks like. With --listener, --from or --sni and without --request
it explains a connection to a listener of TCP, TLS or UDP in the same way.

The exit code is 1 if there is a problem, or if no rule matches the request or
the connection.`,
		Example: `  understudy check -c understudy.yaml
  understudy check -c understudy.yaml --request 'POST /api/x?y=1' --header 'host: shop.example.com' --from 10.1.2.3
  understudy check -c understudy.yaml --listener db --from 10.1.2.3`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.file == "" {
				return usagef("say which file: -c FILE")
			}
			opts.given = map[string]bool{}
			for _, name := range []string{"header", "from", "listener", "sni", "identity"} {
				opts.given[name] = cmd.Flags().Changed(name)
			}
			switch {
			case opts.request == "" && opts.given["header"]:
				return usagef("--header belongs to a --request")
			case opts.request == "" && opts.given["identity"]:
				return usagef("--identity belongs to a --request")
			case opts.request != "" && opts.given["sni"]:
				return usagef("--sni belongs to a connection, not to a --request")
			}
			if runF != nil {
				return runF(opts)
			}
			return checkRun(opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&opts.file, "config", "c", "", "configuration `file`, - = standard input")
	f.StringVar(&opts.request, "request", "", "`request` to explain, such as 'GET /path?query'")
	f.StringArrayVar(&opts.headers, "header", nil, "`field` of the request, such as 'x-user: 7'; may be repeated")
	f.StringVar(&opts.from, "from", "127.0.0.1", "`address` that the request comes from")
	f.StringArrayVar(&opts.identities, "identity", nil, "`name` in the client's certificate, such as spiffe://example.org/web; may be repeated")
	f.StringVar(&opts.server, "sni", "", "`name` of the server that a TLS client asks for")
	f.StringVar(&opts.listener, "listener", "", "`name` of the listener that it comes to; default: the first")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// checkReport is what -o json prints.
type checkReport struct {
	Valid    bool            `json:"valid"`
	Version  string          `json:"version,omitempty"`
	Problems []problemReport `json:"problems"`
	Warnings []problemReport `json:"warnings,omitempty"`
	Rules    []ruleReport    `json:"rules"`
	Request  *requestReport  `json:"request,omitempty"`
}

type problemReport struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type ruleReport struct {
	Route     string   `json:"route"`
	Rule      int      `json:"rule"`
	Listeners []string `json:"listeners"` // empty = all
	Hostnames []string `json:"hostnames"` // empty = all
	Matches   string   `json:"matches"`
	Target    string   `json:"target"`
	Mirrors   string   `json:"mirrors"`
}

func checkRun(opts *checkOptions) error {
	cfg, err := config.Load(opts.file)
	cfg, err = compiled(opts.file, cfg, err)
	var problems config.Errors
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	report := &checkReport{Valid: err == nil, Problems: []problemReport{}, Rules: []ruleReport{}}
	for _, p := range problems {
		report.Problems = append(report.Problems, problemReport{p.File, p.Line, p.Path, p.Message, p.Hint})
	}
	if err == nil {
		for _, w := range cfg.Warnings {
			report.Warnings = append(report.Warnings, problemReport{w.File, w.Line, w.Path, w.Message, w.Hint})
		}
		if err := opts.explain(cfg, report); err != nil {
			return err
		}
	}
	if opts.output == outputJSON {
		e := json.NewEncoder(opts.streams.Out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	} else {
		opts.print(cfg, report, problems)
	}
	if !report.Valid || report.Request != nil && report.Request.Rule == nil {
		return errNo
	}
	return nil
}

// explain fills in what a valid configuration does.
func (o *checkOptions) explain(cfg *config.Config, report *checkReport) error {
	report.Version = cfg.Version
	table, left := route.Compile(cfg)
	for _, p := range left {
		report.Valid = false
		report.Problems = append(report.Problems, problemReport{File: o.file, Path: p.Path, Message: p.Message, Hint: "the route would be left out"})
	}
	for _, r := range table.Rules() {
		def := &cfg.Routes[r.RouteIndex]
		report.Rules = append(report.Rules, ruleReport{
			Route: r.Route, Rule: r.Index, Listeners: def.Listeners, Hostnames: def.Hostnames,
			Matches: ruleMatches(r.Def, cfg.ProtocolOf(def)), Target: ruleTarget(r.Def), Mirrors: ruleMirrors(r.Def),
		})
	}
	if o.request == "" && !o.connection() {
		return nil
	}
	listener, err := o.listenerIndex(cfg)
	if err != nil {
		return err
	}
	peer, err := netip.ParseAddr(o.from)
	if err != nil {
		return usagef("--from %q is not an address such as 10.1.2.3", o.from)
	}
	x, err := o.explanation(cfg, listener, peer.Unmap())
	if err != nil {
		return err
	}
	report.Request = newRequestReport(cfg, x)
	report.Request.Listener = cfg.Listeners[listener].Name
	return nil
}

// connection says whether a connection is to be explained.
func (o *checkOptions) connection() bool {
	return o.request == "" && (o.given["from"] || o.given["listener"] || o.given["sni"])
}

// belongs is the error of flags that need a request, because of why.
func (o *checkOptions) belongs(why string) error {
	for _, name := range []string{"listener", "from"} {
		if o.given[name] {
			return usagef("--%s belongs to a --request: %s", name, why)
		}
	}
	return usagef("--sni belongs to a connection by TLS: %s", why)
}

// explanation says what becomes of the request or the connection.
func (o *checkOptions) explanation(cfg *config.Config, listener int, peer netip.Addr) (*proxy.Explanation, error) {
	l := &cfg.Listeners[listener]
	switch {
	case o.connection() && l.Layer4():
		return proxy.ExplainConnection(cfg, listener, peer, strings.ToLower(o.server))
	case o.connection():
		return nil, o.belongs("listener " + l.Name + " speaks HTTP")
	case l.Layer4():
		return nil, usagef("listener %s speaks %s, which has no requests: leave --request out", l.Name, l.Protocol)
	}
	head, err := o.head(l.Address)
	if err != nil {
		return nil, err
	}
	return proxy.Explain(cfg, listener, peer, o.identities, []byte(head))
}

// listenerIndex finds the listener that was named, or else the first that there
// can be a request, a connection or a TLS client on.
func (o *checkOptions) listenerIndex(cfg *config.Config) (int, error) {
	var names []string
	for i, l := range cfg.Listeners {
		fits := l.Layer4() == o.connection() && (!o.given["sni"] || l.Protocol == "TLS")
		if o.listener == l.Name || o.listener == "" && fits {
			return i, nil
		}
		names = append(names, l.Name)
	}
	switch {
	case o.listener == "" && o.given["sni"]:
		return 0, usagef("--sni belongs to a connection by TLS: no listener speaks it")
	case o.listener == "" && o.connection():
		return 0, o.belongs("no listener speaks TCP, TLS or UDP")
	case o.listener == "":
		return 0, usagef("--request belongs to a listener that speaks HTTP: there is none")
	}
	return 0, usagef("--listener %q is none of %s", o.listener, strings.Join(names, ", "))
}

// head writes the request down. Without a host it is for the listener.
func (o *checkOptions) head(host string) (string, error) {
	method, target, found := strings.Cut(o.request, " ")
	if !found {
		method, target = "GET", o.request
	}
	if strings.ContainsAny(target, " \r\n") || target == "" || strings.ContainsAny(method, "\r\n") {
		return "", usagef("--request %q is not a method and a path, such as 'GET /path?query'", o.request)
	}
	fields := ""
	for _, h := range o.headers {
		name, value, found := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found || name == "" || strings.ContainsAny(h, "\r\n") {
			return "", usagef("--header %q is not 'name: value'", h)
		}
		if strings.EqualFold(name, "host") {
			host = value
			continue
		}
		fields += name + ": " + value + "\r\n"
	}
	if _, authority, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		host, _, _ = strings.Cut(authority, "/")
		host, _, _ = strings.Cut(host, "?")
	}
	return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n", nil
}

// print writes the report for people.
func (o *checkOptions) print(cfg *config.Config, report *checkReport, problems config.Errors) {
	out := o.streams.Out
	for _, p := range problems {
		fmt.Fprintln(out, p.Error())
	}
	for _, p := range report.Problems[len(problems):] {
		fmt.Fprintf(out, "%s: %s: %s (%s)\n", p.File, p.Path, p.Message, p.Hint)
	}
	if n := len(report.Problems); n > 0 {
		fmt.Fprintf(o.streams.Err, "%s\n", plural(n, "problem"))
	}
	if cfg != nil {
		for _, w := range cfg.Warnings {
			fmt.Fprintf(o.streams.Err, "warning: %s\n", w.Error())
		}
	}
	switch {
	case cfg == nil:
	case report.Request != nil:
		o.printRequest(report.Request)
	default:
		if report.Valid {
			fmt.Fprintf(o.streams.Err, "%s is valid: version %s, %s, %s, %s\n", o.file, cfg.Version,
				plural(len(cfg.Listeners), "listener"), plural(len(report.Rules), "rule"), plural(len(cfg.Backends), "backend"))
		}
		t := newTable("", "ROUTE", ">RULE", "HOSTS", "MATCHES", "GOES TO", "COPIES TO")
		for _, r := range report.Rules {
			t.add(r.Route, r.Rule, orAll(r.Hostnames), r.Matches, r.Target, orDash(r.Mirrors))
			if len(r.Listeners) > 0 {
				t.remark("on " + strings.Join(r.Listeners, ", "))
			}
		}
		printTables(o.streams, []*table{t})
	}
}

func orAll(names []string) string {
	if len(names) == 0 {
		return "*"
	}
	return strings.Join(names, " ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
