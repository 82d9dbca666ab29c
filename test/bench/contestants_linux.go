package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-proxy/understudy/test/load"
)

// contestant is a proxy in one configuration.
type contestant struct {
	Name       string
	Program    string  // nginx, haproxy, envoy or understudy; empty: the primary itself
	Mirror     bool    // it has a mirror to the shadow
	Percent    float64 // of requests that are copied
	Bare       bool    // the shadow answers without a body
	Pipeline   int     // copies in flight on a connection to the shadow
	Body       string  // body limit of the mirror; empty: the default
	Compare    bool    // it compares answers …
	Compared   float64 // … to so many percent of the copied requests
	Unyielding bool    // … and does not compare fewer while others need the processors
	Stream     bool    // nginx: pass a request's body on as it comes, as the others always do
	Wire       wire    // what it speaks; set by the workload
}

// wire is what a workload speaks. The zero value is HTTP/1.1 in the clear.
type wire struct {
	TLS   bool // 1.3, between client and proxy
	HTTP2 bool // between client and proxy
	GRPC  bool // HTTP/2 to the upstreams as well, in the clear
}

// The names that targets speak of.
const (
	direct       = "direct"
	nginxPlain   = "nginx"
	nginxMirror  = "nginx-mirror"
	nginxBest    = "nginx-mirror-best"
	haproxyPlain = "haproxy"
	envoyPlain   = "envoy"
	envoyMirror  = "envoy-mirror"
	ours0        = "understudy-0"
	ours10       = "understudy-10"
	ours100      = "understudy-100"
	oursBare     = "understudy-100-bare"
	oursPipe     = "understudy-pipelined"
	oursPipeBare = "understudy-pipelined-bare"
	compare0     = "compare-0"
	compare10    = "compare-10"
	compare100   = "compare-100"
	compareAll   = "compare-100-unyielding"
)

// contestants are all that are measured, in the order of the first round.
//
// nginx closes a shadow's connection when the answer has a body, because it
// does not read it: that is how a mirror is usually met. Its best case is a
// shadow that answers 204; understudy is measured with such a shadow too, so
// that the two are compared under the same load.
var contestants = []contestant{
	{Name: direct},
	{Name: nginxPlain, Program: "nginx"},
	{Name: haproxyPlain, Program: "haproxy"},
	{Name: envoyPlain, Program: "envoy"},
	{Name: ours0, Program: "understudy", Mirror: true, Percent: 0},
	{Name: ours10, Program: "understudy", Mirror: true, Percent: 10},
	{Name: nginxMirror, Program: "nginx", Mirror: true, Percent: 100},
	{Name: envoyMirror, Program: "envoy", Mirror: true, Percent: 100},
	{Name: ours100, Program: "understudy", Mirror: true, Percent: 100},
	{Name: oursPipe, Program: "understudy", Mirror: true, Percent: 100, Pipeline: 16},
	{Name: nginxBest, Program: "nginx", Mirror: true, Percent: 100, Bare: true},
	{Name: oursBare, Program: "understudy", Mirror: true, Percent: 100, Bare: true},
	{Name: oursPipeBare, Program: "understudy", Mirror: true, Percent: 100, Pipeline: 16, Bare: true},
	{Name: compare0, Program: "understudy", Mirror: true, Percent: 100, Compare: true},
	{Name: compare10, Program: "understudy", Mirror: true, Percent: 100, Compare: true, Compared: 10},
	{Name: compare100, Program: "understudy", Mirror: true, Percent: 100, Compare: true, Compared: 100},
	{Name: compareAll, Program: "understudy", Mirror: true, Percent: 100, Compare: true, Compared: 100, Unyielding: true},
}

// choose picks the named ones of all, in their own order; no names picks all.
func choose[T any](all []T, name func(T) string, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	var chosen []T
	for _, v := range all {
		if i := slices.Index(names, name(v)); i >= 0 {
			chosen = append(chosen, v)
			names = slices.Delete(names, i, i+1)
		}
	}
	if len(names) > 0 {
		var known []string
		for _, v := range all {
			known = append(known, name(v))
		}
		return nil, fmt.Errorf("%q is none of %s", names, strings.Join(known, ", "))
	}
	return chosen, nil
}

// place is where a proxy runs: what its configuration is rendered from.
type place struct {
	contestant
	Dir        string
	Listen     string
	Admin      string
	Primary    string
	Shadow     string
	Cores      int
	Root       bool
	Executable string // path
}

// command is how to start a proxy whose configuration is in file.
func (p *place) command(file string) *exec.Cmd {
	switch p.Program {
	case "nginx":
		return exec.Command(p.Executable, "-p", p.Dir, "-c", file, "-e", "stderr")
	case "haproxy":
		return exec.Command(p.Executable, "-db", "-q", "-f", file)
	case "envoy":
		return exec.Command(p.Executable, "-c", file, "--concurrency", strconv.Itoa(p.Cores), "--disable-hot-restart", "-l", "error")
	}
	args := []string{"run", "-c", file}
	if p.Compare {
		args = append(args, "--pprof") // see loopShare
	}
	return exec.Command(p.Executable, args...)
}

// programs finds the executables of what is to be measured.
func programs(chosen []contestant, understudy string) (map[string]string, error) {
	found := map[string]string{}
	for _, c := range chosen {
		if c.Program == "" || found[c.Program] != "" {
			continue
		}
		path, err := find(c.Program, understudy)
		if err != nil {
			return nil, err
		}
		found[c.Program] = path
	}
	return found, nil
}

func find(program, understudy string) (string, error) {
	if program == "understudy" {
		if _, err := os.Stat(understudy); err != nil {
			return "", fmt.Errorf("no understudy at %s: build it with make build, or name it with -understudy", understudy)
		}
		return filepath.Abs(understudy)
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	// Debian keeps daemons off other people's PATH; .ci/need puts what Debian
	// does not have beside understudy.
	for _, dir := range []string{"/usr/sbin", filepath.Dir(understudy)} {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no %s: install it with .ci/need %s, or leave it out with -proxies", program, program)
}

// upstreams are the addresses a proxy is put in front of.
type upstreams struct{ primary, shadow string }

// newPlace prepares a folder and addresses for a proxy. The folder is the
// caller's to remove.
func newPlace(c contestant, executable string, u upstreams) (*place, error) {
	listen, err := load.FreeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := load.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "understudy-bench-")
	if err != nil {
		return nil, err
	}
	return &place{
		contestant: c, Dir: dir, Listen: listen, Admin: admin, Primary: u.primary, Shadow: u.shadow,
		Cores: load.CPUCount(), Root: os.Getuid() == 0, Executable: executable,
	}, nil
}

// write puts a configuration into the place's folder, whole or not at all.
func (p *place) write(conf string) (file string, err error) {
	file = filepath.Join(p.Dir, p.Program+".conf")
	if p.Program == "understudy" || p.Program == "envoy" {
		file = filepath.Join(p.Dir, p.Program+".yaml")
	}
	if err := os.WriteFile(file+".new", []byte(conf), 0o600); err != nil {
		return "", err
	}
	return file, os.Rename(file+".new", file)
}
