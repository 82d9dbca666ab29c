package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Pairs is what was learned by comparing answers. All methods are called from
// many goroutines.
type Pairs interface {
	Report() *analyze.Report              // belongs to the caller
	Pair(id string) (*analyze.Pair, bool) // an example that a cluster names
	Reset(mirror string) error            // forgets what was learned of a mirror; empty = of all
}

// Diffs is what GET /api/v1/diffs answers.
type Diffs struct {
	Time     time.Time         `json:"time" doc:"When the clusters were read."`
	Clusters []analyze.Cluster `json:"clusters" doc:"Differences by their signature, the gravest first; at most 100 of each mirror."`
}

// Diff is what GET /api/v1/diffs/{id} answers.
type Diff struct {
	Cluster analyze.Cluster `json:"cluster"`
	Pairs   []analyze.Pair  `json:"pairs" doc:"Examples that are still kept."`
}

// ResetDone is what POST /api/v1/report/reset answers.
type ResetDone struct {
	Mirrors []string `json:"mirrors" doc:"Of which everything that was learned is forgotten."`
}

var (
	mirrorParameter   = parameter{"mirror", "Name of a mirror; left out: all."}
	endpointParameter = parameter{"endpoint", "Method and template, such as GET /users/{id}; left out: all."}
	classParameter    = parameter{"class", "Class of pairs, such as diff or shadow_error; left out: all."}
)

// pairEndpoints are about what was learned by comparing.
func (s *Server) pairEndpoints() []*endpoint {
	return append(s.calibrationEndpoints(), []*endpoint{
		{path: "/api/v1/report", summary: "Verdict, checks, clusters of differences and noise, by mirror.", answer: s.comparing(s.report),
			parameters: []parameter{mirrorParameter}, schema: analyze.Report{}},
		{path: "/api/v1/report/reset", method: http.MethodPost, summary: "Forget what was learned, and begin anew.", answer: s.comparing(s.reset),
			parameters: []parameter{mirrorParameter}, schema: ResetDone{}},
		{path: "/api/v1/diffs", summary: "Clusters of differences.", answer: s.comparing(s.diffs),
			parameters: []parameter{mirrorParameter, endpointParameter, classParameter}, schema: Diffs{}},
		{path: "/api/v1/diffs/{id}", summary: "One cluster, with the pairs that are its examples.", answer: s.comparing(s.diff), schema: Diff{}},
		{path: "/api/v1/pairs/{id}", summary: "One pair of answers and their request, redacted.", answer: s.comparing(s.pair), schema: analyze.Pair{}},
	}...)
}

// comparing lets answer only where answers are compared, and gives it the report.
func (s *Server) comparing(answer func(http.ResponseWriter, *http.Request, *analyze.Report)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var report *analyze.Report
		if s.options.Pairs != nil {
			report = s.options.Pairs.Report()
		}
		if report == nil || len(report.Mirrors) == 0 {
			fail(w, http.StatusNotFound, "comparing is off: no mirror compares its shadow's answers",
				"add a mirror, or take percent: 0 out of the compare section of one")
			return
		}
		answer(w, r, report)
	}
}

func (s *Server) report(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	if only(w, r, report) {
		s.addLosses(report)
		writeJSON(w, http.StatusOK, report)
	}
}

// addLosses adds what was lost before the pipeline had it. What its queue refused it
// counts itself.
func (s *Server) addLosses(report *analyze.Report) {
	lost := s.snapshot().Capture.Lost
	for _, reason := range []traffic.Reason{traffic.LostMemory, traffic.LostBusy} {
		if n := lost[reason]; n > 0 {
			report.Lost[string(reason)] += int64(n)
		}
	}
}

// only leaves the mirrors in report that were asked for. It says no if there is none
// of that name, which was then answered.
func only(w http.ResponseWriter, r *http.Request, report *analyze.Report) bool {
	mirror := r.URL.Query().Get(mirrorParameter.name)
	if mirror == "" {
		return true
	}
	var names []string
	kept := report.Mirrors[:0]
	for _, m := range report.Mirrors {
		if m.Mirror == mirror {
			kept = append(kept, m)
		} else if !slices.Contains(names, m.Mirror) {
			names = append(names, m.Mirror)
		}
	}
	if len(kept) == 0 {
		fail(w, http.StatusNotFound, fmt.Sprintf("no mirror called %q compares answers", mirror), oneOf(names))
		return false
	}
	report.Mirrors = kept
	report.Verdict = gravest(kept)
	return true
}

func oneOf(names []string) string { return "one of: " + strings.Join(names, ", ") }

// gravest is the verdict on several mirrors.
func gravest(mirrors []analyze.MirrorReport) judge.Verdict {
	for _, v := range []judge.Verdict{judge.Fail, judge.Running, judge.NotEnoughTraffic} {
		if slices.ContainsFunc(mirrors, func(m analyze.MirrorReport) bool { return m.Verdict == v }) {
			return v
		}
	}
	return judge.Pass
}

func (s *Server) reset(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	if !only(w, r, report) {
		return
	}
	if err := s.options.Pairs.Reset(r.URL.Query().Get(mirrorParameter.name)); err != nil {
		fail(w, http.StatusInternalServerError, "not everything is forgotten: "+err.Error(), "")
		return
	}
	done := ResetDone{Mirrors: []string{}}
	for _, m := range report.Mirrors {
		done.Mirrors = append(done.Mirrors, m.Mirror)
	}
	writeJSON(w, http.StatusOK, done)
}

func (s *Server) diffs(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	query := r.URL.Query()
	endpoint, class := query.Get(endpointParameter.name), compare.Class(query.Get(classParameter.name))
	if class != "" && !slices.Contains(compare.Classes, class) {
		var words []string
		for _, c := range compare.Classes {
			words = append(words, string(c))
		}
		fail(w, http.StatusBadRequest, fmt.Sprintf("%q is no class of pairs", class), oneOf(words))
		return
	}
	if !only(w, r, report) {
		return
	}
	found := Diffs{Time: report.Time, Clusters: []analyze.Cluster{}}
	for i := range report.Mirrors {
		for _, c := range report.Mirrors[i].Clusters {
			if (endpoint == "" || c.Endpoint == endpoint) && (class == "" || c.Class == class) {
				found.Clusters = append(found.Clusters, c)
			}
		}
	}
	writeJSON(w, http.StatusOK, found)
}

func (s *Server) diff(w http.ResponseWriter, r *http.Request, report *analyze.Report) {
	id := r.PathValue("id")
	for i := range report.Mirrors {
		for _, c := range report.Mirrors[i].Clusters {
			if c.ID != id {
				continue
			}
			found := Diff{Cluster: c, Pairs: []analyze.Pair{}}
			for _, example := range c.Examples {
				if pair, ok := s.options.Pairs.Pair(example); ok {
					found.Pairs = append(found.Pairs, *pair)
				}
			}
			writeJSON(w, http.StatusOK, found)
			return
		}
	}
	fail(w, http.StatusNotFound, fmt.Sprintf("there is no cluster %q", id), "/api/v1/diffs lists them")
}

func (s *Server) pair(w http.ResponseWriter, r *http.Request, _ *analyze.Report) {
	id := r.PathValue("id")
	pair, ok := s.options.Pairs.Pair(id)
	if !ok {
		fail(w, http.StatusNotFound, fmt.Sprintf("there is no pair %q", id), "a few examples of each cluster are kept: /api/v1/diffs lists them")
		return
	}
	writeJSON(w, http.StatusOK, pair)
}

// books is the snapshot with what was compared.
func (s *Server) books() *telemetry.Snapshot {
	snapshot := s.snapshot()
	if s.options.Pairs != nil {
		snapshot.Pairs = pairsOf(s.options.Pairs.Report())
	}
	return snapshot
}

// pairsOf has one row for each mirror of each route: several rules may have
// mirrors of one name and backend.
func pairsOf(report *analyze.Report) []telemetry.Pairs {
	type key struct{ route, mirror, backend string }
	var order []key
	reports := map[key][]analyze.MirrorReport{}
	for _, m := range report.Mirrors {
		k := key{m.Route, m.Mirror, m.Shadow}
		if reports[k] == nil {
			order = append(order, k)
		}
		reports[k] = append(reports[k], m)
	}
	var rows []telemetry.Pairs
	for _, k := range order {
		row := telemetry.Pairs{Route: k.route, Mirror: k.mirror, Backend: k.backend, Verdict: string(gravest(reports[k])), Classes: map[string]int64{}}
		for _, m := range reports[k] {
			row.Tainted += m.Tainted
			for class, n := range m.Classes {
				row.Classes[string(class)] += n
			}
		}
		rows = append(rows, row)
	}
	return rows
}
