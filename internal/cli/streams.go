package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	OutIsTerminal bool
	ErrIsTerminal bool
	Color         bool // Out may be coloured

	// Size is how many columns and rows Out has; 0, 0 if it is no terminal.
	Size func() (columns, rows int)
	// Raw makes In hand over single keys, and returns what undoes that; nil if
	// In is no terminal.
	Raw func() (restore func(), err error)
}

// System returns the streams of this process.
func System() *Streams {
	s := &Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		OutIsTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		ErrIsTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Size:          func() (int, int) { return 0, 0 },
	}
	if s.OutIsTerminal {
		s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		s.Size = func() (int, int) {
			columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		}
	}
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		s.Raw = func() (func(), error) {
			before, err := term.MakeRaw(in)
			// A terminal that cannot be restored is gone.
			return func() { _ = term.Restore(in, before) }, err
		}
	}
	return s
}
