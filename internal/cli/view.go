package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
)

// view is a status for people. With a status from before it shows what
// happened between the two.
type view struct {
	now    *admin.Status
	before *admin.Status // nil = show everything since the start
	lost   error         // why there is nothing newer than now
}

// headline is who serves, since when, and how.
func (v view) headline() string {
	if v.lost != nil {
		return v.lost.Error()
	}
	s := v.now
	state := "ready"
	switch {
	case s.Draining:
		state = "draining"
	case !s.Ready:
		state = "starting"
	}
	line := fmt.Sprintf("understudy %s, %s for %s, %s on %s, configuration %s", s.Version, state, s.Time.Sub(s.Started).Round(time.Second), s.Driver, plural(s.Loops, "loop"), s.Config)
	if s.ReloadsFailed > 0 {
		line += fmt.Sprintf(" (%d refused)", s.ReloadsFailed)
	}
	return line + ", " + plural(int(s.Connections.Open), "client")
}

// tables are live requests, copies and endpoints, in this order.
func (v view) tables() []*table {
	return []*table{v.live(), v.copies(), v.endpoints()}
}

func (v view) live() *table {
	columns := []string{"ROUTE", "PRIMARY", ">REQUESTS", ">FAILED", ">IN FLIGHT", ">P50", ">P99", ">FIRST P50", ">FIRST P99"}
	t := newTable("Live", v.withRate(columns, ">REQUESTS")...)
	for i := range v.now.Routes {
		r := &v.now.Routes[i]
		before := v.routeBefore(r)
		duration, first := since(&r.Duration, &before.Duration), since(&r.First, &before.First)
		failed := admin.Sum(r.Failed)
		row := []any{orDash(r.Route), orDash(r.Backend), count(r.Requests)}
		if v.before != nil {
			row = append(row, v.rate(r.Requests, before.Requests))
		}
		t.add(append(row, cell{count(failed), alarming(failed, warn)}, r.InFlight,
			duration.quantile(0.5), duration.quantile(0.99), first.quantile(0.5), first.quantile(0.99))...)
		t.remark(remarks(counted{"answered", r.Codes}, counted{"gRPC", r.GRPC}, counted{"failed", r.Failed}))
	}
	return t
}

func (v view) copies() *table {
	columns := []string{"ROUTE", "MIRROR", ">SHARE", ">SELECTED", ">COMPLETED", ">DROPPED", ">FAILED", ">IN FLIGHT", "STATE", ">FIRST P50", ">FIRST P99"}
	t := newTable("Copies", v.withRate(columns, ">SELECTED")...)
	for i := range v.now.Mirrors {
		m := &v.now.Mirrors[i]
		before := v.mirrorBefore(m)
		first := since(&m.First, &before.First)
		dropped, failed := admin.Sum(m.Dropped), admin.Sum(m.Failed)
		row := []any{orDash(m.Route), mirrorName(m), percentText(m.Share, 1), count(m.Selected)}
		if v.before != nil {
			row = append(row, v.rate(m.Selected, before.Selected))
		}
		t.add(append(row, count(m.Completed), cell{count(dropped), alarming(dropped, warn)}, cell{count(failed), alarming(failed, bad)},
			m.InFlight, v.state(m), first.quantile(0.5), first.quantile(0.99))...)
		t.remark(remarks(counted{"answered", m.Codes}, counted{"gRPC", m.GRPC}, counted{"dropped", m.Dropped}, counted{"failed", m.Failed}, counted{"skipped", m.Skipped}))
	}
	return t
}

func (v view) endpoints() *table {
	t := newTable("Endpoints", "BACKEND", "ENDPOINT", ">REQUESTS", ">FAILURES", ">IN FLIGHT", ">IDLE", "STATE")
	for i := range v.now.Endpoints {
		e := &v.now.Endpoints[i]
		state := cell{"ok", good}
		if e.Ejected {
			state = cell{"ejected" + v.until(e.Until), bad}
		}
		t.add(e.Backend, e.Address, count(e.Requests), cell{count(e.Failures), alarming(e.Failures, warn)}, e.InFlight, e.Idle, state)
	}
	return t
}

// state is whether copies flow.
func (v view) state(m *admin.Mirror) cell {
	switch {
	case m.Share == 0:
		return cell{"off", faint}
	case m.Breaker == "open":
		return cell{"paused" + v.until(m.Retry), bad}
	case m.Breaker == "half-open":
		return cell{"probing", warn}
	case m.Throttle < 1:
		return cell{"slowed to " + strconv.FormatFloat(100*m.Throttle, 'f', 0, 64) + " %", warn}
	}
	return cell{"copying", good}
}

// until is how long it is until t, by the clock of the proxy.
func (v view) until(t *time.Time) string {
	if t == nil || !t.After(v.now.Time) {
		return ""
	}
	return ", " + t.Sub(v.now.Time).Round(100*time.Millisecond).String()
}

// line is the whole status in one line, for where nothing can be redrawn.
func (v view) line() string {
	var live, failed uint64
	var duration, first latency
	for i := range v.now.Routes {
		r := &v.now.Routes[i]
		before := v.routeBefore(r)
		live += r.Requests - before.Requests
		failed += admin.Sum(r.Failed) - admin.Sum(before.Failed)
		duration.add(since(&r.First, &before.First))
	}
	text := fmt.Sprintf("live %d, failed %d, first byte p99 %s", live, failed, duration.quantile(0.99))
	for i := range v.now.Mirrors {
		m := &v.now.Mirrors[i]
		before := v.mirrorBefore(m)
		first = since(&m.First, &before.First)
		text += fmt.Sprintf(" | %s: selected %d, completed %d, dropped %d, failed %d, in flight %d, first byte p99 %s", m.Mirror,
			m.Selected-before.Selected, m.Completed-before.Completed, admin.Sum(m.Dropped)-admin.Sum(before.Dropped),
			admin.Sum(m.Failed)-admin.Sum(before.Failed), m.InFlight, first.quantile(0.99))
		if s := v.state(m); s.text != "copying" {
			text += ", " + s.text
		}
	}
	return v.now.Time.Local().Format("15:04:05 ") + text
}

func (v view) routeBefore(r *admin.Route) *admin.Route {
	if v.before != nil {
		for i := range v.before.Routes {
			if b := &v.before.Routes[i]; b.Route == r.Route && b.Backend == r.Backend {
				return b
			}
		}
	}
	return &admin.Route{}
}

func (v view) mirrorBefore(m *admin.Mirror) *admin.Mirror {
	if v.before != nil {
		for i := range v.before.Mirrors {
			if b := &v.before.Mirrors[i]; b.Route == m.Route && b.Mirror == m.Mirror && b.Backend == m.Backend {
				return b
			}
		}
	}
	return &admin.Mirror{}
}

// withRate puts a column of rates behind the named one, if there is a before.
func (v view) withRate(columns []string, behind string) []string {
	if v.before == nil {
		return columns
	}
	return slices.Insert(columns, slices.Index(columns, behind)+1, ">/S")
}

func (v view) rate(now, before uint64) string {
	seconds := v.now.Time.Sub(v.before.Time).Seconds()
	if seconds <= 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(now-before)/seconds, 'f', 1, 64)
}

// latency is a histogram: where buckets end, in milliseconds, and their counts.
type latency map[float64]float64

// since is what was measured after before.
func since(now, before *admin.Latency) latency {
	l := latency{}
	for _, b := range now.Buckets {
		l[b[0]] += b[1]
	}
	for _, b := range before.Buckets {
		l[b[0]] -= b[1]
	}
	return l
}

func (l *latency) add(more latency) {
	if *l == nil {
		*l = latency{}
	}
	for end, n := range more {
		(*l)[end] += n
	}
}

// quantile is a duration for people, "-" if nothing was measured.
func (l latency) quantile(q float64) string {
	var total, seen float64
	for _, n := range l {
		total += n
	}
	if total <= 0 {
		return "-"
	}
	rank := min(float64(uint64(q*total)), total-1)
	for _, end := range slices.Sorted(maps.Keys(l)) {
		if seen += l[end]; seen > rank {
			return durationText(end)
		}
	}
	return "-"
}

// durationText writes milliseconds with two digits that matter.
func durationText(ms float64) string {
	switch {
	case ms >= 10_000:
		return strconv.FormatFloat(ms/1000, 'f', 0, 64) + "s"
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	case ms >= 1:
		return strconv.FormatFloat(ms, 'f', 1, 64) + "ms"
	}
	return strconv.FormatFloat(ms*1000, 'f', 0, 64) + "µs"
}

// counted is a set of counts and what happened so often.
type counted struct {
	what   string
	counts map[string]uint64
}

// remarks says what the sums in a row consist of.
func remarks(groups ...counted) string {
	var list []string
	for _, g := range groups {
		if text := reasons(g.counts); text != "" {
			list = append(list, g.what+": "+text)
		}
	}
	return strings.Join(list, "; ")
}

// reasons lists what is not zero, greatest first.
func reasons[K ~string, N int | int64 | uint64](counts map[K]N) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var list []string
	for _, name := range names {
		if counts[name] > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, counts[name]))
		}
	}
	return strings.Join(list, ", ")
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func alarming(n uint64, s style) style {
	if n == 0 {
		return plain
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func mirrorName(m *admin.Mirror) string {
	if m.Mirror == m.Backend {
		return m.Mirror
	}
	return m.Mirror + " to " + m.Backend
}
