package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/test/load"
)

// The rows of a scale run.
const (
	rowConnections = "connections"
	rowReload      = "reload"
	rowBodies      = "bodies"
)

// scaleReport is all that a scale run found.
type scaleReport struct {
	Machine     machine            `json:"machine"`
	Quick       bool               `json:"quick"`
	Connections []connectionMemory `json:"connections"`
	Reload      *reloads           `json:"reload"`
	Bodies      []transfer         `json:"bodies"`
}

// scale runs the chosen rows.
func (b *bench) scale(ctx context.Context) error {
	rows, err := choose([]string{rowConnections, rowReload, rowBodies}, func(s string) string { return s }, b.options.rows)
	if err != nil {
		return err
	}
	chosen, err := choose(speedSuite.contestants(), func(c contestant) string { return c.Name }, b.options.proxies)
	if err != nil {
		return err
	}
	if b.programs, err = programs(chosen, b.options.understudy); err != nil {
		return err
	}
	r := &scaleReport{Machine: describeMachine(b.programs), Quick: b.options.quick}
	if slices.Contains(rows, rowConnections) {
		if r.Connections, err = b.connections(ctx, chosen); err != nil {
			return err
		}
	}
	if i := slices.IndexFunc(chosen, func(c contestant) bool { return c.Program == "understudy" }); i >= 0 && slices.Contains(rows, rowReload) {
		if r.Reload, err = b.reload(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(rows, rowBodies) {
		if r.Bodies, err = b.bodies(ctx, chosen); err != nil {
			return err
		}
	}
	return publish(b.options.out, r.Markdown(), r)
}

// connectionMemory is what idle clients cost a proxy.
type connectionMemory struct {
	Proxy      string  `json:"proxy"`
	Conns      int     `json:"conns"`
	BeforeMiB  float64 `json:"before_mib"` // RSS of the tree, warm, without them
	AfterMiB   float64 `json:"after_mib"`
	KiBPerConn float64 `json:"kib_per_conn"`
}

// connectionAtMost is the promise for an idle connection, in KiB.
const connectionAtMost = 12

// connections measures the growth of memory by idle connections, one proxy
// after another.
func (b *bench) connections(ctx context.Context, chosen []contestant) (out []connectionMemory, err error) {
	st, err := openStage(workload{Answer: 200})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	n := min(b.options.idleConns, openFiles()-500)
	for _, c := range sitters(chosen) {
		m, err := b.connectionMemory(ctx, c, st, n)
		if err != nil {
			return out, err
		}
		b.log("%s: %.1f KiB for each of %d idle connections", c.Name, m.KiBPerConn, n)
		out = append(out, m)
	}
	return out, nil
}

// openFiles is how many files this process may open; Go has already raised the
// limit as far as it goes.
func openFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<30))
}

func (b *bench) connectionMemory(ctx context.Context, c contestant, st *stage, n int) (m connectionMemory, err error) {
	r, err := b.start(ctx, c, st.upstreams(c))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	// Pools, heaps and buffers grow to their working size first.
	p := b.plan(speedSuite.workloads[0], r.target)
	if _, err := load.RunProcess(ctx, p); err != nil {
		return m, err
	}
	settle := b.options.idle / 5
	if err := pause(ctx, settle); err != nil {
		return m, err
	}
	before, err := r.process.Memory()
	if err != nil {
		return m, err
	}
	conns, err := openIdle(ctx, r.target, n)
	if err != nil {
		return m, err
	}
	defer conns.close()
	if err := pause(ctx, settle); err != nil {
		return m, err
	}
	after, err := r.process.Memory()
	if err != nil {
		return m, err
	}
	return connectionMemory{
		Proxy: c.Name, Conns: n, BeforeMiB: mib(before.RSS), AfterMiB: mib(after.RSS),
		KiBPerConn: float64(after.RSS-before.RSS) / 1024 / float64(n),
	}, nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// Markdown is the report for people.
func (r *scaleReport) Markdown() string {
	var b reportText
	b.line("# Scale: connections, reloads, large bodies\n")
	b.line("%s", &r.Machine)
	if r.Quick {
		b.line("\n**A quick run: smaller than what the targets speak of.**")
	}
	if len(r.Connections) > 0 {
		b.line("\n## Memory of idle connections\n")
		b.line("Growth of the process tree's resident memory, for each connection that has made one request and is silent. Target: ≤ %d KiB.\n", connectionAtMost)
		t := newTable(&b.Builder, "proxy", "connections", "MiB before", "MiB after", "KiB each", "target")
		for _, m := range r.Connections {
			t.row(m.Proxy, fmt.Sprint(m.Conns), fmt.Sprintf("%.1f", m.BeforeMiB), fmt.Sprintf("%.1f", m.AfterMiB),
				fmt.Sprintf("%.1f", m.KiBPerConn), verdictOf(m.Proxy, m.KiBPerConn <= connectionAtMost))
		}
	}
	if r.Reload != nil {
		r.Reload.write(&b)
	}
	if len(r.Bodies) > 0 {
		writeTransfers(&b, r.Bodies)
	}
	b.line("\nReproduce with `make build && go run ./test/bench -scale`.")
	return b.String()
}

// verdictOf says whether a promise was kept; there are none for peers.
func verdictOf(proxy string, kept bool) string {
	switch {
	case contestantOf(proxy).Program != "understudy":
		return ""
	case kept:
		return "met"
	}
	return "**missed**"
}
