package judge

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// says puts a check into a sentence.
func says(c Check, p Params) string {
	where := c.Endpoint
	if where == Everywhere {
		where = "All endpoints"
	}
	if c.Pairs == 0 {
		return where + ": " + c.Metric.noun() + " cannot be told, there is no pair."
	}
	state := map[Verdict]string{
		Pass:             "within the limit of ",
		Fail:             "beyond the limit of ",
		Running:          "not decided at a limit of ",
		NotEnoughTraffic: "too few to decide at a limit of ",
	}[c.Verdict]
	return fmt.Sprintf("%s: %s in %s, %s%s.", where, effect(c), plural(c.Pairs, "pair"), state, limit(c, p))
}

func (m Metric) noun() string {
	switch m {
	case Errors:
		return "the share of errors"
	case Mismatch:
		return "the share of answers that differ"
	case Latency:
		return "the latency"
	}
	return "the tail of the latency"
}

// effect says how large an effect is, and how large it may be; and how small, if
// it is there at all.
func effect(c Check) string {
	if c.Metric == Latency {
		return fmt.Sprintf("typically %s the primary's time (%s to %s)", ratio(c.Effect), ratio(c.Low), ratio(c.High))
	}
	what := map[Metric]string{
		Errors:   "more errors than the primary's",
		Mismatch: "of answers differ beyond noise",
		Tail:     "more slow answers than the primary's",
	}[c.Metric]
	switch {
	case c.Low > 0:
		return fmt.Sprintf("%s %s (%s to %s)", percentage(c.Effect), what, percentage(c.Low), percentage(c.High))
	case c.High < 0:
		return "no " + what
	}
	return fmt.Sprintf("%s %s (at most %s)", percentage(math.Max(c.Effect, 0)), what, percentage(c.High))
}

func limit(c Check, p Params) string {
	if c.Metric != Latency {
		return percentage(c.Limit)
	}
	if p.Slack > 0 {
		return fmt.Sprintf("%s and %v", ratio(c.Limit), p.Slack)
	}
	return ratio(c.Limit)
}

// shown says what so many pairs could have shown, and what they did not cover.
func shown(checks []Check, asked asked, p Params) string {
	pairs := total(checks)
	if pairs == 0 {
		return "Nothing: there was no pair."
	}
	var said []string
	said = append(said, fmt.Sprintf("%s can rule out an excess of %s or more, and no smaller one.", plural(pairs, "pair"), percentage(spotless(pairs, p.Alpha))))
	var few, of, least int64
	for _, c := range checks {
		if c.Metric != Errors || asked.required(c) {
			continue
		}
		few++
		of += c.Pairs
		if least == 0 || c.Pairs < least {
			least = c.Pairs
		}
	}
	if few > 0 {
		have := "endpoints have"
		if few == 1 {
			have = "endpoint has"
		}
		said = append(said, fmt.Sprintf("%d %s too few pairs to be cleared alone, with %s of the traffic: where they are fewest, only an excess of %s or more could be ruled out.",
			few, have, percentage(share(of, pairs)), percentage(spotless(least, p.Alpha))))
	}
	for _, c := range checks {
		if c.Endpoint == Everywhere && c.Pairs == 0 {
			said = append(said, upper(c.Metric.noun())+" was not measured.")
		}
	}
	return strings.Join(said, " ")
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// percentage writes a share in percent with two significant digits.
func percentage(share float64) string {
	return significant(100*share) + " %"
}

// ratio writes a ratio with three digits behind the point, or fewer.
func ratio(r float64) string {
	return "×" + strconv.FormatFloat(math.Round(r*1000)/1000, 'f', -1, 64)
}

// significant writes a number with two significant digits and without an exponent.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 1-int(math.Floor(math.Log10(math.Abs(v)))))
	if digits > 6 {
		return "0"
	}
	rounded := func() float64 {
		scale := math.Pow(10, float64(digits))
		return math.Round(v*scale) / scale
	}
	for v < 100 && rounded() == 100 && digits < 6 {
		digits++ // it would be taken for all
	}
	return strconv.FormatFloat(rounded(), 'f', -1, 64)
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
