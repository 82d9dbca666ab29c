package telemetry

import (
	"strconv"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Kind is the type of a metric in the words of Prometheus.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Durations Kind = "histogram" // of seconds
)

// Label is a dimension of a metric. Values is its closed set; it is nil if
// the values are names from the configuration or status codes.
type Label struct {
	Name   string
	Values []string
}

// Metric describes one family of series. Names that contain "mirror" count
// copies; request, primary and client count live traffic; the others count
// what both share.
type Metric struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []Label
}

// Metrics returns the one list of metric names, in the order of docs/metrics.md.
func Metrics() []Metric {
	var list []Metric
	list = appendMetrics(list, liveLabels, liveFamilies)
	list = appendMetrics(list, mirrorLabels, mirrorFamilies)
	list = appendMetrics(list, mirrorLabels, pairFamilies)
	list = appendMetrics(list, endpointLabels, endpointFamilies)
	list = appendMetrics(list, listenerLabels, listenerFamilies)
	list = appendMetrics(list, nil, proxyFamilies)
	return list
}

// BreakerStates is the closed set of states of a mirror's breaker.
var BreakerStates = []string{"closed", "open", "half-open"}

// PairClasses and Verdicts are the closed sets of what becomes of a pair of answers
// and of what is said of a shadow. They must not be changed.
var (
	PairClasses = []string{"match", "noise_only", "order_only", "state_drift", "diff", "status_diff", "shadow_error", "infra"}
	Verdicts    = []string{"PASS", "FAIL", "RUNNING", "NOT_ENOUGH_TRAFFIC"}
)

// LiveSources are those who can be to blame for a failed live request. A
// shadow cannot: that is what isolation means.
var LiveSources = []traffic.Source{traffic.Client, traffic.Primary, traffic.Internal}

// family is a metric and where its values come from: one of values and
// durations. The labels of its row go in front of its own.
type family[T any] struct {
	name      string
	kind      Kind
	help      string
	label     *Label // nil = none of its own
	values    func(row *T, put put)
	durations func(row *T) *Histogram
}

// put takes one value and, if the family has a label of its own, its value.
type put func(v float64, label ...string)

// one makes the values function of a family without a label of its own.
func one[T any](f func(*T) float64) func(*T, put) {
	return func(row *T, put put) { put(f(row)) }
}

var (
	code         = &Label{Name: "code"}
	grpcStatus   = &Label{Name: "status", Values: statuses(traffic.GRPCStatuses)}
	source       = &Label{Name: "source", Values: sources(LiveSources)}
	skipReason   = &Label{Name: "reason", Values: reasons(traffic.SkipReasons)}
	dropReason   = &Label{Name: "reason", Values: reasons(traffic.DropReasons)}
	failReason   = &Label{Name: "reason", Values: reasons(traffic.FailReasons)}
	lostReason   = &Label{Name: "reason", Values: reasons(traffic.LostReasons)}
	pairClass    = &Label{Name: "class", Values: PairClasses}
	verdict      = &Label{Name: "verdict", Values: Verdicts}
	breakerState = &Label{Name: "state", Values: BreakerStates}
	reloadResult = &Label{Name: "result", Values: []string{"success", "failure"}}
	handshake    = &Label{Name: "result", Values: reasons(traffic.Handshakes)}
	release      = &Label{Name: "version"}

	liveLabels     = []Label{{Name: "route"}, {Name: "backend"}}
	mirrorLabels   = []Label{{Name: "route"}, {Name: "mirror"}, {Name: "backend"}}
	endpointLabels = []Label{{Name: "backend"}, {Name: "endpoint"}}
	listenerLabels = []Label{{Name: "listener"}}
)

var liveFamilies = []family[Live]{
	{name: "understudy_requests_total", kind: Counter, label: code,
		help:   "Live requests answered, by the status the client got: empty of connections and sessions without messages. route is empty if no route matched, backend if the proxy answered itself.",
		values: func(l *Live, put put) { putCodes(l.Codes, put) }},
	{name: "understudy_requests_failed_total", kind: Counter, label: source,
		help: "Live requests that failed, by who is to blame. A shadow is never to blame.",
		values: func(l *Live, put put) {
			for _, s := range LiveSources {
				put(float64(l.Errors[s]), s.String())
			}
		}},
	{name: "understudy_grpc_requests_total", kind: Counter, label: grpcStatus,
		help:   "Live gRPC calls that ended with a status, by the one the client was told. There for routes that have carried calls.",
		values: func(l *Live, put put) { putStatuses(l.GRPC, put) }},
	{name: "understudy_requests_in_flight", kind: Gauge,
		help:   "Live requests whose answer is not finished.",
		values: one(func(l *Live) float64 { return float64(l.InFlight) })},
	{name: "understudy_request_duration_seconds", kind: Durations,
		help:      "Time of a live request from its head received to the last byte of the answer handed to the client's socket.",
		durations: func(l *Live) *Histogram { return &l.Duration }},
	{name: "understudy_primary_first_byte_seconds", kind: Durations,
		help:      "Time from a live request sent to the head of the primary's answer. Compare with understudy_mirror_first_byte_seconds.",
		durations: func(l *Live) *Histogram { return &l.First }},
	{name: "understudy_request_received_bytes_total", kind: Counter,
		help:   "Body bytes received from clients.",
		values: one(func(l *Live) float64 { return float64(l.BytesIn) })},
	{name: "understudy_request_sent_bytes_total", kind: Counter,
		help:   "Body bytes of answers handed to clients' sockets.",
		values: one(func(l *Live) float64 { return float64(l.BytesOut) })},
}

var mirrorFamilies = []family[Mirror]{
	{name: "understudy_mirror_selected_total", kind: Counter,
		help:   "Copies that a mirror decided to make. Always completed + dropped + failed + in flight.",
		values: one(func(m *Mirror) float64 { return float64(m.Selected) })},
	{name: "understudy_mirror_completed_total", kind: Counter,
		help:   "Copies sent whole and answered whole.",
		values: one(func(m *Mirror) float64 { return float64(m.Completed) })},
	{name: "understudy_mirror_dropped_total", kind: Counter, label: dropReason,
		help:   "Selected copies given up by the proxy before or while sending.",
		values: func(m *Mirror, put put) { putReasons(traffic.DropReasons, m.Dropped, put) }},
	{name: "understudy_mirror_failed_total", kind: Counter, label: failReason,
		help:   "Selected copies that the shadow, or the way to it, broke.",
		values: func(m *Mirror, put put) { putReasons(traffic.FailReasons, m.Failed, put) }},
	{name: "understudy_mirror_in_flight", kind: Gauge,
		help:   "Copies queued, being sent or waiting for their answer.",
		values: one(func(m *Mirror) float64 { return float64(m.InFlight) })},
	{name: "understudy_mirror_skipped_total", kind: Counter, label: skipReason,
		help:   "Requests that a mirror did not select.",
		values: func(m *Mirror, put put) { putReasons(traffic.SkipReasons, m.Skipped, put) }},
	{name: "understudy_mirror_queued", kind: Gauge,
		help:   "Copies in flight that wait for a connection.",
		values: one(func(m *Mirror) float64 { return float64(m.Queued) })},
	{name: "understudy_mirror_unkeyed_total", kind: Counter,
		help:   "Requests without the configured sampling key, which got an independent draw.",
		values: one(func(m *Mirror) float64 { return float64(m.Unkeyed) })},
	{name: "understudy_mirror_memory_bytes", kind: Gauge,
		help:   "Bytes held for copies.",
		values: one(func(m *Mirror) float64 { return float64(m.Memory) })},
	{name: "understudy_mirror_last_copy_timestamp_seconds", kind: Gauge,
		help: "When the last copy left, in seconds since 1970; 0 if never.",
		values: one(func(m *Mirror) float64 {
			if m.LastCopy.IsZero() {
				return 0
			}
			return float64(m.LastCopy.UnixMilli()) / 1e3
		})},
	{name: "understudy_mirror_breaker_state", kind: Gauge, label: breakerState,
		help: "1 for the state the breaker is in, 0 for the others. No copies are sent while it is open.",
		values: func(m *Mirror, put put) {
			for _, s := range BreakerStates {
				put(truth(s == m.Breaker), s)
			}
		}},
	{name: "understudy_mirror_throttle_ratio", kind: Gauge,
		help:   "What adaptive back-off leaves of the share, 0 to 1; 1 is all of it.",
		values: one(func(m *Mirror) float64 { return m.Throttle })},
	{name: "understudy_mirror_share_ratio", kind: Gauge,
		help:   "Configured share of requests, 0 to 1.",
		values: one(func(m *Mirror) float64 { return m.Share })},
	{name: "understudy_mirror_first_byte_seconds", kind: Durations,
		help:      "Time from a copy sent to the head of the shadow's answer. Compare with understudy_primary_first_byte_seconds.",
		durations: func(m *Mirror) *Histogram { return &m.First }},
	{name: "understudy_mirror_responses_total", kind: Counter, label: code,
		help:   "Answers of the shadow, by status. They are dropped, no client sees them.",
		values: func(m *Mirror, put put) { putCodes(m.Codes, put) }},
	{name: "understudy_mirror_grpc_responses_total", kind: Counter, label: grpcStatus,
		help:   "Answers of the shadow to gRPC calls, by their status. There for mirrors that have copied calls.",
		values: func(m *Mirror, put put) { putStatuses(m.GRPC, put) }},
	{name: "understudy_mirror_sent_bytes_total", kind: Counter,
		help:   "Bytes sent to the shadow.",
		values: one(func(m *Mirror) float64 { return float64(m.Bytes) })},
}

var pairFamilies = []family[Pairs]{
	{name: "understudy_mirror_pairs_total", kind: Counter, label: pairClass,
		help: "Pairs of answers, the primary's and the shadow's, that were compared, by what came of it.",
		values: func(p *Pairs, put put) {
			for _, c := range PairClasses {
				put(float64(p.Classes[c]), c)
			}
		}},
	{name: "understudy_mirror_tainted_pairs_total", kind: Counter,
		help:   "Pairs of answers that count neither for nor against the shadow.",
		values: one(func(p *Pairs) float64 { return float64(p.Tainted) })},
	{name: "understudy_mirror_verdict", kind: Gauge, label: verdict,
		help: "1 for the verdict on the shadow, 0 for the others.",
		values: func(p *Pairs, put put) {
			for _, v := range Verdicts {
				put(truth(v == p.Verdict), v)
			}
		}},
}

var endpointFamilies = []family[Endpoint]{
	{name: "understudy_endpoint_in_flight", kind: Gauge,
		help:   "Requests or copies at the endpoint that are not answered yet.",
		values: one(func(e *Endpoint) float64 { return float64(e.InFlight) })},
	{name: "understudy_endpoint_idle_connections", kind: Gauge,
		help:   "Pooled connections to the endpoint without a request.",
		values: one(func(e *Endpoint) float64 { return float64(e.Idle) })},
	{name: "understudy_endpoint_requests_total", kind: Counter,
		help:   "Requests or copies given to the endpoint.",
		values: one(func(e *Endpoint) float64 { return float64(e.Requests) })},
	{name: "understudy_endpoint_failures_total", kind: Counter,
		help:   "Requests or copies that failed at the endpoint.",
		values: one(func(e *Endpoint) float64 { return float64(e.Failures) })},
	{name: "understudy_endpoint_ejected", kind: Gauge,
		help:   "1 while the endpoint gets no traffic because it kept failing.",
		values: one(func(e *Endpoint) float64 { return truth(e.Ejected) })},
}

var listenerFamilies = []family[Listener]{
	{name: "understudy_tls_handshakes_total", kind: Counter, label: handshake,
		help: "Handshakes of TLS with clients, by how they ended.",
		values: func(l *Listener, put put) {
			for _, h := range traffic.Handshakes {
				put(float64(l.Handshakes[h]), string(h))
			}
		}},
}

var proxyFamilies = []family[Snapshot]{
	{name: "understudy_client_connections", kind: Gauge,
		help:   "Open connections of clients.",
		values: one(func(s *Snapshot) float64 { return float64(s.Clients) })},
	{name: "understudy_client_connections_accepted_total", kind: Counter,
		help:   "Connections accepted from clients.",
		values: one(func(s *Snapshot) float64 { return float64(s.Accepted) })},
	{name: "understudy_sessions_evicted_total", kind: Counter,
		help:   "Sessions of UDP that ended before their time, the longest silent first, because there were too many.",
		values: one(func(s *Snapshot) float64 { return float64(s.Datagrams.Evicted) })},
	{name: "understudy_datagrams_lost_total", kind: Counter,
		help:   "Live datagrams that could not be passed on.",
		values: one(func(s *Snapshot) float64 { return float64(s.Datagrams.Lost) })},
	{name: "understudy_capture_total", kind: Counter,
		help:   "Exchanges drawn to be compared or recorded, whose messages are kept. Always taken + lost + in flight.",
		values: one(func(s *Snapshot) float64 { return float64(s.Capture.Drawn) })},
	{name: "understudy_capture_taken_total", kind: Counter,
		help:   "Captured exchanges handed to whoever compares and records.",
		values: one(func(s *Snapshot) float64 { return float64(s.Capture.Taken) })},
	{name: "understudy_capture_lost_total", kind: Counter, label: lostReason,
		help:   "Captures given up; the request and its copies were not. memory: capture.memory was used up; queue: comparing or recording is behind; cpu: comparing pauses, to stay within capture.cpu; busy: others need the processors, so that fewer are compared.",
		values: func(s *Snapshot, put put) { putReasons(traffic.LostReasons, s.Capture.Lost, put) }},
	{name: "understudy_capture_in_flight", kind: Gauge,
		help:   "Exchanges being captured, of which not all outcomes are in.",
		values: one(func(s *Snapshot) float64 { return float64(s.Capture.InFlight) })},
	{name: "understudy_capture_memory_bytes", kind: Gauge,
		help:   "Bytes held for captures, until they were compared and recorded.",
		values: one(func(s *Snapshot) float64 { return float64(s.Capture.Memory) })},
	{name: "understudy_config_info", kind: Gauge, label: release,
		help:   "1 for the version of the configuration in force.",
		values: func(s *Snapshot, put put) { put(1, s.Config) }},
	{name: "understudy_config_reloads_total", kind: Counter, label: reloadResult,
		help: "Configurations put in force after the first, and configurations refused.",
		values: func(s *Snapshot, put put) {
			put(float64(s.Reloads), "success")
			put(float64(s.ReloadsFailed), "failure")
		}},
	{name: "understudy_draining", kind: Gauge,
		help:   "1 while the proxy finishes what it has and takes nothing new.",
		values: one(func(s *Snapshot) float64 { return truth(s.Draining) })},
	{name: "understudy_loops", kind: Gauge,
		help:   "Event loops.",
		values: one(func(s *Snapshot) float64 { return float64(s.Loops) })},
	{name: "understudy_loop_lag_seconds", kind: Gauge,
		help:   "Longest pass of any event loop since the last snapshot.",
		values: one(func(s *Snapshot) float64 { return s.Lag.Seconds() })},
	{name: "understudy_start_time_seconds", kind: Gauge,
		help:   "When the proxy started, in seconds since 1970.",
		values: one(func(s *Snapshot) float64 { return float64(s.Started.UnixMilli()) / 1e3 })},
	{name: "understudy_access_log_written_total", kind: Counter,
		help:   "Lines written to the access log.",
		values: one(func(s *Snapshot) float64 { return float64(s.AccessLog.Written) })},
	{name: "understudy_access_log_dropped_total", kind: Counter,
		help:   "Lines of the access log lost because its file or pipe was too slow or broken.",
		values: one(func(s *Snapshot) float64 { return float64(s.AccessLog.Dropped) })},
	{name: "understudy_recording_accepted_total", kind: Counter,
		help:   "Exchanges that the recording has taken. Those that are not written yet wait for the disk.",
		values: one(func(s *Snapshot) float64 { return float64(s.Recording.Accepted) })},
	{name: "understudy_recording_written_total", kind: Counter,
		help:   "Recorded exchanges that are on the disk: a crash does not lose them.",
		values: one(func(s *Snapshot) float64 { return float64(s.Recording.Written) })},
	{name: "understudy_recording_refused_total", kind: Counter,
		help:   "Exchanges that were not recorded, because the disk is full, broken or too slow.",
		values: one(func(s *Snapshot) float64 { return float64(s.Recording.Refused) })},
	{name: "understudy_recording_too_large_total", kind: Counter,
		help:   "Exchanges that were not recorded, because they are larger than 32 MiB.",
		values: one(func(s *Snapshot) float64 { return float64(s.Recording.TooLarge) })},
	{name: "understudy_build_info", kind: Gauge, label: release,
		help:   "1 for the version of this program.",
		values: func(_ *Snapshot, put put) { put(1, ReadBuild().Version) }},
}

func sources(set []traffic.Source) []string {
	list := make([]string, len(set))
	for i, s := range set {
		list[i] = s.String()
	}
	return list
}

func reasons[T ~string](set []T) []string {
	list := make([]string, len(set))
	for i, r := range set {
		list[i] = string(r)
	}
	return list
}

func putReasons(set []traffic.Reason, counts map[traffic.Reason]uint64, put put) {
	for _, r := range set {
		put(float64(counts[r]), string(r))
	}
}

func putCodes(codes map[int]uint64, put put) {
	for c, n := range codes {
		text := ""
		if c != 0 { // a connection or a session without messages has no status
			text = strconv.Itoa(c)
		}
		put(float64(n), text)
	}
}

func statuses(set []traffic.GRPCStatus) []string {
	list := make([]string, len(set))
	for i, s := range set {
		list[i] = string(s)
	}
	return list
}

// putStatuses puts all statuses, but none where no call ever ended: most routes
// carry no gRPC.
func putStatuses(counts map[traffic.GRPCStatus]uint64, put put) {
	for i := 0; i < len(traffic.GRPCStatuses) && len(counts) > 0; i++ {
		s := traffic.GRPCStatuses[i]
		put(float64(counts[s]), string(s))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
