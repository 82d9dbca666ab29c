package house

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/telemetry"
)

// metricLiteral is a metric name written down in code.
var metricLiteral = regexp.MustCompile("^[\"`]understudy_[a-z_]+[\"`]$")

// checkMetrics finds metric names written anywhere but in the one list.
func checkMetrics(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		if p.Dir == "internal/telemetry" || strings.HasPrefix(p.Dir, "test/") {
			continue
		}
		for _, source := range p.Code {
			ast.Inspect(source.AST, func(node ast.Node) bool {
				if literal, ok := node.(*ast.BasicLit); ok && metricLiteral.MatchString(literal.Value) {
					findings = append(findings, fmt.Sprintf("%s: %s is named outside internal/telemetry", t.at(literal), literal.Value))
				}
				return true
			})
		}
	}
	return findings
}

var (
	metricName = regexp.MustCompile(`^understudy(_[a-z][a-z0-9]*)+$`)
	labelName  = regexp.MustCompile(`^[a-z]+$`)
	sentence   = regexp.MustCompile(`(?s)^[A-Z0-9].*\.$`)
)

// openLabels are the labels whose values come from the configuration, from a
// backend's status codes or from the build. Every other label is a closed set.
var openLabels = []string{"route", "backend", "mirror", "endpoint", "listener", "code", "version"}

// suffixes are how the names of a kind end, if that is fixed.
var suffixes = map[telemetry.Kind]string{telemetry.Counter: "_total", telemetry.Durations: "_seconds"}

// LintMetrics finds metrics whose name, help or labels do not keep the form.
func LintMetrics(metrics []telemetry.Metric) []string {
	var findings []string
	seen := map[string]bool{}
	for _, m := range metrics {
		complain := func(format string, args ...any) {
			findings = append(findings, m.Name+": "+fmt.Sprintf(format, args...))
		}
		if !metricName.MatchString(m.Name) {
			complain("the name is not understudy_<noun>_<unit>")
		}
		if seen[m.Name] {
			complain("is listed twice")
		}
		seen[m.Name] = true
		if suffix := suffixes[m.Kind]; !strings.HasSuffix(m.Name, suffix) {
			complain("a %s ends in %s", m.Kind, suffix)
		}
		if m.Kind == telemetry.Gauge && strings.HasSuffix(m.Name, "_total") {
			complain("a gauge does not end in _total")
		}
		if !sentence.MatchString(m.Help) {
			complain("the help is not a sentence")
		}
		for _, l := range m.Labels {
			if !labelName.MatchString(l.Name) {
				complain("label %q is not one lower-case word", l.Name)
			}
			if open := slices.Contains(openLabels, l.Name); open == (len(l.Values) > 0) {
				complain("label %q has %d fixed values", l.Name, len(l.Values))
			}
		}
		aboutCopies := slices.ContainsFunc(m.Labels, func(l telemetry.Label) bool { return l.Name == "mirror" })
		if strings.HasPrefix(m.Name, "understudy_mirror_") != aboutCopies {
			complain("metrics of copies are called understudy_mirror_… and have a label mirror, and no others do")
		}
	}
	return findings
}
