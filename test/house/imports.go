package house

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Floor is a set of rooms that may import every room below, and none beside.
type Floor struct {
	Name  string
	Rooms []string // folders of internal
}

// Floors are the floors of the house, from the ground up. A new room gets its
// line here, in .golangci.yml and in docs/ARCHITECTURE.md.
var Floors = []Floor{
	{"ground", []string{"traffic", "config"}},
	{"ground, one step up", []string{"telemetry"}}, // it counts traffic
	{"floor 1", []string{"accesslog", "content", "grpc", "http1", "http2", "judge", "loop", "preface", "recording", "route", "schema", "spool", "store", "websocket"}},
	{"floor 1, one step up", []string{"compare", "redact"}}, // they read content
	{"floor 2", []string{"analyze", "replay", "session"}},
	{"floor 2, one step up", []string{"upstream"}}, // its connections may be lanes of a session
	{"floor 3", []string{"mirror"}},
	{"floor 4", []string{"proxy", "admin", "demo"}},
	{"floor 4, one step up", []string{"http3"}}, // its requests enter the proxy
	{"floor 5", []string{"cli"}},
}

// level is the index of a room's floor, or -1.
func level(room string) int {
	return slices.IndexFunc(Floors, func(f Floor) bool { return slices.Contains(f.Rooms, room) })
}

// room is the folder of internal that a package path from the top of the tree
// belongs to. A room may have rooms inside: they share its floor.
func room(dir string) (string, bool) {
	rest, ok := strings.CutPrefix(dir, "internal/")
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, true
}

// checkFloors finds imports that do not run downwards, and rooms that have no
// floor or that the map of the house leaves out. Tests are free: they may look
// at a room from above.
func checkFloors(t *Tree) []string {
	var findings []string
	plan, _ := t.find("docs/ARCHITECTURE.md")
	known := map[string]bool{}
	for _, p := range t.Packages {
		from, inside := room(p.Dir)
		if inside && !known[from] {
			known[from] = true
			if level(from) < 0 {
				findings = append(findings, fmt.Sprintf("internal/%s: has no floor; give it one in test/house/imports.go", from))
			}
			if !strings.Contains(string(plan.Text), "`"+from+"`") {
				findings = append(findings, fmt.Sprintf("internal/%s: docs/ARCHITECTURE.md does not mention it", from))
			}
		}
		findings = append(findings, importsOf(t, p, from)...)
	}
	return findings
}

func importsOf(t *Tree, p *Package, from string) []string {
	var findings []string
	for _, source := range p.Code {
		for _, spec := range source.AST.Imports {
			target, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), Module+"/")
			if !ok {
				continue
			}
			if why := upward(p.Dir, from, target); why != "" {
				findings = append(findings, fmt.Sprintf("%s: %s imports %s: %s", t.at(spec), p.Dir, target, why))
			}
		}
	}
	return findings
}

// upward says why a package must not import another, or nothing if it may.
func upward(dir, from, target string) string {
	to, inside := room(target)
	switch {
	case strings.HasPrefix(target, "cmd/") || strings.HasPrefix(target, "test/") && !strings.HasPrefix(dir, "test/"):
		return "nothing imports programs or tests"
	case !inside || from == to || from == "":
		return ""
	case level(from) < 0 || level(to) < 0:
		return "one of them has no floor"
	case level(to) == level(from):
		return fmt.Sprintf("both are on %s, and rooms do not import sideways", Floors[level(to)].Name)
	case level(to) > level(from):
		return fmt.Sprintf("%s is above %s", Floors[level(to)].Name, Floors[level(from)].Name)
	}
	return ""
}

// wall keeps packages from reaching others, directly or through rooms between.
type wall struct {
	around  func(dir string) bool
	against func(imported string) bool
	through bool // also what imported rooms import in turn
	why     string
}

// hotPath are the rooms that a live request passes.
var hotPath = []string{"grpc", "http1", "http2", "loop", "preface", "route", "session", "spool", "websocket", "upstream", "mirror", "proxy"}

// thinkers are the rooms that think about traffic, built or planned.
var thinkers = []string{"analyze", "compare", "guard", "judge", "recording", "replay", "store"}

// besideKubernetes are the folders that may know Kubernetes.
var besideKubernetes = []string{"internal/controller", "cmd/understudy-controller", "api"}

var walls = []wall{
	{
		around:  onHotPath,
		against: func(imported string) bool { return imported == "net/http" || strings.HasPrefix(imported, "net/http/") },
		why:     "the hot path speaks HTTP by http1 and nothing else",
	},
	{
		around: onHotPath,
		against: func(imported string) bool {
			name, inside := room(strings.TrimPrefix(imported, Module+"/"))
			return inside && slices.Contains(thinkers, name)
		},
		through: true,
		why:     "the hot path hands exchanges over and never thinks about them",
	},
	{
		around: func(dir string) bool {
			return !slices.ContainsFunc(besideKubernetes, func(folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") })
		},
		against: func(imported string) bool {
			first, _, _ := strings.Cut(imported, "/")
			return first == "k8s.io" || first == "sigs.k8s.io"
		},
		why: "only the controller's side knows Kubernetes",
	},
	{
		around:  func(dir string) bool { return strings.HasPrefix(dir, "internal/") || strings.HasPrefix(dir, "cmd/") },
		against: func(imported string) bool { return strings.HasPrefix(imported, "google.golang.org/grpc") },
		why:     "gRPC's own code is what we are tested against",
	},
}

func onHotPath(dir string) bool {
	name, inside := room(dir)
	return inside && slices.Contains(hotPath, name)
}

// checkWalls finds imports through a wall, and names the way they take.
func checkWalls(t *Tree) []string {
	imported := map[string][]string{}
	for _, p := range t.Packages {
		for _, source := range p.Code {
			imported[p.Dir] = append(imported[p.Dir], source.imports()...)
		}
		slices.Sort(imported[p.Dir])
		imported[p.Dir] = slices.Compact(imported[p.Dir])
	}
	var findings []string
	for _, w := range walls {
		for _, p := range t.Packages {
			if !w.around(p.Dir) {
				continue
			}
			if way := w.breach(p.Dir, imported, map[string]bool{}); way != nil {
				findings = append(findings, fmt.Sprintf("%s: %s", strings.Join(way, " -> "), w.why))
			}
		}
	}
	return findings
}

// breach returns the way from a package to what it must not reach, or nil.
func (w wall) breach(dir string, imported map[string][]string, seen map[string]bool) []string {
	seen[dir] = true
	for _, target := range imported[dir] {
		if w.against(target) {
			return []string{dir, path.Join(strings.TrimPrefix(target, Module+"/"))}
		}
		next, ours := strings.CutPrefix(target, Module+"/")
		if !w.through || !ours || seen[next] {
			continue
		}
		if way := w.breach(next, imported, seen); way != nil {
			return append([]string{dir}, way...)
		}
	}
	return nil
}
