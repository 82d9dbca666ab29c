package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. People script against them.
const (
	ExitSuccess = 0
	ExitNo      = 1 // the answer is no: a check failed, something broke
	ExitUsage   = 2 // the command line was wrong
	ExitTooFew  = 3 // not enough traffic yet to answer
)

// Main runs the command that args name, without the program's own name, and
// returns the exit code. When ctx ends, so does the command.
func Main(ctx context.Context, args []string, s *Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return ExitSuccess
	case errors.Is(err, errNo):
		return ExitNo
	case errors.Is(err, errTooFew):
		return ExitTooFew
	case errors.As(err, &usage):
		fmt.Fprintf(s.Err, "%s: %s\n\n%sRun '%s --help' for more.\n", cmd.CommandPath(), indent(err.Error()), usageLine(cmd), cmd.CommandPath())
		return ExitUsage
	}
	fmt.Fprintf(s.Err, "%s: %s\n", cmd.CommandPath(), indent(err.Error()))
	return ExitNo
}

// indent makes the further lines of a long error belong to the first.
func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n  ") }

func usageLine(cmd *cobra.Command) string {
	if !cmd.Runnable() || !cmd.HasParent() {
		return ""
	}
	return "Usage: " + cmd.UseLine() + "\n"
}

// errNo is returned by a command whose answer is no and has been printed.
var errNo = errors.New("the answer is no")

// errTooFew is returned by a command that has printed that it cannot answer yet.
var errTooFew = errors.New("there is no answer yet")

// usageError is a mistake on the command line.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func newRoot(s *Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "understudy",
		Short: "Copy live HTTP traffic to a shadow, without the users ever noticing",
		Long: `Understudy is a proxy in front of a service. Clients get the answers of the
primary; copies of their requests go to shadows, whose answers no client sees.
Whatever a shadow does, live requests neither wait for it nor fail because of it.`,
		Example: `  # See it work
  understudy demo

  # Copy what reads from port 9000 to port 9001
  understudy run --listen 127.0.0.1:8080 --primary http://127.0.0.1:9000 --shadow http://127.0.0.1:9001`,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(&cobra.Group{ID: "serve", Title: "Serve:"}, &cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "more", Title: "More:"})
	root.SetHelpCommandGroupID("more")
	add := func(group string, cmd *cobra.Command) {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
	add("serve", newCmdRun(s, nil))
	add("serve", newCmdDemo(s, nil))
	add("serve", newCmdReplay(s, nil))
	add("look", newCmdCheck(s, nil))
	add("look", newCmdStatus(s, nil))
	add("look", newCmdReport(s, nil))
	add("look", newCmdDiffs(s, nil))
	add("look", newCmdCalibrate(s, nil))
	add("look", newCmdRecordings(s, recordingsCommands{}))
	add("more", newCmdVersion(s, nil))
	add("more", newCmdCompletion(s))
	return root
}

// noSuchCommand refuses arguments of the root, which are commands that do not
// exist.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += "; did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usagef("%s", text)
}

// noArguments refuses arguments of a command that takes flags only.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unexpected argument %q", args[0])
}

// outputFormat is the value of -o.
type outputFormat string

const (
	outputTable    outputFormat = "table"
	outputJSON     outputFormat = "json"
	outputJUnit    outputFormat = "junit"
	outputMarkdown outputFormat = "markdown"
)

// outputFlag implements pflag.Value for the formats that a command has.
type outputFlag struct {
	format  *outputFormat
	allowed []outputFormat
}

// String implements pflag.Value.
func (o *outputFlag) String() string { return string(*o.format) }

// Set implements pflag.Value.
func (o *outputFlag) Set(s string) error {
	if !slices.Contains(o.allowed, outputFormat(s)) {
		return fmt.Errorf("it is none of %s", o.list(", "))
	}
	*o.format = outputFormat(s)
	return nil
}

// Type implements pflag.Value.
func (o *outputFlag) Type() string { return o.list("|") }

func (o *outputFlag) list(separator string) string {
	var words []string
	for _, f := range o.allowed {
		words = append(words, string(f))
	}
	return strings.Join(words, separator)
}

// addOutputFlag adds -o for tables, JSON, and what more a command prints.
func addOutputFlag(cmd *cobra.Command, o *outputFormat, more ...outputFormat) {
	*o = outputTable
	cmd.Flags().VarP(&outputFlag{o, append([]outputFormat{outputTable, outputJSON}, more...)}, "output", "o", "how to print")
}
