package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/test/load"
)

// machine is what a reader must know to compare figures with their own.
type machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Memory   string            `json:"memory"`
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"`
	Programs map[string]string `json:"programs"` // versions
	Date     string            `json:"date"`
	Args     []string          `json:"args"`
}

func describeMachine(programs map[string]string) machine {
	m := machine{
		CPU: cpuModel(), Cores: load.CPUCount(), Go: runtime.Version(), Programs: map[string]string{},
		Date: time.Now().UTC().Format(time.DateOnly), Args: os.Args[1:],
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.Memory = fmt.Sprintf("%d GiB", (si.Totalram*uint64(si.Unit)+1<<29)>>30)
	}
	for name, path := range programs {
		m.Programs[name] = version(name, path)
	}
	return m
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH // ARM has no such line
}

// version is the first line a program says about itself, without what nobody
// would tell two versions apart by.
func version(name, path string) string {
	arg := map[string]string{"nginx": "-v", "haproxy": "-v", "envoy": "--version", h2loadName: "--version", "understudy": "version"}[name]
	out, err := exec.Command(path, arg).CombinedOutput()
	if err != nil {
		return "unknown version"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line, _, _ = strings.Cut(strings.TrimPrefix(line, "nginx version: "), " - https")
	if _, build, ok := strings.Cut(line, " version: "); ok && name == "envoy" {
		// path version: commit/1.2.3/Clean/RELEASE/BoringSSL
		if parts := strings.Split(build, "/"); len(parts) > 1 {
			line = "Envoy " + parts[1]
		}
	}
	return strings.TrimSpace(line)
}

// String is the machine in a line or two of Markdown.
func (m *machine) String() string {
	var names []string
	for name := range m.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	var versions []string
	for _, name := range names {
		versions = append(versions, m.Programs[name])
	}
	return fmt.Sprintf("%d cores of %s, %s of memory, %s, %s; %s; %s.",
		m.Cores, m.CPU, m.Memory, m.Kernel, m.Go, strings.Join(versions, "; "), m.Date)
}
