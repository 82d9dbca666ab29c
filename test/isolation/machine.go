//go:build linux

package main

import (
	"os"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// watchMachine begins to look at what the machine does; the function it returns
// ends that and tells.
func watchMachine() func() machine {
	busy0, own0 := usage()
	return func() machine {
		m := machine{System: system(), CPUs: load.CPUCount()}
		busy, own := usage()
		if busy -= busy0; busy > 0 {
			m.Others = max(0, 1-(own-own0).Seconds()/busy.Seconds())
		}
		return m
	}
}

// usage is the time that all programs, and that this one with its children,
// have used so far; zero if the kernel does not say.
func usage() (all, own time.Duration) {
	all, _, err := load.MachineCPU()
	user, system, err2 := load.TreeCPU(os.Getpid())
	if err != nil || err2 != nil {
		return 0, 0
	}
	return all, user + system
}

// system names the kernel and the processor.
func system() string {
	name := "Linux"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
		name += " " + release
	}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return name
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return name + ", " + strings.TrimSpace(value)
		}
	}
	return name
}
