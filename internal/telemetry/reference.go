package telemetry

import (
	"fmt"
	"io"
	"strings"
)

// WriteReference writes the list of metrics as Markdown: docs/metrics.md.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`GET /metrics`" + ` of the admin address serves, besides the Go runtime's and the process's own (` + "`go_*`, `process_*`" + `).
This page is generated from the list in ` + "`internal/telemetry/names.go`" + `: ` + "`go test ./internal/telemetry -update`" + `.

Names with ` + "`mirror`" + ` count copies; names with ` + "`request`, `primary` and `client`" + ` count live traffic.
The books of copies balance in every scrape, per route, mirror and backend:

` + "```" + `
understudy_mirror_selected_total = understudy_mirror_completed_total
                                 + sum of understudy_mirror_dropped_total over reason
                                 + sum of understudy_mirror_failed_total over reason
                                 + understudy_mirror_in_flight
` + "```" + `

| Name | Type | Labels | Meaning |
|---|---|---|---|
`)
	sets := map[string][]string{}
	var order []string
	for _, m := range Metrics() {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, "`"+l.Name+"`")
			key := "`" + l.Name + "` of `" + m.Name + "`"
			if l.Values != nil {
				sets[key] = l.Values
				order = append(order, key)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(labels, " "), m.Help)
	}
	b.WriteString(`
## Values of labels

Routes, mirrors and backends are names from the configuration, endpoints are addresses from it, codes are HTTP status codes. These sets are closed:

| Label | Values |
|---|---|
`)
	for _, key := range order {
		fmt.Fprintf(&b, "| %s | `%s` |\n", key, strings.Join(sets[key], "` `"))
	}
	b.WriteString("\n## Buckets\n\nHistograms have these upper bounds, in seconds:")
	for _, d := range Bounds {
		fmt.Fprintf(&b, " %g", d.Seconds())
	}
	b.WriteString(".\nEach is twice the one before and a bound of the proxy's own finer buckets, so every count is exact.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
