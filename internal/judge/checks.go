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
	case cleared(c, p):
		return Pass
	case against(c, p):
		return Fail
	case c.Pairs < p.Pairs:
		return NotEnoughTraffic
	}
	return Running
}

// cleared says whether a check rules out an effect as large as its limit. Of
// latencies that is what the signs say, turned round.
func cleared(c Check, p Params) bool {
	if c.Metric == Latency {
		return evidence(c.Better, c.Worse, 0.5, flat) >= logInverse(p.Alpha)
	}
	return c.Pairs > 0 && c.High < c.Limit
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

// doubt is the probability with which the floor may lie above its upper limit. It
// adds to alpha, so it is small beside it.
const doubt = 0.02 // of alpha

// mismatch asks whether more answers differ than would by themselves. How many
// would, the floor, is known in one of three ways:
//
//   - from a control of the same request: then it is a question of discordant
//     pairs, as for errors, and nothing has to be known of the floor;
//   - from repeats, as the upper limit of the share of them that differed;
//   - not at all: then it is the one that was calibrated, or Params.Floor. Repeats
//     replace it as soon as one differs, or there are enough to put it lower.
//
// The e-value is that of the first way, that of the other two against "at most the
// floor and the limit", or the mean of both, which is one as well.
func (t *Tally) mismatch(p Params) Check {
	lowest, floor := p.floor()
	if t.Repeats > 0 {
		_, high := Interval(t.RepeatMismatches, t.Repeats, doubt*p.Alpha)
		if t.RepeatMismatches > 0 || high < floor {
			floor = high
		}
		if low, _ := Interval(t.RepeatMismatches, t.Repeats, 0.1*p.Alpha); low > lowest {
			lowest = low
		}
	}
	total, rest := t.Mismatch.Total, t.Mismatch.lasting()
	c := Check{Metric: Mismatch, Limit: p.Excess, Pairs: total.Pairs, Worse: total.Worse}
	above, lasting := beyond(total, floor+p.Excess), beyond(rest, floor+p.Excess)
	if t.Control.Total.Pairs > 0 {
		controlled := t.Control.lasting()
		above = logMean(above, evidence(t.Control.Total.Worse, t.Control.Total.Better, 0.5, flat))
		lasting = logMean(lasting, evidence(controlled.Worse, controlled.Better, 0.5, flat))
	}
	c.Evidence, c.Lasting = log10(above), log10(lasting)
	if 2*t.Control.Total.Pairs >= total.Pairs && total.Pairs > 0 {
		c.Pairs, c.Worse, c.Better = t.Control.Total.Pairs, t.Control.Total.Worse, t.Control.Total.Better
		c.Effect = t.Control.Total.excess()
		c.Low, c.High = excess(t.Control.Total, p.Alpha)
		return c
	}
	low, _ := Interval(total.Worse, total.Pairs, p.Alpha)
	_, high := Interval(total.Worse, total.Pairs, 0.9*p.Alpha)
	c.Effect = total.excess() - share(t.RepeatMismatches, t.Repeats)
	c.Low, c.High = low-floor, high-lowest
	return c
}

// beyond is the evidence that mismatches are more than a share.
func beyond(c count, floor float64) float64 {
	return evidence(c.Worse, c.Pairs-c.Worse, floor, jeffreys)
}

// mostRatio is written where no limit of a ratio is known: JSON has no infinity.
const mostRatio = 1000

// latency asks whether more than half of the answers take longer than they may.
// Effect and its limits are ratios for people. What decides are signs: whether an
// answer took longer than the limit, which has its slack.
func (t *Tally) latency(p Params) Check {
	total, rest := t.Latency.Total, t.Latency.lasting()
	c := Check{
		Metric: Latency, Limit: 1 + t.Slower,
		Pairs: total.Pairs, Worse: total.Worse, Better: total.Better,
		Evidence: log10(evidence(total.Worse, total.Better, 0.5, flat)),
		Lasting:  log10(evidence(rest.Worse, rest.Better, 0.5, flat)),
		Effect:   t.Ratio.Quantile(0.5),
	}
	c.Low, c.High = t.Ratio.medianBetween(p.Alpha, mostRatio)
	return c
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
