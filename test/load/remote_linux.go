package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// roleVariable tells a program that executes itself again what to be.
const roleVariable = "UNDERSTUDY_LOAD_ROLE"

const (
	roleUpstream  = "upstream"
	roleGenerator = "generator"
	roleCaller    = "caller"
)

// Child runs the part that RunProcess or StartUpstreamProcess wants this
// process to play, and reports whether there was one: the caller then returns
// from main. Call it first thing in main, or in TestMain.
func Child() bool {
	role := os.Getenv(roleVariable)
	var err error
	switch role {
	case roleUpstream:
		err = serveUpstream(os.Stdin, os.Stdout)
	case roleGenerator:
		err = serveGenerator(os.Stdin, os.Stdout, Run)
	case roleCaller:
		err = serveGenerator(os.Stdin, os.Stdout, RunCalls)
	default:
		return false
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "load:", role+":", err)
		os.Exit(1)
	}
	return true
}

// serveUpstream reads UpstreamOptions, answers with the address, and then
// answers every command with a line; it ends with its input, and so with its
// parent.
func serveUpstream(in io.Reader, out io.Writer) error {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	var o UpstreamOptions
	if err := dec.Decode(&o); err != nil {
		return err
	}
	u, err := StartUpstream(o)
	if err != nil {
		return err
	}
	defer u.Stop()
	if err := enc.Encode(u.Addr()); err != nil {
		return err
	}
	for {
		var command string
		if err := dec.Decode(&command); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s := u.Stats()
		if command == commandReset {
			u.Reset()
		}
		if err := enc.Encode(s); err != nil {
			return err
		}
	}
}

const (
	commandStats = "stats"
	commandReset = "reset"
)

// serveGenerator reads a plan, carries it out, and writes the Result. The end
// of its input cancels it.
func serveGenerator[P any](in io.Reader, out io.Writer, run func(context.Context, P) (*Result, error)) error {
	dec := json.NewDecoder(in)
	var p P
	if err := dec.Decode(&p); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	r, err := run(ctx, p)
	if r == nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// child is a process that plays a role, and the line to it.
type child struct {
	*Process
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(role string, first any) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe, which Wait closes, maybe before the last line is read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	p, err := StartProcess(cmd)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	c := &child{Process: p, in: in, out: json.NewDecoder(bufio.NewReader(r))}
	go func() {
		<-p.Exited()
		// A grandchild cannot hold the pipe: there are none.
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
	}()
	if err := json.NewEncoder(in).Encode(first); err != nil {
		return nil, errors.Join(err, p.Stop(time.Second))
	}
	return c, nil
}

// read gets the child's next line into v.
func (c *child) read(v any) error {
	if err := c.out.Decode(v); err != nil {
		return fmt.Errorf("read from %s: %w\n%s", c.cmd.Path, err, c.Output())
	}
	return nil
}

// UpstreamProcess is an Upstream in a process of its own. The program must call
// Child. All methods may be called from any goroutine.
type UpstreamProcess struct {
	*Process
	mu   sync.Mutex // one command at a time
	c    *child
	addr string
}

// StartUpstreamProcess starts this program again as an upstream.
func StartUpstreamProcess(o UpstreamOptions) (*UpstreamProcess, error) {
	c, err := startChild(roleUpstream, o)
	if err != nil {
		return nil, fmt.Errorf("start upstream process: %w", err)
	}
	u := &UpstreamProcess{Process: c.Process, c: c}
	if err := c.read(&u.addr); err != nil {
		return nil, errors.Join(err, c.Stop(time.Second))
	}
	return u, nil
}

// Addr is host:port as listened on.
func (u *UpstreamProcess) Addr() string { return u.addr }

// Stats is what has arrived so far.
func (u *UpstreamProcess) Stats() (UpstreamStats, error) { return u.ask(commandStats) }

// Reset sets all counts to zero and returns what they were; see Upstream.Reset.
func (u *UpstreamProcess) Reset() (UpstreamStats, error) { return u.ask(commandReset) }

func (u *UpstreamProcess) ask(command string) (s UpstreamStats, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := json.NewEncoder(u.c.in).Encode(command); err != nil {
		return s, err
	}
	return s, u.c.read(&s)
}

// Drain waits until no more requests arrive: until want have been counted, or
// the count has not grown for quiet.
func (u *UpstreamProcess) Drain(ctx context.Context, want uint64, quiet time.Duration) (UpstreamStats, error) {
	var last UpstreamStats
	grew := time.Now()
	for {
		s, err := u.Stats()
		if err != nil || s.Requests >= want || s.Requests == last.Requests && time.Since(grew) >= quiet {
			return s, err
		}
		if s.Requests != last.Requests {
			grew = time.Now()
		}
		last = s
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// RunProcess is Run in a process of its own, whose CPU time it adds to the
// result. The program must call Child.
func RunProcess(ctx context.Context, p Plan) (*Result, error) {
	if _, err := p.withDefaults(); err != nil {
		return nil, err
	}
	return runChild(ctx, roleGenerator, p)
}

// RunCallsProcess is to RunCalls what RunProcess is to Run.
func RunCallsProcess(ctx context.Context, p CallPlan) (*Result, error) {
	return runChild(ctx, roleCaller, p)
}

func runChild(ctx context.Context, role string, plan any) (*Result, error) {
	c, err := startChild(role, plan)
	if err != nil {
		return nil, fmt.Errorf("start generator process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.in.Close() })
	defer stop()
	r := newResult()
	if err := c.read(r); err != nil {
		return nil, errors.Join(err, c.Stop(time.Second))
	}
	<-c.Exited()
	state := c.cmd.ProcessState
	r.CPU = state.UserTime() + state.SystemTime()
	return r, ctx.Err()
}
