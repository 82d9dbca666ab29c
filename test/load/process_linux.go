package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program under measurement, with all its descendants. All methods
// may be called from any goroutine.
type Process struct {
	cmd    *exec.Cmd
	output *tail
	exited chan struct{}
	err    error // of Wait; valid once exited is closed
}

// StartProcess starts cmd, which must not have been started, and keeps the end
// of what it prints, unless cmd's Stdout or Stderr are taken. The kernel kills
// the process if ours dies first.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, output: &tail{}, exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.output
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // so that orphans can be found
	cmd.WaitDelay = time.Second    // an orphan may hold our end of the output
	started := make(chan error)
	go func() {
		// The kernel takes the thread for the parent: it has to live as
		// long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the process id of the root of the tree.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Output is the end (16 KiB) of what the process printed.
func (p *Process) Output() string { return p.output.String() }

// Signal sends sig to the process, not to its descendants.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks the process to end (SIGTERM), and kills it if it is still there
// after grace. Descendants that outlive it are killed in any case. The error
// says that the process itself had to be.
func (p *Process) Stop(grace time.Duration) error {
	_ = p.Signal(syscall.SIGTERM) // fails if it has ended, which is as well
	killed := false
	select {
	case <-p.exited:
	case <-time.After(grace):
		killed = true
		_ = p.Signal(syscall.SIGKILL)
	}
	// The group's id is the process's own, see StartProcess.
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.exited
	if !killed {
		return nil
	}
	return fmt.Errorf("process %d (%s) did not end within %s of SIGTERM and was killed", p.PID(), filepath.Base(p.cmd.Path), grace)
}

// CPU is the user and system time the tree has used so far, including
// descendants that ended and were waited for. The kernel counts in 10 ms steps.
func (p *Process) CPU() (user, system time.Duration, err error) { return TreeCPU(p.PID()) }

// Memory is what the tree holds now.
func (p *Process) Memory() (Memory, error) { return TreeMemory(p.PID()) }

// Memory is what a process tree holds, in bytes.
type Memory struct {
	RSS  int64 `json:"rss"`  // sum over processes; pages they share count several times
	PSS  int64 `json:"pss"`  // pages shared by n processes count 1/n for each
	Peak int64 `json:"peak"` // sum of each one's largest RSS so far (VmHWM)
}

// TreeCPU is Process.CPU for any process by its id.
func TreeCPU(pid int) (user, system time.Duration, err error) {
	for i, pid := range tree(pid) {
		s, err := readStat(pid)
		if err != nil {
			if i == 0 {
				return 0, 0, err
			}
			continue // ended meanwhile; its parent has its time now or soon
		}
		user += s.user
		system += s.system
	}
	return user, system, nil
}

// RunTime is the time the tree's threads have run, to the nanosecond. Threads
// that have ended are missing, so it suits a short look at a quiet process.
func (p *Process) RunTime() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range tree(p.PID()) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, thread := range threads {
			b, err := os.ReadFile(thread)
			if err != nil {
				continue // ended meanwhile
			}
			ns, _, _ := strings.Cut(string(b), " ")
			n, err := strconv.ParseInt(ns, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", thread, err)
			}
			sum += time.Duration(n)
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("process %d: no scheduler statistics", p.PID())
	}
	return sum, nil
}

// TreeMemory is Process.Memory for any process by its id.
func TreeMemory(pid int) (Memory, error) {
	var m Memory
	for i, pid := range tree(pid) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			if i == 0 {
				return m, err
			}
			continue
		}
		m.RSS += kilobytes(status, "VmRSS:")
		m.Peak += kilobytes(status, "VmHWM:")
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			// Without the right to look, PSS can only be overestimated.
			m.PSS += kilobytes(status, "VmRSS:")
			continue
		}
		m.PSS += kilobytes(rollup, "Pss:")
	}
	return m, nil
}

// kilobytes finds a line "name   123 kB" and gives it in bytes; 0 without.
func kilobytes(text []byte, name string) int64 {
	_, rest, ok := bytes.Cut(text, []byte("\n"+name))
	if !ok {
		return 0
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n << 10
}

// stat is what /proc/PID/stat says, as far as it matters here.
type stat struct {
	parent       int
	user, system time.Duration
}

// tick is the unit of times in /proc: every Linux that Go runs on has 100 a second.
const tick = 10 * time.Millisecond

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads a line of proc_pid_stat(5). The name, field 2, may hold
// anything, so fields are counted from its last parenthesis: the first one
// after it is number 3.
func parseStat(b []byte) (stat, error) {
	at := bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[at+1:])
	if at < 0 || len(f) < 15 {
		return stat{}, fmt.Errorf("unexpected stat line %q", b)
	}
	num := func(field int) int64 {
		n, _ := strconv.ParseInt(string(f[field-3]), 10, 64)
		return n
	}
	return stat{
		parent: int(num(4)),
		user:   time.Duration(num(14)+num(16)) * tick, // own, and of children waited for
		system: time.Duration(num(15)+num(17)) * tick,
	}, nil
}

// tree gives pid and all its descendants, pid first.
func tree(pid int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if s, err := readStat(child); err == nil {
			children[s.parent] = append(children[s.parent], child)
		}
	}
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// MachineCPU is the time all processors have been busy since boot, and the time
// a hypervisor kept them from running. The difference of two readings, minus
// what known processes used, is what strangers took.
func MachineCPU() (busy, stolen time.Duration, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, fmt.Errorf("unexpected line %q in /proc/stat", line)
	}
	num := func(i int) time.Duration {
		n, _ := strconv.ParseInt(f[i], 10, 64)
		return time.Duration(n) * tick
	}
	// user nice system idle iowait irq softirq steal
	return num(1) + num(2) + num(3) + num(6) + num(7), num(8), nil
}

// WaitPort waits until addr accepts a connection.
func WaitPort(ctx context.Context, addr string) error {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", addr, errors.Join(ctx.Err(), err))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// WaitPort waits until addr accepts a connection, or p ends, or ctx does. The
// error holds what p printed.
func (p *Process) WaitPort(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.exited:
			cancel(errors.New("the process has ended"))
		case <-ctx.Done():
		}
	}()
	if err := WaitPort(ctx, addr); err != nil {
		return fmt.Errorf("%w: %w\n%s", err, context.Cause(ctx), p.Output())
	}
	return nil
}

// FreeAddr is a loopback address that nobody listens on at the moment. Another
// program may take it before it is used.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// CPUCount is how many processors this process may run on.
func CPUCount() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return runtime.NumCPU()
	}
	return set.Count()
}

// tail keeps the last bytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 16 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailBytes {
		t.b = append(t.b[:0], t.b[len(t.b)-tailBytes:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b[max(len(t.b)-tailBytes, 0):])
}
