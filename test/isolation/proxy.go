//go:build linux

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

//go:embed templates
var templates embed.FS

// recipe says how to run a proxy.
type recipe struct {
	name       string // as in reports
	command    string // for sh, with placeholders
	commandOff string // the same without mirroring; empty = command
	config     string // text/template of the file {config}; may be empty
	insist     bool   // passed on to the template
	books      bool   // answers /metrics on {admin} as Understudy does
	wire       string // what it is to speak, a peers.Protocol; empty = HTTP/1.1; passed on to the template
	// connections: it copies connections, so that its books do not tell how
	// many requests a load of HTTP/1.1 sent.
	connections bool
}

// ready are the proxies that the suite knows how to run fairly.
var ready = []recipe{
	{name: "understudy", command: "bin/understudy run -c {config}", config: "understudy.yaml.tmpl", books: true},
	{name: "understudy-insistent", command: "bin/understudy run -c {config}", config: "understudy.yaml.tmpl", books: true, insist: true},
	{name: "understudy-tcp", command: "bin/understudy run -c {config}", config: "understudy-tcp.yaml.tmpl", books: true, connections: true},
	{name: "nginx", command: "nginx -p {dir} -c {config} -e stderr", config: "nginx.conf.tmpl"},
}

// readyNames lists the names of the ready recipes.
func readyNames() []string {
	names := make([]string, len(ready))
	for i, r := range ready {
		names[i] = r.name
	}
	return names
}

// chooseRecipes gives the ready recipes named in -proxy, or one made from the
// command that it is, with the template given by -config, if any.
func chooseRecipes(o options) ([]recipe, error) {
	if o.proxy == "none" {
		return nil, nil
	}
	if strings.Contains(o.proxy, "{") {
		r, err := commandRecipe(o)
		return []recipe{r}, err
	}
	names, err := pick(o.proxy, readyNames())
	if err != nil {
		return nil, fmt.Errorf("%w, and a command has placeholders", err)
	}
	if o.config != "" || o.proxyOff != "" || o.books {
		return nil, fmt.Errorf("-config, -proxy-off and -books go with a command, not with -proxy %s", o.proxy)
	}
	var list []recipe
	for _, name := range names {
		r := ready[slices.Index(readyNames(), name)]
		text, err := templates.ReadFile("templates/" + r.config)
		if err != nil {
			return nil, err
		}
		r.config = string(text)
		list = append(list, r)
	}
	return list, nil
}

func commandRecipe(o options) (recipe, error) {
	r := recipe{name: filepath.Base(strings.Fields(o.proxy)[0]), command: o.proxy, commandOff: o.proxyOff, books: o.books}
	if o.config != "" {
		text, err := os.ReadFile(o.config)
		if err != nil {
			return recipe{}, fmt.Errorf("read template: %w", err)
		}
		r.config = string(text)
	}
	return r, nil
}

// place is where one proxy listens and what it talks to; the template's data.
type place struct {
	Listen  string // host:port for clients
	Primary string // host:port
	Shadow  string // host:port; empty without mirroring
	Admin   string // host:port, for proxies that have such a thing
	Dir     string // scratch folder of this proxy alone
	Mirror  bool
	Insist  bool   // copy on, however often copies failed
	Root    bool   // the suite runs as root
	Wire    string // what is spoken, a peers.Protocol; empty = HTTP/1.1
}

// commandLine fills in the placeholders.
func (r recipe) commandLine(p place, config string) string {
	command, mirror := r.command, "on"
	if !p.Mirror {
		mirror = "off"
		if r.commandOff != "" {
			command = r.commandOff
		}
	}
	return strings.NewReplacer("{listen}", p.Listen, "{primary}", p.Primary, "{shadow}", p.Shadow,
		"{admin}", p.Admin, "{dir}", p.Dir, "{config}", config, "{mirror}", mirror).Replace(command)
}

// writeConfig makes the file {config}.
func (r recipe) writeConfig(p place) (string, error) {
	if r.config == "" {
		return "", nil
	}
	part := func(i int) func(string) (string, error) {
		return func(address string) (string, error) {
			host, port, err := net.SplitHostPort(address)
			return [2]string{host, port}[i], err
		}
	}
	t, err := template.New("config").Funcs(template.FuncMap{"host": part(0), "port": part(1)}).Parse(r.config)
	if err != nil {
		return "", fmt.Errorf("parse template: %w", err)
	}
	var text strings.Builder
	if err := t.Execute(&text, p); err != nil {
		return "", fmt.Errorf("fill in template: %w", err)
	}
	path := filepath.Join(p.Dir, "config")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

// instance is a running proxy.
type instance struct {
	*load.Process
	place
	books       bool
	connections bool // see recipe
}

// startTime is how long a proxy may take until it accepts connections.
const startTime = 10 * time.Second

// start runs the proxy between primary and shadow (empty: without mirroring)
// with its scratch folder below dir. Between the moment when a port was found
// free and the proxy's own use of it somebody else may take it; that is rare,
// so that a second failure is the proxy's.
func (r recipe) start(ctx context.Context, dir, primary, shadow string) (*instance, error) {
	p, err := r.startOnce(ctx, dir, primary, shadow)
	if err != nil {
		p, err = r.startOnce(ctx, dir, primary, shadow)
	}
	return p, err
}

func (r recipe) startOnce(ctx context.Context, dir, primary, shadow string) (*instance, error) {
	p := place{Primary: primary, Shadow: shadow, Mirror: shadow != "", Insist: r.insist, Root: os.Geteuid() == 0, Wire: r.wire}
	free, err1 := freeAddresses(2)
	var err2 error
	p.Dir, err2 = os.MkdirTemp(dir, "proxy-")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p.Listen, p.Admin = free[0], free[1]
	config, err := r.writeConfig(p)
	if err != nil {
		return nil, err
	}
	process, err := load.StartProcess(exec.Command("sh", "-c", "exec "+r.commandLine(p, config)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := process.WaitPort(ctx, p.Listen); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", r.name, err), process.Stop(time.Second))
	}
	return &instance{process, p, r.books, r.connections}, nil
}

// freeAddresses gives n different loopback addresses that nobody listens on. All
// are held until the last is found: a port given back may be the next one given.
func freeAddresses(n int) ([]string, error) {
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// ended says what the proxy printed last if it is not running any more.
func (p *instance) ended() error {
	select {
	case <-p.Exited():
		return fmt.Errorf("the proxy ended; it said:\n%s", p.Output())
	default:
		return nil
	}
}

// settle waits until the proxy rests, so that what is left of one round does
// not weigh on the next; not for long, as some shadows keep it busy for ever.
func (p *instance) settle() {
	const step, tries = 40 * time.Millisecond, 8
	last := time.Duration(-1)
	for range tries {
		user, system, err := p.CPU()
		if err != nil || user+system == last {
			return
		}
		last = user + system
		time.Sleep(step)
	}
}
