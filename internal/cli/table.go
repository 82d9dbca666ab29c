package cli

import (
	"fmt"
	"strings"
)

// style is how a cell looks on a terminal that has colours.
type style string

const (
	plain style = ""
	bold  style = "1"
	faint style = "2"
	good  style = "32"
	warn  style = "33"
	bad   style = "31"
)

// cell is one text of a table.
type cell struct {
	text  string
	style style
}

// table is rows under a header, and a remark on each. On a terminal columns
// line up, those with numbers to the right, and remarks are lines of their own;
// elsewhere tabs separate columns, and remarks are the last, for cut and awk.
type table struct {
	title   string
	header  []string
	numeric []bool // by column
	rows    [][]cell
	remarks []string // by row
}

// newTable makes a table whose columns are named; a name that starts with ">"
// is of a column of numbers.
func newTable(title string, columns ...string) *table {
	t := &table{title: title}
	for _, c := range columns {
		name, numeric := strings.CutPrefix(c, ">")
		t.header = append(t.header, name)
		t.numeric = append(t.numeric, numeric)
	}
	return t
}

// add appends a row of strings, numbers and cells.
func (t *table) add(values ...any) {
	row := make([]cell, len(values))
	for i, v := range values {
		if c, ok := v.(cell); ok {
			row[i] = c
		} else {
			row[i] = cell{text: fmt.Sprint(v)}
		}
	}
	t.rows = append(t.rows, row)
	t.remarks = append(t.remarks, "")
}

// remark adds to the last row.
func (t *table) remark(text string) { t.remarks[len(t.remarks)-1] = text }

// tabbed returns the table for programs.
func (t *table) tabbed() string {
	var b strings.Builder
	b.WriteString(strings.Join(t.header, "\t") + "\tREMARK\n")
	plain := strings.NewReplacer("\t", " ", "\n", " ")
	for i, row := range t.rows {
		for _, c := range row {
			b.WriteString(plain.Replace(c.text) + "\t")
		}
		b.WriteString(plain.Replace(t.remarks[i]) + "\n")
	}
	return b.String()
}

// lines returns the table for people, without line ends.
func (t *table) lines(color bool) []string {
	widths := make([]int, len(t.header))
	for i, h := range t.header {
		widths[i] = textWidth(h)
		for _, row := range t.rows {
			widths[i] = max(widths[i], textWidth(row[i].text))
		}
	}
	header := make([]cell, len(t.header))
	for i, h := range t.header {
		header[i] = cell{h, faint}
	}
	var out []string
	if t.title != "" {
		out = append(out, paint(t.title, bold, color))
	}
	out = append(out, t.line(header, widths, color))
	for i, row := range t.rows {
		out = append(out, t.line(row, widths, color))
		if t.remarks[i] != "" {
			out = append(out, "    "+paint(t.remarks[i], faint, color))
		}
	}
	return out
}

func (t *table) line(row []cell, widths []int, color bool) string {
	var b strings.Builder
	for i, c := range row {
		pad := strings.Repeat(" ", widths[i]-textWidth(c.text))
		if i == 0 {
			b.WriteString("  ")
		} else {
			b.WriteString("   ")
		}
		text := paint(c.text, c.style, color)
		if t.numeric[i] {
			text = pad + text
		} else {
			text += pad
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), " ")
}

func paint(text string, s style, color bool) string {
	if !color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// clip cuts a line to what fits, leaving its escape sequences whole.
func clip(line string, columns int) string {
	var b strings.Builder
	escaped, styled := false, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escaped, styled = true, true
		case escaped:
			escaped = r != 'm'
		case columns == 0:
			if styled {
				b.WriteString("\x1b[0m")
			}
			return b.String()
		default:
			columns--
		}
		b.WriteRune(r)
	}
	return b.String()
}

// printTables prints tables to s, for people or for programs.
func printTables(s *Streams, tables []*table) {
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(s.Out)
		}
		if !s.OutIsTerminal {
			fmt.Fprint(s.Out, t.tabbed())
			continue
		}
		for _, line := range t.lines(s.Color) {
			fmt.Fprintln(s.Out, line)
		}
	}
}
