package cli

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// How many rows a person is shown; programs get all.
const (
	mostChecks    = 16
	mostLatencies = 8
	mostClusters  = 10
	mostNoise     = 10
	mostEndpoint  = 48 // columns of the name of an endpoint
	mostTitle     = 72 // columns of what a cluster is about
)

// verdictStyles are how verdicts look.
var verdictStyles = map[judge.Verdict]style{judge.Pass: good, judge.Fail: bad, judge.Running: warn, judge.NotEnoughTraffic: warn}

// reportText is a report for people, at most so many columns wide where words
// allow it.
func reportText(r *analyze.Report, columns int, color bool) string {
	p := &paper{columns: columns, color: color}
	if len(r.Mirrors) == 0 {
		p.line(verdictText(judge.NotEnoughTraffic, color) + "  nothing has been compared yet")
	}
	if len(r.Mirrors) > 1 {
		p.line(verdictText(r.Verdict, color) + fmt.Sprintf("  over all of %d mirrors", len(r.Mirrors)))
		p.line("")
	}
	for i := range r.Mirrors {
		if i > 0 {
			p.line("")
		}
		p.mirror(&r.Mirrors[i], r.Time)
	}
	if text := lostText(r.Lost); text != "" {
		p.line("")
		p.words("", text)
	}
	return p.String()
}

// paper is what text for people is written on.
type paper struct {
	strings.Builder
	columns int
	color   bool
}

func (p *paper) line(text string) { p.WriteString(text + "\n") }

// words writes text, broken into lines that begin alike; the first may begin with
// a bullet.
func (p *paper) words(bullet, text string) {
	margin := "  " + strings.Repeat(" ", textWidth(bullet))
	for i, line := range wrap(printable(text), p.columns-len(margin)) {
		if i == 0 {
			p.line("  " + bullet + line)
		} else {
			p.line(margin + line)
		}
	}
}

// table writes a table, and how many rows more there are elsewhere.
func (p *paper) table(t *table, more int, where string) {
	if len(t.rows) == 0 {
		return
	}
	p.line("")
	for _, line := range t.lines(p.color) {
		p.line(line)
	}
	if more > 0 {
		p.line("  " + paint(fmt.Sprintf("and %d more%s", more, where), faint, p.color))
	}
}

// verdict writes the verdict on a mirror, and its reasons.
func (p *paper) verdict(m *analyze.MirrorReport) {
	p.line(verdictText(m.Verdict, p.color) + "  " + paint(verdictSentence(m), bold, p.color))
	for _, reason := range m.Reasons {
		p.words("- ", reason)
	}
}

func (p *paper) mirror(m *analyze.MirrorReport, now time.Time) {
	p.verdict(m)
	p.words("", fmt.Sprintf("%s compared in %s. %s", plural(int(m.Pairs), "pair"), now.Sub(m.Since).Round(time.Second), m.Shown))
	if text := classesText(m); text != "" {
		p.words("", text)
	}
	checks := checksOf(m)
	t := newTable("Checks", checkColumns...)
	for i, c := range checks {
		if i == mostChecks {
			break
		}
		t.add(narrow(checkRow(c))...)
	}
	p.table(t, len(checks)-len(t.rows), "; -o json has them all")

	t = newTable("Latency", latencyColumns...)
	measured := 0
	for i := range m.Endpoints {
		if m.Endpoints[i].Primary.P50 == 0 {
			continue
		}
		if measured++; measured <= mostLatencies {
			t.add(narrow(latencyRow(&m.Endpoints[i]))...)
		}
	}
	p.table(t, measured-len(t.rows), "; -o json has them all")

	t = newTable("Differences", clusterColumns...)
	for i := range m.Clusters {
		if i == mostClusters {
			break
		}
		addCluster(t, &m.Clusters[i], true)
	}
	p.table(t, len(m.Clusters)-len(t.rows), "; understudy diffs lists them")

	t = newTable("Learned to be no difference", noiseColumns...)
	for i := range m.Noise {
		if i == mostNoise {
			break
		}
		t.add(narrow(noiseRow(&m.Noise[i]))...)
	}
	p.table(t, len(m.Noise)-len(t.rows), "; -o json has them all")
}

func verdictText(v judge.Verdict, color bool) string {
	return paint(printable(string(v)), verdictStyles[v], color)
}

// verdictSentence says what the verdict on a mirror is about.
func verdictSentence(m *analyze.MirrorReport) string {
	shadow, primary := printable(m.Shadow), printable(m.Primary)
	if primary == "" {
		primary = "the recorded primary"
	}
	place := "take the place of " + primary
	var text string
	switch m.Verdict {
	case judge.Pass:
		text = shadow + " may " + place
	case judge.Fail:
		text = shadow + " is not ready to " + place
	case judge.Running:
		text = "not decided yet whether " + shadow + " may " + place
	default:
		text = "too little traffic to tell whether " + shadow + " may " + place
	}
	return text + " (" + mirrorPlace(m) + ")"
}

// mirrorPlace says which mirror a report is about.
func mirrorPlace(m *analyze.MirrorReport) string {
	text := "route " + printable(m.Route)
	if m.Rule > 0 {
		text += ", rule " + strconv.Itoa(m.Rule)
	}
	if m.Mirror != m.Shadow {
		text += ", mirror " + printable(m.Mirror)
	}
	return text
}

// classesText says what became of pairs, and of those that do not count.
func classesText(m *analyze.MirrorReport) string {
	var list, other []string
	for _, c := range compare.Classes {
		if n := m.Classes[c]; n > 0 && c != compare.Infra {
			list = append(list, fmt.Sprintf("%s %d", c, n))
		}
	}
	if n := m.Classes[compare.Infra]; n > 0 {
		other = append(other, fmt.Sprintf("%d without two answers", n))
	}
	if m.Tainted > 0 {
		other = append(other, fmt.Sprintf("%d tainted", m.Tainted))
	}
	if m.Held > 0 {
		other = append(other, fmt.Sprintf("%d held until it is known whether they differ by themselves", m.Held))
	}
	text := ""
	if len(list) > 0 {
		text = "Of these: " + strings.Join(list, ", ") + "."
	}
	if len(other) > 0 {
		text += " Not counted: " + strings.Join(other, ", ") + "."
	}
	return strings.TrimSpace(text)
}

// lostBecause says why pairs were not looked at, for people.
var lostBecause = map[string]string{
	"cpu":      "because comparing may use no more cpu",
	"learning": "because too many were held already",
	"queue":    "because the queue was full",
}

// lostText says what was not looked at, and what to do about it.
func lostText(lost map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		if lost[name] > 0 {
			list = append(list, fmt.Sprintf("%d %s", lost[name], cmp.Or(lostBecause[name], printable(name))))
		}
	}
	if len(list) == 0 {
		return ""
	}
	text := "Not looked at: " + strings.Join(list, ", ") + "."
	if lost["queue"]+lost["cpu"] > 0 {
		text += " Give capture a longer queue or more cpu, or compare a smaller percent."
	}
	if lost["busy"] > 0 {
		text += " Busy: live traffic needed the processors, so that a part was drawn to be compared."
	}
	return text
}

var checkColumns = []string{"ENDPOINT", "CHECK", "VERDICT", ">PAIRS", ">EFFECT", ">FROM", ">TO", ">LIMIT"}

// checksOf are the checks of a mirror that saw pairs, those that speak against the
// shadow first.
func checksOf(m *analyze.MirrorReport) []judge.Check {
	list := slices.Clone(m.Checks)
	for i := range m.Endpoints {
		list = append(list, m.Endpoints[i].Checks...)
	}
	list = slices.DeleteFunc(list, func(c judge.Check) bool { return c.Pairs == 0 })
	order := []judge.Verdict{judge.Fail, judge.Running, judge.NotEnoughTraffic, judge.Pass}
	slices.SortStableFunc(list, func(a, b judge.Check) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)), cmp.Compare(everywhere(b), everywhere(a)),
			cmp.Compare(b.Evidence, a.Evidence))
	})
	return list
}

func everywhere(c judge.Check) int {
	if c.Endpoint == judge.Everywhere {
		return 1
	}
	return 0
}

// endpointText names an endpoint.
func endpointText(endpoint string) string {
	if endpoint == judge.Everywhere {
		return "all endpoints"
	}
	return printable(endpoint)
}

func checkRow(c judge.Check) []any {
	return []any{endpointText(c.Endpoint), printable(string(c.Metric)), cell{printable(string(c.Verdict)), verdictStyles[c.Verdict]}, c.Pairs,
		effectText(c.Metric, c.Effect), effectText(c.Metric, c.Low), effectText(c.Metric, c.High), effectText(c.Metric, c.Limit)}
}

// effectText writes the effect that a check is about: the ratio of latencies, or a
// share of pairs.
func effectText(m judge.Metric, effect float64) string {
	if m == judge.Latency {
		return "×" + strconv.FormatFloat(math.Round(effect*1000)/1000, 'f', -1, 64)
	}
	return portion(effect)
}

// portion writes a share in percent with two digits that matter, and with more
// where it would be taken for all.
func portion(share float64) string {
	const most = 4
	percent := 100 * share
	digits := 1
	if percent != 0 {
		digits = max(0, min(most, 1-int(math.Floor(math.Log10(math.Abs(percent))))))
	}
	rounded := func() float64 {
		scale := math.Pow(10, float64(digits))
		return math.Round(percent*scale) / scale
	}
	for percent < 100 && rounded() == 100 && digits < most {
		digits++
	}
	return strconv.FormatFloat(rounded(), 'f', -1, 64) + " %"
}

var latencyColumns = []string{"ENDPOINT", ">PRIMARY P50", ">P95", ">P99", ">SHADOW P50", ">P95", ">P99"}

func latencyRow(e *analyze.EndpointReport) []any {
	return []any{endpointText(e.Endpoint), durationText(e.Primary.P50), durationText(e.Primary.P95), durationText(e.Primary.P99),
		durationText(e.Shadow.P50), durationText(e.Shadow.P95), durationText(e.Shadow.P99)}
}

var clusterColumns = []string{"ID", "CLASS", ">PAIRS", ">RATE", "ENDPOINT", "WHAT"}

func clusterRow(c *analyze.Cluster) []any {
	return []any{printable(c.ID), printable(string(c.Class)), c.Count, portion(c.Rate), endpointText(c.Endpoint), printable(c.Title)}
}

// addCluster adds a cluster, behind the name of its mirror if that is given, and
// what its requests have in common.
func addCluster(t *table, c *analyze.Cluster, person bool, mirror ...any) {
	row := clusterRow(c)
	if person {
		row = narrow(row)
	}
	t.add(append(mirror, row...)...)
	if len(c.Predictors) > 0 {
		t.remark(predictorSentence(&c.Predictors[0]))
	}
}

// narrow shortens what would be wider than a terminal.
func narrow(row []any) []any {
	for i := range row {
		if text, ok := row[i].(string); ok {
			most := mostEndpoint
			if i > 0 {
				most = mostTitle
			}
			row[i] = cut(text, most)
		}
	}
	return row
}

// predictorSentence says what the requests of a cluster have in common.
func predictorSentence(p *analyze.Predictor) string {
	return fmt.Sprintf("%s of these have %s = %s; of the others %s", portion(p.Inside), printable(p.Attribute), cut(printable(p.Value), 60), portion(p.Outside))
}

var noiseColumns = []string{"ENDPOINT", "PATH", "WHY", ">SEEN"}

func noiseRow(n *analyze.Noise) []any {
	return []any{endpointText(n.Endpoint), printable(n.Path), printable(n.Why), n.Seen}
}

// reportTables are a report for programs.
func reportTables(r *analyze.Report) []*table {
	of := func(columns []string) *table {
		return newTable("", append([]string{"MIRROR"}, columns...)...)
	}
	mirrors := newTable("", "ROUTE", ">RULE", "MIRROR", "PRIMARY", "SHADOW", "VERDICT", ">PAIRS", ">TAINTED", "SINCE")
	checks, latencies, clusters, noise := of(checkColumns), of(latencyColumns), of(clusterColumns), of(noiseColumns)
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		name := printable(m.Mirror)
		mirrors.add(printable(m.Route), m.Rule, name, printable(m.Primary), printable(m.Shadow), string(m.Verdict), m.Pairs, m.Tainted, m.Since.UTC().Format(time.RFC3339))
		mirrors.remark(printable(strings.TrimSpace(strings.Join(append(slices.Clone(m.Reasons), m.Shown, classesText(m), lostText(r.Lost)), " "))))
		for _, c := range checksOf(m) {
			checks.add(append([]any{name}, checkRow(c)...)...)
			checks.remark(printable(c.Says))
		}
		for j := range m.Endpoints {
			if m.Endpoints[j].Primary.P50 == 0 {
				continue // nothing was measured
			}
			latencies.add(append([]any{name}, latencyRow(&m.Endpoints[j])...)...)
		}
		for j := range m.Clusters {
			addCluster(clusters, &m.Clusters[j], false, name)
		}
		for j := range m.Noise {
			noise.add(append([]any{name}, noiseRow(&m.Noise[j])...)...)
		}
	}
	return []*table{mirrors, checks, latencies, clusters, noise}
}
