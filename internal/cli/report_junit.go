package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// The elements of JUnit's XML, in the order and with the attributes that both
// schemas in use ask for: that of Ant, which wants everything, and that of Jenkins.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		ID         int             `xml:"id,attr"`
		Package    string          `xml:"package,attr"`
		Timestamp  string          `xml:"timestamp,attr"` // without a zone, as the schemas have it: UTC
		Hostname   string          `xml:"hostname,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out"`
		Err        string          `xml:"system-err"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Skipped *junitSkipped `xml:"skipped"`
		Failure *junitFailure `xml:"failure"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report as JUnit XML: a suite for each mirror, a case for its
// verdict, for each check, and for each cluster of differences. What is not decided
// is skipped. A cluster fails where the answers of its endpoint do.
func writeJUnit(w io.Writer, r *analyze.Report) error {
	var all junitSuites
	for i := range r.Mirrors {
		all.Suites = append(all.Suites, junitSuiteOf(i, &r.Mirrors[i], r))
	}
	if len(r.Mirrors) == 0 {
		nothing := analyze.MirrorReport{Mirror: "none", Verdict: judge.NotEnoughTraffic, Reasons: []string{"Nothing has been compared yet."}, Since: r.Time}
		all.Suites = append(all.Suites, junitSuiteOf(0, &nothing, r))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitSuiteOf(id int, m *analyze.MirrorReport, r *analyze.Report) junitSuite {
	name := printable(m.Mirror)
	if m.Route != "" {
		name = fmt.Sprintf("%s/%d/%s", printable(m.Route), m.Rule, name)
	}
	s := junitSuite{
		Name: name, ID: id, Package: "understudy", Timestamp: r.Time.UTC().Format("2006-01-02T15:04:05"), Hostname: "localhost",
		Time: fmt.Sprintf("%.3f", max(r.Time.Sub(m.Since).Seconds(), 0)),
		Properties: []junitProperty{
			{"primary", printable(m.Primary)}, {"shadow", printable(m.Shadow)}, {"verdict", string(m.Verdict)}, {"pairs", fmt.Sprint(m.Pairs)},
		},
		Out: printable(m.Shown) + "\n",
	}
	reasons := strings.Join(m.Reasons, "\n")
	s.add("verdict", m.Verdict, string(m.Verdict), reasons, "verdict")
	failing := map[string]bool{} // endpoints
	for _, c := range checksOf(m) {
		if c.Verdict == judge.Fail && (c.Metric == judge.Mismatch || c.Metric == judge.Errors) {
			failing[c.Endpoint] = true
		}
		s.add(endpointText(c.Endpoint)+": "+printable(string(c.Metric)), c.Verdict, c.Says, c.Says, printable(string(c.Metric)))
	}
	for i := range m.Clusters {
		c := &m.Clusters[i]
		verdict := m.Verdict
		if verdict == judge.Fail && !failing[c.Endpoint] && !failing[judge.Everywhere] {
			verdict = judge.Running
		}
		s.add(fmt.Sprintf("%s: %s (%s)", endpointText(c.Endpoint), c.Title, c.ID), verdict, clusterSentence(c), clusterDetails(c), printable(string(c.Class)))
	}
	return s
}

// add appends a case with the outcome that a verdict stands for.
func (s *junitSuite) add(name string, v judge.Verdict, message, details, kind string) {
	c := junitCase{Name: printable(name), Class: "understudy." + s.Name, Time: "0"}
	s.Tests++
	switch v {
	case judge.Pass:
	case judge.Fail:
		s.Failures++
		c.Failure = &junitFailure{Message: printable(message), Type: kind, Text: printableLines(details)}
	default:
		s.Skipped++
		c.Skipped = &junitSkipped{Message: printable(message)}
	}
	s.Cases = append(s.Cases, c)
}

// clusterSentence says how often a cluster was seen.
func clusterSentence(c *analyze.Cluster) string {
	return fmt.Sprintf("%s in %s, %s of the endpoint's", c.Title, plural(int(c.Count), "pair"), portion(c.Rate))
}

// clusterDetails is what there is to say of a cluster as plain lines.
func clusterDetails(c *analyze.Cluster) string {
	var b strings.Builder
	fmt.Fprintln(&b, clusterSentence(c))
	for i := range c.Predictors {
		fmt.Fprintln(&b, predictorSentence(&c.Predictors[i]))
	}
	for i := range c.Differences {
		d := &c.Differences[i]
		fmt.Fprintf(&b, "%s %s: %s at the primary, %s at the shadow\n", d.Path, d.Kind, sideText(d.Primary), sideText(d.Shadow))
	}
	if c.Curl != "" {
		fmt.Fprintln(&b, c.Curl)
	}
	return b.String()
}

// printableLines is printable text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
