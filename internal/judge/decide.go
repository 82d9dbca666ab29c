package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Decision is the verdict about one shadow.
type Decision struct {
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons"` // sentences, the gravest first, at most ten and one that counts the others; never empty
	Shown   string   `json:"shown"`   // what the traffic could have shown, and what was not covered
	Checks  []Check  `json:"checks"`  // as given, with the verdicts that hold for all of them together
}

const (
	mostReasons = 10
	// leastPairs are too few to say anything: a check with fewer is not among those
	// that the others are corrected for.
	leastPairs = 10
	// tailPairs is how many pairs an endpoint must have for its tail to be asked for:
	// where one pair in ten is discordant it takes about as many to show half a percent.
	tailPairs = 10_000
	// latencyPairs is likewise for signs that are divided 46 to 54.
	latencyPairs = 2000
)

// Decide gives the verdict about a shadow from the checks of all its endpoints
// and of [Everywhere].
//
// FAIL: checks are rejected together by e-BH (Wang, Ramdas, arXiv 2009.02824), which
// holds whatever they have to do with each other: with weights that add up to 1, the k
// largest weight·e are rejected if the smallest of them is at least 1/(k·alpha).
// If the shadow is no worse anywhere, the weighted sum of e-values is one itself, and
// ever reaches 1/alpha with a probability of at most alpha. The checks of Everywhere
// have half of the weight, the others share the rest: what is wrong in all endpoints
// is found as fast as if there were two checks and not two thousand. Of the rejected,
// those that [Tally.Checks] would fail by themselves do. What is corrected for are the
// checks that there are. Endpoints that come later begin with an e-value of 1 each: where
// the mean has fallen below that, so many that the others hardly count are a fresh start.
//
// PASS: every check of Everywhere is cleared, and so is every check of an endpoint
// that has pairs enough for that; and none speaks against the shadow that is not
// rejected yet. Since all of them must be cleared, no correction is due: if one truly
// is above its limit, it is cleared with a probability of at most alpha. Endpoints
// with fewer pairs do not hold a PASS up. They are covered by Everywhere, and
// Shown says what they could have hidden.
//
// NOT_ENOUGH_TRAFFIC: fewer pairs than p.Pairs, whatever they say. RUNNING: else.
func Decide(checks []Check, p Params) Decision {
	d := Decision{Checks: slices.Clone(checks)}
	correct(d.Checks, p)
	pairs := total(d.Checks)
	failed := filter(d.Checks, func(c Check) bool { return c.Verdict == Fail })
	asked := requirements(p)
	open := filter(d.Checks, func(c Check) bool { return asked.holds(c, p) })
	switch {
	case pairs < p.Pairs:
		d.Verdict = NotEnoughTraffic
		d.Reasons = append(d.Reasons, fmt.Sprintf("%s so far, at least %d are asked for.", plural(pairs, "pair"), p.Pairs))
		d.Reasons = append(d.Reasons, sentences(failed)...)
	case len(failed) > 0:
		d.Verdict = Fail
		d.Reasons = sentences(failed)
	case len(open) > 0 || len(filter(d.Checks, measured)) == 0:
		d.Verdict = Running
		d.Reasons = sentences(open)
	default:
		d.Verdict = Pass
		d.Reasons = sentences(filter(d.Checks, func(c Check) bool { return measured(c) && asked.required(c) }))
	}
	if len(d.Reasons) == 0 {
		d.Reasons = []string{"Nothing has been measured."}
	}
	if more := len(d.Reasons) - mostReasons; more > 0 {
		d.Reasons = append(d.Reasons[:mostReasons:mostReasons], fmt.Sprintf("And %s more.", plural(int64(more), "check")))
	}
	d.Shown = shown(d.Checks, asked, p)
	return d
}

// correct takes back the FAIL of checks that e-BH does not reject.
func correct(checks []Check, p Params) {
	var everywhere, single float64 // numbers of checks
	for _, c := range checks {
		switch {
		case c.Pairs < leastPairs:
		case c.Endpoint == Everywhere:
			everywhere++
		default:
			single++
		}
	}
	weigh := func(c Check) float64 { // log10 of weight·e
		alike := single
		other := everywhere
		if c.Endpoint == Everywhere {
			alike, other = everywhere, single
		}
		if c.Pairs < leastPairs {
			return math.Inf(-1)
		}
		if other > 0 {
			alike *= 2
		}
		return c.Evidence - math.Log10(alike)
	}
	weighed := make([]float64, 0, len(checks))
	for _, c := range checks {
		weighed = append(weighed, weigh(c))
	}
	slices.SortFunc(weighed, func(a, b float64) int { return cmp.Compare(b, a) })
	bar := math.Inf(1)
	for i, w := range weighed {
		if w >= -math.Log10(float64(i+1)*p.Alpha) {
			bar = w
		}
	}
	for i, c := range checks {
		if c.Verdict == Fail && weigh(c) < bar {
			checks[i].Verdict = Running
			if c.Pairs < p.Pairs {
				checks[i].Verdict = NotEnoughTraffic
			}
			checks[i].Says = says(checks[i], p)
		}
	}
}

// total is how many pairs the checks are of: all count for errors.
func total(checks []Check) int64 {
	var sum int64
	for _, c := range checks {
		if c.Metric == Errors {
			if c.Endpoint == Everywhere {
				return c.Pairs
			}
			sum += c.Pairs
		}
	}
	return sum
}

// measured says whether there is anything to a check: recorded answers may have no
// latencies.
func measured(c Check) bool { return c.Pairs > 0 }

// holds says whether a check keeps a verdict from PASS.
func (a asked) holds(c Check, p Params) bool {
	switch {
	case c.Verdict == Pass || !measured(c):
		return false
	case c.Endpoint == Everywhere:
		return true
	}
	return a.required(c) || against(c, p)
}

// asked is how many pairs an endpoint must have before each of its checks is asked
// for: as many as would clear it if nothing were amiss.
type asked map[Metric]int64

func requirements(p Params) asked {
	return asked{
		Errors:   max(p.Pairs, spotlessPairs(p.Errors, p.Alpha)),
		Mismatch: max(p.Pairs, spotlessPairs(p.Excess, p.Alpha)),
		Latency:  max(p.Pairs, latencyPairs),
		Tail:     max(p.Pairs, tailPairs),
	}
}

// required says whether a check must be cleared by itself.
func (a asked) required(c Check) bool {
	return c.Endpoint == Everywhere || c.Pairs >= a[c.Metric]
}

func filter(checks []Check, keep func(Check) bool) []Check {
	var kept []Check
	for _, c := range checks {
		if keep(c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// sentences are what checks say: errors first, then by how much evidence there
// is; what holds everywhere before what holds at one endpoint.
func sentences(checks []Check) []string {
	gravity := []Metric{Errors, Mismatch, Latency, Tail}
	slices.SortStableFunc(checks, func(a, b Check) int {
		return cmp.Or(
			cmp.Compare(slices.Index(gravity, a.Metric), slices.Index(gravity, b.Metric)),
			cmp.Compare(elsewhere(a), elsewhere(b)),
			cmp.Compare(b.Evidence, a.Evidence),
			cmp.Compare(a.Endpoint, b.Endpoint),
		)
	})
	var said []string
	for _, c := range checks {
		said = append(said, c.Says)
	}
	return said
}

func elsewhere(c Check) int {
	if c.Endpoint == Everywhere {
		return 0
	}
	return 1
}
