package judge

import "math"

// logBeta returns ln B(a, b) for positive a and b.
func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// logBetaAbove returns the logarithm of the probability that a Beta(a, b)
// variable exceeds p: ln (1 - I_p(a, b)). It stays exact to a relative 1e-9 where
// the probability itself is too small for a float64.
func logBetaAbove(p, a, b float64) float64 {
	switch {
	case p <= 0:
		return 0
	case p >= 1:
		return math.Inf(-1)
	case p > (a+1)/(a+b+2): // beyond the bulk: the fraction of the small side converges
		return logBetaBelow(1-p, math.Log1p(-p), math.Log(p), b, a)
	}
	below := logBetaBelow(p, math.Log(p), math.Log1p(-p), a, b)
	return math.Log1p(-math.Exp(math.Min(below, -1e-17)))
}

// logBetaBelow returns ln I_x(a, b) for x on the left of the bulk, given the
// logarithms of x and 1-x: the continued fraction of NIST's DLMF 8.17.22, summed
// up by Lentz's method.
func logBetaBelow(x, logX, logRest, a, b float64) float64 {
	const tiny, enough, steps = 1e-300, 1e-12, 20_000
	c, d := 1.0, 1-(a+b)*x/(a+1)
	if math.Abs(d) < tiny {
		d = tiny
	}
	d = 1 / d
	fraction := d
	for m := 1.0; m < steps; m++ {
		for _, numerator := range [2]float64{
			m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m)),
			-(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1)),
		} {
			if d = 1 + numerator*d; math.Abs(d) < tiny {
				d = tiny
			}
			if c = 1 + numerator/c; math.Abs(c) < tiny {
				c = tiny
			}
			d = 1 / d
			fraction *= c * d
		}
		if math.Abs(c*d-1) < enough {
			break
		}
	}
	return a*logX + b*logRest - logBeta(a, b) - math.Log(a) + math.Log(fraction)
}
