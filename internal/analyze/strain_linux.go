package analyze

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// meter reads what processors do that this process may use.
type meter struct {
	may   unix.CPUSet
	all   bool // the set is not known
	text  []byte
	stat  *os.File // of the kernel
	group *os.File // of the control group, which has a quota; nil if there is none
}

// openMeter returns nil where the kernel does not tell.
func openMeter() *meter {
	m := &meter{text: make([]byte, 64<<10)}
	var err error
	if m.stat, err = os.Open("/proc/stat"); err != nil {
		return nil
	}
	m.all = unix.SchedGetaffinity(0, &m.may) != nil
	for _, name := range []string{"/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"} {
		if m.group, err = os.Open(name); err == nil {
			break
		}
	}
	return m
}

// read says what the processors did since the system started.
func (m *meter) read() (u usage) {
	if m == nil {
		return u
	}
	for line := range bytes.Lines(readAll(m.stat, m.text)) {
		if fields := bytes.Fields(line); len(fields) > 5 && m.mayUse(fields[0]) {
			u.add(fields[1:])
		}
	}
	if m.group != nil {
		for line := range bytes.Lines(readAll(m.group, m.text)) {
			if name, n, ok := bytes.Cut(line, []byte(" ")); ok && string(name) == "nr_throttled" {
				u.throttled, _ = strconv.ParseInt(string(bytes.TrimSpace(n)), 10, 64)
			}
		}
	}
	return u
}

// mayUse says whether a name is that of a processor that this process may use.
func (m *meter) mayUse(name []byte) bool {
	digits, ok := bytes.CutPrefix(name, []byte("cpu"))
	n, err := strconv.Atoi(string(digits))
	return ok && err == nil && (m.all || m.may.IsSet(n))
}

// add adds the time of a processor: user, nice, system, idle, iowait, irq, softirq,
// steal; guests are in the first two (proc_stat(5)).
func (u *usage) add(fields [][]byte) {
	u.processors++
	for i, field := range fields[:min(len(fields), 8)] {
		n, _ := strconv.ParseInt(string(field), 10, 64)
		if u.total += n; i == 3 || i == 4 {
			u.idle += n
		}
	}
}

func readAll(f *os.File, into []byte) []byte {
	n, _ := f.ReadAt(into, 0)
	return into[:n]
}

func (m *meter) close() {
	if m == nil {
		return
	}
	m.stat.Close()
	if m.group != nil {
		m.group.Close()
	}
}
