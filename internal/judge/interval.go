package judge

import "math"

// halvings are enough to find a limit to 1e-8 of the range it lies in, or of its odds.
const halvings = 32

// Interval returns limits of a share of which count of n were seen: those shares
// that [evidence] speaks against on neither side. Each of the two limits is ever
// wrong with a probability of at most alpha, however often one looks. Of n = 0 they
// are 0 and 1.
func Interval(count, n int64, alpha float64) (low, high float64) {
	return shareAbove(count, n, alpha), 1 - shareAbove(n-count, n, alpha)
}

// shareAbove returns the greatest share that is known to be exceeded.
func shareAbove(count, n int64, alpha float64) float64 {
	if count <= 0 || n <= 0 {
		return 0
	}
	if count > n {
		count = n
	}
	target := math.Log(1 / alpha)
	// The limit is looked for by its odds, since it may be tiny as well as next to 1.
	low, high := math.Log(1e-12), math.Log(float64(count)+0.5)-math.Log(float64(n-count)+0.5)
	for range halvings {
		middle := (low + high) / 2
		if evidence(count, n-count, 1/(1+math.Exp(-middle)), jeffreys) >= target {
			low = middle
		} else {
			high = middle
		}
	}
	return 1 / (1 + math.Exp(-low))
}

// excess returns limits of the share of pairs that are worse minus the share that
// are better: those at which [clean] does not yet speak. Each of the two is ever
// wrong with a probability of at most alpha. Of no pairs they are -1 and 1.
func excess(c count, alpha float64) (low, high float64) {
	mirrored := count{Pairs: c.Pairs, Worse: c.Better, Better: c.Worse}
	return -excessBelow(mirrored, alpha), excessBelow(c, alpha)
}

// excessBelow returns the least excess that is ruled out.
func excessBelow(c count, alpha float64) float64 {
	if c.Pairs == 0 {
		return 1
	}
	target := math.Log(1 / alpha)
	low, high := c.excess(), 1.0
	if clean(c, high) < target {
		return high
	}
	for range halvings {
		middle := (low + high) / 2
		if clean(c, middle) >= target {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// spotless returns the least excess that n pairs rule out if not one of them is
// worse: what the traffic could have shown. It is about 3.7/n at alpha = 5 %, where
// one look at a size fixed beforehand would give 3/n, the rule of three.
func spotless(n int64, alpha float64) float64 {
	return excessBelow(count{Pairs: n}, alpha)
}

// spotlessPairs returns about how many pairs without one that is worse rule an excess out.
func spotlessPairs(limit, alpha float64) int64 {
	if limit < 1e-9 { // no traffic is enough
		return math.MaxInt64
	}
	low, high := int64(1), int64(1)
	for clean(count{Pairs: high}, limit) < math.Log(1/alpha) {
		low, high = high, high*2
	}
	for low < high {
		if middle := (low + high) / 2; clean(count{Pairs: middle}, limit) >= math.Log(1/alpha) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return high
}
