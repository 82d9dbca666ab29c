package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// look is how many requests go by between two looks at the verdict.
const look = 200

// finding is a check that has failed.
type finding struct {
	endpoint string
	metric   judge.Metric
	says     string
}

// outcome is what came of one run.
type outcome struct {
	fault     *fault // nil = none was planted
	verdict   judge.Verdict
	requests  int       // until the verdict was FAIL, or all
	pairs     int64     // of the fault's endpoint, likewise
	findings  []finding // at that moment
	first     string    // the endpoint of the gravest cluster
	predicted string    // what the clusters of the endpoint say first
	diffyEver bool      // at any look, something was shown …
	diffyLast []place   // … and at the end
	report    *analyze.Report
}

// run plays until the verdict is FAIL, at most limit requests. Diffy's rule is
// asked at the same moments.
func run(ctx context.Context, seed uint64, f *fault, limit int) (*outcome, error) {
	s, err := newStage(seed, f)
	if err != nil {
		return nil, err
	}
	o, err := watch(ctx, s, limit)
	if closed := s.close(); err == nil {
		err = closed
	}
	return o, err
}

func watch(ctx context.Context, s *stage, limit int) (*outcome, error) {
	o := &outcome{fault: s.fault}
	for s.asked < limit {
		if err := s.play(ctx, look); err != nil {
			return nil, err
		}
		o.diffyLast = s.diffy.shown()
		o.diffyEver = o.diffyEver || len(o.diffyLast) > 0
		o.read(s.pipeline.Report())
		if o.verdict == judge.Fail {
			break
		}
	}
	o.requests = s.asked
	return o, nil
}

// read takes from a report what is said of the shadow.
func (o *outcome) read(r *analyze.Report) {
	o.report, o.findings, o.first, o.predicted, o.pairs = r, nil, "", "", 0
	for _, m := range r.Mirrors {
		if m.Mirror != "shadow" {
			continue
		}
		if m.Verdict == judge.Fail {
			o.verdict = judge.Fail
		}
		o.add(m.Checks)
		for _, e := range m.Endpoints {
			if o.fault != nil && sameEndpoint(e.Endpoint, o.fault.endpoint) {
				o.pairs += e.Pairs
			}
			o.add(e.Checks)
		}
		if len(m.Clusters) > 0 {
			o.first = m.Clusters[0].Endpoint
		}
		for _, c := range m.Clusters {
			if o.fault != nil && sameEndpoint(c.Endpoint, o.fault.endpoint) && o.predicted == "" && len(c.Predictors) > 0 {
				o.predicted = c.Predictors[0].Attribute + "=" + c.Predictors[0].Value
			}
		}
	}
}

// add takes the checks that have failed.
func (o *outcome) add(checks []judge.Check) {
	for _, c := range checks {
		if c.Verdict == judge.Fail {
			o.findings = append(o.findings, finding{c.Endpoint, c.Metric, c.Says})
		}
	}
}

// placeholder is what a template calls a segment that differs.
var placeholder = regexp.MustCompile(`\{[^/]*\}`)

// sameEndpoint compares templates, however they call what differs.
func sameEndpoint(a, b string) bool {
	return placeholder.ReplaceAllString(a, "{}") == placeholder.ReplaceAllString(b, "{}")
}

// found says that the verdict names the fault.
func (o *outcome) found() bool {
	return o.verdict == judge.Fail && slices.ContainsFunc(o.findings, o.right)
}

// right says that the finding is of the fault: of its metric and endpoint, or of all
// endpoints together if the first cluster names the endpoint.
func (o *outcome) right(f finding) bool {
	if o.fault == nil || !slices.Contains(o.fault.metrics, f.metric) {
		return false
	}
	if f.endpoint == judge.Everywhere {
		return o.fault.slow != nil || sameEndpoint(o.first, o.fault.endpoint)
	}
	return sameEndpoint(f.endpoint, o.fault.endpoint)
}

// caused says that the first predictor names the cause.
func (o *outcome) caused() bool {
	attribute, value, _ := strings.Cut(o.predicted, "=")
	return value == o.fault.value && strings.HasPrefix(attribute, o.fault.attribute)
}

// diffyFound says that Diffy's rule shows something where the fault is, at the end.
func (o *outcome) diffyFound() bool {
	return slices.ContainsFunc(o.diffyLast, func(p place) bool { return p.endpoint == o.fault.endpoint })
}

func (o *outcome) String() string {
	name := "no fault"
	if o.fault != nil {
		name = o.fault.name
	}
	var says []string
	for _, f := range o.findings {
		says = append(says, string(f.metric)+" of "+f.endpoint)
	}
	return fmt.Sprintf("%-36s %-18s %6d requests %6d pairs  %s %s", name, o.verdict, o.requests, o.pairs, strings.Join(says, ", "), o.predicted)
}
