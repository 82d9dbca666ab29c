package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/understudy-proxy/understudy/test/isolation/peers"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	on := place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Shadow: "127.0.0.1:3", Admin: "127.0.0.1:4", Dir: "/d", Mirror: true}
	off := place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Admin: "127.0.0.1:4", Dir: "/d"}
	all := "p -l {listen} -p {primary} -s {shadow} -a {admin} -d {dir} -c {config} -m {mirror}"
	tests := map[string]struct {
		recipe recipe
		place  place
		want   string
	}{
		"every placeholder":  {recipe{command: all}, on, "p -l 127.0.0.1:1 -p 127.0.0.1:2 -s 127.0.0.1:3 -a 127.0.0.1:4 -d /d -c /d/config -m on"},
		"mirroring off":      {recipe{command: all}, off, "p -l 127.0.0.1:1 -p 127.0.0.1:2 -s  -a 127.0.0.1:4 -d /d -c /d/config -m off"},
		"a command for off":  {recipe{command: "on {listen}", commandOff: "off {listen}"}, off, "off 127.0.0.1:1"},
		"and not for on":     {recipe{command: "on {listen}", commandOff: "off {listen}"}, on, "on 127.0.0.1:1"},
		"unknown are nobody": {recipe{command: "p {other} {}"}, on, "p {other} {}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.recipe.commandLine(test.place, "/d/config"); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestWriteConfigSplitsAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, err := recipe{config: "{{host .Listen}} {{port .Listen}} {{.Mirror}} {{.Insist}}"}.writeConfig(place{Listen: "127.0.0.1:80", Dir: dir, Mirror: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "127.0.0.1 80 true false" || filepath.Dir(path) != dir {
		t.Errorf("%s: %q, %v", path, got, err)
	}
	for name, config := range map[string]string{"not a template": "{{", "unknown field": "{{.Nothing}}", "not an address": "{{port .Shadow}}"} {
		if _, err := (recipe{config: config}).writeConfig(place{Dir: dir}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFreeAddressesDiffer(t *testing.T) {
	t.Parallel()
	list, err := freeAddresses(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, address := range list {
		seen[address] = true
	}
	if len(seen) != 50 {
		t.Errorf("%d different addresses of 50", len(seen))
	}
}

func TestUnderstudyTemplate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		place place
		want  string // mirrors and backends
	}{
		"off": {
			place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Admin: "127.0.0.1:4"},
			`[{backends: [{name: primary}]}] [{endpoints: ["127.0.0.1:2"], name: primary}]`,
		},
		"on": {
			place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Shadow: "127.0.0.1:3", Admin: "127.0.0.1:4", Mirror: true},
			`[{backends: [{name: primary}], mirrors: [{backend: shadow, body: {limit: 32MiB}, limits: {memory: 32MiB}, writes: copy}]}] ` +
				`[{endpoints: ["127.0.0.1:2"], name: primary}, {endpoints: ["127.0.0.1:3"], name: shadow}]`,
		},
		"HTTP/2": {
			place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Shadow: "127.0.0.1:3", Admin: "127.0.0.1:4", Mirror: true, Wire: "http2"},
			`[{backends: [{name: primary}], mirrors: [{backend: shadow, body: {limit: 32MiB}, limits: {memory: 32MiB}, writes: copy}]}] ` +
				`[{endpoints: ["127.0.0.1:2"], name: primary, protocol: HTTP2}, {endpoints: ["127.0.0.1:3"], name: shadow, protocol: HTTP2}]`,
		},
		"WebSockets": {
			place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Shadow: "127.0.0.1:3", Admin: "127.0.0.1:4", Mirror: true, Wire: "websocket"},
			`[{backends: [{name: primary}], mirrors: [{backend: shadow, body: {limit: 32MiB}, limits: {memory: 32MiB}, upgrades: copy, writes: copy}]}] ` +
				`[{endpoints: ["127.0.0.1:2"], name: primary}, {endpoints: ["127.0.0.1:3"], name: shadow}]`,
		},
		"insistent": {
			place{Listen: "127.0.0.1:1", Primary: "127.0.0.1:2", Shadow: "127.0.0.1:3", Admin: "127.0.0.1:4", Mirror: true, Insist: true},
			`[{backends: [{name: primary}], mirrors: [{backend: shadow, backoff: {adaptive: false, failures: 1000000}, body: {limit: 32MiB}, limits: {memory: 32MiB}, writes: copy}]}] ` +
				`[{endpoints: ["127.0.0.1:2"], name: primary}, {endpoints: ["127.0.0.1:3"], health: {failures: -1}, name: shadow}]`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.place.Dir = t.TempDir()
			recipes, err := chooseRecipes(options{proxy: "understudy"})
			if err != nil {
				t.Fatal(err)
			}
			path, err := recipes[0].writeConfig(test.place)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got, rules, backends any
			if err := yaml.Unmarshal(text, &got); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			parts := strings.SplitN(test.want, "}] [", 2)
			_ = yaml.Unmarshal([]byte(parts[0]+"}]"), &rules)
			_ = yaml.Unmarshal([]byte("["+parts[1]), &backends)
			want := map[string]any{
				"listeners": []any{map[string]any{"name": "web", "address": "127.0.0.1:1", "protocol": "HTTP"}},
				"routes":    []any{map[string]any{"name": "suite", "listeners": []any{"web"}, "rules": rules}},
				"backends":  backends,
				"admin":     map[string]any{"address": "127.0.0.1:4"},
				"shutdown":  map[string]any{"drain": "1s", "copies": "100ms"},
			}
			if diff := cmp.Diff(any(want), got); diff != "" {
				t.Errorf("config differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseRecipes(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "proxy.tmpl")
	if err := os.WriteFile(config, []byte("listen {{.Listen}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := chooseRecipes(options{proxy: "/opt/some/proxy -c {config}", proxyOff: "plain {listen}", config: config, books: true})
	want := []recipe{{name: "proxy", command: "/opt/some/proxy -c {config}", commandOff: "plain {listen}", config: "listen {{.Listen}}", books: true}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(recipe{})); err != nil || diff != "" {
		t.Errorf("error %v, recipes differ (-want +got):\n%s", err, diff)
	}
	for name, o := range map[string]options{
		"neither name nor command": {proxy: "ngnix"},
		"one name of two":          {proxy: "nginx,ngnix"},
		"template for ready proxy": {proxy: "nginx", config: config},
		"books of ready proxy":     {proxy: "nginx", books: true},
		"no such template":         {proxy: "p {config}", config: config + "x"},
	} {
		if _, err := chooseRecipes(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if none, err := chooseRecipes(options{proxy: "none"}); err != nil || len(none) != 0 {
		t.Errorf("none: %+v, %v", none, err)
	}
	all, err := chooseRecipes(options{proxy: "nginx,understudy,understudy-insistent,understudy-tcp"})
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v; want four", all, err)
	}
	for i, name := range []string{"nginx", "understudy", "understudy-insistent", "understudy-tcp"} {
		if all[i].name != name || !strings.Contains(all[i].config, "{{.Listen}}") || all[i].books != (i > 0) || all[i].connections != (i == 3) || all[i].insist != (i == 2) {
			t.Errorf("recipe %d is %+v, want %s", i, all[i], name)
		}
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	defaults := options{proxy: "understudy", rounds: 3, duration: 1300 * time.Millisecond, memory: 64}
	tests := map[string]struct {
		args   []string
		change func(*options)
		fails  bool
	}{
		"defaults": {nil, func(*options) {}, false},
		"quick": {[]string{"-quick"}, func(o *options) {
			o.quick, o.rounds, o.duration = true, 1, 700*time.Millisecond
		}, false},
		"protocols": {[]string{"-protocols"}, func(o *options) { o.protocols = true }, false},
		"a command": {[]string{"-proxy", "p {listen}", "-config", "f", "-books"}, func(o *options) {
			o.proxy, o.config, o.books = "p {listen}", "f", true
		}, false},
		"only a report": {[]string{"-proxy", "none", "-out", "r.md", "a.json", "b.json"}, func(o *options) {
			o.proxy, o.out, o.beside = "none", "r.md", []string{"a.json", "b.json"}
		}, false},
		"a report of nothing": {[]string{"-proxy", "none"}, nil, true},
		"no rounds":           {[]string{"-rounds", "0"}, nil, true},
		"unknown flag":        {[]string{"-fast"}, nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseOptions(test.args, io.Discard)
			if (err != nil) != test.fails {
				t.Fatalf("error %v", err)
			}
			if test.fails {
				return
			}
			want := defaults
			test.change(&want)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("options differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	all := []string{"a", "b", "c"}
	for list, want := range map[string][]string{"": all, "b": {"b"}, "c,a": {"c", "a"}} {
		if got, err := pick(list, all); err != nil || !cmp.Equal(got, want) {
			t.Errorf("pick %q: %q, %v, want %q", list, got, err, want)
		}
	}
	if got, err := pick("a,d", all); err == nil {
		t.Errorf("picked %q, although there is no d", got)
	}
}

func TestAllNamesAreUnique(t *testing.T) {
	t.Parallel()
	if got, want := strings.Join(allShadows(), " "), "healthy refusing black-holed unaccepted vanishing never-reading slow-reading late resetting garbage endless half-closing"; got != want {
		t.Errorf("shadows %s\nwant    %s", got, want)
	}
	if got, want := strings.Join(allLoads(), " "), "get post-4k post-16m stream"; got != want {
		t.Errorf("loads %s\nwant  %s", got, want)
	}
}

func TestNamesOfProtocols(t *testing.T) {
	t.Parallel()
	if got, want := strings.Join(protocolShadows(), " "), "healthy slow-stream stuck-stream never-reading stops-reading unanswered vanishing"; got != want {
		t.Errorf("shadows %s\nwant    %s", got, want)
	}
	if got, want := strings.Join(protocolNames(), " "), "http2 grpc-bidi websocket tcp"; got != want {
		t.Errorf("protocols %s\nwant      %s", got, want)
	}
}

func TestRecipesForProtocols(t *testing.T) {
	t.Parallel()
	recipes, err := chooseRecipes(options{proxy: "understudy,nginx"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers.Protocols() {
		got, err := recipes[0].speaking(p)
		if err != nil || got.wire != p.Name || strings.Contains(got.config, "protocol: TCP") != (p.Name == "tcp") {
			t.Errorf("%s: %+v, %v", p.Name, got, err)
		}
		if _, err := recipes[1].speaking(p); err == nil {
			t.Errorf("nginx, with a configuration for HTTP/1.1, is to speak %s", p.Name)
		}
		command := recipe{name: "proxy", config: "{{.Wire}}"}
		if got, err := command.speaking(p); err != nil || got.wire != p.Name || got.config != command.config {
			t.Errorf("a command for %s: %+v, %v", p.Name, got, err)
		}
	}
}
