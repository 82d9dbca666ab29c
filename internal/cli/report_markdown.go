package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// longestComment leaves room below the 65,536 characters that a comment on GitHub
// may have.
const longestComment = 60_000

// comment is Markdown of sections, of which those are left out that make it too long.
type comment struct {
	strings.Builder
	left int
}

// section adds a section unless it is too long.
func (c *comment) section(text string) {
	if c.Len()+len(text) > longestComment {
		c.left++
		return
	}
	c.WriteString(text)
}

// reportMarkdown is a report for a comment on a pull request, in the Markdown of
// GitHub. Everything that came from elsewhere is escaped: it can neither be markup
// nor mention anybody.
func reportMarkdown(r *analyze.Report) string {
	b := new(comment)
	verdict := r.Verdict
	if len(r.Mirrors) == 0 {
		verdict = judge.NotEnoughTraffic
	}
	fmt.Fprintf(b, "## %s %s\n\n", verdictSigns[verdict], markdown(string(verdict)))
	if len(r.Mirrors) == 0 {
		b.WriteString("Nothing has been compared yet.\n")
	}
	for i := range r.Mirrors {
		markdownMirror(b, &r.Mirrors[i])
	}
	if text := lostText(r.Lost); text != "" {
		fmt.Fprintf(b, "%s\n", markdown(text))
	}
	if b.left > 0 {
		fmt.Fprintf(b, "%s left out, because a comment has an end; `-o json` has everything.\n", plural(b.left, "section"))
	}
	return b.String()
}

// verdictSigns can be told apart without colours, too.
var verdictSigns = map[judge.Verdict]string{judge.Pass: "✅", judge.Fail: "❌", judge.Running: "⏳", judge.NotEnoughTraffic: "⏳"}

func markdownMirror(b *comment, m *analyze.MirrorReport) {
	var head strings.Builder
	fmt.Fprintf(&head, "### %s %s\n\n", verdictSigns[m.Verdict], markdown(verdictSentence(m)))
	for _, reason := range m.Reasons {
		fmt.Fprintf(&head, "- %s\n", markdown(reason))
	}
	about := strings.TrimSpace(fmt.Sprintf("%s compared. %s %s", plural(int(m.Pairs), "pair"), m.Shown, classesText(m)))
	fmt.Fprintf(&head, "\n%s\n\n", markdown(about))
	b.section(head.String())

	var rows [][]string
	for _, c := range checksOf(m) {
		rows = append(rows, []string{code(endpointText(c.Endpoint)), markdown(string(c.Metric)), markdown(string(c.Verdict)), fmt.Sprint(c.Pairs),
			effectText(c.Metric, c.Effect), effectText(c.Metric, c.Low) + " to " + effectText(c.Metric, c.High), effectText(c.Metric, c.Limit)})
	}
	b.section(markdownTable("Checks", []string{"endpoint", "check", "verdict", "pairs", "effect", "interval", "limit"}, rows))

	rows = nil
	for i := range m.Endpoints {
		e := &m.Endpoints[i]
		if e.Primary.P50 > 0 {
			rows = append(rows, []string{code(endpointText(e.Endpoint)),
				durationText(e.Primary.P50), durationText(e.Primary.P95), durationText(e.Primary.P99),
				durationText(e.Shadow.P50), durationText(e.Shadow.P95), durationText(e.Shadow.P99)})
		}
	}
	b.section(markdownTable("Latency", []string{"endpoint", "primary p50", "p95", "p99", "shadow p50", "p95", "p99"}, rows))

	for i := range m.Clusters {
		if i == mostClusters {
			fmt.Fprintf(b, "And %d more differences.\n\n", len(m.Clusters)-mostClusters)
			break
		}
		b.section(markdownCluster(&m.Clusters[i]))
	}

	rows = nil
	for i := range m.Noise {
		n := &m.Noise[i]
		rows = append(rows, []string{code(endpointText(n.Endpoint)), code(n.Path), markdown(n.Why), fmt.Sprint(n.Seen)})
	}
	b.section(markdownTable("Learned to be no difference", []string{"endpoint", "path", "why", "seen"}, rows))
}

func markdownCluster(c *analyze.Cluster) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "<details><summary>%s: %s (%s, %s)</summary>\n\n", code(endpointText(c.Endpoint)), code(c.Title), plural(int(c.Count), "pair"), portion(c.Rate))
	for i := range c.Predictors {
		fmt.Fprintf(b, "- %s\n", markdown(predictorSentence(&c.Predictors[i])))
	}
	if len(c.Predictors) > 0 {
		b.WriteString("\n")
	}
	if rows := differenceCells(c); len(rows) > 0 {
		writeMarkdownTable(b, []string{"path", "", "primary", "shadow"}, rows)
		b.WriteString("\n")
	}
	if c.Curl != "" {
		fence(b, "sh", c.Curl)
	}
	b.WriteString("\n</details>\n\n")
	return b.String()
}

func differenceCells(c *analyze.Cluster) [][]string {
	var rows [][]string
	for i := range c.Differences {
		d := &c.Differences[i]
		rows = append(rows, []string{code(d.Path), markdown(string(d.Kind)), code(sideText(d.Primary)), code(sideText(d.Shadow))})
	}
	return rows
}

// mostMarkdownRows bounds a table that opens at a click.
const mostMarkdownRows = 40

// markdownTable is a table that opens at a click, or nothing without rows.
func markdownTable(title string, header []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	b := new(strings.Builder)
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n", title)
	writeMarkdownTable(b, header, rows[:min(len(rows), mostMarkdownRows)])
	if more := len(rows) - mostMarkdownRows; more > 0 {
		fmt.Fprintf(b, "\nAnd %d more; `-o json` has them all.\n", more)
	}
	b.WriteString("\n</details>\n\n")
	return b.String()
}

func writeMarkdownTable(b *strings.Builder, header []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// markdown escapes text so that it is that text and nothing else. A reference to a
// character never is markup (CommonMark, section 2.5). GitHub looks for mentions and
// the like only after that; a space without width keeps it from finding them.
func markdown(text string) string {
	return strings.NewReplacer("&#64;", "&#64;&#8203;", "&#35;", "&#35;&#8203;").Replace(escaped(text))
}

// code is text in the type of code, in which nothing is mentioned.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "<code>" + escaped(text) + "</code>"
}

// escaped writes signs that may be markup somewhere as references.
func escaped(text string) string {
	// What is no markup within a line. A point is, in www.example.com, and behind a
	// number that begins a line, as is a hyphen there; a colon is before what it
	// could make a link of, an underscore at the edge of a word.
	const plain = " ,%/'\"(){};=-"
	var b strings.Builder
	runes := []rune(printable(text))
	for i, r := range runes {
		safe := r >= 0x80 || isAlphanumeric(r) || strings.ContainsRune(plain, r) && !(r == '-' && i == 0)
		last := i+1 == len(runes) || runes[i+1] == ' '
		switch r {
		case '.':
			safe = i > 0 && (last && !numbers(runes[:i]) || !last && isDigit(runes[i+1]))
		case ':':
			safe = i > 0 && last
		case '_':
			safe = i > 0 && !last && isAlphanumeric(runes[i-1]) && isAlphanumeric(runes[i+1])
		}
		if safe {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// numbers says whether all of text is digits, which with a point is the beginning of
// a list.
func numbers(text []rune) bool {
	return !slices.ContainsFunc(text, func(r rune) bool { return !isDigit(r) })
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || isDigit(r)
}

// fence writes a block of code, with fences that are longer than any in it.
func fence(b *strings.Builder, language, text string) {
	text = printableLines(strings.TrimRight(text, "\n"))
	fences := "```"
	for strings.Contains(text, fences) {
		fences += "`"
	}
	fmt.Fprintf(b, "%s%s\n%s\n%s\n", fences, language, text, fences)
}
