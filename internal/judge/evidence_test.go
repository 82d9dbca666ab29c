package judge

import (
	"math"
	"math/big"
	"testing"
)

// near says whether two numbers agree to a relative 1e-7, or both are next to 0.
func near(got, want float64) bool {
	return math.Abs(got-want) <= 1e-7*math.Abs(want)+1e-12
}

// The expected values of this file were computed with mpmath at 30 digits, by
// numerical integration of the definitions rather than by the formulas here.

func TestLogBetaAbove(t *testing.T) {
	for _, test := range []struct {
		p, a, b, want float64
	}{
		{0.5, 1, 1, -0.693147180559945},
		{0.5, 3, 2, -0.374693449441411},
		{0.003, 0.5, 0.5, -0.0355096292332783},
		{0.5, 101, 1, -3.944304526e-31},
		{0.5, 1, 101, -70.00786523655},
		{0, 2, 3, 0},
	} {
		if got := logBetaAbove(test.p, test.a, test.b); !near(got, test.want) {
			t.Errorf("ln P(Beta(%v, %v) > %v) = %.12g, want %.12g", test.a, test.b, test.p, got, test.want)
		}
	}
}

func TestEvidence(t *testing.T) {
	for _, test := range []struct {
		hits, misses int64
		p            float64
		prior        prior
		want         float64
	}{
		{0, 0, 0.5, flat, 0},
		{5, 0, 0.5, flat, 2.35137525716348},
		{10, 0, 0.5, flat, 5.22623531286292},
		{8, 2, 0.5, flat, 1.38679928412986},
		{2, 8, 0.5, flat, -1.99986514317772},
		{60, 40, 0.5, flat, 0.578891093057674},
		{600, 400, 0.5, flat, 17.5794278355314},
		{500, 500, 0.5, flat, -3.22883578722109},
		{3, 97, 0.003, jeffreys, 1.73574534653146},
		{50, 9950, 0.003, jeffreys, 0.764671163939889},
		{0, 1000, 0.003, jeffreys, -5.23939647562342},
		{7, 3, 1, jeffreys, 0}, // nothing is above 1
	} {
		if got := evidence(test.hits, test.misses, test.p, test.prior); !near(got, test.want) && math.Abs(got-test.want) > 1e-7 {
			t.Errorf("evidence of %d and %d against %v = %.12g, want %.12g", test.hits, test.misses, test.p, got, test.want)
		}
	}
}

// With a flat prior and p = 1/2 the e-value is a rational number:
// 2^(n+1) · s! f! / (n+1)! · P(Binomial(n+1, 1/2) > f).
func TestEvidenceIsExact(t *testing.T) {
	for _, n := range []int64{1, 2, 7, 30, 200, 1000} {
		for _, s := range []int64{0, n / 4, n / 2, 3 * n / 4, n} {
			f := n - s
			tail := new(big.Int)
			for j := f + 1; j <= n+1; j++ {
				tail.Add(tail, new(big.Int).Binomial(n+1, j))
			}
			orders := new(big.Int).Mul(new(big.Int).Binomial(n, s), big.NewInt(n+1)) // (n+1)! / (s! f!)
			e, _ := new(big.Float).SetRat(new(big.Rat).SetFrac(tail, orders)).Float64()
			want := math.Log(e)
			if math.IsInf(want, 0) || e == 0 {
				continue // beyond float64, unlike its logarithm
			}
			if got := evidence(s, f, 0.5, flat); math.Abs(got-want) > 1e-8*math.Max(1, math.Abs(want)) {
				t.Errorf("evidence of %d and %d = %.14g, want %.14g", s, f, got, want)
			}
		}
	}
}

// However many signs there are, evidence takes no more steps than it has, and stays finite.
func TestEvidenceOfManySigns(t *testing.T) {
	for _, test := range []struct {
		hits, misses int64
		p            float64
		least, most  float64
	}{
		{1 << 62, 1 << 62, 0.5, -12, -6},    // half and half: -ln √n and a bit
		{51e8, 49e8, 0.5, 1980, 2000},       // n·(ln 2 - H(0.51)) of 1e7, less the price of not knowing 0.51
		{1e9, 1e12, 0.0015, -20, -10},       // fewer than the share
		{2e9, 1e12 - 2e9, 0.0015, 740, 750}, // n·KL(0.002, 0.0015) = 754.9, less the price
		{1 << 62, 0, 0.5, 1e7 * math.Ln2 * 0.999, 1e7},
	} {
		if got := evidence(test.hits, test.misses, test.p, flat); !(got >= test.least && got <= test.most) {
			t.Errorf("evidence of %d and %d against %v = %v, want %v to %v", test.hits, test.misses, test.p, got, test.least, test.most)
		}
	}
}

// A bettor's wealth must not grow on average: over all sequences of n signs, the
// mean of E under the hypothesis is at most 1, whatever the true share below it.
func TestEvidenceIsAnEValue(t *testing.T) {
	for _, hypothesis := range []float64{0.003, 0.2, 0.5} {
		for _, truth := range []float64{hypothesis, hypothesis / 2, hypothesis / 10} {
			for _, prior := range []prior{flat, jeffreys} {
				const n = 60
				var mean float64
				for s := range int64(n + 1) {
					mean += math.Exp(logBinomial(n, s) + float64(s)*math.Log(truth) + float64(n-s)*math.Log1p(-truth) +
						evidence(s, n-s, hypothesis, prior))
				}
				if mean > 1+1e-9 {
					t.Errorf("share %v, hypothesis at most %v, prior %v: the mean e-value is %v", truth, hypothesis, prior, mean)
				}
			}
		}
	}
}

func logBinomial(n, k int64) float64 {
	return -math.Log(float64(n+1)) - logBeta(float64(k+1), float64(n-k+1))
}

func TestClean(t *testing.T) {
	for _, test := range []struct {
		count count
		limit float64
		want  float64
	}{
		{count{}, 0.001, 0},
		{count{Pairs: 3000}, 0.001, 2.40049209680242},
		{count{Pairs: 4000}, 0.001, 3.30538095642914},
		{count{Pairs: 10_000, Worse: 2, Better: 1}, 0.001, 4.12798443091592},
		{count{Pairs: 10_000, Worse: 130, Better: 175}, 0.005, 11.6537342882008},
		{count{Pairs: 10_000, Worse: 130, Better: 175}, -0.01, -3.85811873470995},
		{count{Pairs: 1000, Worse: 500, Better: 100}, 0.1, -6.55645886791073},
		{count{Pairs: 1000, Worse: 1000}, 0, math.Inf(-1)}, // underflows, and is no NaN
	} {
		got := clean(test.count, test.limit)
		if math.IsInf(test.want, -1) {
			if math.IsNaN(got) || got > -5 {
				t.Errorf("clean(%+v, %v) = %v", test.count, test.limit, got)
			}
			continue
		}
		if !near(got, test.want) {
			t.Errorf("clean(%+v, %v) = %.12g, want %.12g", test.count, test.limit, got, test.want)
		}
	}
}

func TestInterval(t *testing.T) {
	for _, test := range []struct {
		count, n  int64
		low, high float64
	}{
		{0, 0, 0, 1},
		{1, 10, 0.0004720722896, 0.5037257378},
		{5, 100, 0.007242068153, 0.1374289898},
		{50, 100, 0.3455160205, 0.6544839795},
		{3, 10_000, 8.320863389e-06, 0.001082419217},
		{100, 100, 0.962846126, 1},
		{0, 100, 0, 0.03715387396},
		{0, 10_000, 0, 0.0003787678695},
		{1000, 1_000_000, 0.0008645174467, 0.001116224218},
	} {
		low, high := Interval(test.count, test.n, 0.05)
		if math.Abs(low-test.low) > 1e-6*test.low+1e-12 || math.Abs(high-test.high) > 1e-6*test.high {
			t.Errorf("Interval(%d, %d) = %.10g, %.10g, want %.10g, %.10g", test.count, test.n, low, high, test.low, test.high)
		}
	}
}

func TestExcess(t *testing.T) {
	for _, test := range []struct {
		count     count
		low, high float64
	}{
		{count{}, -1, 1},
		{count{Pairs: 1000}, -0.003665875452, 0.003665875452},
		{count{Pairs: 1000, Worse: 5}, -0.0001241649619, 0.0147970429},
		{count{Pairs: 10_000, Worse: 50, Better: 50}, -0.003336082378, 0.003336082378},
		{count{Pairs: 10_000, Better: 20}, -0.003731943443, -0.001056757953},
	} {
		low, high := excess(test.count, 0.05)
		if math.Abs(low-test.low) > 1e-6*math.Abs(test.low)+1e-9 || math.Abs(high-test.high) > 1e-6*math.Abs(test.high)+1e-9 {
			t.Errorf("excess(%+v) = %.10g, %.10g, want %.10g, %.10g", test.count, low, high, test.low, test.high)
		}
	}
}

// The rule of three for those who look again and again costs a quarter more.
func TestSpotless(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want float64
	}{
		{100, 0.03723192443}, {300, 0.01226875962}, {3000, 0.001220558064}, {30_000, 0.0001219928536},
	} {
		if got := spotless(test.n, 0.05); math.Abs(got-test.want) > 1e-5*test.want {
			t.Errorf("%d pairs rule out %.10g, want %.10g", test.n, got, test.want)
		}
	}
	for limit, want := range map[float64]int64{0.01: 368, 0.001: 3662, 0: math.MaxInt64} {
		if got := spotlessPairs(limit, 0.05); got != want {
			t.Errorf("%v takes %d pairs, want %d", limit, got, want)
		}
	}
}
