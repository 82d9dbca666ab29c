package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// reportText is a report being written.
type reportText struct{ strings.Builder }

func (b *reportText) line(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }

// transfer is one large body through one proxy.
type transfer struct {
	Proxy     string  `json:"proxy"`
	Direction string  `json:"direction"`
	GiB       float64 `json:"gib"`
	GiBPerSec float64 `json:"gib_per_second"`
	CPUPerGiB float64 `json:"cpu_seconds_per_gib"` // of the proxy
	PeakMiB   float64 `json:"peak_mib"`            // largest RSS of the proxy (VmHWM)
	Limited   bool    `json:"limited"`             // to bodyMemory, by a control group
	ShadowGiB float64 `json:"shadow_gib"`          // of the copy's body that reached the shadow
	Failure   string  `json:"failure"`             // empty: the whole body arrived, unchanged
}

// bodyMemory is the memory a proxy must get by with, whatever the body's size.
const bodyMemory = 64 << 20

const (
	upload   = "upload"
	download = "download"
)

// bodyContestants are the chosen programs in the forms that make sense for a
// large body; with its default limit understudy skips the copy, without a limit
// the copy streams beside.
func bodyContestants(chosen []contestant) []contestant {
	all := []contestant{
		{Name: direct},
		{Name: nginxPlain, Program: "nginx", Stream: true},
		{Name: haproxyPlain, Program: "haproxy"},
		{Name: ours100, Program: "understudy", Mirror: true, Percent: 100},
		{Name: "understudy-100-unlimited", Program: "understudy", Mirror: true, Percent: 100, Body: "none"},
	}
	return slices.DeleteFunc(all, func(c contestant) bool {
		return !slices.ContainsFunc(chosen, func(o contestant) bool { return o.Program == c.Program })
	})
}

func (b *bench) bodies(ctx context.Context, chosen []contestant) (out []transfer, err error) {
	for _, direction := range []string{upload, download} {
		for round := range b.options.rounds {
			for _, c := range order(bodyContestants(chosen), round) {
				t, err := b.transfer(ctx, c, direction)
				if err != nil {
					return out, err
				}
				b.log("%s %.1f GiB through %s: %.2f GiB/s, peak %.1f MiB %s", direction, t.GiB, c.Name, t.GiBPerSec, t.PeakMiB, t.Failure)
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// transfer sends or fetches one body.
func (b *bench) transfer(ctx context.Context, c contestant, direction string) (t transfer, err error) {
	size := b.options.size
	primary, err := load.StartUpstreamProcess(load.UpstreamOptions{Fill: 'p', AnswerBytes: size * int64(oneIf(direction == download)), CheckBody: true})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, primary.Stop(stopLimit)) }()
	shadow, err := load.StartUpstreamProcess(load.UpstreamOptions{AnswerBytes: 200, CheckBody: true})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, shadow.Stop(stopLimit)) }()

	limit, err := newMemoryLimit()
	if err != nil {
		b.log("memory is watched, not limited: %v", err)
	}
	defer func() { err = errors.Join(err, limit.remove()) }()
	r, err := b.startAs(ctx, c, upstreams{primary.Addr(), shadow.Addr()}, func(p *place) (string, error) { return p.render() }, limit.apply)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()

	p := load.Plan{Target: r.target, Requests: 1, RequestTimeout: 10 * time.Minute}
	if direction == upload {
		p.BodyBytes = size
	} else {
		p.AnswerFill, p.AnswerBytes = 'p', size
	}
	result, err := load.RunProcess(ctx, p)
	if err != nil {
		return t, err
	}
	t = transfer{Proxy: c.Name, Direction: direction, GiB: gib(size), Limited: limit.dir != "" && c.Program != ""}
	t.GiBPerSec = t.GiB / result.Elapsed.Seconds()
	if result.OK != 1 {
		t.Failure = fmt.Sprint(result.Errors)
	}
	return t, b.inspect(&t, r, primary, shadow)
}

// inspect adds what only the processes can tell.
func (b *bench) inspect(t *transfer, r *running, primary, shadow *load.UpstreamProcess) error {
	seen, err := primary.Stats()
	if err != nil {
		return err
	}
	if seen.BadBodies > 0 || t.Direction == upload && seen.BodyBytes != uint64(b.options.size) {
		t.Failure += fmt.Sprintf(" primary saw %d bytes, %d wrong pieces", seen.BodyBytes, seen.BadBodies)
	}
	copied, err := shadow.Stats()
	if err != nil {
		return err
	}
	t.ShadowGiB = gib(int64(copied.BodyBytes))
	if r.process == nil {
		return nil
	}
	select {
	case <-r.process.Exited():
		// Most likely the control group's limit.
		t.Failure += " the proxy ended: " + lastLine(r.process.Output())
		return nil
	default:
	}
	user, system, err := r.cpu()
	if err != nil {
		return err
	}
	t.CPUPerGiB = (user + system).Seconds() / t.GiB
	m, err := r.process.Memory()
	t.PeakMiB = mib(m.Peak)
	return err
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// memoryLimit is a control group that a process is started in. The zero value
// limits nothing.
type memoryLimit struct{ dir string }

// newMemoryLimit makes a group of bodyMemory, which needs root and a memory
// controller of either version of control groups.
func newMemoryLimit() (memoryLimit, error) {
	name := fmt.Sprintf("understudy-bench-%d", os.Getpid())
	var err error
	for _, g := range []struct{ root, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(g.root, name)
		if e := os.Mkdir(dir, 0o755); e != nil {
			err = errors.Join(err, e)
			continue
		}
		// Opened, not created: a folder that is no control group has no such file.
		e := writeExisting(filepath.Join(dir, g.file), fmt.Sprint(bodyMemory))
		if e == nil {
			return memoryLimit{dir}, nil
		}
		err = errors.Join(err, e, os.Remove(dir))
	}
	return memoryLimit{}, fmt.Errorf("limit memory: %w", err)
}

func writeExisting(file, content string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

// apply makes cmd enter the group before it becomes the program.
func (l memoryLimit) apply(cmd *exec.Cmd) {
	if l.dir == "" {
		return
	}
	enter := `echo $$ >"$0" && exec "$@"`
	cmd.Args = append([]string{"sh", "-c", enter, filepath.Join(l.dir, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}

func (l memoryLimit) remove() error {
	if l.dir == "" {
		return nil
	}
	return os.Remove(l.dir)
}

func writeTransfers(b *reportText, all []transfer) {
	b.line("\n## Large bodies\n")
	b.line("One request with a body of %g GiB, or with an answer of that size. Every byte is checked at its end. Target for understudy: peak memory ≤ %d MiB at full speed.", all[0].GiB, bodyMemory>>20)
	limited := slices.ContainsFunc(all, func(t transfer) bool { return t.Limited })
	if limited {
		b.line("The proxies ran in a control group limited to %d MiB, which also counts their socket buffers.\n", bodyMemory>>20)
	} else {
		b.line("Nothing enforced the limit: that needs root and control groups.\n")
	}
	t := newTable(&b.Builder, "direction", "proxy", "GiB/s", "÷ nginx", "CPU s/GiB", "peak MiB", "copied GiB", "whole", "target")
	for _, direction := range []string{upload, download} {
		groups := byProxy(all, direction)
		var nginx []transfer
		if i := slices.IndexFunc(groups, func(g []transfer) bool { return g[0].Proxy == nginxPlain }); i >= 0 {
			nginx = groups[i]
		}
		for _, group := range groups {
			t.row(append([]string{direction}, transferRow(group, nginx)...)...)
		}
	}
}

// byProxy groups the transfers of one direction, in the order of their first.
func byProxy(all []transfer, direction string) [][]transfer {
	var groups [][]transfer
	for _, t := range all {
		if t.Direction != direction {
			continue
		}
		i := slices.IndexFunc(groups, func(g []transfer) bool { return g[0].Proxy == t.Proxy })
		if i < 0 {
			i = len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// transferRow is a row of the table; nginx holds nginx's transfers the same way.
func transferRow(group, nginx []transfer) []string {
	figure := func(f func(transfer) float64) spread { return transferSpread(group, f) }
	speed := figure(func(t transfer) float64 { return t.GiBPerSec })
	ratio := spread{}
	if peer := transferSpread(nginx, func(t transfer) float64 { return t.GiBPerSec }); peer.n > 0 {
		ratio = spreadOf([]float64{speed.median / peer.median})
	}
	peak := figure(func(t transfer) float64 { return t.PeakMiB })
	whole := "yes"
	for _, t := range group {
		if t.Failure != "" {
			whole = "**no:** " + t.Failure
		}
	}
	verdict := ""
	if strings.HasPrefix(group[0].Proxy, "understudy") {
		verdict = verdictOf(ours100, peak.max <= bodyMemory>>20 && whole == "yes")
	}
	return []string{
		group[0].Proxy, speed.format(2), ratio.format(2),
		figure(func(t transfer) float64 { return t.CPUPerGiB }).format(2), peak.format(1),
		figure(func(t transfer) float64 { return t.ShadowGiB }).format(2), whole, verdict,
	}
}

func transferSpread(group []transfer, f func(transfer) float64) spread {
	var v []float64
	for _, t := range group {
		v = append(v, f(t))
	}
	return spreadOf(v)
}
