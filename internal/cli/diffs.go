package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
)

type diffsOptions struct {
	streams  *Streams
	admin    string
	token    string
	mirror   string
	endpoint string
	class    string
	cluster  string // empty = list them
	pair     string // empty = none
	output   outputFormat
}

func newCmdDiffs(s *Streams, runF func(*diffsOptions) error) *cobra.Command {
	opts := &diffsOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "diffs [ID]",
		Short: "Show how a shadow's answers differ from the primary's",
		Long: `Show how a shadow's answers differ from the primary's: clusters of differences
that look alike, the gravest first; with the ID of a cluster what differs, which
requests it happens to, and a curl command that makes it happen; with --pair one
request and both answers, side by side.

What is shown is redacted: secrets are tokens, the same for the same secret.`,
		Example: `  understudy diffs
  understudy diffs --endpoint 'GET /api/products/{id}' --class diff
  understudy diffs 4f2a91c0
  understudy diffs --pair 0a1b2c3d`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.check(cmd, args); err != nil {
				return err
			}
			if runF != nil {
				return runF(opts)
			}
			return diffsRun(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.admin, "admin", defaultAdmin, "`address` or URL of the proxy's admin side")
	f.StringVar(&opts.token, "token", "", "admin `token` (better in $"+tokenVariable+")")
	f.StringVar(&opts.mirror, "mirror", "", "`name` of a mirror; empty = all")
	f.StringVar(&opts.endpoint, "endpoint", "", "`endpoint` such as 'GET /users/{id}'; empty = all")
	f.StringVar(&opts.class, "class", "", "`class` of pairs such as diff or shadow_error; empty = all")
	f.StringVar(&opts.pair, "pair", "", "`id` of a pair to show side by side")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

func (o *diffsOptions) check(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		o.cluster = args[0]
	}
	if o.cluster != "" && o.pair != "" {
		return usagef("show a cluster or a --pair, not both")
	}
	for _, name := range []string{"mirror", "endpoint", "class"} {
		if cmd.Flags().Changed(name) && (o.cluster != "" || o.pair != "") {
			return usagef("--%s belongs to the list of clusters", name)
		}
	}
	if o.token == "" {
		o.token = os.Getenv(tokenVariable)
	}
	return nil
}

func diffsRun(ctx context.Context, opts *diffsOptions) error {
	c, err := newClient(opts.admin, opts.token)
	if err != nil {
		return err
	}
	defer c.close()
	switch {
	case opts.pair != "":
		pair, err := ask[analyze.Pair](ctx, c, "/api/v1/pairs/"+url.PathEscape(opts.pair))
		if err != nil {
			return err
		}
		return printPair(opts.streams, pair, opts.output)
	case opts.cluster != "":
		diff, err := ask[admin.Diff](ctx, c, "/api/v1/diffs/"+url.PathEscape(opts.cluster))
		if err != nil {
			return err
		}
		return printCluster(opts.streams, diff, opts.output)
	}
	diffs, err := ask[admin.Diffs](ctx, c, "/api/v1/diffs"+query("mirror", opts.mirror, "endpoint", opts.endpoint, "class", opts.class))
	if err != nil {
		return err
	}
	if len(diffs.Clusters) == 0 && opts.output == outputTable && opts.streams.OutIsTerminal && opts.endpoint+opts.class != "" {
		fmt.Fprintln(opts.streams.Err, "no differences like that; without --endpoint and --class all are listed")
		return nil
	}
	return printClusters(opts.streams, diffs, opts.output)
}

// printClusters prints clusters, a line each.
func printClusters(s *Streams, d *admin.Diffs, output outputFormat) error {
	if output == outputJSON {
		return printJSON(s.Out, d)
	}
	if len(d.Clusters) == 0 && s.OutIsTerminal {
		fmt.Fprintln(s.Err, "no differences; understudy report says how many pairs were compared")
		return nil
	}
	t := newTable("", append([]string{"MIRROR"}, clusterColumns...)...)
	for i := range d.Clusters {
		c := &d.Clusters[i]
		addCluster(t, c, s.OutIsTerminal, printable(c.Mirror))
	}
	printTables(s, []*table{t})
	return nil
}

// printCluster prints all there is to say of a cluster.
func printCluster(s *Streams, d *admin.Diff, output outputFormat) error {
	if output == outputJSON {
		return printJSON(s.Out, d)
	}
	p := &paper{columns: terminalWidth(s), color: s.Color}
	p.cluster(d)
	_, err := io.WriteString(s.Out, p.String())
	return err
}

func (p *paper) cluster(d *admin.Diff) {
	c := &d.Cluster
	p.line(paint(printable(c.ID), faint, p.color) + "  " + paint(printable(c.Title), bold, p.color))
	p.words("", fmt.Sprintf("%s, mirror %s, class %s", endpointText(c.Endpoint), c.Mirror, c.Class))
	p.words("", fmt.Sprintf("%s, %s of the endpoint's (%s to %s), first %s, last %s", plural(int(c.Count), "pair"), portion(c.Rate),
		portion(c.Low), portion(c.High), momentText(c.First), momentText(c.Last)))
	for i := range c.Predictors {
		p.words("- ", predictorSentence(&c.Predictors[i]))
	}
	p.differences(c.Differences, false)
	if c.Curl != "" {
		p.line("")
		p.line(paint("Make it happen", bold, p.color))
		p.line(printableLines(c.Curl))
	}
	t := newTable("Examples", "PAIR", "TIME", "REQUEST", "PRIMARY", "SHADOW")
	for i := range d.Pairs {
		pair := &d.Pairs[i]
		t.add(printable(pair.ID), momentText(pair.Time), cut(printable(firstLine(pair.Request.Head)), 50), outcomeText(&pair.Primary), outcomeText(&pair.Shadow))
	}
	p.table(t, 0, "")
	if len(d.Pairs) == 0 {
		return
	}
	p.line("")
	p.line(paint("One of them", bold, p.color) + paint("; understudy diffs --pair PAIR shows the others", faint, p.color))
	p.line("")
	p.messages(&d.Pairs[0])
}

// differences writes a table of places, or of their exact ones.
func (p *paper) differences(list []compare.Difference, exact bool) {
	t := newTable("Differences", "PATH", "KIND", "PRIMARY", "SHADOW")
	most := max((p.columns-30)/3, 16)
	for i := range list {
		d := &list[i]
		path := d.Path
		if exact && d.Where != "" {
			path = d.Where
		}
		t.add(cut(printable(path), most), printable(string(d.Kind)), cut(sideText(d.Primary), most), cut(sideText(d.Shadow), most))
	}
	p.table(t, 0, "")
}

// sideText is one side of a difference: its text, or else what it is.
func sideText(v compare.Value) string {
	switch v.Type {
	case "", "absent":
		return "-"
	case "null":
		return "null"
	case "array":
		return "array of " + plural(v.Size, "element")
	case "object":
		return "object of " + plural(v.Size, "member")
	case "bytes":
		return plural(v.Size, "byte")
	case "string":
		return fmt.Sprintf("%q", v.Text)
	}
	return printable(v.Text)
}

func momentText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
