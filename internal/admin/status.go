package admin

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Status is what GET /api/v1/status answers: the books of the proxy for people
// and their scripts. Durations are in milliseconds, counts are since the
// start, and every map lists its whole closed set, zeros included.
type Status struct {
	Time          time.Time           `json:"time" doc:"When the books were read."`
	Started       time.Time           `json:"started" doc:"When the proxy started."`
	Version       string              `json:"version" doc:"Version of the program."`
	Config        string              `json:"config" doc:"Version of the configuration in force."`
	Reloads       uint64              `json:"reloads" doc:"Configurations put in force after the first."`
	ReloadsFailed uint64              `json:"reloadsFailed" doc:"Configurations refused."`
	Ready         bool                `json:"ready" doc:"Whether new requests are taken."`
	Draining      bool                `json:"draining" doc:"Whether the proxy finishes what it has and takes nothing new."`
	Driver        string              `json:"driver" doc:"How sockets are driven: epoll or go."`
	Loops         int                 `json:"loops" doc:"Event loops."`
	LagMs         float64             `json:"lagMs" doc:"Longest pass of any event loop since the books were last read."`
	Connections   Connections         `json:"connections" doc:"Connections of clients."`
	AccessLog     telemetry.AccessLog `json:"accessLog" doc:"Lines of the access log."`
	Routes        []Route             `json:"routes" doc:"Live requests by route and primary."`
	Mirrors       []Mirror            `json:"mirrors" doc:"Copies by route, mirror and shadow. selected = completed + dropped + failed + inFlight."`
	Endpoints     []Endpoint          `json:"endpoints" doc:"Addresses of backends."`
}

// Connections counts connections of clients.
type Connections struct {
	Open     int64  `json:"open" doc:"Open now."`
	Accepted uint64 `json:"accepted" doc:"Accepted since the start."`
}

// Route counts the live requests of one route that one primary got.
type Route struct {
	Route    string            `json:"route" doc:"Empty for requests that matched no route."`
	Backend  string            `json:"backend" doc:"Empty for requests that the proxy answered itself."`
	Requests uint64            `json:"requests" doc:"Answered requests."`
	Codes    map[string]uint64 `json:"codes" doc:"Answered requests by status."`
	GRPC     map[string]uint64 `json:"grpc" doc:"gRPC calls that ended, by their status; empty if there were none."`
	Failed   map[string]uint64 `json:"failed" doc:"Failed requests by who is to blame."`
	InFlight int64             `json:"inFlight" doc:"Requests whose answer is not finished."`
	BytesIn  uint64            `json:"bytesIn" doc:"Body bytes received from clients."`
	BytesOut uint64            `json:"bytesOut" doc:"Body bytes handed to clients' sockets."`
	Duration Latency           `json:"duration" doc:"Head received to last byte handed to the client's socket."`
	First    Latency           `json:"first" doc:"Request sent to head of the primary's answer."`
}

// Mirror counts the copies of one route for one shadow.
type Mirror struct {
	Route     string            `json:"route"`
	Mirror    string            `json:"mirror"`
	Backend   string            `json:"backend"`
	Share     float64           `json:"share" doc:"Configured share of requests, 0 to 1."`
	Selected  uint64            `json:"selected" doc:"Copies the mirror decided to make."`
	Completed uint64            `json:"completed" doc:"Copies sent whole and answered whole."`
	Dropped   map[string]uint64 `json:"dropped" doc:"Copies given up by the proxy, by reason."`
	Failed    map[string]uint64 `json:"failed" doc:"Copies that the shadow or the way to it broke, by reason."`
	InFlight  uint64            `json:"inFlight" doc:"Copies queued, being sent or waiting for their answer."`
	Queued    uint64            `json:"queued" doc:"Copies in flight that wait for a connection."`
	Skipped   map[string]uint64 `json:"skipped" doc:"Requests not selected, by reason."`
	Unkeyed   uint64            `json:"unkeyed" doc:"Requests without the configured sampling key."`
	Codes     map[string]uint64 `json:"codes" doc:"The shadow's answers by status."`
	GRPC      map[string]uint64 `json:"grpc" doc:"The shadow's answers to gRPC calls by their status; empty if there were none."`
	BytesSent uint64            `json:"bytesSent" doc:"Bytes sent to the shadow."`
	Memory    int64             `json:"memory" doc:"Bytes held for copies now."`
	LastCopy  *time.Time        `json:"lastCopy" doc:"When the last copy left; null if never."`
	Breaker   string            `json:"breaker" enum:"closed,open,half-open" doc:"No copies are sent while it is open."`
	Retry     *time.Time        `json:"retry" doc:"When an open breaker probes next; null if it is not open."`
	Throttle  float64           `json:"throttle" doc:"What back-off leaves of the share, 0 to 1; 1 is all of it."`
	First     Latency           `json:"first" doc:"Copy sent to head of the shadow's answer."`
}

// Endpoint is the state of one address of a backend.
type Endpoint struct {
	Backend  string     `json:"backend"`
	Address  string     `json:"address"`
	InFlight int64      `json:"inFlight" doc:"Requests or copies not answered yet."`
	Idle     int64      `json:"idle" doc:"Pooled connections without a request."`
	Requests uint64     `json:"requests" doc:"Requests or copies given to the endpoint."`
	Failures uint64     `json:"failures" doc:"Requests or copies that failed there."`
	Ejected  bool       `json:"ejected" doc:"Whether it gets no traffic because it kept failing."`
	Until    *time.Time `json:"until" doc:"End of the ejection; null if it is not ejected."`
}

// Latency sums up durations in milliseconds. Quantiles are at most 1/8 too
// high. Buckets let a reader compute the quantiles of the time between two
// statuses.
type Latency struct {
	Count   uint64       `json:"count"`
	MeanMs  float64      `json:"meanMs"`
	P50Ms   float64      `json:"p50Ms"`
	P90Ms   float64      `json:"p90Ms"`
	P99Ms   float64      `json:"p99Ms"`
	Buckets [][2]float64 `json:"buckets" doc:"Pairs of where a bucket ends and how many durations it holds; empty buckets are left out."`
}

// NewStatus makes the status of a snapshot; rows are sorted by their names.
func NewStatus(s *telemetry.Snapshot, ready bool) *Status {
	status := &Status{
		Time: s.Time, Started: s.Started, Version: telemetry.ReadBuild().Version,
		Config: s.Config, Reloads: s.Reloads, ReloadsFailed: s.ReloadsFailed,
		Ready: ready, Draining: s.Draining, Driver: s.Driver, Loops: s.Loops, LagMs: millis(s.Lag),
		Connections: Connections{Open: s.Clients, Accepted: s.Accepted}, AccessLog: s.AccessLog,
		Routes:    make([]Route, len(s.Live)),
		Mirrors:   make([]Mirror, len(s.Mirrors)),
		Endpoints: make([]Endpoint, len(s.Endpoints)),
	}
	for i := range s.Live {
		status.Routes[i] = newRoute(&s.Live[i])
	}
	for i := range s.Mirrors {
		status.Mirrors[i] = newMirror(&s.Mirrors[i])
	}
	for i := range s.Endpoints {
		status.Endpoints[i] = newEndpoint(&s.Endpoints[i])
	}
	slices.SortFunc(status.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Backend, b.Backend))
	})
	slices.SortFunc(status.Mirrors, func(a, b Mirror) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Mirror, b.Mirror), cmp.Compare(a.Backend, b.Backend))
	})
	slices.SortFunc(status.Endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Address, b.Address))
	})
	return status
}

func newRoute(l *telemetry.Live) Route {
	r := Route{
		Route: l.Route, Backend: l.Backend, Codes: byCode(l.Codes), GRPC: byStatus(l.GRPC), Failed: map[string]uint64{}, InFlight: l.InFlight,
		BytesIn: l.BytesIn, BytesOut: l.BytesOut, Duration: newLatency(&l.Duration), First: newLatency(&l.First),
	}
	for _, n := range l.Codes {
		r.Requests += n
	}
	for _, s := range telemetry.LiveSources {
		r.Failed[s.String()] = l.Errors[s]
	}
	return r
}

func newMirror(m *telemetry.Mirror) Mirror {
	return Mirror{
		Route: m.Route, Mirror: m.Name, Backend: m.Backend, Share: m.Share, Selected: m.Selected, Completed: m.Completed,
		Dropped: byReason(traffic.DropReasons, m.Dropped), Failed: byReason(traffic.FailReasons, m.Failed),
		InFlight: m.InFlight, Queued: m.Queued, Skipped: byReason(traffic.SkipReasons, m.Skipped), Unkeyed: m.Unkeyed,
		Codes: byCode(m.Codes), GRPC: byStatus(m.GRPC), BytesSent: m.Bytes, Memory: m.Memory, LastCopy: optional(m.LastCopy),
		Breaker: m.Breaker, Retry: optional(m.Retry), Throttle: m.Throttle, First: newLatency(&m.First),
	}
}

func newEndpoint(e *telemetry.Endpoint) Endpoint {
	return Endpoint{
		Backend: e.Backend, Address: e.Address, InFlight: e.InFlight, Idle: e.Idle,
		Requests: e.Requests, Failures: e.Failures, Ejected: e.Ejected, Until: optional(e.Until),
	}
}

func newLatency(h *telemetry.Histogram) Latency {
	l := Latency{
		Count: h.Count, P50Ms: millis(h.Quantile(0.5)), P90Ms: millis(h.Quantile(0.9)), P99Ms: millis(h.Quantile(0.99)),
		Buckets: [][2]float64{},
	}
	if h.Count > 0 {
		l.MeanMs = millis(h.Sum / time.Duration(h.Count))
	}
	for end, n := range h.Buckets() {
		l.Buckets = append(l.Buckets, [2]float64{millis(end), float64(n)})
	}
	return l
}

// Sum adds up the counts of a map of reasons or sources.
func Sum(counts map[string]uint64) (total uint64) {
	for n := range maps.Values(counts) {
		total += n
	}
	return total
}

func byReason(set []traffic.Reason, counts map[traffic.Reason]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(set))
	for _, r := range set {
		out[string(r)] = counts[r]
	}
	return out
}

// byStatus is never nil, so that programs find an object.
func byStatus(counts map[traffic.GRPCStatus]uint64) map[string]uint64 {
	list := make(map[string]uint64, len(counts))
	for s, n := range counts {
		list[string(s)] = n
	}
	return list
}

func byCode(counts map[int]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(counts))
	for c, n := range counts {
		text := "none"
		if c != 0 { // a connection or a session without messages has no status
			text = strconv.Itoa(c)
		}
		out[text] = n
	}
	return out
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// millis keeps three decimals: a snapshot counts microseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
