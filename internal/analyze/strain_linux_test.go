package analyze

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func written(t *testing.T, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stat")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const procStat = `cpu  600 60 6 6000 600 6 6 6 6 6
cpu0 100 10 1 1000 100 1 1 1 7 7
cpu1 200 20 2 2000 200 2 2 2 0 0
cpu10 300 30 3 3000 300 3 3 3 0 0
intr 5 4 3 2 1 0 9 9 9 9 9
ctxt 99
`

func TestTheKernelsWordsAreRead(t *testing.T) {
	t.Parallel()
	var two unix.CPUSet
	two.Set(0)
	two.Set(10)
	const group = "usage_usec 7\nnr_periods 9\nnr_throttled 4\nthrottled_usec 88\n"
	tests := map[string]struct {
		meter meter
		want  usage
	}{
		"the processors it may use":  {meter{may: two, stat: written(t, procStat), group: written(t, group)}, usage{2, 1214 + 3642, 1100 + 3300, 4}},
		"all, if that is not known":  {meter{all: true, stat: written(t, procStat)}, usage{3, 1214 + 2428 + 3642, 1100 + 2200 + 3300, 0}},
		"a group without a quota":    {meter{may: two, stat: written(t, ""), group: written(t, "usage_usec 7\n")}, usage{}},
		"cut, odd and empty numbers": {meter{all: true, stat: written(t, "cpu0 1 2 x 4 5\ncpu1 1 2\ncpu\ncpux 1 2 3 4 5 6\n"), group: written(t, "nr_throttled\nnr_throttled x\n")}, usage{1, 12, 9, 0}},
	}
	for name, tt := range tests {
		tt.meter.text = make([]byte, 4<<10)
		if got := tt.meter.read(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		tt.meter.close()
	}
}

func TestThisSystemIsRead(t *testing.T) {
	t.Parallel()
	m := openMeter()
	defer m.close()
	before := m.read()
	if before.processors < 1 || before.processors > runtime.NumCPU() || before.idle < 0 || before.idle > before.total || before.total == 0 {
		t.Errorf("got %+v with %d processors", before, runtime.NumCPU())
	}
	if after := m.read(); after.total < before.total || after.throttled < before.throttled {
		t.Errorf("%+v and then %+v", before, after)
	}
}
