package house

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// patience is how long an example may take by default: to end, to be ready, to
// stop. Building from source on a busy machine is the longest of them.
const patience = 2 * time.Minute

// Stage runs the examples of one document, in order, in a folder of its own.
// Documents name fixed ports; the stage replaces each by a free one, the same
// for the whole document, so that documents can run side by side and beside
// whatever the machine is doing. A Stage is used by one goroutine.
type Stage struct {
	Dir      string        // where examples run
	Checkout string        // where examples run that build from source
	Programs string        // a folder with the binary, put first on PATH
	Patience time.Duration // how long to wait for anything; 0 = two minutes

	ports   map[string]string
	servers []*server
}

// server is an example that runs until the document ends.
type server struct {
	line     int
	patience time.Duration
	command  *exec.Cmd
	output   *lockedBuffer
	done     chan struct{} // closed when the process has ended and err is set
	err      error
}

func (s *Stage) patience() time.Duration {
	if s.Patience > 0 {
		return s.Patience
	}
	return patience
}

// Run runs one example and returns what is wrong with it, or nil.
func (s *Stage) Run(ctx context.Context, example Example) error {
	if err := s.run(ctx, example); err != nil {
		return fmt.Errorf("line %d: %w", example.Line, err)
	}
	return nil
}

func (s *Stage) run(ctx context.Context, example Example) error {
	switch {
	case example.Directive == "skip":
		return nil
	case example.Language == "yaml":
		return s.check(ctx, example)
	case example.Language == "json":
		if !json.Valid([]byte(example.Text)) {
			return errors.New("not JSON")
		}
		return nil
	case example.Language != "sh":
		return nil
	case example.Directive == "serve":
		return s.serve(ctx, example)
	case example.Directive == "replaces":
		return s.replace(ctx, example)
	case example.Directive == "interrupt":
		return s.interrupt(ctx, example)
	}
	return s.command(ctx, example)
}

// check writes a configuration down and has it validated by the binary.
func (s *Stage) check(ctx context.Context, example Example) error {
	name := "example.yaml"
	if example.Directive == "file" {
		name = example.Argument
	}
	config, err := s.replacePorts(example.Config())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(config), 0o644); err != nil {
		return err
	}
	return s.command(ctx, Example{Language: "sh", Text: "understudy check -c " + name})
}

func (s *Stage) command(ctx context.Context, example Example) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	command, err := s.prepare(ctx, example.Text)
	if err != nil {
		return err
	}
	out, err := command.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return err
	}
	want := 0
	if example.Directive == "exits" {
		if want, err = strconv.Atoi(example.Argument); err != nil {
			return err
		}
	}
	if code := command.ProcessState.ExitCode(); code != want {
		return fmt.Errorf("ended with code %d, not %d:\n%s\n%s", code, want, example.Text, out)
	}
	if example.Directive == "prints" && !bytes.Contains(out, []byte(example.Argument)) {
		return fmt.Errorf("did not print %q:\n%s\n%s", example.Argument, example.Text, out)
	}
	return nil
}

// prepare makes a shell in a process group of its own, so that whatever it
// starts can be stopped with it.
func (s *Stage) prepare(ctx context.Context, script string) (*exec.Cmd, error) {
	script, err := s.replacePorts(script)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	command.Dir = s.Dir
	if strings.Contains(script, "./cmd/") {
		command.Dir = s.Checkout
	}
	command.Env = append(os.Environ(), "PATH="+s.Programs+":"+os.Getenv("PATH"))
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	return command, nil
}

// serve starts an example that goes on, and waits until it answers.
func (s *Stage) serve(ctx context.Context, example Example) error {
	url, err := s.replacePorts(example.Argument)
	if err != nil {
		return err
	}
	started, err := s.start(ctx, example)
	if err != nil {
		return err
	}
	return started.await(ctx, url+" answers 200", func() bool { return answers(ctx, url) })
}

// replace is serve for an example that takes over from the one before, which
// must end well by itself.
func (s *Stage) replace(ctx context.Context, example Example) error {
	if len(s.servers) == 0 {
		return errors.New("nothing serves that could be replaced")
	}
	old := s.servers[len(s.servers)-1]
	if err := s.serve(ctx, example); err != nil {
		return err
	}
	s.servers = append(s.servers[:len(s.servers)-2], s.servers[len(s.servers)-1])
	select {
	case <-old.done:
	case <-time.After(s.patience()):
		return errors.Join(errors.New("what it replaces does not end"), old.stop(syscall.SIGTERM))
	}
	if old.err != nil {
		return fmt.Errorf("what it replaces ended badly: %w\n%s", old.err, old.output)
	}
	return nil
}

// interrupt runs an example until it has printed what it should, interrupts it
// as a person would, and waits for its end. The code it ends with says nothing:
// go run and make report the interruption as their own failure.
func (s *Stage) interrupt(ctx context.Context, example Example) error {
	started, err := s.start(ctx, example)
	if err != nil {
		return err
	}
	s.servers = s.servers[:len(s.servers)-1]
	text := example.Argument
	awaitErr := started.await(ctx, fmt.Sprintf("it prints %q", text), func() bool {
		return strings.Contains(started.output.String(), text)
	})
	if awaitErr != nil {
		return errors.Join(awaitErr, started.stop(syscall.SIGTERM))
	}
	return started.end(syscall.SIGINT)
}

// start starts an example in the background.
func (s *Stage) start(ctx context.Context, example Example) (*server, error) {
	command, err := s.prepare(ctx, example.Text)
	if err != nil {
		return nil, err
	}
	started := &server{line: example.Line, patience: s.patience(), command: command, output: &lockedBuffer{}, done: make(chan struct{})}
	command.Stdout, command.Stderr = started.output, started.output
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.servers = append(s.servers, started)
	go func() {
		started.err = command.Wait()
		close(started.done)
	}()
	return started, nil
}

// await waits until ready says so.
func (s *server) await(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return fmt.Errorf("ended before %s: %s\n%s", what, s.command.ProcessState, s.output)
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s\n%s", what, s.output)
		case <-tick.C:
		}
		if ready() {
			return nil
		}
	}
}

// answers says whether url answers 200 now.
func answers(ctx context.Context, url string) bool {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Close stops what still serves, as an operator would, and returns what did not
// end well.
func (s *Stage) Close() error {
	var all error
	for _, started := range s.servers {
		if err := started.stop(syscall.SIGTERM); err != nil {
			all = errors.Join(all, fmt.Errorf("line %d: %w", started.line, err))
		}
	}
	return all
}

// stop ends an example that serves. One that ended before, ends badly or does
// not end at all is an error.
func (s *server) stop(signal syscall.Signal) error {
	select {
	case <-s.done:
		return fmt.Errorf("ended by itself: %s\n%s", s.command.ProcessState, s.output)
	default:
	}
	if err := s.end(signal); err != nil {
		return err
	}
	if s.err != nil {
		return fmt.Errorf("did not end well: %w\n%s", s.err, s.output)
	}
	return nil
}

// end sends a signal to everything that the example started, and waits.
func (s *server) end(signal syscall.Signal) error {
	group := -s.command.Process.Pid
	if err := syscall.Kill(group, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(s.patience):
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // it may have ended just now
	<-s.done
	return fmt.Errorf("did not stop\n%s", s.output)
}

// localPort is an address of a document's example.
var localPort = regexp.MustCompile(`127\.0\.0\.1:(\d{4,5})\b`)

// lastPort counts the ports that were looked at, from a random one on.
var lastPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32() >> 1)
	return n
}()

// freePort returns a port that nobody uses, and that it has not returned before. One
// that the system chose could be the next connection's, here or in another test,
// before anybody listens on it: systems choose above 32768. Other tests that run
// beside these have other thousands.
func freePort() (port string, err error) {
	const tries, first, ports = 100, 10_000, 6_000
	for range tries {
		port = strconv.Itoa(first + int(lastPort.Add(1)%ports))
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, listener.Close()
		}
	}
	return "", err
}

// Port is the free port that stands for a port of the document.
func (s *Stage) Port(documented string) (string, error) {
	if port, ok := s.ports[documented]; ok {
		return port, nil
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	if s.ports == nil {
		s.ports = map[string]string{}
	}
	s.ports[documented] = port
	return port, nil
}

func (s *Stage) replacePorts(text string) (string, error) {
	var failed error
	replaced := localPort.ReplaceAllStringFunc(text, func(address string) string {
		host, documented, _ := strings.Cut(address, ":")
		port, err := s.Port(documented)
		failed = errors.Join(failed, err)
		return host + ":" + port
	})
	return replaced, failed
}

// lockedBuffer collects the output of a process that others read meanwhile.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// String returns what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
