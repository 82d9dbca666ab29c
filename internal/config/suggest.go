package config

import "strings"

// suggest is "did you mean x?" if one of the candidates is close to what was
// written, and otherwise the list of them while it is short.
func suggest(written string, candidates []string) string {
	const most = 16
	switch best := closest(written, candidates); {
	case best != "":
		return "did you mean " + best + "?"
	case len(candidates) == 0 || len(candidates) > most:
		return ""
	}
	return "one of: " + strings.Join(candidates, ", ")
}

// closest is the candidate that was probably meant: one with few letters
// changed, or else one that is a part of what was written or the other way
// round. Empty if there is none.
func closest(written string, candidates []string) string {
	written = strings.ToLower(written)
	best, limit := "", 1+len(written)/4
	for _, c := range candidates {
		d := distance(written, strings.ToLower(c), limit)
		if d < limit || d == limit && best == "" {
			best, limit = c, d
		}
	}
	const long = 4 // a shorter part says nothing
	for _, c := range candidates {
		lower := strings.ToLower(c)
		if best == "" && (len(written) >= long && strings.Contains(lower, written) || len(lower) >= long && strings.Contains(written, lower)) {
			best = c
		}
	}
	return best
}

// distance is how many letters must be added, removed, replaced or swapped
// with their neighbour to turn a into b; anything above limit is limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}
