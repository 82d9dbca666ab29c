package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
)

// watchOptions say what to keep showing.
type watchOptions struct {
	streams *Streams
	ask     func(context.Context) (*admin.Status, error)
	every   time.Duration
	output  outputFormat
	footer  []string // lines under the tables
}

// watch shows the status again and again until ctx ends or a key ends it. On a
// terminal it redraws one screen; elsewhere it prints a line, or a JSON
// document, each time.
func watch(ctx context.Context, o *watchOptions) error {
	show := o.printLine
	if o.output == outputJSON {
		show = o.printJSON
	} else if o.streams.OutIsTerminal {
		screen, err := o.open()
		if err != nil {
			return err
		}
		defer screen.close()
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		screen.onQuit(cancel)
		show = screen.draw
	}
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	var last *admin.Status
	for {
		v, err := o.look(ctx, last)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(v); err != nil {
			return err
		}
		last = v.now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look asks for a status to show beside the last one. A proxy that has answered
// once may be gone for a moment, when another takes over; the counts of that one
// begin anew.
func (o *watchOptions) look(ctx context.Context, last *admin.Status) (view, error) {
	now, err := o.ask(ctx)
	switch {
	case err != nil && last == nil:
		return view{}, err
	case err != nil:
		return view{now: last, lost: err}, nil
	case last != nil && !last.Started.Equal(now.Started):
		last = nil
	}
	return view{now: now, before: last}, nil
}

func (o *watchOptions) printJSON(v view) error {
	if v.lost != nil {
		return o.printLost(v)
	}
	return json.NewEncoder(o.streams.Out).Encode(v.now)
}

func (o *watchOptions) printLost(v view) error {
	_, err := fmt.Fprintln(o.streams.Err, v.lost)
	return err
}

func (o *watchOptions) printLine(v view) error {
	if v.lost != nil {
		return o.printLost(v)
	}
	if v.before == nil {
		return nil // nothing has happened between two looks yet
	}
	_, err := fmt.Fprintln(o.streams.Out, v.line())
	return err
}

// screen is a terminal that shows one picture at a time, and gets back what it
// showed before.
type screen struct {
	*watchOptions
	restore func()
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

func (o *watchOptions) open() (*screen, error) {
	s := &screen{watchOptions: o, restore: func() {}}
	if o.streams.Raw != nil {
		restore, err := o.streams.Raw()
		if err != nil {
			return nil, fmt.Errorf("read single keys: %w", err)
		}
		s.restore = restore
	}
	io.WriteString(o.streams.Out, enterScreen)
	return s, nil
}

func (s *screen) close() {
	io.WriteString(s.streams.Out, leaveScreen)
	s.restore()
}

// onQuit calls quit when q, Ctrl-C, Ctrl-D or Escape is typed. Its goroutine
// reads until the input ends: a read of a terminal cannot be called off.
func (s *screen) onQuit(quit func()) {
	if s.streams.Raw == nil {
		return
	}
	go func() {
		key := make([]byte, 16)
		for {
			n, err := s.streams.In.Read(key)
			if err != nil {
				return
			}
			if strings.ContainsAny(string(key[:n]), "qQ\x03\x04") || n == 1 && key[0] == '\x1b' {
				quit()
				return
			}
		}
	}()
}

// draw shows v as far as it fits.
func (s *screen) draw(v view) error {
	lines := []string{paint(v.headline(), bold, s.streams.Color), ""}
	for _, t := range v.tables() {
		lines = append(append(lines, t.lines(s.streams.Color)...), "")
	}
	lines = append(lines, s.footer...)
	lines = append(lines, paint("q to quit", faint, s.streams.Color))
	columns, rows := s.streams.Size()
	if rows > 0 && len(lines) > rows {
		lines = append(lines[:rows-1], lines[len(lines)-1])
	}
	var b strings.Builder
	b.WriteString(toTop)
	for i, line := range lines {
		if columns > 0 {
			line = clip(line, columns)
		}
		b.WriteString(line + clearLine)
		if i < len(lines)-1 {
			b.WriteString("\r\n") // the terminal is raw
		}
	}
	b.WriteString(clearRest)
	_, err := io.WriteString(s.streams.Out, b.String())
	return err
}
