// Package analyze folds exchanges into reports, clusters of differences and
// verdicts. It owns the pipeline behind the sink: redaction, comparison, what is
// learned of noise, and the statistics.
package analyze

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// Report is what has been learned so far. Its JSON is part of the contract.
type Report struct {
	Time    time.Time        `json:"time"`
	Verdict judge.Verdict    `json:"verdict"` // the gravest of all mirrors
	Mirrors []MirrorReport   `json:"mirrors"`
	Lost    map[string]int64 `json:"lost"` // exchanges that were not looked at, by reason: queue, cpu, memory; busy: others needed the processors; learning are pairs that differed where it was not known yet whether that means anything, more than could be held
}

// MirrorReport is what has been learned of one shadow.
type MirrorReport struct {
	Mirror    string                  `json:"mirror"`
	Route     string                  `json:"route"`
	Rule      int                     `json:"rule"`
	Primary   string                  `json:"primary"`
	Shadow    string                  `json:"shadow"`
	Since     time.Time               `json:"since"`
	Verdict   judge.Verdict           `json:"verdict"`
	Reasons   []string                `json:"reasons"` // sentences, the gravest first
	Shown     string                  `json:"shown"`   // what the traffic could have shown: "an excess of 0.3 % or more would have been seen"
	Pairs     int64                   `json:"pairs"`   // that counted
	Classes   map[compare.Class]int64 `json:"classes"`
	Tainted   int64                   `json:"tainted"`
	Held      int64                   `json:"held"`      // that do not count yet: whether they differ by themselves is being learned
	Checks    []judge.Check           `json:"checks"`    // of all endpoints together
	Endpoints []EndpointReport        `json:"endpoints"` // by traffic
	Clusters  []Cluster               `json:"clusters"`  // the gravest first, at most 100
	Noise     []Noise                 `json:"noise"`     // what was learned to be no difference

	Calibration *Calibration `json:"calibration,omitempty"` // what the verdict allows for
}

// EndpointReport is what has been learned of one endpoint.
type EndpointReport struct {
	Endpoint string                  `json:"endpoint"` // METHOD /template
	Pairs    int64                   `json:"pairs"`
	Classes  map[compare.Class]int64 `json:"classes"`
	Checks   []judge.Check           `json:"checks"`
	Primary  Quantiles               `json:"primary"`
	Shadow   Quantiles               `json:"shadow"`
}

// Quantiles of a latency in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Cluster is a group of differences that have one signature.
type Cluster struct {
	ID          string               `json:"id"` // short, stable over restarts
	Mirror      string               `json:"mirror"`
	Endpoint    string               `json:"endpoint"`
	Class       compare.Class        `json:"class"`
	Title       string               `json:"title"`       // body.total: number became string
	Count       int64                `json:"count"`       // pairs
	Rate        float64              `json:"rate"`        // of the endpoint's pairs
	Low         float64              `json:"low"`         // its interval
	High        float64              `json:"high"`        //
	First       time.Time            `json:"first"`       //
	Last        time.Time            `json:"last"`        //
	Differences []compare.Difference `json:"differences"` // of the signature, with the values of one example
	Predictors  []Predictor          `json:"predictors"`  // the strongest first, at most 5
	Examples    []string             `json:"examples"`    // ids of pairs, at most 10
	Curl        string               `json:"curl"`        // reproduces one example
}

// Predictor is an attribute of requests that goes with a cluster.
type Predictor struct {
	Attribute string  `json:"attribute"` // query.locale, header.x-tenant, method, path.2, body.currency
	Value     string  `json:"value"`
	Inside    float64 `json:"inside"`  // share of the cluster's pairs that have it
	Outside   float64 `json:"outside"` // share of the endpoint's other pairs that have it
}

// Noise is a place that was learned to differ by itself.
type Noise struct {
	Endpoint string `json:"endpoint"`
	Path     string `json:"path"`
	Why      string `json:"why"` // shadow repeats, primary repeats, class uuid, renamed consistently
	Seen     int64  `json:"seen"`
}

// Pair is one exchange with a difference, kept as an example. It is redacted.
type Pair struct {
	ID          string               `json:"id"` // request id
	Cluster     string               `json:"cluster"`
	Time        time.Time            `json:"time"`
	Request     Message              `json:"request"`
	Primary     Message              `json:"primary"`
	Shadow      Message              `json:"shadow"`
	Class       compare.Class        `json:"class"`
	Differences []compare.Difference `json:"differences"`
}

// Message is one side of a pair as it is shown.
type Message struct {
	Head    string  `json:"head"` // start line and fields, LF
	Body    string  `json:"body"` // text, or base64
	Base64  bool    `json:"base64,omitempty"`
	Cut     bool    `json:"cut,omitempty"`
	Length  int64   `json:"length"`
	Millis  float64 `json:"ms,omitempty"` // to the first byte
	Failure string  `json:"failure,omitempty"`
}
