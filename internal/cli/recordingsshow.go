package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

type showOptions struct {
	streams *Streams
	output  outputFormat
	dir     string
	filter  string
	number  int
	chosen  recording.Filter
}

const filterUsage = "`conditions` with commas between: id=, method=, host=, path=, status=, since=, until="

func newCmdRecordingsShow(s *Streams, runF func(*showOptions) error) *cobra.Command {
	opts := &showOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "show DIR",
		Short: "Show recorded exchanges: a line of each, or one whole",
		Long: `Show recorded exchanges, a line of each, in the order in which they ended. With
id= in the filter they are shown whole, with heads and bodies.

A path in the filter is a prefix, or with * a pattern for the whole path; a host
without a port is that of all ports; a status is 404 or 4xx, of what the client
got, or 0 for no answer; a time is one of RFC 3339 or how long ago it was, such as
10m. DIR may be a single segment.

What cannot be read is named on standard error, and left out.`,
		Example: `  understudy recordings show recordings --filter method=POST,path=/api,status=5xx
  understudy recordings show recordings --filter since=10m -n 0
  understudy recordings show recordings --filter id=4f2a
  understudy recordings show -o json -n 0 recordings | jq -r .path | sort | uniq -c`,
		Args: exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			opts.dir = args[0]
			var err error
			if opts.chosen, err = recording.ParseFilter(opts.filter); err != nil {
				return usagef("--filter: %w", err)
			}
			if opts.number < 0 {
				return usagef("-n %d is less than 0", opts.number)
			}
			if runF != nil {
				return runF(opts)
			}
			return showRun(opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.filter, "filter", "", filterUsage)
	f.IntVarP(&opts.number, "number", "n", 20, "`number` of exchanges that are shown, 0 = all")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// exactly refuses other arguments than the named.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usagef("unexpected argument %q", args[len(names)])
		}
		if len(args) < len(names) {
			return usagef("say which: %s is missing", strings.Join(names[len(args):], " and "))
		}
		return nil
	}
}

// each calls f with the exchanges of a recording that are chosen, and says what
// could not be read.
func each(s *Streams, dir string, chosen *recording.Filter, f func(*traffic.Exchange) error) error {
	r, err := recording.Open(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	if !chosen.Since.IsZero() {
		r.Seek(chosen.Since)
	}
	defer func() { warnOfProblems(s, r.Problems()) }()
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if chosen.Match(x) {
			if err := f(x); err != nil {
				return err
			}
		}
	}
}

func showRun(opts *showOptions) error {
	shown, more := 0, 0
	whole := opts.chosen.ID != ""
	t := newTable("", "TIME", "METHOD", "PATH", ">STATUS", ">FIRST", ">TOOK", "COPIES", "ID")
	lines := json.NewEncoder(opts.streams.Out)
	lines.SetEscapeHTML(false)
	err := each(opts.streams, opts.dir, &opts.chosen, func(x *traffic.Exchange) error {
		if opts.number > 0 && shown == opts.number {
			more++
			return nil
		}
		shown++
		switch {
		case opts.output == outputJSON:
			return lines.Encode(newExchangeReport(x, whole))
		case whole:
			_, err := io.WriteString(opts.streams.Out, exchangeText(x))
			return err
		}
		t.add(x.Start.UTC().Format("2006-01-02T15:04:05.000Z"), printable(x.Method), printable(pathAndQuery(x)), statusText(x.Status), tookText(x.Primary.First-x.Primary.Start), tookText(x.Duration), copiesText(x), printable(x.ID))
		if len(t.rows) == 1000 { // columns of as many line up, and no more are held
			printTables(opts.streams, []*table{t})
			t.rows, t.remarks = nil, nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	if opts.output == outputTable && !whole && (len(t.rows) > 0 || shown == 0) {
		printTables(opts.streams, []*table{t})
	}
	if more > 0 {
		fmt.Fprintf(opts.streams.Err, "and %d more; -n 0 shows all\n", more)
	}
	if shown == 0 {
		return errNothingChosen(opts.dir, opts.filter)
	}
	return nil
}

func errNothingChosen(dir, filter string) error {
	if filter == "" {
		return fmt.Errorf("%s: there is no exchange in it", dir)
	}
	return fmt.Errorf("%s: there is no exchange with %s", dir, filter)
}

// statusText is a status, or that there was no answer.
func statusText(status int) string {
	if status == 0 {
		return "-"
	}
	return strconv.Itoa(status)
}

func pathAndQuery(x *traffic.Exchange) string {
	if x.Query != "" {
		return x.Path + "?" + x.Query
	}
	return x.Path
}

func tookText(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

// copiesText says what became of each copy: v2 200, v3 failed (connect).
func copiesText(x *traffic.Exchange) string {
	var parts []string
	for i := range x.Copies {
		o := &x.Copies[i]
		switch {
		case o.Fate == traffic.Completed:
			parts = append(parts, fmt.Sprintf("%s %d", o.Mirror, o.Status))
		case o.Reason != "":
			parts = append(parts, fmt.Sprintf("%s %s (%s)", o.Mirror, o.Fate, o.Reason))
		default:
			parts = append(parts, fmt.Sprintf("%s %s", o.Mirror, o.Fate))
		}
	}
	return orDash(printable(strings.Join(parts, ", ")))
}

// exchangeText is a whole exchange for people.
func exchangeText(x *traffic.Exchange) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s at %s", printable(x.ID), x.Start.UTC().Format(time.RFC3339Nano))
	if x.Client.IsValid() {
		fmt.Fprintf(&b, " from %s", x.Client)
	}
	if x.Route != "" {
		fmt.Fprintf(&b, " by route %s", x.Route)
	}
	b.WriteByte('\n')
	if x.Request != nil {
		writeMessage(&b, x.Request)
	}
	writeOutcome(&b, "primary", &x.Primary)
	for i := range x.Copies {
		writeOutcome(&b, "mirror "+x.Copies[i].Mirror, &x.Copies[i])
	}
	return b.String()
}

func writeOutcome(b *strings.Builder, who string, o *traffic.Outcome) {
	fmt.Fprintf(b, "\n--- %s: backend %s", printable(who), printable(orDash(o.Backend)))
	if o.Fate != "" {
		fmt.Fprintf(b, ", %s", o.Fate)
	}
	if o.Reason != "" {
		fmt.Fprintf(b, " (%s)", o.Reason)
	}
	if o.End > 0 {
		fmt.Fprintf(b, ", first byte after %s, took %s", tookText(o.First-o.Start), tookText(o.End-o.Start))
	}
	if o.Error != "" {
		fmt.Fprintf(b, ": %s", printable(o.Error))
	}
	b.WriteByte('\n')
	if o.Answer != nil {
		writeMessage(b, o.Answer)
	}
}

// maxShown is how much of a decoded body is shown.
const maxShown = 16 << 20

// writeMessage writes a message as a person reads it: the body's content encodings
// undone.
func writeMessage(b *strings.Builder, m *traffic.Message) {
	writeLines(b, string(m.Head))
	b.WriteByte('\n')
	body := content.Read(m, maxShown)
	switch {
	case len(m.Body) == 0:
	case !utf8.Valid(body.Data):
		fmt.Fprintf(b, "(%s, %d bytes)\n", body.Kind, len(body.Data))
	default:
		writeLines(b, string(body.Data))
		if !strings.HasSuffix(string(body.Data), "\n") {
			b.WriteByte('\n')
		}
	}
	if m.Cut() {
		fmt.Fprintf(b, "(the first %d of %d bytes)\n", len(m.Body), m.Length)
	} else if !m.Whole {
		b.WriteString("(it broke off here)\n")
	}
	writeLines(b, string(m.Trailer))
}

func writeLines(b *strings.Builder, text string) {
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")))
		if strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
}

// exchangeReport is what -o json prints of an exchange, in one line.
type exchangeReport struct {
	ID        string          `json:"id"`
	Time      time.Time       `json:"time"`
	Millis    float64         `json:"duration_ms"`
	Client    string          `json:"client,omitempty"`
	Method    string          `json:"method"`
	Host      string          `json:"host"`
	Path      string          `json:"path"`
	Query     string          `json:"query,omitempty"`
	Protocol  string          `json:"protocol"`
	Status    int             `json:"status"`
	Route     string          `json:"route,omitempty"`
	Rule      int             `json:"rule"`
	Error     string          `json:"error,omitempty"`
	Request   *messageReport  `json:"request,omitempty"` // with id= in the filter, as are answers
	Primary   outcomeReport   `json:"primary"`
	Copies    []outcomeReport `json:"copies"`
	GRPC      string          `json:"grpc_status,omitempty"`
	UserAgent string          `json:"user_agent,omitempty"`
}

type outcomeReport struct {
	Mirror   string         `json:"mirror,omitempty"`
	Backend  string         `json:"backend"`
	Endpoint string         `json:"endpoint,omitempty"`
	Fate     traffic.Fate   `json:"fate,omitempty"`
	Reason   traffic.Reason `json:"reason,omitempty"`
	Status   int            `json:"status"`
	First    float64        `json:"first_ms,omitempty"` // since time, as in the access log
	Millis   float64        `json:"ms,omitempty"`
	Bytes    int64          `json:"bytes"`
	Error    string         `json:"error,omitempty"`
	Answer   *messageReport `json:"answer,omitempty"`
}

// messageReport is a message as it was received. Body is base64 if it is not UTF-8.
type messageReport struct {
	Head    string `json:"head"`
	Body    string `json:"body"`
	Base64  bool   `json:"base64,omitempty"`
	Trailer string `json:"trailer,omitempty"`
	Length  int64  `json:"length"`
	Whole   bool   `json:"whole"`
}

func newExchangeReport(x *traffic.Exchange, whole bool) *exchangeReport {
	r := &exchangeReport{
		ID: x.ID, Time: x.Start, Millis: inMillis(x.Duration), Method: x.Method, Host: x.Host, Path: x.Path, Query: x.Query, Protocol: x.Protocol,
		Status: x.Status, Route: x.Route, Rule: x.Rule, Error: x.Error, GRPC: string(x.GRPC.Status), UserAgent: x.UserAgent,
		Primary: newOutcomeReport(&x.Primary, whole), Copies: []outcomeReport{},
	}
	if x.Client.IsValid() {
		r.Client = x.Client.String()
	}
	for i := range x.Copies {
		r.Copies = append(r.Copies, newOutcomeReport(&x.Copies[i], whole))
	}
	if whole {
		r.Request = newMessageReport(x.Request)
	}
	return r
}

func newOutcomeReport(o *traffic.Outcome, whole bool) outcomeReport {
	r := outcomeReport{
		Mirror: o.Mirror, Backend: o.Backend, Endpoint: o.Endpoint, Fate: o.Fate, Reason: o.Reason, Status: o.Status,
		First: inMillis(o.First), Millis: inMillis(o.End), Bytes: o.Bytes, Error: o.Error,
	}
	if whole {
		r.Answer = newMessageReport(o.Answer)
	}
	return r
}

func newMessageReport(m *traffic.Message) *messageReport {
	if m == nil {
		return nil
	}
	r := &messageReport{Head: string(m.Head), Body: string(m.Body), Trailer: string(m.Trailer), Length: m.Length, Whole: m.Whole}
	if !utf8.Valid(m.Body) {
		r.Body, r.Base64 = base64.StdEncoding.EncodeToString(m.Body), true
	}
	return r
}

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
