package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleTable() *table {
	t := newTable("Things", "NAME", ">COUNT", "STATE")
	t.add("für", 7, cell{"ok", good})
	t.add("b", 1234, cell{"bad", bad})
	t.remark("why: reasons")
	return t
}

func TestTableForProgramsIsSeparatedByTabs(t *testing.T) {
	t.Parallel()
	table := sampleTable()
	table.add("with\ttab", 0, "and\nline")
	want := "NAME\tCOUNT\tSTATE\tREMARK\nfür\t7\tok\t\nb\t1234\tbad\twhy: reasons\nwith tab\t0\tand line\t\n"
	if diff := cmp.Diff(want, table.tabbed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTableForPeopleLinesUp(t *testing.T) {
	t.Parallel()
	want := []string{
		"Things",
		"  NAME   COUNT   STATE",
		"  für        7   ok",
		"  b       1234   bad",
		"    why: reasons",
	}
	if diff := cmp.Diff(want, sampleTable().lines(false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestColoursDoNotChangeTheLayout(t *testing.T) {
	t.Parallel()
	var plainLines []string
	for _, line := range sampleTable().lines(true) {
		plainLines = append(plainLines, unpainted(line))
	}
	if diff := cmp.Diff(sampleTable().lines(false), plainLines); diff != "" {
		t.Errorf("(-without +with colours):\n%s", diff)
	}
	if got, want := sampleTable().lines(true)[2], "  für        7   \x1b[32mok\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// unpainted takes the escape sequences out.
func unpainted(line string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(line, "\x1b[") {
		if b.Len() > 0 || strings.HasPrefix(line, "\x1b[") {
			_, part, _ = strings.Cut(part, "m")
		}
		b.WriteString(part)
	}
	return b.String()
}

func TestClipCutsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line    string
		columns int
		want    string
	}{
		"short":                      {"abc", 5, "abc"},
		"exact":                      {"abc", 3, "abc"},
		"long":                       {"abcd", 3, "abc"},
		"runes and not bytes":        {"äöü", 2, "äö"},
		"colours take no room":       {"\x1b[1mab\x1b[0m", 2, "\x1b[1mab\x1b[0m"},
		"a cut colour is closed":     {"\x1b[1mabc\x1b[0md", 2, "\x1b[1mab\x1b[0m"},
		"a colour behind the cut":    {"ab\x1b[1mc", 2, "ab\x1b[1m\x1b[0m"},
		"nothing fits":               {"abc", 0, ""},
		"an empty line needs no end": {"", 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := clip(tt.line, tt.columns); got != tt.want {
				t.Errorf("clip(%q, %d) = %q, want %q", tt.line, tt.columns, got, tt.want)
			}
		})
	}
}

func TestTablesAreForPeopleOnATerminalOnly(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{false, true} {
		s, out, _ := testStreams()
		s.OutIsTerminal = terminal
		printTables(s, []*table{sampleTable(), sampleTable()})
		if got := strings.Contains(out.String(), "\t"); got == terminal {
			t.Errorf("terminal %v: tabs %v in\n%s", terminal, got, out)
		}
		if strings.Count(out.String(), "\n\n") != 1 {
			t.Errorf("terminal %v: tables are not one empty line apart:\n%s", terminal, out)
		}
	}
}
