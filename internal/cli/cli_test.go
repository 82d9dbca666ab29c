package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func testStreams() (s *Streams, out, errOut *buffer) {
	out, errOut = &buffer{}, &buffer{}
	return &Streams{In: strings.NewReader(""), Out: out, Err: errOut, Size: func() (int, int) { return 0, 0 }}, out, errOut
}

// parse runs the flags of a command and nothing else.
func parse(cmd *cobra.Command, args ...string) error {
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(context.Background())
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want int
	}{
		"help":                           {[]string{"--help"}, 0},
		"nothing":                        {nil, 0},
		"version":                        {[]string{"version"}, 0},
		"unknown command":                {[]string{"rnu"}, 2},
		"unknown flag":                   {[]string{"run", "--nope"}, 2},
		"unknown short flag":             {[]string{"status", "-z"}, 2},
		"bad value of a flag":            {[]string{"run", "--percent", "many"}, 2},
		"argument too many":              {[]string{"version", "1"}, 2},
		"no flags where some are needed": {[]string{"run"}, 2},
		"file that is not there":         {[]string{"check", "-c", "no/such/file.yaml"}, 1},
		"nobody at the admin address":    {[]string{"status", "--admin", "127.0.0.1:1"}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, out, errOut := testStreams()
			if got := Main(t.Context(), tt.args, s); got != tt.want {
				t.Errorf("exit code %d, want %d\n%s%s", got, tt.want, out, errOut)
			}
			if tt.want == 0 && errOut.String() != "" {
				t.Errorf("a success wrote to stderr: %s", errOut)
			}
			if tt.want != 0 && (out.String() != "" || errOut.String() == "") {
				t.Errorf("a failure belongs on stderr: stdout %q, stderr %q", out, errOut)
			}
		})
	}
}

func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"typo in a command": {[]string{"statsu"},
			"understudy: there is no command \"statsu\"; did you mean status?\n\nRun 'understudy --help' for more.\n"},
		"unknown flag": {[]string{"status", "--nope"},
			"understudy status: unknown flag: --nope\n\nUsage: understudy status [flags]\nRun 'understudy status --help' for more.\n"},
		"argument": {[]string{"run", "file.yaml"},
			"understudy run: unexpected argument \"file.yaml\"\n\nUsage: understudy run [flags]\nRun 'understudy run --help' for more.\n"},
		"output": {[]string{"version", "-o", "xml"},
			"understudy version: invalid argument \"xml\" for \"-o, --output\" flag: it is none of table, json\n\nUsage: understudy version [flags]\nRun 'understudy version --help' for more.\n"},
		"shell": {[]string{"completion", "tcsh"},
			"understudy completion: \"tcsh\" is none of bash, zsh, fish, powershell\n\nUsage: understudy completion bash|zsh|fish|powershell\nRun 'understudy completion --help' for more.\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, errOut := testStreams()
			Main(t.Context(), tt.args, s)
			if diff := cmp.Diff(tt.want, errOut.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	t.Parallel()
	s, _, _ := testStreams()
	for _, cmd := range newRoot(s).Commands() {
		if cmd.Name() == "help" {
			continue
		}
		if cmd.Example == "" || cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: example %q, short %q", cmd.Name(), cmd.Example, cmd.Short)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Short + "\n") {
			if len(line) > 81 {
				t.Errorf("%s: a line is wider than 80 columns: %s", cmd.Name(), line)
			}
		}
		if cmd.Args == nil {
			t.Errorf("%s accepts any arguments", cmd.Name())
		}
		s, out, _ := testStreams()
		if code := Main(t.Context(), []string{cmd.Name(), "--help"}, s); code != 0 || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%s --help: exit code %d\n%s", cmd.Name(), code, out)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	s, out, _ := testStreams()
	var got *versionOptions
	keep := func(o *versionOptions) error { got = o; return nil }
	if err := parse(newCmdVersion(s, keep), "-o", "json"); err != nil || got.output != outputJSON {
		t.Fatalf("%v, output %q", err, got.output)
	}
	got.build.Version, got.build.Revision, got.build.Time, got.build.Go, got.build.Platform = "v1.2.3", "abc", "", "go9", "os/arch"
	if err := versionRun(got); err != nil {
		t.Fatal(err)
	}
	got.output = outputTable
	if err := versionRun(got); err != nil {
		t.Fatal(err)
	}
	want := `{"version":"v1.2.3","revision":"abc","time":"","go":"go9","platform":"os/arch"}` + "\nunderstudy v1.2.3 (go9, os/arch, abc)\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{
		"bash": "__start_understudy", "zsh": "#compdef understudy", "fish": "complete -c understudy", "powershell": "Register-ArgumentCompleter",
	} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), []string{"completion", shell}, s); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, no %q: %s", shell, code, want, errOut)
		}
	}
}

func TestUsageErrorsUnwrap(t *testing.T) {
	t.Parallel()
	inner := errors.New("inner")
	if !errors.Is(&usageError{inner}, inner) {
		t.Error("a usage error hides what is wrong")
	}
}
