package house

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Example is one fenced block of a document. What is done with it depends on
// its language: sh is run, yaml is checked as a configuration, json is parsed,
// and the others are for the eye. A comment on the line above changes that:
//
//	<!-- example: skip: why -->             not run
//	<!-- example: serve: URL -->            runs until the end of the document; ready when URL answers 200
//	<!-- example: replaces: URL -->         likewise; ready when the block that served before has ended, too
//	<!-- example: interrupt: text -->       runs until it has printed text, is interrupted then, and ends
//	<!-- example: prints: text -->          run, and text is in what it prints
//	<!-- example: exits: 3 -->              run, and it ends with that code
//	<!-- example: file: understudy.yaml --> kept under that name for the blocks below
//	<!-- example: rules -->                 the rules of a route; a whole configuration is put around it
//	<!-- example: mirrors -->               the mirrors of a rule; likewise
type Example struct {
	Line      int    // of the opening fence, from 1
	Language  string // of the fence
	Directive string // empty, or one of the above
	Argument  string // of the directive
	Text      string // without the fences
}

var directive = regexp.MustCompile(`^<!-- example: ([a-z]+)(?:: (.+))? -->$`)

// languages are the fences that documents use.
var languages = []string{"sh", "yaml", "json", "text", "mermaid", "go", "http", "sql"}

// Examples lists the fenced blocks of a document, and complains about those
// that it cannot make sense of.
func Examples(markdown string) (examples []Example, findings []string) {
	lines := strings.Split(markdown, "\n")
	for i := 0; i < len(lines); i++ {
		language, isFence := strings.CutPrefix(lines[i], "```")
		if !isFence {
			continue
		}
		example := Example{Line: i + 1, Language: language}
		if i > 0 {
			if match := directive.FindStringSubmatch(lines[i-1]); match != nil {
				example.Directive, example.Argument = match[1], match[2]
			}
		}
		end := slices.Index(lines[i+1:], "```")
		if end < 0 {
			return examples, append(findings, fmt.Sprintf("line %d: the block does not end", example.Line))
		}
		example.Text = strings.Join(lines[i+1:i+1+end], "\n") + "\n"
		i += end + 1
		if why := example.complaint(); why != "" {
			findings = append(findings, fmt.Sprintf("line %d: %s", example.Line, why))
		}
		examples = append(examples, example)
	}
	return examples, findings
}

// complaint says why nobody can know what to do with an example.
func (e Example) complaint() string {
	if !slices.Contains(languages, e.Language) {
		return fmt.Sprintf("a block is one of %v, not %q", languages, e.Language)
	}
	switch e.Directive {
	case "":
	case "skip", "prints", "serve", "replaces", "interrupt", "exits", "file":
		if e.Argument == "" {
			return fmt.Sprintf("%q needs something after it", e.Directive)
		}
	case "rules", "mirrors":
		if e.Language != "yaml" {
			return fmt.Sprintf("%q is for yaml", e.Directive)
		}
	default:
		return fmt.Sprintf("%q is not a directive", e.Directive)
	}
	return ""
}

// frames are what is missing around a part of a configuration.
var frames = map[string]struct {
	before string
	indent string
}{
	"rules": {`listeners: [{name: web, address: "127.0.0.1:8080", protocol: HTTP}]
backends:
  - {name: shop-v1, endpoints: ["127.0.0.1:9000"]}
  - {name: shop-v2, endpoints: ["127.0.0.1:9001"]}
  - {name: shop-v3, endpoints: ["127.0.0.1:9001"]}
routes:
  - name: shop
    rules:
`, "      "},
	"mirrors": {`listeners: [{name: web, address: "127.0.0.1:8080", protocol: HTTP}]
backends:
  - {name: shop-v1, endpoints: ["127.0.0.1:9000"]}
  - {name: shop-v2, endpoints: ["127.0.0.1:9001"]}
  - {name: shop-v3, endpoints: ["127.0.0.1:9001"]}
routes:
  - name: shop
    rules:
      - backends: [{name: shop-v1}]
        mirrors:
`, "          "},
}

// Config is the whole configuration that a yaml example stands for.
func (e Example) Config() string {
	frame, ok := frames[e.Directive]
	if !ok {
		return e.Text
	}
	var config strings.Builder
	config.WriteString(frame.before)
	for line := range strings.Lines(e.Text) {
		config.WriteString(frame.indent + line)
	}
	return config.String()
}
