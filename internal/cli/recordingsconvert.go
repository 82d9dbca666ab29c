package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/recording/gor"
	"github.com/understudy-proxy/understudy/internal/recording/har"
	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// convertOptions are of export, and of import.
type convertOptions struct {
	streams *Streams
	format  string // har, gor
	dir     string
	file    string // - = standard output, or input
	filter  string
	chosen  recording.Filter
	secrets bool // import: keep them
}

func newCmdRecordingsExport(s *Streams, runF func(*convertOptions) error) *cobra.Command {
	opts := &convertOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write recorded exchanges in the format of another tool",
		Long: `Write recorded exchanges in the format of another tool.

  har   an HTTP Archive 1.2, for browsers and many tools. An exchange is an entry
        for the primary and one for each copy; content encodings are undone.
  gor   a file of GoReplay: requests, answers of the primary, answers of shadows.
        Messages that were not captured whole are left out, and counted.

DIR may be a single segment. The file is complete or not there.`,
		Example: `  understudy recordings export recordings --format har -o shop.har
  understudy recordings export recordings --format gor --filter since=1h | gzip > requests.gor.gz`,
		Args: exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			opts.dir = args[0]
			var err error
			if opts.chosen, err = recording.ParseFilter(opts.filter); err != nil {
				return usagef("--filter: %w", err)
			}
			if err := opts.checkFormat(); err != nil {
				return err
			}
			if runF != nil {
				return runF(opts)
			}
			return exportRun(opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.format, "format", "", "har or gor; default: what the file's name ends in")
	f.StringVarP(&opts.file, "output", "o", "-", "`file` to write, - = standard output")
	f.StringVar(&opts.filter, "filter", "", filterUsage)
	return cmd
}

func newCmdRecordingsImport(s *Streams, runF func(*convertOptions) error) *cobra.Command {
	opts := &convertOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "import FILE DIR",
		Short: "Add the exchanges of another tool's file to a recording",
		Long: `Add the exchanges of another tool's file to a recording, which is made if there is
none: HTTP Archives (har) and files of GoReplay (gor).

Well-known credentials and cookies are replaced by tokens, as when traffic is
recorded; --keep-secrets leaves them as they are. Of GoReplay's answers, type 3
becomes that of a shadow called replayed. What browsers put into an archive that
is not HTTP, such as data: and wss:, is left out and counted.`,
		Example: `  understudy recordings import shop.har recordings
  zcat requests.gor.gz | understudy recordings import --format gor - recordings`,
		Args: exactly("FILE", "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			opts.file, opts.dir = args[0], args[1]
			if err := opts.checkFormat(); err != nil {
				return err
			}
			if runF != nil {
				return runF(opts)
			}
			return importRun(opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.format, "format", "", "har or gor; default: what the file's name ends in")
	f.BoolVar(&opts.secrets, "keep-secrets", false, "leave credentials and cookies as they are")
	return cmd
}

// checkFormat finds out the format.
func (o *convertOptions) checkFormat() error {
	if o.format == "" {
		o.format = strings.TrimPrefix(filepath.Ext(o.file), ".")
		if o.format != "har" && o.format != "gor" {
			return usagef("say which format: --format har or --format gor")
		}
	}
	if o.format != "har" && o.format != "gor" {
		return usagef("--format %q is none of har, gor", o.format)
	}
	return nil
}

// exchangeWriter writes a format.
type exchangeWriter interface {
	Write(x *traffic.Exchange) error
}

func exportRun(opts *convertOptions) (err error) {
	total := int64(0) // not known: the filter may leave any number out
	if opts.filter == "" && opts.streams.ErrIsTerminal {
		if survey, err := recording.Look(opts.dir, nil); err == nil {
			total = survey.Exchanges
		}
	}
	out, done, err := opts.create()
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 256<<10)
	finish := buffered.Flush
	var w exchangeWriter
	if opts.format == "har" {
		archive := har.NewWriter(buffered, har.Options{Version: telemetry.ReadBuild().Version, Decode: decodeBody})
		w, finish = archive, func() error { return errors.Join(archive.Close(), buffered.Flush()) }
	} else {
		w = gor.NewWriter(buffered)
	}
	p := newCounting(opts.streams, "exchanges")
	n, without := int64(0), 0
	err = each(opts.streams, opts.dir, &opts.chosen, func(x *traffic.Exchange) error {
		p.show(n, total)
		n++
		if x.Request == nil {
			without++
			return nil
		}
		return w.Write(x)
	})
	p.end()
	if err == nil {
		err = finish()
	}
	if err == nil && n == 0 {
		err = errNothingChosen(opts.dir, opts.filter)
	}
	if err := done(err); err != nil {
		return err
	}
	opts.sayExported(w, n, without)
	return nil
}

func (o *convertOptions) sayExported(w exchangeWriter, n int64, without int) {
	fmt.Fprintf(o.streams.Err, "exported %s\n", plural(int(n), "exchange"))
	if without > 0 {
		fmt.Fprintf(o.streams.Err, "%s left out: nothing of the request was captured\n", plural(without, "exchange"))
	}
	if g, ok := w.(*gor.Writer); ok {
		left := g.LeftOut()
		if left.Requests > 0 {
			fmt.Fprintf(o.streams.Err, "%s left out: not captured whole, so that GoReplay would send something else\n", plural(left.Requests, "request"))
		}
		if left.Answers > 0 {
			fmt.Fprintf(o.streams.Err, "%s left out: not captured whole\n", plural(left.Answers, "answer"))
		}
		if left.Failures > 0 {
			fmt.Fprintf(o.streams.Err, "%s without an answer\n", plural(left.Failures, "outcome"))
		}
	}
}

// decodeBody undoes the content encodings of a body, in its own charset.
func decodeBody(m *traffic.Message) ([]byte, bool) {
	const limit = 64 << 20
	b := content.Read(m, limit)
	if b.Err != nil || b.Cut || b.Kind == content.GRPC {
		return nil, false
	}
	return b.Encode(b.Data), true
}

// create opens the output. done closes it, and leaves no file behind after an error.
func (o *convertOptions) create() (out io.Writer, done func(error) error, err error) {
	if o.file == "-" {
		return o.streams.Out, func(err error) error { return err }, nil
	}
	part := o.file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // traffic is nobody else's business
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(part, o.file)
		}
		if err != nil {
			_ = os.Remove(part) // it is of no use
		}
		return err
	}, nil
}

// exchangeReader reads a format.
type exchangeReader interface {
	Next() (*traffic.Exchange, error)
}

func importRun(opts *convertOptions) error {
	in, size, err := opts.open()
	if err != nil {
		return err
	}
	defer in.Close()
	var redactor *redact.Redactor
	if !opts.secrets {
		if redactor, err = redact.New(config.Redact{}); err != nil {
			return err
		}
	}
	w, err := recording.Create(opts.dir, recording.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background() // the disk is waited for
	n, err := opts.importAll(in, size, func(x *traffic.Exchange) error {
		if redactor != nil {
			redactor.Exchange(x)
		}
		return offer(ctx, w, x)
	})
	if err := errors.Join(err, w.Close(ctx)); err != nil {
		if n > 0 {
			fmt.Fprintf(opts.streams.Err, "%s before that are imported\n", plural(int(w.Acknowledged()), "exchange"))
		}
		return err
	}
	fmt.Fprintf(opts.streams.Err, "imported %s\n", plural(int(n), "exchange"))
	return nil
}

func (o *convertOptions) open() (io.ReadCloser, int64, error) {
	if o.file == "-" {
		return io.NopCloser(o.streams.In), 0, nil
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, 0, err
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, stat.Size(), nil
}

// meter counts what was read.
type meter struct {
	io.Reader
	n int64
}

// Read implements io.Reader.
func (c *meter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (o *convertOptions) importAll(in io.Reader, size int64, f func(*traffic.Exchange) error) (n int64, err error) {
	bytes := &meter{Reader: in}
	buffered := bufio.NewReaderSize(bytes, 256<<10)
	var r exchangeReader
	if o.format == "har" {
		if bom, _ := buffered.Peek(3); string(bom) == "\xef\xbb\xbf" {
			_, _ = buffered.Discard(3) // it is buffered
		}
		r = har.NewReader(buffered)
	} else {
		r = gor.NewReader(buffered)
	}
	p := newCounting(o.streams, "bytes")
	defer p.end()
	for ; ; n++ {
		p.show(bytes.n, size)
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, fmt.Errorf("%s: %w", o.file, err)
		}
		if err := f(x); err != nil {
			return n, err
		}
	}
	switch r := r.(type) {
	case *gor.Reader:
		if r.Orphans() > 0 {
			fmt.Fprintf(o.streams.Err, "%s without a request left out\n", plural(r.Orphans(), "answer"))
		}
	case *har.Reader:
		if others := r.LeftOut(); len(others) > 0 {
			fmt.Fprintf(o.streams.Err, "left out what is not HTTP: %s\n", reasons(others))
		}
	}
	return n, nil
}

// offer has w take x, and waits for the disk if it must.
func offer(ctx context.Context, w *recording.Writer, x *traffic.Exchange) error {
	if w.Offer(x) {
		return nil
	}
	if err := w.Sync(ctx); err != nil {
		return err
	}
	if !w.Offer(x) {
		return fmt.Errorf("exchange %s is too large for a recording", x.ID)
	}
	return nil
}
