package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/understudy-proxy/understudy/test/load"
)

// contestant is a proxy in one configuration.
type contestant struct {
	Name     string
	Program  string  // nginx, haproxy or understudy; empty: the primary itself
	Mirror   bool    // it has a mirror to the shadow
	Percent  float64 // of requests that are copied
	Bare     bool    // the shadow answers without a body
	Pipeline int     // copies in flight on a connection to the shadow
	Body     string  // body limit of the mirror; empty: the default
	Stream   bool    // nginx: pass a request's body on as it comes, as the others always do
}

// The names that targets speak of.
const (
	direct       = "direct"
	nginxPlain   = "nginx"
	nginxMirror  = "nginx-mirror"
	nginxBest    = "nginx-mirror-best"
	haproxyPlain = "haproxy"
	ours0        = "understudy-0"
	ours10       = "understudy-10"
	ours100      = "understudy-100"
	oursBare     = "understudy-100-bare"
	oursPipe     = "understudy-pipelined"
	oursPipeBare = "understudy-pipelined-bare"
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
	{Name: ours0, Program: "understudy", Mirror: true, Percent: 0},
	{Name: ours10, Program: "understudy", Mirror: true, Percent: 10},
	{Name: nginxMirror, Program: "nginx", Mirror: true, Percent: 100},
	{Name: ours100, Program: "understudy", Mirror: true, Percent: 100},
	{Name: oursPipe, Program: "understudy", Mirror: true, Percent: 100, Pipeline: 16},
	{Name: nginxBest, Program: "nginx", Mirror: true, Percent: 100, Bare: true},
	{Name: oursBare, Program: "understudy", Mirror: true, Percent: 100, Bare: true},
	{Name: oursPipeBare, Program: "understudy", Mirror: true, Percent: 100, Pipeline: 16, Bare: true},
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

// nginx in its fair form: one worker per core, connections to both upstreams
// kept and spoken to in HTTP/1.1, no log, no body on disk. proxy_buffering and
// proxy_request_buffering stay as they are by default, but for large bodies.
var nginxConf = template.Must(template.New("nginx").Parse(`worker_processes {{.Cores}};
worker_rlimit_nofile 20000;
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr crit;
{{- if .Root}}
user root;
{{- end}}
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_buffer_size 256k;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  proxy_max_temp_file_size 0;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  upstream primary { server {{.Primary}}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
{{- if .Mirror}}
  upstream shadow { server {{.Shadow}}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
{{- end}}
  server {
    listen {{.Listen}} reuseport backlog=4096;
    location / {
{{- if .Mirror}}
      mirror /.mirror;
{{- end}}
{{- if .Stream}}
      proxy_request_buffering off;
{{- end}}
      proxy_pass http://primary;
    }
{{- if .Mirror}}
    location = /.mirror { internal; proxy_pass http://shadow$request_uri; }
{{- end}}
  }
}
`))

var haproxyConf = template.Must(template.New("haproxy").Parse(`global
  nbthread {{.Cores}}
  maxconn 12000
  no strict-limits
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend web
  bind {{.Listen}} backlog 4096
  default_backend primary
backend primary
  server one {{.Primary}}
`))

var understudyConf = template.Must(template.New("understudy").Parse(`listeners:
  - {name: web, address: "{{.Listen}}", protocol: HTTP}
routes:
  - name: bench
    listeners: [web]
    rules:
      - backends: [{name: primary}]
{{- if .Mirror}}
        mirrors:
          - backend: shadow
            percent: {{.Percent}}
            writes: copy
            limits: {inFlight: 1024, queue: 16384, memory: 128MiB}
{{- if .Pipeline}}
            pipeline: {{.Pipeline}}
{{- end}}
{{- if .Body}}
            body: {limit: {{.Body}}}
{{- end}}
{{- end}}
backends:
  - {name: primary, endpoints: ["{{.Primary}}"]}
{{- if .Mirror}}
  - {name: shadow, endpoints: ["{{.Shadow}}"]}
{{- end}}
admin: {address: "{{.Admin}}"}
`))

// render gives the configuration of a proxy in its place.
func (p *place) render() (string, error) {
	t := map[string]*template.Template{"nginx": nginxConf, "haproxy": haproxyConf, "understudy": understudyConf}[p.Program]
	var b strings.Builder
	err := t.Execute(&b, p)
	return b.String(), err
}

// command is how to start a proxy whose configuration is in file.
func (p *place) command(file string) *exec.Cmd {
	switch p.Program {
	case "nginx":
		return exec.Command(p.Executable, "-p", p.Dir, "-c", file, "-e", "stderr")
	case "haproxy":
		return exec.Command(p.Executable, "-db", "-q", "-f", file)
	}
	return exec.Command(p.Executable, "run", "-c", file)
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
	// Debian keeps daemons off other people's PATH.
	path := filepath.Join("/usr/sbin", program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s: install it (Debian: apt-get install nginx-light haproxy), or leave it out with -proxies", program)
	}
	return path, nil
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
	if p.Program == "understudy" {
		file = filepath.Join(p.Dir, "understudy.yaml")
	}
	if err := os.WriteFile(file+".new", []byte(conf), 0o600); err != nil {
		return "", err
	}
	return file, os.Rename(file+".new", file)
}
