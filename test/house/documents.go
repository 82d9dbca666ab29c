package house

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// fragmentName is <id>.<kind>.md; the id says in a word or two what it is about.
var fragmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.(added|changed|fixed|removed)\.md$`)

// maxFragment is what fits into a line of release notes and is still read.
const maxFragment = 240

// checkFragments finds changelog fragments that are not one sentence or two for
// the user, in one line.
func checkFragments(t *Tree) []string {
	var findings []string
	for _, file := range t.matching("changes/unreleased/*") {
		text := strings.TrimSuffix(string(file.Text), "\n")
		switch {
		case !fragmentName.MatchString(path.Base(file.Path)):
			findings = append(findings, file.Path+": the name is not <id>.<added|changed|fixed|removed>.md")
		case strings.Contains(text, "\n") || text == "":
			findings = append(findings, file.Path+": a fragment is one line")
		case len(text) > maxFragment:
			findings = append(findings, fmt.Sprintf("%s: %d characters, at most %d", file.Path, len(text), maxFragment))
		case strings.TrimSpace(text) != text || !strings.HasSuffix(text, "."):
			findings = append(findings, file.Path+": a fragment ends with a full stop and has no space around it")
		}
	}
	return findings
}

// decisionSections are the sections of a decision, in order.
var decisionSections = []string{"Status", "Abstract", "Goals", "Non-goals", "Design", "Alternatives"}

// maxGoals is how many goals a decision has: more is a scope that is too large.
const maxGoals = 3

// decisionName is NNNN-title.md.
var decisionName = regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)

// checkDecisions finds decision records that lack a section, want too much or
// leave a hole in the numbering.
func checkDecisions(t *Tree) []string {
	var findings []string
	next := 0
	for _, file := range t.matching("docs/decisions/*.md") {
		number := decisionName.FindStringSubmatch(path.Base(file.Path))
		if number == nil {
			findings = append(findings, file.Path+": the name is not NNNN-title.md")
			continue
		}
		if want := fmt.Sprintf("%04d", next); number[1] != want {
			findings = append(findings, fmt.Sprintf("%s: the next number is %s", file.Path, want))
		}
		next++
		sections := sectionsOf(string(file.Text))
		var names []string
		for _, s := range sections {
			names = append(names, s.name)
		}
		if !slices.Equal(names, decisionSections) {
			findings = append(findings, fmt.Sprintf("%s: its sections are %q and not %q", file.Path, names, decisionSections))
		}
		for _, s := range sections {
			if s.name == "Goals" && strings.Count("\n"+s.text, "\n- ") > maxGoals {
				findings = append(findings, fmt.Sprintf("%s: more than %d goals", file.Path, maxGoals))
			}
			if strings.TrimSpace(s.text) == "" {
				findings = append(findings, fmt.Sprintf("%s: section %q is empty", file.Path, s.name))
			}
		}
	}
	return findings
}

// section is the text under a heading of the second level.
type section struct {
	name, text string
}

func sectionsOf(markdown string) []section {
	var sections []section
	for _, part := range strings.Split("\n"+markdown, "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		sections = append(sections, section{strings.TrimSpace(name), text})
	}
	return sections
}

// checkGlossary finds entries that are not a term, its meaning and the words to
// avoid, and terms that are out of order.
func checkGlossary(t *Tree) []string {
	file, ok := t.find("docs/GLOSSARY.md")
	if !ok {
		return []string{"docs/GLOSSARY.md: missing"}
	}
	var findings []string
	for _, s := range sectionsOf(string(file.Text)) {
		before := ""
		for entry := range strings.SplitSeq(strings.TrimSpace(s.text), "\n\n") {
			rest, ok := strings.CutPrefix(entry, "**")
			term, meaning, found := strings.Cut(rest, "**:\n")
			switch {
			case !ok || !found:
				findings = append(findings, fmt.Sprintf("%s: %q is not an entry: **Term**: on a line of its own, then its meaning", file.Path, firstLine(entry)))
				continue
			case !strings.Contains(meaning, "\n_Avoid_: "):
				findings = append(findings, fmt.Sprintf("%s: %s does not say which words to avoid", file.Path, term))
			case strings.ToLower(term) < strings.ToLower(before):
				findings = append(findings, fmt.Sprintf("%s: %s comes after %s", file.Path, before, term))
			}
			before = term
		}
	}
	return findings
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// link is a Markdown link; fenced and inline code are taken out before.
var (
	link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	code = regexp.MustCompile("(?s)```.*?\n```|`[^`\n]*`")
)

// checkLinks finds relative links in Markdown that lead nowhere.
func checkLinks(t *Tree) []string {
	exists := map[string]bool{}
	for _, file := range t.Files {
		for name := file.Path; name != "."; name = path.Dir(name) {
			exists[name] = true
		}
	}
	var findings []string
	for _, file := range t.Files {
		if path.Ext(file.Path) != ".md" {
			continue
		}
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(file.Text), ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			name := file.Path
			if target != "" {
				name = path.Join(path.Dir(file.Path), target)
			}
			switch {
			case !exists[name]:
				findings = append(findings, fmt.Sprintf("%s: %s does not exist", file.Path, match[1]))
			case anchor != "" && !slices.Contains(t.anchors(name), anchor):
				findings = append(findings, fmt.Sprintf("%s: %s has no heading #%s", file.Path, name, anchor))
			}
		}
	}
	return findings
}

// punctuation is what an anchor leaves out of its heading.
var punctuation = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)

// anchors lists what the headings of a Markdown file can be linked by.
func (t *Tree) anchors(name string) []string {
	file, _ := t.find(name)
	var anchors []string
	for line := range strings.SplitSeq(string(file.Text), "\n") {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			plain := punctuation.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			anchors = append(anchors, strings.ReplaceAll(plain, " ", "-"))
		}
	}
	return anchors
}

// machine is a path that exists on somebody's machine only. The pieces are kept
// apart so that this file does not find itself.
var machine = regexp.MustCompile(`(?:^|[\s"'` + "`" + `(=:])/` + `(?:work|root|Users|farm|home/[a-z]+)/[A-Za-z0-9._-]+`)

// checkPaths finds absolute paths of somebody's machine in any text.
func checkPaths(t *Tree) []string {
	var findings []string
	for _, file := range t.Files {
		if strings.HasSuffix(file.Path, ".txtar") && strings.HasPrefix(file.Path, "test/house/") {
			continue // the bad trees
		}
		for i, line := range strings.Split(string(file.Text), "\n") {
			if match := machine.FindString(line); match != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s exists on one machine only", file.Path, i+1, strings.TrimLeft(match, " \t\"'`(=:")))
			}
		}
	}
	return findings
}
