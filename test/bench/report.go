//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// speedReport is all that a run found; it is the JSON file as it stands.
type speedReport struct {
	Machine machine  `json:"machine"`
	Quick   bool     `json:"quick"`
	Conns   int      `json:"conns"`
	Rate    float64  `json:"rate"`    // of the latency workload, requests/s
	Seconds float64  `json:"seconds"` // of each measurement
	Rounds  int      `json:"rounds"`
	Samples samples  `json:"samples"`
	Idle    []idle   `json:"idle"`
	Proxies []string `json:"proxies"`
	Rows    []string `json:"rows"`
	suite   *suite
}

// table writes rows of a Markdown table.
type table struct{ b *strings.Builder }

func newTable(b *strings.Builder, columns ...string) table {
	t := table{b}
	t.row(columns...)
	b.WriteString("|" + strings.Repeat("---|", len(columns)) + "\n")
	return t
}

func (t table) row(cells ...string) {
	t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// Markdown is the report for people.
func (r *speedReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.suite.title)
	fmt.Fprintf(&b, "%s Load, primary, shadow and proxy shared these cores.\n\n", &r.Machine)
	if r.suite.idle || r.suite.loops {
		fmt.Fprintf(&b, "%d connections, ", r.Conns)
	}
	fmt.Fprintf(&b, "%g s for each measurement, %d interleaved rounds; figures are medians, with minimum and maximum in parentheses.\n", r.Seconds, r.Rounds)
	if r.Quick {
		b.WriteString("\n**A quick run: too short to believe, and therefore without a verdict.**\n")
	}
	r.writeTargets(&b)
	for _, w := range r.measured() {
		if w.Open && !r.suite.loops {
			r.writeLatency(&b, w)
		} else {
			r.writeWorkload(&b, w)
		}
	}
	r.writeIdle(&b)
	b.WriteString(r.suite.how)
	return b.String()
}

// measured lists the workloads that have samples.
func (r *speedReport) measured() []workload {
	var out []workload
	for _, w := range r.suite.workloads {
		if !r.noSamples(w) {
			out = append(out, w)
		}
	}
	return out
}

// writeTargets puts every promise beside what became of it.
func (r *speedReport) writeTargets(b *strings.Builder) {
	columns := []string{"CPU per request, understudy ÷ peer", "target"}
	for _, w := range r.measured() {
		columns = append(columns, w.Name)
	}
	var rows [][]string
	for i := range r.suite.targets {
		cells := []string{r.suite.targets[i].title, fmt.Sprintf("≤ %.2f", r.suite.targets[i].atMost)}
		found := false
		for _, w := range r.measured() {
			ratio, verdict := r.suite.targets[i].judge(r.Samples, w.Name)
			found = found || verdict != ""
			cells = append(cells, r.verdictCell(ratio.format(2), verdict))
		}
		if found {
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Targets\n\n")
	t := newTable(b, columns...)
	for _, cells := range rows {
		t.row(cells...)
	}
}

func (r *speedReport) verdictCell(figure, verdict string) string {
	if r.Quick && !strings.HasPrefix(verdict, "void") || verdict == "" {
		return figure
	}
	return figure + " " + verdict
}

func (r *speedReport) writeWorkload(b *strings.Builder, w workload) {
	fmt.Fprintf(b, "\n## %s (`%s`)\n\n", w.Title, w.Name)
	columns := []string{"proxy", "CPU µs/" + w.unit(), "user + system", w.unit() + "s/s", "memory MiB", "copied %", "same set", "errors", "other CPU %"}
	if r.suite.loops {
		columns = append(columns, "of the loops", "÷ none compared", "loops ÷ none compared", "compared %", "p50 µs", "p99 µs")
	}
	t := newTable(b, columns...)
	none := r.Samples.of(w.Name, compare0)
	for _, c := range contestants {
		s := r.Samples.of(w.Name, c.Name)
		if len(s) == 0 {
			continue
		}
		cpu, parts, memory := "–", "–", "–"
		if c.Program != "" {
			cpu = s.spread((*sample).CPUMicros).format(1)
			parts = fmt.Sprintf("%.1f + %.1f", s.spread(userMicros).median, s.spread(systemMicros).median)
			memory = fmt.Sprintf("%.1f", s.spread(memoryMiB).median)
		}
		cells := []string{c.Name, cpu, parts, s.spread(throughput).format(0), memory, copied(c, s), sameSet(s), errorCount(s), otherCPU(s)}
		if r.suite.loops {
			cells = append(cells, s.spread(loopMicros).format(1), s.against(none, cpuRatio).format(2), s.against(none, loopRatio).format(2),
				s.spread(comparedPercent).format(1), s.spread(p50Micros).format(0), s.spread(p99Micros).format(0))
		}
		t.row(cells...)
	}
}

// copied is the share of live requests that reached the shadow.
func copied(c contestant, s samples) string {
	if !c.Mirror {
		return "–"
	}
	return s.spread(func(s *sample) float64 { return 100 * float64(s.Copies) / float64(max(s.Live, 1)) }).format(2)
}

func sameSet(s samples) string {
	for i := range s {
		if !s[i].SameSet {
			return "**no**"
		}
	}
	return "yes"
}

func errorCount(s samples) string {
	sum := map[string]uint64{}
	for i := range s {
		for k, n := range s[i].Errors {
			sum[k] += n
		}
	}
	if len(sum) == 0 {
		return "0"
	}
	b, _ := json.Marshal(sum) // maps of numbers always can be, and come out sorted
	return "**" + strings.Trim(strings.ReplaceAll(string(b), `"`, ""), "{}") + "**"
}

func otherCPU(s samples) string {
	return s.spread(func(s *sample) float64 { return 100 * (s.OtherCPU + s.StolenCPU) }).format(1)
}

func throughput(s *sample) float64   { return s.Throughput }
func userMicros(s *sample) float64   { return s.UserMicros }
func loopMicros(s *sample) float64   { return s.LoopMicros }
func systemMicros(s *sample) float64 { return s.SystemMicros }
func memoryMiB(s *sample) float64    { return s.MemoryMiB }
func p50Micros(s *sample) float64    { return s.P50Micros }
func p99Micros(s *sample) float64    { return s.P99Micros }

func comparedPercent(s *sample) float64 { return 100 * float64(s.Compared) / float64(max(s.Live, 1)) }

func (r *speedReport) noSamples(w workload) bool {
	for i := range r.Samples {
		if r.Samples[i].Workload == w.Name {
			return false
		}
	}
	return true
}

func (r *speedReport) writeLatency(b *strings.Builder, w workload) {
	fmt.Fprintf(b, "\n## Latency: %s, %g requests/s in open loop (`%s`)\n\n", w.Title, r.Rate, w.Name)
	straight := r.Samples.of(w.Name, direct)
	t := newTable(b, "proxy", "p50 µs", "p99 µs", "p99.9 µs", "added p50", "added p99", "added p99.9", "CPU µs/request", "errors", "other CPU %")
	for _, c := range contestants {
		s := r.Samples.of(w.Name, c.Name)
		if len(s) == 0 {
			continue
		}
		cells := []string{c.Name}
		quantiles := []func(*sample) float64{p50Micros, p99Micros, func(s *sample) float64 { return s.P999Micros }}
		for _, q := range quantiles {
			cells = append(cells, s.spread(q).format(0))
		}
		for _, q := range quantiles {
			added := s.against(straight, func(a, b *sample) float64 { return q(a) - q(b) })
			if c.Program == "" {
				added = spread{}
			}
			cells = append(cells, added.format(0))
		}
		cpu := "–"
		if c.Program != "" {
			cpu = s.spread((*sample).CPUMicros).format(1)
		}
		t.row(append(cells, cpu, errorCount(s), otherCPU(s))...)
	}
}

func (r *speedReport) writeIdle(b *strings.Builder) {
	if len(r.Idle) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Idle, with %d open connections\n\n", r.Conns)
	t := newTable(b, "proxy", "CPU, % of a core", "target")
	for _, v := range r.Idle {
		verdict := ""
		if contestantOf(v.Proxy).Program == "understudy" {
			if verdict = "met"; v.CorePercent > idleAtMost {
				verdict = "**missed**"
			}
			verdict = r.verdictCell(fmt.Sprintf("≤ %.1f", idleAtMost), verdict)
		}
		t.row(v.Proxy, fmt.Sprintf("%.3f", v.CorePercent), verdict)
	}
}

// publish prints Markdown and, with a path, keeps it there, with the figures as
// JSON beside it.
func publish(path, markdown string, figures any) error {
	fmt.Print(markdown)
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(figures, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(markdown), 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(path, ".md")+".json", append(b, '\n'), 0o644)
}
