package house

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// built is the binary under test, built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "understudy-house-")
	if err != nil {
		return "", err
	}
	command := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "understudy"), "./cmd/understudy")
	command.Dir = top
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func newStage(t *testing.T) *Stage {
	t.Helper()
	programs, err := built()
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	return &Stage{Dir: t.TempDir(), Checkout: checkout, Programs: programs}
}

// backend answers everything at a port of the document.
func backend(t *testing.T, stage *Stage, documented string) {
	t.Helper()
	port, err := stage.Port(documented)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s from %s\n", r.Method, r.URL, documented)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// Documents that tell people what to type are typed in and run, against two
// services at the ports that all of them use.
func TestDocumentsRun(t *testing.T) {
	t.Parallel()
	for _, name := range documents(t, "README.md", "CONTRIBUTING.md", "docs/configuration.md", "docs/formats/*.md", "docs/guides/*.md") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			stage := newStage(t)
			backend(t, stage, "9000")
			backend(t, stage, "9001")
			for _, finding := range playDocument(t.Context(), stage, string(text)) {
				t.Error(finding)
			}
		})
	}
}

// documents lists the files that each pattern, which must match some, stands for.
func documents(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			t.Fatalf("no document is called %s", pattern)
		}
		all = append(all, names...)
	}
	return all
}

// playDocument runs all examples of a document and returns what is wrong.
func playDocument(ctx context.Context, stage *Stage, markdown string) []string {
	examples, findings := Examples(markdown)
	for _, example := range examples {
		if err := stage.Run(ctx, example); err != nil {
			findings = append(findings, err.Error())
			break // what follows builds upon it
		}
	}
	if err := stage.Close(); err != nil {
		findings = append(findings, err.Error())
	}
	return findings
}

// fence writes Markdown with examples in a raw string possible.
var fence = strings.NewReplacer("~~~", "```")

func TestDocumentsAreFoundOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, markdown string
		want           string // how the only finding starts; empty = none
	}{
		{"a good command", "~~~sh\ntrue\n~~~\n", ""},
		{"a failing command", "text\n\n~~~sh\nfalse\n~~~\n", "line 3: ended with code 1, not 0:"},
		{"a failing command in the middle", "~~~sh\nfalse\ntrue\n~~~\n", "line 1: ended with code 1, not 0:"},
		{"a failing command in a pipe", "~~~sh\nfalse | true\n~~~\n", "line 1: ended with code 1, not 0:"},
		{"a promised failure", "<!-- example: exits: 3 -->\n~~~sh\nexit 3\n~~~\n", ""},
		{"a failure that does not come", "<!-- example: exits: 3 -->\n~~~sh\ntrue\n~~~\n", "line 2: ended with code 0, not 3:"},
		{"promised words", "<!-- example: prints: copies -->\n~~~sh\necho all copies\n~~~\n", ""},
		{"words that do not come", "<!-- example: prints: copies -->\n~~~sh\necho nothing\n~~~\n", `line 2: did not print "copies":`},
		{"a skipped command", "<!-- example: skip: needs a cluster -->\n~~~sh\nfalse\n~~~\n", ""},
		{"a skipped command without a reason", "<!-- example: skip -->\n~~~sh\ntrue\n~~~\n", `line 2: "skip" needs something after it`},
		{"an unknown directive", "<!-- example: pray -->\n~~~sh\ntrue\n~~~\n", `line 2: "pray" is not a directive`},
		{"a block without a language", "~~~\nx\n~~~\n", "line 1: a block is one of"},
		{"a block without an end", "~~~sh\ntrue\n", "line 1: the block does not end"},
		{"bad JSON", "~~~json\n{\"a\": }\n~~~\n", "line 1: not JSON"},
		{"good JSON", "~~~json\n{\"a\": 1}\n~~~\n", ""},
		{"a configuration with an unknown field", "~~~yaml\nlisteners: []\nnonsense: true\n~~~\n", "line 1: ended with code 1, not 0:"},
		{"a mirror with an unknown backend", "<!-- example: mirrors -->\n~~~yaml\n- {backend: nobody}\n~~~\n", "line 2: ended with code 1, not 0:"},
		{"a good mirror", "<!-- example: mirrors -->\n~~~yaml\n- {backend: shop-v2, percent: 5}\n~~~\n", ""},
		{"a file for later", "<!-- example: file: a.yaml -->\n~~~yaml\nlisteners: []\nnonsense: true\n~~~\n", "line 2: ended with code 1, not 0:"},
		{"a server that ends at once", "<!-- example: serve: http://127.0.0.1:9900/ -->\n~~~sh\necho no; exit 1\n~~~\n", "line 2: ended before http://"},
		{"a server that ends badly", "<!-- example: serve: http://127.0.0.1:9000/ -->\n~~~sh\ntrap 'exit 4' TERM; sleep 60 & wait\n~~~\n", "line 2: did not end well: exit status 4"},
		{"a server that does not stay", "<!-- example: serve: http://127.0.0.1:9000/ -->\n~~~sh\nsleep 0.1\n~~~\n\n~~~sh\nsleep 0.5\n~~~\n", "line 2: ended by itself"},
		{"an interrupted program", "<!-- example: interrupt: copies -->\n~~~sh\necho copies; sleep 60\n~~~\n", ""},
		{"an interrupted program that says nothing", "<!-- example: interrupt: copies -->\n~~~sh\ntrue\n~~~\n", `line 2: ended before it prints "copies"`},
		{"an interrupted program that goes on", "<!-- example: interrupt: copies -->\n~~~sh\ntrap '' INT; echo copies; sleep 600\n~~~\n", "line 2: did not stop"},
		{"a command that hangs", "~~~sh\nsleep 600\n~~~\n", "line 1: ended with code -1, not 0:"},
		{"a replacement of nothing", "<!-- example: replaces: http://127.0.0.1:9000/ -->\n~~~sh\ntrue\n~~~\n", "line 2: nothing serves that could be replaced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stage := newStage(t)
			stage.Patience = 5 * time.Second // each case is shell and our binary only
			backend(t, stage, "9000")
			findings := playDocument(t.Context(), stage, fence.Replace(tt.markdown))
			switch {
			case tt.want == "" && len(findings) > 0:
				t.Errorf("findings: %q", findings)
			case tt.want != "" && (len(findings) == 0 || !strings.HasPrefix(findings[0], tt.want)):
				t.Errorf("findings: %q, want one that starts with %q", findings, tt.want)
			}
		})
	}
}

func TestExamplesCarryTheirDirective(t *testing.T) {
	t.Parallel()
	got, findings := Examples(fence.Replace("# T\n\n<!-- example: file: a.yaml -->\n~~~yaml\na: 1\nb: 2\n~~~\n\n~~~text\n~~~\n"))
	if len(findings) > 0 {
		t.Error(findings)
	}
	want := []Example{
		{Line: 4, Language: "yaml", Directive: "file", Argument: "a.yaml", Text: "a: 1\nb: 2\n"},
		{Line: 9, Language: "text", Text: "\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPartsOfAConfigurationAreFramed(t *testing.T) {
	t.Parallel()
	got := Example{Directive: "mirrors", Text: "- backend: shop-v2\n  percent: 5\n"}.Config()
	want := `        mirrors:
          - backend: shop-v2
            percent: 5
`
	if !strings.HasSuffix(got, want) {
		t.Errorf("the mirror stands in\n%s", got)
	}
}

func TestPortsOfADocumentAreReplacedAlike(t *testing.T) {
	t.Parallel()
	stage := &Stage{}
	got, err := stage.replacePorts("127.0.0.1:8080 127.0.0.1:9000 127.0.0.1:8080 10.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(got)
	if words[0] != words[2] || words[0] == words[1] || words[0] == "127.0.0.1:8080" || words[3] != "10.0.0.1:8080" {
		t.Error(got)
	}
}
