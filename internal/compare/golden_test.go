package compare

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

var update = flag.Bool("update", false, "write what the code says into testdata; read the difference before committing it")

// Each file is a pair: the answers primary and shadow as they came, with trailers
// if they had some, rules if there are some, paths that are demoted, and what is
// found. The comment says what it is about; a line "METHOD /template" in it is
// the endpoint.
func TestPairs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no pairs", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := readPair(t, archive)
			got := p.compare(t)
			if *update {
				last := len(archive.Files) - 1
				archive.Files[last].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(p.found, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// pair is one file of testdata.
type pair struct {
	exchange        traffic.Exchange
	primary, shadow traffic.Outcome
	rules           config.Compare
	options         Options
	found           string
}

func readPair(t *testing.T, archive *txtar.Archive) *pair {
	t.Helper()
	p := &pair{primary: answered(""), shadow: answered("")}
	p.shadow.Fate = traffic.Completed
	p.exchange.Method = "GET"
	for line := range strings.Lines(string(archive.Comment)) {
		if method, path, found := strings.Cut(strings.TrimSpace(line), " /"); found && strings.ToUpper(method) == method {
			p.options.Endpoint = strings.TrimSpace(line)
			p.exchange.Method, p.exchange.Path = method, "/"+path
		}
	}
	for _, file := range archive.Files {
		data := strings.TrimSuffix(string(file.Data), "\n")
		switch file.Name {
		case "primary":
			p.primary = answered(data)
		case "shadow":
			p.shadow = answered(data)
			p.shadow.Fate = traffic.Completed
		case "primary.trailer":
			p.primary.Answer.Trailer = wire(data + "\n")
		case "shadow.trailer":
			p.shadow.Answer.Trailer = wire(data + "\n")
		case "rules":
			if err := yaml.Unmarshal(file.Data, &p.rules.Rules); err != nil {
				t.Fatal(err)
			}
		case "demoted":
			demoted := strings.Split(data, "\n")
			p.options.Demoted = func(path string) bool { return slices.Contains(demoted, path) }
		case "found":
			p.found = string(file.Data)
		default:
			t.Fatalf("%s has no meaning in a pair", file.Name)
		}
	}
	return p
}

// answered is an outcome whose answer is text: a head, an empty line and a body.
func answered(s string) traffic.Outcome {
	head, body, _ := strings.Cut(s, "\n\n")
	o := traffic.Outcome{Start: 1, Answer: &traffic.Message{
		Head: wire(head + "\n"), Body: []byte(body), Length: int64(len(body)), Whole: true,
	}}
	if _, status, found := strings.Cut(head, " "); found {
		o.Status, _ = strconv.Atoi(status[:3])
	}
	return o
}

func wire(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func (p *pair) compare(t *testing.T) string {
	t.Helper()
	rules, err := Compile(&p.rules)
	if err != nil {
		t.Fatal(err)
	}
	return written(New(rules).Compare(&p.exchange, &p.primary, &p.shadow, p.options))
}

// written is a result as text: its class, and a line for each difference.
func written(r Result) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s", r.Class)
	if r.Cut {
		b.WriteString(" cut")
	}
	if r.More > 0 {
		fmt.Fprintf(&b, " +%d", r.More)
	}
	b.WriteByte('\n')
	for _, d := range r.Differences {
		b.WriteString(line(d) + "\n")
	}
	for _, d := range r.Noise {
		b.WriteString("noise: " + line(d))
		if d.Rule != "" {
			b.WriteString(" by " + d.Rule)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func line(d Difference) string {
	s := fmt.Sprintf("%s %s", d.Kind, d.Path)
	if d.Where != d.Path {
		s += " at " + d.Where
	}
	side := func(v Value) string {
		if v.Type == "absent" && v.Text == "" {
			return "absent"
		}
		shown := v.Type + " " + v.Text
		if v.Class != "" {
			shown += " (" + string(v.Class) + ")"
		}
		return shown
	}
	s += ": " + side(d.Primary) + " -> " + side(d.Shadow)
	if d.Delta != 0 {
		s += fmt.Sprintf(" delta %.6g", d.Delta)
	}
	if d.Similar {
		s += " similar"
	}
	return s
}
