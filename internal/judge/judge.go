// Package judge holds the statistics of pairs: e-processes, sketches, templates
// of endpoints and verdicts. It is pure: no clock and no I/O.
package judge

// Verdict says whether a shadow may take the primary's place. The strings are
// part of the contract.
type Verdict string

// The verdicts.
const (
	Pass             Verdict = "PASS"
	Fail             Verdict = "FAIL"
	Running          Verdict = "RUNNING"            // neither has been shown yet
	NotEnoughTraffic Verdict = "NOT_ENOUGH_TRAFFIC" // too few pairs to say anything
)

// Metric is what a check looks at. The strings are part of the contract.
type Metric string

// The metrics.
const (
	Mismatch Metric = "mismatch" // answers differ, beyond noise
	Errors   Metric = "errors"   // 5xx, no answer in time, or gRPC's like
	Latency  Metric = "latency"  // to the first byte, typically
	Tail     Metric = "tail"     // well above the primary's 95th percentile
)

// Check is one question asked of one endpoint, and how far its answer has come.
type Check struct {
	Endpoint string  `json:"endpoint"` // METHOD /template
	Metric   Metric  `json:"metric"`
	Verdict  Verdict `json:"verdict"`
	Pairs    int64   `json:"pairs"`    // that counted
	Worse    int64   `json:"worse"`    // pairs in which only the shadow was
	Better   int64   `json:"better"`   // pairs in which only the primary was
	Evidence float64 `json:"evidence"` // log10 of the e-value against "no worse": 1.3 is one in 20
	Lasting  float64 `json:"lasting"`  // the same without the two worst blocks of time, and of latencies with what blocks vary taken into account
	Effect   float64 `json:"effect"`   // estimate: share of pairs, or for latencies the ratio shadow/primary
	Low      float64 `json:"low"`      // anytime-valid interval of Effect
	High     float64 `json:"high"`
	Limit    float64 `json:"limit"` // the effect that PASS rules out and FAIL asks for
	Says     string  `json:"says"`  // the same as a sentence for people
}
