package judge

import "math"

// prior is the Beta distribution by which an e-value spreads its bets over the
// shares it looks for.
type prior struct{ a, b float64 }

// The priors. Which one is taken is a matter of power, never of validity.
var (
	flat     = prior{1, 1}     // for signs, where the share is somewhere above a half
	jeffreys = prior{0.5, 0.5} // for shares that may be tiny
)

// mostSigns count in full. More are taken for so many with the same share, which
// is less evidence: what it costs to work it out grows with the root of their number.
const mostSigns = 1e7

// evidence returns the natural logarithm of an e-value against "the share of hits
// is at most p", after so many hits and misses:
//
//	E = ∫ q^hits (1-q)^misses dπ(q) / (p^hits (1-p)^misses),  π = Beta(a, b) cut to (p, 1)
//	  = B(a+hits, b+misses) (1 - I_p(a+hits, b+misses))
//	    / (B(a, b) (1 - I_p(a, b)) p^hits (1-p)^misses)
//
// As a sequence over time it is a mixture of likelihood ratios of q against p. Each
// is a non-negative supermartingale that starts at 1 if every share, given what came
// before, is at most p, so by Ville's inequality E ever reaches 1/α with a probability
// of at most α: one may look after every pair, and stop when one likes. It depends
// on two counts, so they are all of its state. Mixtures: Robbins, Ann. Math. Stat.
// 41 (1970); the one-sided beta-binomial one: Howard, Ramdas, McAuliffe, Sekhon,
// arXiv 1810.08240. With p = 1/2 and the flat prior it is McNemar's test of
// discordant pairs for those who cannot wait:
//
//	E = 2 · 2^(hits+misses) · B(hits+1, misses+1) · I_1/2(misses+1, hits+1)
func evidence[N int64 | float64](hits, misses N, p float64, prior prior) float64 {
	if p >= 1 {
		return 0
	}
	p = math.Max(p, 1e-12)                                           // no share is known better than that, and ln 0 is none
	s, f := math.Max(float64(hits), 0), math.Max(float64(misses), 0) // whatever a file has said
	if s+f > mostSigns {
		s, f = s*mostSigns/(s+f), f*mostSigns/(s+f)
	}
	return logBeta(prior.a+s, prior.b+f) + logBetaAbove(p, prior.a+s, prior.b+f) -
		logBeta(prior.a, prior.b) - logBetaAbove(p, prior.a, prior.b) -
		s*math.Log(p) - f*math.Log1p(-p)
}

// wagers are the parts of the stake that clean bets, and the share of the wealth
// that begins with each. The bold ones win fast while nothing is worse, and lose
// nearly all at the first pair that is; the timid ones see small differences among
// many discordant pairs.
var wagers = [...]struct{ bet, stake float64 }{
	{1, 0.30}, {0.9, 0.20}, {0.7, 0.15}, {0.45, 0.12}, {0.25, 0.08},
	{0.12, 0.05}, {0.06, 0.04}, {0.03, 0.03}, {0.015, 0.02}, {0.007, 0.01},
}

// clean returns the natural logarithm of an e-value against "the excess is at
// least limit", where the excess is the share of pairs that are worse minus the
// share that are better. With x = 1, -1 or 0 for a pair:
//
//	E = Σ stake · Π (1 - bet·(x - limit))
//
// which is the wealth of somebody who bets, at odds that are fair or worse if the
// excess is limit or more, that pairs are less bad than that: Waudby-Smith, Ramdas,
// Estimating means of bounded random variables by betting, arXiv 2010.09686. Again
// three counts are all of its state. It grows with limit.
func clean(c count, limit float64) float64 {
	var logs [len(wagers)]float64
	for i, w := range wagers {
		bet := w.bet
		if limit < 0 { // no factor may be negative
			bet = math.Min(bet, 1/(1-limit))
		}
		logs[i] = math.Log(w.stake) +
			times(c.Worse, 1-bet*(1-limit)) + times(c.Better, 1+bet*(1+limit)) + times(c.Pairs-c.Worse-c.Better, 1+bet*limit)
	}
	most := logs[0]
	for _, l := range logs {
		most = math.Max(most, l)
	}
	if math.IsInf(most, -1) {
		return most
	}
	var sum float64
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum)
}

// times returns n·ln(factor), and 0 for no factor at all.
func times(n int64, factor float64) float64 {
	if n <= 0 {
		return 0
	}
	return float64(n) * math.Log(math.Max(factor, 0))
}
