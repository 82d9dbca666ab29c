package judge

import (
	"cmp"
	"slices"
	"time"
)

// Offsets are what a shadow of the primary's own version was measured to do: by
// how much it is slower without being worse, and how often its answers differ.
// The zero value is that nothing was measured.
type Offsets struct {
	Latency     time.Duration `json:"latency"`     // that its answers take longer, whatever the primary takes; may be negative
	Scale       float64       `json:"scale"`       // what the primary's time is multiplied by; 0 is 1
	MismatchLow float64       `json:"mismatchLow"` // limits of the share of answers that differ beyond noise
	Mismatch    float64       `json:"mismatch"`
	Pairs       int64         `json:"pairs"` // that were measured
}

// Measured says whether the offsets are from a calibration.
func (o Offsets) Measured() bool { return o.Pairs > 0 }

// of returns how many seconds a shadow of the same version may take for an answer
// that took the primary so many.
func (o Offsets) of(primary float64) float64 { return primary*o.scale() + o.Latency.Seconds() }

func (o Offsets) scale() float64 {
	if o.Scale <= 0 {
		return 1
	}
	return o.Scale
}

// quantiles at which two sketches are laid side by side. The tails are left out:
// an outlier is no offset.
var quantiles = [...]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}

// Calibrate returns the offsets that a tally of a shadow of the primary's own
// version shows. The line shadow = scale·primary + latency goes through the
// deciles of both, by the medians of slopes and intercepts (Theil, Sen). Where the
// primary's times hardly vary, no line can be told and the scale is 1.
func Calibrate(t *Tally, p Params) Offsets {
	o := Offsets{Scale: 1, Pairs: t.Errors.Total.Pairs}
	o.MismatchLow, o.Mismatch = Interval(t.Mismatch.Total.Worse, t.Mismatch.Total.Pairs, p.Alpha)
	if t.Latency.Total.Pairs == 0 {
		return o
	}
	var primary, shadow [len(quantiles)]float64
	for i, q := range quantiles {
		primary[i], shadow[i] = t.PrimaryLatency.Quantile(q), t.ShadowLatency.Quantile(q)
	}
	var slopes []float64
	for i := range quantiles {
		for j := i + 1; j < len(quantiles); j++ {
			if primary[j] > primary[i]*(1+10*sketchError) { // nearer ones say more of the sketch than of the service
				slopes = append(slopes, (shadow[j]-shadow[i])/(primary[j]-primary[i]))
			}
		}
	}
	if slope := median(slopes); len(slopes) >= len(quantiles) && slope > 0 {
		o.Scale = slope
	}
	var intercepts []float64
	for i := range quantiles {
		intercepts = append(intercepts, shadow[i]-o.Scale*primary[i])
	}
	o.Latency = time.Duration(median(intercepts) * float64(time.Second))
	return o
}

// median of values, 0 of none. It sorts them.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	slices.Sort(values)
	return values[len(values)/2]
}
