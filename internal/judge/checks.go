package judge

import "math"

// Checks returns the four checks of the endpoint: errors, mismatch, latency and
// tail. Their verdicts are as if each were the only one; [Decide] corrects that.
func (t *Tally) Checks(p Params) []Check {
	checks := []Check{t.errors(p), t.mismatch(p), t.latency(p), t.tail(p)}
	for i := range checks {
		checks[i].Endpoint = t.Endpoint
		checks[i].Verdict = alone(checks[i], p)
		checks[i].Says = says(checks[i], p)
	}
	return checks
}

// alone is the verdict of a check that is the only one.
func alone(c Check, p Params) Verdict {
	switch {
	case cleared(c):
		return Pass
	case against(c, p):
		return Fail
	case c.Pairs < p.Pairs:
		return NotEnoughTraffic
	}
	return Running
}

// cleared says whether a check rules out an effect as large as its limit. Of
// latencies [Tally.latency] has said so.
func cleared(c Check) bool {
	return c.Verdict == Pass || c.Metric != Latency && c.Pairs > 0 && c.High < c.Limit
}

// against says whether a check by itself speaks against the shadow: the evidence
// is strong, also without the two worst blocks of time, and the effect matters. Of
// latencies it always does, since the signs are already about the limit.
func against(c Check, p Params) bool {
	enough := log10(logInverse(p.Alpha))
	return c.Evidence >= enough && c.Lasting >= enough && (c.Metric == Latency || c.Effect >= c.Limit)
}

func (t *Tally) errors(p Params) Check {
	c := discordant(t.Errors, p)
	c.Metric, c.Limit = Errors, p.Errors
	return c
}

func (t *Tally) tail(p Params) Check {
	c := discordant(t.Tail, p)
	c.Lasting = log10(t.Tail.steady())
	c.Metric, c.Limit = Tail, p.Tail
	return c
}

// discordant is a check of pairs in which one side alone was bad.
func discordant(s strand, p Params) Check {
	rest := s.lasting()
	c := Check{
		Pairs: s.Total.Pairs, Worse: s.Total.Worse, Better: s.Total.Better,
		Evidence: log10(evidence(s.Total.Worse, s.Total.Better, 0.5, flat)),
		Lasting:  log10(evidence(rest.Worse, rest.Better, 0.5, flat)),
		Effect:   s.Total.excess(),
	}
	c.Low, c.High = excess(s.Total, p.Alpha)
	return c
}

// doubt is the probability with which the noise may lie above its upper limit. It
// adds to alpha, so it is small beside it.
const doubt = 0.1 // of alpha

// mismatch asks whether more answers differ than would by themselves. How many
// would, the noise, is known in one of three ways:
//
//   - from a control of the same request: then it is a question of discordant
//     pairs, as for errors, and nothing has to be known of the noise;
//   - from repeats, as the upper limit of the share of them that differed;
//   - not at all: then it is what was calibrated, or Params.Noise. Repeats
//     replace it as soon as one differs, or there are enough to put it lower.
//
// The e-value is that of the first way, that of the other two against "at most the
// noise and the limit", or the mean of both, which is one as well.
func (t *Tally) mismatch(p Params) Check {
	lowest, noise := p.noise()
	if t.Repeats > 0 {
		_, high := Interval(t.RepeatMismatches, t.Repeats, doubt*p.Alpha)
		if t.RepeatMismatches > 0 || high < noise {
			noise = high
		}
		if low, _ := Interval(t.RepeatMismatches, t.Repeats, 0.1*p.Alpha); low > lowest {
			lowest = low
		}
	}
	total, rest := t.Mismatch.Total, t.Mismatch.lasting()
	c := Check{Metric: Mismatch, Limit: p.Excess, Pairs: total.Pairs, Worse: total.Worse}
	above, lasting := beyond(total, noise+p.Excess), beyond(rest, noise+p.Excess)
	if t.Control.Total.Pairs > 0 {
		controlled := t.Control.lasting()
		above = logMean(above, evidence(t.Control.Total.Worse, t.Control.Total.Better, 0.5, flat))
		lasting = logMean(lasting, evidence(controlled.Worse, controlled.Better, 0.5, flat))
	}
	c.Evidence, c.Lasting = log10(above), log10(lasting)
	if 2*t.Control.Total.Pairs >= total.Pairs && total.Pairs > 0 {
		c.Pairs, c.Worse, c.Better = t.Control.Total.Pairs, t.Control.Total.Worse, t.Control.Total.Better
		c.Effect = t.Control.Total.excess()
		c.Low, _ = excess(t.Control.Total, p.Alpha)
		_, c.High = excess(count{c.Pairs + t.Waiting, c.Worse + t.Waiting, c.Better}, p.Alpha)
		return c
	}
	low, _ := Interval(total.Worse, total.Pairs, p.Alpha)
	_, high := Interval(total.Worse+t.Waiting, total.Pairs+t.Waiting, 0.9*p.Alpha)
	c.Effect = total.excess() - share(t.RepeatMismatches, t.Repeats)
	c.Low, c.High = low-noise, high-lowest
	return c
}

// beyond is the evidence that mismatches are more than a share.
func beyond(c count, share float64) float64 {
	return evidence(c.Worse, c.Pairs-c.Worse, share, jeffreys)
}

// mostRatio is written where no limit of a ratio is known: JSON has no infinity.
const mostRatio = 1000

// latency asks whether more than half of the answers take longer than they may.
// Effect and its limits are ratios for people. What decides are signs: whether an
// answer took longer than the limit, which has its slack.
func (t *Tally) latency(p Params) Check {
	total := t.Latency.Total
	c := Check{
		Metric: Latency, Limit: 1 + t.Slower,
		Pairs: total.Pairs, Worse: total.Worse, Better: total.Better,
		Evidence: log10(evidence(total.Worse, total.Better, 0.5, flat)),
		Lasting:  log10(t.Latency.steady()),
		Effect:   t.Ratio.Quantile(0.5),
	}
	c.Low, c.High = t.Ratio.medianBetween(p.Alpha)
	spread := t.Latency.spread()
	if evidence(float64(total.Better)/spread, float64(total.Worse)/spread, 0.5, flat) >= logInverse(p.Alpha) {
		c.Verdict = Pass // the signs, turned round
	}
	return c
}

// steady is the evidence of signs that come in runs, as those of latencies do:
// without the two worst blocks, and as if there were as many pairs as their
// spread leaves.
func (s strand) steady() float64 {
	rest, spread := s.lasting(), s.spread()
	return evidence(float64(rest.Worse)/spread, float64(rest.Better)/spread, 0.5, flat)
}

// share is count of n, 0 of none.
func share(count, n int64) float64 {
	if n == 0 {
		return 0
	}
	return float64(count) / float64(n)
}

// logInverse returns ln 1/α, what the logarithm of an e-value must reach.
func logInverse(alpha float64) float64 { return -math.Log(alpha) }

// log10 turns a natural logarithm into a decimal one, and what is next to nothing
// into something that JSON can hold.
func log10(natural float64) float64 { return math.Max(natural/math.Ln10, -999) }

// logMean returns the logarithm of the mean of two numbers given by theirs.
func logMean(a, b float64) float64 {
	most := math.Max(a, b)
	if math.IsInf(most, -1) {
		return most
	}
	return most + math.Log((math.Exp(a-most)+math.Exp(b-most))/2)
}
