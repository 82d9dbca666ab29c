package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/recording"
)

// recordingsCommands are the functions of the commands below, for tests.
type recordingsCommands struct {
	list    func(*listOptions) error
	show    func(*showOptions) error
	convert func(*convertOptions) error
}

func newCmdRecordings(s *Streams, f recordingsCommands) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recordings",
		Short: "Look at recorded traffic, and exchange it with other tools",
		Long: `Look at recordings, which 'understudy run --record' and the section record of a
configuration make, and exchange them with other tools: HTTP Archives (.har) of
browsers and proxies, and files of GoReplay (.gor).

A recording is a folder. It may be looked at while it is written.`,
		Example: `  understudy recordings ls recordings
  understudy recordings show recordings --filter status=5xx
  understudy recordings export recordings --format har -o shop.har
  understudy recordings import --format gor requests.gor recordings`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCmdRecordingsLs(s, f.list), newCmdRecordingsShow(s, f.show), newCmdRecordingsExport(s, f.convert), newCmdRecordingsImport(s, f.convert))
	return cmd
}

type listOptions struct {
	streams   *Streams
	output    outputFormat
	dirs      []string
	segments  bool
	endpoints int
}

func newCmdRecordingsLs(s *Streams, runF func(*listOptions) error) *cobra.Command {
	opts := &listOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "ls DIR…",
		Short: "List what there is in recordings",
		Long: `List what there is in recordings: segments, exchanges, the time between the first
and the last, bytes on the disk, and the most frequent endpoints, in which ids
are written as {}.

Segments that were not finished, because they are being written or because the
process was killed, are read whole for that; the others say it themselves.`,
		Example: `  understudy recordings ls recordings
  understudy recordings ls --segments recordings/*
  understudy recordings ls -o json recordings | jq '.[].endpoints[0]'`,
		Args: atLeast("DIR", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			opts.dirs = args
			if opts.endpoints < 0 {
				return usagef("--endpoints %d is less than 0", opts.endpoints)
			}
			if runF != nil {
				return runF(opts)
			}
			return listRun(opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&opts.segments, "segments", false, "list segments, too")
	f.IntVar(&opts.endpoints, "endpoints", 10, "`number` of endpoints that are listed")
	addOutputFlag(cmd, &opts.output)
	return cmd
}

// atLeast refuses fewer arguments than n.
func atLeast(name string, n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("say which: %s is missing", name)
		}
		return nil
	}
}

// recordingReport is what -o json prints of a recording. Without an exchange there
// are no times.
type recordingReport struct {
	Directory string           `json:"directory"`
	Exchanges int64            `json:"exchanges"`
	Bytes     int64            `json:"bytes"`
	First     *time.Time       `json:"first,omitempty"`
	Last      *time.Time       `json:"last,omitempty"`
	Segments  []segmentReport  `json:"segments"`
	Endpoints []endpointReport `json:"endpoints"`
	Problems  []string         `json:"problems"`
}

type segmentReport struct {
	Name      string     `json:"name"`
	Exchanges int64      `json:"exchanges"`
	Bytes     int64      `json:"bytes"`
	First     *time.Time `json:"first,omitempty"`
	Last      *time.Time `json:"last,omitempty"`
	Finished  bool       `json:"finished"`
}

type endpointReport struct {
	Endpoint  string `json:"endpoint"` // empty = all others
	Exchanges int64  `json:"exchanges"`
}

func listRun(opts *listOptions) error {
	reports := []*recordingReport{}
	for _, dir := range opts.dirs {
		p := newCounting(opts.streams, "segments")
		survey, err := recording.Look(dir, func(done, of int) { p.show(int64(done), int64(of)) })
		p.end()
		if err != nil {
			return err
		}
		warnOfProblems(opts.streams, survey.Problems)
		reports = append(reports, newRecordingReport(dir, survey, opts.endpoints))
	}
	if opts.output == outputJSON {
		return writeIndented(opts.streams, reports)
	}
	printTables(opts.streams, opts.tables(reports))
	return nil
}

// warnOfProblems says what of a recording could not be read.
func warnOfProblems(s *Streams, problems []recording.Problem) {
	const most = 20
	for i, p := range problems {
		if i == most {
			fmt.Fprintf(s.Err, "warning: and %d more\n", len(problems)-most)
			return
		}
		fmt.Fprintf(s.Err, "warning: %s\n", p)
	}
}

func writeIndented(s *Streams, v any) error {
	e := json.NewEncoder(s.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func newRecordingReport(dir string, s *recording.Survey, endpoints int) *recordingReport {
	r := &recordingReport{
		Directory: dir, Exchanges: s.Exchanges, Bytes: s.Bytes, First: timeOrNil(s.First), Last: timeOrNil(s.Last),
		Segments: []segmentReport{}, Endpoints: []endpointReport{}, Problems: []string{},
	}
	for _, one := range s.Segments {
		r.Segments = append(r.Segments, segmentReport{one.Name, one.Exchanges, one.Bytes, timeOrNil(one.First), timeOrNil(one.Last), one.Finished})
	}
	for i, e := range s.Endpoints {
		if i == endpoints {
			break
		}
		r.Endpoints = append(r.Endpoints, endpointReport{e.Name, e.Count})
	}
	for _, p := range s.Problems {
		r.Problems = append(r.Problems, p.String())
	}
	return r
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (o *listOptions) tables(reports []*recordingReport) []*table {
	all := newTable("Recordings", "DIRECTORY", ">SEGMENTS", ">EXCHANGES", ">SIZE", "FROM", ">LASTS")
	segments := newTable("Segments", "DIRECTORY", "SEGMENT", ">EXCHANGES", ">SIZE", "FROM", ">LASTS", "STATE")
	endpoints := newTable("Endpoints", "DIRECTORY", "ENDPOINT", ">EXCHANGES", ">SHARE")
	for _, r := range reports {
		from, lasts := span(r.First, r.Last)
		all.add(r.Directory, len(r.Segments), r.Exchanges, bytesText(r.Bytes), from, lasts)
		for _, one := range r.Segments {
			state := cell{"finished", good}
			if !one.Finished {
				state = cell{"open", warn}
			}
			from, lasts := span(one.First, one.Last)
			segments.add(r.Directory, one.Name, one.Exchanges, bytesText(one.Bytes), from, lasts, state)
		}
		for _, e := range r.Endpoints {
			name := printable(e.Endpoint)
			if name == "" {
				name = "others"
			}
			endpoints.add(r.Directory, name, e.Exchanges, portion(float64(e.Exchanges)/float64(r.Exchanges)))
		}
	}
	tables := []*table{all}
	if o.segments {
		tables = append(tables, segments)
	}
	if len(endpoints.rows) > 0 {
		tables = append(tables, endpoints)
	}
	return tables
}

// span is when exchanges began, and how long it was from the first to the last.
func span(first, last *time.Time) (from, lasts string) {
	if first == nil {
		return "-", "-"
	}
	return first.Format(time.DateTime) + "Z", last.Sub(*first).Round(time.Millisecond).String()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 || value >= 100 {
		return strconv.FormatFloat(value, 'f', 0, 64) + " " + units[unit]
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + units[unit]
}

// counting says on stderr how far something is that takes long: on a terminal, in
// a line that changes and vanishes at the end. Elsewhere it is silent.
type counting struct {
	streams *Streams
	what    string
	begun   time.Time
	last    time.Time
	shown   bool
}

func newCounting(s *Streams, what string) *counting {
	now := time.Now()
	return &counting{streams: s, what: what, begun: now, last: now}
}

// show says how much of how much is done; of may be 0, if nobody knows.
func (p *counting) show(done, of int64) {
	const often = 200 * time.Millisecond
	now := time.Now()
	if !p.streams.ErrIsTerminal || now.Sub(p.last) < often {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprint(p.streams.Err, "\r"+p.line(done, of, now.Sub(p.begun))+clearLine)
}

func (p *counting) line(done, of int64, took time.Duration) string {
	text := fmt.Sprintf("%d %s", done, p.what)
	if of > 0 {
		text = fmt.Sprintf("%3.0f %%  %d of %d %s", 100*min(1, float64(done)/float64(of)), done, of, p.what)
	}
	return text + fmt.Sprintf(", %.0f/s", float64(done)/took.Seconds())
}

// end takes the line away.
func (p *counting) end() {
	if p.shown {
		fmt.Fprint(p.streams.Err, "\r"+clearLine)
	}
}
