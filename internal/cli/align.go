package cli

import "strings"

// aligned is a line of each side, or of one. The mark is ' ' if both are equal, |
// if they belong together and differ, < or > if only one side has it.
type aligned struct {
	primary, shadow string
	mark            byte
}

// mostCells bounds the table of the alignment; longer answers are aligned line by
// line.
const mostCells = 4 << 20

// align puts the lines of two answers beside each other, so that as many as
// possible are equal, and of the rest as many as possible have the same name: a
// member of an object, or a header.
func align(primary, shadow []string) []aligned {
	begin := 0
	for begin < min(len(primary), len(shadow)) && primary[begin] == shadow[begin] {
		begin++
	}
	end := 0
	for end < min(len(primary), len(shadow))-begin && primary[len(primary)-1-end] == shadow[len(shadow)-1-end] {
		end++
	}
	var list []aligned
	for _, line := range primary[:begin] {
		list = append(list, aligned{line, line, ' '})
	}
	list = append(list, alignMiddle(primary[begin:len(primary)-end], shadow[begin:len(shadow)-end])...)
	for _, line := range primary[len(primary)-end:] {
		list = append(list, aligned{line, line, ' '})
	}
	slide(list)
	return list
}

// slide moves stretches of lines that only one side has, where the lines around allow
// it, so that they begin and end as far to the left as they can: a member that is
// missing is then shown from its { to its }, and not from the middle of one to that
// of the next.
func slide(list []aligned) {
	for from := 0; from < len(list); {
		mark := list[from].mark
		to := from + 1
		for to < len(list) && list[to].mark == mark {
			to++
		}
		if mark == '<' || mark == '>' {
			from = slideOne(list, from, to)
			continue
		}
		from = to
	}
}

// slideOne moves the lines from and before to, which only one side has, and returns
// where they end.
func slideOne(list []aligned, from, to int) int {
	text := func(i int) string { return list[i].primary + list[i].shadow } // of which one is empty
	slideTo := func(other, end int) bool {
		if other < 0 || other >= len(list) || list[other].mark != ' ' || list[other].primary != text(end) {
			return false
		}
		list[other], list[end] = list[end], list[other]
		return true
	}
	up := func() bool {
		moved := slideTo(from-1, to-1)
		if moved {
			from, to = from-1, to-1
		}
		return moved
	}
	down := func() bool {
		moved := slideTo(to, from)
		if moved {
			from, to = from+1, to+1
		}
		return moved
	}
	edges := func() int { return leading(text(from)) + leading(text(to-1)) }
	for up() {
	}
	best, least, at := 0, edges(), 0
	for down() {
		at++
		if n := edges(); n <= least {
			best, least = at, n
		}
	}
	for ; at > best; at-- {
		up()
	}
	return to
}

// leading counts the spaces that a line begins with.
func leading(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// alignMiddle finds the alignment with the highest score by dynamic programming.
func alignMiddle(a, b []string) []aligned {
	if len(a)*len(b) > mostCells {
		return alignByNumber(a, b)
	}
	names := func(lines []string) []string {
		list := make([]string, len(lines))
		for i, line := range lines {
			list[i] = lineName(line)
		}
		return list
	}
	nameA, nameB := names(a), names(b)
	score := func(i, j int) int32 {
		switch {
		case a[i] == b[j]:
			return 3
		case nameA[i] == nameB[j]:
			return 1
		}
		return 0
	}
	width := len(b) + 1
	best := make([]int32, (len(a)+1)*width) // of what follows lines i and j
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			value := max(best[(i+1)*width+j], best[i*width+j+1])
			if s := score(i, j); s > 0 {
				value = max(value, s+best[(i+1)*width+j+1])
			}
			best[i*width+j] = value
		}
	}
	var list []aligned
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		here := best[i*width+j]
		switch s := score(i, j); {
		case s > 0 && here == s+best[(i+1)*width+j+1]:
			list = append(list, together(a[i], b[j]))
			i, j = i+1, j+1
		case here == best[(i+1)*width+j]:
			list = append(list, aligned{a[i], "", '<'})
			i++
		default:
			list = append(list, aligned{"", b[j], '>'})
			j++
		}
	}
	return append(list, alignByNumber(a[i:], b[j:])...)
}

func alignByNumber(a, b []string) []aligned {
	var list []aligned
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			list = append(list, aligned{"", b[i], '>'})
		case i >= len(b):
			list = append(list, aligned{a[i], "", '<'})
		default:
			list = append(list, together(a[i], b[i]))
		}
	}
	return list
}

func together(a, b string) aligned {
	if a == b {
		return aligned{a, b, ' '}
	}
	return aligned{a, b, '|'}
}

// lineName is what a line says something about, with its indentation: the name of
// a header, or of a member of an object. Empty if there is none.
func lineName(line string) string {
	name, _, found := strings.Cut(line, ": ")
	if !found {
		return ""
	}
	return name
}
